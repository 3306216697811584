//! One session: what it is, its figures, its repetitions.

use lab_core::fingerprint::Fingerprint;
use lab_core::metric::{Measurement, Metric, Reading, find, primary_first};
use lab_core::record::{LaunchStart, Outcome, RecordedRepetition, Session, Validity};
use lab_core::summary::{MetricSummary, Summary};

use super::list::status_tone;
use super::{ABSENT, Block, Grid, Page, Row, Text, Tone, numbers, words};
use crate::Recording;
use crate::csv::validity_word;
use crate::quantity::{format_share, format_value};

/// The metrics a table of repetitions shows.
const REPETITION_METRICS: [&str; 5] =
    ["tokens_per_sec", "latency_p50_ms", "latency_p95_ms", "ttft_ms", "memory_peak_mb"];

/// Lays out a session: what it is, its figures, and what it lacks.
pub fn session(recording: Recording<'_>) -> Page {
    let session = recording.session;
    let mut blocks = vec![
        Block::Title(format!("session {}", session.header.id)),
        Block::Facts(facts(session)),
        Block::Grid(figures(recording.figures)),
    ];
    let mut notes = unavailable(recording.figures);
    notes.extend(failures(session));
    if !notes.is_empty() {
        blocks.push(Block::Lines(notes));
    }
    blocks.push(Block::Lines(contract(session)));
    Page(blocks)
}

/// Lays out the measured repetitions of a session, one a row.
pub fn repetitions(session: &Session) -> Page {
    let mut columns = vec![numbers("rep"), numbers("launch")];
    columns.extend(REPETITION_METRICS.map(numbers));
    columns.push(words("outcome"));
    let rows: Vec<Row> = session.measured().map(repetition).collect();
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
    let fingerprint = &header.fingerprint;
    let backend = &fingerprint.backend;
    let completed = session.completed().count();
    let status = format!("{}, {completed} of {} repetitions", session.status(), header.repeat);
    let identity = |part, field| crate::identity_text(part, field).unwrap_or_else(|| "unknown".to_owned());
    let fact = |name: &str, words: String| (name.to_owned(), Text::plain(words));
    vec![
        fact("model", header.model_name.clone()),
        fact("plan", header.plan_name.clone()),
        fact("workload", workload(session)),
        fact("backend", format!("{}, threads: {}", identity(backend, "kind"), identity(backend, "threads"))),
        fact("quantization", identity(&fingerprint.model, "quantization")),
        fact("engine", engine(fingerprint)),
        fact("hardware", hardware(fingerprint)),
        fact("fingerprint", session.fingerprint_digest().short()),
        fact("started", format!("{:.0}", header.started_at)),
        ("status".to_owned(), Text::toned(status, status_tone(session.status()))),
        ("validity".to_owned(), validity(session)),
    ]
}

/// Says what a repetition does, and how many gaps its latency percentiles stand on.
fn workload(session: &Session) -> String {
    let workload = &session.header.workload;
    let gaps: Vec<usize> =
        session.completed().map(|(_, completed)| completed.timeline.n_tokens() - 1).collect();
    let percentiles = match (gaps.iter().min(), gaps.iter().max()) {
        (Some(least), Some(most)) if least == most => format!("; percentiles over {least} token gaps each"),
        (Some(least), Some(most)) => format!("; percentiles over {least} to {most} token gaps each"),
        _ => String::new(),
    };
    format!("{} prompt tokens, {} to generate{percentiles}", workload.prompt.len(), workload.generate)
}

fn engine(fingerprint: &Fingerprint) -> String {
    let identity = |field| crate::identity_text(&fingerprint.engine, field).unwrap_or_default();
    let build: String = identity("build").chars().take(12).collect();
    format!("{} {} (build {build})", identity("name"), identity("version"))
}

fn hardware(fingerprint: &Fingerprint) -> String {
    let identity = |field| crate::identity_text(&fingerprint.hardware, field).unwrap_or_default();
    format!(
        "{}, cores: {}, threads: {}, {} GiB",
        identity("cpu_model"),
        identity("cores"),
        identity("threads"),
        identity("memory_gib")
    )
}

