//! Documents of a workflow runtime: `lab import workflow`, `lab check`, `lab export --format source`, `lab run
//! --emit-metrics`.

use serde_json::{Value, json};

use crate::harness::{Lab, Ran};
use crate::plan::Plan;
use crate::schema;

/// The example of the founding document, byte for byte.
const SEED: &str = include_str!("../../../lab-formats/tests/data/workflow-seed.json");
const READY_PLAN: &str = include_str!("../../../../plans/workflow.toml");

/// Returns the example with some values replaced, each by its JSON pointer. Its bytes are others than the example's.
fn changed(changes: &[(&str, Value)]) -> String {
    let mut document: Value = serde_json::from_str(SEED).unwrap();
    for (pointer, value) in changes {
        *document.pointer_mut(pointer).unwrap() = value.clone();
    }
    document.to_string()
}

/// A folder with the example and the ready plan in it.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("metrics.json", SEED);
    lab.write("workflow.toml", READY_PLAN);
    lab
}

#[track_caller]
fn import(lab: &Lab, files: &[&str]) -> Ran {
    let words = [["import", "workflow", "--plan", "workflow.toml"].as_slice(), files].concat();
    lab.run(&words)
}

/// Reads what `--emit-metrics own.json` wrote.
fn emitted(lab: &Lab) -> Value {
    serde_json::from_str(&std::fs::read_to_string(lab.path("own.json")).unwrap()).unwrap()
}

fn n_sessions(lab: &Lab) -> usize {
    if !lab.store().exists() {
        return 0;
    }
    let list = lab.run(&["list", "--format", "json"]).exits(0).json();
    list["sessions"].as_array().unwrap().len()
}

#[test]
fn the_founding_documents_example_goes_in_and_comes_out_byte_for_byte() {
    let lab = lab();
    let document = import(&lab, &["metrics.json", "--format", "json"]).exits(0).says("stored as").json();
    schema::assert_fits(&document, "session.v1");
    assert_eq!(document["session"]["origin"], "imported");
    assert_eq!(
        document["session"]["contract"],
        json!({"id": "workflow.v1", "complete": true, "missing": []})
    );
    let run = &document["runs"][0];
    assert_eq!(run["metrics"]["per_op_overhead_us"], 4.73);
    assert_eq!(run["metrics"]["p99_latency_ms"], 778.0);
    assert_eq!(run["metrics"]["runtime_ms"], 780.67);
    let ratio = run["metrics"]["overhead_ratio_pct"].as_f64().unwrap();
    assert!((ratio - 14.19 / 778_000.0 * 100.0).abs() < 1e-12, "{ratio}");
    assert_eq!(run["validity"], "valid");
    assert_eq!(lab.run(&["export", "@latest", "--format", "source"]).exits(0).stdout, SEED);
    let ran = lab.run(&["export", "@latest", "--format", "source", "--output", "again.json"]).exits(0);
    ran.prints_nothing().says("wrote again.json");
    assert_eq!(std::fs::read_to_string(lab.path("again.json")).unwrap(), SEED);
    lab.run(&["show", "@latest", "--rederive"])
        .exits(0)
        .prints("imported: measured by `apxm`, not by lab")
        .says("0 differ");
    lab.run(&["verify"]).exits(0);
}

#[test]
fn what_a_document_says_that_lab_does_not_know_is_kept() {
    let lab = lab();
    let future =
        "{\"future\": [1, {\"deep\": null}],\r\n \"llm\": {\"total_requests\": 1, \"retries\": 2}}\n\n";
    lab.write("future.json", future);
    import(&lab, &["future.json"]).exits(0);
    assert_eq!(lab.run(&["export", "@latest", "--format", "source"]).exits(0).stdout, future);
    let run = lab.run(&["show", "@latest", "--format", "json"]).exits(0).json()["runs"][0].clone();
    assert_eq!(run["metrics"]["total_requests"], 1.0);
    assert_eq!(run["metrics"]["per_op_overhead_us"], Value::Null);
    assert_eq!(run["unavailable"]["per_op_overhead_us"], "the document does not tell `per_op_overhead_us`");
}

