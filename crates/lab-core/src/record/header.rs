//! What is known when a session starts.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SessionId;
use crate::energy::{EnergyTrace, MeterInfo};
use crate::experiment::{Experiment, StoppingPlan, Until};
use crate::fingerprint::Fingerprint;
use crate::limit::Limit;
use crate::metric::{Metric, Reading};
use crate::tolerance::Tolerance;
use crate::work::{Origin, Work};
use crate::workload::Workload;

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
