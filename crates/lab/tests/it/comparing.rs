//! `lab compare`: reproduced, not reproduced, refused.

use lab_core::fixtures;
use lab_core::record::Session;
use serde_json::{Value, json};

use crate::harness::{Lab, Ran};
use crate::plan::Plan;
use crate::schema;

const INCOMPLETE: &str = "contract incomplete: watts_avg not judged, tokens_per_watt unavailable";

/// A session whose every repetition takes 60 ms to its first token and 7 gaps of this many microseconds.
fn session(number: u128, gap_us: u64) -> Session {
    fixtures::session(number, &[gap_us; 3])
}

/// Records two hand-made sessions and compares them by the contract's rule, in both directions.
fn compare_both_ways(one: &Session, other: &Session) -> [Ran; 2] {
    both_ways(one, other, &["--rule", "contract"])
}

/// Records two hand-made sessions and compares them, in both directions.
fn both_ways(one: &Session, other: &Session, further: &[&str]) -> [Ran; 2] {
    let lab = Lab::new();
    lab.record(one);
    lab.record(other);
    let ids = [one, other].map(|session| session.header.id.to_string());
    [["compare", &ids[0], &ids[1]], ["compare", &ids[1], &ids[0]]]
        .map(|words| lab.run(&[words.as_slice(), further].concat()))
}

/// A session of ten launches that differ by up to this share of a gap.
fn varying(number: u128, gap_us: u64, spread_us: u64) -> Session {
    let gaps: Vec<u64> =
        [3, 7, 0, 9, 5, 1, 8, 2, 6, 4].iter().map(|own| gap_us + own * spread_us / 9).collect();
    fixtures::session(number, &gaps)
}

#[test]
fn intervals_decide_unless_another_rule_is_asked_for() {
    // The spread of ten launches is 0.6 % of a repetition: half-width 0.7 %.
    let [same, _] = both_ways(&varying(1, 20_000, 400), &varying(2, 20_100, 400), &[]);
    same.exits(0).prints("equivalent: tokens_per_sec changed by -0.3 %").prints("95 % interval");
    let [worse, better] = both_ways(&varying(1, 20_000, 400), &varying(2, 22_000, 400), &[]);
    worse.exits(1).prints("regressed: tokens_per_sec").prints("for the worse");
    // Between equals, better is not the same either.
    better.exits(1).prints("improved: tokens_per_sec").prints("for the better");
    let [torn, _] = both_ways(&varying(1, 20_000, 6_000), &varying(2, 20_500, 6_000), &[]);
    torn.exits(3).prints("inconclusive: tokens_per_sec").prints("launches a side would decide");
}

#[test]
fn one_launch_has_no_spread_and_decides_nothing() {
    let [alone, _] = both_ways(&fixtures::session(1, &[20_000]), &fixtures::session(2, &[30_000]), &[]);
    alone.exits(3).prints("no interval: there is a single launch");
}

#[test]
fn one_part_may_be_declared_to_differ_and_no_other() {
    let mut other = varying(2, 20_000, 400);
    other.header.fingerprint.engine.identity.insert("version".to_owned(), "0.2.0".into());
    let [refused, _] = both_ways(&varying(1, 20_000, 400), &other, &[]);
    refused.exits(4).prints("engine differs in version");
    let [varied, _] = both_ways(&varying(1, 20_000, 400), &other, &["--vary", "engine"]);
    varied.exits(0).prints("change experiment").prints("0.2.0");
    let [refused, _] = both_ways(&varying(1, 20_000, 400), &other, &["--vary", "backend"]);
    refused.exits(4).prints("engine differs in version");
    let lab = Lab::new();
    lab.run(&["compare", "1", "2", "--vary", "weather"])
        .exits(2)
        .says("model, plan, backend, hardware, engine");
}

/// A scripted plan whose numbers may differ by anything a busy machine does to them.
fn tolerant() -> Plan {
    Plan::scripted().set("tolerances.tokens_per_sec.percent", 1e6)
}