#[test]
fn a_file_is_imported_once_however_often_it_is_named() {
    let lab = lab();
    lab.write("copy.json", SEED);
    import(&lab, &["metrics.json", "copy.json"]).exits(0).says("has the bytes of `metrics.json`");
    assert_eq!(n_sessions(&lab), 1);
    import(&lab, &["copy.json"]).exits(0).says("is imported already, as part of session").prints_nothing();
    assert_eq!(n_sessions(&lab), 1);
}

#[test]
fn documents_of_one_workflow_are_repetitions_of_one_session() {
    let lab = lab();
    lab.write("slower.json", changed(&[("/scheduler/per_op_overhead_us", json!(4.74))]));
    lab.write("o2.json", changed(&[("/optimization_level", json!("O2"))]));
    lab.write("other.json", changed(&[("/input", json!("Fan Out.ais"))]));
    lab.run(&["import", "workflow", "metrics.json", "slower.json", "o2.json", "other.json"]).exits(0);
    assert_eq!(n_sessions(&lab), 3);
    let list = lab.run(&["list", "--format", "json"]).exits(0).json();
    let of = |plan: &str| -> Vec<u64> {
        let sessions = list["sessions"].as_array().unwrap().iter().filter(|own| own["plan"] == plan);
        sessions.map(|own| own["completed"].as_u64().unwrap()).collect()
    };
    let mut workflow = of("workflow");
    workflow.sort_unstable();
    assert_eq!((workflow, of("fan-out")), (vec![1, 2], vec![1]));
    let session = list["sessions"].as_array().unwrap().iter().find(|own| own["completed"] == 2).unwrap();
    let id = session["id"].as_str().unwrap();
    lab.run(&["export", id, "--format", "source"]).exits(2).says("has 2 documents").says("`--repetition 0`");
    let second = lab.run(&["export", id, "--format", "source", "--repetition", "1"]).exits(0).stdout;
    assert_eq!(second, changed(&[("/scheduler/per_op_overhead_us", json!(4.74))]));
    lab.run(&["export", id, "--format", "source", "--repetition", "2"]).exits(2).says("no repetition 2");
}

#[test]
fn a_file_that_cannot_be_imported_is_told_and_leaves_nothing_behind() {
    let lab = lab();
    std::fs::create_dir(lab.path("folder.json")).unwrap();
    lab.write("cut.json", &SEED[..SEED.len() / 2]);
    lab.write("typed.json", changed(&[("/scheduler/per_op_overhead_us", json!("4.73"))]));
    lab.write("nan.json", SEED.replace("4.73", "NaN"));
    lab.write("negative.json", changed(&[("/llm/avg_latency_ms", json!(-778))]));
    lab.write("section.json", changed(&[("/llm", json!([1, 2]))]));
    lab.write("other.json", "{\"schema\": \"lab.list.v1\"}");
    lab.write("twice.json", format!("{SEED}{SEED}"));
    for (file, expected) in [
        ("cut.json", "EOF while parsing"),
        ("typed.json", "`typed.json`: scheduler.per_op_overhead_us: invalid type: string"),
        ("nan.json", "`nan.json`: scheduler.per_op_overhead_us: expected value (line 11, column "),
        (
            "negative.json",
            "llm.avg_latency_ms: invalid value: floating point `-778.0`, expected a number from 0 up (line ",
        ),
        ("section.json", "llm: invalid type: sequence, expected an object"),
        ("other.json", "is no metrics document of a workflow"),
        ("twice.json", "trailing characters"),
        ("folder.json", "`folder.json`: it is a folder"),
        ("missing.json", "`missing.json`: it cannot be read"),
        ("-", "`-`: standard input cannot be imported"),
        ("/dev/null", "it is no regular file, and cannot be imported: a document is read twice"),
    ] {
        import(&lab, &[file]).exits(2).says(expected).prints_nothing();
        import(&lab, &["metrics.json", file]).exits(2).says(expected).says("`--keep-going`").prints_nothing();
    }
    assert_eq!(n_sessions(&lab), 0);
}

