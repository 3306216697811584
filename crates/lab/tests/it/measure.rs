//! `lab measure`, and plans that run a command.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use lab_core::record::{Outcome, SessionStatus};
use lab_core::validity;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Lab, Ran, Running, wait_for};
use crate::kills;
use crate::plan::Plan;
use crate::schema;

/// Readies `lab measure` where nothing in the environment switches it.
fn command(lab: &Lab, arguments: &[&str]) -> std::process::Command {
    let mut command = lab.command(&[["measure"].as_slice(), arguments].concat());
    command.env_remove("LAB_MEASURE").env_remove("CI");
    command
}

#[track_caller]
fn measure(lab: &Lab, arguments: &[&str]) -> Ran {
    Ran::of(command(lab, arguments))
}

/// Runs a script of the shell that uses one row.
#[track_caller]
fn script(lab: &Lab, options: &[&str], script: &str) -> Ran {
    let words =
        [["--rows", "1", "--format", "json"].as_slice(), options, &["--", "sh", "-c", script]].concat();
    measure(lab, &words)
}

/// Returns the names of the records in the folder where they are without being told.
fn records(lab: &Lab) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(lab.path("results/model_runs")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Returns the numbers of processes that a file has.
#[track_caller]
fn numbers(lab: &Lab, file: &str) -> Vec<u32> {
    let text = std::fs::read_to_string(lab.path(file)).unwrap();
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Returns how many decimals the number of a key has in a text.
#[track_caller]
fn decimals(text: &str, key: &str) -> usize {
    let (_, rest) = text.split_once(&format!("\"{key}\": ")).unwrap();
    let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    number.split_once('.').unwrap().1.len()
}

#[test]
fn the_summary_is_all_there_is_on_standard_output_and_the_record_is_the_same_bytes() {
    let lab = Lab::new();
    let ran = script(&lab, &[], "echo from the command; sleep 0.05").exits(0).says("from the command");
    let document = ran.json();
    schema::assert_fits(&document, "smoke.v1");
    let keys: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["run_id", "elapsed_sec", "rows_used", "peak_memory_mb"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[3], lines[5]), (6, "{", "  \"rows_used\": 1,", "}"));
    assert!((1..=3).contains(&decimals(&ran.stdout, "elapsed_sec")), "{ran:#?}");
    assert_eq!(decimals(&ran.stdout, "peak_memory_mb"), 1, "{ran:#?}");
    assert!(document["elapsed_sec"].as_f64().unwrap() >= 0.05, "{document}");
    let id = document["run_id"].as_str().unwrap();
    assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 4);
    let record = std::fs::read_to_string(lab.path("results/model_runs").join(format!("{id}.json"))).unwrap();
    assert_eq!(record, ran.stdout);
}

#[test]
fn a_smoke_test_finds_the_record_under_the_id_it_chose_with_a_numeric_peak() {
    let lab = Lab::new();
    let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    lab.write("fixture.csv", "day,close\n1,36.1\n2,36.4\n3,36.2\n");
    let options = ["--rows-from", "fixture.csv", "--run-id", id, "--output-dir", "outputs/model_runs"];
    measure(&lab, &[options.as_slice(), &["--", "sleep", "0.05"]].concat())
        .exits(0)
        .prints(&format!("run_id {id}"))
        .prints("rows_used 3");
    let path = lab.path("outputs/model_runs").join(format!("{id}.json"));
    let record: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(record["peak_memory_mb"].as_f64().unwrap() > 0.0, "{record}");
    assert_eq!((&record["run_id"], &record["rows_used"]), (&json!(id), &json!(3)));
    assert!(records(&lab).is_empty());
}

