//! What came of holding one session to limits.

use lab_core::check::{LimitCheck, LimitOutcome, SessionCheck};
use lab_core::metric::short_name;
use lab_core::work::Origin;

use super::{ABSENT, Block, Grid, Page, Row, Text, Tone, numbers, words};
use crate::quantity::format_value;

/// Lays out a check: limit by limit, what is doubtful, and the outcome last.
pub fn check(check: &SessionCheck) -> Page {
    let origin = match check.origin {
        Origin::Measured => "",
        Origin::Imported => ", imported",
    };
    let columns = vec![words("metric"), words("limit"), numbers("worst"), numbers("n"), words("outcome")];
    let tone = if check.passed { Tone::Good } else { Tone::Bad };
    let missing = check.limits.iter().filter_map(|row| {
        let reason = row.unavailable.as_ref()?;
        Some(Text::plain(format!("{}: {reason}", short_name(&row.metric))))
    });
    let notes = check.notes.iter().map(|note| Text::toned(format!("note: {note}"), Tone::Doubtful));
    let lines = missing.chain(notes).chain([Text::toned(check.reason.clone(), tone)]).collect();
    Page(vec![
        Block::Title(format!("session {} of {}{origin}", check.session, check.plan)),
        Block::Grid(Grid { columns, rows: check.limits.iter().map(row).collect() }),
        Block::Lines(lines),
    ])
}

fn row(limit: &LimitCheck) -> Row {
    let (word, tone) = match limit.outcome {
        LimitOutcome::Holds => ("holds", Tone::Good),
        LimitOutcome::Broken => ("broken", Tone::Bad),
        LimitOutcome::Unknown => ("unknown", Tone::Bad),
    };
    let worst = limit.worst.map_or(ABSENT.to_owned(), |worst| format_value(worst, &limit.unit));
    let cells = vec![
        short_name(&limit.metric).to_owned(),
        limit.limit.in_unit(&limit.unit),
        worst,
        limit.n.to_string(),
        word.to_owned(),
    ];
    Row { cells, tone }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::table::{Style, render};

    #[test]
    fn every_limit_has_a_row_and_the_outcome_stands_last() {
        let text = render(&check(&samples::check()), Style { colour: false, width: None });
        for words in
            ["workflow.v1/per_op_overhead_us", "below 10 us", "4.730", "holds", "unknown", ", imported"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        let last = text.trim_end().lines().last().unwrap();
        assert_eq!(last.trim(), "failed: 1 of 2 cannot be shown to hold", "{text}");
    }
}
