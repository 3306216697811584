//! Energy: what a meter is, what it recorded around a repetition, and what follows for the active execution.
//!
//! A meter is a counter of joules. Its readings stand on the clock that the engine stamps its tokens with, so the
//! energy of exactly the execution (engine.v0.1, section 4.5: idle before and after excluded) follows by interpolation
//! between readings, with a stated ±.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number::exact;

/// A monotone joule counter since an arbitrary origin.
pub trait EnergyMeter: Send {
    /// Returns what the meter is.
    fn about(&self) -> &MeterInfo;

    /// Reads the counter. A reading is never below the one before it, wraps of the hardware's counter undone.
    ///
    /// # Errors
    ///
    /// When the source vanished, refuses, went backwards, or does not answer with a number.
    fn read(&mut self) -> Result<EnergyReading, MeterError>;

    /// Returns when the meter wants to be read next (monotonic nanoseconds); 0 is whenever the caller likes.
    ///
    /// Whoever samples leaves a meter alone until then, since asking a smart plug ten times a second disturbs what it
    /// measures. Readings at the edges of a window are taken regardless.
    fn due_ns(&self) -> u64 {
        0
    }
}

/// Why a meter gave no reading, as a lower-case fragment that names the source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MeterError(pub String);

/// One reading of a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnergyReading {
    /// When it was taken (monotonic nanoseconds): the middle of the time that reading took.
    pub at_ns: u64,
    /// Energy since the meter's origin, in microjoules.
    pub total_uj: u64,
}

/// What a meter is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MeterInfo {
    /// What is read, such as `rapl package-0`. Sessions whose sources differ are not compared by energy.
    pub source: String,
    /// Whether the figures were measured or come from a model of the machine.
    pub kind: MeterKind,
    /// The smallest step of the counter, in microjoules.
    pub quantum_uj: u64,
    /// The time between two updates of the counter, in nanoseconds, as its documentation or driver states it.
    pub update_ns: u64,
    /// Whether the source states power, which lab sums up: then only its readings are updates.
    pub integrated: bool,
    /// The longest permitted time between two readings, in nanoseconds: half a wrap at the meter's greatest power.
    /// Absent where the counter does not wrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_gap_ns: Option<u64>,
}

/// Where a meter's figures come from. The two never meet in one comparison (invariant I5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MeterKind {
    /// From a sensor.
    Measured,
    /// From a model, such as thermal design power times CPU share.
    Estimated,
}

impl std::fmt::Display for MeterKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Measured => "measured",
            Self::Estimated => "estimated",
        })
    }
}

/// The readings of one meter around one repetition, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "UncheckedTrace")]
pub struct EnergyTrace {
    /// The meter.
    pub meter: MeterInfo,
    /// When each reading was taken (monotonic nanoseconds).
    pub at_ns: Vec<u64>,
    /// What each said, in microjoules since the meter's origin.
    pub total_uj: Vec<u64>,
    /// Why the meter gave no further readings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A trace as it was stored: nobody vouches for it.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EnergyTrace")]
struct UncheckedTrace {
    /// The meter.
    meter: MeterInfo,
    /// When each reading was taken (monotonic nanoseconds).
    at_ns: Vec<u64>,
    /// What each said, in microjoules since the meter's origin.
    total_uj: Vec<u64>,
    /// Why the meter gave no further readings.
    #[serde(default)]
    failure: Option<String>,
}

impl TryFrom<UncheckedTrace> for EnergyTrace {
    type Error = String;

    fn try_from(stored: UncheckedTrace) -> Result<Self, String> {
        let UncheckedTrace { meter, at_ns, total_uj, failure } = stored;
        if at_ns.len() != total_uj.len() {
            return Err(format!("a trace of {} times and {} readings", at_ns.len(), total_uj.len()));
        }
        if !at_ns.is_sorted() || !total_uj.is_sorted() {
            return Err("a trace whose times or readings fall".to_owned());
        }
        Ok(Self { meter, at_ns, total_uj, failure })
    }
}

impl EnergyTrace {
    /// Returns a trace without readings.
    pub fn new(meter: MeterInfo) -> Self {
        Self { meter, at_ns: Vec::new(), total_uj: Vec::new(), failure: None }
    }