/// Compares the two newest sessions.
fn compare_latest(lab: &Lab) -> (Option<i32>, Value) {
    let ran = lab.compare("@latest~1", "@latest", &["--format", "json"]);
    let report = ran.json();
    schema::assert_fits(&report, "report.v2");
    (ran.status, report)
}

#[test]
fn a_session_reproduces_itself_and_the_contract_stays_incomplete() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    let ran = lab.compare("@latest", "@latest", &[]).exits(0);
    ran.prints("reproduced: tokens_per_sec changed by").prints("(tolerance 3 %)").prints(INCOMPLETE);
}

#[test]
fn a_change_of_three_percent_and_a_bit_is_beyond_in_either_direction() {
    // 200 ms each against 206.188 and 194.169 ms.
    let slower = compare_both_ways(&session(1, 20_000), &session(2, 20_884));
    let [quicker, _] = compare_both_ways(&session(1, 20_000), &session(2, 19_167));
    for (ran, change) in slower.into_iter().chain([quicker]).zip([
        "-3.001 % for the worse",
        "+3.1 % for the better",
        "+3.003 % for the better",
    ]) {
        let ran = ran.exits(1).prints("not reproduced: tokens_per_sec changed by").prints(change);
        ran.prints("(tolerance 3 %)").prints(INCOMPLETE);
    }
}

#[test]
fn a_change_just_within_three_percent_reproduces() {
    // 200 ms against 206.181 and 194.176 ms: -2.998 % and +2.9994 %.
    for gap_us in [20_883, 19_168] {
        let [forth, _] = compare_both_ways(&session(1, 20_000), &session(2, gap_us));
        forth.exits(0).prints("reproduced: tokens_per_sec changed by").prints(INCOMPLETE);
    }
}

#[test]
fn a_slower_machine_is_seen_through_the_whole_program() {
    let lab = Lab::new();
    let slowdown = lab.path("slowdown");
    // 80 ms a repetition, and later 120 ms: no load of this machine hides that, in either direction.
    let plan = Plan::scripted()
        .set("engine.script.token_us", 20_000)
        .set("engine.script.slowdown_file", slowdown.to_str().unwrap())
        .set("workload.generate", 5);
    let quick = lab.measure(plan.clone());
    lab.write("slowdown", [b'.'; 15_000]);
    let slow = lab.measure(plan);
    assert_eq!(
        quick["fingerprint"]["digest"], slow["fingerprint"]["digest"],
        "the world is no part of identity"
    );
    let worse = lab.compare("@latest~1", "@latest", &[]).exits(1);
    worse.prints("not reproduced").prints("for the worse");
    lab.compare("@latest", "@latest~1", &[]).exits(1).prints("for the better");
}

#[test]
fn another_number_of_repetitions_is_context_and_compares() {
    let lab = Lab::new();
    lab.measure(tolerant());
    lab.plan(tolerant().set("name", "other")).run(&["run", "plan.toml", "--repeat", "3"]).exits(0);
    let (status, report) = compare_latest(&lab);
    assert_eq!(status, Some(0), "{report:#}");
    assert_eq!(report["conclusion"], "reproduced");
    assert_eq!((&report["baseline"]["completed"], &report["candidate"]["completed"]), (&json!(2), &json!(3)));
    let repeat = json!({"part": "plan", "field": "repeat", "baseline": 2, "candidate": 3});
    let name = json!({"part": "plan", "field": "name", "baseline": "tiny", "candidate": "other"});
    assert_eq!(report["context_differences"], json!([name, repeat]));
    assert!(report["headline"].as_str().unwrap().contains("unofficial tolerance"), "{report:#}");
}

