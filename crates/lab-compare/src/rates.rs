//! What comparisons come to on a host whose noise is known: how often identical engines are called different, and how often
//! a change of known size is seen.
//!
//! Launches are drawn from those that were measured (their distances from the middle of their own session), so that the
//! host's own slow launches and heavy tails are in it; what sessions differ by is drawn as normal. Seeded: the same
//! calibration gives the same rates.

use lab_core::calibration::{Grouped, Rate};
use lab_core::experiment::{Noise, StoppingPlan};
use lab_core::metric::Direction;

use crate::draw::Draw;
use crate::location::location;
use crate::number_line::{Verdict, place};
use crate::stopping::{CONFIDENCE, Look};

/// Launches a side that rates are given for.
const LAUNCHES: [u32; 8] = [3, 5, 8, 12, 20, 30, 40, 50];
/// True changes that rates are given for.
const CHANGES: [f64; 5] = [0.0, -0.01, -0.03, -0.06, -0.10];
/// Enough that a rate is known to a percent or two.
const TRIALS: u32 = 2_000;
/// Any seed will do, as long as it stays.
const SEED: u64 = 20_261_122;

/// Values to draw from, and what their groups differ by.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    residuals: Vec<f64>,
    between: f64,
    groups: usize,
}

impl Source {
    /// Takes the distances of values from the mean of their group, widened to what they would be around the true one.
    pub fn new(groups: &[Vec<f64>], noise: &Grouped) -> Self {
        let spread = |group: &Vec<f64>| {
            let n = group.len() as f64;
            let mean = group.iter().sum::<f64>() / n;
            let widening = (n / (n - 1.0)).sqrt();
            group.iter().map(move |value| (value - mean) * widening).collect::<Vec<f64>>()
        };
        let residuals = groups.iter().filter(|group| group.len() > 1).flat_map(spread).collect();
        Self { residuals, between: noise.between, groups: noise.n_groups }
    }
}

/// Returns what `lab compare` of two sessions comes to.
pub fn of_sessions(source: &Source, tolerance: f64) -> Vec<Rate> {
    sessions_of(source, tolerance, &LAUNCHES, TRIALS)
}

fn sessions_of(source: &Source, tolerance: f64, launches: &[u32], trials: u32) -> Vec<Rate> {
    let rate = |(n, change): (u32, f64)| at(source, tolerance, n, change, trials);
    launches.iter().flat_map(|n| CHANGES.map(|change| (*n, change))).map(rate).collect()
}

/// Returns what `lab compare` of two sessions of `n` launches comes to where the candidate is changed by a share.
pub(crate) fn at(source: &Source, tolerance: f64, n: u32, change: f64, trials: u32) -> Rate {
    count(trials, n, change, |draw| {
        let side = |draw: &mut Draw, shift: f64| -> Vec<f64> {
            let shared = shift + source.between * draw.normal();
            (0..n).map(|_| shared + one_of(draw, &source.residuals)).collect()
        };
        let (ours, theirs) = (side(draw, 0.0), side(draw, change.ln_1p()));
        sessions(&ours, &theirs, source, tolerance)
    })
}

/// Returns what `lab ab` comes to under a stopping plan.
pub fn of_experiments(source: &Source, plan: &StoppingPlan, noise: Noise, tolerance: f64) -> Vec<Rate> {
    experiments_of(source, plan, noise, tolerance, TRIALS)
}