/// Returns how many repetitions were disturbed, and by what.
fn validity(session: &Session) -> Text {
    let total = session.completed().count();
    let mut counts = Vec::new();
    let mut reasons: Vec<&str> = Vec::new();
    for word in ["invalid", "suspect"] {
        let disturbed = session.completed().map(|(_, completed)| &completed.validity);
        let disturbed: Vec<&Validity> = disturbed.filter(|own| validity_word(own) == word).collect();
        if !disturbed.is_empty() {
            counts.push(format!("{} of {total} {word}", disturbed.len()));
        }
        reasons.extend(disturbed.into_iter().flat_map(validity_reasons));
    }
    if counts.is_empty() {
        let (word, tone) = if total == 0 { ("unknown", Tone::Doubtful) } else { ("valid", Tone::Good) };
        return Text::toned(word, tone);
    }
    let mut seen = Vec::new();
    reasons.retain(|reason| {
        !seen.contains(reason) && {
            seen.push(*reason);
            true
        }
    });
    Text::toned(format!("{} ({})", counts.join(", "), reasons.join("; ")), Tone::Doubtful)
}

fn validity_reasons(validity: &Validity) -> impl Iterator<Item = &str> {
    let reasons: &[String] = match validity {
        Validity::Valid => &[],
        Validity::Suspect(reasons) | Validity::Invalid(reasons) => reasons,
    };
    reasons.iter().map(String::as_str)
}

fn figures(figures: &[MetricSummary]) -> Grid {
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
    let rows = primary_first().filter_map(of_metric).map(figure).collect();
    Grid { columns, rows }
}

fn figure(own: &MetricSummary) -> Row {
    let MetricSummary { metric, figures } = own;
    let numbers = match figures {
        Reading::Value(summary) => summary_cells(summary, metric.unit),
        Reading::Unavailable(_) => [ABSENT, "unavailable", ABSENT, ABSENT, ABSENT, ABSENT].map(str::to_owned),
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

fn unavailable(figures: &[MetricSummary]) -> Vec<Text> {
    let note = |own: &MetricSummary| {
        let reason = own.figures.reason()?;
        Some(Text::plain(format!("{} unavailable: {reason}", own.metric.name)))
    };
    figures.iter().filter_map(note).collect()
}

fn disturbances(session: &Session) -> impl Iterator<Item = Text> {
    session.completed().filter(|(_, completed)| completed.validity != Validity::Valid).map(
        |(own, completed)| {
            let words = format!("repetition {} is {}", own.repetition.index, completed.validity);
            Text::toned(words, Tone::Doubtful)
        },
    )
}

fn failures(session: &Session) -> Vec<Text> {
    let launches = session.launches.iter().filter_map(|launch| match &launch.start {
        LaunchStart::Ready { .. } => None,
        LaunchStart::Failed(error) => Some(format!("launch {} failed: {error}", launch.index)),
    });
    let repetitions = session.repetitions.iter().filter_map(|own| match &own.repetition.outcome {
        Outcome::Completed(_) => None,
        Outcome::Failed(error) => {
            let repetition = &own.repetition;
            Some(format!("{} repetition {} failed: {error}", repetition.kind, repetition.index))
        }
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

fn repetition(recorded: &RecordedRepetition) -> Row {
    let repetition = &recorded.repetition;
    let mut cells = vec![repetition.index.to_string(), repetition.launch.to_string()];
    cells.extend(REPETITION_METRICS.map(|name| reading(recorded, name)));
    let (outcome, tone) = match &repetition.outcome {
        Outcome::Failed(_) => ("failed", Tone::Bad),
        Outcome::Completed(completed) => match completed.validity {
            Validity::Valid => ("valid", Tone::Good),
            Validity::Suspect(_) => ("suspect", Tone::Doubtful),
            Validity::Invalid(_) => ("invalid", Tone::Bad),
        },
    };
    cells.push(outcome.to_owned());
    Row { cells, tone }
}

fn reading(recorded: &RecordedRepetition, name: &str) -> String {
    let of_metric = |own: &Measurement| {
        let metric = find(&own.metric).filter(|metric| metric.name == name)?;
        own.reading.value().map(|value| format_value(*value, metric.unit))
    };
    recorded.measurements.iter().find_map(of_metric).unwrap_or_else(|| ABSENT.to_owned())
}
