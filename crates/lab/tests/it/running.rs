//! `lab run`: what it prints, what it stores, and the identities its numbers keep.

use serde_json::Value;

use crate::harness::{Lab, Ran};
use crate::plan::Plan;
use crate::schema;

fn launches(document: &Value) -> Vec<u64> {
    document["executions"].as_array().unwrap().iter().map(|own| own["launch"].as_u64().unwrap()).collect()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_run_prints_its_table_as_data_and_its_talk_apart() {
    let lab = Lab::new();
    let ran = lab.plan(Plan::scripted()).run(&["run", "plan.toml"]).exits(0);
    let ran = ran.prints("model         tiny-synthetic").prints("completed, 2 of 2 repetitions");
    let ran = ran.prints("contract incomplete: watts_avg, tokens_per_watt").prints("tokens_per_sec");
    let ran =
        ran.says("tiny: tiny-synthetic, 4 prompt tokens, 4 to generate, repetitions: 2").says("stored as ");
    assert!(!ran.stdout.contains("stored as") && !ran.stderr.contains("tokens_per_sec"), "{ran:#?}");
}

#[test]
fn a_run_in_json_is_one_document_that_fits_its_schema() {
    let document = Lab::new().measure(Plan::scripted());
    schema::assert_fits(&document, "session.v1");
    assert_eq!(document["session"]["status"], "completed");
    assert_eq!(document["session"]["completed"], 2);
    assert_eq!(document["executions"].as_array().unwrap().len(), 2);
    assert_eq!(document["failures"], serde_json::json!([]));
}

#[test]
fn each_execution_carries_the_founding_documents_object_key_for_key() {
    let document = Lab::new().measure(Plan::scripted());
    for execution in document["executions"].as_array().unwrap() {
        assert_eq!(keys(execution)[..5], ["engine_version", "model", "backend", "quantization", "metrics"]);
        assert_eq!(execution["engine_version"], "1");
        assert_eq!(execution["model"], "tiny-synthetic");
        assert_eq!(execution["quantization"], "q4_k");
        assert!(execution["backend"].as_str().unwrap().starts_with("cpu"), "{execution:#}");
        let metrics = [
            "tokens_total",
            "tokens_per_sec",
            "latency_total_ms",
            "latency_p50_ms",
            "latency_p95_ms",
            "watts_avg",
            "tokens_per_watt",
            "memory_peak_mb",
            "op_time_ms",
        ];
        assert_eq!(keys(&execution["metrics"]), metrics);
    }
}

#[test]
fn throughput_times_latency_is_the_number_of_tokens() {
    let plan = Plan::scripted().set("workload.generate", 9).set("run.repeat", 3);
    let document = Lab::new().measure(plan);
    for execution in document["executions"].as_array().unwrap() {
        let metric = |name: &str| execution["metrics"][name].as_f64().unwrap();
        let tokens = metric("tokens_per_sec") * metric("latency_total_ms") / 1000.0;
        assert!((tokens - metric("tokens_total")).abs() < 1e-9, "{execution:#}");
        assert!((metric("tokens_total") - 9.0).abs() < f64::EPSILON);
        assert_eq!(execution["n_token_gaps"], 8);
        // Eight gaps of 100 us after a prefill of 200 us, and whatever the machine adds.
        assert!(metric("latency_total_ms") >= 1.0 && metric("latency_p95_ms") >= metric("latency_p50_ms"));
    }
}

#[test]
fn what_is_not_measured_is_null_with_a_reason_and_never_zero() {
    let document = Lab::new().measure(Plan::scripted());
    for execution in document["executions"].as_array().unwrap() {
        for metric in ["watts_avg", "tokens_per_watt", "op_time_ms"] {
            assert_eq!(execution["metrics"][metric], Value::Null, "{metric}");
            assert!(execution["unavailable"][metric].as_str().is_some_and(|why| !why.is_empty()), "{metric}");
        }
        assert!(execution["metrics"]["memory_peak_mb"].as_f64().unwrap() > 0.1);
    }
    let contract = &document["session"]["contract"];
    assert_eq!(contract["complete"], false);
    assert_eq!(contract["missing"], serde_json::json!(["watts_avg", "tokens_per_watt"]));
}

#[test]
fn a_single_token_has_no_latency_percentiles_and_says_so() {
    let document = Lab::new().measure(Plan::scripted().set("workload.generate", 1));
    let execution = &document["executions"][0];
    assert_eq!(execution["metrics"]["latency_p50_ms"], Value::Null);
    assert_eq!(execution["unavailable"]["latency_p50_ms"], "a single token has no gap to the next");
    assert_eq!(execution["metrics"]["tokens_total"], 1);
}

#[test]
fn isolation_launch_gives_every_repetition_a_process_and_its_own_warm_up() {
    let plan = Plan::scripted().set("run.repeat", 5).set("run.warmup", 1);
    let lab = Lab::new();
    let document = lab.measure(plan);
    assert_eq!(launches(&document), [0, 1, 2, 3, 4]);
    let session = lab.newest().unwrap();
    assert_eq!((session.launches.len(), session.repetitions.len()), (5, 10));
}

#[test]
fn isolation_session_shares_one_process_and_one_warm_up() {
    let plan = Plan::scripted().set("run.repeat", 5).set("run.warmup", 1).set("run.isolation", "session");
    let lab = Lab::new();
    let document = lab.measure(plan);
    assert_eq!(launches(&document), [0; 5]);
    let session = lab.newest().unwrap();
    assert_eq!((session.launches.len(), session.repetitions.len()), (1, 6));
}

#[test]
fn the_command_lines_repeat_replaces_the_plans() {
    let lab = Lab::new();
    lab.plan(Plan::scripted());
    let ran = lab.run(&["run", "plan.toml", "--repeat", "3", "--format", "json"]).exits(0);
    assert_eq!(ran.json()["session"]["repeat"], 3);
    assert_eq!(launches(&ran.json()), [0, 1, 2]);
}

#[test]
fn the_stored_session_is_the_one_printed() {
    let lab = Lab::new();
    let printed = lab.measure(Plan::scripted());
    let shown = lab.run(&["show", "@latest", "--format", "json"]).exits(0).json();
    let exported = lab.run(&["export", "@latest"]).exits(0).json();
    assert_eq!(printed, shown);
    assert_eq!(printed, exported);
}

#[test]
fn the_same_plan_gives_the_same_tokens_and_the_same_fingerprint() {
    let lab = Lab::new();
    let one = lab.measure(Plan::scripted());
    let first = lab.newest().unwrap();
    let other =
        lab.measure(Plan::scripted().set("name", "renamed").set("description", "no part of identity"));
    let second = lab.newest().unwrap();
    assert_eq!(one["fingerprint"]["digest"], other["fingerprint"]["digest"]);
    let ids = |session: &lab_core::record::Session| -> Vec<Vec<u32>> {
        session.completed().map(|(_, completed)| completed.token_ids.clone()).collect()
    };
    assert_eq!(ids(&first), ids(&second));
    assert_ne!(first.header.id, second.header.id);
}

#[test]
fn a_plan_that_loosens_a_tolerance_is_unofficial_wherever_it_is_shown() {
    let lab = Lab::new();
    let plan = Plan::scripted().set("tolerances.tokens_per_sec.percent", 50.0);
    lab.plan(plan).run(&["run", "plan.toml"]).exits(0).says("unofficial").prints("unofficial");
    let document = lab.run(&["show", "@latest", "--format", "json"]).exits(0).json();
    assert_eq!(document["session"]["unofficial"][0]["metric"], "engine.v0.1/tokens_per_sec");
}

#[test]
fn environment_that_engines_heed_is_part_of_the_fingerprint_and_the_rest_does_not_pass() {
    let lab = Lab::new();
    lab.plan(Plan::scripted());
    let mut command = lab.command(&["run", "plan.toml", "--format", "json"]);
    command.env("MALLOC_ARENA_MAX", "2").env("SECRET_OF_THE_USER", "x");
    let document = Ran::of(command).exits(0).json();
    let passed = &document["fingerprint"]["backend"]["identity"]["environment"];
    assert_eq!(passed["MALLOC_ARENA_MAX"], "2");
    assert!(passed["RAYON_NUM_THREADS"].is_string() && passed.get("SECRET_OF_THE_USER").is_none());
}

#[test]
fn threads_and_cores_of_the_plan_reach_the_fingerprint() {
    let core = lab_host::process::affinity(&lab_host::Roots::default(), std::process::id()).unwrap();
    let core = core.iter().next().unwrap();
    let plan = Plan::scripted().set("engine.threads", 1).set("engine.cores", vec![core]);
    let backend = &Lab::new().measure(plan)["fingerprint"]["backend"]["identity"];
    assert_eq!(backend["threads"], 1);
    assert_eq!(backend["cores"], core.to_string());
}
