//! What one execution of a plan leaves behind: the recording.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::command::CommandRun;
use crate::digest::Digest;
use crate::energy::{EnergyTrace, MeterInfo, MeterKind, source_of};
use crate::engine::{EngineError, Profile};
use crate::experiment::{Experiment, Layout, StoppingPlan, Turn, Until};
use crate::fingerprint::{Fingerprint, Mode};
use crate::import::Imported;
use crate::limit::Limit;
use crate::metric::{Contract, Inputs, Measurement, Metric, Reading, derive_all, derive_command, find};
use crate::number::exact;
use crate::observation::Observation;
use crate::timeline::Timeline;
use crate::tolerance::Tolerance;
use crate::validity::Validity;
use crate::work::{Origin, Work};
use crate::workload::Workload;

/// Identifies a session: a version 7 UUID, so that ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub Uuid);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known when a session starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionHeader {
    /// The session's id.
    pub id: SessionId,
    /// When it started.
    pub started_at: Timestamp,
    /// Version of lab that recorded it.
    pub lab_version: String,
    /// The plan's name.
    pub plan_name: String,
    /// The plan's text, byte for byte.
    pub plan_text: String,
    /// The name every output calls the model by.
    pub model_name: String,
    /// What was done. In JSON a key of its own: `workload`, `command` or `import`.
    #[serde(flatten)]
    pub work: Work,
    /// Measured repetitions asked for.
    pub repeat: u32,
    /// Tolerances the plan sets, by full metric id; the metric table fills the rest.
    pub tolerances: Vec<(String, Tolerance)>,
    /// Demands that the plan makes on the session itself, by full metric id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<(String, Limit)>,
    /// Identity of everything that produces the recording.
    pub fingerprint: Fingerprint,
    /// The instruments it is measured with; none for recordings of versions that had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruments: Option<InstrumentSet>,
    /// The paired experiment that the session is one side of; none for a session of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
    /// What it was to be decided against; none for a session whose length was fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

/// The instruments of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstrumentSet {
    /// Version of the rules of validity.
    pub rules: String,
    /// Ticks a second of the sampling thread; 0 is off.
    pub sample_hz: f64,
    /// The energy meters, or why there is none.
    pub meters: Reading<Vec<MeterInfo>>,
    /// What the machine's memory can deliver, or why that is not known.
    pub memory_bandwidth: Reading<MemoryBandwidth>,
    /// What the machine takes when nothing is measured; none where it was not asked for. Never subtracted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Reading<IdleBaseline>>,
}

/// What the machine's memory can deliver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryBandwidth {
    /// Bytes read in a second by as many threads as the engine has.
    pub bytes_per_second: u64,
    /// Threads that read.
    pub threads: u32,
    /// When it was measured.
    #[schemars(with = "String")]
    pub measured_at: Timestamp,
}

/// What the machine takes when nothing is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdleBaseline {
    /// Mean power in watts.
    pub watts: f64,
    /// How far off it may be, in watts.
    pub plus_minus_watts: f64,
    /// How long it was measured, in seconds.
    pub seconds: f64,
    /// The readings that the figures are derived from.
    pub traces: Vec<EnergyTrace>,
}

impl SessionHeader {
    /// Returns the workload; none where no engine was asked.
    pub fn workload(&self) -> Option<&Workload> {
        self.work.workload()
    }

    /// Returns the length of the prompt in tokens; 0 where no engine was asked.
    pub fn n_prompt(&self) -> usize {
        self.workload().map_or(0, |workload| workload.prompt.len())
    }

    /// Returns who measured.
    pub fn origin(&self) -> Origin {
        self.work.origin()
    }

    /// Returns when the session was to stop; none where its length was fixed.
    pub fn stopping(&self) -> Option<&StoppingPlan> {
        let of_experiment = self.experiment.as_ref().map(|own| &own.stopping);
        of_experiment.or_else(|| self.until.as_ref().map(|own| &own.stopping))
    }

    /// Returns the tolerance that applies to a metric: the plan's, or else the metric table's.
    pub fn tolerance(&self, metric: &Metric) -> Option<Tolerance> {
        let id = metric.id();
        let own = self.tolerances.iter().find(|(name, _)| *name == id);
        own.map(|(_, tolerance)| *tolerance).or(metric.tolerance)
    }

    /// Returns the metrics whose contract tolerance the plan loosens, each with the plan's own and the contract's.
    pub fn loosened(&self) -> Vec<(&'static Metric, Tolerance, Tolerance)> {
        let loosened = |metric: &'static Metric| {
            let (own, contract) = (self.tolerance(metric)?, metric.tolerance?);
            own.is_looser_than(contract).then_some((metric, own, contract))
        };
        self.work.metrics().filter_map(loosened).collect()
    }
}

/// One engine process of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// Position in the session, from 0.
    pub index: u32,
    /// How the start went.
    pub start: LaunchStart,
    /// Conditions of the host just before the start.
    pub conditions: serde_json::Value,
    /// Where the time went, in a launch that was started to learn it. Such a launch has no repetitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Reading<ProfiledExecution>>,
    /// Where its memory was told to lie; none where that was left to the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

