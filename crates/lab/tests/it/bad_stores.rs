//! Files that are no stores, and places where none can be.

use jiff::Timestamp;
use lab_core::digest::Digest;
use lab_store::{CalibrationKind, CalibrationRow, Store};
use rusqlite::Connection;
use uuid::Uuid;

use crate::bad_models::on_a_prepared_disk;
use crate::harness::Lab;
use crate::plan::Plan;

/// Asserts that every command that opens the store refuses it with status 2 and these words, and leaves it as it is.
#[track_caller]
fn check_refused(lab: &Lab, words: &str) {
    let before = std::fs::read(lab.store()).ok();
    lab.plan(Plan::scripted());
    for arguments in [
        &["list"][..],
        &["show", "@latest"],
        &["export", "@latest"],
        &["compare", "@latest", "@latest"],
        &["verify"],
        &["run", "plan.toml"],
    ] {
        lab.run(arguments).exits(2).says("error: ").says(words).prints_nothing();
    }
    assert_eq!(std::fs::read(lab.store()).ok(), before, "a file that is no store was written to");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let lab = Lab::new();
    lab.write("lab.sqlite", "this is a text of more than five hundred bytes\n".repeat(100));
    check_refused(&lab, "is not a store: it is no SQLite file (it begins with `this is a text o");
    lab.write("lab.sqlite", [0xff; 3]);
    check_refused(&lab, "is not a store: it is no SQLite file");
}

#[test]
fn another_programs_database_is_refused() {
    let lab = Lab::new();
    let foreign = Connection::open(lab.store()).unwrap();
    foreign.execute_batch("CREATE TABLE customers (name TEXT); PRAGMA application_id = 7").unwrap();
    drop(foreign);
    check_refused(&lab, "is an SQLite database of another program (application id 0x00000007");
}

#[test]
fn a_folder_in_place_of_the_store_is_refused() {
    let lab = Lab::new();
    std::fs::create_dir(lab.store()).unwrap();
    check_refused(&lab, "is a folder, not a store file");
}

#[test]
fn a_truncated_store_is_refused() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    let connection = Connection::open(lab.store()).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let whole = std::fs::read(lab.store()).unwrap();
    for length in [100, 4096, whole.len() / 2] {
        lab.write("lab.sqlite", &whole[..length]);
        lab.run(&["list"]).exits(2).says("damaged").prints_nothing();
    }
    // SQLite reads the missing end of the last page as zeros; only the digests tell.
    lab.write("lab.sqlite", &whole[..whole.len() - 100]);
    assert!(matches!(lab.run(&["verify"]).status, Some(1 | 2)));
}

/// Records a calibration of nothing.
fn calibrate(lab: &Lab) {
    let calibration = CalibrationRow {
        id: Uuid::now_v7(),
        made_at: Timestamp::UNIX_EPOCH,
        fingerprint: Digest::of(b"nothing"),
        kind: CalibrationKind::Compare,
        body: serde_json::json!({}),
    };
    Store::open(&lab.store()).unwrap().append_calibration(&calibration).unwrap();
}

#[test]
fn a_store_with_overwritten_pages_never_verifies_and_never_panics() {
    let lab = Lab::new();
    // In a table without rows there is nothing to be damaged.
    lab.measure(Plan::scripted().set("workload.generate", 400));
    lab.run(&["store", "archive", "--older-than", "0d", "--to", "old.archive"]).exits(0);
    lab.measure(Plan::scripted());
    lab.run(&["baseline", "set", "main"]).exits(0);
    calibrate(&lab);
    let documents = concat!(env!("CARGO_MANIFEST_DIR"), "/../lab-formats/tests/data/device");
    lab.run(&["import", "device", documents]).exits(0);
    let connection = Connection::open(lab.store()).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let whole = std::fs::read(lab.store()).unwrap();
    for page in 0..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096 + 100..(page + 1) * 4096].fill(0x5a);
        lab.write("lab.sqlite", damaged);
        let ran = lab.run(&["verify"]);
        assert!(matches!(ran.status, Some(1 | 2)), "page {page}: {ran:#?}");
        lab.run(&["list"]);
        lab.run(&["show", "@latest"]);
    }
}

#[test]
fn a_store_that_is_not_there_is_answered_with_how_to_make_one() {
    let lab = Lab::new();
    for arguments in [&["list"][..], &["show", "@latest"], &["verify"], &["compare", "@latest", "@latest"]] {
        let ran = lab.run(arguments).exits(2).prints_nothing();
        ran.says("there is no store at")
            .says("hint: `lab run plans/quickstart.toml` makes one; `--store PATH`");
    }
    assert!(!lab.store().exists(), "reading made a store");
    lab.write("lab.sqlite", "");
    lab.run(&["list"]).exits(2).says("is an empty file, not a store");
}

#[test]
fn the_folder_of_a_new_store_is_made() {
    let lab = Lab::new();
    lab.plan(Plan::scripted());
    lab.run(&["run", "plan.toml", "--store", "a/b/c.sqlite"]).exits(0).says("in a/b/c.sqlite");
    lab.run(&["list", "--store", "a/b/c.sqlite"]).exits(0).prints("tiny");
    lab.run(&["--store", "a/b/c.sqlite", "verify"]).exits(0);
}

#[test]
fn a_store_that_cannot_be_made_is_refused_before_anything_runs() {
    let lab = Lab::new();
    lab.plan(Plan::scripted());
    for store in ["plan.toml/lab.sqlite", "/proc/no/lab.sqlite", "/dev/null"] {
        lab.run(&["run", "plan.toml", "--store", store]).exits(2).says(store).prints_nothing();
    }
}

#[test]
fn a_store_of_a_newer_lab_is_read_with_a_word_about_it_and_never_written() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    Connection::open(lab.store()).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    lab.run(&["list"]).exits(0).prints("tiny").says("note: the store was written by a newer lab");
    lab.run(&["run", "plan.toml"]).exits(2).says("was written by a newer lab").prints_nothing();
    lab.run(&["verify"]).exits(2).says("was written by a newer lab");
}

#[test]
fn a_disk_that_is_full_before_the_log_has_its_index_is_no_broken_device() {
    let lab = Lab::new();
    for n in 1..=2 {
        lab.write(&format!("{n}.json"), format!(r#"{{"llm": {{"total_requests": {n}}}}}"#));
    }
    let fill = "\"$1\" import workflow 1.json --store small/lab.sqlite >out && \
                { cat /dev/zero >small/filler || true; }";
    let import = "import workflow 2.json --store small/lab.sqlite";
    if let Some(ran) = on_a_prepared_disk(&lab, "4m", fill, import) {
        ran.exits(5).says("the disk is full").says("small/lab.sqlite").prints_nothing();
    }
}
