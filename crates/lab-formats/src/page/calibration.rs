//! What a host and an engine vary by when nothing changes.

use lab_core::calibration::{Calibration, Grouped, Planted, Rate};
use lab_core::report::Support;
use lab_core::tolerance::change_in_words;

use super::{Block, Grid, Page, Row, Text, Tone, numbers, words};

/// Lays out what separate sessions and paired experiments vary by, and what they can therefore see. `support` is what a
/// comparison of five launches a side says of it.
pub fn calibrations(compare: &Calibration, ab: &Calibration, support: Option<&Support>) -> Page {
    let mut blocks = vec![Block::Title(format!("calibration, plan {}", compare.plan))];
    blocks.extend(part(compare, "session", ["launch", "launches"], "launches a side"));
    blocks.extend(part(ab, "experiment", ["pair", "pairs"], "pairs at most"));
    blocks.extend(support.map(|own| Block::Lines(vec![Text::plain(super::report::support(own))])));
    Page(blocks)
}

fn part(own: &Calibration, group: &str, value: [&str; 2], count: &'static str) -> Vec<Block> {
    let mut blocks = vec![Block::Facts(facts(own, group, value)), Block::Grid(grid(&own.rates, count))];
    if !own.planted.is_empty() {
        let columns = vec![
            numbers("planted"),
            numbers("found"),
            numbers("95 % interval"),
            numbers(count),
            words("verdict"),
        ];
        blocks.push(Block::Grid(Grid { columns, rows: own.planted.iter().map(planted).collect() }));
    }
    blocks
}

fn planted(planted: &Planted) -> Row {
    let Planted { change, estimate, low, high, n, conclusion } = planted;
    let words = |share: f64| change_in_words(share, None);
    let cells = vec![
        words(*change),
        words(*estimate),
        format!("{} to {}", words(*low).trim_end_matches(" %"), words(*high)),
        n.to_string(),
        conclusion.to_string(),
    ];
    Row { cells, tone: Tone::Plain }
}

fn facts(calibration: &Calibration, group: &str, [value, values]: [&str; 2]) -> Vec<(String, Text)> {
    let Grouped { n_groups, n_values, within, between, serial_correlation } = calibration.noise;
    let fact = |name: String, words: String| (name, Text::plain(words));
    vec![
        fact(format!("{group}s"), format!("{n_groups}, {n_values} {values}")),
        fact(format!("sd of a {value}"), percent(within)),
        fact(format!("sd of {group}s"), percent(between)),
        fact("serial correlation".to_owned(), format!("{serial_correlation:+.2}")),
    ]
}

fn grid(rates: &[Rate], count: &'static str) -> Grid {
    let columns = vec![
        numbers(count),
        numbers("true change"),
        numbers("regressed"),
        numbers("improved"),
        numbers("equivalent"),
        numbers("inconclusive"),
        numbers("median pairs"),
    ];
    Grid { columns, rows: rates.iter().map(row).collect() }
}

/// A rate is shown with its interval where it is known: `4.1 % (3.3 to 5.1)`.
fn row(rate: &Rate) -> Row {
    let share = |k: u32, interval: Option<[f64; 2]>| {
        let rate = percent(f64::from(k) / f64::from(rate.trials));
        interval.map_or_else(
            || rate.clone(),
            |[low, high]| format!("{rate} ({:.1} to {:.1})", low * 100.0, high * 100.0),
        )
    };
    let intervals = rate.intervals;
    let cells = vec![
        rate.n.to_string(),
        percent(rate.change),
        share(rate.regressed, intervals.map(|own| own.regressed)),
        share(rate.improved, intervals.map(|own| own.improved)),
        share(rate.equivalent, intervals.map(|own| own.equivalent)),
        share(rate.inconclusive(), intervals.map(|own| own.inconclusive)),
        rate.median_pairs.map_or_else(|| super::ABSENT.to_owned(), |pairs| pairs.to_string()),
    ];
    Row { cells, tone: Tone::Plain }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = if percent.abs() < 9.95 && percent.fract().abs() > 1e-9 { 1 } else { 0 };
    format!("{percent:.decimals$} %")
}
