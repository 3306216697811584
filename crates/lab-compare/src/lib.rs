//! Numbers in, verdict out: two recorded sessions are judged against tolerances, or refused.
//!
//! Everything is a pure function of the two recordings, so the same recordings give the same report, byte for byte, on
//! any machine (invariant I8). The order of precedence is fixed: sessions that may not be compared are refused before
//! any figure is looked at; a metric beyond its tolerance decides next; a gated metric that one side lacks refuses last.
//!
//! Nothing here does I/O, prints, or knows an exit status.

mod headline;
pub mod paired;
mod refusal;
mod row;
mod rule;
mod summarize;
mod suspicion;

pub use summarize::{summarize, summarize_session};

use lab_core::energy::MeterKind;
use lab_core::metric::{METRICS, primary_first};
use lab_core::record::{ContractCoverage, Session};
use lab_core::report::{
    Conclusion, Judgement, MetricComparison, REPORT_SCHEMA, Refusal, Report, Rule, Side, Suspicion,
};
use lab_core::validity::Validity;

use crate::row::Row;

/// What a comparison lets pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Rules of validity whose suspicion does not keep from a verdict.
    pub admitted: Vec<String>,
}

/// Judges a candidate session against a baseline by the contract's point rule: does it reproduce?
///
/// Refused sessions get their reasons and no metric rows. A report in which a mandatory metric was not judged says so in
/// its headline and in `contract`; it is never a plain pass. Suspect repetitions keep from a verdict unless the policy
/// admits every rule that made them so; invalid ones are not looked at.
pub fn compare(baseline: &Session, candidate: &Session, policy: &Policy) -> Report {
    let rule = Rule::Contract;
    let mut refusals = refusal::of_sessions(baseline, candidate);
    let (suspicions, of_energy) = suspicion::of_sessions(baseline, candidate, policy);
    let rows =
        if refusals.is_empty() { judge_all(rule, baseline, candidate, &of_energy) } else { Vec::new() };
    let is_refused_whole = !refusals.is_empty();
    refusals.extend(rows.iter().filter_map(|row| row.refusal.clone()));
    let metrics: Vec<MetricComparison> = rows.into_iter().map(|row| row.comparison).collect();
    let conclusion = match conclude(&metrics, &mut refusals) {
        _ if is_refused_whole => Conclusion::Refused,
        _ if !suspicions.is_empty() => Conclusion::Inconclusive,
        conclusion => conclusion,
    };
    let contract = shared_coverage(baseline, candidate);
    let (baseline_side, candidate_side) = (side(baseline), side(candidate));
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        title: "contract comparison".to_owned(),
        rule,
        conclusion,
        headline: headline::sentence(
            conclusion,
            &refusals,
            &metrics,
            &contract,
            &suspicions,
            [&baseline_side, &candidate_side],
        ),
        admitted: policy.admitted.clone(),
        suspicions: [suspicions, of_energy].concat(),
        baseline: baseline_side,
        candidate: candidate_side,
        contract,
        refusals,
        metrics,
        context_differences: refusal::context_differences(baseline, candidate),
    }
}

fn judge_all(rule: Rule, baseline: &Session, candidate: &Session, of_energy: &[Suspicion]) -> Vec<Row> {
    primary_first().map(|metric| row::judge(rule, metric, baseline, candidate, of_energy)).collect()
}

/// Folds the rows of sessions that may be compared. Adds a refusal when nothing at all was judged: a comparison without
/// a judged metric is no pass.
fn conclude(metrics: &[MetricComparison], refusals: &mut Vec<Refusal>) -> Conclusion {
    let any = |matches: fn(&Judgement) -> bool| metrics.iter().any(|metric| matches(&metric.judgement));
    if any(|judgement| matches!(judgement, Judgement::BeyondBetter | Judgement::BeyondWorse)) {
        return Conclusion::NotReproduced;
    }
    if any(|judgement| matches!(judgement, Judgement::Inconclusive { .. })) && refusals.is_empty() {
        return Conclusion::Inconclusive;
    }
    if !any(|judgement| matches!(judgement, Judgement::Within)) && refusals.is_empty() {
        refusals.push(Refusal::NothingJudged);
    }
    if refusals.is_empty() { Conclusion::Reproduced } else { Conclusion::Refused }
}

/// A mandatory metric that either side lacks is missing from the comparison.
fn shared_coverage(baseline: &Session, candidate: &Session) -> ContractCoverage {
    let (ours, theirs) = (baseline.missing_mandatory(), candidate.missing_mandatory());
    let lacked = |name: &&str| ours.contains(name) || theirs.contains(name);
    ContractCoverage::missing(METRICS.iter().map(|metric| metric.name).filter(lacked).collect())
}

fn side(session: &Session) -> Side {
    let header = &session.header;
    Side {
        session: header.id.to_string(),
        plan: header.plan_name.clone(),
        model: header.model_name.clone(),
        started_at: header.started_at.to_string(),
        status: session.status().to_string(),
        completed: session.completed().count(),
        asked: header.repeat,
        suspect: count(session, |validity| matches!(validity, Validity::Suspect(_))),
        invalid: count(session, |validity| matches!(validity, Validity::Invalid(_))),
        energy_source: session.energy_source(MeterKind::Measured),
        rules: session.header.instruments.as_ref().map(|own| own.rules.clone()),
    }
}

fn count(session: &Session, is_meant: fn(&Validity) -> bool) -> usize {
    session.completed().filter(|(_, completed)| is_meant(&completed.validity)).count()
}

#[cfg(test)]
mod tests;