/// Asserts that a change of the plan refuses the comparison and names part, field and both values.
#[track_caller]
fn check_refused(changed: Plan, part: &str, field: &str, values: Option<(Value, Value)>) {
    let lab = Lab::new();
    lab.measure(tolerant());
    lab.measure(changed);
    let (status, report) = compare_latest(&lab);
    assert_eq!((status, &report["conclusion"]), (Some(4), &json!("refused")), "{report:#}");
    assert_eq!(report["metrics"], json!([]), "what may not be compared is not compared");
    let refusals = report["refusals"].as_array().unwrap();
    let named = refusals.iter().find(|own| own["part"] == part && own["field"] == field);
    let named = named.unwrap_or_else(|| panic!("{part} {field} not in {refusals:#?}"));
    match values {
        Some((baseline, candidate)) => {
            assert_eq!((&named["baseline"], &named["candidate"]), (&baseline, &candidate));
        }
        None => assert!(named["baseline"] != named["candidate"] && !named["baseline"].is_null(), "{named}"),
    }
    let headline = report["headline"].as_str().unwrap();
    assert!(
        headline.starts_with("refused: ") && headline.contains(part) && headline.contains(field),
        "{headline}"
    );
    let table = lab.run(&["compare", "@latest~1", "@latest"]).exits(4);
    table.prints("refused").prints(part).prints(field);
}

#[test]
fn another_workload_is_refused_and_named() {
    check_refused(tolerant().set("workload.generate", 5), "plan", "generate", Some((json!(4), json!(5))));
}

#[test]
fn another_measuring_mode_is_refused_and_named() {
    let changed = tolerant().set("run.isolation", "session").set("run.warmup", 1);
    check_refused(changed, "plan", "isolation", Some((json!("launch"), json!("session"))));
}

#[test]
fn another_engine_is_refused_and_named() {
    check_refused(tolerant().set("engine.script.token_us", 150), "engine", "build", None);
}

#[test]
fn another_version_of_the_engine_is_refused_and_named() {
    let changed = tolerant().set("engine.script.version", "2");
    check_refused(changed, "engine", "version", Some((json!("1"), json!("2"))));
}

#[test]
fn another_model_is_refused_and_named() {
    check_refused(tolerant().set("model.source.synthetic.seed", 2), "model", "weights_sha256", None);
}

#[test]
fn another_permission_is_refused_and_named() {
    let lab = Lab::new();
    lab.measure(tolerant());
    let mut command = lab.command(&["run", "plan.toml"]);
    command.env("GLIBC_TUNABLES", "glibc.malloc.arena_max=1");
    Ran::of(command).exits(0);
    let (status, report) = compare_latest(&lab);
    assert_eq!(status, Some(4));
    assert_eq!(report["refusals"][0]["part"], "backend");
    assert_eq!(report["refusals"][0]["field"], "environment");
}

#[test]
fn another_machine_is_refused_and_named() {
    let mut other = session(2, 20_000);
    other.header.fingerprint.hardware.identity.insert("cpu_model".to_owned(), "Example CPU 9001".into());
    let [forth, _] = compare_both_ways(&session(1, 20_000), &other);
    forth
        .exits(4)
        .prints("hardware differs in cpu_model")
        .prints("Example CPU 9000")
        .prints("Example CPU 9001");
}

#[test]
fn a_gated_metric_that_one_side_alone_has_is_refused_unless_another_is_beyond() {
    const POWER: &str = "engine.v0.1/watts_avg";
    let mut metered = session(1, 20_000);
    fixtures::set_values(&mut metered, POWER, &[20.0; 3]);
    for ran in compare_both_ways(&metered, &session(2, 20_000)) {
        ran.exits(4).prints("refused: watts_avg has no value in session");
    }
    for ran in compare_both_ways(&metered, &session(2, 30_000)) {
        ran.exits(1).prints("not reproduced: tokens_per_sec");
    }
}

#[test]
fn other_tokens_from_the_same_engine_are_refused() {
    let mut other = session(2, 20_000);
    for recorded in &mut other.repetitions {
        if let lab_core::record::Outcome::Completed(completed) = &mut recorded.repetition.outcome {
            completed.token_ids[3] += 1;
        }
    }
    for ran in compare_both_ways(&session(1, 20_000), &other) {
        ran.exits(4).prints("the sessions generated different tokens from token 3 on");
    }
}
