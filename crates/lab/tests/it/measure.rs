//! `lab measure`, and plans that run a command.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use lab_core::record::SessionStatus;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Lab, Ran, Running, wait_for};
use crate::kills;
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
pub(crate) fn numbers(lab: &Lab, file: &str) -> Vec<u32> {
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
fn who_waits_for_a_store_that_another_process_holds_is_told_and_may_leave() {
    let lab = Lab::new();
    script(&lab, &[], "true").exits(0).says("stored as");
    let holder = rusqlite::Connection::open(lab.store()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let words = ["--rows", "1", "--format", "json", "--", "true"];
    let running = Running::of(command(&lab, &words));
    wait_for("word of the wait", || running.said().contains("waiting for it, up to 600 s").then_some(()));
    kills::send(running.id(), Signal::TERM);
    let ran = running.finish();
    assert_eq!(ran.status, None, "{ran:#?}");
    assert_eq!(ran.json()["rows_used"], 1, "the summary was out");
    drop(holder);
    assert_eq!(records(&lab).len(), 2);
    lab.run(&["verify"]).exits(0).says("sound");
    assert_eq!(
        lab.run(&["list", "--format", "json"]).exits(0).json()["sessions"].as_array().unwrap().len(),
        1
    );
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
