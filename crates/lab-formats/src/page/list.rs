//! The list of sessions.

use lab_core::record::SessionStatus;

use super::{ABSENT, Block, Grid, Page, Row, Text, Tone, minutes, numbers, words};
use crate::list_json::ListRow;
use crate::quantity::format_quantity;

/// Digits of a fingerprint that a list shows: enough to see at a glance which sessions share one.
const FINGERPRINT_DIGITS: usize = 8;

/// Lays out the list of sessions, in the order given.
pub fn sessions(rows: &[ListRow]) -> Page {
    if rows.is_empty() {
        return Page(vec![Block::Lines(vec![Text::plain("no session is recorded yet")])]);
    }
    let columns = vec![
        words("session"),
        words("started UTC"),
        words("plan"),
        words("model"),
        numbers("n"),
        numbers("tokens_per_sec"),
        words("fingerprint"),
        words("status"),
    ];
    let mut blocks = vec![Block::Grid(Grid { columns, rows: rows.iter().map(row).collect() })];
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

fn row(session: &ListRow) -> Row {
    let cells = vec![
        session.short_id.clone(),
        minutes(&session.started_at),
        session.plan.clone(),
        session.model.clone(),
        format!("{}/{}", session.counting(), session.asked),
        session.tokens_per_sec_mean.map_or(ABSENT.to_owned(), format_quantity),
        session.fingerprint.chars().take(FINGERPRINT_DIGITS).collect(),
        session.status.to_string(),
    ];
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
