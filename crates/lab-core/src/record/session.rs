//! A recorded session, whole, and what can be asked of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Completed, Launch, Outcome, ProfiledExecution, Repetition, RepetitionKind, SessionEnd, SessionHeader,
    SessionStatus,
};
use crate::digest::Digest;
use crate::energy::{MeterKind, source_of};
use crate::fingerprint::Mode;
use crate::metric::{Contract, Measurement, Reading, find};
use crate::number::exact;
use crate::validity::Validity;

/// A recorded session, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// What was known at its start.
    pub header: SessionHeader,
    /// Its engine processes.
    pub launches: Vec<Launch>,
    /// Its repetitions, warm-ups included, in order.
    pub repetitions: Vec<RecordedRepetition>,
    /// How it ended.
    pub end: Option<SessionEnd>,
}

/// A repetition with its measurements as they were published.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRepetition {
    /// The raw data.
    pub repetition: Repetition,
    /// The published measurements; empty for warm-ups and failures.
    pub measurements: Vec<Measurement>,
}

impl RecordedRepetition {
    /// Returns whether it completed and is not invalid, and was generated in turn with another engine or was not, as is asked.
    pub fn counts(&self, in_turn: bool) -> bool {
        let is_usable = |own: &Validity| !matches!(own, Validity::Invalid(_));
        self.repetition.outcome.validity().is_some_and(is_usable) && self.is_in_turn() == in_turn
    }

    /// Returns whether it was generated in turn with another engine.
    pub fn is_in_turn(&self) -> bool {
        matches!(&self.repetition.outcome, Outcome::Completed(completed) if completed.turns.is_some())
    }
}

impl Session {
    /// Returns how the session ended.
    pub fn status(&self) -> SessionStatus {
        self.end.map_or(SessionStatus::Unfinished, |end| end.status)
    }

    /// Returns why a repetition failed, if it did.
    pub fn why_failed(&self, outcome: &Outcome) -> Option<String> {
        match outcome {
            Outcome::Failed(error) => Some(self.header.work.words_of(error)),
            other => other.failure(),
        }
    }

    /// Returns the measured repetitions that completed, whatever they did.
    pub fn succeeded(&self) -> impl Iterator<Item = &RecordedRepetition> {
        self.measured().filter(|recorded| recorded.repetition.outcome.is_completed())
    }

    /// Returns the executions of a workload that completed and are measured, with their raw data.
    pub fn completed(&self) -> impl Iterator<Item = (&RecordedRepetition, &Completed)> {
        self.measured().filter_map(|recorded| match &recorded.repetition.outcome {
            Outcome::Completed(completed) => Some((recorded, completed)),
            Outcome::Ran(_) | Outcome::Imported(_) | Outcome::Failed(_) => None,
        })
    }

    /// Returns the completed measured repetitions that are not invalid: those that count. In a session that was measured
    /// in lock-step, only those generated in turn count.
    pub fn usable(&self) -> impl Iterator<Item = (&RecordedRepetition, &Completed)> {
        let is_lock_step = self.is_lock_step();
        let counts = move |own: &Completed| own.is_usable() && own.turns.is_some() == is_lock_step;
        self.completed().filter(move |(_, completed)| counts(completed))
    }

    /// Returns the repetitions that count for a metric. In a session that was measured in lock-step, energy is that of the
    /// uninterrupted ones: what a turn takes cannot be told from what the side takes that waits.
    pub fn counting(&self, metric: &str) -> impl Iterator<Item = &RecordedRepetition> {
        let is_metered = find(metric).is_some_and(|metric| metric.meter.is_some());
        let in_turn = self.is_lock_step() && !is_metered;
        self.succeeded().filter(move |recorded| recorded.counts(in_turn))
    }

    /// Returns whether any measured repetition counts.
    pub fn has_usable(&self) -> bool {
        let in_turn = self.is_lock_step();
        self.succeeded().any(|recorded| recorded.counts(in_turn))
    }

    /// Returns the repetitions that count in one launch.
    pub fn usable_in(&self, launch: u32) -> Vec<&Completed> {
        let of_launch = self.usable().filter(|(recorded, _)| recorded.repetition.launch == launch);
        of_launch.map(|(_, completed)| completed).collect()
    }

