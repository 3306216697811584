//! What a host and an engine vary by when nothing changes.

use lab_core::calibration::{Calibration, Grouped, Rate};

use super::{Block, Grid, Page, Row, Text, Tone, numbers};

/// Lays out what separate sessions and paired experiments vary by, and what they can therefore see.
pub fn calibrations(compare: &Calibration, ab: &Calibration) -> Page {
    Page(vec![
        Block::Title(format!("calibration, plan {}", compare.plan)),
        Block::Facts(facts(compare, "session", "launch")),
        Block::Grid(grid(&compare.rates, "launches a side")),
        Block::Facts(facts(ab, "experiment", "pair")),
        Block::Grid(grid(&ab.rates, "pairs at most")),
        Block::Lines(vec![Text::plain(headline(compare, ab))]),
    ])
}

fn facts(calibration: &Calibration, group: &str, value: &str) -> Vec<(String, Text)> {
    let Grouped { n_groups, n_values, within, between, serial_correlation } = calibration.noise;
    let fact = |name: String, words: String| (name, Text::plain(words));
    vec![
        fact(format!("{group}s"), format!("{n_groups}, {n_values} {value}s")),
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

fn row(rate: &Rate) -> Row {
    let share = |k: u32| percent(f64::from(k) / f64::from(rate.trials));
    let cells = vec![
        rate.n.to_string(),
        percent(rate.change),
        share(rate.regressed),
        share(rate.improved),
        share(rate.equivalent),
        share(rate.inconclusive()),
        rate.median_pairs.map_or_else(|| super::ABSENT.to_owned(), |pairs| pairs.to_string()),
    ];
    Row { cells, tone: Tone::Plain }
}

/// Says what this host supports: `at 5 launches a side this host sees 10 % in 4 of 5 comparisons; lab ab 6 % in 8 pairs`.
fn headline(compare: &Calibration, ab: &Calibration) -> String {
    let sees = |rate: &&Rate| rate.change < 0.0 && rate.regressed * 5 >= rate.trials * 4;
    let at_five = compare.rates.iter().filter(|rate| rate.n == 5).find(sees);
    let apart = at_five.map_or_else(
        || "at 5 launches a side this host sees no change up to 10 %".to_owned(),
        |rate| format!("at 5 launches a side this host sees a change of {}", percent(-rate.change)),
    );
    let paired = ab.rates.iter().find(sees).map_or_else(
        || "`lab ab` none either".to_owned(),
        |rate| {
            let pairs = rate.median_pairs.unwrap_or(rate.n);
            format!("`lab ab` {} in {pairs} pairs", percent(-rate.change))
        },
    );
    format!("{apart} in 4 of 5 comparisons; {paired} (tolerance {})", percent(compare.tolerance))
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = if percent.abs() < 9.95 && percent.fract().abs() > 1e-9 { 1 } else { 0 };
    format!("{percent:.decimals$} %")
}
