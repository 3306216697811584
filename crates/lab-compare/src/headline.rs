//! The conclusion in one plain sentence.

use lab_core::fingerprint::PartKind;
use lab_core::metric::{Contract, Reading, short_name};
use lab_core::record::ContractCoverage;
use lab_core::report::{
    ChangeInterval, Conclusion, Judgement, MetricComparison, Refusal, Report, Reservation, Side, SlowLaunches,
};
use lab_core::tolerance::change_in_words;

use crate::number_line::Verdict;
use crate::rule::verdict;
use crate::stopping::{self, MOST_PAIRS};

/// Returns the sentence: what was concluded, the changes that led there, and what the contract still lacks.
pub(crate) fn sentence(report: &Report) -> String {
    let Report { conclusion, metrics, contract, .. } = report;
    let mut clauses = match conclusion {
        Conclusion::Equivalent => vec![format!("equivalent: {}", changes(metrics, is_within))],
        Conclusion::Improved => vec![format!("improved: {}", changes(metrics, is_judged))],
        Conclusion::Regressed => vec![format!("regressed: {}", changes(metrics, is_beyond))],
        Conclusion::Reproduced => vec![format!("reproduced: {}", changes(metrics, is_within))],
        Conclusion::NotReproduced => vec![format!("not reproduced: {}", changes(metrics, is_beyond))],
        Conclusion::Inconclusive => inconclusive(report),
        Conclusion::Refused => vec![format!("refused: {}", reasons(&report.refusals))],
    };
    if *conclusion != Conclusion::Refused {
        if !contract.complete {
            clauses.push(format!("contract incomplete: {}", lacks(metrics, contract)));
        }
        clauses.extend(disturbed([&report.baseline, &report.candidate]));
        clauses.extend(report.slow_launches.filter(|own| own.candidate > own.baseline).map(slower));
    }
    clauses.join("; ")
}

/// Returns whether the interval of a metric decides, whatever else keeps it from a verdict.
fn is_decided(own: &MetricComparison) -> bool {
    let usual = own.baseline.as_ref().map_or(0.0, |own| own.mean);
    let place = |(tolerance, interval)| verdict(own.direction, tolerance, interval, usual);
    let verdict = own.tolerance.zip(own.interval.value()).and_then(place);
    verdict.is_some_and(|own| own != Verdict::Inconclusive)
}

/// Says what would decide, where the data are too few.
pub(crate) fn advice(report: &Report) -> Option<String> {
    let is_open =
        |own: &&MetricComparison| matches!(own.judgement, Judgement::Inconclusive { .. }) && !is_decided(own);
    let open: Vec<&MetricComparison> = report.metrics.iter().filter(is_open).collect();
    if report.conclusion != Conclusion::Inconclusive || open.is_empty() {
        return None;
    }
    let plan = &report.candidate.plan;
    let intervals = open.iter().map(|own| own.interval.value()).collect::<Option<Vec<&ChangeInterval>>>();
    let Some(intervals) = intervals else {
        let unknown = "how many launches would decide cannot be told from these";
        let further = in_pairs(report.vary, "measures both sides until it is decided");
        return report.paired.is_none().then(|| unknown.to_owned() + &further);
    };
    let needed = intervals.iter().map(|own| own.needed).collect::<Option<Vec<u32>>>();
    let needed = needed.and_then(|own| own.into_iter().max());
    if report.contract.id == Contract::SmokeV1.to_string() && report.paired.is_none() {
        return Some(of_command(needed, plan, report.vary));
    }
    Some(match (needed, &report.paired) {
        (Some(n), Some(_)) => match stopping::reaching(n) {
            Some(pairs) => {
                let ab = ab(report.vary).unwrap_or("lab ab PLAN");
                format!("about {n} pairs would decide: `{ab} --pairs {pairs}`")
            }
            None => format!("about {n} pairs would decide, more than an experiment has ({MOST_PAIRS})"),
        },
        (Some(n), None) if n > MOST_PAIRS => {
            let further = in_pairs(report.vary, "takes far fewer, for it measures both sides at once");
            format!("about {n} launches a side would decide{further}")
        }
        (Some(n), None) => {
            let further = in_pairs(report.vary, "takes fewer, for it measures both sides at once");
            format!(
                "about {n} launches a side would decide (`lab run PLAN --repeat {n}` for plan {plan}){further}"
            )
        }
        (None, Some(_)) => {
            "no number of pairs would decide: the change lies too near an end of the tolerance".to_owned()
        }
        (None, None) => {
            let further = in_pairs(report.vary, "measures both sides at once, without drift");
            format!(
                "no number of launches would decide: the change lies too near an end of the tolerance, or sessions drift too \
                 far{further}"
            )
        }
    })
}

