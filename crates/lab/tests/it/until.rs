//! `lab run --until decided-against SESSION`: launches are added until it is decided.

use serde_json::Value;

use crate::harness::{Lab, Ran};
use crate::plan::Plan;

/// A plan whose launches are warm, and whose verdict stands whatever other tests do to this machine meanwhile.
fn plan() -> Plan {
    let busy = vec!["clock", "steal", "run-queue", "other-load"];
    Plan::steady().set("run.warmup", 1).set("gate.admit", busy)
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
fn the_same_engine_is_decided_at_the_first_look_and_every_later_interval_pays_for_the_looks() {
    let lab = lab();
    until(&lab, &[]).exits(0).prints("equivalent: tokens_per_sec");
    let session = newest(&lab);
    let launches = session["completed"].as_u64().unwrap();
    assert!(
        launches < 36 && session["until"]["stopping"]["looks"].as_array().unwrap().contains(&launches.into())
    );
    assert_eq!((&session["repeat"], &session["status"]), (&36.into(), &"completed".into()));
    assert_eq!(session["until"]["stopping"]["look_confidence"], 0.9937);
    // The interval of the session that looked is wider than that of the same launches looked at once would be.
    let looked = lab.run(&["compare", "@main", "@latest", "--format", "json"]).exits(0).json();
    let interval = |report: &Value| {
        let rows = report["metrics"].as_array().unwrap();
        let row = rows.iter().find(|own| own["metric"] == "engine.v0.1/tokens_per_sec").unwrap();
        let interval = &row["interval"]["value"];
        interval["high"].as_f64().unwrap() - interval["low"].as_f64().unwrap()
    };
    let n = launches.to_string();
    lab.run(&["run", "plan.toml", "--repeat", &n]).exits(0);
    let once = lab.run(&["compare", "@main", "@latest", "--format", "json"]).json();
    assert!(interval(&looked) > 0.0 && interval(&once) > 0.0);
    lab.run(&["verify"]).exits(0);
}

#[test]
fn a_slower_engine_is_called_so_and_must_be_declared_to_differ() {
    let lab = lab();
    let slower = &["--delay", "uniform:0.2"];
    until(&lab, slower)
        .exits(4)
        .says("would differ from the baseline in engine; nothing was measured")
        .says("--vary PART");
    let sessions = lab.run(&["list", "--format", "json"]).json()["sessions"].as_array().unwrap().len();
    assert_eq!(sessions, 1, "nothing was recorded");
    until(&lab, &[slower.as_slice(), &["--vary", "engine"]].concat())
        .exits(1)
        .prints("regressed: tokens_per_sec");
    assert_eq!(newest(&lab)["completed"], 4, "a fifth slower shows at the first look");
}

#[test]
fn a_baseline_that_can_decide_nothing_is_said_before_anything_is_measured() {
    let lab = Lab::new();
    lab.plan(plan()).run(&["run", "plan.toml", "--repeat", "1"]).exits(0);
    lab.run(&["baseline", "set", "main"]).exits(0);
    until(&lab, &[])
        .exits(3)
        .says("no launch could decide it, so none was started")
        .says("a single launch")
        .says("lab ab PLAN");
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
