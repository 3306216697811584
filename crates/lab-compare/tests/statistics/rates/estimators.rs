//! The estimators that were weighed for the middle of a few launches or pairs.

use lab_compare::location::{location_of, n_trimmed};

use super::{N_TRIALS, unsteady_worlds, worlds};
use crate::simulation::{Draw, Source as _, Tally};

/// How wide the interval of ten pairs is on average, and how often it misses, for the estimators that were weighed.
#[test]
fn estimators_are_compared_on_what_launches_do() {
    println!("| estimator, 10 pairs, 95 % | world | misses | mean half-width |");
    println!("| --- | --- | --- | --- |");
    let trimmed = |n_aside: usize| {
        move |values: &[f64], _: &mut Draw| location_of(values, n_aside).expect("ten values").interval(0.95)
    };
    let estimators: [(&str, &Interval); 7] = [
        ("mean", &trimmed(0)),
        ("1 aside", &trimmed(1)),
        ("2 aside", &trimmed(2)),
        ("3 aside", &trimmed(3)),
        ("median, by signs", &by_signs),
        ("Hodges and Lehmann", &by_signed_ranks),
        ("mean, bootstrap", &by_bootstrap),
    ];
    let all = worlds().into_iter().chain(unsteady_worlds());
    for (index, (name, world)) in all.enumerate() {
        for (estimator, interval) in estimators {
            let (mut missed, mut width) = (0, 0.0);
            for trial in 0..N_TRIALS {
                let mut draw = Draw::new(6, trial);
                let values: Vec<f64> = world.series(&mut draw, 0.0).take(10).collect();
                let (low, high) = interval(&values, &mut draw);
                missed += u32::from(low > 0.0 || high < 0.0);
                width += (high - low) / 2.0;
            }
            let missed = Tally { k: missed, n: N_TRIALS };
            println!("| {estimator} | {name} | {missed} | {:.2} % |", width / f64::from(N_TRIALS) * 100.0);
            // What the rule uses must be honest in every world of independent pairs: 5 % and what ten values cannot know of
            // their spread.
            let is_ours = estimator == "1 aside" && index < worlds().len();
            assert!(!is_ours || missed.is_compatible_with_at_most(0.06), "{name}: {missed}");
        }
    }
    assert_eq!(n_trimmed(10), 1);
}

/// An interval of a few values, at 95 % or as near above it as it can.
type Interval = dyn Fn(&[f64], &mut Draw) -> (f64, f64);

/// The median between two order statistics: of ten, the second and the ninth hold it in 1 - 22/1024 of samples.
fn by_signs(values: &[f64], _: &mut Draw) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[1], sorted[sorted.len() - 2])
}

/// The median of all averages of two values, between the ninth smallest and the ninth greatest of ten values' 55: Wilcoxon's
/// signed ranks are 8 or less in 25 of 1,024 orders (Hollander and Wolfe 1999, "Nonparametric Statistical Methods", table A.4).
fn by_signed_ranks(values: &[f64], _: &mut Draw) -> (f64, f64) {
    let pairs = values
        .iter()
        .enumerate()
        .flat_map(|(index, one)| values[index..].iter().map(move |other| f64::midpoint(*one, *other)));
    let mut averages: Vec<f64> = pairs.collect();
    averages.sort_by(f64::total_cmp);
    (averages[8], averages[averages.len() - 9])
}

/// The percentiles of the means of 400 samples drawn from the values.
fn by_bootstrap(values: &[f64], draw: &mut Draw) -> (f64, f64) {
    let n = values.len();
    let mut means: Vec<f64> =
        (0..400).map(|_| (0..n).map(|_| values[draw.below(n)]).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    (means[9], means[390])
}
