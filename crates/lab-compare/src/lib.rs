//! Numbers in, verdict out: two recorded sessions are judged against tolerances, or refused.
//!
//! Everything is a pure function of the two recordings, so the same recordings give the same report, byte for byte, on
//! any machine (invariant I8). The order of precedence is fixed: sessions that may not be compared are refused before
//! any figure is looked at; a metric beyond its tolerance decides next; a gated metric that one side lacks refuses last.
//! How intervals are made and what they are worth is in `docs/comparison.md`.
//!
//! Nothing here does I/O, prints, or knows an exit status.

mod change;
pub mod change_point;
pub mod check;
mod draw;
pub mod drift;
pub mod foresee;
pub mod gate;
mod headline;
pub mod history;
pub mod launches;
pub mod location;
pub mod need;
pub mod noise;
pub mod number_line;
pub mod paired;
pub mod pairs;
mod percentile;
pub mod rates;
mod refusal;
mod reservation;
mod row;
mod rule;
pub mod slow;
pub mod steps;
pub mod stopping;
mod summarize;
mod suspicion;

pub use summarize::{summarize, summarize_session};

use std::collections::BTreeMap;

use lab_core::energy::MeterKind;
use lab_core::fingerprint::PartKind;
use lab_core::metric::{Contract, find, primary_first};
use lab_core::plan::GateSpec;
use lab_core::record::{ContractCoverage, RecordedRepetition, Session};
use lab_core::report::{
    Conclusion, Drift, Judgement, MetricComparison, Paired, REPORT_SCHEMA, Refusal, Report, Reservation,
    Rule, Side, SlowLaunches, Suspicion,
};
use lab_core::validity::Validity;

use crate::change::Terms;
use crate::foresee::Calibrations;
use crate::pairs::Pairs;
use crate::row::Row;
use crate::stopping::CONFIDENCE;

/// How two sessions are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The rule that decides.
    pub rule: Rule,
    /// The part of the fingerprint that is declared to differ; none asks whether the baseline is reproduced.
    pub vary: Option<PartKind>,
    /// Rules of validity whose suspicion does not keep from a verdict.
    pub admitted: Vec<String>,
    /// What sessions of this machine and engine differ by, by full metric id; unknown where there is no entry.
    pub drifts: BTreeMap<String, Drift>,
    /// Whether the sessions are still being measured and are looked at by their stopping plan: how they will end is not
    /// known, and nothing is held against them for it.
    pub at_look: bool,
    /// What calibration says that the host supports.
    pub calibrations: Calibrations,
    /// What a plan demands: which metrics are judged, and what different output comes to.
    pub gate: GateSpec,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rule: Rule::Interval,
            vary: None,
            admitted: Vec::new(),
            drifts: BTreeMap::new(),
            at_look: false,
            calibrations: Calibrations::default(),
            gate: GateSpec::default(),
        }
    }
}

/// Judges a candidate session against a baseline.
///
/// Refused sessions get their reasons and no metric rows. A report in which a mandatory metric was not judged says so in
/// its headline and in `contract`; it is never a plain pass. Suspect repetitions keep from a verdict unless the policy
/// admits every rule that made them so; invalid ones are not looked at.
pub fn compare(baseline: &Session, candidate: &Session, policy: &Policy) -> Report {
    let (refusals, varied) = refusal::of_sessions(baseline, candidate, policy);
    let (suspicions, of_energy) = suspicion::of_sessions(baseline, candidate, policy);
    let pairs =
        pairs::are_sides(baseline, candidate).then(|| Pairs::of(baseline, candidate, &policy.admitted));
    let is_refused_whole = !refusals.is_empty();
    let paired =
        pairs.as_ref().filter(|_| !is_refused_whole).and_then(|own| paired_of(own, baseline, candidate));
    let Judged { conclusion, metrics, refusals, reservations } = match is_refused_whole {
        true => Judged::refused(refusals),
        false => judge(baseline, candidate, policy, pairs.as_ref(), &suspicions, &of_energy),
    };
    let report = Report {
        schema: REPORT_SCHEMA.to_owned(),
        title: title(policy.vary).to_owned(),
        vary: policy.vary,
        varied,
        rule: policy.rule,
        conclusion,
        headline: String::new(),
        advice: None,
        support: None,
        paired,
        slow_launches: slow_launches(pairs.as_ref(), baseline, candidate),
        admitted: policy.admitted.clone(),
        suspicions: [suspicions, of_energy].concat(),
        reservations,
        baseline: side(baseline),
        candidate: side(candidate),
        contract: shared_coverage(baseline, candidate),
        refusals,
        metrics,
        context_differences: refusal::context_differences(baseline, candidate),
    };
    worded(policy, report)
}

