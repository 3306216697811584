//! The formulas. Each is written once, here, and is a pure function of raw data, so that a stored timeline gives the
//! published number again, bit for bit (invariant I3).

use crate::energy::{ActiveEnergy, ActiveWindow, MeterKind, active_energy};
use crate::metric::Reading;
use crate::number::exact;
use crate::observation::{NANOS_PER_JIFFY, Observation, ProcessCounters};
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
    /// When the request arrived (monotonic nanoseconds).
    pub request_ns: u64,
    /// From sending the request to having the answer, by the harness's own clock, in nanoseconds.
    pub outside_ns: u64,
    /// Repetitions that had completed in the same launch, where that is recorded.
    pub n_before: Option<u32>,
    /// Bytes of weights that one decoded token touches.
    pub bytes_per_token: &'a Reading<u64>,
    /// What the instruments saw.
    pub observation: &'a Observation,
    /// Whether it was generated in turn with another engine.
    pub is_in_turn: bool,
}

impl Inputs<'_> {
    /// Returns the stretch of time in which the execution was active: from the request to the last token.
    pub fn window(&self) -> ActiveWindow {
        let to_ns = self.request_ns.saturating_add(self.timeline.total_ns());
        ActiveWindow { from_ns: self.request_ns, to_ns }
    }

    /// Returns the share of the memory's bandwidth at which decoding read the weights, from 0 up.
    ///
    /// # Errors
    ///
    /// Why there is no figure.
    pub fn roofline_share(&self) -> Result<f64, String> {
        let bytes = self.bytes_per_token.as_result()?;
        if self.observation.last_level_cache_bytes.value().is_some_and(|cache| bytes <= cache) {
            return Err(
                "the weights fit into the processor's caches: memory does not bound their speed".to_owned()
            );
        }
        let deliverable = self.observation.memory_bandwidth.as_result()?;
        let decode = decode_tokens_per_sec(self);
        Ok(decode.as_result()? * exact(*bytes) / exact(*deliverable))
    }
}

const NANOS_PER_SECOND: f64 = 1e9;
const NANOS_PER_MILLISECOND: f64 = 1e6;
const MICROJOULES_PER_JOULE: f64 = 1e6;
const MILLISECONDS_PER_JIFFY: f64 = NANOS_PER_JIFFY / NANOS_PER_MILLISECOND;
/// MB is 10⁶ bytes, as the glossary says.
const BYTES_PER_MEGABYTE: f64 = 1e6;

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

pub(super) fn watts_avg(inputs: &Inputs<'_>) -> Reading<f64> {
    mean_power(inputs, MeterKind::Measured, |energy| energy.total_uj)
}

pub(super) fn tokens_per_watt(inputs: &Inputs<'_>) -> Reading<f64> {
    match (tokens_per_sec(inputs), watts_avg(inputs)) {
        (Reading::Value(speed), Reading::Value(watts)) if watts > 0.0 => Reading::Value(speed / watts),
        (Reading::Value(_), Reading::Value(_)) => Reading::Unavailable("watts_avg is zero".to_owned()),
        _ => Reading::Unavailable("needs watts_avg, which is unavailable".to_owned()),
    }
}

pub(super) fn watts_plus_minus(inputs: &Inputs<'_>) -> Reading<f64> {
    mean_power(inputs, MeterKind::Measured, |energy| energy.plus_minus_uj)
}

pub(super) fn watts_estimated(inputs: &Inputs<'_>) -> Reading<f64> {
    mean_power(inputs, MeterKind::Estimated, |energy| energy.total_uj)
}

pub(super) fn energy_total_j(inputs: &Inputs<'_>) -> Reading<f64> {
    energy(inputs, MeterKind::Measured).map(|energy| energy.total_uj / MICROJOULES_PER_JOULE)
}

pub(super) fn energy_per_token_mj(inputs: &Inputs<'_>) -> Reading<f64> {
    let n_tokens = exact(inputs.timeline.n_tokens() as u64);
    energy_total_j(inputs).map(|joules| joules * 1e3 / n_tokens)
}

fn energy(inputs: &Inputs<'_>, kind: MeterKind) -> Reading<ActiveEnergy> {
    if inputs.is_in_turn {
        let reason = "generated in turn with another engine, and a meter cannot tell the two apart";
        return Reading::Unavailable(reason.to_owned());
    }
    let traces = match &inputs.observation.energy {
        Reading::Value(traces) => traces,
        Reading::Unavailable(reason) => return Reading::Unavailable(reason.clone()),
    };
    active_energy(traces, kind, inputs.window()).into()
}

/// Microjoules over nanoseconds are kilowatts.
fn mean_power(inputs: &Inputs<'_>, kind: MeterKind, of: fn(&ActiveEnergy) -> f64) -> Reading<f64> {
    energy(inputs, kind).map(|energy| of(&energy) * 1e3 / exact(inputs.timeline.total_ns()))
}

pub(super) fn memory_peak_mb(inputs: &Inputs<'_>) -> Reading<f64> {
    megabytes(&inputs.observation.memory.peak_bytes)
}

pub(super) fn memory_launch_peak_mb(inputs: &Inputs<'_>) -> Reading<f64> {
    megabytes(&inputs.observation.memory.launch_peak_bytes)
}

pub(super) fn memory_before_load_mb(inputs: &Inputs<'_>) -> Reading<f64> {
    megabytes(&inputs.observation.memory.before_load_bytes)
}

