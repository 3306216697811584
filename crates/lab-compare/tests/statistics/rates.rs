//! How often verdicts are wrong, on simulated data with fixed seeds. `docs/comparison.md` quotes what
//! `cargo test --release -p lab-compare --test statistics rates -- --nocapture --test-threads 1` prints.
//!
//! Each row is held to its goal by the Clopper–Pearson bound of its count, so that it fails for a worse rule and not for
//! bad luck.

#![expect(clippy::print_stdout, reason = "the tables of the documentation")]
#![expect(clippy::float_cmp, reason = "rows are found again by the figures they were made of")]

use crate::simulation::{Draw, Tally, World};
use lab_compare::location::{location, location_of, n_trimmed, t_quantile};
use lab_compare::noise::components;
use lab_compare::number_line::{Verdict, place};
use lab_compare::stopping::{Look, plan, until};
use lab_core::experiment::Noise;
use lab_core::metric::Direction;

/// A debug build is thirty times as slow, and proves the same with wider bounds.
const N_TRIALS: u32 = if cfg!(debug_assertions) { 2_000 } else { 20_000 };

const TOLERANCE: f64 = 0.03;

/// One row of a table of rates.
struct Row {
    name: &'static str,
    world: World,
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
    fn noise(self, world: &World, draw: &mut Draw) -> Noise {
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
fn experiments(row: &Row, seed: u64) -> Outcomes {
    let stopping = plan(row.most_pairs);
    let mut counts = [0_u32; 4];
    let mut lengths = Vec::new();
    for trial in 0..N_TRIALS {
        let mut draw = Draw::new(seed, trial);
        let noise = row.calibration.noise(&row.world, &mut draw);
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

fn print_row(row: &Row, outcomes: &Outcomes) {
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

/// The worlds that the rule must stand.
fn worlds() -> Vec<(&'static str, World)> {
    let quiet = World { spread: 0.02, ..World::default() };
    vec![
        ("normal, sd 2 %", quiet),
        ("normal, sd 1.2 %", World { spread: 0.012, ..quiet }),
        ("normal, sd 4 %", World { spread: 0.04, ..quiet }),
        ("normal, sd 10 %", World { spread: 0.10, ..quiet }),
        ("heavy tails (t, 3 degrees of freedom), sd 2 %", World { freedom: Some(3), ..quiet }),
        ("1 launch in 50 slow by 1.7", World { slow: [0.02, 0.02], ..quiet }),
        ("two modes 2 % apart, sd 1.2 %", World { spread: 0.012, modes: 0.02, ..quiet }),
        ("whoever starts first is 2 % faster", World { first: 0.02, ..quiet }),
    ]
}

fn no_change(tolerance: f64) -> Row {
    Row {
        name: "",
        world: World::default(),
        change: 0.0,
        tolerance,
        most_pairs: 36,
        calibration: Calibration::None,
    }
}

#[test]
fn identical_engines_are_hardly_ever_called_different() {
    header();
    for (name, world) in worlds() {
        let row = Row { name, world, ..no_change(TOLERANCE) };
        let outcomes = experiments(&row, 1);
        print_row(&row, &outcomes);
        let wrong = Tally { k: outcomes.regressed.k, n: N_TRIALS };
        assert!(wrong.is_compatible_with_at_most(0.01), "{name}: regressed {wrong}");
    }
}

#[test]
fn changes_beyond_the_tolerance_are_found_and_the_boundary_is_kept() {
    header();
    for (name, world) in worlds() {
        for change in [-0.015, -0.03, -0.06, -0.10, 0.06] {
            let row = Row { name, world, change, ..no_change(TOLERANCE) };
            let outcomes = experiments(&row, 2);
            print_row(&row, &outcomes);
            if change == -0.03 {
                let wrong = outcomes.equivalent;
                assert!(wrong.is_compatible_with_at_most(0.05), "{name} at the boundary: equivalent {wrong}");
            }
            if change < -0.03 {
                let wrong = Tally { k: outcomes.equivalent.k + outcomes.improved.k, n: N_TRIALS };
                assert!(wrong.is_compatible_with_at_most(0.01), "{name} {change}: missed {wrong}");
            }
        }
    }
}

#[test]
fn a_finer_tolerance_takes_more_pairs() {
    header();
    for spread in [0.012, 0.02] {
        let world = World { spread, ..World::default() };
        let row = Row { name: "tolerance 1 %, at most 112 pairs", world, most_pairs: 112, ..no_change(0.01) };
        print_row(&row, &experiments(&row, 3));
    }
}

#[test]
fn correlated_launches_and_a_bias_of_experiments_are_paid_for_where_calibration_knows_them() {
    header();
    let correlated = World { spread: 0.02, correlation: 0.2, ..World::default() };
    let biased = World { spread: 0.02, bias: 0.005, ..World::default() };
    let by_default = Calibration::Of { experiments: 5, pairs: 8 };
    let longer = Calibration::Of { experiments: 12, pairs: 16 };
    for (name, world, calibration) in [
        ("launch correlation 0.2, not calibrated", correlated, Calibration::None),
        ("launch correlation 0.2, 5 experiments of 8 pairs", correlated, by_default),
        ("launch correlation 0.2, 12 experiments of 16 pairs", correlated, longer),
        ("bias per experiment sd 0.5 %, not calibrated", biased, Calibration::None),
        ("bias per experiment sd 0.5 %, 5 experiments of 8 pairs", biased, by_default),
        ("bias per experiment sd 0.5 %, 12 experiments of 16 pairs", biased, longer),
    ] {
        for change in [0.0, -0.03, -0.06] {
            let row = Row { name, world, change, calibration, ..no_change(TOLERANCE) };
            let outcomes = experiments(&row, 4);
            print_row(&row, &outcomes);
            let (red, green) = (outcomes.regressed, outcomes.equivalent);
            assert!(change != 0.0 || red.is_compatible_with_at_most(0.01), "{name}: regressed {red}");
            if calibration != Calibration::None && change == -0.03 {
                assert!(green.is_compatible_with_at_most(0.05), "{name}: equivalent {green}");
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
                let mut series = World { spread: 0.02, ..World::default() }.series(&mut draw, 0.0);
                let values: Vec<f64> = series.by_ref().take(most_pairs as usize).collect();
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

/// `lab run --until decided-against`: a baseline that is there, and a candidate that is looked at launch after launch.
#[test]
fn a_session_measured_until_it_is_decided_is_wrong_no_more_often() {
    println!(
        "| launches of the baseline | true change | some look misses | regressed | equivalent | median launches |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let stopping = until(36);
    for n_baseline in [5, 12, 36] {
        for change in [0.0, -0.03, -0.06] {
            let (mut missed, mut red, mut green) = (0, 0, 0);
            let mut lengths = Vec::new();
            for trial in 0..N_TRIALS {
                let mut draw = Draw::new(8, trial);
                let launches = |draw: &mut Draw, n: u32, level: f64| {
                    (0..n).map(|_| level + 0.02 * draw.normal()).collect::<Vec<f64>>()
                };
                let ours = location(&launches(&mut draw, n_baseline, 0.0)).expect("five launches");
                let (mut theirs, mut is_decided, mut misses) = (Vec::new(), false, false);
                for look in &stopping.looks {
                    let n_more = look - u32::try_from(theirs.len()).expect("a small count");
                    theirs.extend(launches(&mut draw, n_more, f64::ln_1p(change)));
                    let change_found = ours.to(location(&theirs).expect("four launches"));
                    let (low, high) = change_found.interval(stopping.look_confidence);
                    misses |= low > f64::ln_1p(change) || high < f64::ln_1p(change);
                    let verdict = place(low.exp_m1(), high.exp_m1(), TOLERANCE, Direction::Higher);
                    if !is_decided && verdict != Verdict::Inconclusive {
                        is_decided = true;
                        red += u32::from(verdict == Verdict::Regressed);
                        green += u32::from(verdict == Verdict::Equivalent);
                        lengths.push(*look);
                    }
                }
                missed += u32::from(misses);
                lengths.extend((!is_decided).then_some(stopping.most()));
            }
            lengths.sort_unstable();
            let [missed, red, green] = [missed, red, green].map(|k| Tally { k, n: N_TRIALS });
            println!(
                "| {n_baseline} | {:.0} % | {missed} | {red} | {green} | {} |",
                change * 100.0,
                lengths[lengths.len() / 2]
            );
            assert!(missed.is_compatible_with_at_most(0.05), "{n_baseline} {change}: missed {missed}");
            assert!(change != 0.0 || red.is_compatible_with_at_most(0.01), "{n_baseline}: regressed {red}");
            assert!(
                change != -0.03 || green.is_compatible_with_at_most(0.05),
                "{n_baseline}: equivalent {green}"
            );
        }
    }
}

/// Returns the confidence at which the interval of these values has 0 as one of its ends.
fn confidence_to_hold(values: &[f64]) -> f64 {
    use statrs::distribution::{ContinuousCDF as _, StudentsT};
    let own = location(values).expect("four values or more");
    let t = (own.centre / own.standard_error).abs();
    2.0 * StudentsT::new(0.0, 1.0, own.degrees_of_freedom).expect("three or more").cdf(t) - 1.0
}

/// How wide the interval of ten pairs is on average, and how often it misses, for the estimators that were weighed.
#[test]
fn estimators_are_compared_on_what_launches_do() {
    println!("| estimator, 10 pairs, 95 % | world | misses | mean half-width |");
    println!("| --- | --- | --- | --- |");
    for (name, world) in worlds() {
        for (estimator, n_aside) in [("mean", 0), ("1 aside", 1), ("2 aside", 2), ("3 aside", 3)] {
            let (mut missed, mut width) = (0, 0.0);
            for trial in 0..N_TRIALS {
                let mut draw = Draw::new(6, trial);
                let values: Vec<f64> = world.series(&mut draw, 0.0).take(10).collect();
                let (low, high) = location_of(&values, n_aside).expect("ten values").interval(0.95);
                missed += u32::from(low > 0.0 || high < 0.0);
                width += (high - low) / 2.0;
            }
            let missed = Tally { k: missed, n: N_TRIALS };
            println!("| {estimator} | {name} | {missed} | {:.2} % |", width / f64::from(N_TRIALS) * 100.0);
            // What the rule uses must be honest in every world: 5 % and what ten values cannot know of their spread.
            let is_ours = n_aside == n_trimmed(10);
            assert!(!is_ours || missed.is_compatible_with_at_most(0.06), "{name}: {missed}");
        }
    }
}

/// Two separate sessions, as `lab compare` judges them: five launches a side and more, with and without drift.
#[test]
fn separate_sessions_are_judged_by_launches_and_drift() {
    println!(
        "| launches a side | launch sd | session sd | drift known | regressed | equivalent | naive rule: beyond 3 % |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (n, spread, drift) in [
        (5, 0.10, 0.0),
        (5, 0.07, 0.0),
        (5, 0.02, 0.0),
        (50, 0.07, 0.0),
        (5, 0.07, 0.02),
        (50, 0.07, 0.02),
        (400, 0.07, 0.02),
    ] {
        for is_known in [false, true] {
            if drift == 0.0 && is_known {
                continue;
            }
            let (mut red, mut green, mut naive) = (0, 0, 0);
            for trial in 0..N_TRIALS {
                let mut draw = Draw::new(7, trial);
                let session = |draw: &mut Draw| {
                    let level = drift * draw.normal();
                    (0..n).map(|_| level + spread * draw.normal()).collect::<Vec<f64>>()
                };
                let (ours, theirs) = (session(&mut draw), session(&mut draw));
                let of = |values: &[f64]| location(values).expect("five launches");
                let mut change = of(&ours).to(of(&theirs));
                if is_known {
                    change = change.with_error(drift * 2.0_f64.sqrt(), 1e6);
                }
                let (low, high) = change.interval(0.95);
                let verdict = place(low.exp_m1(), high.exp_m1(), TOLERANCE, Direction::Higher);
                red += u32::from(verdict == Verdict::Regressed);
                green += u32::from(verdict == Verdict::Equivalent);
                let mean = |values: &[f64]| values.iter().map(|own| own.exp()).sum::<f64>() / f64::from(n);
                naive += u32::from((mean(&theirs) / mean(&ours) - 1.0) < -TOLERANCE);
            }
            let [red, green, naive] = [red, green, naive].map(|k| Tally { k, n: N_TRIALS });
            println!(
                "| {n} | {:.0} % | {:.0} % | {is_known} | {red} | {green} | {naive} |",
                spread * 100.0,
                drift * 100.0
            );
            let holds = drift == 0.0 || is_known;
            assert!(!holds || red.is_compatible_with_at_most(0.025), "{n} launches: regressed {red}");
        }
    }
    // The quantile that the intervals rest on, against SciPy: scipy.stats.t.ppf(0.975, [3, 8.5, 39]).
    for (freedom, expected) in [(3.0, 3.182_446_305_284_263), (39.0, 2.022_690_911_673_474)] {
        assert!((t_quantile(0.95, freedom) - expected).abs() < 1e-8);
    }
}
