//! A demand on one session, judged without a baseline.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A demand on the values of a metric, in the metric's unit. Every repetition that counts must fulfil it.
///
/// Values are compared as they are, without any allowance for rounding: `below` is strict, as "under 10 us" is, and `max`
/// includes its own value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// At most this.
    Max(f64),
    /// Less than this.
    Below(f64),
    /// At least this.
    Min(f64),
    /// More than this.
    Above(f64),
}

impl Limit {
    /// Returns whether a value fulfils the demand. What is no number fulfils none.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Max(limit) => value <= limit,
            Self::Below(limit) => value < limit,
            Self::Min(limit) => value >= limit,
            Self::Above(limit) => value > limit,
        }
    }

    /// Returns the value that is farthest on the wrong side; nothing of no values.
    pub fn worst(self, values: &[f64]) -> Option<f64> {
        let values = values.iter().copied();
        match self {
            Self::Max(_) | Self::Below(_) => values.max_by(f64::total_cmp),
            Self::Min(_) | Self::Above(_) => values.min_by(f64::total_cmp),
        }
    }

    /// Returns the demand in words, with the metric's unit: `below 10 us`, `at most 3 nodes`.
    pub fn in_unit(self, unit: &str) -> String {
        format!("{self} {unit}")
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max(limit) => write!(f, "at most {limit}"),
            Self::Below(limit) => write!(f, "below {limit}"),
            Self::Min(limit) => write!(f, "at least {limit}"),
            Self::Above(limit) => write!(f, "above {limit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_max_and_min_include_their_own_value() {
        for (limit, at, inside, outside) in [
            (Limit::Max(10.0), true, 9.99, 10.01),
            (Limit::Below(10.0), false, 9.99, 10.01),
            (Limit::Min(10.0), true, 10.01, 9.99),
            (Limit::Above(10.0), false, 10.01, 9.99),
        ] {
            assert_eq!(limit.holds(10.0), at, "{limit}");
            assert!(limit.holds(inside) && !limit.holds(outside), "{limit}");
            assert!(!limit.holds(f64::NAN), "{limit}");
        }
    }

    #[test]
    fn the_worst_value_is_the_one_farthest_on_the_wrong_side() {
        let values = [4.73, 9.5, 2.0];
        assert_eq!(Limit::Below(10.0).worst(&values), Some(9.5));
        assert_eq!(Limit::Min(1.0).worst(&values), Some(2.0));
        assert_eq!(Limit::Max(1.0).worst(&[]), None);
    }

    #[test]
    fn a_limit_is_one_key_in_json_and_a_phrase_in_words() {
        let limit = Limit::Below(10.0);
        assert_eq!(serde_json::to_value(limit).unwrap(), serde_json::json!({"below": 10.0}));
        assert_eq!(limit.in_unit("us"), "below 10 us");
        assert_eq!(Limit::Max(0.5).in_unit("%"), "at most 0.5 %");
    }
}
