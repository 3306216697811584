//! `lab history`: one metric over the sessions of a family.

use jiff::SignedDuration;
use lab_core::experiment::Side;
use lab_core::fixtures;
use lab_core::record::Session;
use serde_json::{Value, json};

use crate::harness::Lab;
use crate::plan::Plan;
use crate::schema;

/// A session of one launch with gaps of this many microseconds, so many minutes after the first.
fn session(minute: u32, gap_us: u64) -> Session {
    let mut session = fixtures::session(u128::from(minute) + 1, &[gap_us]);
    session.header.started_at += SignedDuration::from_mins(i64::from(minute));
    session
}

/// A session of another machine.
fn elsewhere(minute: u32) -> Session {
    let mut session = session(minute, 20_000);
    session.header.fingerprint.hardware.identity.insert("cpu_model".to_owned(), "Example CPU 9001".into());
    session
}

/// A session that is one side of a paired experiment.
fn side(minute: u32) -> Session {
    let mut session = session(minute, 20_000);
    session.header.experiment = Some(fixtures::experiment(Side::A));
    session
}

fn recorded(sessions: &[Session]) -> Lab {
    let lab = Lab::new();
    sessions.iter().for_each(|session| lab.record(session));
    lab
}

/// Seven sessions of 40 tokens/s and seven of 44.94, by another version of the engine.
fn quicker_from_the_eighth_on() -> Lab {
    let mut sessions: Vec<Session> = (0..7).map(|minute| session(minute, 20_000)).collect();
    sessions.extend((7..14).map(|minute| {
        let mut session = session(minute, 16_857);
        session.header.fingerprint.engine.identity.insert("version".to_owned(), "0.2.0".into());
        session
    }));
    recorded(&sessions)
}

#[track_caller]
fn document(lab: &Lab, words: &[&str]) -> Value {
    let words = [&["history"][..], words, &["--format", "json"]].concat();
    let document = lab.run(&words).exits(0).json();
    schema::assert_fits(&document, "history.v1");
    document
}

fn ids(document: &Value) -> Vec<&str> {
    let sessions = document["sessions"].as_array().expect("a history has a list of sessions");
    sessions.iter().map(|own| own["id"].as_str().expect("a session has an id")).collect()
}

