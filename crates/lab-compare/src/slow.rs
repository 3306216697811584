//! Launches that are slow from their first token to their last.
//!
//! About one launch in fifty of the same engine on the same machine takes 1.7 times as long as the others. No verdict on a
//! mean is told by that: a trimmed mean sets it aside, and an untrimmed one becomes unsure. But an engine of which more
//! launches are slow is a worse engine, and that is said apart.

use lab_core::report::SlowLaunches;
use statrs::function::factorial::ln_binomial;

/// A launch is slow when it takes longer than the median of its side by this factor: far above what launches vary by, far
/// below what a slow one takes.
const SLOW: f64 = 1.25;

/// Counts the slow launches of both sides by the time of their executions (in any unit), and returns how likely the
/// candidate would have so many by chance; nothing when there are none.
pub fn slow_launches(baseline: &[f64], candidate: &[f64]) -> Option<SlowLaunches> {
    let (ours, theirs) = (n_slow(baseline), n_slow(candidate));
    (ours + theirs > 0).then(|| SlowLaunches {
        baseline: ours,
        of_baseline: baseline.len(),
        candidate: theirs,
        of_candidate: candidate.len(),
        chance: at_least(theirs, candidate.len(), ours + theirs, baseline.len() + candidate.len()),
    })
}

fn n_slow(times: &[f64]) -> usize {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    // The lower median: of two launches, the faster one is the usual one.
    let Some(usual) = sorted.get(sorted.len().saturating_sub(1) / 2) else { return 0 };
    times.iter().filter(|time| **time > SLOW * usual).count()
}

/// Returns the chance that at least `k` of `n_drawn` launches are among the `n_slow` slow ones of `n` in all, if which side
/// they fall on is chance alone: the one-sided exact test of Fisher (1935, "The Logic of Inductive Inference", Journal of
/// the Royal Statistical Society 98).
fn at_least(k: usize, n_drawn: usize, n_slow: usize, n: usize) -> f64 {
    let binomial = |n: usize, k: usize| ln_binomial(n as u64, k as u64);
    let whole = binomial(n, n_drawn);
    let exactly = |k: usize| (binomial(n_slow, k) + binomial(n - n_slow, n_drawn - k) - whole).exp();
    let possible = (n_drawn + n_slow).saturating_sub(n)..=n_slow.min(n_drawn);
    possible.filter(|own| *own >= k).map(exactly).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_launches_are_counted_against_the_usual_one_of_their_own_side() {
        assert_eq!(slow_launches(&[1.0, 1.01, 0.99], &[1.1, 1.12, 1.11]), None);
        let found = slow_launches(&[1.0, 1.01, 0.99, 1.7], &[1.1, 1.12, 1.9, 1.95, 1.11]).unwrap();
        assert_eq!((found.baseline, found.of_baseline), (1, 4));
        assert_eq!((found.candidate, found.of_candidate), (2, 5));
    }
}
