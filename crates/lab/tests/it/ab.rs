//! `lab ab`: two sides measured at once, on the scripted engine.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::harness::{Lab, Ran};
use crate::plan::Plan;
use crate::schema;
use crate::world::{Procfs, Thief};

fn ab(lab: &Lab, further: &[&str]) -> Ran {
    lab.plan(Plan::steady()).run(&[&["ab", "plan.toml", "--seed", "1"], further].concat())
}

/// Runs an experiment to its report, whatever it concludes.
fn report(lab: &Lab, further: &[&str]) -> (Option<i32>, Value) {
    let ran = ab(lab, &[further, &["--format", "json"]].concat());
    let report = ran.json();
    schema::assert_fits(&report, "report.v2");
    (ran.status, report)
}

/// How many pairs there may be where the machine is busy with other tests.
const FEW: [&str; 2] = ["--pairs", "6"];

#[test]
fn a_side_that_takes_a_third_longer_has_regressed() {
    let lab = Lab::new();
    let (status, report) = report(&lab, &["--delay-b", "uniform:0.25", "--pairs", "10", "--closing", "0"]);
    assert_eq!((status, &report["conclusion"]), (Some(1), &json!("regressed")), "{report:#}");
    assert_eq!((&report["title"], &report["vary"]), (&json!("change experiment"), &json!("engine")));
    let field = &report["varied"][0];
    assert_eq!((&field["part"], &field["field"]), (&json!("engine"), &json!("settings")), "{field:#}");
    let changes = report["paired"]["changes"].as_array().unwrap();
    assert!(changes.len() >= 4, "{changes:?}");
}

#[test]
fn every_kind_of_delay_is_seen_in_the_official_metric() {
    // Every tenth token and the prefill: 10 of 12 tokens' time each, which nothing of this machine hides.
    for delay in ["tenth:10", "prefill:5"] {
        let lab = Lab::new();
        let (status, report) = report(&lab, &["--delay-b", delay, "--pairs", "10", "--closing", "0"]);
        assert_eq!((status, &report["conclusion"]), (Some(1), &json!("regressed")), "{delay}: {report:#}");
    }
}

#[test]
fn both_sides_are_recorded_and_give_the_same_report_again() {
    let lab = Lab::new();
    let (_, first) = report(&lab, &FEW);
    let [a, b] = ["baseline", "candidate"].map(|side| first[side]["session"].as_str().unwrap().to_owned());
    let admitted = ["--admit", "steal", "--admit", "run-queue", "--admit", "other-load"];
    let compare = |one: &str, other: &str| {
        lab.run(&[&["compare", one, other, "--format", "json"], admitted.as_slice()].concat()).json()
    };
    let again = compare(&a, &b);
    assert_eq!(again, first, "an experiment is judged by its recordings alone");
    let reversed = compare(&b, &a);
    let change = |report: &Value| report["paired"]["changes"][0].as_f64().unwrap();
    assert!(((1.0 + change(&first)) * (1.0 + change(&reversed)) - 1.0).abs() < 1e-9);
    lab.run(&["verify"]).exits(0);
    let shown = lab.run(&["show", &a, "--format", "json"]).exits(0).json();
    let mode = shown["fingerprint"]["plan"]["identity"]["mode"].clone();
    assert_eq!((&mode["kind"], &mode), (&json!("lock_step"), &first["paired"]["mode"]), "{shown:#}");
}

#[test]
fn one_side_never_compares_with_a_session_that_ran_alone() {
    let lab = Lab::new();
    let (_, first) = report(&lab, &FEW);
    lab.measure(Plan::steady());
    let a = first["baseline"]["session"].as_str().unwrap();
    lab.run(&["compare", a, "@latest"]).exits(4).prints("plan differs in").prints("mode");
}

#[test]
fn launches_may_alternate_instead() {
    let lab = Lab::new();
    let (_, report) = report(&lab, &["--alternate", "--pairs", "4", "--fixed", "--admit", "cold-start"]);
    assert_eq!(report["paired"]["mode"], json!({"kind": "alone"}), "{report:#}");
    assert_eq!(report["paired"]["pairs"], 4, "{report:#}");
    assert_eq!(report["paired"]["uninterrupted"], Value::Null);
}

