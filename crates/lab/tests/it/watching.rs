//! What is watched around a repetition, through the whole program: disturbances, profiles, sampling.

use lab_core::clock::Clock as _;
use lab_core::record::{Outcome, RepetitionKind, Session};
use lab_host::clock::Monotonic;
use serde_json::{Value, json};

use crate::harness::{Lab, wait_for};
use crate::plan::Plan;
use crate::schema;
use crate::world::{Procfs, Thief};

/// A second of execution a repetition.
fn slow() -> Plan {
    Plan::scripted().set("workload.generate", 11).set("engine.script.token_us", 100_000)
}

/// Three seconds, so that a busy machine does not miss the middle of one.
fn slower() -> Plan {
    Plan::scripted().set("workload.generate", 11).set("engine.script.token_us", 300_000)
}

/// Tells the measured repetitions of a session in one word: `v` valid or suspect, `i` invalid.
fn story(session: &Session) -> String {
    let measured = session.repetitions.iter().map(|own| &own.repetition);
    let measured = measured.filter(|own| own.kind == RepetitionKind::Measured);
    let letter = |outcome: &Outcome| match outcome {
        Outcome::Completed(completed) if completed.is_usable() => 'v',
        Outcome::Completed(_) => 'i',
        _ => 'x',
    };
    measured.map(|own| letter(&own.outcome)).collect()
}

/// Steals a lot of time in the midst of the first repetition: it follows the record of the launch at once, and takes
/// three seconds.
fn steal_in_first(lab: &Lab, procfs: &Procfs) {
    wait_for("the first launch", || lab.newest().filter(|session| !session.launches.is_empty()));
    Monotonic.wait_until_ns(Monotonic.now_ns() + 500_000_000);
    procfs.write(1_000);
}

/// Runs the plan with two repetitions, steals a lot of time once, in the midst of the first, and tells the session.
fn steal_once(further: &[&str]) -> (Lab, String) {
    let lab = Lab::new();
    let procfs = Procfs::new(&lab);
    lab.plan(slower().set("run.repeat", 2));
    let root = procfs.path();
    let words = ["run", "plan.toml", "--procfs-root", &root];
    let running = lab.start(&[&words, further].concat());
    steal_in_first(&lab, &procfs);
    running.finish().exits(0);
    let story = story(&lab.newest().unwrap());
    (lab, story)
}

#[test]
fn a_repetition_whose_time_was_stolen_is_invalid_and_enters_no_figure() {
    let (lab, told) = steal_once(&[]);
    assert_eq!(told, "iv");
    let document = lab.run(&["show", "@latest", "--format", "json"]).exits(0).json();
    let speed = document["statistics"].as_array().unwrap().iter();
    let mut speed = speed.filter(|own| own["metric"] == "engine.v0.1/tokens_per_sec");
    assert_eq!(speed.next().unwrap()["summary"]["n"], 1);
    let validity = &document["executions"][0]["validity"];
    assert_eq!(validity["state"], "invalid");
    assert!(validity["reasons"][0].as_str().unwrap().starts_with("steal: "), "{validity:#}");
    assert!(validity["signals"]["steal"].as_f64().unwrap() > 90.0, "{validity:#}");
    lab.run(&["show", "@latest"]).exits(0).prints("1 of 2 invalid").prints("steal");
    lab.run(&["list"]).exits(0).prints("1/2").prints("invalid and not in n: 1 of ");
}

#[test]
fn an_invalid_repetition_is_replaced_when_asked_and_both_stay() {
    let (lab, told) = steal_once(&["--replace-invalid"]);
    assert_eq!(told, "ivv");
    lab.run(&["verify"]).exits(0);
}

#[test]
fn a_session_in_which_every_repetition_is_invalid_is_no_success() {
    let lab = Lab::new();
    let procfs = Procfs::new(&lab);
    let root = procfs.path();
    lab.plan(slower().set("run.repeat", 1));
    let running = lab.start(&["run", "plan.toml", "--procfs-root", &root]);
    steal_in_first(&lab, &procfs);
    running.finish().exits(5).says("every repetition is invalid");
    lab.run(&["compare", "@latest", "@latest"]).exits(4).prints("no measured repetition");
}

