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
    ///
    /// The boundary is widened by one unit of rounding of each value, so that 10.3 lies on the 3 % boundary of 10
    /// although neither 10.3 nor 0.03 is a binary fraction.
    pub fn admits(self, baseline: f64, candidate: f64) -> bool {
        let rounding = f64::EPSILON * (baseline.abs() + candidate.abs());
        let change = (candidate - baseline).abs() - rounding;
        match self {
            Self::Relative(share) => change <= share * baseline.abs(),
            Self::Absolute(difference) => change <= difference,
        }
    }

    /// Returns the tolerance in words, an absolute one with the metric's unit: `3 %`, `10 ms`.
    pub fn in_unit(self, unit: &str) -> String {
        match self {
            Self::Relative(_) => self.to_string(),
            Self::Absolute(_) => format!("{self} {unit}"),
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

/// Returns a relative change as a signed percentage, `-0.4 %`, with as many decimals (one to six) as keep the printed
/// figure on its own side of the tolerance, and a change apart from none.
pub fn change_in_words(change: f64, tolerance: Option<Tolerance>) -> String {
    let percent = change * 100.0;
    let boundary = match tolerance {
        Some(Tolerance::Relative(share)) => Some(share * 100.0),
        _ => None,
    };
    let is_faithful = |text: &String| {
        let printed: f64 = text.parse().expect("a formatted number is a number");
        let keeps_side = boundary.is_none_or(|boundary| {
            let slack = f64::EPSILON * (1.0 + boundary) * 100.0;
            (printed.abs() <= boundary + slack) == (percent.abs() <= boundary + slack)
        });
        keeps_side && (printed != 0.0 || percent.abs() < 0.000_5)
    };
    let digits = (1..6).map(|decimals| format!("{percent:+.decimals$}")).find(is_faithful);
    let digits = digits.unwrap_or_else(|| format!("{percent:+.6}"));
    match digits.as_str() {
        "+0.0" | "-0.0" => "0.0 %".to_owned(),
        signed => format!("{signed} %"),
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
    fn decimal_boundaries_hold_although_binary_fractions_miss_them() {
        for baseline in [10.0_f64, 74.3, 0.7, 1234.5] {
            for change in [1.03, 0.97] {
                let candidate: f64 = format!("{:.6}", baseline * change).parse().unwrap();
                assert!(Tolerance::Relative(0.03).admits(baseline, candidate), "{baseline} {candidate}");
            }
        }
        assert!(Tolerance::Absolute(0.3).admits(10.0, 10.3));
        assert!(!Tolerance::Absolute(0.3).admits(10.0, 10.300_001));
    }

    #[test]
    fn a_change_is_printed_on_its_own_side_of_the_tolerance() {
        let three_percent = Some(Tolerance::Relative(0.03));
        for (change, expected) in [
            (-0.004, "-0.4 %"),
            (0.03, "+3.0 %"),
            (0.030_01, "+3.001 %"),
            (-0.029_99, "-3.0 %"),
            (0.0, "0.0 %"),
            (-0.000_4, "-0.04 %"),
            (1e-9, "0.0 %"),
            (1.5, "+150.0 %"),
        ] {
            assert_eq!(change_in_words(change, three_percent), expected);
        }
        assert_eq!(Tolerance::Absolute(10.0).in_unit("ms"), "10 ms");
    }

    #[test]
    fn a_tolerance_of_another_kind_counts_as_looser() {
        assert!(Tolerance::Absolute(0.0).is_looser_than(Tolerance::Relative(0.03)));
        assert!(!Tolerance::Relative(0.02).is_looser_than(Tolerance::Relative(0.03)));
        assert_eq!(Tolerance::Relative(0.03).to_string(), "3 %");
    }
}