#[test]
fn with_keep_going_the_rest_is_imported_and_the_status_still_tells() {
    let lab = lab();
    lab.write("cut.json", &SEED[..40]);
    import(&lab, &["cut.json", "metrics.json", "missing.json", "--keep-going"])
        .exits(2)
        .says("passed over: `cut.json`: ")
        .says("passed over: `missing.json`: it cannot be read")
        .says("stored as");
    assert_eq!(n_sessions(&lab), 1);
    import(&lab, &["cut.json", "--keep-going"]).exits(2).says("passed over: `cut.json`: ").prints_nothing();
}

#[test]
fn a_document_that_contradicts_itself_is_suspect_by_both_numbers() {
    let lab = lab();
    // The founding document's line that divides the sum by the operations once more.
    let divided = changed(&[("/scheduler/per_op_overhead_us", json!(1.58))]);
    lab.write("divided.json", divided);
    let expected = "breakdown: its fields add up to 4.74 us and `per_op_overhead_us` is 1.58 us";
    import(&lab, &["divided.json"]).exits(0).says("is suspect").says(expected).prints("suspect");
    lab.write("failed.json", changed(&[("/scheduler/operations_failed", json!(4))]));
    let ran = import(&lab, &["failed.json"]).exits(0);
    ran.says("failed: 4 operations failed and 3 were executed");
    lab.run(&["check", "@latest~1"]).exits(0).prints(expected).prints("passed");
}

#[test]
fn the_ready_plans_limits_are_the_founding_documents_targets() {
    let lab = lab();
    import(&lab, &["metrics.json"]).exits(0);
    let check = lab.run(&["check", "@latest", "--format", "json"]).exits(0).json();
    schema::assert_fits(&check, "check.v1");
    assert_eq!((&check["passed"], &check["limits"][1]["limit"]), (&json!(true), &json!({"below": 10.0})));
    let breakdown = json!({});
    for (overhead, requests, status, words) in [
        (json!(9.99), json!(1), 0, "every limit holds (2)"),
        (json!(10), json!(1), 1, "1 of 2 limits broken"),
        (json!(9.99), json!(0), 1, "1 of 2 cannot be shown to hold"),
    ] {
        let changes = [
            ("/scheduler/per_op_overhead_us", overhead),
            ("/scheduler/overhead_breakdown", breakdown.clone()),
            ("/llm/total_requests", requests),
        ];
        lab.write("changed.json", changed(&changes));
        import(&lab, &["changed.json"]).exits(0);
        lab.run(&["check", "@latest"]).exits(status).prints(words);
    }
}

#[test]
fn a_check_needs_limits_of_the_sessions_own_contract() {
    let lab = lab();
    lab.run(&["import", "workflow", "metrics.json"]).exits(0);
    lab.run(&["check", "@latest"]).exits(2).says("sets no limit").says("--plan plans/workflow.toml");
    lab.run(&["check", "@latest", "--plan", "workflow.toml"]).exits(0).prints("below 10 us");
    lab.measure(Plan::scripted());
    let without = lab.run(&["check", "@latest"]).exits(2).says("sets no limit");
    assert!(!without.stderr.contains("workflow.toml"), "{without:#?}");
    lab.run(&["check", "@latest", "--plan", "workflow.toml"])
        .exits(2)
        .says("the plan is of contract workflow.v1 and the session of engine.v0.1");
    let mut limit = toml::Table::new();
    limit.insert("min".to_owned(), 0.001.into());
    lab.measure(Plan::scripted().set("limits.tokens_per_sec", limit));
    // The neighbours of a test may make every repetition invalid, and then there is no value.
    let ran = lab.run(&["check", "@latest"]);
    assert!(matches!(ran.status, Some(0 | 1)), "{ran:#?}");
    ran.prints("at least 0.001 tokens/s");
}

