//! `lab run` with plans of commands.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use lab_core::record::Outcome;
use lab_core::validity;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Lab, Ran, Running, wait_for};
use crate::kills;
use crate::measure::numbers;
use crate::plan::Plan;
use crate::schema;

/// A plan that runs a script of the shell so many times.
fn plan(text: &str, repeat: u32) -> String {
    format!(
        "version = 1\nname = \"own\"\n[command]\nrun = [\"sh\", \"-c\", {text:?}]\nrows = 3\ninterval_s = 0.01\n\
         [run]\nrepeat = {repeat}\n[tolerances]\nelapsed_sec = {{ percent = 5 }}\n"
    )
}

fn run(lab: &Lab, text: &str) -> Ran {
    lab.write("plan.toml", text);
    lab.run(&["run", "plan.toml", "--format", "json"])
}

#[test]
fn every_repetition_of_a_plan_is_a_launch_and_warm_ups_count_for_nothing() {
    let lab = Lab::new();
    let text =
        plan("echo x >> count; echo talk; sleep 0.02", 3).replace("repeat = 3", "repeat = 3\nwarmup = 2");
    let ran = run(&lab, &text).exits(0).says("talk");
    let document = ran.json();
    schema::assert_fits(&document, "session.v1");
    let runs = document["runs"].as_array().unwrap();
    assert_eq!((runs.len(), document["session"]["status"].clone()), (3, json!("completed")));
    assert!(runs.iter().all(|run| run["metrics"]["rows_used"] == 3.0), "{document:#}");
    assert_eq!(std::fs::read_to_string(lab.path("count")).unwrap().lines().count(), 5);
    let session = lab.newest().unwrap();
    assert_eq!((session.launches.len(), session.repetitions.len()), (5, 5));
    for recorded in &session.repetitions {
        let Outcome::Ran(run) = &recorded.repetition.outcome else { panic!("{recorded:?}") };
        let seen = run.observation.as_ref().expect("somebody looked at the machine");
        assert!(
            seen.command_cpu_ns.value().is_some() && seen.machine.after.at_ns > seen.machine.before.at_ns
        );
        assert_eq!(run.validity, validity::judge_command(run));
    }
    lab.run(&["run", "plan.toml", "--repeat", "1"]).exits(0).prints("own");
    assert_eq!(lab.newest().unwrap().measured().count(), 1);
}

#[test]
fn a_plans_command_works_in_the_plans_folder_with_an_environment_of_its_own() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("below")).unwrap();
    lab.write("below/data.csv", "a\n1\n2\n");
    let text = "version = 1\nname = \"own\"\n[command]\n\
                run = [\"sh\", \"-c\", 'test -f data.csv -a \"$MODE\" = fast -a -z \"$LAB_TEST_STRAY\"']\n\
                rows_from = \"data.csv\"\nenvironment = { MODE = \"fast\" }\n[run]\nrepeat = 1\n";
    lab.write("below/plan.toml", text);
    let mut command = lab.command(&["run", "below/plan.toml", "--format", "json"]);
    command.env("LAB_TEST_STRAY", "1");
    let document = Ran::of(command).exits(0).json();
    assert_eq!(document["runs"][0]["metrics"]["rows_used"], 2.0);
    assert_eq!(document["fingerprint"]["backend"]["identity"]["environment"]["MODE"], "fast");
    std::fs::remove_file(lab.path("below/data.csv")).unwrap();
    lab.run(&["run", "below/plan.toml"]).exits(2).says("data.csv` cannot be read").prints_nothing();
}

#[test]
fn a_plans_command_may_have_more_words_than_one_argument_holds_and_has_no_input() {
    let lab = Lab::new();
    let word = "x".repeat(100_000);
    let text = plan("test $(wc -c) -eq 0 -a ${#1} -eq 100000 -a ${#2} -eq 100000", 1);
    let text = text.replace("]\nrows", &format!(", \"sh\", \"{word}\", \"{word}\"]\nrows"));
    run(&lab, &text).exits(0);
}

#[test]
fn repetitions_of_equal_peak_have_equal_figures_though_no_look_met_the_peak() {
    let lab = Lab::new();
    let text = "version = 1\nname = \"own\"\n[command]\n\
                run = [\"dd\", \"if=/dev/zero\", \"of=/dev/null\", \"bs=80000000\", \"count=1\"]\n\
                rows = 1\ninterval_s = 60\n[run]\nrepeat = 3\n";
    let document = run(&lab, text).exits(0).json();
    let runs = document["runs"].as_array().unwrap();
    let peaks: Vec<f64> = runs.iter().map(|run| run["metrics"]["peak_memory_mb"].as_f64().unwrap()).collect();
    assert!(peaks.iter().all(|peak| (80.0..90.0).contains(peak)), "{peaks:?}");
}

