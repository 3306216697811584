//! What is in the store: `list`, `show`, `export`, `verify`, and the names of sessions.

use lab_core::metric::METRICS;
use rusqlite::Connection;
use serde_json::Value;

use crate::harness::Lab;
use crate::plan::Plan;
use crate::schema;

/// A store of two sessions, the older named `first` and the newer `second`.
fn two_sessions() -> Lab {
    let lab = Lab::new();
    lab.measure(Plan::scripted().set("name", "first"));
    lab.measure(Plan::scripted().set("name", "second"));
    lab
}

fn head(lab: &Lab) -> String {
    let printed = lab.run(&["verify"]).exits(0).stdout;
    printed.lines().find_map(|line| line.strip_prefix("head ")).unwrap().to_owned()
}

#[test]
fn a_list_has_the_newest_session_first_and_stops_at_its_limit() {
    let lab = two_sessions();
    let document = lab.run(&["list", "--format", "json"]).exits(0).json();
    schema::assert_fits(&document, "list.v1");
    let plans: Vec<&Value> =
        document["sessions"].as_array().unwrap().iter().map(|own| &own["plan"]).collect();
    assert_eq!(plans, ["second", "first"]);
    let table =
        lab.run(&["list", "--limit", "1"]).exits(0).prints("second").prints("2/2").prints("completed");
    assert!(!table.stdout.contains("first"), "{table:#?}");
    let none = lab.run(&["list", "--limit", "0", "--format", "json"]).exits(0).json();
    assert_eq!(none["sessions"], serde_json::json!([]));
}

#[test]
fn a_session_answers_to_its_id_its_ends_and_its_place() {
    let lab = two_sessions();
    let first = lab.run(&["show", "@latest~1", "--format", "json"]).exits(0).json();
    assert_eq!(first["session"]["plan"], "first");
    let id = first["session"]["id"].as_str().unwrap();
    for name in [id, &id.to_uppercase(), &id[28..], &id[24..], &id[..23]] {
        let ran = lab.run(&["show", name, "--format", "json"]).exits(0);
        assert_eq!(ran.json()["session"]["id"], id, "{name}");
    }
}

#[test]
fn a_name_that_means_no_session_or_several_is_refused_with_what_would_do() {
    let lab = two_sessions();
    for (name, words) in [
        ("01", "`01` is too short for an id: type at least 4 digits"),
        ("", "`` is too short for an id"),
        ("deadbeef", "no session matches `deadbeef`"),
        ("ü…ß🦀", "no session matches"),
        (
            "@latest~2",
            "`@latest~2` reaches back beyond the first session: the store holds 2, so N is at most 1",
        ),
        ("@latest~99", "`@latest~99` reaches back beyond the first session"),
        ("@latest~99999999999999999999999", "reaches back beyond the first session"),
        ("@latest~-1", "`@latest~-1` is no name of a session; known are `@latest` and `@latest~N`"),
        ("@oldest", "`@oldest` is no name of a session"),
    ] {
        for command in ["show", "export"] {
            lab.run(&[command, name]).exits(2).says(words).prints_nothing();
        }
        lab.run(&["compare", "@latest", name]).exits(2).says(words).prints_nothing();
    }
    // Ids begin with their time: sessions of one day share these digits.
    let id = lab.newest().unwrap().header.id.to_string();
    lab.run(&["show", &id[..4]]).exits(2).says("matches 2 sessions").says("hint: `lab list`");
    let mistyped = if id.ends_with('0') { "1" } else { "0" };
    let mistyped = format!("{}{mistyped}", &id[28..35]);
    lab.run(&["show", &mistyped]).exits(2).says("nearest").says(&id);
}

#[test]
fn a_session_is_shown_with_its_repetitions_and_derived_again_bit_for_bit() {
    let lab = Lab::new();
    lab.measure(Plan::scripted().set("run.repeat", 3));
    let ran = lab.run(&["show", "@latest", "--rederive"]).exits(0);
    let n_values = 3 * METRICS.len();
    ran.prints("tokens_per_sec")
        .prints("launch")
        .says(&format!("rederived {n_values} values from the stored raw data: 0 differ"));
}

#[test]
fn a_session_is_exported_in_every_format() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    schema::assert_fits(&lab.run(&["export", "@latest", "--format", "json"]).exits(0).json(), "session.v1");
    let rows = lab.run(&["export", "@latest", "--format", "csv"]).exits(0).stdout;
    assert!(rows.starts_with("session,started_at,plan,model,"), "{rows}");
    assert_eq!(rows.lines().count(), 1 + 2 * METRICS.len());
    assert!(rows.lines().skip(1).all(|line| line.contains(",tiny,tiny-synthetic,cpu")), "{rows}");
    lab.run(&["export", "@latest", "--format", "table"]).exits(0).prints("───").prints("tokens_per_sec");
    lab.run(&["export", "@latest", "--format", "markdown"])
        .exits(0)
        .prints("| tokens_per_sec |")
        .prints("---");
}

