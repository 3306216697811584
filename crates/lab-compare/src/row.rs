//! One metric of a comparison: which tolerance governs it, and what follows from the figures of both sides.

use lab_core::metric::{Metric, Reading};
use lab_core::record::{Session, SessionHeader};
use lab_core::report::{Judgement, MetricComparison, PointRule, Refusal, Rule, Suspicion};
use lab_core::summary::Summary;
use lab_core::tolerance::Tolerance;

use crate::change::{self, Terms};
use crate::percentile;
use crate::rule;
use crate::summarize::figures;

/// A judged metric, and why it is refused if it is.
pub(crate) struct Row {
    pub(crate) comparison: MetricComparison,
    pub(crate) refusal: Option<Refusal>,
}

/// Judges one metric. Only a gated metric (one with a tolerance) that a single side lacks is a refusal of the report;
/// the row of any other says that it cannot be compared.
pub(crate) fn judge(
    rule: Rule,
    metric: &Metric,
    baseline: &Session,
    candidate: &Session,
    of_energy: &[Suspicion],
    terms: &Terms<'_>,
) -> Row {
    let [ours, theirs] = [baseline, candidate].map(|session| figures(session, metric));
    let tolerance = tolerance_of(metric, &baseline.header, &candidate.header, terms.gated);
    let withheld = percentile::withheld(metric, [baseline, candidate]);
    let interval = match &withheld {
        Some(reason) => Reading::Unavailable(reason.clone()),
        None => change::interval(metric, baseline, candidate, tolerance, terms),
    };
    let point_rule = point_rule(metric, tolerance, &ours, &theirs);
    let sources = different_sources(metric, baseline, candidate).filter(|_| ours.is_ok() && theirs.is_ok());
    let one_sided = || one_sided(metric, [baseline, candidate], [&ours, &theirs]);
    let refusal = tolerance.and_then(|_| sources.clone().or_else(one_sided));
    let usual = ours.as_ref().map_or(0.0, |own| own.mean);
    let judgement = match (sources, point_rule.zip(tolerance)) {
        (Some(sources), _) => Judgement::Refused { reason: sources.to_string() },
        (None, Some(_)) if metric.meter.is_some() && !of_energy.is_empty() => suspect(of_energy),
        (None, Some((point, width))) => match withheld {
            Some(reason) => Judgement::Inconclusive { reason },
            None => rule::judge(rule, metric.direction, width, &interval, point, usual),
        },
        (None, None) if tolerance.is_some() && terms.gated.is_some() => named(not_judged(&ours, &theirs)),
        (None, None) => not_judged(&ours, &theirs),
    };
    let (baseline, candidate) = (ours.ok(), theirs.ok());
    let comparison = MetricComparison {
        metric: metric.id(),
        unit: metric.unit.to_owned(),
        direction: metric.direction,
        official: metric.contract.is_official(),
        relative_change: baseline.zip(candidate).and_then(|(ours, theirs)| relative_change(&ours, &theirs)),
        baseline,
        candidate,
        tolerance,
        unofficial_tolerance: is_unofficial(tolerance, metric.tolerance),
        interval,
        point_rule,
        judgement,
    };
    Row { comparison, refusal }
}

/// Returns the tolerance that governs a metric of two sessions; none for one that is not among the gated ones.
pub(crate) fn tolerance_of(
    metric: &Metric,
    baseline: &SessionHeader,
    candidate: &SessionHeader,
    gated: Option<&[String]>,
) -> Option<Tolerance> {
    let id = metric.id();
    if gated.is_some_and(|gated| !gated.contains(&id)) {
        return None;
    }
    let own = [baseline, candidate].map(|header| header.tolerance(metric));
    governing_tolerance(metric.tolerance, own[0], own[1])
}

/// Returns whether both sides have figures of a metric with a tolerance: whether it is judged.
pub(crate) fn is_judged(
    metric: &Metric,
    baseline: &Session,
    candidate: &Session,
    gated: Option<&[String]>,
) -> bool {
    tolerance_of(metric, &baseline.header, &candidate.header, gated).is_some()
        && [baseline, candidate].iter().all(|session| figures(session, metric).is_ok())
}

fn point_rule(
    metric: &Metric,
    tolerance: Option<Tolerance>,
    baseline: &Result<Summary, String>,
    candidate: &Result<Summary, String>,
) -> Option<PointRule> {
    let (ours, theirs) = (baseline.as_ref().ok()?, candidate.as_ref().ok()?);
    Some(rule::point_rule(metric.direction, tolerance?, ours.mean, theirs.mean))
}

/// Says why a metric is not judged.
fn not_judged(baseline: &Result<Summary, String>, candidate: &Result<Summary, String>) -> Judgement {
    match (baseline, candidate) {
        (Ok(_), Ok(_)) => Judgement::Shown,
        (Err(ours), Err(theirs)) if ours == theirs => Judgement::NotJudged { reason: ours.clone() },
        (Err(ours), Err(theirs)) => {
            Judgement::NotJudged { reason: format!("baseline: {ours}; candidate: {theirs}") }
        }
        (Ok(_), Err(reason)) => Judgement::Refused { reason: format!("no value in the candidate: {reason}") },
        (Err(reason), Ok(_)) => Judgement::Refused { reason: format!("no value in the baseline: {reason}") },
    }
}