#[test]
fn a_run_that_fails_makes_the_session_incomplete() {
    let lab = Lab::new();
    let text = plan("echo x >> count; test $(wc -l < count) -ne 2", 3);
    let ran = run(&lab, &text).exits(5);
    let ran = ran.says("repetition 2 of 3 failed: the command ended with status 1").says("incomplete");
    let document = ran.json();
    assert_eq!(document["session"]["completed"], 2);
    assert_eq!(document["failures"].as_array().unwrap().len(), 1);
    let late = plan("sleep 600", 1).replace("repeat = 1", "repeat = 1\ntimeout_s = 1");
    run(&lab, &late).exits(5).says("did not end within 1 s and was stopped");
    lab.run(&["verify"]).exits(0);
}

#[test]
fn a_script_or_a_file_of_rows_that_changes_under_the_session_fails_its_runs() {
    let lab = Lab::new();
    lab.write("data.csv", "n\n1\n");
    lab.write("self.sh", "echo : >> self.sh\n");
    lab.write("rows.sh", "echo 2 >> data.csv\n");
    for (script, rows, changed) in
        [("self.sh", "rows = 1", "self.sh"), ("rows.sh", "rows_from = \"data.csv\"", "data.csv")]
    {
        let text = format!(
            "version = 1\nname = \"own\"\n[command]\nrun = [\"sh\", \"{script}\"]\n{rows}\n[run]\nrepeat = 2\n"
        );
        let told = format!("the command failed: `./{changed}` changed while the session ran");
        let ran = run(&lab, &text).exits(5).says(&told);
        assert_eq!(ran.json()["session"]["completed"], 0, "{ran:#?}");
    }
}

#[test]
fn what_a_repetition_leaves_running_is_ended_before_the_next_begins() {
    let lab = Lab::new();
    // Fails where what the repetition before has left is there still, in the group of the command or in a session of its own.
    let text = "for pid in $(cat left); do kill -0 $pid && exit 9; done; \
                sleep 600 & echo $! > left; (setsid sleep 600 & echo $! >> left)";
    lab.write("left", "");
    let ran = run(&lab, &plan(text, 3)).exits(0);
    for place in 1..=3 {
        assert!(
            ran.stderr
                .contains(&format!("repetition {place} of 3 left 2 processes running, which lab ended")),
            "{ran:#?}"
        );
    }
    assert!(numbers(&lab, "left").into_iter().all(|pid| !kills::is_alive(pid)), "the last ones outlived lab");
}

#[test]
fn a_command_whose_supervisor_is_killed_is_ended_and_fails_and_the_next_repetition_runs() {
    let lab = Lab::new();
    let text = "test -e begun && exit 0; echo $$ > begun.part; mv begun.part begun; exec sleep 600";
    lab.write("plan.toml", plan(text, 2));
    let running = lab.start(&["run", "plan.toml", "--format", "json"]);
    wait_for("the command", || lab.path("begun").exists().then_some(()));
    let sleeper = numbers(&lab, "begun")[0];
    let (_, supervisor) = kills::state_and_parent(sleeper).unwrap();
    assert_ne!(supervisor, running.id());
    kills::send(supervisor, Signal::KILL);
    let ran = running.finish().exits(5);
    assert!(!kills::is_alive(sleeper), "the command outlived the one that watched it");
    let ran = ran.says("repetition 1 of 2 left 1 process running, which lab ended");
    let ran = ran.says("repetition 1 of 2 failed").says("was killed by signal 9").says("incomplete");
    let document = ran.json();
    assert_eq!(
        (&document["session"]["completed"], &document["session"]["status"]),
        (&json!(1), &json!("incomplete"))
    );
    assert_eq!(document["failures"].as_array().unwrap().len(), 1);
    lab.run(&["verify"]).exits(0);
}

#[test]
fn what_a_plan_lacks_is_told_before_anything_is_recorded() {
    let lab = Lab::new();
    let absent = plan(":", 1).replace("\"sh\"", "\"lab-no-such-program\"");
    run(&lab, &absent).exits(5).says("`lab-no-such-program` was not found").prints_nothing();
    let core = plan(":", 1).replace("rows = 3", "rows = 3\ncores = [4294967295]");
    run(&lab, &core).exits(5).says("pins the command to core 4294967295").prints_nothing();
    lab.run(&["plan", "check", "plan.toml"]).exits(5).prints("pins the command to core");
    run(&lab, &plan(":", 1).replace("rows = 3\n", ""))
        .exits(2)
        .says("nothing says how many rows")
        .prints_nothing();
    assert!(!lab.store().exists());
}

