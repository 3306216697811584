//! `lab calibrate`: what a host varies by when nothing changes, and what later comparisons make of it.

use jiff::Timestamp;
use lab_core::calibration::{CALIBRATION_SCHEMA, Calibration, Grouped};
use lab_core::digest::Digest;
use lab_core::fixtures;
use lab_store::{CalibrationKind, CalibrationRow, Store};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::Lab;
use crate::plan::Plan;
use crate::schema;

#[test]
fn a_calibration_measures_stores_and_tells_what_can_be_seen() {
    let lab = Lab::new();
    let words =
        ["calibrate", "plan.toml", "--sessions", "5", "--repeat", "3", "--pairs", "4", "--format", "json"];
    // A tenth of 72 ms is to be seen in three launches, beside other tests.
    let plan = Plan::steady().set("run.warmup", 1).set("engine.script.token_us", 6_000);
    let document = lab.plan(plan).run(&words).exits(0).json();
    schema::assert_fits(&document, "calibration.v1");
    let [compare, ab] = ["compare", "ab"].map(|kind| &document[kind]);
    assert_eq!((&compare["noise"]["n_groups"], &compare["noise"]["n_values"]), (&json!(5), &json!(15)));
    assert_eq!(ab["noise"]["n_groups"], 5);
    assert_ne!(compare["family"], ab["family"], "turns are another way of measuring");
    assert_eq!(compare["rates"].as_array().unwrap().len(), 40);
    lab.run(&["verify"]).exits(0);
    // Five sessions of one fingerprint tell what sessions differ by.
    let ids: Vec<String> = lab.run(&["list", "--limit", "99", "--format", "json"]).json()["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| own["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 15 + 12, "a session and two sides, five times; and four planted losses");
    for kind in [compare, ab] {
        let planted: Vec<f64> =
            kind["planted"].as_array().unwrap().iter().map(|own| own["change"].as_f64().unwrap()).collect();
        assert_eq!(planted, [-0.01, -0.03, -0.06, -0.1]);
        let last = &kind["planted"][3];
        let bound = |name: &str| last[name].as_f64().unwrap();
        assert!(bound("low") < bound("estimate") && bound("estimate") < -0.05, "{last}");
    }
    // Newest first: the last of the five times began behind the planted ones.
    lab.run(&["run", "plan.toml", "--repeat", "3"]).exits(0);
    let report = lab.compare(&ids[14], "@latest", &["--rule", "interval", "--format", "json"]).json();
    let support = &report["support"];
    assert!(support["detects"].as_f64().unwrap() > 0.03, "{support}");
    assert!(support["paired"]["seconds"].as_f64().unwrap() > 0.0, "{support}");
    let speed = report["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|own| own["metric"] == "engine.v0.1/tokens_per_sec");
    assert_eq!(speed.unwrap()["interval"]["value"]["drift"]["kind"], "known", "{report:#}");
}

#[test]
fn times_and_counts_that_make_no_sense_are_refused() {
    let lab = Lab::new();
    lab.plan(Plan::steady().set("run.warmup", 1));
    lab.run(&["calibrate", "plan.toml", "--over", "soon"]).exits(2).says("such as `90m`");
    lab.run(&["calibrate", "plan.toml", "--sessions", "1"]).exits(2).says("1 is not in 2..");
    let absolute = Plan::steady().set("run.warmup", 1).set("tolerances.tokens_per_sec.absolute", 1.0);
    lab.plan(absolute).run(&["calibrate", "plan.toml"]).exits(2).says("no percentage");
}

/// A calibration of sessions that vary by half a percent from launch to launch.
fn calibration(family: Digest) -> Value {
    let calibration = Calibration {
        schema: CALIBRATION_SCHEMA.to_owned(),
        lab_version: "0.1.0".to_owned(),
        plan: "quick".to_owned(),
        family,
        made_at: "2026-01-01T00:00:00Z".to_owned(),
        metric: "engine.v0.1/tokens_per_sec".to_owned(),
        tolerance: 0.03,
        seconds: None,
        closing_seconds: None,
        groups: Vec::new(),
        noise: Grouped { n_groups: 5, n_values: 25, within: 0.005, between: 0.001, serial_correlation: 0.0 },
        rates: Vec::new(),
        planted: Vec::new(),
    };
    serde_json::to_value(calibration).unwrap()
}

/// Keeps a calibration of the newest session's family, by which launches or pairs vary by so much.
fn calibrate(lab: &Lab, kind: CalibrationKind, within: f64) {
    let family = lab.session("@latest").header.fingerprint.family();
    let mut body = calibration(family);
    body["noise"]["within"] = json!(within);
    let (id, made_at) = (Uuid::from_u128(1), Timestamp::UNIX_EPOCH);
    let row = CalibrationRow { id, made_at, fingerprint: family, kind, body };
    Store::open(&lab.store()).unwrap().append_calibration(&row).unwrap();
}

#[test]
fn a_plan_that_repeats_too_little_for_its_tolerance_is_told_so_before_it_runs() {
    let lab = Lab::new();
    lab.plan(Plan::steady()).run(&["run", "plan.toml", "--repeat", "3"]).exits(0);
    calibrate(&lab, CalibrationKind::Compare, 0.1);
    let ran = lab.run(&["run", "plan.toml", "--repeat", "3"]).exits(0);
    let (before, _) =
        ran.stderr.split_once("repetition 1 of 3").expect("a cold repetition is named as it ends");
    assert!(
        before.contains("note: by calibration, sessions of 3 launches with nothing changed differ by up to")
    );
    assert!(before.contains("the tolerance of 3.0 % needs more launches, or `lab ab plan.toml`"), "{before}");
}

#[test]
fn an_experiment_of_too_few_pairs_for_its_tolerance_is_told_so() {
    let lab = Lab::new();
    let four_pairs = ["ab", "plan.toml", "--pairs", "4"];
    let before = lab.plan(Plan::steady()).run(&four_pairs);
    assert!(!before.stderr.contains("by calibration"), "{before:#?}");
    calibrate(&lab, CalibrationKind::Ab, 0.1);
    lab.run(&four_pairs)
        .says("note: by calibration, experiments of 4 pairs with nothing changed differ by up to 17.2 % here")
        .says("the tolerance of 3.0 % needs more (`--pairs`)");
}

#[test]
fn a_calibration_that_does_not_read_gives_way_to_the_one_before_it_and_is_told() {
    let lab = Lab::new();
    let sessions = [1, 2].map(|number| fixtures::session(number, &[20_000, 20_060, 19_980, 20_020, 20_050]));
    sessions.iter().for_each(|session| lab.record(session));
    let family = sessions[0].header.fingerprint.family();
    let with = |key: &str, value: Value| {
        let mut body = calibration(family);
        body[key] = value;
        body
    };
    let unread = [
        with("schema", json!("lab.calibration.v9")),
        with("metric", json!("engine.v0.1/watts_avg")),
        with("noise", json!("loud")),
    ];
    let mut store = Store::open(&lab.store()).unwrap();
    for (number, body) in (0_u8..).zip([&[calibration(family)], unread.as_slice()].concat()) {
        let row = CalibrationRow {
            id: Uuid::from_u128(u128::from(number) + 1),
            made_at: Timestamp::from_second(number.into()).unwrap(),
            fingerprint: family,
            kind: CalibrationKind::Compare,
            body,
        };
        store.append_calibration(&row).unwrap();
    }
    drop(store);
    let [a, b] = sessions.map(|session| session.header.id.to_string());
    let ran = lab.run(&["compare", &a, &b, "--format", "json"]);
    assert!(ran.json()["support"]["detects"].as_f64().unwrap() > 0.03, "{ran:#?}");
    assert_eq!(ran.stderr.matches("note: skipped").count(), 1, "{ran:#?}");
    let ran = ran.says("its schema is `lab.calibration.v9`").says("it is about `engine.v0.1/watts_avg`");
    ran.says("invalid type").says("the calibration `00000000-0000-0000-0000-000000000004` of kind `compare`");
}
