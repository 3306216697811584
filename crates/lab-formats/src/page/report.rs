//! A comparison of two sessions.

use lab_core::experiment::Noise;
use lab_core::fingerprint::Difference;
use lab_core::metric::{find, short_name};
use lab_core::report::{
    ChangeInterval, Conclusion, Drift, Judgement, MetricComparison, Paired, PairedSupport, PointRule,
    Refusal, Report, Rule, Scale, Side, Support, Suspicion,
};
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
    blocks.extend(varied_fields(report));
    blocks.extend(report.paired.as_ref().map(|own| Block::Facts(paired(own))));
    blocks.extend(refused_fields(&report.refusals));
    blocks.extend(lines(other_refusals(&report.refusals)));
    if !report.metrics.is_empty() {
        blocks.push(Block::Grid(metrics(report.rule, &report.metrics)));
    }
    blocks.extend(lines(notes(report)));
    let mut last = vec![Text::toned(report.headline.clone(), tone(report.conclusion))];
    last.extend(report.advice.clone().map(Text::plain));
    last.extend(report.support.as_ref().map(|own| Text::plain(support(own))));
    blocks.push(Block::Lines(last));
    Page(blocks)
}

/// Lists what the declared part differs in.
fn varied_fields(report: &Report) -> Option<Block> {
    let columns = vec![words("varied"), words("field"), words("baseline"), words("candidate")];
    let rows: Vec<Row> = report.varied.iter().map(difference_row).collect();
    (!rows.is_empty()).then_some(Block::Grid(Grid { columns, rows }))
}

fn paired(paired: &Paired) -> Vec<(String, Text)> {
    let Paired { mode, pairs, pairs_left_out, turns, turns_left_out, stopping, uninterrupted, .. } = paired;
    let left_out =
        |n: usize, what: &str| if n > 0 { format!(", {n} {what} left out") } else { String::new() };
    // Commands have none.
    let in_turns = match turns {
        0 => String::new(),
        _ => format!("; {turns} turns a side{}", left_out(*turns_left_out, "of them")),
    };
    let most = stopping.most();
    let counted = format!("{pairs} of at most {most}{}{in_turns}", left_out(*pairs_left_out, "more"));
    let mut facts = vec![
        ("experiment".to_owned(), Text::plain(mode.to_string())),
        ("pairs".to_owned(), Text::plain(counted)),
    ];
    facts.extend(uninterrupted.map(|change| {
        ("uninterrupted".to_owned(), Text::plain(format!("tokens_per_sec {}", change_in_words(change, None))))
    }));
    facts
}