#[test]
fn a_program_in_a_folder_whose_name_is_no_text_is_refused() {
    let lab = Lab::new();
    let folder = lab.path("").join(OsStr::from_bytes(b"plans-\xff"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("tool.sh"), "#!/bin/sh\n").unwrap();
    std::fs::write(folder.join("plan.toml"), plan(":", 1).replace("\"sh\"", "\"./tool.sh\"")).unwrap();
    let mut own = lab.command(&["run"]);
    own.arg(folder.join("plan.toml"));
    Ran::of(own).exits(2).prints_nothing().says("plans-\\xFF").says("is not UTF-8");
    assert!(!lab.store().exists());
}

#[test]
fn a_plan_of_a_command_is_checked_and_what_is_about_engines_refuses_it() {
    let lab = Lab::new();
    lab.write("plan.toml", plan(":", 4));
    let document = lab.run(&["plan", "check", "plan.toml", "--format", "json"]).exits(0).json();
    schema::assert_fits(&document, "command-check.v1");
    assert_eq!((&document["runnable"], &document["run"]["measured"]), (&json!(true), &json!(4)));
    lab.run(&["plan", "check", "plan.toml"]).exits(0).prints("given = 3").prints("this plan can run here");
    for option in [&["--profile"][..], &["--replace-invalid"], &["--until", "decided-against", "@latest"]] {
        lab.run(&[["run", "plan.toml"].as_slice(), option].concat())
            .exits(2)
            .says(option[0])
            .says("about engines");
    }
    for command in ["calibrate", "overhead"] {
        lab.run(&[command, "plan.toml"]).exits(2).says("asks no engine").says("`lab run` carries it out");
    }
    assert!(!lab.store().exists());
}

#[test]
fn sessions_of_a_plan_are_compared_with_one_another_and_with_no_engines() {
    let lab = Lab::new();
    let text = plan("sleep 0.05", 3);
    run(&lab, &text).exits(0);
    run(&lab, &text).exits(0);
    let ran = lab.run(&["compare", "@latest~1", "@latest", "--format", "json"]);
    assert!(matches!(ran.status, Some(0 | 1 | 3)), "{ran:#?}");
    assert_eq!(ran.json()["contract"]["id"], "smoke.v1");
    let gated = lab.run(&["gate", "--baseline", "@latest~1"]);
    assert!(matches!(gated.status, Some(0 | 1 | 3)), "{gated:#?}");
    assert!(!gated.stderr.contains("does not read"), "the plan's own policy holds: {gated:#?}");
    lab.write("engine.toml", Plan::scripted().text());
    lab.run(&["run", "engine.toml"]);
    lab.run(&["compare", "@latest~1", "@latest"]).exits(4);
    lab.run(&["history", "plan.toml", "--metric", "elapsed_sec"]).exits(0).prints("own");
}

/// Starts a session whose command tells its number and goes on with a script. Returns that number when it has.
fn sleeping(lab: &Lab, script: &str) -> (Running, u32) {
    lab.write("plan.toml", plan(&format!("echo $$ > begun; {script}"), 2));
    let running = lab.start(&["run", "plan.toml", "--format", "json"]);
    let sleeper = wait_for("the command", || {
        let text = std::fs::read_to_string(lab.path("begun")).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    });
    (running, sleeper)
}

#[test]
fn ctrl_c_ends_the_command_and_the_session_in_order() {
    let lab = Lab::new();
    let (running, sleeper) = sleeping(&lab, "exec sleep 600");
    kills::send(running.id(), Signal::INT);
    let document = running.finish().exits(130).says("interrupted").json();
    assert_eq!(document["session"]["status"], "interrupted");
    assert_eq!(document["failures"], json!([]), "an interruption is no failure");
    assert!(!Path::new(&format!("/proc/{sleeper}")).exists(), "the command outlived the session");
}

#[test]
fn ctrl_c_reaches_a_command_whose_supervisor_is_stopped() {
    let lab = Lab::new();
    let (running, sleeper) = sleeping(&lab, "kill -STOP $PPID; exec sleep 600");
    let (_, supervisor) = kills::state_and_parent(sleeper).unwrap();
    wait_for("the stop", || (kills::state_and_parent(supervisor)?.0 == "T").then_some(()));
    kills::send(running.id(), Signal::INT);
    running.finish().exits(130).says("interrupted");
    assert!(!kills::is_alive(sleeper), "the command outlived the session");
}

#[test]
fn a_command_that_does_not_heed_ctrl_c_is_waited_for_and_lab_says_so() {
    let lab = Lab::new();
    let (running, sleeper) = sleeping(&lab, "trap '' INT; echo > heedless; exec sleep 600");
    wait_for("the trap", || lab.path("heedless").exists().then_some(()));
    kills::send(running.id(), Signal::INT);
    let note = "note: waiting for the command to end; Ctrl-C again ends lab at once";
    wait_for("the note", || running.said().contains(note).then_some(()));
    assert!(kills::is_alive(sleeper), "it was ended");
    kills::send(sleeper, Signal::KILL);
    running.finish().exits(130).says("interrupted");
}

#[test]
fn a_command_that_heeds_no_request_ends_soon_after_a_lab_that_was_killed() {
    let lab = Lab::new();
    let script = "setsid sleep 600 & echo $! > left; trap '' TERM; echo > heedless; exec sleep 600";
    let (running, sleeper) = sleeping(&lab, script);
    wait_for("the trap", || lab.path("heedless").exists().then_some(()));
    let left = numbers(&lab, "left")[0];
    kills::send(running.id(), Signal::KILL);
    assert_eq!(running.finish().status, None, "killed by a signal");
    for pid in [sleeper, left] {
        wait_for("the end of what lab ran", || (!kills::is_alive(pid)).then_some(()));
    }
}
