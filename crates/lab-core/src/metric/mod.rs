//! Metrics: what each is, where its formula comes from, and the one place it is computed (invariant I6).

mod derive;
mod device;
mod smoke;
mod table;
mod workflow;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use derive::{Inputs, percentile_type_7};
pub use device::DEVICE_METRICS;
pub use smoke::SMOKE_METRICS;
pub use table::{ENGINE_V0_1, LAB_V1, METRICS};
pub use workflow::WORKFLOW_METRICS;

use crate::command::CommandRun;
use crate::device::DeviceFigures;
use crate::energy::MeterKind;
use crate::tolerance::Tolerance;
use crate::workflow::WorkflowFigures;

/// One row of the metric table.
#[derive(Debug)]
pub struct Metric {
    /// The contract that defines it.
    pub contract: Contract,
    /// Its name inside the contract.
    pub name: &'static str,
    /// The unit its values are in.
    pub unit: &'static str,
    /// Which way is better.
    pub direction: Direction,
    /// The formula, in words of the glossary.
    pub formula: &'static str,
    /// Who supplies the raw data.
    pub source: &'static str,
    /// Whether a session without it fulfils the contract.
    pub mandatory: bool,
    /// The contract's own tolerance, where it states one.
    pub tolerance: Option<Tolerance>,
    /// The kind of energy meter it stands on, if any: it is never compared across sources.
    pub meter: Option<MeterKind>,
    /// Whether it explains a result and is none itself: tables for people show it on request.
    pub detail: bool,
    /// Derives the value from the raw data of one completed repetition.
    pub derive: Derive,
}

/// The formula of a metric, by the raw data that it takes.
#[derive(Debug, Clone, Copy)]
pub enum Derive {
    /// From an execution of a workload.
    Execution(fn(&Inputs<'_>) -> Reading<f64>),
    /// From a run of a command.
    Command(fn(&CommandRun) -> Reading<f64>),
    /// From the document of a workflow runtime.
    Workflow(fn(&WorkflowFigures) -> Reading<f64>),
    /// From the document of an edge device.
    Device(fn(&DeviceFigures) -> Reading<f64>),
}

impl Metric {
    /// Returns the full id, such as `engine.v0.1/tokens_per_sec`. Different ids never compare.
    pub fn id(&self) -> String {
        format!("{}/{}", self.contract, self.name)
    }
}

/// Finds a metric by its full id, or by its bare name, official contract first.
pub fn find(id: &str) -> Option<&'static Metric> {
    all_metrics().find(|metric| metric.name == id || metric.id() == id)
}

/// Returns every metric lab knows: those of executions first, then one contract after the other.
pub fn all_metrics() -> impl Iterator<Item = &'static Metric> {
    [METRICS, SMOKE_METRICS, WORKFLOW_METRICS, DEVICE_METRICS].into_iter().flatten()
}

/// Returns the official speed, `tokens_per_sec`: what pairs of launches and calibrations are about.
///
/// # Panics
///
/// Never: the table has it.
pub fn speed() -> &'static Metric {
    find("engine.v0.1/tokens_per_sec").expect("the contract has a speed")
}

/// The founding document's primary measure of success (its section 4.6).
pub const PRIMARY: &str = "engine.v0.1/tokens_per_watt";

/// Returns metrics in the order of tables for people: the primary measure of success first, then as they come.
pub fn primary_first(
    metrics: impl Iterator<Item = &'static Metric>,
) -> impl Iterator<Item = &'static Metric> {
    let (primary, others): (Vec<_>, Vec<_>) = metrics.partition(|metric| metric.id() == PRIMARY);
    primary.into_iter().chain(others)
}

/// Returns what outputs for people call a metric: the bare name of an official one, the full id of any other.
pub fn short_name(id: &str) -> &str {
    match find(id) {
        Some(metric) if metric.contract.is_official() => metric.name,
        _ => id,
    }
}

/// A document that defines metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Contract {
    /// The official metrics of a model execution engine, version 0.1.
    #[serde(rename = "engine.v0.1")]
    EngineV0_1,
    /// lab's own metrics. Not official.
    #[serde(rename = "lab.v1")]
    LabV1,
    /// A run of a command.
    #[serde(rename = "smoke.v1")]
    SmokeV1,
    /// The metrics document of a workflow runtime.
    #[serde(rename = "workflow.v1")]
    WorkflowV1,
    /// The metrics documents of edge devices.
    #[serde(rename = "device.v1")]
    DeviceV1,
}

