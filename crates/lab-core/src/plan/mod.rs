//! Plans: a TOML file that says what is measured.
//!
//! A [`Plan`] is valid by construction: it is only made by [`Plan::parse`], which points every complaint at the bytes it
//! is about. The serde mirror of the file lives in `raw` and stays private; `check` turns it into the real thing.

mod check;
mod command;
mod contract;
mod energy;
mod error;
mod file;
mod gate;
mod limit;
mod raw;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::Schema;

pub use command::{CommandLimits, CommandPlan, CommandSpec};
pub use contract::ContractPlan;
pub use energy::{EnergySource, EnergySpec, EnergyUnit, ExternalAddress, ExternalMeter, InstrumentSpec};
pub use error::{PlanError, PlanErrors};
pub use file::PlanFile;
pub use gate::{DifferentOutputGate, GateSpec, InconclusiveGate};

use crate::fingerprint::Isolation;
use crate::limit::Limit;
use crate::metric::{METRICS, Metric};
use crate::model::ModelSpec;
use crate::tolerance::Tolerance;
use crate::workload::WorkloadSpec;

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Short name, shown everywhere.
    pub name: String,
    /// A sentence for people; empty when absent.
    pub description: String,
    /// The model.
    pub model: ModelSpec,
    /// The work.
    pub workload: WorkloadSpec,
    /// What executes it.
    pub engine: EngineSpec,
    /// How often and under which limits.
    pub run: RunSpec,
    /// How energy is measured.
    pub energy: EnergySpec,
    /// How the machine is watched.
    pub instruments: InstrumentSpec,
    /// Tolerances that replace those of the metric table, by full metric id.
    pub tolerances: BTreeMap<String, Tolerance>,
    /// Demands on one session, by full metric id.
    pub limits: BTreeMap<String, Limit>,
    /// What a gate demands.
    pub gate: GateSpec,
    /// The file's text, byte for byte.
    pub text: String,
}

/// What executes the workload, and on what.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSpec {
    /// Which engine.
    pub kind: EngineKind,
    /// Threads; the host's physical cores when absent.
    pub threads: Option<u32>,
    /// CPU numbers the process may run on; all of the harness's own when absent.
    pub cores: Option<Vec<u32>>,
}

/// Which engine.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineKind {
    /// The built-in engine on candle.
    Candle,
    /// The scripted engine: set latencies, failures and lies. For testing lab, never for numbers about a model.
    Scripted(Script),
    /// Any program that speaks the engine protocol: path, then arguments.
    Command(Vec<String>),
}

/// What the scripted engine does.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// Time to load, in microseconds.
    pub load_us: u64,
    /// Time from the request to the first token, in microseconds.
    pub prefill_us: u64,
    /// Time from one token to the next, in microseconds.
    pub token_us: u64,
    /// The first repetition of a launch is slower by this factor.
    pub cold_factor: f64,
    /// Version it reports.
    pub version: String,
    /// A file whose length is no part of the engine's identity: each byte adds a microsecond to the time from one token to
    /// the next. Absent adds nothing. Stands for a machine that slows down between two sessions.
    pub slowdown_file: Option<PathBuf>,
    /// Bytes of weights it reports that one decoded token touches. Absent reports none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_token: Option<u64>,
    /// What goes wrong, if anything.
    pub fault: Option<Fault>,
    /// The launch the fault strikes in, from 0; every launch when absent.
    pub fault_launch: Option<u32>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            load_us: 1_000,
            prefill_us: 2_000,
            token_us: 500,
            cold_factor: 1.0,
            version: "1".to_owned(),
            slowdown_file: None,
            bytes_per_token: None,
            fault: None,
            fault_launch: None,
        }
    }
}

/// What goes wrong in the scripted engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Refuses to load.
    LoadFails,
    /// Never answers `load`.
    LoadHangs,
    /// Answers a generation with an error.
    GenerateFails,
    /// Never answers a generation.
    GenerateHangs,
    /// Kills itself with SIGKILL in mid-generation.
    Killed,
    /// Ends with status 3 in mid-generation.
    Exits,
    /// Answers with a line that is no frame.
    Garbage,
    /// Reports times a third shorter than they were.
    LyingClock,
    /// Answers one token fewer than asked.
    TooFewTokens,
    /// Stamps that run backwards.
    Backwards,
    /// Reports a clock of 1 ms resolution.
    CoarseClock,
    /// Speaks protocol version 999.
    WrongProtocol,
    /// Takes no profile, even in a launch loaded for one.
    NoProfile,
}

/// How often and under which limits.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    /// Measured repetitions, at least one.
    pub repeat: u32,
    /// Warm-up repetitions in front of the measured ones of each launch.
    pub warmup: u32,
    /// Which repetitions share an engine process.
    pub isolation: Isolation,
    /// How long loading may take.
    pub load_timeout: Duration,
    /// How long one generation may take.
    pub generate_timeout: Duration,
}

impl Plan {
    /// Parses a plan that asks an engine.
    ///
    /// # Errors
    ///
    /// Everything wrong that can be told at once, each complaint with the bytes it is about; that it is a plan of another
    /// kind.
    pub fn parse(text: &str) -> Result<Self, PlanErrors> {
        match PlanFile::parse(text)? {
            PlanFile::Engine(plan) => Ok(*plan),
            PlanFile::Contract(plan) => Err(file::measures_nothing(plan.contract, text)),
            PlanFile::Command(_) => Err(file::asks_no_engine(text)),
        }
    }

    fn parse_engine(text: &str) -> Result<Self, PlanErrors> {
        let raw: raw::Plan = toml::from_str(text).map_err(|error| PlanErrors::from_toml(&error))?;
        check::check(raw, text)
    }

    /// Returns the tolerance that applies to a metric: the plan's, or else the metric table's.
    pub fn tolerance(&self, metric: &Metric) -> Option<Tolerance> {
        self.tolerances.get(&metric.id()).copied().or(metric.tolerance)
    }

    /// Returns the metrics whose contract tolerance the plan loosens. Such a plan is unofficial in every output.
    pub fn loosened(&self) -> Vec<&'static Metric> {
        let loosens = |metric: &&'static Metric| match (self.tolerances.get(&metric.id()), metric.tolerance) {
            (Some(own), Some(contract)) => own.is_looser_than(contract),
            _ => false,
        };
        METRICS.iter().filter(loosens).collect()
    }

    /// Returns the JSON Schema of the plan file.
    pub fn schema() -> Schema {
        schemars::schema_for!(raw::Plan)
    }
}
