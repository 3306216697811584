//! How often verdicts are wrong, on simulated data with fixed seeds. `docs/comparison.md` quotes what
//! `cargo test --release -p lab-compare --test statistics rates -- --nocapture --test-threads 1` prints.
//!
//! Each row is held to its goal by the Clopper–Pearson bound of its count: what may happen rarely is shown to be rare, and what
//! must be found is shown to be found. A rule that always says *inconclusive* fails here as one that is often wrong does.

#![expect(clippy::print_stdout, reason = "the tables of the documentation")]
#![expect(clippy::float_cmp, reason = "rows are found again by the figures they were made of")]

mod estimators;
mod sessions;
mod steps;

use crate::recorded::{Drawn, Recorded};
use crate::simulation::{Draw, Source, Tally, World};
use lab_compare::location::location;
use lab_compare::noise::components;
use lab_compare::number_line::Verdict;
use lab_compare::stopping::{Look, plan};
use lab_core::experiment::{Noise, StoppingPlan};
use lab_core::metric::Direction;

/// A debug build is thirty times as slow, and proves the same with wider bounds.
const N_TRIALS: u32 = if cfg!(debug_assertions) { 2_000 } else { 20_000 };

const TOLERANCE: f64 = 0.03;

/// One row of a table of rates.
struct Row<'a> {
    name: &'a str,
    world: &'a dyn Source,
    /// True relative change of the metric.
    change: f64,
    tolerance: f64,
    most_pairs: u32,
    calibration: Calibration,
}

/// What is known of a host before an experiment begins.
#[derive(Clone, Copy, PartialEq)]
enum Calibration {
    /// Nothing.
    None,
    /// What so many experiments of so many pairs told, as `lab calibrate` measures them.
    Of { experiments: u32, pairs: usize },
}

impl Calibration {
    /// Draws a calibration in the same world, and returns what it comes to.
    fn noise(self, world: &dyn Source, draw: &mut Draw) -> Noise {
        let Self::Of { experiments, pairs } = self else { return Noise::default() };
        let groups: Vec<Vec<f64>> =
            (0..experiments).map(|_| world.series(draw, 0.0).take(pairs).collect()).collect();
        components(&groups).expect("several experiments of several pairs").noise()
    }
}

/// What became of the trials of a row.
struct Outcomes {
    regressed: Tally,
    improved: Tally,
    equivalent: Tally,
    inconclusive: Tally,
    /// Median number of pairs.
    pairs: u32,
}

/// Runs experiments of one row to their verdicts, as `lab ab` does.
fn experiments(row: &Row<'_>, seed: u64) -> Outcomes {
    let stopping = plan(row.most_pairs);
    let mut counts = [0_u32; 4];
    let mut lengths = Vec::new();
    for trial in 0..N_TRIALS {
        let mut draw = Draw::new(seed, trial);
        let noise = row.calibration.noise(row.world, &mut draw);
        let mut series = row.world.series(&mut draw, row.change);
        let mut log_ratios = Vec::new();
        let verdict = stopping.looks.iter().map(|look| {
            log_ratios.extend(series.by_ref().take(*look as usize - log_ratios.len()));
            let look = Look::at(&log_ratios, &stopping, noise).expect("a look has four pairs or more");
            (log_ratios.len(), look.verdict(row.tolerance, Direction::Higher))
        });
        let mut last = (0, Verdict::Inconclusive);
        for looked in verdict {
            last = looked;
            if last.1 != Verdict::Inconclusive {
                break;
            }
        }
        counts[last.1 as usize] += 1;
        lengths.push(u32::try_from(last.0).expect("a small count"));
    }
    lengths.sort_unstable();
    let tally = |verdict: Verdict| Tally { k: counts[verdict as usize], n: N_TRIALS };
    Outcomes {
        regressed: tally(Verdict::Regressed),
        improved: tally(Verdict::Improved),
        equivalent: tally(Verdict::Equivalent),
        inconclusive: tally(Verdict::Inconclusive),
        pairs: lengths[lengths.len() / 2],
    }
}

impl Outcomes {
    fn called_different(&self) -> Tally {
        Tally { k: self.regressed.k + self.improved.k, n: self.regressed.n }
    }

    /// What the verdict of a true loss beyond the tolerance must not be.
    fn missed(&self) -> Tally {
        Tally { k: self.equivalent.k + self.improved.k, n: self.regressed.n }
    }

