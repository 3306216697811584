//! Raw data that leave the store, and what can still be done with it then.

use jiff::Timestamp;
use lab_store::{ArchiveOrder, Store};
use rusqlite::Connection;
use serde_json::Value;

use crate::harness::{Lab, Ran};
use crate::plan::Plan;
use crate::schema::assert_fits;

/// A plan whose timelines are worth an archive: 400 gaps of three bytes each.
fn long() -> Plan {
    Plan::scripted().set("workload.generate", 400)
}

/// A store with two such sessions.
fn measured() -> Lab {
    let lab = Lab::new();
    lab.measure(long());
    lab.measure(long());
    lab
}

fn archive(lab: &Lab, further: &[&str]) -> Ran {
    lab.run(&[&["store", "archive", "--older-than", "0d"][..], further].concat())
}

/// Everything that `lab` shows of the two sessions.
fn shown(lab: &Lab) -> Vec<String> {
    let commands: [&[&str]; 5] = [
        &["list"],
        &["show", "@latest", "--format", "json"],
        &["show", "@latest~1"],
        &["export", "@latest", "--format", "csv"],
        &["history", "tiny"],
    ];
    commands.iter().map(|arguments| lab.run(arguments).exits(0).stdout).collect()
}

#[test]
fn what_left_the_store_is_shown_exported_and_compared_as_before() {
    let lab = measured();
    let before = shown(&lab);
    let compared = lab.compare("@latest~1", "@latest", &["--format", "json"]).status;
    let head = lab.run(&["verify"]).exits(0).says("sound: every row");
    archive(&lab, &["--to", "old.archive"])
        .exits(0)
        .prints("sessions 2")
        .prints("timelines 4")
        .prints("pieces 0")
        .prints("freed_bytes")
        .says("keep it as you keep the store");
    assert_eq!(shown(&lab), before);
    assert_eq!(lab.compare("@latest~1", "@latest", &["--format", "json"]).status, compared);
    lab.run(&["show", "@latest", "--rederive"]).exits(0).says("0 differ");
    let head = head.stdout.lines().find_map(|line| line.strip_prefix("head ")).unwrap().to_owned();
    lab.run(&["verify", "--expect-head", &head, "--require-archives"])
        .exits(0)
        .says("looked into 1 archives")
        .says("sound: every row, digest, trigger and derived value agrees");
    // Nothing is left that could leave.
    archive(&lab, &["--to", "second"])
        .exits(0)
        .says("no session that ended more than 0d ago")
        .prints_nothing();
    assert!(!lab.path("second").exists());
}

#[test]
fn without_its_archive_a_session_names_it_and_the_rest_goes_on() {
    let lab = measured();
    let listed = lab.run(&["list"]).exits(0).stdout;
    archive(&lab, &["--to", "old.archive"]).exits(0);
    std::fs::rename(lab.path("old.archive"), lab.path("away")).unwrap();
    for arguments in [&["show", "@latest"][..], &["export", "@latest"], &["compare", "@latest~1", "@latest"]]
    {
        lab.run(arguments)
            .exits(2)
            .says("its raw data lie in the archive `")
            .says("old.archive`, which is not there")
            .says("hint: put the archive back there, or beside the store")
            .prints_nothing();
    }
    assert_eq!(lab.run(&["list"]).exits(0).stdout, listed);
    lab.run(&["verify"])
        .exits(0)
        .says("note: the archive `")
        .says("is not there: 4 BLOBs were not read")
        .says("the raw data of 2 sessions or imported files lie there")
        .prints("rederived 0");
    lab.run(&["verify", "--require-archives"])
        .exits(1)
        .says("finding: the archive `")
        .says("error: 1 findings");
    lab.run(&["store"]).exits(0).prints("not there");
    lab.measure(long());
    std::fs::rename(lab.path("away"), lab.path("old.archive")).unwrap();
    lab.run(&["show", "@latest~1"]).exits(0);
}

#[test]
fn an_archive_that_was_changed_is_a_finding() {
    let lab = measured();
    archive(&lab, &["--to", "old.archive"]).exits(0);
    lab.write("old.archive", "something else, long enough to be no header of a database ".repeat(20));
    lab.run(&["verify"]).exits(1).says("finding: the archive `").says("does not hold what left the store");
    lab.run(&["show", "@latest"]).exits(2).says("cannot be read").prints_nothing();
}

#[test]
fn a_dry_run_and_a_refusal_move_nothing() {
    let lab = measured();
    let before = lab.run(&["verify"]).exits(0).stdout;
    let dry = archive(&lab, &["--dry-run"]).exits(0).prints("sessions 2").prints("timelines 4");
    assert_eq!(archive(&lab, &["--dry-run", "--to", "old.archive"]).exits(0).stdout, dry.stdout);
    lab.run(&["store", "archive", "--older-than", "4w", "--to", "old.archive"])
        .exits(0)
        .says("no session that ended more than 4w ago has raw data that can leave")
        .prints_nothing();
    lab.write("there", "mine");
    archive(&lab, &["--to", "there"])
        .exits(2)
        .says("is there already")
        .says("hint: `--to FILE`")
        .prints_nothing();
    archive(&lab, &["--to", "no/folder"]).exits(2).says("cannot be written").says("the store is as it was");
    archive(&lab, &["--to", "lab.sqlite-journal"]).exits(2).says("cannot be an archive").prints_nothing();
    assert!(!lab.path("lab.sqlite-journal").exists());
    assert_eq!(std::fs::read(lab.path("there")).unwrap(), b"mine");
    assert!(!lab.path("old.archive").exists());
    assert_eq!(lab.run(&["verify"]).exits(0).stdout, before);
}