#[test]
fn a_suspect_repetition_makes_a_comparison_inconclusive_until_its_rule_is_admitted() {
    let lab = Lab::new();
    // A third of 60 ms is far beyond the slack of 1 % and 2 ms.
    lab.measure(Plan::scripted().set("engine.script.prefill_us", 60_000).fault("lying_clock"));
    lab.run(&["compare", "@latest", "@latest"]).exits(3).prints("inconclusive").prints("suspect by `clock`");
    lab.run(&["compare", "@latest", "@latest", "--admit", "steal"]).exits(3);
    lab.compare("@latest", "@latest", &[]).exits(0).prints("admitted by the caller: clock");
    let unknown = lab.run(&["compare", "@latest", "@latest", "--admit", "bad-luck"]);
    unknown.exits(2).says("known rules are clock");
}

#[test]
fn a_profile_is_taken_in_a_launch_of_its_own() {
    let lab = Lab::new();
    lab.plan(Plan::scripted());
    let document = lab.run(&["run", "plan.toml", "--profile", "--format", "json"]).exits(0).json();
    schema::assert_fits(&document, "session.v1");
    let profile = &document["profile"];
    assert!(profile["op_time_ms"]["matmul"].as_f64().unwrap() > 0.0, "{profile:#}");
    assert!(profile["named_share"].as_f64().unwrap() > 0.95, "{profile:#}");
    assert!(profile["slowdown"].as_f64().unwrap() > 0.0, "{profile:#}");
    assert_eq!(document["executions"].as_array().unwrap().len(), 2, "a profile is no execution");
    let session = lab.newest().unwrap();
    assert_eq!((session.launches.len(), session.repetitions.len()), (3, 2));
    let shown = lab.run(&["show", "@latest"]).exits(0).prints("matmul").prints("see below");
    shown.prints("never counted as measured");
    lab.run(&["verify"]).exits(0);
}

#[test]
fn an_engine_that_takes_no_profile_costs_the_profile_alone() {
    let lab = Lab::new();
    lab.plan(Plan::scripted().fault("no_profile"));
    let document = lab.run(&["run", "plan.toml", "--profile", "--format", "json"]).exits(0).json();
    assert_eq!(document["session"]["status"], "completed");
    let reason = document["profile"]["unavailable"].as_str().unwrap();
    assert!(reason.contains("takes no profile"), "{reason}");
    assert!(document["profile"]["op_time_ms"].is_null());
}

#[test]
fn what_the_engine_used_is_recorded_with_every_repetition() {
    let lab = Lab::new();
    let root = Procfs::new(&lab).path();
    lab.plan(slow().set("run.repeat", 1));
    let ran = lab.run(&["run", "plan.toml", "--procfs-root", &root, "--format", "json"]).exits(0);
    let document = ran.json();
    let own = &document["executions"][0]["unofficial"]["lab.v1"];
    for metric in [
        "cpu_user_ms",
        "cpu_system_ms",
        "cpu_utilization_percent",
        "switches_voluntary",
        "page_faults_minor",
        "memory_launch_peak_mb",
        "memory_before_load_mb",
        "memory_after_load_mb",
        "sampler_cpu_percent",
    ] {
        assert!(own[metric].as_f64().is_some_and(|value| value >= 0.0), "{metric}: {own:#}");
    }
    // The scripted engine waits: it is off its CPU most of the time, and gave it up at least once a token.
    assert!(own["cpu_utilization_percent"].as_f64().unwrap() < 50.0, "{own:#}");
    assert!(own["switches_voluntary"].as_f64().unwrap() >= 10.0, "{own:#}");
    let session = lab.newest().unwrap();
    let (_, completed) = session.completed().next().unwrap();
    let samples = completed.observation.samples.value().unwrap();
    let ticks_ns = samples.at_ns.last().unwrap() - samples.at_ns[0];
    assert!(samples.at_ns.len() >= 2 && ticks_ns >= 90_000_000, "ten ticks a second at most: {samples:?}");
    assert!(samples.at_ns.len() as u64 <= completed.outside_ns / 100_000_000, "{samples:?}");
}

#[test]
fn the_sampling_thread_can_be_turned_off_and_that_is_identity() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    let document = lab.measure(Plan::scripted().set("instruments.sample_hz", 0.0));
    assert_eq!(document["session"]["instruments"]["sample_hz"], json!(0.0));
    assert_eq!(document["executions"][0]["unofficial"]["lab.v1"]["sampler_cpu_percent"], Value::Null);
    lab.compare("@latest~1", "@latest", &[]).exits(4).prints("sample_hz");
}

