//! One session: what it is, its figures, its repetitions.

use lab_core::energy::MeterKind;
use lab_core::engine::OperationTime;
use lab_core::experiment::{Experiment, Until};
use lab_core::metric::{Measurement, Metric, Reading, find, primary_first};
use lab_core::record::{IdleBaseline, LaunchStart, RecordedRepetition, Session};
use lab_core::summary::{MetricSummary, Summary};
use lab_core::validity::{Validity, rule_of};

use super::list::status_tone;
use super::work::{self, repetition_metrics, source};
use super::{ABSENT, Block, Grid, Page, Row, Text, Tone, numbers, words};
use crate::Recording;
use crate::quantity::{format_quantity, format_share, format_value};

/// Lays out a session: what it is, its figures, and what it lacks.
pub fn session(recording: Recording<'_>) -> Page {
    let session = recording.session;
    let mut blocks = vec![
        Block::Title(format!("session {}", session.header.id)),
        Block::Facts(facts(session)),
        Block::Grid(figures(recording.figures, Detail::Results, has_operations(session))),
    ];
    let mut notes = unavailable(recording);
    notes.extend(failures(session));
    if !notes.is_empty() {
        blocks.push(Block::Lines(notes));
    }
    blocks.extend(profile(session));
    blocks.push(Block::Lines(contract(session)));
    Page(blocks)
}

/// Lays out what explains a session's figures: the use of the machine.
pub fn details(recording: Recording<'_>) -> Page {
    let grid = figures(recording.figures, Detail::Explanations, false);
    Page(if grid.rows.is_empty() { Vec::new() } else { vec![Block::Grid(grid)] })
}

/// Lays out the measured repetitions of a session, one a row.
pub fn repetitions(session: &Session) -> Page {
    let contract = session.header.work.contract();
    let mut columns = vec![numbers("rep"), numbers("launch")];
    columns.extend(repetition_metrics(contract).iter().map(|name| numbers(name)));
    columns.push(words("outcome"));
    columns.extend(session.header.work.import().map(|_| words("source")));
    let rows: Vec<Row> = session.measured().map(|own| repetition(session, own)).collect();
    let mut blocks = Vec::new();
    if rows.is_empty() {
        blocks.push(Block::Lines(vec![Text::plain("no measured repetition is recorded")]));
    } else {
        blocks.push(Block::Grid(Grid { columns, rows }));
    }
    let notes: Vec<Text> = disturbances(session).chain(failures(session)).collect();
    if !notes.is_empty() {
        blocks.push(Block::Lines(notes));
    }
    Page(blocks)
}

fn facts(session: &Session) -> Vec<(String, Text)> {
    let header = &session.header;
    let is_lock_step = session.is_lock_step();
    let usable = session.succeeded().filter(|own| own.counts(is_lock_step)).count();
    let invalid = validities(session).filter(|own| matches!(own, Validity::Invalid(_))).count();
    let left_out = if invalid > 0 { format!(", {invalid} invalid left out") } else { String::new() };
    let status = format!("{}, {usable} of {} repetitions{left_out}", session.status(), header.repeat);
    let fact = |name: &str, words: String| (name.to_owned(), Text::plain(words));
    work::facts(session)
        .into_iter()
        .chain([
            fact("fingerprint", session.fingerprint_digest().short()),
            fact("started", format!("{:.0}", header.started_at)),
            ("status".to_owned(), Text::toned(status, status_tone(session.status()))),
            ("validity".to_owned(), validity(session)),
        ])
        .chain(header.experiment.as_ref().map(|own| fact("experiment", experiment(own))))
        .chain(header.until.as_ref().map(|own| fact("until", until(own))))
        .chain(instruments(session))
        .collect()
}

fn validities(session: &Session) -> impl Iterator<Item = &Validity> {
    session.succeeded().filter_map(|own| own.repetition.outcome.validity())
}