pub(super) fn memory_after_load_mb(inputs: &Inputs<'_>) -> Reading<f64> {
    megabytes(&inputs.observation.memory.after_load_bytes)
}

fn megabytes(bytes: &Reading<u64>) -> Reading<f64> {
    bytes.clone().map(|bytes| exact(bytes) / BYTES_PER_MEGABYTE)
}

pub(super) fn op_time_ms(_: &Inputs<'_>) -> Reading<f64> {
    Reading::Unavailable(
        "taken in a launch of its own, never in a measured one (`lab run --profile`)".to_owned(),
    )
}

pub(super) fn cpu_user_ms(inputs: &Inputs<'_>) -> Reading<f64> {
    process_rise(inputs, |process| Ok(process.user_jiffies)).map(|jiffies| jiffies * MILLISECONDS_PER_JIFFY)
}

pub(super) fn cpu_system_ms(inputs: &Inputs<'_>) -> Reading<f64> {
    process_rise(inputs, |process| Ok(process.system_jiffies)).map(|jiffies| jiffies * MILLISECONDS_PER_JIFFY)
}

pub(super) fn cpu_utilization_percent(inputs: &Inputs<'_>) -> Reading<f64> {
    let cpu_ns: Reading<f64> = inputs.observation.process.cpu_ns().into();
    cpu_ns.map(|nanos| nanos / exact(inputs.outside_ns) * 100.0)
}

pub(super) fn run_queue_wait_ms(inputs: &Inputs<'_>) -> Reading<f64> {
    let waited_ns = process_rise(inputs, |process| process.run_delay_ns.as_result().copied());
    waited_ns.map(|nanos| nanos / NANOS_PER_MILLISECOND)
}

pub(super) fn switches_voluntary(inputs: &Inputs<'_>) -> Reading<f64> {
    process_rise(inputs, |process| process.voluntary_switches.as_result().copied())
}

pub(super) fn switches_involuntary(inputs: &Inputs<'_>) -> Reading<f64> {
    process_rise(inputs, |process| process.involuntary_switches.as_result().copied())
}

pub(super) fn page_faults_minor(inputs: &Inputs<'_>) -> Reading<f64> {
    process_rise(inputs, |process| Ok(process.minor_faults))
}

pub(super) fn page_faults_major(inputs: &Inputs<'_>) -> Reading<f64> {
    process_rise(inputs, |process| Ok(process.major_faults))
}

/// Returns what a counter of the engine's process rose by from just before the request to just after the answer.
fn process_rise(inputs: &Inputs<'_>, of: impl Fn(&ProcessCounters) -> Result<u64, String>) -> Reading<f64> {
    inputs.observation.process.rise(of).into()
}

pub(super) fn memory_roofline_percent(inputs: &Inputs<'_>) -> Reading<f64> {
    inputs.roofline_share().map(|share| share * 100.0).into()
}

pub(super) fn sampler_cpu_percent(inputs: &Inputs<'_>) -> Reading<f64> {
    let cpu_ns = inputs.observation.samples.as_result().map(|samples| exact(samples.cpu_ns));
    cpu_ns.map(|cpu_ns| cpu_ns / exact(inputs.outside_ns) * 100.0).into()
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
    use crate::metric::Derive;

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

    static NOT_TOLD: Reading<u64> = Reading::Unavailable(String::new());

    fn inputs<'a>(timeline: &'a Timeline, observation: &'a Observation) -> Inputs<'a> {
        Inputs {
            timeline,
            n_prompt: 50,
            load_ns: 7_000_000,
            request_ns: 1_000,
            outside_ns: timeline.total_ns(),
            n_before: Some(1),
            bytes_per_token: &NOT_TOLD,
            observation,
            is_in_turn: false,
        }
    }

    fn millis(stamps: &[u64]) -> Timeline {
        Timeline::new(stamps.iter().map(|stamp| stamp * 1_000_000).collect()).unwrap()
    }

    #[track_caller]
    fn check(name: &str, stamps_ms: &[u64], expected: f64) {
        let timeline = millis(stamps_ms);
        let observation = Observation::unobserved(Reading::Value(45_600_000));
        let inputs = inputs(&timeline, &observation);
        let metric = crate::metric::find(name).unwrap();
        let Derive::Execution(derive) = metric.derive else { panic!("{name} is of an execution") };
        let actual = *derive(&inputs).value().unwrap();
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
    fn a_damaged_stamp_makes_a_window_that_ends_with_the_clock() {
        let timeline = millis(&[100]);
        let observation = Observation::unobserved(Reading::Value(45_600_000));
        let inputs = Inputs { request_ns: u64::MAX - 1, ..inputs(&timeline, &observation) };
        assert_eq!(inputs.window(), ActiveWindow { from_ns: u64::MAX - 1, to_ns: u64::MAX });
    }

    #[test]
    fn a_single_token_has_no_percentile_and_no_decode_speed() {
        let timeline = millis(&[100]);
        let observation = Observation::unobserved(Reading::Unavailable("no /proc".to_owned()));
        let inputs = inputs(&timeline, &observation);
        for name in
            ["latency_p50_ms", "latency_p95_ms", "decode_tokens_per_sec", "memory_peak_mb", "watts_avg"]
        {
            let Derive::Execution(derive) = crate::metric::find(name).unwrap().derive else {
                panic!("{name} is of an execution")
            };
            let reading = derive(&inputs);
            assert!(reading.reason().is_some(), "{name}: {reading:?}");
        }
    }
}