#[test]
fn the_status_of_the_command_passes_through_and_a_failure_leaves_a_record() {
    for (text, status, words) in [
        ("exit 3", 3, "the command ended with status 3"),
        ("exit 70; :", 70, "status 70"),
        ("kill -TERM $$", 128 + 15, "the command was killed by signal 15"),
    ] {
        let lab = Lab::new();
        let output =
            command(&lab, &["--rows", "1", "--format", "json", "--", "sh", "-c", text]).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(talk.contains(words), "{talk}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["rows_used"], 1);
        assert_eq!(records(&lab).len(), 1, "{text}");
        assert_eq!(lab.newest().unwrap().status(), SessionStatus::Failed);
    }
}

#[test]
fn a_command_that_never_ran_leaves_no_record_and_the_status_that_shells_give() {
    let lab = Lab::new();
    lab.write("plain", "no program");
    for (program, status, words) in
        [("lab-no-such-program", 127, "was not found"), ("./plain", 126, "`./plain` cannot be started")]
    {
        let ran = measure(&lab, &["--rows", "1", "--", program]).exits(status).prints_nothing();
        ran.says(words).says("it never ran, so no record of it is left");
    }
    assert!(records(&lab).is_empty() && lab.newest().is_none());
}

#[test]
fn a_program_or_a_file_of_rows_that_is_a_pipe_is_not_waited_for() {
    let lab = Lab::new();
    lab.fifo("pipe.csv");
    measure(&lab, &["--rows", "1", "--", "./pipe.csv"]).exits(126);
    measure(&lab, &["--rows", "1", "--", "/dev/zero"]).exits(126);
    let ran = measure(&lab, &["--rows-from", "pipe.csv", "--", "true"]).exits(2).prints_nothing();
    ran.says("`pipe.csv` cannot be read: it is no regular file");
}

#[test]
fn a_broken_limit_fails_a_command_that_succeeded_and_names_both_numbers() {
    let lab = Lab::new();
    script(&lab, &["--max-elapsed", "0.01"], "sleep 0.1")
        .exits(1)
        .says("error: elapsed_sec is")
        .says("`--max-elapsed` permits 0.01 s");
    script(&lab, &["--max-memory", "0.1", "--max-elapsed", "600"], "sleep 0.1")
        .exits(1)
        .says("peak_memory_mb is")
        .says("`--max-memory` permits 0.1 MB");
    script(&lab, &["--max-memory", "100000", "--max-elapsed", "600"], "sleep 0.1").exits(0);
    script(&lab, &["--max-elapsed", "0.01"], "sleep 0.1; exit 4").exits(4);
    assert_eq!(records(&lab).len(), 4, "every one of them left a record");
    for limit in ["0", "-1", "nan", "much"] {
        script(&lab, &[&format!("--max-memory={limit}")], ":").exits(2).says("--max-memory").prints_nothing();
    }
}

#[test]
fn without_exactly_one_source_of_rows_nothing_is_started() {
    let lab = Lab::new();
    lab.write("sound.csv", "a\n1\n");
    lab.write("broken.csv", "a,b\n1,2\n3\n");
    lab.write("rows.txt", "1\n");
    for (options, words) in [
        (&[][..], "nothing says how many rows"),
        (&["--rows", "1", "--rows-reported"][..], "exactly one source"),
        (&["--rows", "1", "--rows-from", "sound.csv"][..], "exactly one source"),
        (&["--rows-from", "absent.csv"][..], "`absent.csv` cannot be read"),
        (&["--rows-from", "rows.txt"][..], "rows of `rows.txt` cannot be counted"),
        (&["--rows-from", "broken.csv"][..], "`broken.csv` is not sound as CSV"),
        (&["--rows=-1"][..], "--rows"),
        (&["--rows=many"][..], "--rows"),
    ] {
        let words_of_all = [options, &["--", "touch", "started"]].concat();
        measure(&lab, &words_of_all).exits(2).says(words).prints_nothing();
    }
    let hint = measure(&lab, &["--", "touch", "started"]).exits(2);
    for source in ["--rows N", "--rows-from FILE", "--rows-reported"] {
        assert!(hint.stderr.contains(source), "{hint:#?}");
    }
    measure(&lab, &["--rows", "1"]).exits(2).says("COMMAND");
    assert!(!lab.path("started").exists() && records(&lab).is_empty() && !lab.store().exists());
}

#[test]
fn what_a_command_leaves_running_stays_and_is_told() {
    let lab = Lab::new();
    // The parent of the second one ends before the command does.
    let text = "sleep 600 & echo $! > left; (sleep 600 & echo $! >> left)";
    let ran = script(&lab, &[], text).exits(0).says("the command left 2 processes running");
    assert_eq!(ran.json()["rows_used"], 1);
    let left = numbers(&lab, "left");
    assert_eq!(left.len(), 2, "{left:?}");
    for pid in left {
        assert!(kills::is_alive(pid), "it was ended");
        kills::send(pid, Signal::KILL);
    }
    let nothing = script(&lab, &[], ":").exits(0);
    assert!(!nothing.stderr.contains("left"), "{nothing:#?}");
}

#[test]
fn a_file_of_rows_whose_path_is_no_text_is_refused_with_its_bytes() {
    let lab = Lab::new();
    let name = OsStr::from_bytes(b"prices-\xff.csv");
    std::fs::write(lab.path("").join(name), "a\n1\n").unwrap();
    let mut own = command(&lab, &["--rows-from"]);
    own.arg(name).args(["--", "touch", "started"]);
    let ran = Ran::of(own).exits(2).prints_nothing();
    ran.says("`--rows-from` names \"prices-\\xFF.csv\", which is not UTF-8").says("rename the file");
    assert!(!lab.path("started").exists() && records(&lab).is_empty() && !lab.store().exists());
}

#[test]
fn a_word_of_the_command_that_is_no_text_is_refused_where_it_would_be_recorded() {
    let lab = Lab::new();
    let with_word = |options: &[&str]| {
        let options = [["--rows", "1"].as_slice(), options, &["--", "touch"]].concat();
        let mut own = command(&lab, &options);
        own.arg(OsStr::from_bytes(b"x\xff"));
        Ran::of(own)
    };
    let ran = with_word(&[]).exits(2).prints_nothing();
    ran.says("the command has the word \"x\\xFF\", which is not UTF-8").says("`--no-store`");
    assert!(records(&lab).is_empty() && !lab.store().exists());
    with_word(&["--no-store"]).exits(0).prints("rows_used");
}

#[test]
fn rows_are_reported_by_the_command_or_the_run_has_failed() {
    let lab = Lab::new();
    let reported =
        |text: &str| measure(&lab, &["--rows-reported", "--format", "json", "--", "sh", "-c", text]);
    assert_eq!(reported("echo 7 > \"$LAB_ROWS_FILE\"").exits(0).json()["rows_used"], 7);
    assert_eq!(reported("echo 8 >> \"/proc/self/fd/$LAB_ROWS_FD\"").exits(0).json()["rows_used"], 8);
    let untold = reported(":").exits(5).says("its rows are not known").says("LAB_ROWS_FILE");
    assert_eq!(untold.json()["rows_used"], Value::Null);
    schema::assert_fits(&untold.json(), "smoke.v1");
    reported("echo many > \"$LAB_ROWS_FILE\"").exits(5).says("`many`");
    let failed = reported("exit 3").exits(3);
    assert_eq!(failed.json()["rows_used"], Value::Null);
    assert_eq!(records(&lab).len(), 5);
    // Where the rows are known already, there is nothing to report to.
    script(&lab, &[], "[ -z \"$LAB_ROWS_FILE$LAB_ROWS_FD\" ]").exits(0);
}

#[test]
fn neither_a_file_nor_a_session_is_left_where_none_is_to_be() {
    let lab = Lab::new();
    script(&lab, &["--no-file", "--no-store"], ":").exits(0).prints("rows_used");
    assert!(records(&lab).is_empty() && !lab.store().exists());
    lab.write("taken", "a file where a folder should be");
    let ran = script(&lab, &["--output-dir", "taken", "--no-store"], ":").exits(5);
    assert_eq!(ran.json()["rows_used"], 1, "what was measured is told all the same");
    ran.says("the folder `taken` cannot be made");
    script(&lab, &["--output-dir", "taken", "--no-store"], "exit 3").exits(3).says("cannot be made");
}

#[test]
fn options_that_cannot_be_are_refused() {
    let lab = Lab::new();
    for (options, words) in [
        (&["--run-id", "smoke"][..], "--run-id"),
        (&["--run-id", "019a3b1e-0000-7000-8000-000000000000"][..], "expected version 4"),
        (&["--interval", "0"][..], "outside 1 ms to 60 s"),
        (&["--interval", "61"][..], "outside 1 ms to 60 s"),
        (&["--interval", "often"][..], "expected a number of seconds"),
    ] {
        script(&lab, options, ":").exits(2).says(words).prints_nothing();
    }
}

#[test]
fn switched_off_the_command_runs_and_nothing_is_measured() {
    let lab = Lab::new();
    let with = |word: &str, text: &str| {
        let mut own = command(&lab, &["--rows-reported", "--format", "json", "--", "sh", "-c", text]);
        own.env("LAB_MEASURE", word);
        Ran::of(own)
    };
    let ran = with(
        "off",
        "echo 7 > \"$LAB_ROWS_FILE\" && echo 8 >> \"/proc/self/fd/$LAB_ROWS_FD\" && echo data; exit 3",
    );
    let ran = ran.exits(3).says("nothing is measured");
    assert_eq!(ran.stdout, "data\n", "its standard output is its own");
    assert!(records(&lab).is_empty() && !lab.store().exists());
    with("loud", ":").exits(2).says("`loud` is no value of `LAB_MEASURE`").prints_nothing();
    for word in ["on", "auto", ""] {
        let ran = with(word, "echo 7 > \"$LAB_ROWS_FILE\"").exits(0);
        assert_eq!(ran.json()["rows_used"], 7, "`{word}` keeps nobody from a figure");
    }
}

#[test]
fn sessions_of_one_command_are_listed_shown_compared_and_gated() {
    let lab = Lab::new();
    let once = |seconds: &str| {
        measure(&lab, &["--rows", "2", "--interval", "0.01", "--", "sleep", seconds])
            .exits(0)
            .says("stored as");
    };
    once("0.2");
    once("0.2");
    lab.run(&["list"]).exits(0).prints("sleep").prints("1/1").prints("elapsed_sec").prints("completed");
    let list = lab.run(&["list", "--format", "json"]).exits(0).json();
    schema::assert_fits(&list, "list.v1");
    assert_eq!(list["sessions"][0]["listed"]["metric"], "smoke.v1/elapsed_sec");
    assert!(list["sessions"][0]["listed"]["mean"].as_f64().unwrap() >= 0.2, "{list:#}");
    lab.run(&["show", "@latest"]).exits(0).prints("sleep 0.2").prints("2, as given").prints("elapsed_sec");
    lab.run(&["show", "@latest", "--rederive"]).exits(0).says("0 differ");
    let document = lab.run(&["export", "@latest"]).exits(0).json();
    schema::assert_fits(&document, "session.v1");
    assert_eq!(document["session"]["contract"], json!({"id": "smoke.v1", "complete": true, "missing": []}));
    lab.run(&["export", "@latest", "--format", "csv"]).exits(0).prints("smoke.v1,s,");
    lab.run(&["history", "sleep", "--metric", "elapsed_sec"]).exits(0).prints("elapsed_sec");
    lab.run(&["baseline", "set", "main", "@latest~1"]).exits(0);
    // One launch has no spread: intervals cannot tell, and the contract's rule of means can.
    lab.run(&["compare", "@main", "@latest"]).exits(3).prints("elapsed_sec");
    for words in [&["compare", "@main", "@latest"][..], &["gate", "--baseline", "main"]] {
        let ran = lab.run(&[words, &["--rule", "contract", "--format", "json"]].concat());
        // 3 where the neighbours of this test made one of the runs suspect.
        assert!(matches!(ran.status, Some(0 | 1 | 3)), "{ran:#?}");
    }
    once("0.21");
    lab.run(&["compare", "@main", "@latest"]).exits(4).prints("program");
    lab.run(&["verify"]).exits(0).says("sound");
}

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
        let told = format!("{changed}` changed while the session ran");
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