/// Returns the experiment that compares what differs; none where it is the host, for both sides of one live on one.
const fn ab(vary: Option<PartKind>) -> Option<&'static str> {
    match vary {
        None => Some("lab ab PLAN"),
        Some(PartKind::Engine) => Some("lab ab PLAN --engine-a BASELINE --engine-b CANDIDATE"),
        Some(PartKind::Model | PartKind::Plan | PartKind::Backend) => Some("lab ab PLAN-A PLAN-B"),
        Some(PartKind::Hardware) => None,
    }
}

/// Returns a further clause: the experiment, and what it does better.
fn in_pairs(vary: Option<PartKind>, better: &str) -> String {
    ab(vary).map(|command| format!("; `{command}` {better}")).unwrap_or_default()
}

/// The pairs of commands are launches in turn: what they are spared is the drift between sessions.
fn of_command(needed: Option<u32>, plan: &str, vary: Option<PartKind>) -> String {
    let further = in_pairs(vary, "launches both sides in pairs, without drift");
    match needed {
        Some(n) => format!(
            "about {n} launches a side would decide (`lab run PLAN --repeat {n}` for plan {plan}){further}"
        ),
        None => format!(
            "no number of launches would decide: the change lies too near an end of the tolerance, or sessions drift \
             too far{further}"
        ),
    }
}

fn slower(own: SlowLaunches) -> String {
    let SlowLaunches { baseline, of_baseline, candidate, of_candidate, chance } = own;
    format!(
        "{candidate} of {of_candidate} launches of the candidate were slow throughout, against {baseline} of \
         {of_baseline} of the baseline (by chance: p = {chance:.2})"
    )
}

/// Says what keeps the comparison as a whole from a verdict: `the runs may have been disturbed (steal, swap)`; nothing where it
/// is for the metrics to decide.
pub(crate) fn doubt(report: &Report) -> Option<String> {
    let of_all = report.suspicions.iter().filter(|own| !own.energy_only);
    let rules: Vec<&str> = of_all.map(|own| own.rule.as_str()).collect();
    let disturbed =
        (!rules.is_empty()).then(|| format!("the runs may have been disturbed ({})", rules.join(", ")));
    let reservations = report.reservations.iter().map(Reservation::to_string);
    let doubts: Vec<String> = disturbed.into_iter().chain(reservations).collect();
    (!doubts.is_empty()).then(|| doubts.join(", "))
}

/// Says what keeps from a verdict, and what the data would say without it.
fn inconclusive(report: &Report) -> Vec<String> {
    let metrics = &report.metrics;
    if let Some(doubt) = doubt(report) {
        let otherwise = changes(metrics, |own| is_judged(own) || is_open(own));
        return vec![format!("inconclusive: {doubt}"), format!("otherwise {otherwise}")];
    }
    let mut clauses = vec![format!("inconclusive: {}", changes(metrics, is_open))];
    let others = changes(metrics, is_judged);
    clauses.extend((!others.is_empty()).then_some(others));
    clauses
}

fn is_within(judgement: &Judgement) -> bool {
    matches!(judgement, Judgement::Within | Judgement::Equivalent)
}

fn is_beyond(judgement: &Judgement) -> bool {
    use Judgement::{BeyondBetter, BeyondWorse, Improved, Regressed};
    matches!(judgement, BeyondBetter | BeyondWorse | Improved | Regressed)
}

fn is_judged(judgement: &Judgement) -> bool {
    is_within(judgement) || is_beyond(judgement)
}

fn is_open(judgement: &Judgement) -> bool {
    matches!(judgement, Judgement::Inconclusive { .. })
}

/// Says how many repetitions were disturbed. What is invalid entered nothing.
fn disturbed(sides: [&Side; 2]) -> Vec<String> {
    let sum = |of: fn(&Side) -> usize| sides.iter().map(|side| of(side)).sum::<usize>();
    let (suspect, invalid, completed) =
        (sum(|own| own.suspect), sum(|own| own.invalid), sum(|own| own.completed));
    let suspects =
        (suspect > 0).then(|| format!("{suspect} of {} repetitions are suspect", completed - invalid));
    let invalids = (invalid > 0).then(|| format!("{invalid} of {completed} are invalid and left out"));
    suspects.into_iter().chain(invalids).collect()
}