/// Returns whether the uninterrupted repetitions of an experiment so far lie so near to its pairs that further ones could
/// contradict nothing that matters ([`Pairs::is_confirmed`]).
pub fn is_confirmed(baseline: &Session, candidate: &Session, policy: &Policy) -> bool {
    let tolerance = reservation::speed_tolerance(baseline, candidate);
    pairs::are_sides(baseline, candidate)
        && Pairs::of(baseline, candidate, &policy.admitted).is_confirmed(tolerance)
}

/// Returns whether the uninterrupted repetitions of an experiment so far contradict its pairs ([`Pairs::is_contradicted`]).
pub fn is_contradicted(baseline: &Session, candidate: &Session, policy: &Policy) -> bool {
    let tolerance = reservation::speed_tolerance(baseline, candidate);
    pairs::are_sides(baseline, candidate)
        && Pairs::of(baseline, candidate, &policy.admitted).is_contradicted(tolerance)
}

/// What two sessions come to.
struct Judged {
    conclusion: Conclusion,
    metrics: Vec<MetricComparison>,
    refusals: Vec<Refusal>,
    reservations: Vec<Reservation>,
}

impl Judged {
    /// What sessions come to that may not be compared: no figure is looked at.
    fn refused(refusals: Vec<Refusal>) -> Self {
        Self { conclusion: Conclusion::Refused, metrics: Vec::new(), refusals, reservations: Vec::new() }
    }
}

/// Judges sessions that may be compared, metric by metric and as a whole.
fn judge(
    baseline: &Session,
    candidate: &Session,
    policy: &Policy,
    pairs: Option<&Pairs>,
    suspicions: &[Suspicion],
    of_energy: &[Suspicion],
) -> Judged {
    let rows = rows(baseline, candidate, policy, pairs, of_energy);
    let mut refusals: Vec<Refusal> = rows.iter().filter_map(|row| row.refusal.clone()).collect();
    let metrics: Vec<MetricComparison> = rows.into_iter().map(|row| row.comparison).collect();
    let conclusion = conclude(&metrics, &mut refusals);
    let reservations = match (policy.at_look, pairs) {
        (true, Some(_)) => Vec::new(),
        // Only the candidate is still being measured.
        (true, None) => reservation::of_sessions(None, baseline, baseline, &metrics),
        (false, _) => reservation::of_sessions(pairs, baseline, candidate, &metrics),
    };
    let is_in_doubt = !suspicions.is_empty() || !reservations.is_empty();
    let conclusion = if is_in_doubt { Conclusion::Inconclusive } else { conclusion };
    Judged { conclusion, metrics, refusals, reservations }
}

/// Judges every metric of the table by itself.
fn rows(
    baseline: &Session,
    candidate: &Session,
    policy: &Policy,
    pairs: Option<&Pairs>,
    of_energy: &[Suspicion],
) -> Vec<Row> {
    let gated = policy.gate.metrics.as_deref();
    let metrics = || baseline.header.work.metrics();
    let terms = Terms {
        confidence: confidence(baseline, candidate),
        n_judged: metrics().filter(|metric| row::is_judged(metric, baseline, candidate, gated)).count(),
        drifts: &policy.drifts,
        pairs,
        noise: baseline.header.experiment.as_ref().map(|own| own.noise).unwrap_or_default(),
        gated,
    };
    let judged = |metric| row::judge(policy.rule, metric, baseline, candidate, of_energy, &terms);
    primary_first(metrics()).map(judged).collect()
}

/// Puts into words what a report says in figures.
fn worded(policy: &Policy, report: Report) -> Report {
    let (headline, advice) = (headline::sentence(&report), headline::advice(&report));
    let support = policy.calibrations.support(n_launches(&report));
    Report { headline, advice, support, ..report }
}

/// Returns how many launches a side the judged intervals rest on: the fewest; 0 where there is no interval.
fn n_launches(report: &Report) -> usize {
    let judged = report.metrics.iter().filter(|own| own.tolerance.is_some());
    let n = judged.filter_map(|own| own.interval.value().map(|own| own.n_baseline.min(own.n_candidate)));
    n.min().unwrap_or(0)
}

const fn title(vary: Option<PartKind>) -> &'static str {
    match vary {
        None => "contract comparison",
        Some(_) => "change experiment",
    }
}

/// Returns how sure an interval must be. A session that stopped by looking at its data pays for it ever after.
fn confidence(baseline: &Session, candidate: &Session) -> f64 {
    let plans = [baseline, candidate].map(|session| session.header.stopping());
    plans.into_iter().flatten().map(|own| own.look_confidence).fold(CONFIDENCE, f64::max)
}