#[test]
fn a_roofline_is_reported_where_the_engine_tells_what_a_token_touches() {
    let lab = Lab::new();
    let document = lab.measure(Plan::scripted());
    let reason = &document["executions"][0]["unavailable"]["lab.v1/memory_roofline_percent"];
    assert_eq!(reason, "the engine does not tell what a token touches");
}

#[test]
fn the_cost_of_measuring_is_told_with_an_interval_and_a_status() {
    let lab = Lab::new();
    let sampled = 200.0;
    lab.plan(
        slow()
            .set("engine.script.token_us", 5_000)
            .set("workload.generate", 32)
            .set("instruments.sample_hz", sampled),
    );
    let ran = lab.run(&["overhead", "plan.toml", "--blocks", "81", "--tokens", "3", "--format", "json"]);
    let document = ran.json();
    schema::assert_fits(&document, "overhead.v1");
    let number = |key: &str| document[key].as_f64().unwrap();
    assert!(number("low_percent") <= number("change_percent"), "{document:#}");
    assert!(number("change_percent") <= number("high_percent"), "{document:#}");
    assert!(number("token_ms_off") >= 5.0 && number("sampler_ticks") >= 40.0, "{document:#}");
    let status = match document["conclusion"].as_str().unwrap() {
        "equivalent" => 0,
        "beyond" => 1,
        _ => 3,
    };
    assert_eq!(ran.status, Some(status), "{document:#}");
    assert_eq!(document["comparisons"], 40);
    assert!(number("comparisons_left") <= 40.0 && number("blocks_left_out") <= 81.0, "{document:#}");
    assert!(!lab.store().exists(), "nothing is stored");
    let few = lab.run(&["overhead", "plan.toml", "--tokens", "32"]).exits(2).prints_nothing();
    few.says("more than the plan's 31 after the first");
    lab.run(&["overhead", "plan.toml", "--blocks", "80"]).exits(2).says("81");
    lab.plan(slow().set("engine.script.token_us", 100).set("workload.generate", 32));
    let unseen = lab.run(&["overhead", "plan.toml", "--blocks", "81", "--tokens", "3"]).exits(2);
    unseen.says("say nothing of what it costs").says("raise `--tokens`");
    lab.run(&["overhead", "plan.toml", "--margin", "0"]).exits(2).says("above 0 and below 100");
}

#[test]
fn the_cost_of_measuring_is_no_verdict_beside_others() {
    let lab = Lab::new();
    let procfs = Procfs::new(&lab);
    let root = procfs.path();
    let _thief = Thief::in_tree(procfs);
    let plan = slow().set("engine.script.token_us", 5_000).set("workload.generate", 32);
    let words = ["overhead", "plan.toml", "--blocks", "81", "--tokens", "3", "--procfs-root", &root];
    let toggle = |plan: Plan| {
        lab.plan(plan.set("instruments.sample_hz", 200.0));
        lab.run(&[&words[..], &["--format", "json"]].concat())
    };
    let document = toggle(plan.clone()).exits(3).json();
    schema::assert_fits(&document, "overhead.v1");
    assert_eq!((&document["too_disturbed"], &document["conclusion"]), (&json!(true), &json!("inconclusive")));
    assert_eq!(document["blocks_needed"], Value::Null);
    let stolen = document["left_out_by"].as_array().unwrap().iter().find(|own| own["rule"] == "steal");
    assert!(stolen.unwrap()["blocks"].as_u64().unwrap() > 60, "{document:#}");
    let admitted = ["steal", "run-queue", "other-load"].map(toml::Value::from).to_vec();
    let document = toggle(plan.set("gate.admit", admitted)).json();
    assert_eq!((&document["blocks_left_out"], &document["too_disturbed"]), (&json!(0), &json!(false)));
}

#[test]
fn a_plan_without_instruments_is_refused_before_a_block_is_generated() {
    let lab = Lab::new();
    lab.plan(slow().set("instruments.sample_hz", 0.0).set("energy.sources", vec!["none"]));
    // More tokens than the plan has: whoever began with the blocks would complain of them.
    let ran = lab.run(&["overhead", "plan.toml", "--tokens", "99"]).exits(2).prints_nothing();
    ran.says("the plan turns every instrument off").says("raise `sample_hz` in `[instruments]`");
}
