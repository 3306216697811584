//! A comparison of two sessions.

use lab_core::fingerprint::Difference;
use lab_core::metric::{find, short_name};
use lab_core::report::{Conclusion, Judgement, MetricComparison, Refusal, Report, Side, Suspicion};
use lab_core::summary::Summary;
use lab_core::tolerance::change_in_words;
use serde_json::Value;

use super::session::spread;
use super::{ABSENT, Block, Grid, Page, Row, Text, Tone, numbers, words};
use crate::quantity::format_value;

/// Digits of a digest that a table shows; the JSON document has all.
const DIGEST_DIGITS: usize = 12;

/// Lays out a report: both sides, what refuses, the figures, and the headline last, where the eye ends up.
pub fn report(report: &Report) -> Page {
    let mut blocks = vec![
        Block::Title(report.title.clone()),
        Block::Facts(vec![
            ("baseline".to_owned(), Text::plain(side(&report.baseline))),
            ("candidate".to_owned(), Text::plain(side(&report.candidate))),
        ]),
    ];
    blocks.extend(refused_fields(&report.refusals));
    blocks.extend(lines(other_refusals(&report.refusals)));
    if !report.metrics.is_empty() {
        blocks.push(Block::Grid(metrics(&report.metrics)));
    }
    blocks.extend(lines(notes(report)));
    blocks.push(Block::Lines(vec![Text::toned(report.headline.clone(), tone(report.conclusion))]));
    Page(blocks)
}

fn lines(lines: Vec<Text>) -> Option<Block> {
    (!lines.is_empty()).then_some(Block::Lines(lines))
}

fn side(side: &Side) -> String {
    let Side {
        session,
        plan,
        model,
        started_at,
        status,
        completed,
        asked,
        suspect,
        invalid,
        energy_source,
        rules: _,
    } = side;
    let count = |n: usize, word: &str| if n > 0 { format!(", {n} {word}") } else { String::new() };
    let disturbed = count(*suspect, "suspect") + &count(*invalid, "invalid");
    let energy = energy_source.as_ref().map_or_else(String::new, |source| format!(", energy by {source}"));
    format!(
        "{session}, plan {plan}, model {model}, started {started_at}, {status}, {completed} of {asked}{disturbed}{energy}"
    )
}

fn tone(conclusion: Conclusion) -> Tone {
    match conclusion {
        Conclusion::Reproduced => Tone::Good,
        Conclusion::NotReproduced => Tone::Bad,
        Conclusion::Refused | Conclusion::Inconclusive => Tone::Doubtful,
    }
}

fn refused_fields(refusals: &[Refusal]) -> Option<Block> {
    let columns = vec![words("part"), words("field"), words("baseline"), words("candidate")];
    let row = |refusal: &Refusal| match refusal {
        Refusal::Fingerprint(difference) => Some(difference_row(difference)),
        _ => None,
    };
    let rows: Vec<Row> = refusals.iter().filter_map(row).collect();
    (!rows.is_empty()).then_some(Block::Grid(Grid { columns, rows }))
}

fn difference_row(difference: &Difference) -> Row {
    let cells = vec![
        difference.part.to_string(),
        difference.field.clone(),
        value(difference.baseline.as_ref()),
        value(difference.candidate.as_ref()),
    ];
    Row { cells, tone: Tone::Plain }
}

fn value(value: Option<&Value>) -> String {
    let Some(text) = value.map(crate::value_text) else { return "absent".to_owned() };
    if value.is_some_and(Value::is_null) {
        return "unknown".to_owned();
    }
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { format!("{}…", &text[..DIGEST_DIGITS]) } else { text }
}

fn other_refusals(refusals: &[Refusal]) -> Vec<Text> {
    let others = refusals.iter().filter(|refusal| !matches!(refusal, Refusal::Fingerprint(_)));
    others.map(|refusal| Text::toned(format!("refused: {}", detail(refusal)), Tone::Doubtful)).collect()
}

fn detail(refusal: &Refusal) -> String {
    let token = |id: &Option<u32>| id.map_or("the end".to_owned(), |id| format!("token id {id}"));
    match refusal {
        Refusal::DifferentOutput { baseline, candidate, .. } => {
            format!("{refusal} (baseline: {}, candidate: {})", token(baseline), token(candidate))
        }
        Refusal::UnstableOutput { first, other, .. } => {
            format!("{refusal} (first: {}, here: {})", token(first), token(other))
        }
        _ => refusal.to_string(),
    }
}

