//! The list of sessions.

use lab_core::metric::{Contract, find};
use lab_core::record::SessionStatus;

use super::{ABSENT, Block, Column, Grid, Page, Row, Text, Tone, minutes, numbers, words};
use crate::list_json::{ListRow, ListedFigure};
use crate::quantity::format_quantity;

/// Digits of a fingerprint that a list shows: enough to see at a glance which sessions share one.
const FINGERPRINT_DIGITS: usize = 8;

/// Lays out the list of sessions, in the order given.
pub fn sessions(rows: &[ListRow]) -> Page {
    if rows.is_empty() {
        return Page(vec![Block::Lines(vec![Text::plain("no session is recorded yet")])]);
    }
    let mut blocks = vec![Block::Grid(grid(rows))];
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

fn grid(sessions: &[ListRow]) -> Grid {
    let result = ResultColumn::of(sessions.iter());
    let is_speed = result == ResultColumn::Speed;
    let mut columns = first_columns();
    columns.push(result.heading());
    // The name of a metric takes the room of the fingerprint, which JSON has: 80 columns hold no more.
    columns.extend(is_speed.then(|| words("fingerprint")));
    columns.push(words("status"));
    let row = |session: &ListRow| {
        let fingerprint = || session.fingerprint.chars().take(FINGERPRINT_DIGITS).collect();
        let own = std::iter::once(result.cell(session)).chain(is_speed.then(fingerprint));
        row(session, own.collect())
    };
    Grid { columns, rows: sessions.iter().map(row).collect() }
}

/// The column of what sessions came to: their speed where all of them asked engines; where one did something else, the figure of
/// each one's own contract with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResultColumn {
    Speed,
    Named,
}

impl ResultColumn {
    pub(super) fn of<'a>(mut sessions: impl Iterator<Item = &'a ListRow>) -> Self {
        if sessions.all(is_of_engine) { Self::Speed } else { Self::Named }
    }

    pub(super) fn heading(self) -> Column {
        match self {
            Self::Speed => numbers("tokens_per_sec"),
            Self::Named => words("result"),
        }
    }

    pub(super) fn cell(self, session: &ListRow) -> String {
        match self {
            Self::Speed => session.tokens_per_sec_mean.map_or(ABSENT.to_owned(), format_quantity),
            Self::Named => session.listed.as_ref().map_or(ABSENT.to_owned(), result),
        }
    }
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
