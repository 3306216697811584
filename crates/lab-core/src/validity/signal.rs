//! The signals that the rules look at, each taken from the raw data of one repetition.

use super::Signal;
use super::trend::mann_kendall;
use crate::energy::{MeterKind, active_energy};
use crate::metric::{Inputs, Reading, percentile_type_7};
use crate::number::exact;
use crate::observation::{Conditions, CoreTime, NANOS_PER_JIFFY, Observation, ProcessCounters, Span};

type Taken = Result<Signal, String>;

/// Engine and harness look at the same clock from both sides of a pipe: 2 ms cover the scheduling of both on a busy
/// machine.
const CLOCK_SLACK_NS: u64 = 2_000_000;
const NS_PER_MS: f64 = 1e6;
const MS_PER_JIFFY: f64 = NANOS_PER_JIFFY / NS_PER_MS;

pub(super) fn clock(inputs: &Inputs<'_>) -> Taken {
    let beyond_ns = inputs.timeline.total_ns().abs_diff(inputs.outside_ns).saturating_sub(CLOCK_SLACK_NS);
    Ok(percent(exact(beyond_ns), exact(inputs.outside_ns)).into())
}

pub(super) fn steal(inputs: &Inputs<'_>) -> Taken {
    let passed = cores_passed(&inputs.observation.machine)?;
    let stolen = exact(passed.iter().map(|core| core.steal).sum());
    Ok(Signal { value: percent(stolen * MS_PER_JIFFY, cores_ms(inputs, &passed)), amount: stolen })
}

pub(super) fn other_load(inputs: &Inputs<'_>) -> Taken {
    let passed = cores_passed(&inputs.observation.machine)?;
    let others_ms = others_ms(inputs, &passed)?;
    Ok(Signal { value: percent(others_ms, cores_ms(inputs, &passed)), amount: others_ms })
}

/// Returns the time of all cores together during the execution, in milliseconds. The two looks at the machine lie further
/// apart where a slow meter is read in between; that must not dilute what was seen.
fn cores_ms(inputs: &Inputs<'_>, passed: &[CoreTime]) -> f64 {
    exact(inputs.outside_ns) / NS_PER_MS * exact(passed.len() as u64)
}

/// Returns the CPU time that neither the engine nor the harness took on the engine's cores, in milliseconds.
fn others_ms(inputs: &Inputs<'_>, passed: &[CoreTime]) -> Result<f64, String> {
    let busy_ms = exact(passed.iter().map(|core| core.busy).sum()) * MS_PER_JIFFY;
    let own_ms = inputs.observation.process.cpu_ns()? / NS_PER_MS;
    let harness_ms = exact(*inputs.observation.harness_cpu_ns.as_result()?) / NS_PER_MS;
    Ok((busy_ms - own_ms - harness_ms).max(0.0))
}

/// Returns the share of the cores' time that neither of two engines nor the harness took while the two generated in turn, as
/// the observation of one of them saw it.
///
/// # Errors
///
/// When a counter that it takes is missing or ran backwards.
pub fn others_share(one: &Observation, beside: &Observation) -> Result<f64, String> {
    let passed = cores_passed(&one.machine)?;
    let busy = exact(passed.iter().map(|core| core.busy).sum()) * NANOS_PER_JIFFY;
    let whole = exact(passed.iter().map(|core| core.busy + core.idle + core.steal).sum()) * NANOS_PER_JIFFY;
    let engines = one.process.cpu_ns()? + beside.process.cpu_ns()?;
    let harness = exact(*one.harness_cpu_ns.as_result()?);
    Ok((busy - engines - harness).max(0.0) / whole.max(1.0))
}

/// Threads of an engine wait for each other, too, where there are more of them than cores: only so much of their waiting
/// as others ran meanwhile is a disturbance.
pub(super) fn run_queue(inputs: &Inputs<'_>) -> Taken {
    let waited_ms = counted(inputs, |process| &process.run_delay_ns)? / NS_PER_MS;
    let passed = cores_passed(&inputs.observation.machine)?;
    let disturbed_ms = waited_ms.min(others_ms(inputs, &passed)?);
    Ok(Signal { value: percent(disturbed_ms * NS_PER_MS, exact(inputs.outside_ns)), amount: disturbed_ms })
}

