//! What takes how much room in a store, and for how long the room lasts.

use lab_core::metric::Reading;

use super::{Block, Grid, Page, Row, Text, Tone, minutes, numbers, words};
use crate::quantity::{format_quantity, format_share, format_value};
use crate::store_json::{ArchiveBlock, BlobBlock, ForecastBlock, ReachBlock, StoreDocument};

/// Lays out a store: its file, its tables, its archives, the last days.
pub fn store(document: &StoreDocument) -> Page {
    let mut blocks = vec![
        Block::Title(format!("store {}", document.path)),
        Block::Facts(facts(document)),
        Block::Grid(tables(document)),
    ];
    if !document.archives.is_empty() {
        blocks.push(Block::Grid(archives(&document.archives)));
    }
    if !document.days.is_empty() {
        blocks.push(Block::Grid(days(document)));
    }
    Page(blocks)
}

fn facts(document: &StoreDocument) -> Vec<(String, Text)> {
    let fact = |name: &str, words: String| (name.to_owned(), Text::plain(words));
    let StoreDocument { bytes, unused_bytes, timelines, pieces, archived, archives, forecast, .. } = document;
    let unused =
        if *unused_bytes > 0 { format!(", {} of it unused", size(*unused_bytes)) } else { String::new() };
    let mut facts = vec![
        fact("file", format!("{}{unused}", size(*bytes))),
        fact("timelines", blobs(timelines)),
        fact("pieces of files", blobs(pieces)),
        fact("archived", format!("{}, in {} archives", blobs(archived), archives.len())),
        fact(
            "growth",
            match forecast.over_days {
                1 => format!("{} a day, by that of the last day", size(forecast.bytes_per_day)),
                n_days => format!("{} a day, over the last {n_days} days", size(forecast.bytes_per_day)),
            },
        ),
        ("disk".to_owned(), disk(forecast)),
    ];
    if let Some(limit) = forecast.limit_bytes {
        let reached = reach(forecast.limit.as_ref(), "reached");
        facts.push((
            "limit".to_owned(),
            Text { words: format!("{}: {}", size(limit), reached.words), ..reached },
        ));
    }
    facts
}

fn disk(forecast: &ForecastBlock) -> Text {
    match &forecast.free_bytes {
        Reading::Unavailable(reason) => Text::plain(format!("unavailable: {reason}")),
        Reading::Value(free) => {
            let full = reach(forecast.full.as_ref(), "full");
            Text { words: format!("{} free: {}", size(*free), full.words), ..full }
        }
    }
}

/// Fewer days than this are to be looked at: a week is when somebody is away.
const SOON_DAYS: u64 = 14;

fn reach(reach: Option<&ReachBlock>, word: &str) -> Text {
    match reach {
        None => Text::plain(format!("not {word} at this rate")),
        Some(ReachBlock { in_days: 0, .. }) => Text::toned(format!("{word} today"), Tone::Bad),
        Some(ReachBlock { in_days, on }) => {
            let on = on.as_ref().map(|day| format!(", on {day}")).unwrap_or_default();
            let tone = if *in_days < SOON_DAYS { Tone::Doubtful } else { Tone::Plain };
            Text::toned(format!("{word} in {} days{on}", count(*in_days)), tone)
        }
    }
}

fn blobs(blobs: &BlobBlock) -> String {
    format!("{}, {}", count(blobs.blobs), size(blobs.bytes))
}

fn tables(document: &StoreDocument) -> Grid {
    let columns = vec![words("table"), numbers("rows"), numbers("size"), numbers("share")];
    let rows = document.tables.iter().map(|own| {
        let share = as_number(own.bytes) / as_number(document.bytes.max(1));
        let cells = vec![own.table.clone(), count(own.rows), size(own.bytes), format_share(share)];
        Row { cells, tone: Tone::Plain }
    });
    Grid { columns, rows: rows.collect() }
}

fn archives(archives: &[ArchiveBlock]) -> Grid {
    let columns = vec![
        words("archive"),
        words("made UTC"),
        numbers("sessions"),
        numbers("BLOBs"),
        numbers("were"),
        numbers("file"),
        words("state"),
    ];
    let rows = archives.iter().map(|own| {
        let (state, tone) = match &own.place {
            None => ("not there", Tone::Doubtful),
            Some(place) if *place == own.path => ("there", Tone::Good),
            Some(_) => ("beside the store", Tone::Good),
        };
        let cells = vec![
            own.path.clone(),
            minutes(&own.created_at),
            count(own.sessions),
            count(own.timelines + own.pieces),
            size(own.blob_bytes),
            size(own.bytes),
            state.to_owned(),
        ];
        Row { cells, tone }
    });
    Grid { columns, rows: rows.collect() }
}

fn days(document: &StoreDocument) -> Grid {
    let columns = vec![words("day UTC"), numbers("sessions"), numbers("about")];
    let rows = document.days.iter().map(|own| {
        let cells = vec![own.day.clone(), count(own.sessions), size(own.bytes)];
        Row { cells, tone: Tone::Plain }
    });
    Grid { columns, rows: rows.collect() }
}

/// Returns a size in the greatest unit of thousands that it reaches: `812 B`, `1.234 MB`.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        None => format!("{bytes} B"),
        Some((unit, name)) => format!("{} {name}", format_quantity(as_number(bytes) / as_number(unit))),
    }
}

fn count(number: u64) -> String {
    format_value(as_number(number), "tokens")
}

#[expect(clippy::cast_precision_loss, reason = "a size or a count for people, in four digits")]
fn as_number(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::table::{Style, render};

    #[test]
    fn a_store_says_what_takes_room_and_when_there_is_none_left() {
        let text = render(&store(&samples::store()), Style::default());
        for words in [
            "store results/lab.sqlite",
            "12.35 MB, 40.96 kB of it unused",
            "in 2 archives",
            "12.50 MB a day, over the last 7 days",
            "40.00 GB free: full in 3,200 days, on 2035-01-01",
            "10.00 GB: reached today",
            "not there",
            "beside the store",
        ] {
            assert!(text.contains(words), "`{words}` in\n{text}");
        }
    }

    #[test]
    fn a_store_that_does_not_grow_fills_nothing() {
        let mut document = samples::store();
        document.forecast = ForecastBlock {
            bytes_per_day: 0,
            full: None,
            limit_bytes: None,
            limit: None,
            ..document.forecast
        };
        document.archives.clear();
        document.days.clear();
        let text = render(&store(&document), Style::default());
        assert!(text.contains("40.00 GB free: not full at this rate"), "{text}");
        assert!(!text.contains("made UTC") && !text.contains("day UTC") && !text.contains("limit"), "{text}");
        document.forecast.free_bytes = Reading::Unavailable("no answer".to_owned());
        assert!(render(&store(&document), Style::default()).contains("unavailable: no answer"));
    }

    #[test]
    fn sizes_have_the_unit_that_they_reach() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.000 kB"),
            (1_234_567, "1.235 MB"),
            (40_000_000_000, "40.00 GB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