    /// Appends a reading, or why there is none. After a failure nothing more is taken in.
    pub fn push(&mut self, reading: Result<EnergyReading, MeterError>) {
        if self.failure.is_some() {
            return;
        }
        match reading {
            Ok(EnergyReading { at_ns, total_uj }) => {
                let falls = |last: Option<&u64>, next: u64| last.is_some_and(|last| next < *last);
                if falls(self.at_ns.last(), at_ns) || falls(self.total_uj.last(), total_uj) {
                    self.failure = Some(format!("`{}` went backwards", self.meter.source));
                    return;
                }
                self.at_ns.push(at_ns);
                self.total_uj.push(total_uj);
            }
            Err(MeterError(reason)) => self.failure = Some(reason),
        }
    }
}

/// Energy of an execution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActiveEnergy {
    /// Energy in microjoules.
    pub total_uj: f64,
    /// How far off it may be either way, in microjoules.
    pub plus_minus_uj: f64,
    /// How often the slowest of the meters was updated meanwhile.
    pub n_updates: u64,
}

/// The stretch of the monotonic clock in which an execution was active, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveWindow {
    /// When the request arrived.
    pub from_ns: u64,
    /// When the last token was visible.
    pub to_ns: u64,
}

/// Sums up what the meters of one kind say about a window.
///
/// # Errors
///
/// Why there is no figure: no meter of the kind, or one of them failed, does not reach around the window, or was read
/// so rarely that its counter may have wrapped unseen.
pub fn active_energy(
    traces: &[EnergyTrace],
    kind: MeterKind,
    window: ActiveWindow,
) -> Result<ActiveEnergy, String> {
    let mut sum = ActiveEnergy { total_uj: 0.0, plus_minus_uj: 0.0, n_updates: u64::MAX };
    let mut of_kind = traces.iter().filter(|trace| trace.meter.kind == kind).peekable();
    if of_kind.peek().is_none() {
        return Err(format!("no meter gives {kind} energy"));
    }
    for trace in of_kind {
        let one = trace.within(window)?;
        sum.total_uj += one.total_uj;
        // Meters of one machine may err together: their bounds add up.
        sum.plus_minus_uj += one.plus_minus_uj;
        sum.n_updates = sum.n_updates.min(one.n_updates);
    }
    Ok(sum)
}

/// Names the source of energy figures of one kind: every meter summed up, in order.
pub fn source_of(traces: &[EnergyTrace], kind: MeterKind) -> Option<String> {
    let of_kind = traces.iter().filter(|trace| trace.meter.kind == kind);
    let names: Vec<&str> = of_kind.map(|trace| trace.meter.source.as_str()).collect();
    (!names.is_empty()).then(|| names.join(" + "))
}

impl EnergyTrace {
    fn within(&self, window: ActiveWindow) -> Result<ActiveEnergy, String> {
        let source = &self.meter.source;
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let before = self.at_ns.iter().rposition(|at_ns| *at_ns <= window.from_ns);
        let after = self.at_ns.iter().position(|at_ns| *at_ns >= window.to_ns);
        let (Some(before), Some(after)) = (before, after) else {
            return Err(format!("the readings of `{source}` do not reach around the execution"));
        };
        self.check_gaps(before, after)?;
        let total_uj = self.at(window.to_ns) - self.at(window.from_ns);
        if total_uj <= 0.0 {
            return Err(format!("`{source}` did not count during the execution"));
        }
        let power_uj_per_ns = total_uj / exact(window.to_ns - window.from_ns);
        let edge_ns = |edge_ns| exact(self.distance_ns(edge_ns)) + exact(self.meter.update_ns);
        let edges_ns = edge_ns(window.from_ns) + edge_ns(window.to_ns);
        // At each edge the counter lags behind by an update at most, and over the way to the nearest reading the power
        // may have been anything from nothing to twice the mean.
        let plus_minus_uj = power_uj_per_ns * edges_ns + 2.0 * exact(self.meter.quantum_uj);
        Ok(ActiveEnergy { total_uj, plus_minus_uj, n_updates: self.n_updates(window) })
    }

