//! Baselines: the list of them, and one in full.

use super::list::{ResultColumn, status_tone};
use super::session::result_figures;
use super::{ABSENT, Block, Grid, Page, Row, Text, Tone, minutes, numbers, words};
use crate::baseline_json::{BaselineRow, ChangeBlock, ShownBaseline};
use crate::list_json::ListRow;

/// Digits of a fingerprint, as a session shows them.
const FINGERPRINT_DIGITS: usize = 12;

/// Stands where a name was removed.
const REMOVED: &str = "removed";

/// Lays out the list of baselines, in the order given.
pub fn baselines(rows: &[BaselineRow]) -> Page {
    if rows.is_empty() {
        return Page(vec![Block::Lines(vec![Text::plain("no baseline is set")])]);
    }
    let result = ResultColumn::of(rows.iter().map(|row| &row.session));
    let columns = vec![
        words("baseline"),
        words("session"),
        words("set UTC"),
        words("plan"),
        numbers("n"),
        result.heading(),
        words("note"),
    ];
    let rows = rows.iter().map(|baseline| row(baseline, result));
    Page(vec![Block::Grid(Grid { columns, rows: rows.collect() })])
}

fn row(baseline: &BaselineRow, result: ResultColumn) -> Row {
    let ListRow { short_id, plan, asked, .. } = &baseline.session;
    let cells = vec![
        baseline.name.clone(),
        short_id.clone(),
        minutes(&baseline.set_at),
        plan.clone(),
        format!("{}/{asked}", baseline.session.counting()),
        result.cell(&baseline.session),
        baseline.note.clone().unwrap_or_else(|| ABSENT.to_owned()),
    ];
    Row { cells, tone: Tone::Plain }
}

/// Lays out one baseline: the session that it stands for, the session's main figures, and every change of the name.
pub fn baseline(shown: ShownBaseline<'_>) -> Page {
    let mut blocks = vec![Block::Title(format!("baseline {}", shown.name)), Block::Facts(facts(&shown))];
    if shown.session.is_some() {
        blocks.push(Block::Grid(result_figures(shown.figures)));
    }
    blocks.push(Block::Grid(history(shown.history)));
    Page(blocks)
}

fn facts(shown: &ShownBaseline<'_>) -> Vec<(String, Text)> {
    let (mut facts, changed) = match shown.session {
        Some(session) => (session_facts(session), "set"),
        None => {
            (vec![("session".to_owned(), Text::toned("none: the name was removed", Tone::Doubtful))], REMOVED)
        }
    };
    if let Some(newest) = shown.history.first() {
        facts.push((changed.to_owned(), Text::plain(minutes(&newest.set_at) + " UTC")));
        facts.extend(newest.note.clone().map(|note| ("note".to_owned(), Text::plain(note))));
    }
    facts
}

fn session_facts(session: &ListRow) -> Vec<(String, Text)> {
    let ListRow { id, plan, model, status, invalid, asked, fingerprint, .. } = session;
    let fact = |name: &str, words: &str| (name.to_owned(), Text::plain(words));
    let left_out = if *invalid > 0 { format!(", {invalid} invalid left out") } else { String::new() };
    let words = format!("{status}, {} of {asked} repetitions{left_out}", session.counting());
    let status = Text::toned(words, status_tone(*status));
    vec![
        fact("session", id),
        fact("model", model),
        fact("plan", plan),
        fact("fingerprint", &fingerprint.chars().take(FINGERPRINT_DIGITS).collect::<String>()),
        ("status".to_owned(), status),
    ]
}

fn history(changes: &[ChangeBlock]) -> Grid {
    let columns = vec![words("set UTC"), words("session"), words("note")];
    let row = |change: &ChangeBlock| {
        let session = change.short_id.clone().unwrap_or_else(|| REMOVED.to_owned());
        let note = change.note.clone().unwrap_or_else(|| ABSENT.to_owned());
        Row { cells: vec![minutes(&change.set_at), session, note], tone: Tone::Plain }
    };
    Grid { columns, rows: changes.iter().map(row).collect() }
}
