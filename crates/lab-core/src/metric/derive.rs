//! The formulas. Each is written once, here, and is a pure function of raw data, so that a stored timeline gives the
//! published number again, bit for bit (invariant I3).

use crate::metric::Reading;
use crate::timeline::Timeline;

/// The raw data of one completed repetition that metrics are derived from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// When each token became visible.
    pub timeline: &'a Timeline,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Time the launch took to load the model, in nanoseconds.
    pub load_ns: u64,
    /// The engine's peak resident memory during the repetition, in bytes.
    pub peak_memory_bytes: &'a Reading<u64>,
}

const NANOS_PER_SECOND: f64 = 1e9;
const NANOS_PER_MILLISECOND: f64 = 1e6;
/// MB is 10⁶ bytes, as the glossary says.
const BYTES_PER_MEGABYTE: f64 = 1e6;

/// Integers up to 2⁵³ are exact in an `f64`: 104 days in nanoseconds, 9 PB in bytes.
#[expect(clippy::cast_precision_loss, reason = "nothing measured here comes near 2^53")]
fn exact(integer: u64) -> f64 {
    integer as f64
}

pub(super) fn tokens_total(inputs: &Inputs<'_>) -> Reading<f64> {
    Reading::Value(exact(inputs.timeline.n_tokens() as u64))
}

pub(super) fn tokens_per_sec(inputs: &Inputs<'_>) -> Reading<f64> {
    let seconds = exact(inputs.timeline.total_ns()) / NANOS_PER_SECOND;
    Reading::Value(exact(inputs.timeline.n_tokens() as u64) / seconds)
}

pub(super) fn latency_total_ms(inputs: &Inputs<'_>) -> Reading<f64> {
    Reading::Value(exact(inputs.timeline.total_ns()) / NANOS_PER_MILLISECOND)
}

pub(super) fn latency_p50_ms(inputs: &Inputs<'_>) -> Reading<f64> {
    token_latency_ms(inputs, 0.50)
}

pub(super) fn latency_p95_ms(inputs: &Inputs<'_>) -> Reading<f64> {
    token_latency_ms(inputs, 0.95)
}

fn token_latency_ms(inputs: &Inputs<'_>, share: f64) -> Reading<f64> {
    let mut gaps: Vec<f64> = inputs.timeline.gaps_ns().into_iter().map(exact).collect();
    gaps.sort_by(f64::total_cmp);
    match percentile_type_7(&gaps, share) {
        Some(nanos) => Reading::Value(nanos / NANOS_PER_MILLISECOND),
        None => Reading::Unavailable("a single token has no gap to the next".to_owned()),
    }
}

pub(super) fn watts_avg(_: &Inputs<'_>) -> Reading<f64> {
    Reading::Unavailable(NO_ENERGY_METER.to_owned())
}

pub(super) fn tokens_per_watt(_: &Inputs<'_>) -> Reading<f64> {
    Reading::Unavailable("needs watts_avg, which is unavailable".to_owned())
}

const NO_ENERGY_METER: &str = "this version of lab reads no energy meter";

pub(super) fn memory_peak_mb(inputs: &Inputs<'_>) -> Reading<f64> {
    inputs.peak_memory_bytes.clone().map(|bytes| exact(bytes) / BYTES_PER_MEGABYTE)
}

pub(super) fn op_time_ms(_: &Inputs<'_>) -> Reading<f64> {
    Reading::Unavailable("this version of lab takes no profile per operation".to_owned())
}

pub(super) fn ttft_ms(inputs: &Inputs<'_>) -> Reading<f64> {
    Reading::Value(exact(inputs.timeline.first_ns()) / NANOS_PER_MILLISECOND)
}

pub(super) fn prefill_tokens_per_sec(inputs: &Inputs<'_>) -> Reading<f64> {
    rate(
        inputs.n_prompt,
        inputs.timeline.first_ns(),
        "the first token is stamped at the instant of the request",
    )
}

pub(super) fn decode_tokens_per_sec(inputs: &Inputs<'_>) -> Reading<f64> {
    let decode_ns = inputs.timeline.total_ns() - inputs.timeline.first_ns();
    rate(inputs.timeline.n_tokens() - 1, decode_ns, "no time passed between the first and the last token")
}