pub(super) fn involuntary_switches(inputs: &Inputs<'_>) -> Taken {
    let switches = counted(inputs, |process| &process.involuntary_switches)?;
    let (threads, cores) = threads_and_cores(inputs)?;
    if threads > cores {
        return Err(format!("the engine's {threads} threads on {cores} cores take turns among themselves"));
    }
    let seconds = exact(inputs.outside_ns) / 1e9;
    Ok(Signal { value: if seconds > 0.0 { switches / seconds } else { 0.0 }, amount: switches })
}

fn threads_and_cores(inputs: &Inputs<'_>) -> Result<(u64, u64), String> {
    let threads = inputs.observation.process.after.as_result()?.threads;
    Ok((threads, inputs.observation.machine.after.cores.as_result()?.len() as u64))
}

/// Only so much of the waiting as the engine's own threads did not do is others'.
pub(super) fn cpu_pressure(inputs: &Inputs<'_>) -> Taken {
    let some = waited(inputs, |conditions| &conditions.pressure.cpu_some_us)?;
    let own_ms = counted(inputs, |process| &process.run_delay_ns)? / NS_PER_MS;
    let others_ms = (some.amount - own_ms).max(0.0);
    Ok(Signal { value: percent(others_ms * NS_PER_MS, exact(inputs.outside_ns)), amount: others_ms })
}

pub(super) fn memory_pressure(inputs: &Inputs<'_>) -> Taken {
    waited(inputs, |conditions| &conditions.pressure.memory_some_us)
}

pub(super) fn quota(inputs: &Inputs<'_>) -> Taken {
    waited(inputs, |conditions| &conditions.cgroup.throttled_us)
}

pub(super) fn swap(inputs: &Inputs<'_>) -> Taken {
    rise(&inputs.observation.machine, |conditions| &conditions.swapped_pages).map(Signal::from)
}

pub(super) fn throttling(inputs: &Inputs<'_>) -> Taken {
    rise(&inputs.observation.machine, |conditions| &conditions.throttle_events).map(Signal::from)
}

pub(super) fn major_faults(inputs: &Inputs<'_>) -> Taken {
    inputs.observation.process.rise(|process| Ok(process.major_faults)).map(Signal::from)
}

pub(super) fn frequency(inputs: &Inputs<'_>) -> Taken {
    let samples = inputs.observation.samples.as_result()?;
    if samples.at_ns.is_empty() {
        return Err("the repetition was over before the sampling thread looked".to_owned());
    }
    let (threads, cores) = threads_and_cores(inputs)?;
    if threads < cores {
        return Err(format!(
            "the engine's {threads} threads leave some of its {cores} cores idle, at any frequency"
        ));
    }
    let lowest = samples.frequency_khz.iter().min();
    match (lowest, samples.frequency_khz.iter().max()) {
        (Some(lowest), Some(highest)) => Ok(percent(exact(highest - lowest), exact(*highest)).into()),
        _ => Err("the kernel tells no frequency".to_owned()),
    }
}

pub(super) fn settings(inputs: &Inputs<'_>) -> Taken {
    let Span { before, after } = &inputs.observation.machine;
    let changed = [
        changed(&before.governor, &after.governor),
        changed(&before.boost, &after.boost),
        changed(&before.transparent_hugepages, &after.transparent_hugepages),
        changed(&before.address_space_randomisation, &after.address_space_randomisation),
        changed(&before.clock_source, &after.clock_source),
    ];
    let seen: Vec<bool> = changed.into_iter().flatten().collect();
    if seen.is_empty() {
        return Err("the kernel tells none of its settings".to_owned());
    }
    Ok(exact(seen.iter().filter(|changed| **changed).count() as u64).into())
}

pub(super) fn clock_source(inputs: &Inputs<'_>) -> Taken {
    let source = inputs.observation.machine.after.clock_source.as_result()?;
    let is_slow = ["hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies"].contains(&source.as_str());
    Ok(if is_slow { 1.0 } else { 0.0 }.into())
}

pub(super) fn energy_resolution(inputs: &Inputs<'_>) -> Taken {
    let traces = inputs.observation.energy.as_result()?;
    let energy = active_energy(traces, MeterKind::Measured, inputs.window())?;
    Ok(percent(1.0, exact(energy.n_updates.max(1))).into())
}

pub(super) fn power(inputs: &Inputs<'_>) -> Taken {
    let traces = inputs.observation.energy.as_result()?;
    let energy = active_energy(traces, MeterKind::Measured, inputs.window())?;
    // Microjoules over nanoseconds are kilowatts.
    Ok((energy.total_uj / exact(inputs.timeline.total_ns())).into())
}

