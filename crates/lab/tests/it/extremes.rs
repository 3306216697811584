//! Numbers at the ends of their types: an answer, never an overflow.

use std::sync::Once;

use crate::harness::Lab;
use crate::plan::Plan;

const GREATEST: i64 = u32::MAX as i64;

/// Runs `plan check` and returns its document; the status must be one of these.
#[track_caller]
fn check(plan: Plan, statuses: &[i32]) -> serde_json::Value {
    // The model is there, so that everything which needs it is computed.
    static MODEL_IS_THERE: Once = Once::new();
    MODEL_IS_THERE.call_once(|| drop(Lab::new().measure(Plan::scripted())));
    let lab = Lab::new();
    let ran = lab.plan(plan).run(&["plan", "check", "plan.toml", "--format", "json"]);
    assert!(statuses.contains(&ran.status.unwrap()), "{ran:#?}");
    ran.json()
}

#[test]
fn the_greatest_numbers_of_repetitions_and_warm_ups_are_explained() {
    let document = check(Plan::scripted().set("run.repeat", GREATEST), &[0]);
    assert_eq!(document["run"]["launches"], u32::MAX);
    let both = Plan::scripted().set("run.repeat", GREATEST).set("run.warmup", GREATEST);
    let document = check(both, &[0]);
    assert_eq!(
        (&document["run"]["measured"], &document["run"]["warmups"]),
        (&u32::MAX.into(), &u32::MAX.into())
    );
    assert!(document["time"]["seconds"].as_f64().unwrap() > 0.0);
    check(Plan::candle().set("run.repeat", GREATEST).set("run.warmup", GREATEST), &[0]);
}

#[test]
fn a_workload_longer_than_the_context_is_a_problem_of_the_plan() {
    for (generate, random, positions) in [
        (GREATEST, 4, "4294967299"),
        (4, GREATEST, "4294967299"),
        (GREATEST, GREATEST, "8589934590"),
        (509, 4, "513"),
    ] {
        let plan = Plan::scripted().set("workload.generate", generate).set("workload.prompt.random", random);
        let document = check(plan.clone(), &[2]);
        let problem = format!("the workload fills {positions} positions; the model was made for 512");
        assert_eq!(document["problems"], serde_json::json!([problem]));
        assert_eq!(document["runnable"], false);
        let lab = Lab::new();
        lab.plan(plan).run(&["run", "plan.toml"]).exits(2).says(&problem).prints_nothing();
    }
    let document = check(Plan::scripted().set("workload.generate", 508), &[0]);
    assert_eq!(document["runnable"], true);
}

#[test]
fn a_prompt_token_outside_the_vocabulary_is_a_problem_of_the_plan() {
    let mut prompt = toml::Table::new();
    prompt.insert("tokens".to_owned(), vec![1_i64, 512].into());
    let plan = Plan::scripted().set("workload.prompt", prompt);
    let problem = "prompt token 512 lies outside the model's vocabulary of 512";
    let document = check(plan.clone(), &[2]);
    assert_eq!(document["problems"], serde_json::json!([problem]));
    Lab::new().plan(plan).run(&["run", "plan.toml"]).exits(2).says(problem).prints_nothing();
}

#[test]
fn the_longest_latencies_run_into_the_time_out() {
    for key in ["token_us", "prefill_us"] {
        let plan =
            Plan::scripted().set(&format!("engine.script.{key}"), i64::MAX).set("run.generate_timeout_s", 1);
        check(plan.clone(), &[0]);
        let lab = Lab::new();
        lab.plan(plan.set("run.repeat", 1)).run(&["run", "plan.toml"]).exits(5).says("`generate` within 1 s");
    }
    let plan = Plan::scripted().set("engine.script.load_us", i64::MAX).set("run.load_timeout_s", 1);
    Lab::new().plan(plan).run(&["run", "plan.toml"]).exits(5).says("`load` within 1 s");
}

#[test]
fn the_longest_time_outs_do_not_overflow() {
    let plan = Plan::scripted().set("run.load_timeout_s", i64::MAX).set("run.generate_timeout_s", i64::MAX);
    Lab::new().measure(plan);
}

#[test]
fn cold_factors_that_are_no_sensible_number_break_nothing() {
    for factor in [0.0, -1.0, f64::NAN, f64::MIN_POSITIVE] {
        let lab = Lab::new();
        let ran =
            lab.plan(Plan::scripted().set("engine.script.cold_factor", factor)).run(&["run", "plan.toml"]);
        assert!([0, 2, 5].contains(&ran.status.unwrap()), "{factor}: {ran:#?}");
    }
}

#[test]
fn more_threads_than_cores_and_cores_that_do_not_exist_are_refused() {
    for (key, value, words) in [
        ("engine.threads", toml::Value::from(GREATEST), "the plan asks for 4294967295 threads on"),
        ("engine.cores", vec![GREATEST].into(), "the plan pins the engine to core 4294967295"),
        ("engine.cores", vec![0_i64, 100_000].into(), "core 100000, which this process may not use"),
    ] {
        let lab = Lab::new();
        lab.plan(Plan::scripted().set(key, value));
        lab.run(&["plan", "check", "plan.toml"]).exits(5).says(words).says("hint: ").prints_nothing();
        lab.run(&["run", "plan.toml"]).exits(5).says(words).prints_nothing();
    }
}

#[test]
fn seeds_that_canonical_json_cannot_hold_are_refused() {
    for key in ["workload.seed", "model.source.synthetic.seed"] {
        let lab = Lab::new();
        lab.plan(Plan::scripted().set(key, (1_i64 << 53) + 1));
        lab.run(&["run", "plan.toml"]).exits(2).says("above 2^53").prints_nothing();
    }
}

#[test]
fn shapes_at_the_ends_of_their_types_are_refused_by_name() {
    for field in ["layers", "embedding", "feed_forward", "heads", "kv_heads", "vocabulary", "context"] {
        for value in [0, GREATEST] {
            let lab = Lab::new();
            lab.plan(Plan::scripted().set(&format!("model.source.synthetic.{field}"), value));
            for command in [&["plan", "check", "plan.toml"][..], &["run", "plan.toml"]] {
                lab.run(command).exits(2).says(&format!("`{field}` is {value}, expected ")).prints_nothing();
            }
        }
    }
}
