//! What a host and an engine vary by when nothing changes, and what a comparison there can therefore see.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::experiment::Noise;
use crate::report::Conclusion;

/// Schema id of a calibration.
pub const CALIBRATION_SCHEMA: &str = "lab.calibration.v1";

/// What was learnt by measuring one engine against itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// Always `lab.calibration.v1`.
    #[schemars(extend("const" = CALIBRATION_SCHEMA))]
    pub schema: String,
    /// Version of lab that made it.
    pub lab_version: String,
    /// Plan name.
    pub plan: String,
    /// Digest of model, plan, backend and hardware: what it holds for, whatever build of an engine is measured.
    pub family: Digest,
    /// When it was made (RFC 3339).
    pub made_at: String,
    /// Full id of the metric.
    pub metric: String,
    /// The relative tolerance that rates are judged by.
    pub tolerance: f64,
    /// Wall time that one launch took, or one pair, in seconds: all that was measured over their number. Absent in
    /// calibrations of versions that did not take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Time that the uninterrupted repetitions behind an experiment take, in seconds: two of each side. Of experiments alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing_seconds: Option<f64>,
    /// Logarithms: of launch means in each session, or of the ratio of each pair in each experiment.
    pub groups: Vec<Vec<f64>>,
    /// What they vary by.
    pub noise: Grouped,
    /// What a comparison comes to, by number of launches and true change; simulated from the values above.
    pub rates: Vec<Rate>,
    /// What was found where a change of known size was planted: measured, not simulated.
    #[serde(default)]
    pub planted: Vec<Planted>,
}

/// A change of known size, and what a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Planted {
    /// The true relative change of the metric, as a share: −0.06 is 6 % slower.
    pub change: f64,
    /// The change found, as a share.
    pub estimate: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
    /// Launches a side, or pairs.
    pub n: usize,
    /// What was concluded.
    pub conclusion: Conclusion,
}

/// Values in groups that something else varies by: launches in sessions, or pairs in experiments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Grouped {
    /// Groups with two values or more.
    pub n_groups: usize,
    /// Values in them.
    pub n_values: usize,
    /// Standard deviation of a value inside its group.
    pub within: f64,
    /// Standard deviation of what all values of a group share; 0 where the groups differ by no more than chance.
    pub between: f64,
    /// Correlation of a value with the one before it in its group.
    pub serial_correlation: f64,
}

impl Grouped {
    /// Returns what experiments may take from pairs in experiments. A correlation below 0 would narrow an interval, and no
    /// calibration is that sure.
    pub const fn noise(&self) -> Noise {
        Noise {
            serial_correlation: self.serial_correlation.max(0.0),
            bias: self.between,
            experiments: self.n_groups,
        }
    }
}

/// What comparisons come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// Launches a side; of experiments, the most pairs.
    pub n: u32,
    /// The true relative change of the metric, as a share: −0.06 is 6 % slower.
    pub change: f64,
    /// Comparisons simulated.
    pub trials: u32,
    /// How many were called regressed.
    pub regressed: u32,
    /// How many were called improved.
    pub improved: u32,
    /// How many were called equivalent.
    pub equivalent: u32,
    /// Median of the pairs that it took; absent for separate sessions.
    pub median_pairs: Option<u32>,
    /// In how many the means lay further apart than the tolerance: what the contract's own rule says. Of separate sessions alone;
    /// absent in calibrations of versions that did not count it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<u32>,
    /// The 95 % interval of each rate as far as the number of simulated comparisons tells (Clopper and Pearson 1934, Biometrika
    /// 26); how well the launches are known that they are drawn from is not in it. Absent in older calibrations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<RateIntervals>,
}

/// Lower and upper ends of the intervals of rates, as shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RateIntervals {
    /// Called regressed.
    pub regressed: [f64; 2],
    /// Called improved.
    pub improved: [f64; 2],
    /// Called equivalent.
    pub equivalent: [f64; 2],
    /// Told nothing.
    pub inconclusive: [f64; 2],
}

impl Rate {
    /// Returns how many told nothing.
    pub const fn inconclusive(&self) -> u32 {
        self.trials - self.regressed - self.improved - self.equivalent
    }
}
