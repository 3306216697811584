//! Workloads that force what the engine is fed, on the scripted engine, whose margins tell what that was.

use lab_core::record::{Outcome, Session};
use serde_json::Value;

use crate::harness::Lab;
use crate::plan::Plan;
use crate::schema;

fn forced(plan: Plan) -> Plan {
    plan.set("workload.decode", "forced")
}

/// Asserts that every repetition, warm-ups included, was fed what the session's workload forces.
#[track_caller]
fn check_fed(session: &Session) {
    let forced =
        session.header.workload().and_then(|own| own.forced.as_deref()).expect("the workload forces tokens");
    let told = forced.iter().map(|id| 1.0 + f32::from(u16::try_from(*id).unwrap()));
    let expected: Vec<f32> = std::iter::once(1.0).chain(told).collect();
    assert!(session.completed().count() > 0, "{:?}", session.repetitions);
    for repetition in session.repetitions.iter().map(|recorded| &recorded.repetition) {
        let Outcome::Completed(completed) = &repetition.outcome else { continue };
        let margins = completed.margins.as_deref().expect("the scripted engine reports margins");
        assert_eq!(margins, &expected[..completed.token_ids.len()], "repetition {}", repetition.index);
    }
}

fn plan_identity(document: &Value) -> &Value {
    &document["fingerprint"]["plan"]["identity"]
}

#[test]
fn drawn_tokens_are_fed_and_what_the_engine_chose_is_recorded() {
    let lab = Lab::new();
    let free = lab.measure(Plan::scripted());
    let chosen = lab.newest().unwrap();
    let document = lab.measure(forced(Plan::scripted()));
    schema::assert_fits(&document, "session.v1");
    let session = lab.newest().unwrap();
    check_fed(&session);
    let workload = session.header.workload().expect("an engine was asked");
    let ids = workload.forced.as_ref().unwrap();
    assert_eq!((ids.len(), workload.prompt.len()), (3, 4));
    assert!(ids.iter().all(|id| *id < 512) && *ids != workload.prompt[..3], "{workload:?}");
    assert_eq!(chosen.header.workload().unwrap().prompt, workload.prompt, "the prompt stays what it was");
    let said = |session: &Session| session.completed().next().unwrap().1.token_ids.clone();
    assert_eq!(said(&chosen), said(&session), "a script chooses the same whatever it is fed");
    assert!(plan_identity(&free).get("forced").is_none(), "{free:#}");
    assert!(plan_identity(&document)["forced"].is_string(), "{document:#}");
    lab.run(&["show", "@latest"]).exits(0).prints("4 to generate, fed drawn tokens");
    lab.run(&["show", "@latest", "--rederive"]).exits(0);
    lab.run(&["verify"]).exits(0);
}

#[test]
fn the_seed_decides_what_is_forced_and_another_work_is_never_compared() {
    let lab = Lab::new();
    let plans = [
        Plan::scripted(),
        forced(Plan::scripted()),
        forced(Plan::scripted()),
        forced(Plan::scripted().set("workload.seed", 2)),
    ];
    let [free, one, same, other] = plans.map(|plan| lab.measure(plan));
    let of = |document: &Value| plan_identity(document)["forced"].clone();
    assert_eq!(one["fingerprint"]["digest"], same["fingerprint"]["digest"]);
    assert_ne!(of(&one), of(&other));
    let id = |document: &Value| document["session"]["id"].as_str().unwrap().to_owned();
    lab.run(&["compare", &id(&free), &id(&one)]).exits(4).prints("plan differs in forced");
    lab.run(&["compare", &id(&one), &id(&other)]).exits(4).prints("plan differs in forced and prompt");
}

#[test]
fn warm_ups_and_turns_are_fed_in_order_too() {
    let lab = Lab::new();
    lab.measure(forced(Plan::scripted().set("run.warmup", 1)));
    check_fed(&lab.newest().unwrap());
    lab.plan(forced(Plan::steady()));
    let ran = lab.run(&["ab", "plan.toml", "--seed", "1", "--pairs", "6"]);
    assert!(matches!(ran.status, Some(0 | 1 | 3)), "{ran:#?}");
    let session = lab.newest().unwrap();
    assert!(
        session.completed().any(|(_, completed)| completed.turns.is_some()),
        "nothing was generated in turn"
    );
    check_fed(&session);
}

#[test]
fn an_engine_that_does_not_say_that_it_can_be_forced_is_refused_before_it_loads() {
    let build = "0".repeat(64);
    let hello = format!(
        r#"{{"answer":"hello","protocol":1,"name":"quiet","version":"1","build":"{build}","device":"cpu","settings":{{}},"clock_resolution_ns":1}}"#
    );
    let script = format!("read -r line; echo '{hello}' >/proc/self/fd/$LAB_PROTOCOL_FD; read -r line");
    let plan = Plan::scripted().without("engine").set("engine.command", vec!["/bin/sh", "-c", &script]);
    let lab = Lab::new();
    let ran = lab.plan(forced(plan)).run(&["run", "plan.toml"]).exits(2).prints_nothing();
    ran.says("the engine `quiet 1` does not say that it can be forced").says("with the feature `forced`");
    assert!(lab.newest().is_none(), "something was recorded");
}

#[test]
fn a_plan_check_tells_what_is_fed() {
    let lab = Lab::new();
    lab.plan(forced(Plan::scripted()));
    lab.run(&["plan", "check", "plan.toml"]).exits(0).prints("fed tokens drawn from seed 1");
}