fn experiments_of(
    source: &Source,
    plan: &StoppingPlan,
    noise: Noise,
    tolerance: f64,
    trials: u32,
) -> Vec<Rate> {
    let rate = |change: f64| {
        let mut lengths = Vec::new();
        let rate = count(trials, plan.most(), change, |draw| {
            let shared = change.ln_1p() + source.between * draw.normal();
            let mut pairs: Vec<f64> = Vec::new();
            for look in &plan.looks {
                pairs.extend((pairs.len()..*look as usize).map(|_| shared + one_of(draw, &source.residuals)));
                let looked = Look::at(&pairs, plan, noise).expect("a look has four pairs or more");
                let verdict = looked.verdict(tolerance, Direction::Higher);
                if verdict != Verdict::Inconclusive {
                    lengths.push(*look);
                    return verdict;
                }
            }
            lengths.push(plan.most());
            Verdict::Inconclusive
        });
        lengths.sort_unstable();
        Rate { median_pairs: lengths.get(lengths.len() / 2).copied(), ..rate }
    };
    CHANGES.into_iter().map(rate).collect()
}

/// Judges two simulated sessions as `lab compare` would, knowing the drift.
fn sessions(ours: &[f64], theirs: &[f64], source: &Source, tolerance: f64) -> Verdict {
    let (Some(ours), Some(theirs)) = (location(ours), location(theirs)) else { return Verdict::Inconclusive };
    let change = ours.to(theirs);
    let drift = source.between * std::f64::consts::SQRT_2;
    let freedom = source.groups.saturating_sub(1).max(1) as f64;
    let change = if drift > 0.0 { change.with_error(drift, freedom) } else { change };
    let (low, high) = change.interval(CONFIDENCE);
    place(low.exp_m1(), high.exp_m1(), tolerance, Direction::Higher)
}

fn count(trials: u32, n: u32, change: f64, mut trial: impl FnMut(&mut Draw) -> Verdict) -> Rate {
    let mut rate = Rate { n, change, trials, regressed: 0, improved: 0, equivalent: 0, median_pairs: None };
    for own in 0..trials {
        match trial(&mut Draw::new(SEED, own.into())) {
            Verdict::Regressed => rate.regressed += 1,
            Verdict::Improved => rate.improved += 1,
            Verdict::Equivalent => rate.equivalent += 1,
            Verdict::Inconclusive => {}
        }
    }
    rate
}

fn one_of(draw: &mut Draw, values: &[f64]) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a small count, below that count"
    )]
    let index = (draw.uniform() * values.len() as f64) as usize;
    values[index]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::components;
    use crate::stopping;

    fn groups(spread: f64) -> Vec<Vec<f64>> {
        let values = [-1.3, 0.4, 1.1, -0.2, 0.7, -0.9, 0.2, 0.0, 1.6, -1.6];
        vec![values.map(|own| own * spread).to_vec(), values.map(|own| -own * spread).to_vec()]
    }

    #[test]
    fn more_launches_see_smaller_changes() {
        let groups = groups(0.02);
        let noise = components(&groups).unwrap();
        let rates = sessions_of(&Source::new(&groups, &noise), 0.03, &[3, 5, 8, 20], 300);
        let regressed = |n: u32, change: f64| {
            let found =
                rates.iter().find(|own| own.n == n && own.change.to_bits() == change.to_bits()).unwrap();
            f64::from(found.regressed) / f64::from(found.trials)
        };
        assert!(regressed(3, 0.0) < 0.025 && regressed(20, 0.0) < 0.01);
        assert!(regressed(3, -0.06) < regressed(8, -0.06));
        assert!(regressed(20, -0.06) > 0.9 && regressed(5, -0.10) > 0.8);
    }

    #[test]
    fn experiments_decide_with_fewer_pairs_where_the_change_is_large() {
        let groups = groups(0.02);
        let noise = components(&groups).unwrap();
        let plan = stopping::plan(36);
        let of = || experiments_of(&Source::new(&groups, &noise), &plan, Noise::default(), 0.03, 300);
        let rates = of();
        let pairs = |change: f64| {
            rates.iter().find(|own| own.change.to_bits() == change.to_bits()).unwrap().median_pairs.unwrap()
        };
        assert!(pairs(-0.10) < pairs(-0.06), "{rates:?}");
        assert!(rates[0].equivalent > rates[0].trials * 9 / 10, "{:?}", rates[0]);
        assert_eq!(rates, of(), "the same draws every time");
    }
}