#[test]
fn an_experiment_in_which_nothing_of_a_side_counts_goes_on_and_has_failed() {
    let lab = Lab::new();
    let procfs = Procfs::new(&lab);
    let root = procfs.path();
    let _thief = Thief::in_tree(procfs);
    // So long that the thief's writer gets to run in each repetition, whatever else runs.
    lab.plan(Plan::steady().set("engine.script.token_us", 20_000));
    lab.run(&["ab", "plan.toml", "--alternate", "--pairs", "6", "--procfs-root", &root])
        .exits(5)
        .says("every repetition of a side is invalid");
    assert_eq!(lab.newest().unwrap().launches.len(), 6, "the pairs behind the first look might have counted");
}

#[test]
fn an_engine_that_generates_in_one_piece_alternates() {
    let lab = Lab::new();
    let text = include_str!("../../../../docs/examples/minimal_engine.py");
    let whole = text.replace("kind in (\"begin\", \"generate\")", "kind == \"generate\"");
    assert_ne!(text, whole);
    fs::set_permissions(lab.write("engine.py", &whole), Permissions::from_mode(0o755)).unwrap();
    lab.plan(Plan::steady().without("engine").set("engine.command", vec!["./engine.py"]));
    let words = ["ab", "plan.toml", "--pairs", "4", "--fixed", "--closing", "0", "--format", "json"];
    lab.run(&words).exits(5).says("cannot do `begin` now").says("`lab ab --alternate` measures engines");
    let report = lab.run(&[words.as_slice(), &["--alternate"]].concat()).json();
    assert_eq!(report["paired"]["pairs"], 4, "{report:#}");
}

#[test]
fn plans_that_differ_in_two_parts_are_refused_before_anything_runs() {
    let lab = Lab::new();
    lab.write(
        "other.toml",
        Plan::steady().set("workload.generate", 13).set("engine.script.token_us", 1_000).text(),
    );
    lab.plan(Plan::steady());
    let ran = lab.run(&["ab", "plan.toml", "other.toml"]).exits(4).prints_nothing();
    ran.says("the two sides differ in plan and engine");
    assert!(lab.newest().is_none(), "nothing was recorded");
}

#[test]
fn what_is_no_program_or_no_number_of_pairs_is_said() {
    let lab = Lab::new();
    ab(&lab, &["--engine-b", "nowhere"]).exits(2).says("`nowhere` is no program");
    ab(&lab, &["--pairs", "3"]).exits(2).says("3 is not in 4..=112");
    ab(&lab, &["--delay-b", "much"]).exits(2).says("`much` is no delay");
    ab(&lab, &["--admit", "weather"]).exits(2).says("known rules are");
}

#[test]
fn another_build_of_lab_can_be_side_b() {
    let lab = Lab::new();
    let copy = lab.path("another-lab-with-a-longer-name");
    fs::copy(env!("CARGO_BIN_EXE_lab"), &copy).unwrap();
    let (_, report) = report(&lab, &[&["--engine-b", copy.to_str().unwrap()], FEW.as_slice()].concat());
    assert_eq!(report["vary"], Value::Null, "a copy is the same build: {report:#}");
}

/// Writes a plan for the engine of the documentation, and two builds of it: the second takes three times as long for a token.
fn foreign_builds(lab: &Lab) -> [String; 2] {
    let text = include_str!("../../../../docs/examples/minimal_engine.py");
    let slower = text.replace("time.sleep(0.001)", "time.sleep(0.003)");
    assert_ne!(text, slower);
    let builds = [("first.py", text), ("second.py", &slower)].map(|(name, text)| {
        let path = lab.write(name, text);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    });
    lab.plan(Plan::steady().without("engine").set("engine.command", vec!["./first.py"]));
    builds
}

#[test]
fn two_builds_of_a_foreign_engine_can_be_the_sides() {
    let lab = Lab::new();
    let [first, second] = foreign_builds(&lab);
    let conclude = |a: &str, b: &str| {
        let words = ["ab", "plan.toml", "--engine-a", a, "--engine-b", b, "--pairs", "6", "--closing", "0"];
        lab.run(&[&words[..], &["--seed", "1", "--format", "json"]].concat()).json()
    };
    let worse = conclude(&first, &second);
    assert_eq!((&worse["conclusion"], &worse["vary"]), (&json!("regressed"), &json!("engine")), "{worse:#}");
    assert_eq!(worse["varied"][0]["field"], "build", "{worse:#}");
    let better = conclude(&second, &first);
    assert_eq!(better["conclusion"], "improved", "{better:#}");
}