#[test]
fn a_slower_engine_is_a_change_point_of_the_sessions_that_were_measured() {
    let lab = Lab::new();
    for token_us in [5_000; 6].into_iter().chain([15_000; 6]) {
        let plan = Plan::scripted().set("run.repeat", 1).set("engine.script.token_us", token_us);
        lab.measure(plan);
    }
    let by_file = document(&lab, &["plan.toml"]);
    assert_eq!(by_file["sessions"].as_array().unwrap().len(), 12);
    let changes = by_file["change_points"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{by_file:#}");
    assert_eq!((&changes[0]["index"], &changes[0]["change"]["effect"]), (&json!(6), &json!("worse")));
    assert!(changes[0]["p"].as_f64().unwrap() <= 0.01, "{changes:#?}");
    let relative = changes[0]["change"]["relative"].as_f64().unwrap();
    assert!((-0.75..-0.4).contains(&relative), "{relative}");
    for (index, session) in by_file["sessions"].as_array().unwrap().iter().enumerate() {
        assert_eq!(session["engine_changed"], index == 6, "{session:#}");
    }
    assert_eq!(document(&lab, &["tiny"]), by_file);
    let table = lab.run(&["history", "plan.toml"]).exits(0).prints("% worse, p 0.00").prints("for the worse");
    table
        .prints("a change of level at session 7")
        .prints("▼")
        .prints("┤")
        .prints("└──")
        .prints("engine scripted");
}

#[test]
fn better_is_better_in_either_direction_of_a_metric() {
    let lab = quicker_from_the_eighth_on();
    for (metric, rises) in
        [("tokens_per_sec", true), ("latency_p50_ms", false), ("engine.v0.1/tokens_per_sec", true)]
    {
        let history = document(&lab, &["quick", "--metric", metric]);
        let change = &history["change_points"][0];
        assert_eq!(
            (&change["index"], &change["change"]["effect"]),
            (&json!(7), &json!("better")),
            "{metric}"
        );
        assert_eq!(change["session"], history["sessions"][7]["id"]);
        let relative = change["change"]["relative"].as_f64().unwrap();
        assert_eq!(relative > 0.0, rises, "{metric}: {relative}");
        assert_eq!(history["since_first"]["effect"], "better");
    }
    let table = lab.run(&["history", "quick"]).exits(0).stdout;
    assert_eq!(table.matches(" 0.1.0 ").count(), 1, "an engine stands where it changes: {table}");
    assert_eq!(table.matches(" 0.2.0 ").count(), 1, "{table}");
}

#[test]
fn colour_is_only_where_it_is_asked_for() {
    let lab = quicker_from_the_eighth_on();
    let plain = lab.run(&["history", "quick"]).exits(0).stdout;
    assert!(plain.contains('▲') && !plain.contains('\u{1b}'), "{plain}");
    let coloured = lab.run(&["--color", "always", "history", "quick"]).exits(0).stdout;
    assert!(coloured.contains("\u{1b}[32m▲\u{1b}[0m"), "{coloured}");
}

#[test]
fn a_few_sessions_are_said_to_be_too_few() {
    let lab = recorded(&[session(0, 20_000), session(1, 40_000), session(2, 40_000)]);
    let ran = lab.run(&["history", "quick"]).exits(0);
    ran.prints("too few to tell: 3 sessions with a mean").prints("for the worse");
}

#[test]
fn the_newest_family_is_shown_and_the_others_are_named() {
    let lab = recorded(&[session(0, 20_000), session(1, 20_000), elsewhere(2)]);
    let newest = document(&lab, &["quick"]);
    assert_eq!(ids(&newest), [elsewhere(2).header.id.to_string()]);
    let ran = lab.run(&["history", "quick"]).exits(0).says("plan `quick` has 1 other family: ");
    let (_, others) = ran.stderr.split_once("other family: ").unwrap();
    let other = others.split_whitespace().next().unwrap();
    assert!(others.contains("(2 sessions)"), "{others}");
    let older = document(&lab, &["quick", "--family", &other.to_uppercase()]);
    assert_eq!(ids(&older), [session(0, 1).header.id.to_string(), session(1, 1).header.id.to_string()]);
    assert!(older["family"].as_str().unwrap().starts_with(other));
    lab.run(&["history", "quick", "--family", "xyz"])
        .exits(2)
        .says("no family of plan `quick` begins with `xyz`")
        .says(other)
        .prints_nothing();
    lab.run(&["history", "quick", "--family", ""]).exits(2).says("2 families of plan `quick` begin with ``");
}

#[test]
fn sides_of_paired_experiments_are_left_out() {
    let lab = recorded(&[session(0, 20_000), side(1)]);
    assert_eq!(ids(&document(&lab, &["quick"])), [session(0, 1).header.id.to_string()]);
    let lab = recorded(&[side(0)]);
    lab.run(&["history", "quick"]).exits(2).says("one side of a paired experiment").prints_nothing();
}

#[test]
fn a_limit_keeps_the_newest_sessions() {
    let lab = recorded(&[session(0, 20_000), session(1, 20_000), session(2, 20_000)]);
    let history = document(&lab, &["quick", "--limit", "2"]);
    assert_eq!(ids(&history), [session(1, 1).header.id.to_string(), session(2, 1).header.id.to_string()]);
    assert_eq!(history["older"], 1);
    lab.run(&["history", "quick", "--limit", "2"]).exits(0).says("the 2 newest sessions").prints("1 older");
    lab.run(&["history", "quick", "--limit", "0"]).exits(2).says("--limit").prints_nothing();
}

#[test]
fn a_name_that_means_nothing_is_refused_with_the_nearest() {
    let lab = recorded(&[session(0, 20_000)]);
    let refused = |words: &[&str]| lab.run(&[&["history"][..], words].concat()).exits(2).prints_nothing();
    refused(&["quik"]).says("`quik` is neither a plan file nor the name").says("did you mean `quick`?");
    refused(&["zzz"]).says("`lab list` shows the plans");
    refused(&["quick", "--metric", "tokens_per_secs"]).says("did you mean `tokens_per_sec`?");
    refused(&["quick", "--metric", "zzz"]).says("`lab metrics` lists them");
    lab.plan(Plan::scripted());
    refused(&["plan.toml"])
        .says("the store holds no session of plan `tiny`")
        .says("`lab run plan.toml` records one");
    lab.write("broken.toml", "version = 1\nnam = \"x\"\n");
    refused(&["broken.toml"]).says("plan `broken.toml` has");
}

#[test]
fn sessions_without_a_value_say_why_and_leave_nothing_to_draw() {
    let lab = recorded(&[session(0, 20_000), session(1, 20_000)]);
    let history = document(&lab, &["quick", "--metric", "watts_avg"]);
    assert_eq!(history["since_first"], Value::Null);
    for session in history["sessions"].as_array().unwrap() {
        assert_eq!(session["mean"], Value::Null);
        assert!(session["unavailable"].as_str().is_some_and(|why| !why.is_empty()), "{session:#}");
    }
    let table =
        lab.run(&["history", "quick", "--metric", "watts_avg"]).exits(0).prints("0 sessions with a mean");
    assert!(!table.stdout.contains('┤'), "{table:#?}");
}

#[test]
fn a_machine_that_is_not_known_has_no_history() {
    let mut unknown = session(0, 20_000);
    unknown.header.fingerprint.hardware.identity.insert("cpu_model".to_owned(), Value::Null);
    let lab = recorded(&[unknown]);
    lab.run(&["history", "quick"]).exits(4).says("hardware does not know cpu_model").prints_nothing();
}

#[test]
fn experiments_from_build_to_build_add_up() {
    let lab = Lab::new();
    lab.plan(Plan::scripted()).run(&["run", "plan.toml"]).exits(0);
    lab.run(&["history", "plan.toml", "--experiments"]).exits(2).says("no paired experiment of plan");
    for (token_us, name) in [(10_000, "one.toml"), (13_000, "two.toml"), (17_000, "three.toml")] {
        lab.plan(Plan::steady().set("engine.script.token_us", token_us));
        std::fs::rename(lab.path("plan.toml"), lab.path(name)).unwrap();
    }
    for sides in [["one.toml", "two.toml"], ["two.toml", "three.toml"]] {
        let ran = lab.run(&[&["ab"][..], &sides, &["--pairs", "4", "--fixed", "--closing", "0"]].concat());
        assert!(matches!(ran.status, Some(0 | 1 | 3)), "{ran:?}");
    }
    let words = ["history", "one.toml", "--experiments"];
    let document = lab.run(&[&words[..], &["--format", "json"]].concat()).exits(0).json();
    schema::assert_fits(&document, "steps.v1");
    let steps = document["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2, "{document:#}");
    let estimate = |index: usize, key: &str| steps[index][key]["estimate"].as_f64().unwrap();
    let both = (1.0 + estimate(0, "change")) * (1.0 + estimate(1, "change")) - 1.0;
    assert!((estimate(1, "sum") - both).abs() < 1e-9, "{document:#}");
    assert!(estimate(1, "sum") < estimate(0, "sum"), "{document:#}");
    assert_eq!(steps[1]["linked"], true);
    lab.run(&words).exits(0).prints("from the first engine to the last: -");
    lab.run(&["history", "one.toml", "--experiments", "--metric", "ttft_ms"])
        .exits(2)
        .says("cannot be used with");
}