    /// Holds the rates of a world to what is promised of every one: no change is hardly ever called one, and a loss beyond the
    /// tolerance never the opposite.
    fn hold(&self, row: &Row<'_>) {
        let (name, change) = (row.name, row.change);
        if change == 0.0 {
            let wrong = self.called_different();
            assert!(wrong.is_at_most(0.01), "{name}: called different in {wrong}");
        }
        if change < -row.tolerance {
            let missed = self.missed();
            assert!(missed.is_at_most(0.01), "{name} {change}: missed in {missed}");
        }
    }

    /// Holds the boundary itself: a loss that just matters is hardly ever called equivalent.
    fn hold_boundary(&self, row: &Row<'_>) {
        let equivalent = self.equivalent;
        assert!(row.change != -row.tolerance || equivalent.is_at_most(0.05), "{}: {equivalent}", row.name);
    }

    /// Holds the rates of pairs that vary by 2 % or less to the goals for what must be found.
    fn find(&self, row: &Row<'_>) {
        let (found, least) = match row.change {
            0.0 => (self.equivalent, 0.90),
            -0.015 => (self.equivalent, 0.80),
            -0.06 => (self.regressed, 0.95),
            -0.10 => (self.regressed, 0.99),
            _ => return,
        };
        assert!(found.is_at_least(least), "{} {}: found in {found}", row.name, row.change);
    }
}

fn print_row(row: &Row<'_>, outcomes: &Outcomes) {
    let Outcomes { regressed, improved, equivalent, inconclusive, pairs } = outcomes;
    println!(
        "| {:<44} | {:>6} % | {regressed} | {improved} | {equivalent} | {inconclusive} | {pairs:>5} |",
        row.name,
        row.change * 100.0
    );
}