#[test]
fn a_plan_that_measures_nothing_is_refused_where_something_is_measured() {
    let lab = lab();
    for command in [["run", "workflow.toml"].as_slice(), &["plan", "check", "workflow.toml"]] {
        lab.run(command)
            .exits(2)
            .says("of contract workflow.v1 and measures nothing")
            .says("lab import … --plan");
    }
    lab.plan(Plan::scripted());
    lab.run(&["import", "workflow", "metrics.json", "--plan", "plan.toml"])
        .exits(2)
        .says("of contract engine.v0.1, and the documents are of workflow.v1");
    assert_eq!(n_sessions(&lab), 0);
}

#[test]
fn a_session_of_labs_own_is_such_a_document_too() {
    let lab = lab();
    lab.plan(Plan::scripted());
    lab.run(&["run", "plan.toml", "--emit-metrics", "own.json"]).exits(0).says("wrote own.json");
    let document = emitted(&lab);
    schema::assert_fits(&document, "workflow.v1");
    assert_eq!(document["input"], "plan.toml");
    assert_eq!(document["execution"]["nodes_executed"], 2);
    assert_eq!(document["scheduler"]["operations_executed"], 8);
    assert_eq!(document["scheduler"]["overhead_breakdown"]["work_stealing_us"], Value::Null);
    for phase in ["compile_ms", "artifact_ms", "validation_ms", "runtime_ms"] {
        assert!(document["link_phases"][phase].as_f64().unwrap() > 0.0, "{phase}: {document:#}");
    }
    let stored = lab.run(&["export", "@latest", "--format", "workflow"]).exits(0).json();
    assert_eq!(stored["scheduler"], document["scheduler"], "both are derived from what is stored");
    assert_eq!(stored["link_phases"]["compile_ms"], Value::Null);
    let imported = import(&lab, &["own.json", "--format", "json"]).exits(0).json();
    assert_eq!(imported["runs"][0]["validity"], "valid");
    assert_eq!(imported["fingerprint"]["engine"]["identity"]["tool"], document["tool"]);
    lab.run(&["export", "@latest", "--format", "workflow"]).exits(2).says("`--format source`");
}

#[test]
fn metrics_that_cannot_be_written_are_refused_before_anything_is_measured() {
    let lab = lab();
    lab.plan(Plan::scripted());
    std::fs::create_dir(lab.path("folder")).unwrap();
    for (path, words) in [
        ("no/such/folder/m.json", "cannot write `no/such/folder/m.json`"),
        ("folder", "it is there and is no file"),
        ("/dev/null", "it is there and is no file"),
        ("plan.toml", "it would take the place of `plan.toml`"),
    ] {
        lab.run(&["run", "plan.toml", "--emit-metrics", path]).exits(2).says(words).prints_nothing();
    }
    assert_eq!(n_sessions(&lab), 0);
    assert!(std::fs::read_dir(lab.path("folder")).unwrap().next().is_none());
}

#[test]
fn metrics_are_written_of_a_session_that_failed_too() {
    let lab = lab();
    lab.plan(Plan::scripted().fault("generate_fails").in_launch(1));
    lab.run(&["run", "plan.toml", "--emit-metrics", "own.json"]).exits(5).says("wrote own.json");
    let execution = &emitted(&lab)["execution"];
    assert_eq!(execution["status"], "failed");
    assert_eq!((&execution["nodes_executed"], &execution["nodes_failed"]), (&json!(1), &json!(1)));
}

#[test]
fn what_was_measured_here_has_no_document_to_give_back() {
    let lab = lab();
    lab.measure(Plan::scripted());
    lab.run(&["export", "@latest", "--format", "source"]).exits(2).says("was measured here");
    lab.run(&["export", "@latest", "--repetition", "0"]).exits(2).says("`--format source` alone");
}