#[test]
fn a_move_that_fails_behind_its_file_says_what_to_do_with_it() {
    let lab = measured();
    let connection = Connection::open(lab.store()).unwrap();
    connection
        .execute_batch(
            "CREATE TRIGGER refuses BEFORE INSERT ON archived BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .unwrap();
    archive(&lab, &["--to", "old.archive"])
        .exits(2)
        .says("old.archive` was finished and no row names it: delete it, then run this again")
        .prints_nothing();
    connection.execute_batch("DROP TRIGGER refuses").unwrap();
    drop(connection);
    archive(&lab, &["--to", "old.archive"]).exits(2).says("is there already");
    std::fs::remove_file(lab.path("old.archive")).unwrap();
    archive(&lab, &["--to", "old.archive"]).exits(0).prints("timelines 4");
    lab.run(&["verify"]).exits(0);
}

#[test]
fn what_makes_no_sense_is_refused_with_what_would() {
    let lab = measured();
    archive(&lab, &[]).exits(2).says("--to <FILE>").prints_nothing();
    for (age, words) in [
        ("7", "`` is none of the units h, d, w"),
        ("week", "an age is one with a unit: `12h`, `7d` or `4w`"),
        ("9999999999w", "lies before the calendar begins"),
    ] {
        lab.run(&["store", "archive", "--older-than", age, "--to", "a"])
            .exits(2)
            .says(words)
            .prints_nothing();
    }
    lab.run(&["store", "--limit", "10gb"]).exits(2).says("`gb` is none of the units");
    lab.run(&["store", "--limit", "1GB", "archive", "--older-than", "0d", "--to", "a"])
        .exits(2)
        .says("belong to `lab store` alone");
    assert!(!lab.path("a").exists());
    Lab::new().run(&["store"]).exits(2).says("there is no store at");
}

#[test]
fn short_timelines_and_those_of_baselines_stay() {
    let lab = measured();
    lab.run(&["baseline", "set", "main", "@latest~1"]).exits(0);
    lab.measure(Plan::scripted());
    archive(&lab, &["--to", "old.archive"])
        .exits(0)
        .prints("sessions 1")
        .says("note: 2 timelines or pieces stay, each shorter than 512 bytes")
        .says("note: 1 sessions stay whole because a baseline stands for them");
    std::fs::remove_file(lab.path("old.archive")).unwrap();
    lab.run(&["show", "@main"]).exits(0);
    lab.run(&["show", "@latest"]).exits(0);
    lab.run(&["show", "@latest~1"]).exits(2);
}

fn document(lab: &Lab, further: &[&str]) -> Value {
    let document = lab.run(&[&["store", "--format", "json"][..], further].concat()).exits(0).json();
    assert_fits(&document, "store.v1");
    document
}

#[test]
fn the_store_says_what_takes_room_and_for_how_long_there_is_any() {
    let lab = measured();
    let before = document(&lab, &["--limit", "1TB"]);
    assert_eq!(before["timelines"]["blobs"], 4);
    assert_eq!(
        (&before["archived"]["blobs"], &before["archives"]),
        (&Value::from(0), &Value::from(Vec::<Value>::new()))
    );
    assert_eq!(before["forecast"]["limit_bytes"], 1_000_000_000_000_u64);
    // A run around midnight has two days.
    let days = before["days"].as_array().unwrap();
    let n_sessions: u64 = days.iter().map(|day| day["sessions"].as_u64().unwrap()).sum();
    assert_eq!(n_sessions, 2);
    assert!(before["forecast"]["bytes_per_day"].as_u64().unwrap() > 0, "{before:#}");
    assert!(before["forecast"]["limit"]["in_days"].as_u64().unwrap() > 1_000, "{before:#}");
    archive(&lab, &["--to", "old.archive"]).exits(0);
    let after = document(&lab, &["--limit", "1kB"]);
    assert_eq!((&after["timelines"]["blobs"], &after["archived"]), (&Value::from(0), &before["timelines"]));
    assert_eq!(after["archives"][0]["sessions"], 2);
    assert_eq!(after["archives"][0]["place"], after["archives"][0]["path"]);
    assert_eq!(after["forecast"]["limit"]["in_days"], 0);
    lab.run(&["store"]).exits(0).prints("old.archive").prints("growth").prints("measurement");
}

#[test]
fn an_archive_that_was_made_with_the_library_is_read_by_the_command() {
    let lab = measured();
    let to = lab.path("made.archive");
    let now = Timestamp::now();
    let mut store = Store::open(&lab.store()).unwrap();
    let row = store.archive(&ArchiveOrder { older_than: now, to: &to, now }).unwrap().unwrap();
    drop(store);
    assert_eq!(row.contents.timelines, 4);
    lab.run(&["show", "@latest", "--rederive"]).exits(0);
}