fn header() {
    println!("| world | change | regressed | improved | equivalent | inconclusive | pairs |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
}

/// The worlds that the rule must stand: their pairs are independent of each other.
fn worlds() -> Vec<(&'static str, World)> {
    let quiet = World { spread: 0.02, ..World::default() };
    vec![
        ("normal, sd 2 %", quiet),
        ("normal, sd 1.2 %", World { spread: 0.012, ..quiet }),
        ("heavy tails (t, 3 degrees of freedom), sd 2 %", World { freedom: Some(3), ..quiet }),
        ("1 launch in 50 slow by 1.7", World { slow: [0.02, 0.02], ..quiet }),
        ("two modes 2 % apart, sd 1.2 %", World { spread: 0.012, modes: 0.02, ..quiet }),
        ("whoever starts first is 2 % faster", World { first: 0.02, ..quiet }),
        ("normal, sd 4 %", World { spread: 0.04, ..quiet }),
        ("normal, sd 10 %", World { spread: 0.10, ..quiet }),
    ]
}

/// Those of [`worlds`] whose pairs vary by 2 % or little more: what goals of power are stated for.
const N_QUIET: usize = 6;

/// Worlds in which pairs hang together: what no interval of a few pairs can know.
fn unsteady_worlds() -> [(&'static str, World); 2] {
    let quiet = World { spread: 0.012, ..World::default() };
    [
        ("sd 1.2 %, drifting by 0.2 % a pair", World { drift: 0.002, ..quiet }),
        ("sd 1.2 %, every four pairs share 1 %", World { clusters: 0.01, ..quiet }),
    ]
}

fn no_change<'a>(name: &'a str, world: &'a dyn Source) -> Row<'a> {
    Row { name, world, change: 0.0, tolerance: TOLERANCE, most_pairs: 36, calibration: Calibration::None }
}

/// True changes that tables have rows of.
const CHANGES: [f64; 6] = [0.0, -0.015, -0.03, -0.06, -0.10, 0.06];

#[test]
fn changes_are_found_and_nothing_is_called_one_that_is_none() {
    header();
    for (index, (name, world)) in worlds().into_iter().enumerate() {
        for change in CHANGES {
            let row = Row { change, ..no_change(name, &world) };
            let outcomes = experiments(&row, if change == 0.0 { 1 } else { 2 });
            print_row(&row, &outcomes);
            outcomes.hold(&row);
            outcomes.hold_boundary(&row);
            if index < N_QUIET {
                outcomes.find(&row);
            }
        }
    }
}

#[test]
fn where_pairs_hang_together_nothing_is_called_a_change_that_is_none() {
    header();
    for (name, world) in unsteady_worlds() {
        for change in CHANGES {
            let row = Row { change, ..no_change(name, &world) };
            let outcomes = experiments(&row, 2);
            print_row(&row, &outcomes);
            outcomes.hold(&row);
        }
    }
}

/// Two metrics that are judged together share what a look may miss; what is wrong of either is wrong of both.
#[test]
fn two_metrics_are_wrong_no_more_often_than_one() {
    println!(
        "| two metrics, sd 2 % and 3 %, tolerances 3 % and 5 % | correlation | either called different | both equivalent |"
    );
    println!("| --- | --- | --- | --- |");
    let whole = plan(36);
    let stopping = StoppingPlan { look_confidence: 1.0 - (1.0 - whole.look_confidence) / 2.0, ..whole };
    for correlation in [0.0, 0.8] {
        for change in [0.0, -0.03] {
            let (mut different, mut equivalent) = (0, 0);
            for trial in 0..N_TRIALS {
                let mut draw = Draw::new(10, trial);
                let mut metrics: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
                for look in &stopping.looks {
                    while metrics[0].len() < *look as usize {
                        let (one, own) = (draw.normal(), draw.normal());
                        let other = correlation * one + (1.0_f64 - correlation.powi(2)).sqrt() * own;
                        metrics[0].push(f64::ln_1p(change) + 0.02 * one);
                        metrics[1].push(f64::ln_1p(change / 3.0 * 5.0) + 0.03 * other);
                    }
                    let verdicts = [0, 1].map(|metric| {
                        let look = Look::at(&metrics[metric], &stopping, Noise::default());
                        look.expect("four pairs or more").verdict([0.03, 0.05][metric], Direction::Higher)
                    });
                    let is = |wanted: &[Verdict]| verdicts.iter().filter(|own| wanted.contains(own)).count();
                    if is(&[Verdict::Regressed, Verdict::Improved]) > 0 {
                        different += 1;
                        break;
                    }
                    if is(&[Verdict::Equivalent]) == 2 {
                        equivalent += 1;
                        break;
                    }
                }
            }
            let [different, equivalent] = [different, equivalent].map(|k| Tally { k, n: N_TRIALS });
            let which = if change == 0.0 { "no change" } else { "both on their tolerance" };
            println!("| {which} | {correlation} | {different} | {equivalent} |");
            if change == 0.0 {
                assert!(different.is_at_most(0.01), "{correlation}: {different}");
                assert!(equivalent.is_at_least(0.90), "{correlation}: {equivalent}");
            } else {
                assert!(different.is_at_most(0.05) && equivalent.is_at_most(0.05), "{correlation}");
            }
        }
    }
}

/// Pairs that were measured instead of drawn ones: with the slow launches, tails and phases of a real machine.
#[test]
fn on_recorded_pairs_verdicts_are_right_as_often() {
    header();
    for (file, what) in [
        ("trials-one-place.jsonl", "one place a launch"),
        ("trials-prompts-at-once.jsonl", "prompts at once"),
        ("trials-prompt-places.jsonl", "prompts in slices"),
    ] {
        for (by, order) in [(Drawn::Pairs, "pair by pair"), (Drawn::Experiments, "whole experiments")] {
            let recorded = Recorded::read(file, by);
            let name = format!("{} recorded pairs, {what}, {order}", recorded.n_pairs());
            for change in [0.0, -0.015, -0.03, -0.06, -0.10] {
                let row = Row { change, ..no_change(&name, &recorded) };
                let outcomes = experiments(&row, 9);
                print_row(&row, &outcomes);
                outcomes.hold(&row);
                // What was planted is known as well as a delay is kept, so that the boundary is only nearly at the tolerance.
                let green = outcomes.equivalent;
                assert!(change != -0.03 || green.is_compatible_with_at_most(0.05), "{name}: {green}");
                outcomes.find(&row);
            }
        }
    }
}

#[test]
fn a_finer_tolerance_takes_more_pairs() {
    header();
    for spread in [0.012, 0.02] {
        let world = World { spread, ..World::default() };
        let name = "tolerance 1 %, at most 112 pairs";
        let row = Row { tolerance: 0.01, most_pairs: 112, ..no_change(name, &world) };
        let outcomes = experiments(&row, 3);
        print_row(&row, &outcomes);
        outcomes.hold(&row);
        assert!(outcomes.equivalent.is_at_least(0.80), "{}: {}", row.name, outcomes.equivalent);
    }
}

#[test]
fn correlated_launches_and_a_bias_of_experiments_are_paid_for_where_calibration_knows_them() {
    header();
    let correlated = World { spread: 0.02, correlation: 0.2, ..World::default() };
    let quiet = World { spread: 0.012, ..correlated };
    let biased = World { spread: 0.02, bias: 0.005, ..World::default() };
    let by_default = Calibration::Of { experiments: 8, pairs: 8 };
    let longer = Calibration::Of { experiments: 12, pairs: 16 };
    // With a correlation of 0.2 every goal must hold: on a host that is not calibrated, and on one whose pairs vary by what was
    // measured (1.2 %) with a calibration of any length from the default on.
    for (name, world, calibration, is_held) in [
        ("correlation 0.2, sd 2 %, not calibrated", &correlated, Calibration::None, true),
        ("correlation 0.2, sd 2 %, 8 experiments of 8 pairs", &correlated, by_default, false),
        ("correlation 0.2, sd 2 %, 12 experiments of 16 pairs", &correlated, longer, false),
        ("correlation 0.2, sd 1.2 %, 8 experiments of 8 pairs", &quiet, by_default, true),
        ("correlation 0.2, sd 1.2 %, 12 experiments of 16 pairs", &quiet, longer, true),
        ("bias sd 0.5 %, sd 2 %, not calibrated", &biased, Calibration::None, false),
        ("bias sd 0.5 %, sd 2 %, 8 experiments of 8 pairs", &biased, by_default, false),
        ("bias sd 0.5 %, sd 2 %, 12 experiments of 16 pairs", &biased, longer, false),
    ] {
        for change in [0.0, -0.015, -0.03, -0.06, -0.10] {
            let row = Row { change, calibration, ..no_change(name, world) };
            let outcomes = experiments(&row, 4);
            print_row(&row, &outcomes);
            outcomes.hold(&row);
            if calibration != Calibration::None {
                outcomes.hold_boundary(&row);
            }
            if is_held {
                outcomes.find(&row);
                let green = outcomes.equivalent;
                assert!(change != -0.03 || green.is_compatible_with_at_most(0.05), "{name}: {green}");
            }
        }
    }
}

/// How often some interval of a series of looks misses the truth, and which look confidence makes that 5 %.
#[test]
fn all_looks_together_hold_the_truth_as_often_as_is_claimed() {
    for most_pairs in [4, 10, 36, 112] {
        let stopping = plan(most_pairs);
        // The greatest distance from the truth in any look, as the confidence of the interval that would just hold it.
        let mut needed: Vec<f64> = (0..N_TRIALS)
            .map(|trial| {
                let mut draw = Draw::new(5, trial);
                let world = World { spread: 0.02, ..World::default() };
                let values: Vec<f64> = world.series(&mut draw, 0.0).take(most_pairs as usize).collect();
                stopping
                    .looks
                    .iter()
                    .map(|look| confidence_to_hold(&values[..*look as usize]))
                    .fold(0.0, f64::max)
            })
            .collect();
        needed.sort_by(f64::total_cmp);
        let index = needed.len() * 95 / 100;
        let missed = needed.iter().filter(|own| **own > stopping.look_confidence).count();
        let missed = Tally { k: u32::try_from(missed).expect("a small count"), n: N_TRIALS };
        println!(
            "at most {most_pairs:>3} pairs: {} looks at {:.2} % each miss the truth in {missed}; 5 % would take {:.2} %",
            stopping.looks.len(),
            stopping.look_confidence * 100.0,
            needed[index] * 100.0
        );
        assert!(missed.is_compatible_with_at_most(1.0 - stopping.confidence), "{most_pairs} pairs: {missed}");
    }
}

/// Returns the confidence at which the interval of these values has 0 as one of its ends.
fn confidence_to_hold(values: &[f64]) -> f64 {
    use statrs::distribution::{ContinuousCDF as _, StudentsT};
    let own = location(values).expect("four values or more");
    let t = (own.centre / own.standard_error).abs();
    2.0 * StudentsT::new(0.0, 1.0, own.degrees_of_freedom).expect("three or more").cdf(t) - 1.0
}