/// The one-sided 0.1 % point of the standard normal distribution.
const FALLING: f64 = -3.090_232;
/// Fewer tokens carry no trend.
const LEAST_GAPS: usize = 16;
/// Beyond these many tokens a process is warm or never will be; decoding slows down as the context fills.
const MOST_GAPS: usize = 64;

/// How much slower the first quarter of (at most 64) gaps was than the rest, where the gaps fall significantly.
pub(super) fn warm_up(inputs: &Inputs<'_>) -> Taken {
    let gaps = inputs.timeline.gaps_ns();
    if gaps.len() < LEAST_GAPS {
        return Err(format!("{} gaps between tokens carry no trend, {LEAST_GAPS} would", gaps.len()));
    }
    let early = &gaps[..gaps.len().min(MOST_GAPS)];
    if mann_kendall(early).z > FALLING {
        return Ok(0.0.into());
    }
    let (first, rest) = early.split_at(early.len() / 4);
    Ok(percent(median(first) - median(rest), median(rest)).max(0.0).into())
}

pub(super) fn cold_start(inputs: &Inputs<'_>) -> Taken {
    let n_before = inputs.n_before.ok_or("not recorded in this session")?;
    Ok(if n_before == 0 { 1.0 } else { 0.0 }.into())
}

pub(super) fn repeated_stamps(inputs: &Inputs<'_>) -> Taken {
    let repeated = inputs.timeline.gaps_ns().iter().filter(|gap_ns| **gap_ns == 0).count();
    let at_once = usize::from(inputs.timeline.first_ns() == 0);
    Ok(exact((repeated + at_once) as u64).into())
}

pub(super) fn roofline(inputs: &Inputs<'_>) -> Taken {
    inputs.roofline_share().map(|share| (share * 100.0).into())
}

/// Returns what a counter of the machine rose by.
fn rise(machine: &Span<Conditions>, of: impl Fn(&Conditions) -> &Reading<u64>) -> Result<f64, String> {
    let (before, after) = (of(&machine.before).as_result()?, of(&machine.after).as_result()?);
    after.checked_sub(*before).map(exact).ok_or_else(backwards)
}

/// Returns what a counter of the engine's process rose by.
fn counted(inputs: &Inputs<'_>, of: impl Fn(&ProcessCounters) -> &Reading<u64>) -> Result<f64, String> {
    inputs.observation.process.rise(|process| of(process).as_result().copied())
}

/// Returns the share of the execution that a counter of microseconds rose by.
fn waited(inputs: &Inputs<'_>, of: impl Fn(&Conditions) -> &Reading<u64>) -> Taken {
    let waited_us = rise(&inputs.observation.machine, of)?;
    Ok(Signal { value: percent(waited_us * 1e3, exact(inputs.outside_ns)), amount: waited_us / 1e3 })
}

/// Returns what passed on each core between two looks.
fn cores_passed(machine: &Span<Conditions>) -> Result<Vec<CoreTime>, String> {
    let (before, after) = (machine.before.cores.as_result()?, machine.after.cores.as_result()?);
    let passed = before.iter().zip(after).map(|(before, after)| {
        Some(CoreTime {
            core: (before.core == after.core).then_some(after.core)?,
            busy: after.busy.checked_sub(before.busy)?,
            // The kernel lets idle time run backwards by a jiffy now and then (proc(5), `iowait`).
            idle: after.idle.saturating_sub(before.idle),
            steal: after.steal.checked_sub(before.steal)?,
        })
    });
    passed
        .collect::<Option<_>>()
        .ok_or_else(|| "the cores changed, or a counter of theirs ran backwards".to_owned())
}

/// Returns whether a setting changed; nothing where it was not seen on both sides.
fn changed<T: PartialEq>(before: &Reading<T>, after: &Reading<T>) -> Option<bool> {
    before.value().zip(after.value()).map(|(before, after)| before != after)
}

fn backwards() -> String {
    "a counter of the kernel ran backwards".to_owned()
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole * 100.0 } else { 0.0 }
}

fn median(gaps: &[u64]) -> f64 {
    let mut sorted: Vec<f64> = gaps.iter().copied().map(exact).collect();
    sorted.sort_by(f64::total_cmp);
    percentile_type_7(&sorted, 0.5).unwrap_or_default()
}
