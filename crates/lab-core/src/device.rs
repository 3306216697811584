//! The metrics documents of edge devices (contract `device.v1`): a file of inferences with its summary, and a file about
//! loading a model.

mod id;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::Reading;
use crate::number::exact;

pub use id::{DeviceId, InvalidDeviceId};

/// What one document says, derived again from its details where it has any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceFigures {
    /// The device, as the document names it.
    pub device_id: String,
    /// The model, as the document names it.
    pub model_name: String,
    /// What computed, as the inferences say: each name once, in order.
    pub compute_devices: Vec<String>,
    /// When the first inference was made, as the device wrote it: it says no zone.
    pub first_timestamp: Option<String>,
    /// When the last was made.
    pub last_timestamp: Option<String>,
    /// The inferences; none in a document about loading.
    pub inferences: Option<Inferences>,
    /// What loading took; none in a document about inferences.
    pub loading: Option<Loading>,
}

/// The inferences of one document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inferences {
    /// How many.
    pub n: u64,
    /// Time of an inference, in milliseconds.
    pub inference_time_ms: Tally,
    /// Memory in use, in MB.
    pub memory_usage_mb: Tally,
    /// CPU use, in percent.
    pub cpu_usage_percent: Tally,
    /// Energy of an inference, in millijoules, as the device reports it.
    pub energy_consumption_mj: Tally,
}

/// Least, greatest and sum of a quantity over inferences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// Inferences that told it.
    pub n: u64,
    /// The least; 0 where none told it.
    pub min: f64,
    /// The greatest; 0 where none told it.
    pub max: f64,
    /// The sum.
    pub sum: f64,
}

impl Tally {
    /// Takes one more value in.
    pub fn add(&mut self, value: f64) {
        (self.min, self.max) = match self.n {
            0 => (value, value),
            _ => (self.min.min(value), self.max.max(value)),
        };
        self.n += 1;
        self.sum += value;
    }

    /// Takes the values of another in.
    pub fn join(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        (self.min, self.max) = match self.n {
            0 => (other.min, other.max),
            _ => (self.min.min(other.min), self.max.max(other.max)),
        };
        self.n += other.n;
        self.sum += other.sum;
    }

    /// Returns the mean, where there is one.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / exact(self.n))
    }
}

/// What loading a model took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Loading {
    /// Time to load, in milliseconds.
    pub loading_time_ms: Option<f64>,
    /// What memory rose by, in MB.
    pub memory_increase_mb: Option<f64>,
}

fn of_inferences(figures: &DeviceFigures, of: impl Fn(&Inferences) -> Option<f64>) -> Reading<f64> {
    let inferences = figures.inferences.as_ref().ok_or("the document is about loading");
    let value = inferences.and_then(|own| of(own).ok_or("no inference tells it"));
    value.map_err(str::to_owned).into()
}

fn of_loading(figures: &DeviceFigures, of: impl Fn(&Loading) -> Option<f64>) -> Reading<f64> {
    let loading = figures.loading.as_ref().ok_or("the document is about inferences");
    let value = loading.and_then(|own| of(own).ok_or("the document does not tell it"));
    value.map_err(str::to_owned).into()
}

macro_rules! tallies {
    ($($quantity:ident: $min:ident $max:ident $avg:ident,)*) => { $(
        pub(crate) fn $min(figures: &DeviceFigures) -> Reading<f64> {
            of_inferences(figures, |own| (own.$quantity.n > 0).then_some(own.$quantity.min))
        }
        pub(crate) fn $max(figures: &DeviceFigures) -> Reading<f64> {
            of_inferences(figures, |own| (own.$quantity.n > 0).then_some(own.$quantity.max))
        }
        pub(crate) fn $avg(figures: &DeviceFigures) -> Reading<f64> {
            of_inferences(figures, |own| own.$quantity.mean())
        }
    )* };
}

tallies! {
    inference_time_ms: inference_time_ms_min inference_time_ms_max inference_time_ms_avg,
    memory_usage_mb: memory_usage_mb_min memory_usage_mb_max memory_usage_mb_avg,
    cpu_usage_percent: cpu_usage_percent_min cpu_usage_percent_max cpu_usage_percent_avg,
    energy_consumption_mj: energy_consumption_mj_min energy_consumption_mj_max energy_consumption_mj_avg,
}

pub(crate) fn energy_consumption_mj_total(figures: &DeviceFigures) -> Reading<f64> {
    of_inferences(figures, |own| (own.energy_consumption_mj.n > 0).then_some(own.energy_consumption_mj.sum))
}

pub(crate) fn total_inferences(figures: &DeviceFigures) -> Reading<f64> {
    of_inferences(figures, |own| Some(exact(own.n)))
}

pub(crate) fn loading_time_ms(figures: &DeviceFigures) -> Reading<f64> {
    of_loading(figures, |own| own.loading_time_ms)
}

pub(crate) fn memory_increase_mb(figures: &DeviceFigures) -> Reading<f64> {
    of_loading(figures, |own| own.memory_increase_mb)
}