/// Says which side of what a session is: `side B of 019a…, lock-step, 4 tokens a turn, at most 36 pairs`.
fn experiment(experiment: &Experiment) -> String {
    let Experiment { id, side, mode, stopping, .. } = experiment;
    format!("side {side:?} of {id}, {mode}, at most {} pairs", stopping.most())
}

/// Says what a session was to be decided against: `decided against 019a…, at most 36 launches`.
fn until(until: &Until) -> String {
    format!("decided against {}, at most {} launches", until.against, until.stopping.most())
}

/// Says what measured what.
fn instruments(session: &Session) -> Vec<(String, Text)> {
    let Some(set) = &session.header.instruments else { return Vec::new() };
    let fact = |name: &str, words: String| (name.to_owned(), Text::plain(words));
    let of_kind = |kind| session.energy_source(kind).map(|source| format!("{source} ({kind})"));
    let sources: Vec<String> =
        [MeterKind::Measured, MeterKind::Estimated].into_iter().filter_map(of_kind).collect();
    let energy = match sources.is_empty() {
        true => not_measured(session),
        false => sources.join("; ") + &plus_minus(session),
    };
    let mut facts = vec![fact("energy", energy)];
    if let Some(idle) = &set.idle {
        facts.push(fact("idle baseline", idle_words(idle)));
    }
    if let Some(own) = set.memory_bandwidth.value() {
        let speed = format_quantity(own.bytes_per_second as f64 / 1e9);
        let words =
            format!("{speed} GB/s, read by threads: {}, measured {:.0}", own.threads, own.measured_at);
        facts.push(fact("memory bandwidth", words));
    }
    let sampling = if set.sample_hz > 0.0 { format!("{} Hz", set.sample_hz) } else { "off".to_owned() };
    facts.push(fact("sampling", sampling));
    facts
}

/// Says why there is no figure of energy, as far as a meter itself told.
fn not_measured(session: &Session) -> String {
    let traces = session.completed().filter_map(|(_, completed)| completed.observation.energy.value());
    let failure = traces.flatten().find_map(|trace| trace.failure.as_deref());
    failure.map_or_else(|| "not measured".to_owned(), |reason| format!("not measured: {reason}"))
}

/// Words the greatest ± of the mean power of any repetition that counts.
fn plus_minus(session: &Session) -> String {
    let bounds = session.samples("lab.v1/watts_plus_minus").unwrap_or_default();
    let greatest = bounds.into_iter().fold(0.0, f64::max);
    if greatest > 0.0 { format!(", ± {} W at most", format_quantity(greatest)) } else { String::new() }
}

fn idle_words(idle: &Reading<IdleBaseline>) -> String {
    match idle {
        Reading::Value(IdleBaseline { watts, plus_minus_watts, seconds, .. }) => format!(
            "{} ± {} W over {} s (never subtracted)",
            format_quantity(*watts),
            format_quantity(*plus_minus_watts),
            format_quantity(*seconds)
        ),
        Reading::Unavailable(reason) => format!("not measured: {reason}"),
    }
}

/// The metric that a profile launch tells, operation by operation.
const OPERATIONS: &str = "op_time_ms";

/// Returns whether a profile launch found where the time goes.
fn has_operations(session: &Session) -> bool {
    session.profile().is_some_and(|own| own.value().is_some())
}

/// Lays out where the time of an execution goes.
fn profile(session: &Session) -> Vec<Block> {
    let own = match session.profile() {
        None => return Vec::new(),
        Some(Reading::Unavailable(reason)) => {
            return vec![Block::Lines(vec![Text::plain(format!("{OPERATIONS} unavailable: {reason}"))])];
        }
        Some(Reading::Value(own)) => own,
    };
    let total_ms = crate::milliseconds(own.profile.total_ns());
    let row = |one: &OperationTime| {
        let self_ms = crate::milliseconds(one.self_ns);
        let share = if total_ms > 0.0 { format_share(self_ms / total_ms) } else { ABSENT.to_owned() };
        let cells = vec![one.kind.clone(), format_quantity(self_ms), share, one.calls.to_string()];
        Row { cells, tone: Tone::Plain }
    };
    let columns = vec![words("operation"), numbers(OPERATIONS), numbers("share"), numbers("calls")];
    let grid = Grid { columns, rows: own.profile.operations.iter().map(row).collect() };
    let slowdown = session.profile_slowdown().map(|ratio| {
        format!("; profiling itself: the execution took {} times the measured mean", format_quantity(ratio))
    });
    let named = format_share(own.profile.named_share());
    let note = format!(
        "profile of one execution in a launch of its own, never counted as measured: {named} of the time has a name{}",
        slowdown.unwrap_or_default()
    );
    vec![Block::Grid(grid), Block::Lines(vec![Text::plain(note)])]
}

