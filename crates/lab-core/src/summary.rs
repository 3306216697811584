//! Figures of a whole session, each under the name of its statistic and with its n.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::{Metric, Reading};

/// Descriptive statistics of one metric over the measured repetitions of a session, in the metric's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Samples: one a measured repetition.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (divisor n−1); absent for a single sample.
    pub standard_deviation: Option<f64>,
    /// Smallest sample.
    pub min: f64,
    /// Median (type 7).
    pub median: f64,
    /// Greatest sample.
    pub max: f64,
}

impl Summary {
    /// Returns the sample standard deviation as a share of the mean; absent for a single sample or a zero mean.
    pub fn relative_spread(&self) -> Option<f64> {
        self.standard_deviation.filter(|_| self.mean != 0.0).map(|spread| spread / self.mean.abs())
    }
}

/// One metric of the table over a whole session.
#[derive(Debug, Clone)]
pub struct MetricSummary {
    /// The metric.
    pub metric: &'static Metric,
    /// Its figures, or why the session has none.
    pub figures: Reading<Summary>,
}
