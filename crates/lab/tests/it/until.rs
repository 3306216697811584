//! `lab run --until decided-against SESSION`: launches are added until it is decided.

use serde_json::Value;

use crate::harness::{Lab, Ran};
use crate::plan::Plan;

/// A plan whose launches are warm, and whose verdict stands whatever other tests do to this machine meanwhile: that may take
/// milliseconds of the 28 of a repetition.
fn plan() -> Plan {
    let busy = ["clock", "steal", "run-queue", "other-load", "involuntary-switches", "cpu-pressure"];
    Plan::steady()
        .set("run.warmup", 1)
        .set("gate.admit", busy.to_vec())
        .set("tolerances.tokens_per_sec.percent", 25)
}

/// A baseline of twelve launches.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.plan(plan()).run(&["run", "plan.toml", "--repeat", "12"]).exits(0);
    lab.run(&["baseline", "set", "main"]).exits(0);
    lab
}

fn until(lab: &Lab, further: &[&str]) -> Ran {
    lab.run(&[&["run", "plan.toml", "--until", "decided-against", "@main"], further].concat())
}

fn newest(lab: &Lab) -> Value {
    lab.run(&["show", "@latest", "--format", "json"]).exits(0).json()["session"].clone()
}

#[test]
fn the_same_engine_is_decided_at_a_look_and_the_session_carries_its_stopping_plan() {
    let lab = lab();
    until(&lab, &[]).exits(0).prints("equivalent: tokens_per_sec");
    let session = newest(&lab);
    let launches = session["completed"].as_u64().unwrap();
    assert!(
        launches < 36 && session["until"]["stopping"]["looks"].as_array().unwrap().contains(&launches.into())
    );
    assert_eq!((&session["repeat"], &session["status"]), (&36.into(), &"completed".into()));
    let confidence = session["until"]["stopping"]["look_confidence"].as_f64().unwrap();
    assert!(confidence > 0.9937, "{confidence}");
    lab.run(&["verify"]).exits(0);
}

#[test]
fn a_slower_engine_is_called_so_and_must_be_declared_to_differ() {
    let lab = lab();
    let slower = &["--delay", "uniform:0.5"];
    until(&lab, slower)
        .exits(4)
        .says("would differ from the baseline in engine; nothing was measured")
        .says("--vary PART");
    let sessions = lab.run(&["list", "--format", "json"]).json()["sessions"].as_array().unwrap().len();
    assert_eq!(sessions, 1, "nothing was recorded");
    until(&lab, &[slower.as_slice(), &["--vary", "engine"]].concat())
        .exits(1)
        .prints("regressed: tokens_per_sec");
    assert!(newest(&lab)["completed"].as_u64().unwrap() < 36, "half the speed shows before the budget ends");
}

#[test]
fn a_baseline_that_can_decide_nothing_is_said_before_anything_is_measured() {
    let lab = Lab::new();
    lab.plan(plan()).run(&["run", "plan.toml", "--repeat", "1"]).exits(0);
    lab.run(&["baseline", "set", "main"]).exits(0);
    until(&lab, &[])
        .exits(3)
        .says("could not be called equivalent, so none was started")
        .says("a single launch")
        .says("lab ab PLAN");
    let sessions = lab.run(&["list", "--format", "json"]).json()["sessions"].as_array().unwrap().len();
    assert_eq!(sessions, 1, "nothing was recorded");
}

#[test]
fn a_gated_metric_without_a_tolerance_at_the_baseline_is_said_before_anything_is_measured() {
    let lab = lab();
    let gated =
        plan().set("tolerances.ttft_ms.percent", 50).set("gate.metrics", vec!["tokens_per_sec", "ttft_ms"]);
    lab.plan(gated);
    until(&lab, &[]).exits(3).says("ttft_ms: the gate names it").says("records a baseline with this plan");
    let sessions = lab.run(&["list", "--format", "json"]).json()["sessions"].as_array().unwrap().len();
    assert_eq!(sessions, 1, "nothing was recorded");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let lab = lab();
    lab.run(&["run", "plan.toml", "--until", "decided", "@main"])
        .exits(2)
        .says("did you mean `--until decided-against SESSION`");
    lab.run(&["run", "plan.toml", "--until", "decided-against", "@mian"]).exits(2).says("@main");
    lab.run(&["run", "plan.toml", "--vary", "engine"]).exits(2).says("--until");
    until(&lab, &["--repeat", "3"]).exits(2).says("between 4 and 112");
    until(&lab, &["--profile"]).exits(2);
    lab.plan(plan().set("run.isolation", "session"));
    until(&lab, &[]).exits(2).says("all repetitions in one launch");
}