fn changes(metrics: &[MetricComparison], is_meant: fn(&Judgement) -> bool) -> String {
    let meant = metrics.iter().filter(|metric| is_meant(&metric.judgement));
    meant.map(change).collect::<Vec<_>>().join(", ")
}

/// Words one judged metric: `tokens_per_sec changed by -4.2 % for the worse (tolerance 3 %)`, with the interval where
/// that decides.
pub(crate) fn change(comparison: &MetricComparison) -> String {
    let direction = match comparison.judgement {
        Judgement::BeyondBetter | Judgement::Improved => " for the better",
        Judgement::BeyondWorse | Judgement::Regressed => " for the worse",
        _ => "",
    };
    let tolerance = comparison.tolerance.map(|own| own.in_unit(&comparison.unit)).unwrap_or_default();
    let unofficial = if comparison.unofficial_tolerance { "unofficial " } else { "" };
    let name = short_name(&comparison.metric);
    let (amount, interval) = amount(comparison);
    format!("{name} changed {amount}{direction} ({interval}{unofficial}tolerance {tolerance})")
}

/// Words a change and its interval: that of the rule that decided, the other way round the contract's would be quoted
/// with the figures of another.
fn amount(comparison: &MetricComparison) -> (String, String) {
    let by_interval =
        !matches!(comparison.judgement, Judgement::Within | Judgement::BeyondBetter | Judgement::BeyondWorse);
    if let (true, Reading::Value(interval)) = (by_interval, &comparison.interval) {
        let ChangeInterval { scale, estimate, low, high, confidence, .. } = interval;
        let in_words = |own: f64| scale.in_words(own, comparison.tolerance, &comparison.unit);
        let percent = confidence * 100.0;
        let ends = format!("{percent:.0} % interval {} to {}, ", in_words(*low), in_words(*high));
        return (format!("by {}", in_words(*estimate)), ends);
    }
    let amount = match (comparison.relative_change, comparison.baseline, comparison.candidate) {
        (Some(change), _, _) => format!("by {}", change_in_words(change, comparison.tolerance)),
        (None, Some(ours), Some(theirs)) => format!("from {} to {}", ours.mean, theirs.mean),
        (None, _, _) => "without a figure".to_owned(),
    };
    let why = match (&comparison.judgement, &comparison.interval) {
        (Judgement::Inconclusive { .. }, Reading::Unavailable(reason)) => format!("no interval: {reason}; "),
        _ => String::new(),
    };
    (amount, why)
}

fn lacks(metrics: &[MetricComparison], contract: &ContractCoverage) -> String {
    let is_gated = |name: &str| {
        metrics.iter().any(|own| own.official && own.tolerance.is_some() && short_name(&own.metric) == name)
    };
    let word = |name: &String| {
        let state = if is_gated(name) { "not judged" } else { "unavailable" };
        format!("{name} {state}")
    };
    contract.missing.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn reasons(refusals: &[Refusal]) -> String {
    let fields: Vec<(PartKind, &str)> = refusals
        .iter()
        .filter_map(|refusal| match refusal {
            Refusal::Fingerprint(difference) if !difference.is_unknown() => {
                Some((difference.part, difference.field.as_str()))
            }
            _ => None,
        })
        .collect();
    let parts = PartKind::ALL.iter().filter_map(|part| different_part(*part, &fields));
    let is_difference =
        |refusal: &&Refusal| matches!(refusal, Refusal::Fingerprint(difference) if !difference.is_unknown());
    let others = refusals.iter().filter(|refusal| !is_difference(refusal));
    parts.chain(others.map(Refusal::to_string)).collect::<Vec<_>>().join(", ")
}

/// Words the differences of one part: `engine differs in build and version`.
fn different_part(part: PartKind, fields: &[(PartKind, &str)]) -> Option<String> {
    let names: Vec<&str> = fields.iter().filter(|(own, _)| *own == part).map(|(_, field)| *field).collect();
    (!names.is_empty()).then(|| format!("{part} differs in {}", names.join(" and ")))
}