fn paired_of(pairs: &Pairs, baseline: &Session, candidate: &Session) -> Option<Paired> {
    let experiment = baseline.header.experiment.as_ref()?;
    let log_ratios = pairs.log_ratios();
    let counted = || pairs.pairs.iter().filter(|pair| pair.log_ratio.is_some());
    Some(Paired {
        experiment: experiment.id.to_string(),
        mode: experiment.mode,
        pairs: log_ratios.len(),
        pairs_left_out: pairs.pairs.len() - log_ratios.len(),
        turns: counted().map(|pair| pair.n_turns).sum(),
        turns_left_out: counted().map(|pair| pair.n_left_out).sum(),
        changes: log_ratios.iter().map(|own| own.exp_m1()).collect(),
        stopping: experiment.stopping.clone(),
        noise: experiment.noise,
        uninterrupted: pairs.uninterrupted().map(f64::exp_m1),
        uninterrupted_changes: pairs.closing.iter().map(|own| own.exp_m1()).collect(),
        contradicted: pairs.is_contradicted(reservation::speed_tolerance(baseline, candidate)),
    })
}

/// Looks at whole executions, launch by launch.
fn slow_launches(pairs: Option<&Pairs>, baseline: &Session, candidate: &Session) -> Option<SlowLaunches> {
    let times = match pairs {
        Some(pairs) => [0, 1].map(|side| pairs.pairs.iter().map(|pair| pair.total_ns[side]).collect()),
        None => [baseline, candidate].map(execution_times),
    };
    let [ours, theirs]: [Vec<f64>; 2] = times;
    slow::slow_launches(&ours, &theirs)
}

/// Returns the mean time of an execution in each launch; nothing where nothing was executed here.
fn execution_times(session: &Session) -> Vec<f64> {
    let total = match session.header.work.contract() {
        Contract::EngineV0_1 | Contract::LabV1 => "engine.v0.1/latency_total_ms",
        Contract::SmokeV1 => "smoke.v1/elapsed_sec",
        Contract::WorkflowV1 | Contract::DeviceV1 => return Vec::new(),
    };
    let metric = find(total).expect("the contract has a total time");
    launches::launch_means(session, metric).iter().map(|own| own.mean).collect()
}

/// Folds the rows of sessions that may be compared. Adds a refusal when nothing at all was judged: a comparison without
/// a judged metric is no pass.
fn conclude(metrics: &[MetricComparison], refusals: &mut Vec<Refusal>) -> Conclusion {
    let any = |matches: fn(&Judgement) -> bool| metrics.iter().any(|metric| matches(&metric.judgement));
    if any(|judgement| matches!(judgement, Judgement::Regressed)) {
        return Conclusion::Regressed;
    }
    if any(|judgement| matches!(judgement, Judgement::BeyondBetter | Judgement::BeyondWorse)) {
        return Conclusion::NotReproduced;
    }
    if any(|judgement| matches!(judgement, Judgement::Inconclusive { .. })) {
        return Conclusion::Inconclusive;
    }
    let is_judged =
        |own: &Judgement| matches!(own, Judgement::Within | Judgement::Equivalent | Judgement::Improved);
    if !metrics.iter().any(|metric| is_judged(&metric.judgement)) && refusals.is_empty() {
        refusals.push(Refusal::NothingJudged);
    }
    match refusals.is_empty() {
        false => Conclusion::Refused,
        true if any(|judgement| matches!(judgement, Judgement::Improved)) => Conclusion::Improved,
        true if any(|judgement| matches!(judgement, Judgement::Equivalent)) => Conclusion::Equivalent,
        true => Conclusion::Reproduced,
    }
}

/// A mandatory metric that either side lacks is missing from the comparison.
fn shared_coverage(baseline: &Session, candidate: &Session) -> ContractCoverage {
    let (ours, theirs) = (baseline.missing_mandatory(), candidate.missing_mandatory());
    let lacked = |name: &&str| ours.contains(name) || theirs.contains(name);
    let work = &baseline.header.work;
    ContractCoverage::missing(
        work.contract(),
        work.metrics().map(|metric| metric.name).filter(lacked).collect(),
    )
}

fn side(session: &Session) -> Side {
    let header = &session.header;
    Side {
        session: header.id.to_string(),
        plan: header.plan_name.clone(),
        model: header.model_name.clone(),
        started_at: header.started_at.to_string(),
        status: session.status().to_string(),
        completed: counted(session).count(),
        asked: header.repeat,
        suspect: count(session, |validity| matches!(validity, Validity::Suspect(_))),
        invalid: count(session, |validity| matches!(validity, Validity::Invalid(_))),
        energy_source: session.energy_source(MeterKind::Measured),
        rules: session.header.instruments.as_ref().map(|own| own.rules.clone()),
    }
}

/// Returns the completed measured repetitions of a side; of one in lock-step, those generated in turn.
fn counted(session: &Session) -> impl Iterator<Item = &RecordedRepetition> {
    let is_lock_step = session.is_lock_step();
    session.succeeded().filter(move |recorded| recorded.is_in_turn() == is_lock_step)
}

fn count(session: &Session, is_meant: fn(&Validity) -> bool) -> usize {
    let validities = counted(session).filter_map(|recorded| recorded.repetition.outcome.validity());
    validities.filter(|validity| is_meant(validity)).count()
}

#[cfg(test)]
mod tests;