pub(super) fn load_ms(inputs: &Inputs<'_>) -> Reading<f64> {
    Reading::Value(exact(inputs.load_ns) / NANOS_PER_MILLISECOND)
}

fn rate(n_tokens: usize, nanos: u64, no_time: &str) -> Reading<f64> {
    if nanos == 0 {
        return Reading::Unavailable(no_time.to_owned());
    }
    Reading::Value(exact(n_tokens as u64) / (exact(nanos) / NANOS_PER_SECOND))
}

/// Returns a percentile by linear interpolation between order statistics: type 7 of Hyndman and Fan (1996), "Sample
/// Quantiles in Statistical Packages", the default of NumPy and R. `share` lies in 0..=1; `sorted` ascends.
///
/// Returns nothing for an empty sample.
#[expect(clippy::cast_precision_loss, reason = "a sample has far fewer than 2^53 values")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank lies inside the sample")]
pub fn percentile_type_7(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = share.clamp(0.0, 1.0) * last as f64;
    let below = rank.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (rank - rank.floor()) * (sorted[above] - sorted[below]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_percentile(sample: &[f64], share: f64, expected: Option<f64>) {
        let actual = percentile_type_7(sample, share);
        match (actual, expected) {
            (Some(actual), Some(expected)) => {
                assert!((actual - expected).abs() < 1e-12, "{actual} {expected}");
            }
            _ => assert_eq!(actual, expected),
        }
    }

    #[test]
    fn percentiles_agree_with_numpy() {
        // numpy.percentile([15, 20, 35, 40, 50], [0, 40, 50, 95, 100]) of NumPy 1.x and 2.x.
        let sample = [15.0, 20.0, 35.0, 40.0, 50.0];
        for (share, expected) in [(0.0, 15.0), (0.4, 29.0), (0.5, 35.0), (0.95, 48.0), (1.0, 50.0)] {
            check_percentile(&sample, share, Some(expected));
        }
        check_percentile(&[7.5], 0.95, Some(7.5));
        check_percentile(&[], 0.5, None);
    }

    fn millis(stamps: &[u64]) -> Timeline {
        Timeline::new(stamps.iter().map(|stamp| stamp * 1_000_000).collect()).unwrap()
    }

    #[track_caller]
    fn check(name: &str, stamps_ms: &[u64], expected: f64) {
        let timeline = millis(stamps_ms);
        let peak_memory_bytes = Reading::Value(45_600_000);
        let inputs = Inputs {
            timeline: &timeline,
            n_prompt: 50,
            load_ns: 7_000_000,
            peak_memory_bytes: &peak_memory_bytes,
        };
        let metric = crate::metric::find(name).unwrap();
        let actual = *(metric.derive)(&inputs).value().unwrap();
        assert!((actual - expected).abs() < 1e-9, "{name}: {actual}, not {expected}");
    }

    #[test]
    fn every_formula_gives_the_value_worked_out_by_hand() {
        let stamps = [100, 120, 150, 200];
        check("tokens_total", &stamps, 4.0);
        check("tokens_per_sec", &stamps, 20.0);
        check("latency_total_ms", &stamps, 200.0);
        check("latency_p50_ms", &stamps, 30.0);
        check("latency_p95_ms", &stamps, 48.0);
        check("memory_peak_mb", &stamps, 45.6);
        check("ttft_ms", &stamps, 100.0);
        check("prefill_tokens_per_sec", &stamps, 500.0);
        check("decode_tokens_per_sec", &stamps, 30.0);
        check("load_ms", &stamps, 7.0);
    }

    #[test]
    fn a_single_token_has_no_percentile_and_no_decode_speed() {
        let timeline = millis(&[100]);
        let peak_memory_bytes = Reading::Unavailable("no /proc".to_owned());
        let inputs =
            Inputs { timeline: &timeline, n_prompt: 1, load_ns: 1, peak_memory_bytes: &peak_memory_bytes };
        for name in
            ["latency_p50_ms", "latency_p95_ms", "decode_tokens_per_sec", "memory_peak_mb", "watts_avg"]
        {
            let reading = (crate::metric::find(name).unwrap().derive)(&inputs);
            assert!(reading.reason().is_some(), "{name}: {reading:?}");
        }
    }
}
