//! The list of sessions.

use lab_core::metric::{Contract, find};
use lab_core::record::SessionStatus;

use super::{ABSENT, Block, Column, Grid, Page, Row, Text, Tone, minutes, numbers, words};
use crate::list_json::{ListRow, ListedFigure};
use crate::quantity::format_quantity;

/// Digits of a fingerprint that a list shows: enough to see at a glance which sessions share one.
const FINGERPRINT_DIGITS: usize = 8;

/// Lays out the list of sessions, in the order given. Where all of them asked engines, their speed is a column of numbers; where
/// one did something else, each has the figure of its own contract with its name.
pub fn sessions(rows: &[ListRow]) -> Page {
    if rows.is_empty() {
        return Page(vec![Block::Lines(vec![Text::plain("no session is recorded yet")])]);
    }
    let grid = if rows.iter().all(is_of_engine) { of_engines(rows) } else { of_several_contracts(rows) };
    let mut blocks = vec![Block::Grid(grid)];
    blocks.extend(left_out(rows));
    Page(blocks)
}

/// Says how many repetitions stand in no count of the table: `invalid and not in n: 1 of 0c5e8d1a, 3 of 77f1b2aa`.
fn left_out(rows: &[ListRow]) -> Option<Block> {
    let of_session = |row: &ListRow| format!("{} of {}", row.invalid, row.short_id);
    let said: Vec<String> = rows.iter().filter(|row| row.invalid > 0).map(of_session).collect();
    let words = || Text::toned(format!("invalid and not in n: {}", said.join(", ")), Tone::Doubtful);
    (!said.is_empty()).then(|| Block::Lines(vec![words()]))
}

/// Returns whether a session asked an engine. One of which nothing was measured tells nothing else.
fn is_of_engine(session: &ListRow) -> bool {
    session.listed.as_ref().is_none_or(|own| own.metric == Contract::EngineV0_1.listed_metric())
}

fn of_engines(sessions: &[ListRow]) -> Grid {
    let columns =
        first_columns().into_iter().chain([numbers("tokens_per_sec"), words("fingerprint"), words("status")]);
    let row = |session: &ListRow| {
        let speed = session.tokens_per_sec_mean.map_or(ABSENT.to_owned(), format_quantity);
        let fingerprint = session.fingerprint.chars().take(FINGERPRINT_DIGITS).collect();
        row(session, vec![speed, fingerprint])
    };
    Grid { columns: columns.collect(), rows: sessions.iter().map(row).collect() }
}

/// The name of a metric takes the room of the fingerprint, which JSON has: 80 columns hold no more.
fn of_several_contracts(sessions: &[ListRow]) -> Grid {
    let columns = first_columns().into_iter().chain([words("result"), words("status")]);
    let row =
        |session: &ListRow| row(session, vec![session.listed.as_ref().map_or(ABSENT.to_owned(), result)]);
    Grid { columns: columns.collect(), rows: sessions.iter().map(row).collect() }
}

/// `elapsed_sec 1.204`.
fn result(figure: &ListedFigure) -> String {
    let name = find(&figure.metric).map_or(figure.metric.as_str(), |metric| metric.name);
    format!("{name} {}", figure.mean.map_or(ABSENT.to_owned(), format_quantity))
}

fn first_columns() -> Vec<Column> {
    vec![words("session"), words("started UTC"), words("plan"), words("model"), numbers("n")]
}

/// Returns a row: what every session has around the cells of its result.
fn row(session: &ListRow, result: Vec<String>) -> Row {
    let mut cells = vec![
        session.short_id.clone(),
        minutes(&session.started_at),
        session.plan.clone(),
        session.model.clone(),
        format!("{}/{}", session.counting(), session.asked),
    ];
    cells.extend(result);
    cells.push(session.status.to_string());
    Row { cells, tone: status_tone(session.status) }
}

/// Returns what a status means for the reader.
pub(super) fn status_tone(status: SessionStatus) -> Tone {
    match status {
        SessionStatus::Completed => Tone::Good,
        SessionStatus::Incomplete | SessionStatus::Interrupted | SessionStatus::Unfinished => Tone::Doubtful,
        SessionStatus::Failed => Tone::Bad,
    }
}