/// A gate that names a metric asks for a value of it: green means that every gated metric is inside.
fn named(judgement: Judgement) -> Judgement {
    match judgement {
        Judgement::NotJudged { reason } => Judgement::Inconclusive {
            reason: format!("the gate names it, and neither side has a value: {reason}"),
        },
        other => other,
    }
}

/// Figures of different meters are figures of different things.
fn different_sources(metric: &Metric, baseline: &Session, candidate: &Session) -> Option<Refusal> {
    let kind = metric.meter?;
    let name =
        |session: &Session| session.energy_source(kind).unwrap_or_else(|| "an unknown meter".to_owned());
    let (baseline, candidate) = (name(baseline), name(candidate));
    (baseline != candidate).then(|| Refusal::DifferentSource { metric: metric.id(), baseline, candidate })
}

/// Refuses a metric that a single side lacks.
fn one_sided(
    metric: &Metric,
    sides: [&Session; 2],
    figures: [&Result<Summary, String>; 2],
) -> Option<Refusal> {
    let (session, reason) = match figures {
        [Ok(_), Err(reason)] => (sides[1], reason),
        [Err(reason), Ok(_)] => (sides[0], reason),
        _ => return None,
    };
    let session = session.header.id.to_string();
    Some(Refusal::OneSided { metric: metric.id(), session, reason: reason.clone() })
}

/// Figures of a meter that its own rules doubt decide nothing.
fn suspect(of_energy: &[Suspicion]) -> Judgement {
    let rules: Vec<&str> = of_energy.iter().map(|own| own.rule.as_str()).collect();
    Judgement::Inconclusive { reason: format!("suspect by {}", rules.join(", ")) }
}

/// Returns the tolerance that governs a metric: tolerances are context, so two comparable sessions may carry different
/// ones, and the tighter of the two applies. Neither side can loosen what the other asks for. Of kinds that cannot be
/// ordered (a share here, a difference there) the baseline's holds, or the contract's where that is tighter or cannot be
/// ordered either. A metric that only the candidate has a tolerance for is not judged: every judged metric widens the
/// intervals of all others, and that is not for the candidate to choose.
fn governing_tolerance(
    contract: Option<Tolerance>,
    baseline: Option<Tolerance>,
    candidate: Option<Tolerance>,
) -> Option<Tolerance> {
    match (baseline, candidate) {
        (Some(ours @ Tolerance::Relative(_)), Some(theirs @ Tolerance::Relative(_)))
        | (Some(ours @ Tolerance::Absolute(_)), Some(theirs @ Tolerance::Absolute(_))) => {
            Some(if ours.is_looser_than(theirs) { theirs } else { ours })
        }
        (Some(ours), Some(_)) => contract.filter(|contract| ours.is_looser_than(*contract)).or(Some(ours)),
        (ours, _) => ours,
    }
}

fn is_unofficial(tolerance: Option<Tolerance>, contract: Option<Tolerance>) -> bool {
    tolerance.zip(contract).is_some_and(|(own, contract)| own.is_looser_than(contract))
}

fn relative_change(baseline: &Summary, candidate: &Summary) -> Option<f64> {
    (baseline.mean != 0.0).then(|| (candidate.mean - baseline.mean) / baseline.mean.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tighter_tolerance_governs_and_the_contract_breaks_a_tie_of_kinds() {
        let relative = |share| Some(Tolerance::Relative(share));
        let absolute = |difference| Some(Tolerance::Absolute(difference));
        let contract = relative(0.03);
        for (contract, baseline, candidate, expected) in [
            (contract, contract, contract, contract),
            (contract, relative(0.01), contract, relative(0.01)),
            (contract, contract, relative(0.01), relative(0.01)),
            (contract, relative(0.1), contract, contract),
            (contract, relative(0.1), relative(0.2), relative(0.1)),
            (contract, absolute(2.0), absolute(1.0), absolute(1.0)),
            (contract, absolute(2.0), contract, contract),
            (contract, relative(0.01), absolute(0.1), relative(0.01)),
            (contract, relative(0.1), absolute(0.1), contract),
            (None, relative(0.01), absolute(0.1), relative(0.01)),
            (None, relative(0.01), None, relative(0.01)),
            (None, None, absolute(0.1), None),
            (None, None, None, None),
        ] {
            assert_eq!(governing_tolerance(contract, baseline, candidate), expected);
        }
    }

    #[test]
    fn only_a_tolerance_looser_than_the_contracts_is_unofficial() {
        let contract = Some(Tolerance::Relative(0.03));
        assert!(is_unofficial(Some(Tolerance::Relative(0.04)), contract));
        assert!(is_unofficial(Some(Tolerance::Absolute(0.0)), contract));
        assert!(!is_unofficial(Some(Tolerance::Relative(0.02)), contract));
        assert!(!is_unofficial(Some(Tolerance::Relative(0.5)), None));
    }
}