/// Returns how many repetitions were disturbed, and by what.
fn validity(session: &Session) -> Text {
    let total = validities(session).count();
    let mut counts = Vec::new();
    let mut reasons: Vec<&str> = Vec::new();
    for word in ["invalid", "suspect"] {
        let disturbed: Vec<&Validity> = validities(session).filter(|own| own.word() == word).collect();
        if !disturbed.is_empty() {
            counts.push(format!("{} of {total} {word}", disturbed.len()));
        }
        reasons.extend(disturbed.into_iter().flat_map(Validity::reasons).map(String::as_str));
    }
    if counts.is_empty() {
        let (word, tone) = if total == 0 { ("unknown", Tone::Doubtful) } else { ("valid", Tone::Good) };
        return Text::toned(word, tone);
    }
    let mut rules: Vec<&str> = reasons.iter().map(|reason| rule_of(reason)).collect();
    rules.sort_unstable();
    rules.dedup();
    Text::toned(format!("{} ({})", counts.join(", "), rules.join(", ")), Tone::Doubtful)
}

/// Which metrics a table holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Results,
    Explanations,
}

/// Lays out the figures that are results.
pub(super) fn result_figures(all: &[MetricSummary]) -> Grid {
    figures(all, Detail::Results, false)
}

/// Lays out figures. Where a table of operations follows, it is the place of `op_time_ms`.
fn figures(figures: &[MetricSummary], detail: Detail, operations_follow: bool) -> Grid {
    let columns = vec![
        words("metric"),
        words("unit"),
        numbers("n"),
        numbers("mean"),
        numbers("spread"),
        numbers("min"),
        numbers("median"),
        numbers("max"),
        words("official"),
    ];
    let of_metric = |metric: &Metric| figures.iter().find(|own| own.metric.id() == metric.id());
    let is_meant = |metric: &&Metric| metric.detail == (detail == Detail::Explanations);
    let all = figures.iter().map(|own| own.metric);
    // An official metric without a value is a finding; any other is no more than absent.
    let is_there = |own: &&MetricSummary| own.metric.contract.is_official() || own.figures.value().is_some();
    let absent = |metric: &Metric| match operations_follow && metric.name == OPERATIONS {
        true => "see below",
        false => "unavailable",
    };
    let rows = primary_first(all).filter(is_meant).filter_map(of_metric).filter(is_there);
    Grid { columns, rows: rows.map(|own| figure(own, absent(own.metric))).collect() }
}

/// Lays out one figure, with the words that stand where it has none.
fn figure(own: &MetricSummary, absent: &str) -> Row {
    let MetricSummary { metric, figures } = own;
    let numbers = match figures {
        Reading::Value(summary) => summary_cells(summary, metric.unit),
        Reading::Unavailable(_) => [ABSENT, absent, ABSENT, ABSENT, ABSENT, ABSENT].map(str::to_owned),
    };
    let official = metric.contract.is_official();
    let mut cells = vec![metric.name.to_owned(), metric.unit.to_owned()];
    cells.extend(numbers);
    cells.push(if official { "yes" } else { "no" }.to_owned());
    Row { cells, tone: Tone::Plain }
}

fn summary_cells(summary: &Summary, unit: &str) -> [String; 6] {
    [
        summary.n.to_string(),
        format_value(summary.mean, unit),
        spread(summary),
        format_value(summary.min, unit),
        format_value(summary.median, unit),
        format_value(summary.max, unit),
    ]
}