    fn check_gaps(&self, before: usize, after: usize) -> Result<(), String> {
        let Some(longest_ns) = self.meter.longest_gap_ns else { return Ok(()) };
        let times = &self.at_ns[before..=after];
        match times.windows(2).map(|pair| pair[1] - pair[0]).find(|gap_ns| *gap_ns > longest_ns) {
            None => Ok(()),
            Some(gap_ns) => Err(format!(
                "`{}` was not read for {} ms; beyond {} ms its counter may wrap unseen",
                self.meter.source,
                gap_ns / 1_000_000,
                longest_ns / 1_000_000
            )),
        }
    }

    /// Interpolates the counter at a time that readings lie around.
    fn at(&self, at_ns: u64) -> f64 {
        let above = self.at_ns.partition_point(|time| *time < at_ns).min(self.at_ns.len() - 1);
        let below = above.saturating_sub(usize::from(self.at_ns[above] > at_ns));
        let (from_ns, to_ns) = (self.at_ns[below], self.at_ns[above]);
        let (from_uj, to_uj) = (exact(self.total_uj[below]), exact(self.total_uj[above]));
        if to_ns == from_ns {
            return from_uj;
        }
        from_uj + (to_uj - from_uj) * exact(at_ns - from_ns) / exact(to_ns - from_ns)
    }

    fn distance_ns(&self, at_ns: u64) -> u64 {
        self.at_ns.iter().map(|time| time.abs_diff(at_ns)).min().unwrap_or_default()
    }