/// Says what the host supports: `at 5 launches a side this host detects a loss of 8.1 % or more; lab ab 4.0 % in 75 s`.
pub(crate) fn support(support: &Support) -> String {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let paired = support.paired.map(|PairedSupport { pairs, detects, seconds }| {
        let time = seconds.map_or_else(|| format!("{pairs} pairs"), |seconds| format!("{seconds:.0} s"));
        format!("; `lab ab` {} in {time}", percent(detects))
    });
    let contract = support.contract_wrong.zip(support.contract_launches).map(|(wrong, launches)| {
        let wrong = percent(wrong);
        format!(
            "; the contract's rule of means calls {wrong} of equal sessions of {launches} launches different"
        )
    });
    format!(
        "at {} launches a side this host detects a loss of {} or more (in 4 of 5 comparisons){}{}",
        support.launches,
        percent(support.detects),
        paired.unwrap_or_default(),
        contract.unwrap_or_default()
    )
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
        Conclusion::Equivalent | Conclusion::Improved | Conclusion::Reproduced => Tone::Good,
        Conclusion::Regressed | Conclusion::NotReproduced => Tone::Bad,
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

/// Lays the metrics out. What decides stands in the table: by intervals the interval, by means the spread of either side.
fn metrics(rule: Rule, metrics: &[MetricComparison]) -> Grid {
    let is_shown = |own: &&MetricComparison| own.tolerance.is_some() || !is_detail(&own.metric);
    let columns = match rule {
        Rule::Interval => vec![
            words("metric"),
            numbers("n"),
            numbers("baseline"),
            numbers("n"),
            numbers("candidate"),
            numbers("change"),
            numbers("95 % interval"),
            numbers("tolerance"),
            words("judgement"),
        ],
        Rule::Contract => vec![
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
        ],
    };
    let rows = metrics.iter().filter(is_shown).map(|metric| metric_row(rule, metric)).collect();
    Grid { columns, rows }
}

fn metric_row(rule: Rule, metric: &MetricComparison) -> Row {
    let absent = |cell: Option<String>| cell.unwrap_or_else(|| ABSENT.to_owned());
    let interval = metric.interval.value().filter(|_| rule == Rule::Interval && is_looked_at(metric));
    // The middle of the interval, where there is one: the means beside it are over all repetitions, left-out pairs included.
    let relative = interval.filter(|own| own.scale == Scale::Relative).map(|own| own.estimate);
    let change = relative.or(metric.relative_change);
    let change = change.map(|change| change_in_words(change, metric.tolerance));
    let mark = if metric.unofficial_tolerance { "*" } else { "" };
    let tolerance = metric.tolerance.map(|own| format!("{}{mark}", own.in_unit(&metric.unit)));
    let (judgement, tone) = judgement(&metric.judgement);
    let mut cells = vec![bare_name(&metric.metric).to_owned()];
    for side in [&metric.baseline, &metric.candidate] {
        cells.extend(side_cells(rule, side.as_ref(), &metric.unit));
    }
    cells.push(absent(change));
    cells.extend((rule == Rule::Interval).then(|| absent(interval.map(|own| ends(own, metric)))));
    cells.push(absent(tolerance));
    cells.push(judgement.to_owned());
    Row { cells, tone }
}

/// Returns whether anything is said about a metric: what is refused or not judged has no figures of a change.
fn is_looked_at(metric: &MetricComparison) -> bool {
    !matches!(metric.judgement, Judgement::Refused { .. } | Judgement::NotJudged { .. })
}

/// Writes the ends of an interval: `-1.2 to +2.0 %`.
fn ends(interval: &ChangeInterval, metric: &MetricComparison) -> String {
    let ChangeInterval { scale, low, high, .. } = interval;
    match scale {
        Scale::Relative => {
            let low = change_in_words(*low, metric.tolerance);
            format!("{} to {}", low.trim_end_matches(" %"), change_in_words(*high, metric.tolerance))
        }
        Scale::Absolute => {
            format!("{} to {}", format_value(*low, &metric.unit), format_value(*high, &metric.unit))
        }
    }
}

fn side_cells(rule: Rule, summary: Option<&Summary>, unit: &str) -> Vec<String> {
    let mut cells = match summary {
        Some(summary) => vec![summary.n.to_string(), format_value(summary.mean, unit), spread(summary)],
        None => vec![ABSENT.to_owned(); 3],
    };
    if rule == Rule::Interval {
        cells.pop();
    }
    cells
}

fn judgement(judgement: &Judgement) -> (&'static str, Tone) {
    match judgement {
        Judgement::Equivalent => ("equivalent", Tone::Good),
        Judgement::Improved => ("improved", Tone::Good),
        Judgement::Regressed => ("regressed", Tone::Bad),
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

/// Says how far the intervals of judged metrics hold what sessions differ by.
fn drift(metrics: &[MetricComparison]) -> Option<String> {
    let judged = metrics.iter().filter(|metric| metric.tolerance.is_some());
    let drifts =
        judged.filter_map(|metric| Some((bare_name(&metric.metric), metric.interval.value()?.drift)));
    let said: Vec<String> = drifts
        .filter_map(|(name, drift)| match drift {
            Drift::Paired => None,
            Drift::Unknown => Some(format!(
                "drift of {name} unknown: its interval holds what launches vary by, not what sessions differ by"
            )),
            Drift::Known { standard_deviation, sessions, serial_correlation } => {
                let holds = match serial_correlation > 0.0 {
                    true => format!(
                        "and neighbouring launches correlate by {serial_correlation:+.2}; its interval holds both"
                    ),
                    false => "held by its interval".to_owned(),
                };
                let percent = standard_deviation * 100.0;
                Some(format!("drift of {name}: {percent:.1} % between {sessions} sessions, {holds}"))
            }
        })
        .collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// Says what the interval of an experiment holds besides the spread of its own pairs.
fn calibrated(noise: &Noise) -> String {
    match noise.experiments {
        0 => "not calibrated: the correlation of pairs and what experiments differ by are unknown, and taken as none".to_owned(),
        n => format!(
            "by calibration ({n} experiments): neighbouring pairs correlate by {:+.2}, experiments differ by {:.1} %; the interval \
             of speed holds both",
            noise.serial_correlation,
            noise.bias * 100.0
        ),
    }
}

/// Says what the contract's own rule would conclude.
fn point_rule(metrics: &[MetricComparison]) -> Option<String> {
    let said = |own: &MetricComparison| {
        let word = match own.point_rule? {
            PointRule::Within => "within",
            PointRule::BeyondBetter => "beyond, better",
            PointRule::BeyondWorse => "beyond, worse",
        };
        Some(format!("{} {word}", bare_name(&own.metric)))
    };
    let said: Vec<String> = metrics.iter().filter_map(said).collect();
    (!said.is_empty()).then(|| format!("the contract's rule of means would say: {}", said.join(", ")))
}

/// Says why metrics have no verdict, those of one reason together: `watts_avg, energy_total_j not judged: no energy meter`.
fn reasons(metrics: &[MetricComparison]) -> Vec<String> {
    let mut groups: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for metric in metrics {
        let (state, reason) = match &metric.judgement {
            Judgement::Inconclusive { reason } => ("inconclusive", reason),
            Judgement::NotJudged { .. } | Judgement::Refused { .. } if is_detail(&metric.metric) => continue,
            Judgement::NotJudged { reason } => ("not judged", reason),
            Judgement::Refused { reason } => ("refused", reason),
            _ => continue,
        };
        let name = bare_name(&metric.metric);
        match groups.iter_mut().find(|(own, why, _)| (*own, *why) == (state, reason)) {
            Some((_, _, names)) => names.push(name),
            None => groups.push((state, reason, vec![name])),
        }
    }
    let words =
        |(state, reason, names): &(&str, &str, Vec<&str>)| format!("{} {state}: {reason}", names.join(", "));
    groups.iter().map(words).collect()
}

/// Names the figures in the table that the contract does not ask for.
fn unofficial(metrics: &[MetricComparison]) -> Option<String> {
    let unofficial = metrics.iter().filter(|own| !own.official && !is_detail(&own.metric));
    let names: Vec<&str> = unofficial.map(|own| bare_name(&own.metric)).collect();
    (!names.is_empty()).then(|| format!("not official: {}", names.join(", ")))
}

fn loosened(metric: &MetricComparison) -> String {
    format!("* unofficial: the tolerance of {} is looser than the contract's", short_name(&metric.metric))
}

fn differing_context(difference: &Difference) -> String {
    let Difference { part, field, .. } = difference;
    let [baseline, candidate] = [&difference.baseline, &difference.candidate].map(|own| value(own.as_ref()));
    format!("context differs: {part} {field} ({baseline}, {candidate})")
}

fn suspicion(suspicion: &Suspicion) -> String {
    let Suspicion { rule, baseline, candidate, energy_only } = suspicion;
    let what = if *energy_only { "energy suspect" } else { "suspect" };
    format!("{what} by `{rule}`: {baseline} of the baseline's repetitions, {candidate} of the candidate's")
}

fn notes(report: &Report) -> Vec<Text> {
    let suspicions = report.suspicions.iter().map(suspicion);
    let admitted = (!report.admitted.is_empty())
        .then(|| format!("admitted by the caller: {}", report.admitted.join(", ")));
    let rules = (report.baseline.rules != report.candidate.rules)
        .then(|| "the two sides were judged by different versions of the rules of validity".to_owned());
    let by_interval = report.rule == Rule::Interval && !report.metrics.is_empty();
    let of_pairs = report.paired.as_ref().map(|paired| calibrated(&paired.noise));
    let drift = by_interval.then(|| drift(&report.metrics).or(of_pairs)).flatten();
    let point = by_interval.then(|| point_rule(&report.metrics)).flatten();
    let reasons = reasons(&report.metrics).into_iter().chain(suspicions).chain(admitted).chain(rules);
    let loosened = report.metrics.iter().filter(|metric| metric.unofficial_tolerance).map(loosened);
    let context = report.context_differences.iter().map(differing_context);
    let notes = reasons.chain(point).chain(drift).chain(unofficial(&report.metrics));
    notes.chain(loosened).chain(context).map(Text::plain).collect()
}
