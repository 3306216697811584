//! `lab baseline`, and the names of baselines wherever a session is named.

use lab_core::fixtures;
use lab_core::record::{Outcome, Session, SessionEnd, SessionStatus};
use lab_core::validity::Validity;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::Lab;
use crate::plan::Plan;
use crate::schema;

/// A store of two sessions, the older named `first` and the newer `second`, and their ids.
fn two_sessions() -> (Lab, [String; 2]) {
    let lab = Lab::new();
    let ids = ["first", "second"].map(|name| {
        let document = lab.measure(Plan::scripted().set("name", name));
        document["session"]["id"].as_str().unwrap().to_owned()
    });
    (lab, ids)
}

/// A store of one hand-made session, `@latest`.
fn holding(session: &Session) -> Lab {
    let lab = Lab::new();
    lab.record(session);
    lab
}

fn list(lab: &Lab) -> Value {
    let document = lab.run(&["baseline", "list", "--format", "json"]).exits(0).json();
    schema::assert_fits(&document, "baselines.v1");
    document["baselines"].clone()
}

fn show(lab: &Lab, name: &str) -> Value {
    let document = lab.run(&["baseline", "show", name, "--format", "json"]).exits(0).json();
    schema::assert_fits(&document, "baseline.v1");
    document
}

fn short(id: &str) -> &str {
    &id[28..]
}

#[test]
fn a_name_stands_for_the_newest_session_unless_told_otherwise() {
    let (lab, [first, second]) = two_sessions();
    let ran = lab.run(&["baseline", "set", "main"]).exits(0).prints_nothing();
    ran.says(&format!("`@main` is session {}", short(&second)));
    lab.run(&["baseline", "set", "old", "@latest~1", "--note", "before the new kernel"]).exits(0);
    lab.run(&["baseline", "set", "copy/of.old-1_0", "@old"]).exits(0);
    let listed = list(&lab);
    let rows: Vec<[&Value; 3]> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|own| [&own["name"], &own["session"]["id"], &own["note"]])
        .collect();
    let expected = [
        [json!("copy/of.old-1_0"), json!(first), Value::Null],
        [json!("main"), json!(second), Value::Null],
        [json!("old"), json!(first), json!("before the new kernel")],
    ];
    assert_eq!(rows, expected.each_ref().map(|row| row.each_ref()));
    let table = lab.run(&["baseline", "list"]).exits(0);
    table.prints("old").prints(short(&first)).prints("before the new kernel").prints("2/2");
    lab.run(&["verify"]).exits(0).says("sound");
}

#[test]
fn a_baseline_is_a_session_to_every_command_that_takes_one() {
    let (lab, [first, _]) = two_sessions();
    lab.run(&["baseline", "set", "main", &first]).exits(0);
    let shown = lab.run(&["show", "@main", "--format", "json"]).exits(0).json();
    assert_eq!(shown["session"]["id"], first.as_str());
    let exported = lab.run(&["export", "@main"]).exits(0).json();
    assert_eq!(exported["session"]["id"], first.as_str());
    let report = lab.compare("@main", "@main", &["--format", "json"]).exits(0).json();
    assert_eq!(report["baseline"]["session"], first.as_str());
    assert_eq!(report["candidate"]["session"], first.as_str());
}

