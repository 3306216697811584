//! Everything that can go wrong in an engine: what is recorded, and how lab ends.

use serde_json::{Value, json};

use crate::harness::Lab;
use crate::plan::Plan;
use crate::schema;

/// Runs three launches of which the second is struck, and returns the document: the first and third must complete.
#[track_caller]
fn struck_in_the_middle(fault: &str) -> Value {
    let plan =
        Plan::scripted().set("run.repeat", 3).set("run.generate_timeout_s", 1).set("run.load_timeout_s", 1);
    let lab = Lab::new();
    lab.plan(plan.fault(fault).in_launch(1));
    let ran = lab.run(&["run", "plan.toml", "--format", "json"]).exits(5).says("the session is incomplete");
    let document = ran.json();
    schema::assert_fits(&document, "session.v1");
    assert_eq!(document["session"]["status"], "incomplete");
    let launches: Vec<&Value> =
        document["executions"].as_array().unwrap().iter().map(|own| &own["launch"]).collect();
    assert_eq!(launches, [0, 2], "{fault}");
    lab.run(&["verify"]).exits(0);
    lab.run(&["show", "@latest", "--rederive"]).exits(0).says("0 differ").prints("failed");
    document
}

/// Asserts that one repetition failed, in the struck launch and with this error.
#[track_caller]
fn check_failed_repetition(fault: &str, error: &Value, reason: &str) {
    let document = struck_in_the_middle(fault);
    let failure = json!({
        "what": "repetition", "repetition": 1, "launch": 1, "kind": "measured", "reason": reason, "error": error,
    });
    assert_eq!(document["failures"], json!([failure]));
}

#[test]
fn an_engine_killed_in_mid_repetition_costs_that_repetition_and_names_its_signal() {
    check_failed_repetition(
        "killed",
        &json!({"kind": "killed", "signal": 9, "name": "SIGKILL"}),
        "the engine was killed by signal 9 (SIGKILL)",
    );
}

#[test]
fn an_engine_that_exits_in_mid_repetition_is_recorded_with_its_status() {
    check_failed_repetition(
        "exits",
        &json!({"kind": "exited", "status": 3, "log": ""}),
        "the engine ended with status 3 before it answered",
    );
}

#[test]
fn an_engine_that_answers_with_an_error_is_recorded_with_its_words() {
    check_failed_repetition(
        "generate_fails",
        &json!({"kind": "failed", "message": "the script says so"}),
        "the engine failed: the script says so",
    );
}

#[test]
fn an_engine_that_hangs_is_stopped_after_the_plans_time_out() {
    check_failed_repetition(
        "generate_hangs",
        &json!({"kind": "timed_out", "request": "generate", "seconds": 1}),
        "the engine gave no answer to `generate` within 1 s and was stopped",
    );
}

#[test]
fn an_answer_that_breaks_the_protocol_is_a_failed_repetition() {
    for (fault, words) in [
        ("garbage", "expected an answer frame, got `token token token`"),
        ("too_few_tokens", "asked for 4 tokens, it answered with 3"),
        ("backwards", "token 1 is stamped 0 ns, before its predecessor"),
    ] {
        let document = struck_in_the_middle(fault);
        let failures = document["failures"].as_array().unwrap();
        assert_eq!((failures.len(), &failures[0]["error"]["kind"]), (1, &json!("protocol")), "{fault}");
        let reason = failures[0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("the engine broke the protocol: ") && reason.contains(words), "{reason}");
    }
}

#[test]
fn a_launch_that_cannot_load_costs_its_repetition_and_is_recorded_as_both() {
    for (fault, error) in [
        ("load_fails", json!({"kind": "failed", "message": "the script says so"})),
        ("load_hangs", json!({"kind": "timed_out", "request": "load", "seconds": 1})),
    ] {
        let document = struck_in_the_middle(fault);
        let failures = document["failures"].as_array().unwrap();
        let whats: Vec<&Value> = failures.iter().map(|own| &own["what"]).collect();
        assert_eq!(whats, ["launch", "repetition"], "{fault}");
        assert!(failures.iter().all(|own| own["error"] == error && own["launch"] == 1), "{failures:#?}");
    }
}

