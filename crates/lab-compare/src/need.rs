//! How many launches would decide, and what so many can see.

use crate::location::{Location, freedom_of, t_quantile};

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
            degrees_of_freedom: freedom_of(n[index] as usize),
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

/// Returns the fewest launches a side, more than there are, that would decide if the estimate and the spreads stayed as they
/// are; none if no number up to 10,000 would, for the estimate lies on the tolerance or the drift alone is too wide.
///
/// Every number is asked up to 200, and then steps of a hundredth: an interval need not shrink with the number of launches, for
/// what is left when their own spread is averaged away is a drift that is known on a few degrees of freedom.
///
/// `is_decided` tells whether an interval, given by its ends on the prospect's scale, reaches over no end of the tolerance.
pub fn launches_needed(
    prospect: &Prospect,
    has: usize,
    confidence: f64,
    is_decided: impl Fn(f64, f64) -> bool,
) -> Option<u32> {
    let decides = |n: &u32| {
        let (low, high) = prospect.with([*n, *n]).interval(confidence);
        is_decided(low, high)
    };
    let more = u32::try_from(has).unwrap_or(MOST).max(1) + 1;
    std::iter::successors(Some(more), |n| Some(n + (n / 100).max(1))).take_while(|n| *n <= MOST).find(decides)
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
        launches_needed(prospect, 0, 0.95, |low, high| {
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
    fn what_is_there_already_did_not_decide() {
        let own = prospect(0.0, 0.02, 0.0);
        let inside =
            |low: f64, high: f64| place(low, high, 0.03, Direction::Neutral) != Verdict::Inconclusive;
        assert_eq!(launches_needed(&own, 5, 0.95, inside), Some(6));
        assert_eq!(launches_needed(&own, 10_000, 0.95, inside), None);
    }

    #[test]
    fn a_drift_of_few_sessions_may_let_some_launches_decide_and_more_of_them_not() {
        let own = Prospect { drift_freedom: 2.0, ..prospect(0.0, 0.02, 0.008) };
        let half_width = |n: u32| own.with([n, n]).interval(0.95).1;
        assert!(half_width(20) < 0.03 && half_width(100) > 0.03, "{} {}", half_width(20), half_width(100));
        assert!(needed(&own).unwrap() < 20);
    }

    #[test]
    fn a_prospect_has_the_freedom_of_the_interval_it_foresees() {
        for n in [2, 5, 6, 13, 20, 36_u32] {
            let values: Vec<f64> = (0..n).map(f64::from).collect();
            let location = crate::location::location(&values).unwrap();
            let foreseen = Prospect { spread: [1.0, 0.0], ..prospect(0.0, 1.0, 0.0) }.with([n, n]);
            assert!((foreseen.degrees_of_freedom - location.degrees_of_freedom).abs() < 1e-9, "{n}");
        }
    }

    #[test]
    fn no_number_of_launches_cures_drift() {
        assert_eq!(needed(&prospect(0.0, 0.02, 0.02)), None);
    }
}
