//! Signals from outside: to the engine, to lab, from the user.

use lab_core::record::SessionStatus;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::{Lab, Running, wait_for};
use crate::plan::Plan;

/// Starts a session whose third launch hangs, and returns once it has begun: two repetitions are stored by then.
fn hanging_in_its_third_launch(lab: &Lab) -> (Running, u32) {
    lab.plan(Plan::scripted().set("run.repeat", 4).fault("generate_hangs").in_launch(2));
    let running = lab.start(&["run", "plan.toml", "--format", "json"]);
    wait_for("the third launch", || lab.newest().filter(|session| session.launches.len() == 3));
    let engine = wait_for("the engine process", || children(running.id()).first().copied());
    (running, engine)
}

/// Lists the living children of a process. The fields behind the name in `/proc/<pid>/stat` are state and parent
/// (proc_pid_stat(5)).
fn children(parent: u32) -> Vec<u32> {
    let numbers = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|pid| state_and_parent(*pid).is_some_and(|(state, own)| own == parent && state != "Z"))
        .collect()
}

pub(crate) fn state_and_parent(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

pub(crate) fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != "Z")
}

pub(crate) fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn an_engine_killed_from_outside_costs_one_repetition_and_the_session_goes_on() {
    let lab = Lab::new();
    let (running, engine) = hanging_in_its_third_launch(&lab);
    send(engine, Signal::KILL);
    let ran = running.finish().exits(5).says("SIGKILL");
    let document = ran.json();
    let launches: Vec<_> =
        document["executions"].as_array().unwrap().iter().map(|own| &own["launch"]).collect();
    assert_eq!(launches, [0, 1, 3]);
    assert_eq!(document["failures"][0]["error"], json!({"kind": "killed", "signal": 9, "name": "SIGKILL"}));
    assert_eq!(document["failures"].as_array().unwrap().len(), 1);
}

#[test]
fn an_engine_ended_by_another_signal_is_recorded_with_that_one() {
    let lab = Lab::new();
    let (running, engine) = hanging_in_its_third_launch(&lab);
    send(engine, Signal::ABORT);
    let document = running.finish().exits(5).json();
    assert_eq!(document["failures"][0]["error"], json!({"kind": "killed", "signal": 6, "name": "SIGABRT"}));
}

#[test]
fn ctrl_c_keeps_what_has_finished_and_ends_with_130() {
    for signal in [Signal::INT, Signal::TERM] {
        let lab = Lab::new();
        let (running, engine) = hanging_in_its_third_launch(&lab);
        send(running.id(), signal);
        let ran = running.finish().exits(130).says("interrupted");
        let document = ran.json();
        assert_eq!(document["session"]["status"], "interrupted");
        assert_eq!(document["session"]["completed"], 2);
        assert_eq!(document["failures"], json!([]), "an interruption is no failure");
        assert!(!is_alive(engine), "the engine outlived the session");
        lab.run(&["list"]).exits(0).prints("2/4").prints("interrupted");
        lab.run(&["verify"]).exits(0);
    }
}

#[test]
fn a_killed_lab_takes_its_engine_down_and_leaves_a_sound_store() {
    let lab = Lab::new();
    let (running, engine) = hanging_in_its_third_launch(&lab);
    assert!(is_alive(engine));
    send(running.id(), Signal::KILL);
    assert_eq!(running.finish().status, None, "killed by a signal");
    wait_for("the engine's end", || (!is_alive(engine)).then_some(()));
    let session = lab.newest().unwrap();
    assert_eq!(session.status(), SessionStatus::Unfinished);
    assert_eq!((session.completed().count(), session.end), (2, None));
    lab.run(&["list"]).exits(0).prints("2/4").prints("unfinished");
    let document = lab.run(&["show", "@latest", "--format", "json"]).exits(0).json();
    assert_eq!(document["session"]["status"], "unfinished");
    assert_eq!(document["session"]["ended_at"], serde_json::Value::Null);
    lab.run(&["verify"]).exits(0).says("sound");
    lab.measure(Plan::scripted());
    lab.run(&["verify"]).exits(0).says("sound");
}

#[test]
fn what_lab_runs_of_itself_ends_in_order_when_lab_ends() {
    // SIGINT does as SIGTERM does, but a shell may have started all of this with it ignored.
    for signal in [Signal::TERM, Signal::KILL] {
        let lab = Lab::new();
        lab.plan(Plan::scripted().fault("generate_hangs"));
        let words = ["calibrate", "plan.toml", "--sessions", "3", "--repeat", "3", "--pairs", "4"];
        let running = lab.start(&words);
        wait_for("the first launch", || lab.newest().filter(|session| session.launches.len() == 1));
        let own = wait_for("lab's own command", || children(running.id()).first().copied());
        let engine = wait_for("its engine", || children(own).first().copied());
        send(running.id(), signal);
        assert_eq!(running.finish().status, None, "ended by a signal");
        wait_for("the end of lab's own command", || (!is_alive(own)).then_some(()));
        assert!(!is_alive(engine), "the engine outlived the session");
        assert_eq!(lab.newest().unwrap().status(), SessionStatus::Interrupted, "{signal:?}");
    }
}

#[test]
fn two_labs_may_record_into_one_store_at_once() {
    let lab = Lab::new();
    lab.plan(Plan::scripted().set("run.repeat", 4));
    let both = [(); 2].map(|()| lab.start(&["run", "plan.toml", "--format", "json"]));
    let ids = both.map(|running| {
        let document = running.finish().exits(0).json();
        assert_eq!(document["session"]["completed"], 4);
        document["session"]["id"].clone()
    });
    assert_ne!(ids[0], ids[1]);
    let list = lab.run(&["list", "--format", "json"]).exits(0).json();
    assert_eq!(list["sessions"].as_array().unwrap().len(), 2);
    lab.run(&["verify"]).exits(0).says("sound");
}
