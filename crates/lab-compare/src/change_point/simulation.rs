//! How often a change is seen where there is none, and how small a change is found, on series with fixed seeds.
//!
//! `cargo test -p lab-compare change_point::simulation -- --nocapture` prints the figures of `docs/history.md`.

use super::*;
use crate::draw::Draw;

/// Spread of a session's mean around its level, as the standard deviation of its logarithm.
const SPREAD: f64 = 0.02;

/// What the values around a level are drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Noise {
    /// The logarithm is normal.
    Normal,
    /// The same, and one session in fifty has 45 % less.
    Outliers,
}

impl Noise {
    const ALL: [Self; 2] = [Self::Normal, Self::Outliers];
}

impl Draw {
    fn log(&mut self, noise: Noise) -> f64 {
        let is_outlier = noise == Noise::Outliers && self.uniform() < 0.02;
        SPREAD * self.normal() + if is_outlier { 0.55_f64.ln() } else { 0.0 }
    }
}

/// Draws a series of levels, each relative to 1 and with how many sessions have it.
fn series(noise: Noise, levels: &[(f64, usize)], seed: u64) -> Vec<f64> {
    let mut draw = Draw::new(seed, 0);
    let levels = levels.iter().flat_map(|(level, n)| std::iter::repeat_n(level.ln(), *n));
    levels.map(|level| level + draw.log(noise)).collect()
}

/// Returns the share of `n` series of which `holds`.
fn share(noise: Noise, levels: &[(f64, usize)], n: u64, holds: impl Fn(&[ChangePoint]) -> bool) -> f64 {
    let of_seed = |seed| holds(&change_points(&series(noise, levels, seed)).unwrap());
    (0..n).filter(|seed| of_seed(*seed)).count() as f64 / n as f64
}

/// Returns the greatest share of `n` that a true chance shows but once in a thousand: three standard errors above it.
fn bound(chance: f64, n: u64) -> f64 {
    chance + 3.0 * (chance * (1.0 - chance) / n as f64).sqrt()
}

#[test]
fn a_series_without_a_change_shows_one_no_oftener_than_promised() {
    for (n_sessions, n_series) in [(LEAST_SESSIONS, 2_000), (20, 4_000), (40, 1_000)] {
        for noise in Noise::ALL {
            let alarms = share(noise, &[(1.0, n_sessions)], n_series, |points| !points.is_empty());
            let most = bound(SIGNIFICANCE, n_series);
            println!(
                "{noise:?}, {n_sessions} sessions: {:.2} % false alarms of {n_series} series (1 % or less is \
                 promised, seen as at most {:.2} %)",
                100.0 * alarms,
                100.0 * most
            );
            assert!(alarms <= most, "{noise:?}, {n_sessions} sessions: {alarms}");
        }
    }
}

#[test]
fn a_true_change_brings_no_more_false_ones_with_it_than_promised() {
    const N_SERIES: u64 = 500;
    for noise in Noise::ALL {
        let levels = [(1.0, 20), (0.9, 20)];
        let more = share(noise, &levels, N_SERIES, |points| points.len() > 1);
        println!("{noise:?}: a step of 10 % after 20 of 40 brings further ones in {:.2} %", 100.0 * more);
        assert!(more <= bound(SIGNIFICANCE, N_SERIES), "{noise:?}: {more}");
    }
}

/// Whether there is a change within two sessions of this one.
fn near(points: &[ChangePoint], index: usize) -> bool {
    points.iter().any(|point| point.index.abs_diff(index) <= 2)
}

#[test]
fn a_step_is_found_as_often_as_the_noise_permits() {
    const N_SERIES: u64 = 500;
    for (level, n_before, n_after, noise, at_least) in [
        (0.94, 10, 10, Noise::Normal, 0.95),
        (0.94, 10, 10, Noise::Outliers, 0.80),
        (1.06, 10, 10, Noise::Normal, 0.95),
        (0.97, 10, 10, Noise::Normal, 0.15),
        (0.97, 20, 20, Noise::Normal, 0.60),
        (0.94, 17, 3, Noise::Normal, 0.40),
        (0.94, 16, 4, Noise::Normal, 0.60),
        (0.94, 15, 5, Noise::Normal, 0.75),
    ] {
        let levels = [(1.0, n_before), (level, n_after)];
        let power = share(noise, &levels, N_SERIES, |points| near(points, n_before));
        println!(
            "{noise:?}: {:+.0} % after {n_before} of {} sessions is found in {:.1} %",
            100.0 * (level - 1.0),
            n_before + n_after,
            100.0 * power
        );
        assert!(power >= at_least, "{noise:?}, {levels:?}: {power}");
    }
}

#[test]
fn an_excursion_is_found_where_splits_alone_would_hardly_see_it() {
    const N_SERIES: u64 = 500;
    let levels = [(1.0, 12), (0.94, 5), (1.0, 13)];
    let power = share(Noise::Normal, &levels, N_SERIES, |points| near(points, 12) && near(points, 17));
    let by_split = |seed: &u64| {
        let scores = scores(&series(Noise::Normal, &levels, *seed));
        is_significant(&scores, Shape::Split, SIGNIFICANCE)
    };
    let alone = (0..N_SERIES).filter(by_split).count() as f64 / N_SERIES as f64;
    println!(
        "-6 % for 5 of 30 sessions: found in {:.1} %, by splits alone in {:.1} %",
        100.0 * power,
        100.0 * alone
    );
    assert!(power > 0.6 && alone < power, "{power} and {alone}");
}

fn is_significant(scores: &[f64], shape: Shape, level: f64) -> bool {
    let stretches = shape.stretches(scores.len());
    let best = most_unlike(scores, &stretches);
    best.is_some_and(|(_, statistic)| p_value(scores, &stretches, statistic, level).is_some())
}

/// The alternative that was not taken: deviations from the mean as they are, which is the two-sample t itself.
#[test]
fn unclipped_an_outlier_would_hide_the_step() {
    const N_SERIES: u64 = 500;
    let levels = [(1.0, 10), (0.94, 10)];
    let n_found = |scores_of: fn(&[f64]) -> Vec<f64>| {
        let finds = |seed: &u64| {
            let logs = series(Noise::Outliers, &levels, *seed);
            is_significant(&scores_of(&logs), Shape::Split, SIGNIFICANCE / 2.0)
        };
        (0..N_SERIES).filter(finds).count() as f64 / N_SERIES as f64
    };
    let unclipped = |logs: &[f64]| -> Vec<f64> {
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        logs.iter().map(|log| log - mean).collect()
    };
    let (with, without) = (n_found(scores), n_found(unclipped));
    println!(
        "-6 % among outliers: found in {:.1} % clipped, {:.1} % unclipped",
        100.0 * with,
        100.0 * without
    );
    assert!(with > without + 0.1, "{with} and {without}");
}
