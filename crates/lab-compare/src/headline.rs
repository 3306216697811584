//! The conclusion in one plain sentence.

use lab_core::fingerprint::PartKind;
use lab_core::metric::short_name;
use lab_core::record::ContractCoverage;
use lab_core::report::{Conclusion, Judgement, MetricComparison, Refusal, Side, Suspicion};
use lab_core::tolerance::change_in_words;

/// Returns the sentence: what was concluded, the changes that led there, and what the contract still lacks.
pub(crate) fn sentence(
    conclusion: Conclusion,
    refusals: &[Refusal],
    metrics: &[MetricComparison],
    contract: &ContractCoverage,
    suspicions: &[Suspicion],
    sides: [&Side; 2],
) -> String {
    let mut clauses = match conclusion {
        Conclusion::Reproduced => vec![format!("reproduced: {}", changes(metrics, Verdict::Within))],
        Conclusion::NotReproduced => vec![format!("not reproduced: {}", changes(metrics, Verdict::Beyond))],
        Conclusion::Inconclusive => {
            vec![inconclusive(suspicions), format!("otherwise {}", all_changes(metrics))]
        }
        Conclusion::Refused => vec![format!("refused: {}", reasons(refusals))],
    };
    if conclusion != Conclusion::Refused && !contract.complete {
        clauses.push(format!("contract incomplete: {}", lacks(metrics, contract)));
    }
    if conclusion != Conclusion::Refused {
        clauses.extend(disturbed(sides));
    }
    clauses.join("; ")
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

/// Says what keeps from a verdict: `inconclusive: disturbed by steal, swap`.
fn inconclusive(suspicions: &[Suspicion]) -> String {
    let rules: Vec<&str> = suspicions.iter().map(|own| own.rule.as_str()).collect();
    format!("inconclusive: the runs may have been disturbed ({})", rules.join(", "))
}

fn all_changes(metrics: &[MetricComparison]) -> String {
    let changes = [Verdict::Beyond, Verdict::Within].map(|wanted| changes(metrics, wanted));
    changes.into_iter().filter(|own| !own.is_empty()).collect::<Vec<_>>().join(", ")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Within,
    Beyond,
}

fn changes(metrics: &[MetricComparison], wanted: Verdict) -> String {
    let verdict = |metric: &&MetricComparison| match metric.judgement {
        Judgement::Within => wanted == Verdict::Within,
        Judgement::BeyondBetter | Judgement::BeyondWorse => wanted == Verdict::Beyond,
        _ => false,
    };
    let changes: Vec<String> = metrics.iter().filter(verdict).map(change).collect();
    changes.join(", ")
}

/// Words one judged metric: `tokens_per_sec changed by -4.2 % for the worse (tolerance 3 %)`.
fn change(comparison: &MetricComparison) -> String {
    let amount = match (comparison.relative_change, comparison.baseline, comparison.candidate) {
        (Some(change), _, _) => format!("by {}", change_in_words(change, comparison.tolerance)),
        (None, Some(ours), Some(theirs)) => format!("from {} to {}", ours.mean, theirs.mean),
        (None, _, _) => "without a figure".to_owned(),
    };
    let direction = match comparison.judgement {
        Judgement::BeyondBetter => " for the better",
        Judgement::BeyondWorse => " for the worse",
        _ => "",
    };
    let tolerance = comparison.tolerance.map(|own| own.in_unit(&comparison.unit)).unwrap_or_default();
    let unofficial = if comparison.unofficial_tolerance { "unofficial " } else { "" };
    let name = short_name(&comparison.metric);
    format!("{name} changed {amount}{direction} ({unofficial}tolerance {tolerance})")
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
