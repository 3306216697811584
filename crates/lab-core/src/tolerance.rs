//! The smallest change of a metric that matters.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The smallest change of a metric that matters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Tolerance {
    /// A share of the baseline's value: 0.03 is 3 %.
    Relative(f64),
    /// A difference in the metric's own unit.
    Absolute(f64),
}

impl Tolerance {
    /// Returns whether the point rule of the contract holds: `|candidate − baseline| ≤ tolerance`, the boundary included.
    pub fn admits(self, baseline: f64, candidate: f64) -> bool {
        let change = (candidate - baseline).abs();
        match self {
            Self::Relative(share) => change <= share * baseline.abs(),
            Self::Absolute(difference) => change <= difference,
        }
    }

    /// Returns whether this tolerance lets more pass than `other`. Kinds that cannot be ordered count as looser.
    pub fn is_looser_than(self, other: Self) -> bool {
        match (self, other) {
            (Self::Relative(mine), Self::Relative(theirs))
            | (Self::Absolute(mine), Self::Absolute(theirs)) => mine > theirs,
            _ => true,
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative(share) => write!(f, "{} %", round_percent(*share)),
            Self::Absolute(difference) => write!(f, "{difference}"),
        }
    }
}

/// Rounds a share to millionths of a percent, so that 0.03 reads 3 and not 3.0000000000000004.
fn round_percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_itself_is_within_tolerance() {
        let three_percent = Tolerance::Relative(0.03);
        assert!(three_percent.admits(100.0, 103.0));
        assert!(three_percent.admits(100.0, 97.0));
        assert!(!three_percent.admits(100.0, 103.000_001));
        assert!(!three_percent.admits(100.0, 96.999_999));
        assert!(Tolerance::Absolute(2.0).admits(10.0, 8.0));
    }

    #[test]
    fn a_tolerance_of_another_kind_counts_as_looser() {
        assert!(Tolerance::Absolute(0.0).is_looser_than(Tolerance::Relative(0.03)));
        assert!(!Tolerance::Relative(0.02).is_looser_than(Tolerance::Relative(0.03)));
        assert_eq!(Tolerance::Relative(0.03).to_string(), "3 %");
    }
}
