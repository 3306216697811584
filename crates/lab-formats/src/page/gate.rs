//! The outcome of a gate: the comparison, and what was decided.

use lab_core::gate::{Check, CheckOutcome, Gate};

use super::{Block, Grid, Page, Row, Text, Tone, report, words};

/// Lays out a gate: the whole comparison first, then check by check, and the decision last.
pub fn gate(gate: &Gate) -> Page {
    let Page(mut blocks) = report(&gate.report);
    if !gate.checks.is_empty() {
        let columns = vec![words("check"), words("verdict"), words("outcome")];
        blocks.push(Block::Grid(Grid { columns, rows: gate.checks.iter().map(row).collect() }));
    }
    let tone = if gate.passed { Tone::Good } else { Tone::Bad };
    blocks.push(Block::Lines(vec![Text::toned(gate.reason.clone(), tone)]));
    Page(blocks)
}

fn row(check: &Check) -> Row {
    let (word, tone) = match check.outcome {
        CheckOutcome::Passed => ("passed", Tone::Good),
        CheckOutcome::Failed => ("failed", Tone::Bad),
        CheckOutcome::Skipped => ("skipped", Tone::Doubtful),
        CheckOutcome::Error => ("error", Tone::Bad),
    };
    Row { cells: vec![check.metric.clone(), check.words.clone(), word.to_owned()], tone }
}