/// Writes a plan for the engine of the documentation, which can be paused, and does this with its `n`th prompt, counted from 1.
fn pausable(lab: &Lab, work: &str) {
    let text = include_str!("../../../../docs/examples/minimal_engine.py");
    let generation = "generation = {\"sum\"";
    let work = format!("n = begun.append(1) or len(begun)\n        {work}\n        {generation}");
    let text = text
        .replace(": [\"forced\"]", ": [\"forced\", \"pausable\"]")
        .replace("VOCABULARY = 32_000", "VOCABULARY = 32_000\nbegun = []")
        .replacen(generation, &work, 1);
    let path = lab.write("engine.py", &text);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let plan = Plan::steady().without("engine").set("engine.command", vec!["./engine.py"]);
    lab.plan(plan.set("run.generate_timeout_s", 1).set("engine.threads", 1));
}

#[test]
fn a_prompt_is_taken_in_slice_by_slice_and_the_pauses_are_no_part_of_its_time() {
    let lab = Lab::new();
    pausable(&lab, "until = time.process_time() + 0.15\n        while time.process_time() < until: pass");
    let words = ["ab", "plan.toml", "--pairs", "4", "--fixed", "--closing", "0", "--format", "json"];
    let report = lab.run(&words).json();
    let mode = json!({"kind": "lock_step", "tokens": 2, "slice_ms": 40});
    assert_eq!(report["paired"]["mode"], mode, "{report:#}");
    for side in ["baseline", "candidate"] {
        let session = lab.session(report[side]["session"].as_str().unwrap());
        let mut n_turned = 0;
        for (_, completed) in session.completed() {
            let Some(turns) = &completed.turns else { continue };
            n_turned += 1;
            let took_ns = completed.timeline.first_ns();
            let lasted_ns = turns[1].request_ns - turns[0].request_ns;
            let other_ns = 150_000_000;
            assert!(took_ns >= 145_000_000, "all of its own work is counted: {took_ns} ns");
            // The other side works as long before either goes on, but for a last slice alone.
            assert!(took_ns + other_ns / 2 < lasted_ns, "{took_ns} of {lasted_ns} ns");
        }
        assert_eq!(n_turned, 4);
    }
}

#[test]
fn an_engine_that_hangs_or_dies_between_pauses_is_told_apart() {
    for (work, expected) in [
        ("while n == 2: pass", json!({"kind": "timed_out", "request": "begin", "seconds": 1})),
        ("while n == 2 and (time.process_time() < 0.3 or os.abort()): pass", json!("killed")),
    ] {
        let lab = Lab::new();
        pausable(&lab, work);
        lab.run(&["ab", "plan.toml", "--pairs", "4", "--seed", "1"]).exits(5);
        let errors: Vec<Value> = ["@latest", "@latest~1"]
            .into_iter()
            .flat_map(|side| {
                let shown = lab.run(&["show", side, "--format", "json"]).exits(0).json();
                shown["failures"].as_array().unwrap().clone()
            })
            .map(|failure| failure["error"].clone())
            .collect();
        assert_eq!(errors.len(), 3, "three lost pairs end the experiment: {errors:?}");
        assert!(errors.iter().all(|error| *error == expected || error["kind"] == expected), "{errors:?}");
    }
}

#[test]
fn an_engine_that_does_not_say_it_can_be_paused_takes_its_prompt_in_at_once() {
    let lab = Lab::new();
    for (asked, expected) in [("0", false), ("10", true)] {
        let ran =
            ab(&lab, &["--slice", asked, "--pairs", "4", "--fixed", "--closing", "0", "--format", "json"]);
        let mode = ran.json()["paired"]["mode"].clone();
        assert_eq!((&mode["kind"], &mode["slice_ms"]), (&json!("lock_step"), &Value::Null), "{}", ran.stderr);
        let note = "`scripted` does not say that it can be paused";
        assert_eq!(ran.stderr.contains(note), expected, "{}", ran.stderr);
    }
}

#[test]
fn launches_alternate_where_two_engines_do_not_fit() {
    let lab = Lab::new();
    foreign_builds(&lab);
    let procfs = Procfs::new(&lab);
    let meminfo = lab.path("proc/meminfo");
    fs::remove_file(&meminfo).unwrap();
    for (available_kb, expected) in [(100, "alone"), (10_000, "lock_step")] {
        fs::write(&meminfo, format!("MemTotal: 24000000 kB\nMemAvailable: {available_kb} kB\n")).unwrap();
        let words = ["ab", "plan.toml", "--pairs", "4", "--fixed", "--procfs-root", &procfs.path()];
        let ran = lab.run(&[&words[..], &["--format", "json"]].concat());
        assert_eq!(ran.json()["paired"]["mode"]["kind"], expected, "{}", ran.stderr);
        let note = "launches alternate";
        assert_eq!(ran.stderr.contains(note), expected == "alone", "{}", ran.stderr);
    }
}
