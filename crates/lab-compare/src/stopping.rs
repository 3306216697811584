//! When a paired experiment stops, and what its interval is worth although it was looked at several times.
//!
//! The rule is group-sequential: the interval of the trimmed mean is taken at looks fixed in advance, each time at one and
//! the same confidence, chosen so that all of them together hold the truth as often as is claimed (Pocock 1977, "Group
//! sequential methods in the design and analysis of clinical trials", Biometrika 64; repeated intervals: Jennison and
//! Turnbull 1989, "Interim analyses: the repeated confidence interval approach", Journal of the Royal Statistical Society B
//! 51). What the rule decides may be decided at any look; what it shows is the interval of that look.

use lab_core::experiment::{Noise, StoppingPlan};
use lab_core::metric::Direction;

use crate::location::{Location, location};
use crate::noise::variance_inflation;
use crate::number_line::{Verdict, place};

/// How sure all looks of an experiment are together.
pub const CONFIDENCE: f64 = 0.95;

/// After how many pairs the data are looked at. Even numbers, so that each side went first equally often; wider apart
/// where one pair more changes little.
const LOOKS: [u32; 24] =
    [4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 28, 32, 36, 40, 46, 52, 60, 68, 76, 84, 92, 100, 112];

/// The most pairs that can be asked for.
pub const MOST_PAIRS: u32 = LOOKS[LOOKS.len() - 1];
/// The fewest pairs that can be asked for.
pub const LEAST_PAIRS: u32 = LOOKS[0];
/// The most pairs where nobody asks for a number.
pub const DEFAULT_PAIRS: u32 = 36;

/// How sure the interval of one look must be for all looks up to a number of pairs to be sure to [`CONFIDENCE`].
/// `cargo test --release -p lab-compare --test statistics rates -- --nocapture` prints what each would have to
/// be, and fails where all looks together miss the truth more often than is claimed.
const LOOK_CONFIDENCES: [(u32, f64); 4] = [(4, 0.95), (10, 0.9855), (36, 0.9937), (112, 0.9957)];

/// Returns the stopping plan of an experiment of at most so many pairs, rounded down to a look.
///
/// # Panics
///
/// When fewer than [`LEAST_PAIRS`] or more than [`MOST_PAIRS`] are asked for.
pub fn plan(most_pairs: u32) -> StoppingPlan {
    assert!((LEAST_PAIRS..=MOST_PAIRS).contains(&most_pairs), "between {LEAST_PAIRS} and {MOST_PAIRS} pairs");
    let looks: Vec<u32> = LOOKS.into_iter().filter(|look| *look <= most_pairs).collect();
    let covering = LOOK_CONFIDENCES.into_iter().find(|(pairs, _)| most_pairs <= *pairs);
    let (_, look_confidence) = covering.expect("the last entry covers the most pairs");
    StoppingPlan { looks, confidence: CONFIDENCE, look_confidence }
}

/// Of what a look may miss in an experiment, a look at two sessions is granted this share: Welch's interval of two small
/// samples misses a little more often than it says where it is asked for 99 % (`docs/comparison.md` has the simulation).
const SHARE_OF_SESSIONS: f64 = 0.85;

/// Returns the stopping plan of a session that is held against another one, of at most so many launches.
///
/// # Panics
///
/// As [`plan`].
pub fn until(most_launches: u32) -> StoppingPlan {
    let of_pairs = plan(most_launches);
    let look_confidence = 1.0 - SHARE_OF_SESSIONS * (1.0 - of_pairs.look_confidence);
    StoppingPlan { look_confidence, ..of_pairs }
}

/// Returns the first look at so many pairs or more; nothing beyond the most that can be asked for.
pub fn reaching(n_pairs: u32) -> Option<u32> {
    LOOKS.into_iter().find(|look| *look >= n_pairs)
}

/// Returns the plan of an experiment that is looked at once, at its end: after an even number of pairs, so that each side went
/// first equally often.
pub fn fixed(pairs: u32) -> StoppingPlan {
    StoppingPlan { looks: vec![pairs - pairs % 2], confidence: CONFIDENCE, look_confidence: CONFIDENCE }
}

/// Returns how much wider a standard error is for the correlation of neighbours.
pub(crate) fn widening(noise: Noise) -> f64 {
    variance_inflation(noise.serial_correlation).sqrt()
}

/// Returns the degrees of freedom that a bias is known on.
pub(crate) fn freedom(noise: Noise) -> f64 {
    noise.experiments.saturating_sub(1).max(1) as f64
}

/// Returns the mean log-ratio of some pairs with its standard error, as far as the pairs and the calibration tell; nothing
/// for fewer than two pairs.
///
/// Correlated pairs tell less than their number, and the standard error is wider for it.
pub fn effect(log_ratios: &[f64], noise: Noise) -> Option<Location> {
    let own = location(log_ratios)?.widened(widening(noise));
    Some(match noise.bias > 0.0 {
        true => own.with_error(noise.bias, freedom(noise)),
        false => own,
    })
}

/// The interval of a change after some look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// The relative change of B against A, as a share: −0.03 is 3 % less.
    pub change: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Look {
    /// Returns the interval that a stopping plan grants for these pairs.
    pub fn at(log_ratios: &[f64], plan: &StoppingPlan, noise: Noise) -> Option<Self> {
        let effect = effect(log_ratios, noise)?;
        let (low, high) = effect.interval(plan.look_confidence);
        Some(Self { change: effect.centre.exp_m1(), low: low.exp_m1(), high: high.exp_m1() })
    }

    /// Returns what the interval says, given the smallest relative change that matters.
    pub fn verdict(&self, tolerance: f64, direction: Direction) -> Verdict {
        place(self.low, self.high, tolerance, direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_comes_after_an_even_number_of_pairs() {
        assert_eq!((fixed(5).looks, fixed(8).looks), (vec![4], vec![8]));
        assert!(plan(MOST_PAIRS).looks.iter().all(|look| look.is_multiple_of(2)));
    }
}