#[test]
fn an_export_to_a_file_is_what_would_have_been_printed() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    for format in ["json", "csv", "table", "markdown"] {
        let printed = lab.run(&["export", "@latest", "--format", format]).exits(0).stdout;
        let ran = lab.run(&["export", "@latest", "--format", format, "--output", "out"]).exits(0);
        ran.prints_nothing().says("wrote out");
        assert_eq!(std::fs::read_to_string(lab.path("out")).unwrap(), printed, "{format}");
    }
    lab.run(&["export", "@latest", "--output", "no/such/folder/out"])
        .exits(2)
        .says("cannot write `no/such/folder/out`");
}

#[test]
fn a_sound_store_verifies_and_prints_its_head() {
    let lab = two_sessions();
    let ran = lab.run(&["verify"]).exits(0).says("sound").prints("rows ");
    assert!(ran.stdout.lines().last().unwrap().starts_with("head "), "{ran:#?}");
    let rederived = ran.stdout.lines().find_map(|line| line.strip_prefix("rederived ")).unwrap();
    assert!(rederived.parse::<u64>().unwrap() > 0, "{ran:#?}");
    assert!(!ran.stderr.contains("note: "), "{ran:#?}");
}

#[test]
fn verifying_a_store_of_an_older_lab_does_not_migrate_it() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    let version = || -> u32 {
        let connection = Connection::open(lab.store()).unwrap();
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    };
    Connection::open(lab.store()).unwrap().pragma_update(None, "user_version", 0).unwrap();
    lab.run(&["verify"]).exits(2).says("open it once for writing to bring it up to date").prints_nothing();
    assert_eq!(version(), 0);
}

#[test]
fn an_expected_head_must_be_the_head_or_an_ancestor_of_it() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    let noted = head(&lab);
    lab.run(&["verify", "--expect-head", &noted]).exits(0);
    lab.measure(Plan::scripted());
    assert_ne!(head(&lab), noted);
    lab.run(&["verify", "--expect-head", &noted]).exits(0).says("sound");
    lab.run(&["verify", "--expect-head", &"0".repeat(64)]).exits(1).says("finding: ");
    for garbage in ["", "xyz", &noted[1..], &format!("{noted}0")] {
        lab.run(&["verify", "--expect-head", garbage]).exits(2).says("--expect-head").prints_nothing();
    }
}

#[test]
fn a_store_that_somebody_changed_with_another_tool_does_not_verify() {
    const TAMPERINGS: [&str; 5] = [
        "DROP TRIGGER measurement_is_never_updated; UPDATE measurement SET value = value * 2 WHERE value IS NOT NULL",
        "DROP TRIGGER repetition_is_never_updated; UPDATE repetition SET validity = 'suspect'",
        "DROP TRIGGER session_end_is_never_deleted; DELETE FROM session_end",
        "DROP TRIGGER chain_is_never_deleted; DELETE FROM chain WHERE seq = (SELECT max(seq) FROM chain)",
        "DROP TRIGGER part_is_never_updated",
    ];
    for tampering in TAMPERINGS {
        let lab = Lab::new();
        lab.measure(Plan::scripted());
        Connection::open(lab.store()).unwrap().execute_batch(tampering).unwrap();
        let ran = lab.run(&["verify"]).exits(1).says("finding: ").says("error: ").prints("head ");
        assert!(!ran.stderr.contains("sound"), "{tampering}: {ran:#?}");
    }
}

#[test]
fn a_published_number_that_was_changed_does_not_rederive() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    let tampering = "DROP TRIGGER measurement_is_never_updated;
                     UPDATE measurement SET value = 1e9 WHERE metric = 'engine.v0.1/tokens_per_sec'";
    Connection::open(lab.store()).unwrap().execute_batch(tampering).unwrap();
    let ran = lab.run(&["show", "@latest", "--rederive"]).exits(1);
    ran.says("repetition 1 of 2, engine.v0.1/tokens_per_sec: published").says("2 differ");
}

#[test]
fn the_triggers_refuse_a_change_by_another_tool() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    let connection = Connection::open(lab.store()).unwrap();
    for change in [
        "UPDATE measurement SET value = 1",
        "DELETE FROM repetition",
        "INSERT OR REPLACE INTO part SELECT * FROM part",
    ] {
        let refused = connection.execute(change, []).unwrap_err().to_string();
        assert!(refused.contains("invariant I4"), "{change}: {refused}");
    }
    lab.run(&["verify"]).exits(0);
}