/// One execution of the workload, after the plan's warm-up, in an engine that took times per operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfiledExecution {
    /// Where its time went.
    pub profile: Profile,
    /// From the request to the last token, in nanoseconds.
    pub total_ns: u64,
    /// Tokens generated.
    pub n_tokens: u64,
}

/// How the start of an engine process went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchStart {
    /// The model is loaded.
    Ready {
        /// Time from the load request to the loaded model, in nanoseconds.
        load_ns: u64,
    },
    /// There is nothing to load: the process is the repetition, or was that of another tool.
    Started,
    /// No repetition can run in this launch.
    Failed(EngineError),
}

/// Whether a repetition counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RepetitionKind {
    /// Runs before the measured ones; recorded, never counted.
    Warmup,
    /// Counted.
    Measured,
}

impl fmt::Display for RepetitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warmup => "warmup",
            Self::Measured => "measured",
        })
    }
}

/// One `generate` inside a launch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// Position in the session, from 0, warm-ups included.
    pub index: u32,
    /// The launch it ran in.
    pub launch: u32,
    /// Whether it counts.
    pub kind: RepetitionKind,
    /// How it went.
    pub outcome: Outcome,
}

/// How a repetition went. A failure is never a zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every token came.
    Completed(Completed),
    /// A command was run, and ended well or otherwise.
    Ran(Box<CommandRun>),
    /// The document of another tool was taken in.
    Imported(Box<Imported>),
    /// It did not finish.
    Failed(EngineError),
}

impl Outcome {
    /// Returns whether it came to its end as it should.
    pub fn is_completed(&self) -> bool {
        self.validity().is_some()
    }

    /// Returns what disturbed it; none where it failed.
    pub fn validity(&self) -> Option<&Validity> {
        match self {
            Self::Completed(completed) => Some(&completed.validity),
            Self::Ran(run) => run.failure.is_none().then_some(&run.validity),
            Self::Imported(imported) => Some(&imported.validity),
            Self::Failed(_) => None,
        }
    }

    /// Returns why it failed; none where it completed.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Failed(error) => Some(error.to_string()),
            Self::Ran(run) => run.failure.as_ref().map(ToString::to_string),
            Self::Completed(_) | Self::Imported(_) => None,
        }
    }

    /// Derives every metric from the raw data, in table order; none of a failure. `n_prompt` is the prompt's length in tokens.
    pub fn measurements(&self, n_prompt: usize) -> Vec<Measurement> {
        match self {
            Self::Completed(completed) => completed.measurements(n_prompt),
            Self::Ran(run) if run.failure.is_none() => derive_command(run),
            Self::Imported(imported) => imported.measurements(),
            Self::Ran(_) | Self::Failed(_) => Vec::new(),
        }
    }
}

/// The raw data of a completed repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completed {
    /// When each token became visible. Stored beside the row, not inside it.
    pub timeline: Timeline,
    /// Generated token ids.
    pub token_ids: Vec<u32>,
    /// Margin between the two greatest logits at each token, where the engine reports it.
    pub margins: Option<Vec<f32>>,
    /// Time the launch took to load the model, in nanoseconds.
    pub load_ns: u64,
    /// From sending the request to having the answer, by the harness's own clock, in nanoseconds.
    pub outside_ns: u64,
    /// When the request arrived, by the engine's own stamp (monotonic nanoseconds): the origin of the timeline.
    pub request_ns: u64,
    /// Repetitions, warm-ups included, that had completed in the same launch; none where that is not recorded.
    pub n_before: Option<u32>,
    /// Bytes of weights that one decoded token touches, where the engine tells.
    pub bytes_per_token: Reading<u64>,
    /// What the instruments saw.
    pub observation: Box<Observation>,
    /// What disturbed it.
    pub validity: Validity,
    /// Its turns, if it was generated in turn with another engine. The timeline then holds the time of the turns alone,
    /// one after the other, without the waiting between them.
    pub turns: Option<Vec<Turn>>,
}

impl Completed {
    /// Derives every metric from the raw data, in table order. `n_prompt` is the prompt's length in tokens.
    pub fn measurements(&self, n_prompt: usize) -> Vec<Measurement> {
        derive_all(&self.inputs(n_prompt))
    }

    /// Returns the raw data as metrics and rules take it.
    pub fn inputs(&self, n_prompt: usize) -> Inputs<'_> {
        Inputs {
            timeline: &self.timeline,
            n_prompt,
            load_ns: self.load_ns,
            request_ns: self.request_ns,
            outside_ns: self.outside_ns,
            n_before: self.n_before,
            bytes_per_token: &self.bytes_per_token,
            observation: &self.observation,
            is_in_turn: self.turns.is_some(),
        }
    }
}

/// How a session ended. A session without an end was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// When.
    pub ended_at: Timestamp,
    /// How.
    pub status: SessionStatus,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Every measured repetition completed.
    Completed,
    /// Some repetition failed.
    Incomplete,
    /// No measured repetition completed.
    Failed,
    /// The user stopped it; finished repetitions stay.
    Interrupted,
    /// It never said that it ended: killed, or still running.
    Unfinished,
}

impl fmt::Display for SessionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Unfinished => "unfinished",
        })
    }
}

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

impl Completed {
    /// Returns whether the repetition counts: invalid ones are recorded and shown, never summarised.
    pub fn is_usable(&self) -> bool {
        !matches!(self.validity, Validity::Invalid(_))
    }
}