#[test]
fn an_engine_that_becomes_another_in_mid_session_loses_that_launch() {
    for (fault, words) in [
        ("wrong_protocol", "it speaks protocol version 999; this lab speaks 1"),
        ("coarse_clock", "its clock resolves 1000000 ns"),
    ] {
        let document = struck_in_the_middle(fault);
        let reason = document["failures"][0]["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn an_engine_that_lies_about_time_is_recorded_as_suspect() {
    let lab = Lab::new();
    // A third of 60 ms is far beyond the slack of 1 % and 2 ms.
    let plan = Plan::scripted().set("engine.script.prefill_us", 60_000).fault("lying_clock");
    let document = lab.measure(plan);
    assert_eq!(document["session"]["status"], "completed");
    for execution in document["executions"].as_array().unwrap() {
        assert_eq!(execution["validity"]["state"], "suspect");
        let reason = execution["validity"]["reasons"][0].as_str().unwrap();
        assert!(reason.starts_with("clock: engine and harness disagree about the time"), "{reason}");
    }
    lab.run(&["show", "@latest"]).exits(0).prints("2 of 2 suspect (clock");
}

/// Asserts that a fault from the first launch on ends lab with status 5 before anything is recorded.
#[track_caller]
fn check_refused_before_recording(fault: &str, words: &str) {
    let lab = Lab::new();
    lab.plan(Plan::scripted().fault(fault)).run(&["run", "plan.toml"]).exits(5).says(words).prints_nothing();
    lab.run(&["list"]).exits(0).prints("no session is recorded yet");
}

#[test]
fn a_clock_coarser_than_a_microsecond_is_refused() {
    check_refused_before_recording(
        "coarse_clock",
        "the engine broke the protocol: its clock resolves 1000000 ns",
    );
}

#[test]
fn an_engine_of_another_protocol_is_refused() {
    check_refused_before_recording("wrong_protocol", "it speaks protocol version 999; this lab speaks 1");
}

/// Asserts that a session in which nothing completes is stored as failed, and how many repetitions it tried.
#[track_caller]
fn check_failed_session(plan: Plan, n_failures: usize, words: &str) {
    let lab = Lab::new();
    let ran =
        lab.plan(plan).run(&["run", "plan.toml", "--format", "json"]).exits(5).says("the session is failed");
    let document = ran.says(words).json();
    schema::assert_fits(&document, "session.v1");
    assert_eq!(document["session"]["status"], "failed");
    assert_eq!(document["executions"], json!([]));
    assert_eq!(document["failures"].as_array().unwrap().len(), n_failures, "{document:#}");
    let speed = document["statistics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|own| own["metric"] == "engine.v0.1/tokens_per_sec");
    assert_eq!(speed.unwrap()["summary"], Value::Null, "a failure is never a zero");
    lab.run(&["list"]).exits(0).prints("0/3").prints("failed");
    lab.run(&["compare", "@latest", "@latest"]).exits(4).prints("no measured repetition of session");
}

#[test]
fn a_session_whose_engine_never_loads_ends_at_once_and_is_stored_as_failed() {
    // A launch and its repetition: nothing suggests that the second launch would load.
    check_failed_session(Plan::scripted().set("run.repeat", 3).fault("load_fails"), 2, "launch 0 failed");
}

#[test]
fn a_session_in_which_every_repetition_fails_is_stored_as_failed() {
    let plan = Plan::scripted().set("run.repeat", 3).fault("generate_fails");
    check_failed_session(plan, 3, "the engine failed: the script says so");
}

#[test]
fn an_engine_that_dies_warming_up_costs_the_measured_repetition_too() {
    let plan = Plan::scripted().set("run.repeat", 3).set("run.warmup", 1).fault("killed");
    check_failed_session(plan, 6, "SIGKILL");
}

#[test]
fn a_command_that_is_no_engine_is_refused_with_its_words() {
    for (command, words) in [
        (vec!["/no/such/engine"], "cannot start `/no/such/engine`"),
        (vec!["/bin/true"], "cannot start the engine: the engine ended with status 0 before it answered"),
        (
            vec!["/bin/sh", "-c", "echo out of luck; exit 7"],
            "status 7 before it answered; its log ends: out of luck",
        ),
        (vec!["/bin/sh", "-c", "echo hello >/proc/self/fd/$LAB_PROTOCOL_FD; sleep 60"], "got `hello`"),
    ] {
        let lab = Lab::new();
        let plan = Plan::scripted().without("engine").set("engine.command", command);
        lab.plan(plan).run(&["run", "plan.toml"]).exits(5).says(words).prints_nothing();
    }
}