impl Contract {
    /// Returns whether the contract is the engine's official one.
    pub fn is_official(self) -> bool {
        self == Self::EngineV0_1
    }

    /// Returns the metrics of what a session of the contract does, in table order: lab's own go with the engine's.
    pub fn metrics(self) -> impl Iterator<Item = &'static Metric> {
        let belongs = move |metric: &&Metric| match self {
            Self::EngineV0_1 | Self::LabV1 => metric.contract.is_of_executions(),
            _ => metric.contract == self,
        };
        all_metrics().filter(belongs)
    }

    /// Returns the full id of the metric that stands for a whole session where there is room for one: in a list.
    pub const fn listed_metric(self) -> &'static str {
        match self {
            Self::EngineV0_1 | Self::LabV1 => "engine.v0.1/tokens_per_sec",
            Self::SmokeV1 => "smoke.v1/elapsed_sec",
            Self::WorkflowV1 => "workflow.v1/duration_ms",
            Self::DeviceV1 => "device.v1/inference_time_ms_avg",
        }
    }

    /// Returns whether its metrics are those of executions of a workload.
    const fn is_of_executions(self) -> bool {
        matches!(self, Self::EngineV0_1 | Self::LabV1)
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EngineV0_1 => ENGINE_V0_1,
            Self::LabV1 => LAB_V1,
            Self::SmokeV1 => "smoke.v1",
            Self::WorkflowV1 => "workflow.v1",
            Self::DeviceV1 => "device.v1",
        })
    }
}

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// Neither; a description of the run.
    Neutral,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Higher => "higher is better",
            Self::Lower => "lower is better",
            Self::Neutral => "neither",
        })
    }
}

/// A value, or the reason there is none (invariant I5: never 0, never an estimate in disguise).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// What was measured or derived.
    Value(T),
    /// Why there is no value.
    Unavailable(String),
}

impl<T> Reading<T> {
    /// Returns the value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unavailable(_) => None,
        }
    }

    /// Returns the reason, if there is no value.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::Unavailable(reason) => Some(reason),
        }
    }

    /// Returns the value, or the reason why there is none.
    ///
    /// # Errors
    ///
    /// The reason.
    pub fn as_result(&self) -> Result<&T, String> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Unavailable(reason) => Err(reason.clone()),
        }
    }

    /// Applies a function to the value and keeps a reason as it is.
    pub fn map<U>(self, function: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Value(value) => Reading::Value(function(value)),
            Self::Unavailable(reason) => Reading::Unavailable(reason),
        }
    }
}

impl<T> From<Result<T, String>> for Reading<T> {
    fn from(result: Result<T, String>) -> Self {
        match result {
            Ok(value) => Self::Value(value),
            Err(reason) => Self::Unavailable(reason),
        }
    }
}

/// One metric of one repetition.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// The full metric id.
    pub metric: String,
    /// The value in the metric's unit, or why there is none.
    pub reading: Reading<f64>,
}

/// Derives every metric of an execution from its raw data, in table order.
pub fn derive_all(inputs: &Inputs<'_>) -> Vec<Measurement> {
    measurements(METRICS, |derive| match derive {
        Derive::Execution(derive) => Some(derive(inputs)),
        _ => None,
    })
}

/// Derives every metric of a run of a command, in table order.
pub fn derive_command(run: &CommandRun) -> Vec<Measurement> {
    measurements(SMOKE_METRICS, |derive| match derive {
        Derive::Command(derive) => Some(derive(run)),
        _ => None,
    })
}

/// Derives every metric of a workflow's document, in table order.
pub fn derive_workflow(figures: &WorkflowFigures) -> Vec<Measurement> {
    measurements(WORKFLOW_METRICS, |derive| match derive {
        Derive::Workflow(derive) => Some(derive(figures)),
        _ => None,
    })
}

/// Derives every metric of a device's document, in table order.
pub fn derive_device(figures: &DeviceFigures) -> Vec<Measurement> {
    measurements(DEVICE_METRICS, |derive| match derive {
        Derive::Device(derive) => Some(derive(figures)),
        _ => None,
    })
}

fn measurements(metrics: &[Metric], derive: impl Fn(Derive) -> Option<Reading<f64>>) -> Vec<Measurement> {
    let measurement =
        |metric: &Metric| Some(Measurement { metric: metric.id(), reading: derive(metric.derive)? });
    metrics.iter().filter_map(measurement).collect()
}
