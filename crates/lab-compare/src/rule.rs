//! Rules: how the figures of two sides become a judgement of one metric.

use lab_core::metric::{Direction, Reading};
use lab_core::report::{ChangeInterval, Judgement, PointRule, Rule, Scale};
use lab_core::tolerance::Tolerance;

use crate::change::size;
use crate::number_line::{Verdict, place_beside};

/// Judges a metric that has figures on both sides and a tolerance. `baseline` is the baseline's mean.
pub(crate) fn judge(
    rule: Rule,
    direction: Direction,
    tolerance: Tolerance,
    interval: &Reading<ChangeInterval>,
    point: PointRule,
    baseline: f64,
) -> Judgement {
    match rule {
        Rule::Contract => by_point(point),
        Rule::Interval => by_interval(direction, tolerance, interval, baseline),
    }
}

/// The contract's rule (founding document, section 7): `|change of means| ≤ tolerance`. A change beyond it is judged in
/// either direction, since "reproduced" asks for the same figure, not for a good one. A metric that is better in neither
/// direction can only change for the worse.
pub(crate) fn point_rule(
    direction: Direction,
    tolerance: Tolerance,
    baseline: f64,
    candidate: f64,
) -> PointRule {
    if tolerance.admits(baseline, candidate) {
        return PointRule::Within;
    }
    match direction {
        Direction::Higher if candidate > baseline => PointRule::BeyondBetter,
        Direction::Lower if candidate < baseline => PointRule::BeyondBetter,
        Direction::Higher | Direction::Lower | Direction::Neutral => PointRule::BeyondWorse,
    }
}

fn by_point(point: PointRule) -> Judgement {
    match point {
        PointRule::Within => Judgement::Within,
        PointRule::BeyondBetter => Judgement::BeyondBetter,
        PointRule::BeyondWorse => Judgement::BeyondWorse,
    }
}

fn by_interval(
    direction: Direction,
    tolerance: Tolerance,
    interval: &Reading<ChangeInterval>,
    baseline: f64,
) -> Judgement {
    let interval = match interval {
        Reading::Unavailable(reason) => return Judgement::Inconclusive { reason: reason.clone() },
        Reading::Value(interval) => interval,
    };
    match verdict(direction, tolerance, interval, baseline) {
        Some(Verdict::Equivalent) => Judgement::Equivalent,
        Some(Verdict::Improved) => Judgement::Improved,
        Some(Verdict::Regressed) => Judgement::Regressed,
        Some(Verdict::Inconclusive) => {
            Judgement::Inconclusive { reason: "the interval reaches over an end of the tolerance".to_owned() }
        }
        None => Judgement::Inconclusive {
            reason: "the interval is on another scale than the tolerance".to_owned(),
        },
    }
}

/// Places an interval on the number line of its tolerance; nothing where the two are on different scales.
pub(crate) fn verdict(
    direction: Direction,
    tolerance: Tolerance,
    interval: &ChangeInterval,
    baseline: f64,
) -> Option<Verdict> {
    let ((Tolerance::Relative(width), Scale::Relative) | (Tolerance::Absolute(width), Scale::Absolute)) =
        (tolerance, interval.scale)
    else {
        return None;
    };
    let baseline = size(interval.scale, baseline);
    Some(place_beside(baseline, interval.low, interval.high, width, direction))
}
