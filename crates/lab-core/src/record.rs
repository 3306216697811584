//! What one execution of a plan leaves behind: the recording.

mod header;
mod session;

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::command::CommandRun;
use crate::engine::{EngineError, Profile};
use crate::experiment::{Layout, Turn};
use crate::import::Imported;
use crate::metric::{Inputs, Measurement, Reading, derive_all, derive_command};
use crate::observation::Observation;
use crate::timeline::Timeline;
use crate::validity::Validity;

pub use header::{IdleBaseline, InstrumentSet, MemoryBandwidth, SessionHeader};
pub use session::{ContractCoverage, RecordedRepetition, Session};

/// Identifies a session: a version 7 UUID, so that ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub Uuid);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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

    /// Returns whether the repetition counts: invalid ones are recorded and shown, never summarised.
    pub fn is_usable(&self) -> bool {
        !matches!(self.validity, Validity::Invalid(_))
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
