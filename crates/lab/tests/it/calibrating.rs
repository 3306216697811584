//! `lab calibrate`: what a host varies by when nothing changes, and what later comparisons make of it.

use serde_json::json;

use crate::harness::Lab;
use crate::plan::Plan;
use crate::schema;

#[test]
fn a_calibration_measures_stores_and_tells_what_can_be_seen() {
    let lab = Lab::new();
    let words =
        ["calibrate", "plan.toml", "--sessions", "3", "--repeat", "3", "--pairs", "4", "--format", "json"];
    let document = lab.plan(Plan::steady().set("run.warmup", 1)).run(&words).exits(0).json();
    schema::assert_fits(&document, "calibration.v1");
    let [compare, ab] = ["compare", "ab"].map(|kind| &document[kind]);
    assert_eq!((&compare["noise"]["n_groups"], &compare["noise"]["n_values"]), (&json!(3), &json!(9)));
    assert_eq!(ab["noise"]["n_groups"], 3);
    assert_ne!(compare["family"], ab["family"], "turns are another way of measuring");
    assert_eq!(compare["rates"].as_array().unwrap().len(), 40);
    lab.run(&["verify"]).exits(0);
    // Three sessions of one fingerprint tell what sessions differ by.
    let ids: Vec<String> = lab.run(&["list", "--format", "json"]).json()["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| own["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 9, "a session and two sides, three times");
    let report = lab.compare(&ids[2], &ids[5], &["--rule", "interval", "--format", "json"]).json();
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