#[test]
fn a_name_that_is_set_again_moves_and_keeps_its_history() {
    let (lab, [first, second]) = two_sessions();
    lab.run(&["baseline", "set", "main", &first]).exits(0);
    let moved = lab.run(&["baseline", "set", "main", &second, "--note", "faster"]).exits(0);
    moved.says(&format!("`@main` is session {}, before it was {}", short(&second), short(&first)));
    let document = show(&lab, "main");
    assert_eq!((&document["name"], &document["session"]["id"]), (&json!("main"), &json!(second)));
    let history: Vec<[&Value; 2]> =
        document["history"].as_array().unwrap().iter().map(|own| [&own["session"], &own["note"]]).collect();
    assert_eq!(history, [[&json!(second), &json!("faster")], [&json!(first), &Value::Null]]);
    let speed = document["statistics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|own| own["metric"] == "engine.v0.1/tokens_per_sec")
        .unwrap();
    // One is added up by SQLite, with compensation: the last bit may differ.
    let [summed, listed] = [&speed["summary"]["mean"], &document["session"]["tokens_per_sec_mean"]]
        .map(|mean| mean.as_f64().unwrap());
    assert!((summed / listed - 1.0).abs() < 1e-14, "{summed} {listed}");
    let table = lab.run(&["baseline", "show", "main"]).exits(0).prints("baseline main").prints(&second);
    table.prints("tokens_per_sec").prints("faster").prints(short(&first));
}

#[test]
fn a_removed_name_stands_for_nothing_and_its_history_stays() {
    let (lab, [_, second]) = two_sessions();
    lab.run(&["baseline", "set", "main"]).exits(0);
    lab.run(&["baseline", "remove", "main"]).exits(0).prints_nothing().says("`@main` is no session any more");
    assert_eq!(list(&lab), json!([]));
    lab.run(&["baseline", "list"]).exits(0).prints("no baseline is set");
    lab.run(&["show", "@main"]).exits(2).says("`@main` is no name of a session").prints_nothing();
    let document = show(&lab, "main");
    assert_eq!((&document["session"], &document["statistics"]), (&Value::Null, &json!([])));
    let sessions: Vec<&Value> =
        document["history"].as_array().unwrap().iter().map(|own| &own["session"]).collect();
    assert_eq!(sessions, [&Value::Null, &json!(second)]);
    lab.run(&["baseline", "show", "main"]).exits(0).prints("removed").prints(short(&second));
    lab.run(&["baseline", "remove", "main"]).exits(2).says("no baseline is called `main`; none is set");
    lab.run(&["baseline", "set", "main"]).exits(0);
    assert_eq!(show(&lab, "main")["history"].as_array().unwrap().len(), 3);
    lab.run(&["verify"]).exits(0).says("sound");
}

#[test]
fn a_bad_name_is_refused_with_what_is_wrong_about_it() {
    let lab = holding(&fixtures::session(1, &[20_000; 3]));
    let too_long = "x".repeat(65);
    for (name, words) in [
        ("", "NAME"),
        ("Main", "character 1 of `Main` is `M`; the name of a baseline has only the characters a-z, 0-9"),
        ("a b", "character 2 of `a b` is ` `"),
        ("main~1", "character 5 of `main~1` is `~`"),
        ("größe", "character 3 of `größe` is `ö`"),
        ("\u{1b}[2J", "character 1 of `\\u{1b}[2J` is `\\u{1b}`"),
        ("@main", "the name of a baseline does not begin with `@`, as `@main` does"),
        ("latest", "`latest` begins with `latest`, which is kept for the newest session"),
        ("latest/2", "`latest/2` begins with `latest`"),
        (&too_long, "the name of a baseline has at most 64 characters, and this one has 65"),
    ] {
        for command in ["set", "show", "remove"] {
            lab.run(&["baseline", command, name]).exits(2).says(words).prints_nothing();
        }
    }
    let dash = lab.run(&["baseline", "set", "--", "-x"]).exits(2);
    dash.says("the name of a baseline does not begin with `-`, as `-x` does");
    lab.run(&["baseline", "set", "main", "--note", ""]).exits(2).says("--note");
    assert_eq!(list(&lab), json!([]));
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest() {
    let lab = holding(&fixtures::session(1, &[20_000; 3]));
    lab.run(&["show", "@main"]).exits(2).says("known are `@latest` and `@latest~N`");
    lab.run(&["baseline", "set", "main"]).exits(0);
    lab.run(&["baseline", "set", "release/1.4"]).exits(0);
    for command in ["show", "export"] {
        let ran = lab.run(&[command, "@mian"]).exits(2).prints_nothing();
        ran.says("`@mian` is no name of a session; nearest: `@main`").says("hint: `lab list`");
    }
    let ran = lab.run(&["compare", "@relaese/1.4", "@latest"]).exits(2).prints_nothing();
    ran.says("nearest: `@release/1.4`");
    let ran = lab.run(&["baseline", "set", "other", "@nothing-like-it"]).exits(2).prints_nothing();
    ran.says("known are `@latest`, `@latest~N`, `@main`, `@release/1.4`");
    for command in ["show", "remove"] {
        let ran = lab.run(&["baseline", command, "mian"]).exits(2).prints_nothing();
        ran.says("no baseline is called `mian`; nearest: `main`").says("hint: `lab baseline list`");
    }
    lab.run(&["baseline", "set", "main", "deadbeef"]).exits(2).says("no session matches `deadbeef`");
    assert_eq!(show(&lab, "main")["history"].as_array().unwrap().len(), 1);
}

/// Asserts that a session is refused as a baseline, and why.
#[track_caller]
fn check_unfit(session: &Session, reason: &str) {
    let lab = holding(session);
    let ran = lab.run(&["baseline", "set", "main"]).exits(2).prints_nothing();
    let id = session.header.id.to_string();
    ran.says(&format!("session {} cannot be a baseline: {reason}", short(&id)));
    assert_eq!(list(&lab), json!([]));
}

fn with_status(mut session: Session, status: SessionStatus) -> Session {
    session.end = session.end.map(|end| SessionEnd { status, ..end });
    session
}

/// Calls every measured repetition but the first few invalid.
fn invalid_from(mut session: Session, first: usize) -> Session {
    let measured = session.repetitions.iter_mut().filter(|own| !own.measurements.is_empty());
    for recorded in measured.skip(first) {
        if let Outcome::Completed(completed) = &mut recorded.repetition.outcome {
            completed.validity = Validity::Invalid(vec!["swap: the engine was swapped out".to_owned()]);
        }
    }
    session
}

#[test]
fn a_session_that_nothing_can_be_compared_with_is_refused() {
    let whole = || fixtures::session(1, &[20_000; 3]);
    check_unfit(&Session { end: None, ..whole() }, "it is unfinished: it still runs, or it was killed");
    check_unfit(&invalid_from(whole(), 0), "no repetition of it counts, all that completed are invalid");
    let empty = Session { launches: Vec::new(), repetitions: Vec::new(), ..whole() };
    check_unfit(&with_status(empty, SessionStatus::Interrupted), "no measured repetition completed");
    let lab = Lab::new();
    lab.plan(Plan::scripted().fault("generate_fails")).run(&["run", "plan.toml"]).exits(5);
    let ran = lab.run(&["baseline", "set", "main"]).exits(2).prints_nothing();
    ran.says("cannot be a baseline: it failed, no measured repetition completed");
}

#[test]
fn a_session_that_is_not_as_good_as_it_could_be_is_taken_with_a_word_about_it() {
    let lab =
        holding(&with_status(invalid_from(fixtures::session(1, &[20_000; 3]), 2), SessionStatus::Incomplete));
    lab.run(&["baseline", "set", "main"]).exits(0).says("note: only 2 of 3 repetitions of it count");
    let mut session = fixtures::session(1, &[20_000; 3]);
    let Outcome::Completed(completed) = &mut session.repetitions[1].repetition.outcome else { panic!() };
    completed.validity = Validity::Suspect(vec!["steal: 3 %".to_owned()]);
    let ran = holding(&session).run(&["baseline", "set", "main"]).exits(0);
    ran.says("note: 1 of its repetitions are suspect");
}

#[test]
fn a_store_that_cannot_be_written_takes_no_baseline_and_still_shows_them() {
    let lab = holding(&fixtures::session(1, &[20_000; 3]));
    lab.run(&["baseline", "set", "main"]).exits(0);
    // What a newer lab made is read and never written; write protection does not hold for everybody.
    Connection::open(lab.store()).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    for arguments in [&["baseline", "set", "main"][..], &["baseline", "remove", "main"]] {
        let ran = lab.run(arguments).exits(2).prints_nothing();
        ran.says("nothing can be recorded into the store").says("was written by a newer lab");
    }
    lab.run(&["baseline", "list"]).exits(0).prints("main").says("note: the store was written by a newer lab");
    assert_eq!(show(&lab, "main")["history"].as_array().unwrap().len(), 1);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let lab = Lab::new();
    for arguments in [&["set", "main"][..], &["list"], &["show", "main"], &["remove", "main"]] {
        lab.run(&[&["baseline"], arguments].concat()).exits(2).says("there is no store at").prints_nothing();
    }
    assert!(!lab.store().exists());
}

#[test]
fn the_triggers_refuse_a_change_of_a_baseline_or_calibration_by_another_tool() {
    let lab = holding(&fixtures::session(1, &[20_000; 3]));
    lab.run(&["baseline", "set", "main"]).exits(0);
    let connection = Connection::open(lab.store()).unwrap();
    for change in [
        "UPDATE baseline SET session = NULL",
        "DELETE FROM baseline",
        "INSERT OR REPLACE INTO baseline SELECT * FROM baseline",
        "INSERT INTO baseline SELECT 9, name, session, set_at, body FROM baseline",
    ] {
        let refused = connection.execute(change, []).unwrap_err().to_string();
        assert!(refused.contains("invariant I4"), "{change}: {refused}");
    }
    lab.run(&["verify"]).exits(0);
}

#[test]
fn a_baseline_that_somebody_changed_with_another_tool_does_not_verify() {
    const CALIBRATION: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    let calibration = format!("calibration:{CALIBRATION}");
    for (tampering, words) in [
        (
            "DROP TRIGGER baseline_is_never_updated;
             UPDATE baseline SET session = (SELECT min(id) FROM session) WHERE seq = 1"
                .to_owned(),
            "`baseline:1` is not what was recorded".to_owned(),
        ),
        (
            "DROP TRIGGER baseline_is_never_deleted; DELETE FROM baseline WHERE seq = 2".to_owned(),
            "`baseline:2`, recorded by link".to_owned(),
        ),
        (
            "INSERT INTO baseline SELECT 3, 'main', min(id), 0, '{}' FROM session".to_owned(),
            "`baseline:3` has no link in the chain".to_owned(),
        ),
        ("DROP TABLE baseline".to_owned(), "the table `baseline` is missing from the schema".to_owned()),
        (
            format!(
                "INSERT INTO calibration
                 SELECT '{CALIBRATION}', 0, fingerprint, 'compare', '{{}}' FROM session LIMIT 1"
            ),
            format!("`{calibration}` has no link in the chain"),
        ),
    ] {
        let lab = Lab::new();
        lab.record(&fixtures::session(1, &[20_000; 3]));
        lab.record(&fixtures::session(2, &[20_000; 3]));
        lab.run(&["baseline", "set", "main"]).exits(0);
        lab.run(&["baseline", "set", "other"]).exits(0);
        Connection::open(lab.store()).unwrap().execute_batch(&tampering).unwrap();
        let ran = lab.run(&["verify"]).exits(1).says("finding: ").says(&words);
        assert!(!ran.stderr.contains("sound"), "{tampering}: {ran:#?}");
    }
}

#[test]
fn every_command_explains_itself_with_examples() {
    let lab = Lab::new();
    for arguments in [
        &["baseline", "--help"][..],
        &["baseline", "set", "--help"],
        &["baseline", "list", "--help"],
        &["baseline", "show", "--help"],
        &["baseline", "remove", "--help"],
    ] {
        lab.run(arguments).exits(0).prints("Example").prints("lab baseline");
    }
}

#[test]
fn a_side_of_an_experiment_is_no_baseline() {
    let lab = Lab::new();
    lab.plan(Plan::steady()).run(&["ab", "plan.toml", "--pairs", "4", "--fixed", "--closing", "0"]);
    lab.run(&["baseline", "set", "main"])
        .exits(2)
        .says("it is one side of an experiment")
        .says("`lab run` makes one");
}
