//! How many launches would decide, and what so many can see.

use crate::location::{Location, t_quantile};

/// Beyond this nobody would wait.
const MOST: u32 = 10_000;

/// What an interval would be with another number of launches a side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prospect {
    /// The estimate, on the scale of the interval.
    pub centre: f64,
    /// Standard deviation from launch to launch on either side.
    pub spread: [f64; 2],
    /// Standard error that more launches do not cure.
    pub drift: f64,
    /// Degrees of freedom that the drift is known on.
    pub drift_freedom: f64,
}

impl Prospect {
    /// Returns the change that so many launches of either side would show.
    ///
    /// # Panics
    ///
    /// With fewer than two launches of a side.
    pub fn with(&self, n: [u32; 2]) -> Location {
        let side = |index: usize, centre: f64| Location {
            centre,
            standard_error: self.spread[index] / f64::from(n[index]).sqrt(),
            degrees_of_freedom: f64::from(n[index] - 1),
        };
        let both = side(0, 0.0).to(side(1, self.centre));
        if self.drift > 0.0 { both.with_error(self.drift, self.drift_freedom) } else { both }
    }

    /// Returns the smallest loss, as a share of the baseline, that so many launches a side call regressed in four of five
    /// comparisons; the prospect's scale must be that of logarithms.
    ///
    /// The interval must lie below the tolerance whole: the loss is the tolerance, half an interval, and what an estimate
    /// exceeds in one of five.
    pub fn detects(&self, n: u32, confidence: f64, tolerance: f64) -> f64 {
        let location = Self { centre: 0.0, ..*self }.with([n, n]);
        let quantiles = [confidence, ONE_OF_FIVE].map(|own| t_quantile(own, location.degrees_of_freedom));
        let further = (quantiles[0] + quantiles[1]) * location.standard_error;
        -((-tolerance).ln_1p() - further).exp_m1()
    }
}

/// The two-sided confidence that leaves one in five beyond on either side.
const ONE_OF_FIVE: f64 = 0.6;

/// Returns how many launches a side would decide if the estimate and the spreads stayed as they are; none if no number
/// would, for the estimate lies on the tolerance or the drift alone is too wide.
///
/// `is_decided` tells whether an interval, given by its ends on the prospect's scale, reaches over no end of the tolerance.
pub fn launches_needed(
    prospect: &Prospect,
    confidence: f64,
    is_decided: impl Fn(f64, f64) -> bool,
) -> Option<u32> {
    let decides = |n: u32| {
        let (low, high) = prospect.with([n, n]).interval(confidence);
        is_decided(low, high)
    };
    if !decides(MOST) {
        return None;
    }
    // The interval only shrinks with n.
    let (mut too_few, mut enough) = (1, MOST);
    while enough - too_few > 1 {
        let middle = u32::midpoint(too_few, enough);
        if decides(middle) { enough = middle } else { too_few = middle }
    }
    Some(enough)
}

#[cfg(test)]
mod tests {
    use lab_core::metric::Direction;

    use super::*;
    use crate::number_line::{Verdict, place};

    fn prospect(centre: f64, spread: f64, drift: f64) -> Prospect {
        Prospect { centre, spread: [spread, spread], drift, drift_freedom: 10.0 }
    }

    fn needed(prospect: &Prospect) -> Option<u32> {
        launches_needed(prospect, 0.95, |low, high| {
            place(low, high, 0.03, Direction::Neutral) != Verdict::Inconclusive
        })
    }

    #[test]
    fn more_launches_decide_what_lies_off_the_tolerance() {
        let near = needed(&prospect(0.0, 0.02, 0.0)).unwrap();
        // n with t(0.975, 2n-2) * 0.02 * sqrt(2/n) <= 0.03: 5 gives 0.0292, 4 gives 0.0346.
        assert_eq!(near, 5);
        assert!(needed(&prospect(0.02, 0.02, 0.0)).unwrap() > near);
        assert_eq!(needed(&prospect(0.03, 0.02, 0.0)), None);
    }

    #[test]
    fn no_number_of_launches_cures_drift() {
        assert_eq!(needed(&prospect(0.0, 0.02, 0.02)), None);
    }
}
