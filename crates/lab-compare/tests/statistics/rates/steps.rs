//! How often what many experiments add up to misses the truth. `docs/history.md` quotes it.

use lab_compare::location::Location;
use lab_compare::number_line::Verdict;
use lab_compare::steps::unstopped;
use lab_compare::stopping::{Look, effect, plan};
use lab_core::experiment::{Noise, StoppingPlan};
use lab_core::metric::Direction;

use super::{N_TRIALS, TOLERANCE};
use crate::simulation::{Draw, Source as _, Tally, World};

/// Sums take as many times as long as experiments as they have steps.
const N_SUMS: u32 = N_TRIALS / 2;
/// What each step changes: equivalent, and found by its sum alone.
const CHANGE: f64 = -0.015;

/// One pair in so many is left out for outside evidence.
const LEFT_OUT_OF: usize = 10;

/// Draws the pairs of one experiment up to the look that decides it; none for those that are left out.
fn until_decided(world: &World, stopping: &StoppingPlan, draw: &mut Draw) -> Vec<Option<f64>> {
    let left_out: Vec<bool> = (0..stopping.most()).map(|_| draw.below(LEFT_OUT_OF) == 0).collect();
    let series = world.series(draw, CHANGE).zip(left_out);
    let mut series = series.map(|(log_ratio, is_left_out)| (!is_left_out).then_some(log_ratio));
    let mut pairs = Vec::new();
    for look in &stopping.looks {
        pairs.extend(series.by_ref().take(*look as usize - pairs.len()));
        let looked = Look::at(&counting(&pairs), stopping, Noise::default());
        let verdict = looked.map_or(Verdict::Inconclusive, |own| own.verdict(TOLERANCE, Direction::Higher));
        if verdict != Verdict::Inconclusive {
            break;
        }
    }
    pairs
}

fn counting(pairs: &[Option<f64>]) -> Vec<f64> {
    pairs.iter().filter_map(|own| *own).collect()
}

/// Ten changes of -1.5 % are equivalent each. Decisions come early where chance led to them, so that the pairs they rest on lean
/// towards no change, all of them; those up to the first look do not.
#[test]
fn what_steps_add_up_to_holds_the_truth_as_often_as_is_claimed() {
    println!("| pairs | steps of -1.5 % | sum of the pairs up to the first look | sum of all pairs |");
    println!("| --- | --- | --- | --- |");
    let stopping = plan(36);
    for spread in [0.012, 0.02] {
        let world = World { spread, ..World::default() };
        for n_steps in [1, 10, 25] {
            let [mut missed, mut missed_by_all] = [0, 0];
            for trial in 0..N_SUMS {
                let mut draw = Draw::new(11, trial);
                let steps = (0..n_steps).filter_map(|_| {
                    let pairs = until_decided(&world, &stopping, &mut draw);
                    let own = unstopped(&pairs, &stopping, Noise::default())?;
                    Some([own, effect(&counting(&pairs), Noise::default())?])
                });
                let steps: Vec<[Location; 2]> = steps.collect();
                let truth = steps.len() as f64 * CHANGE.ln_1p();
                let sums = steps.into_iter().reduce(|sums, own| [sums[0].plus(own[0]), sums[1].plus(own[1])]);
                let misses = sums.map_or([0, 0], |sums| sums.map(|sum| u32::from(is_missed(sum, truth))));
                missed += misses[0];
                missed_by_all += misses[1];
            }
            let [missed, by_all] = [missed, missed_by_all].map(|k| Tally { k, n: N_SUMS });
            println!("| sd {} % | {n_steps} | misses {missed} | misses {by_all} |", spread * 100.0);
            assert!(missed.is_compatible_with_at_most(0.05), "{n_steps} steps at {spread}: {missed}");
            let leans = n_steps >= 10 && spread >= 0.02;
            assert!(!leans || by_all.is_at_least(0.10), "this is why not all are taken: {by_all}");
        }
    }
}

fn is_missed(sum: Location, truth: f64) -> bool {
    let (low, high) = sum.interval(0.95);
    low > truth || high < truth
}
