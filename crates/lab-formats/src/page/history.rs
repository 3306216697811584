//! One metric over the sessions of a family.

use lab_core::metric::{Direction, short_name};

use super::minutes;
use super::{ABSENT, Block, Grid, Page, Row, Text, Tone, numbers, words};
use crate::history::{Change, Effect, HistoryChange, HistoryDocument, HistorySession};
use crate::plot::{Mark, Plot};
use crate::quantity::format_value;

/// Digits of a family that a page shows, as of fingerprints.
pub(super) const FAMILY_DIGITS: usize = 12;

/// Lays out a history: what it is about, the sessions, a plot, and what follows.
pub fn history(document: &HistoryDocument) -> Page {
    let mut blocks = vec![
        Block::Title(format!("history of {}, plan {}", short_name(&document.metric), document.plan)),
        Block::Facts(facts(document)),
        Block::Grid(grid(document)),
    ];
    let values: Vec<Option<f64>> = document.sessions.iter().map(|session| session.mean).collect();
    if values.iter().any(Option::is_some) {
        let marks = document.change_points.iter().map(mark).collect();
        blocks.push(Block::Figure(Plot { values, marks }));
    }
    blocks.push(Block::Lines(conclusion(document)));
    Page(blocks)
}

fn facts(document: &HistoryDocument) -> Vec<(String, Text)> {
    let fact = |name: &str, words: String| (name.to_owned(), Text::plain(words));
    let HistoryDocument { metric, unit, direction, sessions, older, .. } = document;
    let better = match direction {
        Direction::Neutral => String::new(),
        Direction::Higher | Direction::Lower => format!(", {direction}"),
    };
    let older = if *older > 0 { format!(", {older} older ones left out") } else { String::new() };
    vec![
        fact("metric", format!("{metric}, in {unit}{better}")),
        fact("model", document.model.clone()),
        fact("engine", engines(sessions).join(", ")),
        fact("family", document.family.chars().take(FAMILY_DIGITS).collect()),
        fact("sessions", format!("{}{older}; n is their launches", sessions.len())),
    ]
}

/// Returns the names of the engines, each once, in the order in which they first appear.
fn engines(sessions: &[HistorySession]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for name in sessions.iter().filter_map(|session| session.engine.name.as_deref()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn grid(document: &HistoryDocument) -> Grid {
    let columns = vec![
        numbers("no."),
        words("session"),
        words("started UTC"),
        words("engine"),
        numbers("n"),
        numbers("mean"),
        numbers("vs first"),
        words("change"),
    ];
    let change_of = |index| document.change_points.iter().find(|own| own.index == index);
    let rows = document
        .sessions
        .iter()
        .enumerate()
        .map(|(index, session)| row(index, session, change_of(index), &document.unit));
    Grid { columns, rows: rows.collect() }
}

fn row(index: usize, session: &HistorySession, change: Option<&HistoryChange>, unit: &str) -> Row {
    let is_engine_shown = index == 0 || session.engine_changed;
    let cells = vec![
        (index + 1).to_string(),
        session.short_id.clone(),
        minutes(&session.started_at),
        if is_engine_shown { session.engine.short() } else { String::new() },
        session.launches.to_string(),
        session.mean.map_or(ABSENT.to_owned(), |mean| format_value(mean, unit)),
        session.relative_to_first.map_or(ABSENT.to_owned(), percent),
        remarks(session, change).join("; "),
    ];
    let tone = match (change, session.suspect) {
        (Some(change), _) => tone(change.change.effect),
        (None, 0) => Tone::Plain,
        (None, _) => Tone::Doubtful,
    };
    Row { cells, tone }
}

fn remarks(session: &HistorySession, change: Option<&HistoryChange>) -> Vec<String> {
    let change = change.map(|own| {
        let effect = match own.change.effect {
            Effect::Better => " better",
            Effect::Worse => " worse",
            Effect::Neither => "",
        };
        let arrow = if own.change.relative > 0.0 { '▲' } else { '▼' };
        format!("{arrow} {}{}, p {:.4}", percent(own.change.relative), effect, own.p)
    });
    let suspect = (session.suspect > 0).then(|| format!("{} suspect", session.suspect));
    [change, session.unavailable.clone(), suspect].into_iter().flatten().collect()
}

fn conclusion(document: &HistoryDocument) -> Vec<Text> {
    let since = document.since_first.map(|change| {
        let tone = if document.change_points.is_empty() { Tone::Plain } else { tone(change.effect) };
        Text::toned(
            format!("from the first session to the level of the last ones: {}", described(change)),
            tone,
        )
    });
    [Some(headline(document)), since].into_iter().flatten().collect()
}

fn headline(document: &HistoryDocument) -> Text {
    let HistoryDocument { least_sessions, significance, change_points, sessions, .. } = document;
    let n_means = sessions.iter().filter(|session| session.mean.is_some()).count();
    match change_points.as_slice() {
        [] if n_means < *least_sessions => Text::toned(
            format!(
                "too few to tell: {n_means} sessions with a mean, and a change of level shows in {least_sessions} or more"
            ),
            Tone::Doubtful,
        ),
        [] => Text::plain(format!(
            "no change of level found (of histories without one, {} in 100 show one)",
            significance * 100.0
        )),
        [earlier @ .., last] => {
            let changes = match earlier.len() {
                0 => "a change of level".to_owned(),
                n => format!("{} changes of level, the last one", n + 1),
            };
            let number = last.index + 1;
            Text::toned(
                format!("{changes} at session {number}: {}", described(last.change)),
                tone(last.change.effect),
            )
        }
    }
}

fn mark(change: &HistoryChange) -> Mark {
    Mark { index: change.index, rises: change.change.relative > 0.0, tone: tone(change.change.effect) }
}

fn described(change: Change) -> String {
    let effect = match change.effect {
        Effect::Better => " for the better",
        Effect::Worse => " for the worse",
        Effect::Neither => "",
    };
    percent(change.relative) + effect
}

fn tone(effect: Effect) -> Tone {
    match effect {
        Effect::Better => Tone::Good,
        Effect::Worse => Tone::Bad,
        Effect::Neither => Tone::Plain,
    }
}

fn percent(relative: f64) -> String {
    format!("{:+.1} %", relative * 100.0)
}
