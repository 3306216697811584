//! What comparisons come to on a host whose noise is known: how often identical engines are called different, and how often
//! a change of known size is seen.
//!
//! Launches are drawn from those that were measured (their distances from the middle of their own session), so that the
//! host's own slow launches and heavy tails are in it, each leaning on the one before it as far as neighbours were correlated;
//! what sessions differ by is drawn as normal. Seeded: the same calibration gives the same rates.

use lab_core::calibration::{Grouped, Rate, RateIntervals};
use lab_core::experiment::{Noise, StoppingPlan};
use lab_core::metric::Direction;
use lab_core::report::Scale;

use statrs::distribution::{Beta, ContinuousCDF as _};

use crate::draw::Draw;
use crate::drift::Drifting;
use crate::location::location;
use crate::noise;
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

/// Values to draw from, and what they and their groups vary by.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    residuals: Vec<f64>,
    noise: Grouped,
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
        Self { residuals, noise: *noise }
    }

    /// Draws the values of one group around a middle, without end: each is a measured distance and a part of the value before it
    /// (a first-order autoregressive series), so that they vary by what was measured and are correlated as was measured.
    fn group<'a>(&'a self, draw: &'a mut Draw, middle: f64) -> impl Iterator<Item = f64> + 'a {
        let rho = self.noise.serial_correlation.clamp(0.0, 0.9);
        let shared = middle + self.noise.between * draw.normal();
        let mut before = one_of(draw, &self.residuals);
        std::iter::repeat_with(move || {
            let own = before;
            before = rho * before + (1.0 - rho * rho).sqrt() * one_of(draw, &self.residuals);
            shared + own
        })
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
    let mut beyond = 0;
    let rate = count(trials, n, change, |draw| {
        let mut side = |shift: f64| -> Vec<f64> { source.group(draw, shift).take(n as usize).collect() };
        let (ours, theirs) = (side(0.0), side(change.ln_1p()));
        let mean = |logs: &[f64]| logs.iter().map(|own| own.exp()).sum::<f64>() / logs.len() as f64;
        let is_beyond = (mean(&theirs) / mean(&ours) - 1.0).abs() > tolerance;
        beyond += u32::from(is_beyond);
        sessions(&ours, &theirs, source, tolerance)
    });
    Rate { beyond: Some(beyond), ..rate }
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
            let mut group = source.group(draw, change.ln_1p());
            let mut pairs: Vec<f64> = Vec::new();
            for look in &plan.looks {
                pairs.extend(group.by_ref().take(*look as usize - pairs.len()));
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

/// Judges two simulated sessions as `lab compare` would that knows what was measured.
fn sessions(ours: &[f64], theirs: &[f64], source: &Source, tolerance: f64) -> Verdict {
    let (Some(ours), Some(theirs)) = (location(ours), location(theirs)) else { return Verdict::Inconclusive };
    let drift = noise::drift_of(&source.noise);
    let change = Drifting::new(drift, Scale::Relative, 0.0).held_by(ours.to(theirs));
    let (low, high) = change.interval(CONFIDENCE);
    place(low.exp_m1(), high.exp_m1(), tolerance, Direction::Higher)
}

fn count(trials: u32, n: u32, change: f64, mut trial: impl FnMut(&mut Draw) -> Verdict) -> Rate {
    let mut rate = Rate {
        n,
        change,
        trials,
        regressed: 0,
        improved: 0,
        equivalent: 0,
        median_pairs: None,
        beyond: None,
        intervals: None,
    };
    for own in 0..trials {
        match trial(&mut Draw::new(SEED, own.into())) {
            Verdict::Regressed => rate.regressed += 1,
            Verdict::Improved => rate.improved += 1,
            Verdict::Equivalent => rate.equivalent += 1,
            Verdict::Inconclusive => {}
        }
    }
    Rate { intervals: Some(intervals(&rate)), ..rate }
}

fn intervals(rate: &Rate) -> RateIntervals {
    let of = |k: u32| clopper_pearson(k, rate.trials);
    RateIntervals {
        regressed: of(rate.regressed),
        improved: of(rate.improved),
        equivalent: of(rate.equivalent),
        inconclusive: of(rate.inconclusive()),
    }
}

/// Returns the 95 % interval of a rate of which `k` in `n` were seen (Clopper and Pearson 1934, "The use of confidence or fiducial
/// limits illustrated in the case of the binomial", Biometrika 26).
fn clopper_pearson(k: u32, n: u32) -> [f64; 2] {
    let quantile = |a: u32, b: u32, p: f64| {
        Beta::new(f64::from(a), f64::from(b)).expect("counts are above 0").inverse_cdf(p)
    };
    [
        if k == 0 { 0.0 } else { quantile(k, n - k + 1, (1.0 - CONFIDENCE) / 2.0) },
        if k == n { 1.0 } else { quantile(k + 1, n - k, f64::midpoint(1.0, CONFIDENCE)) },
    ]
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
    fn the_interval_of_a_rate_is_scipys() {
        // scipy.stats.binomtest(k, n).proportion_ci(0.95, "exact")
        for (k, n, [low, high]) in [
            (0, 2_000, [0.0, 0.001_842_739_793_693_189_9]),
            (7, 2_000, [0.001_408_303_832_502_518_8, 0.007_197_961_714_756_038]),
            (2_000, 2_000, [0.998_157_260_206_306_8, 1.0]),
        ] {
            let [found_low, found_high] = clopper_pearson(k, n);
            assert!(
                (found_low - low).abs() < 1e-9 && (found_high - high).abs() < 1e-9,
                "{k}: {found_low} {found_high}"
            );
        }
    }

    #[test]
    fn values_are_drawn_with_the_spread_and_the_correlation_that_were_measured() {
        let groups = groups(0.02);
        let noise = Grouped { between: 0.0, serial_correlation: 0.4, ..components(&groups).unwrap() };
        let source = Source::new(&groups, &noise);
        let mut draw = Draw::new(1, 0);
        let drawn: Vec<f64> = source.group(&mut draw, 0.0).take(20_000).collect();
        let sd = (drawn.iter().map(|own| own * own).sum::<f64>() / 20_000.0).sqrt();
        assert!((sd - noise.within).abs() < 0.02 * noise.within, "{sd} {}", noise.within);
        let found = components(&[drawn[..10_000].to_vec(), drawn[10_000..].to_vec()]).unwrap();
        assert!((found.serial_correlation - 0.4).abs() < 0.03, "{}", found.serial_correlation);
    }

    #[test]
    fn the_contracts_rule_of_means_is_counted_beside() {
        let groups = groups(0.07);
        let noise = components(&groups).unwrap();
        let rate = at(&Source::new(&groups, &noise), 0.03, 5, 0.0, 2_000);
        let (beyond, called) = (rate.beyond.unwrap(), rate.regressed + rate.improved);
        assert!(beyond > 600 && called < 40, "{beyond} {called}");
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
