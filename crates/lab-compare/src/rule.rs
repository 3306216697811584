//! Rules: how the figures of two sides become a judgement of one metric.
//!
//! Today there is one rule, the contract's point rule. A rule that judges by an interval around the change, and may
//! answer "inconclusive", is a further variant of [`Rule`] and a further arm of [`judge`]; nothing else changes.

use lab_core::metric::Direction;
use lab_core::report::{Judgement, Rule};
use lab_core::summary::Summary;
use lab_core::tolerance::Tolerance;

/// Judges a metric that has figures on both sides and a tolerance.
pub(crate) fn judge(
    rule: Rule,
    direction: Direction,
    tolerance: Tolerance,
    baseline: &Summary,
    candidate: &Summary,
) -> Judgement {
    match rule {
        Rule::Contract => by_point(direction, tolerance, baseline.mean, candidate.mean),
    }
}

/// The contract's rule (founding document, section 7): `|change of means| ≤ tolerance`. A change beyond it is judged in
/// either direction, since "reproduced" asks for the same figure, not for a good one. A metric that is better in neither
/// direction can only change for the worse.
fn by_point(direction: Direction, tolerance: Tolerance, baseline: f64, candidate: f64) -> Judgement {
    if tolerance.admits(baseline, candidate) {
        return Judgement::Within;
    }
    match direction {
        Direction::Higher if candidate > baseline => Judgement::BeyondBetter,
        Direction::Lower if candidate < baseline => Judgement::BeyondBetter,
        Direction::Higher | Direction::Lower | Direction::Neutral => Judgement::BeyondWorse,
    }
}
