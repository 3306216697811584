//! How many launches would decide.

use crate::location::Location;
use crate::number_line::{Verdict, place};
use lab_core::metric::Direction;

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
    fn with(&self, n: u32) -> Location {
        let side = |spread: f64, centre: f64| Location {
            centre,
            standard_error: spread / f64::from(n).sqrt(),
            degrees_of_freedom: f64::from(n - 1),
        };
        let [ours, theirs] = self.spread;
        let both = side(ours, 0.0).to(side(theirs, self.centre));
        if self.drift > 0.0 { both.with_error(self.drift, self.drift_freedom) } else { both }
    }
}

/// Returns how many launches a side would decide if the estimate and the spreads stayed as they are; none if no number
/// would, for the estimate lies on the tolerance or the drift alone is too wide.
///
/// `to_change` turns the scale of the interval into that of the tolerance.
pub fn launches_needed(
    prospect: &Prospect,
    confidence: f64,
    tolerance: f64,
    to_change: impl Fn(f64) -> f64,
) -> Option<u32> {
    let decides = |n: u32| {
        let (low, high) = prospect.with(n).interval(confidence);
        let (low, high) = (to_change(low), to_change(high));
        place(low, high, tolerance, Direction::Neutral) != Verdict::Inconclusive
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
    use super::*;

    fn prospect(centre: f64, spread: f64, drift: f64) -> Prospect {
        Prospect { centre, spread: [spread, spread], drift, drift_freedom: 10.0 }
    }

    #[test]
    fn more_launches_decide_what_lies_off_the_tolerance() {
        let needed = |own: &Prospect| launches_needed(own, 0.95, 0.03, |change| change);
        let near = needed(&prospect(0.0, 0.02, 0.0)).unwrap();
        // n with t(0.975, 2n-2) * 0.02 * sqrt(2/n) <= 0.03: 5 gives 0.0292, 4 gives 0.0346.
        assert_eq!(near, 5);
        assert!(needed(&prospect(0.02, 0.02, 0.0)).unwrap() > near);
        assert_eq!(needed(&prospect(0.03, 0.02, 0.0)), None);
    }

    #[test]
    fn no_number_of_launches_cures_drift() {
        assert_eq!(launches_needed(&prospect(0.0, 0.02, 0.02), 0.95, 0.03, |change| change), None);
    }
}
