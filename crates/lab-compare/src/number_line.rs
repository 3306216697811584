//! From an interval of a change to a verdict (design, section 7).
//!
//! ```text
//!         regressed        |   inconclusive   |    equivalent    |  inconclusive  |    improved
//!   ───────────────────────┼──────────────────┼──────────────────┼────────────────┼──────────────►  change
//!                        -tolerance                             +tolerance
//! ```

use lab_core::metric::Direction;

/// What an interval says of a change, given the smallest change that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The interval lies inside the tolerance, its ends included.
    Equivalent,
    /// The interval lies beyond the tolerance, on the better side.
    Improved,
    /// The interval lies beyond the tolerance, on the worse side.
    Regressed,
    /// The interval reaches over an end of the tolerance.
    Inconclusive,
}

/// Places the interval from `low` to `high` on the number line of a tolerance, all three in shares of the baseline.
///
/// The tolerance itself is still tolerated, as in the contract's rule, and widened by the rounding of two values:
/// otherwise the interval of values that never vary would miss the boundary it lies on.
pub fn place(low: f64, high: f64, tolerance: f64, direction: Direction) -> Verdict {
    place_beside(1.0, low, high, tolerance, direction)
}

/// Places an interval as [`place`] does, with interval and tolerance in the unit of `baseline`, the value that the change is
/// a change of: how far values are rounded goes by their size.
pub fn place_beside(baseline: f64, low: f64, high: f64, tolerance: f64, direction: Direction) -> Verdict {
    // At the boundary neither value is larger than the baseline and the tolerance together.
    let edge = tolerance + 4.0 * f64::EPSILON * (baseline.abs() + tolerance);
    if low >= -edge && high <= edge {
        return Verdict::Equivalent;
    }
    match direction {
        Direction::Higher if low > edge => Verdict::Improved,
        Direction::Higher if high < -edge => Verdict::Regressed,
        Direction::Lower if high < -edge => Verdict::Improved,
        Direction::Lower if low > edge => Verdict::Regressed,
        // What is better in neither direction can only change for the worse.
        Direction::Neutral if low > edge || high < -edge => Verdict::Regressed,
        _ => Verdict::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stretch_of_the_number_line_has_its_verdict() {
        for (low, high, direction, expected) in [
            (-0.01, 0.02, Direction::Higher, Verdict::Equivalent),
            (-0.03, 0.03, Direction::Higher, Verdict::Equivalent),
            (-0.031, 0.0, Direction::Higher, Verdict::Inconclusive),
            (-0.05, 0.05, Direction::Higher, Verdict::Inconclusive),
            (-0.05, -0.03, Direction::Higher, Verdict::Inconclusive),
            (-0.05, -0.031, Direction::Higher, Verdict::Regressed),
            (0.031, 0.05, Direction::Higher, Verdict::Improved),
            (-0.05, -0.031, Direction::Lower, Verdict::Improved),
            (0.031, 0.05, Direction::Lower, Verdict::Regressed),
            (0.031, 0.05, Direction::Neutral, Verdict::Regressed),
            (-0.05, -0.031, Direction::Neutral, Verdict::Regressed),
        ] {
            assert_eq!(place(low, high, 0.03, direction), expected, "{low} {high} {direction:?}");
        }
    }

    #[test]
    fn what_never_varies_is_judged_at_the_boundary_as_the_contract_does() {
        let change = 103.0 / 100.0 - 1.0;
        assert_eq!(place(change, change, 0.03, Direction::Lower), Verdict::Equivalent);
        assert_eq!(place(0.030_000_1, 0.030_000_1, 0.03, Direction::Lower), Verdict::Regressed);
        assert_eq!(place(0.0, 0.0, 0.0, Direction::Higher), Verdict::Equivalent);
    }

    #[test]
    fn the_boundary_is_as_sharp_for_tiny_values_as_for_huge_ones() {
        for size in [1e-12, 1e-9, 1.0, 1e9, 1e15] {
            let (baseline, tolerance) = (10.0 * size, 0.3 * size);
            for candidate in [10.3 * size, 9.7 * size] {
                let change = candidate - baseline;
                let placed = |change| place_beside(baseline, change, change, tolerance, Direction::Neutral);
                assert_eq!(placed(change), Verdict::Equivalent, "{size}");
                assert_eq!(placed(change * (1.0 + 1e-9)), Verdict::Regressed, "{size}");
            }
        }
    }

    #[test]
    fn a_difference_beyond_a_tiny_tolerance_is_not_rounded_away() {
        assert_eq!(place_beside(1e-6, 2e-16, 2e-16, 1e-16, Direction::Lower), Verdict::Regressed);
        assert_eq!(place_beside(0.0, 2e-16, 2e-16, 0.0, Direction::Lower), Verdict::Regressed);
    }
}
