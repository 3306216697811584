//! What recording a token costs: `cargo bench -p lab-candle`.
//!
//! Side by side in one run: recording a token as the engine does (a look at the clock, its id, its margin), and choosing
//! it with and without its margin. Limits: recording takes less than a microsecond, and less than 0.01 % of a token of
//! SmolLM2 (135M, Q8_0) on the same machine, whose time is given with `SMOLLM2_TOKEN_MS` (14.7 where it is not).

#![expect(clippy::print_stdout, reason = "a benchmark speaks to whoever runs it")]
#![expect(clippy::disallowed_methods, reason = "a benchmark keeps its own time")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use lab_core::engine::Tokens;

/// SmolLM2's vocabulary.
const VOCABULARY: u32 = 49_152;
const LIMIT_NS: f64 = 1_000.0;
const LIMIT_SHARE: f64 = 0.0001;
/// `latency_p50_ms` of `plans/smollm2-q8.toml` on a machine of two cores (results/).
const SMOLLM2_TOKEN_MS: f64 = 14.7;

fn main() -> ExitCode {
    let token_ms =
        std::env::var("SMOLLM2_TOKEN_MS").ok().and_then(|own| own.parse().ok()).unwrap_or(SMOLLM2_TOKEN_MS);
    let recording_ns = nanos_each(1_000_000, recording);
    let share = recording_ns / (token_ms * 1e6);
    println!(
        "recording a token:                    {recording_ns:9.1} ns, {:.5} % of a token of {token_ms} ms",
        share * 100.0
    );
    let drawn = |id: u32| u16::try_from(id.wrapping_mul(40_503) % 65_521).unwrap_or_default();
    let logits: Vec<f32> = (0..VOCABULARY).map(drawn).map(f32::from).collect();
    let best_ns = nanos_each(2_000, |n| {
        for _ in 0..n {
            black_box(lab_candle::best_two(black_box(&logits)).is_ok());
        }
    });
    let argmax_ns = nanos_each(2_000, |n| {
        for _ in 0..n {
            black_box(argmax(black_box(&logits)));
        }
    });
    println!("choosing a token with its margin:     {best_ns:9.1} ns");
    println!("choosing a token without (plain loop): {argmax_ns:8.1} ns");
    if recording_ns < LIMIT_NS && share < LIMIT_SHARE { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Records so many tokens as the engine does.
fn recording(n: u32) {
    let from = Instant::now();
    let mut tokens = Tokens::none(0);
    for id in 0..n {
        let stamp_ns = u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX);
        tokens.record(black_box(id), stamp_ns, Some(0.5));
    }
    black_box(tokens);
}

fn argmax(logits: &[f32]) -> usize {
    let greater = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
    logits.iter().copied().enumerate().reduce(greater).map_or(0, |(position, _)| position)
}

/// Returns the time of one of `n` operations, the median of eleven rounds, in nanoseconds.
fn nanos_each(n: u32, operation: impl Fn(u32)) -> f64 {
    let round = || {
        let from = Instant::now();
        operation(n);
        from.elapsed().as_secs_f64() * 1e9 / f64::from(n)
    };
    let mut rounds: Vec<f64> = (0..11).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[5]
}