    /// Returns the uninterrupted repetitions in one launch of a session that was measured in lock-step: those that check
    /// what lock-step found.
    pub fn uninterrupted_in(&self, launch: u32) -> Vec<&Completed> {
        let is_meant = |recorded: &RecordedRepetition, completed: &Completed| {
            recorded.repetition.launch == launch && completed.is_usable() && completed.turns.is_none()
        };
        let all = self.completed().filter(|_| self.is_lock_step());
        all.filter(|(recorded, own)| is_meant(recorded, own)).map(|(_, own)| own).collect()
    }

    /// Returns whether the session was measured token by token in turn with another.
    pub fn is_lock_step(&self) -> bool {
        self.header.experiment.as_ref().is_some_and(|own| matches!(own.mode, Mode::LockStep { .. }))
    }

    /// Returns the measured repetitions, completed or not.
    pub fn measured(&self) -> impl Iterator<Item = &RecordedRepetition> {
        self.repetitions.iter().filter(|recorded| recorded.repetition.kind == RepetitionKind::Measured)
    }

    /// Returns the samples of a metric: one for each completed measured repetition that is not invalid, or the reason
    /// why one has none.
    ///
    /// # Errors
    ///
    /// The first reason met, or that nothing completed.
    pub fn samples(&self, metric: &str) -> Result<Vec<f64>, String> {
        let mut samples = Vec::new();
        for recorded in self.counting(metric) {
            let found = recorded.measurements.iter().find(|measurement| measurement.metric == metric);
            match found.map(|measurement| &measurement.reading) {
                Some(Reading::Value(value)) => samples.push(*value),
                Some(Reading::Unavailable(reason)) => return Err(reason.clone()),
                None => return Err("not recorded in this session".to_owned()),
            }
        }
        if samples.is_empty() {
            let is_invalid = self.succeeded().next().is_some();
            let reason = if is_invalid {
                "every measured repetition is invalid"
            } else {
                "no measured repetition completed"
            };
            return Err(reason.to_owned());
        }
        Ok(samples)
    }

    /// Returns the mandatory metrics of its contract that the session has no value for, in table order.
    pub fn missing_mandatory(&self) -> Vec<&'static str> {
        let own = self.header.work.contract();
        let owed = self.header.work.metrics().filter(|metric| metric.mandatory && metric.contract == own);
        owed.filter(|metric| self.samples(&metric.id()).is_err()).map(|metric| metric.name).collect()
    }

    /// Returns how far the session fulfils its contract.
    pub fn contract(&self) -> ContractCoverage {
        ContractCoverage::missing(self.header.work.contract(), self.missing_mandatory())
    }

    /// Names what its energy figures of a kind were measured with, in every completed measured repetition; none without
    /// a meter.
    pub fn energy_source(&self, kind: MeterKind) -> Option<String> {
        let traces = self.completed().filter_map(|(_, completed)| completed.observation.energy.value());
        let mut sources: Vec<String> = traces.filter_map(|traces| source_of(traces, kind)).collect();
        sources.sort();
        sources.dedup();
        (!sources.is_empty()).then(|| sources.join(", then "))
    }

    /// Returns what the profile launch found, or why it found nothing; none where no profile was asked for.
    pub fn profile(&self) -> Option<&Reading<ProfiledExecution>> {
        self.launches.iter().find_map(|launch| launch.profile.as_ref())
    }

    /// Returns the time of the profiled execution over the mean time of the measured ones: what profiling costs.
    pub fn profile_slowdown(&self) -> Option<f64> {
        let profiled = exact(self.profile()?.value()?.total_ns);
        let times: Vec<u64> = self.usable().map(|(_, completed)| completed.timeline.total_ns()).collect();
        let total = exact(times.iter().sum());
        (total > 0.0).then(|| profiled * exact(times.len() as u64) / total)
    }

    /// Returns the digest of the whole fingerprint.
    pub fn fingerprint_digest(&self) -> Digest {
        self.header.fingerprint.digest()
    }
}

/// How far a session, or a comparison, fulfils its contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContractCoverage {
    /// The contract.
    pub id: String,
    /// Whether every mandatory metric has a value.
    pub complete: bool,
    /// The mandatory metrics without one, in table order.
    pub missing: Vec<String>,
}

impl ContractCoverage {
    /// Returns the coverage of a contract when these mandatory metrics have no value.
    pub fn missing(contract: Contract, names: Vec<&'static str>) -> Self {
        let missing: Vec<String> = names.into_iter().map(str::to_owned).collect();
        Self { id: contract.to_string(), complete: missing.is_empty(), missing }
    }
}