fn metrics(metrics: &[MetricComparison]) -> Grid {
    let columns = vec![
        words("metric"),
        numbers("n"),
        numbers("baseline"),
        numbers("spread"),
        numbers("n"),
        numbers("candidate"),
        numbers("spread"),
        numbers("change"),
        numbers("tolerance"),
        words("judgement"),
    ];
    let is_shown = |own: &&MetricComparison| own.tolerance.is_some() || !is_detail(&own.metric);
    Grid { columns, rows: metrics.iter().filter(is_shown).map(metric_row).collect() }
}

fn metric_row(metric: &MetricComparison) -> Row {
    let change = metric.relative_change.map(|change| change_in_words(change, metric.tolerance));
    let mark = if metric.unofficial_tolerance { "*" } else { "" };
    let tolerance = metric.tolerance.map(|own| format!("{}{mark}", own.in_unit(&metric.unit)));
    let (judgement, tone) = judgement(&metric.judgement);
    let mut cells = vec![bare_name(&metric.metric).to_owned()];
    cells.extend(side_cells(metric.baseline.as_ref(), &metric.unit));
    cells.extend(side_cells(metric.candidate.as_ref(), &metric.unit));
    cells.push(change.unwrap_or_else(|| ABSENT.to_owned()));
    cells.push(tolerance.unwrap_or_else(|| ABSENT.to_owned()));
    cells.push(judgement.to_owned());
    Row { cells, tone }
}

fn side_cells(summary: Option<&Summary>, unit: &str) -> [String; 3] {
    match summary {
        Some(summary) => [summary.n.to_string(), format_value(summary.mean, unit), spread(summary)],
        None => [ABSENT; 3].map(str::to_owned),
    }
}

fn judgement(judgement: &Judgement) -> (&'static str, Tone) {
    match judgement {
        Judgement::Within => ("within", Tone::Good),
        Judgement::BeyondBetter => ("better", Tone::Doubtful),
        Judgement::BeyondWorse => ("worse", Tone::Bad),
        Judgement::Shown => ("shown", Tone::Plain),
        Judgement::Inconclusive { .. } => ("inconclusive", Tone::Doubtful),
        Judgement::NotJudged { .. } => ("not judged", Tone::Doubtful),
        Judgement::Refused { .. } => ("refused", Tone::Doubtful),
    }
}

/// Returns whether a metric explains a result and is none itself.
fn is_detail(id: &str) -> bool {
    find(id).is_some_and(|metric| metric.detail)
}

/// A table of one comparison has room for a metric's name only; names are unique across contracts.
fn bare_name(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, name)| name)
}

fn notes(report: &Report) -> Vec<Text> {
    let reasons = report.metrics.iter().filter_map(|metric| match &metric.judgement {
        Judgement::Inconclusive { reason } => {
            Some(format!("{} inconclusive: {reason}", bare_name(&metric.metric)))
        }
        Judgement::NotJudged { .. } | Judgement::Refused { .. } if is_detail(&metric.metric) => None,
        Judgement::NotJudged { reason } => {
            Some(format!("{} not judged: {reason}", bare_name(&metric.metric)))
        }
        Judgement::Refused { reason } => Some(format!("{} refused: {reason}", bare_name(&metric.metric))),
        _ => None,
    });
    let unofficial: Vec<&str> = report
        .metrics
        .iter()
        .filter(|own| !own.official && !is_detail(&own.metric))
        .map(|own| bare_name(&own.metric))
        .collect();
    let unofficial = (!unofficial.is_empty()).then(|| format!("not official: {}", unofficial.join(", ")));
    let loosened = report.metrics.iter().filter(|metric| metric.unofficial_tolerance);
    let loosened = loosened.map(|metric| {
        format!("* unofficial: the tolerance of {} is looser than the contract's", short_name(&metric.metric))
    });
    let context = report.context_differences.iter().map(|own| {
        let (baseline, candidate) = (value(own.baseline.as_ref()), value(own.candidate.as_ref()));
        format!("context differs: {} {} ({baseline}, {candidate})", own.part, own.field)
    });
    let suspicions = report.suspicions.iter().map(|own| {
        let Suspicion { rule, baseline, candidate } = own;
        format!(
            "suspect by `{rule}`: {baseline} of the baseline's repetitions, {candidate} of the candidate's"
        )
    });
    let admitted = (!report.admitted.is_empty())
        .then(|| format!("admitted by the caller: {}", report.admitted.join(", ")));
    let rules = (report.baseline.rules != report.candidate.rules)
        .then(|| "the two sides were judged by different versions of the rules of validity".to_owned());
    let reasons = reasons.chain(suspicions).chain(admitted).chain(rules);
    reasons.chain(unofficial).chain(loosened).chain(context).map(Text::plain).collect()
}