    /// Counts the updates inside the window: what the meter states, but no more than the readings show where each should
    /// have seen a new one.
    fn n_updates(&self, window: ActiveWindow) -> u64 {
        let length_ns = window.to_ns - window.from_ns;
        let stated = length_ns / self.meter.update_ns.max(1);
        let inside = |at_ns: &u64| (window.from_ns..=window.to_ns).contains(at_ns);
        let n_readings = self.at_ns.iter().filter(|at_ns| inside(at_ns)).count() as u64;
        if self.meter.integrated {
            return stated.min(n_readings);
        }
        let pairs = self.at_ns.windows(2).zip(self.total_uj.windows(2));
        let inside_pairs: Vec<_> = pairs.filter(|(times, _)| times.iter().all(inside)).collect();
        let could_show = !inside_pairs.is_empty()
            && inside_pairs.iter().all(|(times, _)| times[1] - times[0] >= self.meter.update_ns);
        let changed = inside_pairs.iter().filter(|(_, totals)| totals[0] != totals[1]).count() as u64;
        if could_show && changed < inside_pairs.len() as u64 { stated.min(changed) } else { stated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn meter(source: &str) -> MeterInfo {
        MeterInfo {
            source: source.to_owned(),
            kind: MeterKind::Measured,
            quantum_uj: 61,
            update_ns: MS,
            integrated: false,
            longest_gap_ns: Some(60_000 * MS),
        }
    }

    /// A meter read every 100 ms from 0 to 2 s, under a constant power in watts.
    fn constant(meter: MeterInfo, watts: u64) -> EnergyTrace {
        let at_ns: Vec<u64> = (0..=20).map(|n| n * 100 * MS).collect();
        let total_uj = at_ns.iter().map(|at_ns| at_ns / 1000 * watts).collect();
        EnergyTrace { meter, at_ns, total_uj, failure: None }
    }

    const WINDOW: ActiveWindow = ActiveWindow { from_ns: 150 * MS, to_ns: 1_730 * MS };

    #[test]
    fn the_window_between_readings_is_interpolated_and_its_edges_give_the_plus_minus() {
        let energy = active_energy(&[constant(meter("a"), 18)], MeterKind::Measured, WINDOW).unwrap();
        assert!((energy.total_uj - 18.0 * 1_580_000.0).abs() < 1e-3, "{energy:?}");
        // Nearest readings lie 50 ms and 30 ms away, two updates are 2 ms: 82 ms at 18 W, and two steps of the counter.
        assert!((energy.plus_minus_uj - (18.0 * 82_000.0 + 122.0)).abs() < 1e-3, "{energy:?}");
        assert_eq!(energy.n_updates, 1580);
    }

    #[test]
    fn meters_add_up_and_the_two_kinds_never_meet() {
        let model = MeterInfo { kind: MeterKind::Estimated, ..meter("tdp") };
        let traces = [constant(meter("a"), 18), constant(meter("b"), 4), constant(model, 65)];
        let measured = active_energy(&traces, MeterKind::Measured, WINDOW).unwrap();
        assert!((measured.total_uj - 22.0 * 1_580_000.0).abs() < 1e-3, "{measured:?}");
        let estimated = active_energy(&traces, MeterKind::Estimated, WINDOW).unwrap();
        assert!((estimated.total_uj - 65.0 * 1_580_000.0).abs() < 1e-3, "{estimated:?}");
        assert_eq!(source_of(&traces, MeterKind::Measured).as_deref(), Some("a + b"));
        let none = active_energy(&traces[..2], MeterKind::Estimated, WINDOW);
        assert_eq!(none.unwrap_err(), "no meter gives estimated energy");
    }

    #[test]
    fn what_does_not_carry_a_figure_says_why() {
        let failed = EnergyTrace { failure: Some("`zone` vanished".to_owned()), ..constant(meter("a"), 18) };
        let mut late = constant(meter("a"), 18);
        late.at_ns.drain(..2);
        late.total_uj.drain(..2);
        let hasty = MeterInfo { longest_gap_ns: Some(99 * MS), ..meter("a") };
        for (trace, reason) in [
            (failed, "`zone` vanished"),
            (late, "the readings of `a` do not reach around the execution"),
            (constant(hasty, 18), "`a` was not read for 100 ms; beyond 99 ms its counter may wrap unseen"),
        ] {
            assert_eq!(active_energy(&[trace], MeterKind::Measured, WINDOW).unwrap_err(), reason);
        }
    }

    #[test]
    fn updates_are_counted_no_finer_than_readings_show() {
        let n_updates =
            |trace: EnergyTrace| active_energy(&[trace], MeterKind::Measured, WINDOW).unwrap().n_updates;
        assert_eq!(n_updates(constant(MeterInfo { integrated: true, ..meter("power") }, 18)), 16);
        // Says that it is updated every 100 ms but moves only every 500 ms.
        let mut slow = constant(MeterInfo { update_ns: 100 * MS, ..meter("slow") }, 18);
        slow.total_uj = slow.at_ns.iter().map(|at_ns| at_ns / (500 * MS) * 9_000_000).collect();
        assert_eq!(n_updates(slow), 3);
    }

    #[test]
    fn an_edge_on_a_reading_is_that_reading() {
        let trace = constant(meter("a"), 18);
        for at in [0, 7, 20] {
            assert!((trace.at(trace.at_ns[at]) - exact(trace.total_uj[at])).abs() < 1e-9);
        }
    }

    #[test]
    fn a_stored_trace_that_makes_no_sense_is_refused() {
        let mut json = serde_json::to_value(constant(meter("a"), 18)).unwrap();
        assert!(serde_json::from_value::<EnergyTrace>(json.clone()).is_ok());
        json["total_uj"][3] = 0.into();
        assert!(serde_json::from_value::<EnergyTrace>(json.clone()).is_err());
        json["total_uj"] = serde_json::json!([1]);
        assert!(serde_json::from_value::<EnergyTrace>(json).is_err());
    }

    #[test]
    fn a_trace_takes_nothing_in_after_a_failure() {
        let mut trace = EnergyTrace::new(meter("a"));
        trace.push(Ok(EnergyReading { at_ns: 1, total_uj: 2 }));
        trace.push(Err(MeterError("gone".to_owned())));
        trace.push(Ok(EnergyReading { at_ns: 3, total_uj: 4 }));
        assert_eq!((trace.at_ns.len(), trace.failure.as_deref()), (1, Some("gone")));
    }
}