/// Returns the standard deviation as a share of the mean.
pub(super) fn spread(summary: &Summary) -> String {
    summary.relative_spread().map_or(ABSENT.to_owned(), format_share)
}

/// Says why metrics have no value, those with the same reason together.
fn unavailable(recording: Recording<'_>) -> Vec<Text> {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    // Whoever has a profile needs no word about how to get one.
    let is_told =
        |own: &&MetricSummary| own.metric.name == OPERATIONS && recording.session.profile().is_some();
    for own in recording.figures.iter().filter(|own| !own.metric.detail && !is_told(own)) {
        let Some(reason) = own.figures.reason() else { continue };
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(own.metric.name),
            None => by_reason.push((reason, vec![own.metric.name])),
        }
    }
    let note = |(reason, names): (&str, Vec<&str>)| format!("{} unavailable: {reason}", names.join(", "));
    by_reason.into_iter().map(note).map(Text::plain).collect()
}

fn disturbances(session: &Session) -> impl Iterator<Item = Text> {
    let words = |own: &RecordedRepetition| {
        let validity = own.repetition.outcome.validity().filter(|own| **own != Validity::Valid)?;
        Some(format!("{} is {validity}", session.name_of(&own.repetition)))
    };
    session.succeeded().filter_map(words).map(|words| Text::toned(words, Tone::Doubtful))
}

fn failures(session: &Session) -> Vec<Text> {
    let launches = session.launches.iter().filter_map(|launch| match &launch.start {
        LaunchStart::Ready { .. } | LaunchStart::Started => None,
        LaunchStart::Failed(error) => {
            Some(format!("launch {} failed: {}", launch.index, session.header.work.words_of(error)))
        }
    });
    let repetitions = session.repetitions.iter().filter_map(|own| {
        let failure = session.why_failed(&own.repetition.outcome)?;
        Some(format!("{} failed: {failure}", session.name_of(&own.repetition)))
    });
    launches.chain(repetitions).map(|words| Text::toned(words, Tone::Bad)).collect()
}

fn contract(session: &Session) -> Vec<Text> {
    let coverage = session.contract();
    let mut lines = vec![if coverage.complete {
        Text::toned(format!("contract complete: {}", coverage.id), Tone::Good)
    } else {
        Text::toned(format!("contract incomplete: {}", coverage.missing.join(", ")), Tone::Doubtful)
    }];
    lines.extend(session.header.loosened().into_iter().map(|(metric, own, contract)| {
        let (name, own, contract) = (metric.name, own.in_unit(metric.unit), contract.in_unit(metric.unit));
        let words =
            format!("unofficial: the plan sets the tolerance of {name} to {own}, the contract to {contract}");
        Text::toned(words, Tone::Doubtful)
    }));
    lines
}

fn repetition(session: &Session, recorded: &RecordedRepetition) -> Row {
    let repetition = &recorded.repetition;
    let mut cells = vec![session.place_of(repetition).to_string(), repetition.launch.to_string()];
    let metrics = repetition_metrics(session.header.work.contract());
    cells.extend(metrics.iter().map(|name| reading(recorded, name)));
    let (outcome, tone) = match repetition.outcome.validity() {
        None => ("failed", Tone::Bad),
        Some(Validity::Valid) => ("valid", Tone::Good),
        Some(Validity::Suspect(_)) => ("suspect", Tone::Doubtful),
        Some(Validity::Invalid(_)) => ("invalid", Tone::Bad),
    };
    cells.push(outcome.to_owned());
    cells.extend(source(&repetition.outcome));
    Row { cells, tone }
}

fn reading(recorded: &RecordedRepetition, name: &str) -> String {
    let of_metric = |own: &Measurement| {
        let metric = find(&own.metric).filter(|metric| metric.name == name)?;
        own.reading.value().map(|value| format_value(*value, metric.unit))
    };
    recorded.measurements.iter().find_map(of_metric).unwrap_or_else(|| ABSENT.to_owned())
}
