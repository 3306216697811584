//! Sums over documents: each inference counts alike, however many share a file.

use std::collections::BTreeSet;

use lab_core::device::Tally;
use schemars::JsonSchema;
use serde::Serialize;

use super::Stored;

/// The figures over some documents; null where none tells them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Totals {
    /// Inferences.
    pub inferences: u64,
    /// Time of an inference, in milliseconds.
    pub inference_time_ms: Option<Figures>,
    /// Memory in use, in MB.
    pub memory_usage_mb: Option<Figures>,
    /// CPU use, in percent.
    pub cpu_usage_percent: Option<Figures>,
    /// Energy of an inference, in millijoules, as the devices report it.
    pub energy_consumption_mj: Option<Figures>,
    /// Time to load the model, in milliseconds, over loadings.
    pub loading_time_ms: Option<Figures>,
    /// What memory rose by while the model was loaded, in MB, over loadings.
    pub memory_increase_mb: Option<Figures>,
}

/// Figures of one quantity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Figures {
    /// Inferences, or loadings, that told it.
    pub n: u64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The sum.
    pub sum: f64,
}

impl Figures {
    /// Each document's sum is a number; theirs together may be beyond every number, and JSON has none for that.
    fn of(spread: &Tally) -> Option<Self> {
        let Tally { n, min, max, sum } = *spread;
        spread.mean().filter(|_| sum.is_finite()).map(|mean| Self { n, min, max, mean, sum })
    }
}

/// What some documents come to.
#[derive(Debug, Default)]
pub(super) struct Sums<'a> {
    pub(super) files: u64,
    pub(super) suspect: u64,
    pub(super) devices: BTreeSet<&'a str>,
    pub(super) models: BTreeSet<&'a str>,
    pub(super) compute_devices: BTreeSet<&'a str>,
    pub(super) first_timestamp: Option<&'a str>,
    pub(super) last_timestamp: Option<&'a str>,
    inferences: u64,
    time: Tally,
    memory: Tally,
    cpu: Tally,
    energy: Tally,
    loading_time: Tally,
    memory_increase: Tally,
}

impl<'a> Sums<'a> {
    pub(super) fn add(&mut self, document: &Stored<'a>) {
        let figures = document.figures;
        self.files += 1;
        self.suspect += u64::from(document.is_suspect());
        self.devices.insert(document.device);
        self.models.extend(Some(figures.model_name.as_str()).filter(|name| !name.is_empty()));
        self.compute_devices.extend(figures.compute_devices.iter().map(String::as_str));
        // Stamps are compared as texts: they tell no zone.
        let first = figures.first_timestamp.as_deref();
        self.first_timestamp = [self.first_timestamp, first].into_iter().flatten().min();
        let last = figures.last_timestamp.as_deref();
        self.last_timestamp = [self.last_timestamp, last].into_iter().flatten().max();
        if let Some(own) = &figures.inferences {
            self.inferences += own.n;
            self.time.join(&own.inference_time_ms);
            self.memory.join(&own.memory_usage_mb);
            self.cpu.join(&own.cpu_usage_percent);
            self.energy.join(&own.energy_consumption_mj);
        }
        if let Some(own) = &figures.loading {
            own.loading_time_ms.into_iter().for_each(|value| self.loading_time.add(value));
            own.memory_increase_mb.into_iter().for_each(|value| self.memory_increase.add(value));
        }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            inferences: self.inferences,
            inference_time_ms: Figures::of(&self.time),
            memory_usage_mb: Figures::of(&self.memory),
            cpu_usage_percent: Figures::of(&self.cpu),
            energy_consumption_mj: Figures::of(&self.energy),
            loading_time_ms: Figures::of(&self.loading_time),
            memory_increase_mb: Figures::of(&self.memory_increase),
        }
    }
}
