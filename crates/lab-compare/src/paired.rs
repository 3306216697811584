//! The statistics of a toggle experiment: one engine process, in which something is off and on block by block.
//!
//! The judged quantity is the ratio of mean times per token, on against off. A median would be steadier and blind: what
//! makes two tokens in a hundred slow moves the mean, and the user waits for the mean.
//!
//! ```text
//!   off   ON   off   ON   off        each ON block meets the mean of its two neighbours:
//!    └─ ½ ─┴─ ½ ─┘                   whatever drifts linearly is equal on both sides
//!                └─ ½ ─┴─ ½ ─┘
//! ```
//!
//! The interval comes from batch means: successive comparisons are averaged in 10 to 20 batches, and Student's t is
//! taken over the batches. Autocorrelation shorter than a batch then widens or narrows the interval as it should, and
//! heavy tails are averaged before normality is assumed. The alternative, a moving-block bootstrap, holds the truth in
//! 82 to 93 % of simulated series where this holds it in 95 %; `docs/overhead.md` has the figures.
//!
//! What others did to some blocks is left out with its comparisons, by outside evidence alone ([`Outside`]): an on block and its
//! neighbours together, so that neither arm is spared what the other is not.
//!
//! What it cannot see: a disturbance with the very period of the toggle. The caller's blocks should not be in step with
//! anything that ticks.

mod outside;

pub use outside::Outside;

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::pairs::LEAST_LEFT;

/// Confidence of the interval.
pub const CONFIDENCE: f64 = 0.95;

/// Neighbouring comparisons share an off block, which makes batches of fewer look steadier than they are: by 1 part in
/// 4 L of the variance for L comparisons in a batch, if blocks are independent.
const LEAST_PAIRS_IN_BATCH: usize = 4;
/// Fewer batches give a t quantile above 2.3, and intervals that no one can use.
const LEAST_BATCHES: usize = 10;
/// More batches hardly shorten the interval, and shorten the autocorrelation that it can bear. Schmeiser (1982, "Batch
/// size effects in the analysis of simulation output", Operations Research 30(3)) finds 10 to 30 enough.
const MOST_BATCHES: usize = 20;
/// The fewest comparisons that are judged.
const LEAST_PAIRS: usize = LEAST_BATCHES * LEAST_PAIRS_IN_BATCH;
/// The fewest blocks that are judged, if the first one is off.
pub const LEAST_BLOCKS: usize = 2 * LEAST_PAIRS + 1;

/// Whether what is tested was off or on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arm {
    /// Off.
    Off,
    /// On.
    On,
}

/// Some tokens in a row under one arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The arm.
    pub arm: Arm,
    /// Tokens generated.
    pub tokens: u32,
    /// The time they took, in nanoseconds.
    pub time_ns: u64,
}

/// What on does to the time per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedEffect {
    /// Mean time per token of on, divided by that of off: 1.01 is 1 % slower.
    pub ratio: f64,
    /// Lower end of the 95 % interval of the ratio.
    pub low: f64,
    /// Upper end of the 95 % interval of the ratio.
    pub high: f64,
    /// Blocks given, of both arms.
    pub n_blocks: usize,
    /// On blocks that were compared with two neighbours, and are not left out.
    pub n_pairs: usize,
    /// Batches that the comparisons were averaged in.
    pub n_batches: usize,
}

/// Why blocks carry no estimate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairedError {
    /// Too few comparisons.
    #[error(
        "{n_blocks} blocks give {n_pairs} comparisons of an on block with two off neighbours; \
         {LEAST_PAIRS} are needed, which is {LEAST_BLOCKS} blocks that begin with off"
    )]
    TooFew {
        /// Blocks given.
        n_blocks: usize,
        /// Comparisons they give.
        n_pairs: usize,
    },
    /// Too few comparisons in which others left the machine alone.
    #[error("others used the machine in so many blocks that {n_left} of {n_pairs} comparisons are left")]
    Disturbed {
        /// Comparisons none of whose blocks was disturbed.
        n_left: usize,
        /// Comparisons that the blocks give.
        n_pairs: usize,
    },
    /// Two neighbours under one arm.
    #[error("blocks {index} and {} are of the same arm; off and on must alternate", index + 1)]
    NotAlternating {
        /// Position of the first of the two, from 0.
        index: usize,
    },
    /// A block from which no time per token follows.
    #[error("block {index} has {tokens} tokens in {time_ns} ns, which is no time per token")]
    Empty {
        /// Its position, from 0.
        index: usize,
        /// Its tokens.
        tokens: u32,
        /// Its time.
        time_ns: u64,
    },
}

/// An on block and the mean of its off neighbours, in nanoseconds per token.
struct Pair {
    on: f64,
    off: f64,
}

/// Estimates what on does to the time per token, from alternating blocks in the order in which they ran.
///
/// Every block counts the same, so blocks should be of one size. Deterministic: nothing is drawn.
///
/// # Errors
///
/// When blocks do not alternate, one has no token or no time, or they are too few.
pub fn paired_effect(blocks: &[Block]) -> Result<PairedEffect, PairedError> {
    estimate(blocks.len(), &pairs(blocks, &[])?)
}

/// Estimates as [`paired_effect`] does, from the comparisons in which others disturbed none of the three blocks.
/// `is_disturbed` has an entry a block.
///
/// # Errors
///
/// Those of [`paired_effect`], and [`PairedError::Disturbed`] when less than half of the comparisons are left, or fewer than
/// are judged.
pub fn undisturbed_effect(blocks: &[Block], is_disturbed: &[bool]) -> Result<PairedEffect, PairedError> {
    let n_pairs = pairs(blocks, &[])?.len();
    let left = pairs(blocks, is_disturbed)?;
    let is_enough = left.len() >= LEAST_PAIRS && left.len() as f64 >= LEAST_LEFT * n_pairs as f64;
    if n_pairs >= LEAST_PAIRS && !is_enough {
        return Err(PairedError::Disturbed { n_left: left.len(), n_pairs });
    }
    estimate(blocks.len(), &left)
}

fn estimate(n_blocks: usize, pairs: &[Pair]) -> Result<PairedEffect, PairedError> {
    if pairs.len() < LEAST_PAIRS {
        return Err(PairedError::TooFew { n_blocks, n_pairs: pairs.len() });
    }
    // The ratio of sums, not the mean of ratios: slow tokens must weigh as much as they cost.
    let (on, off) = pairs.iter().fold((0.0, 0.0), |(on, off), pair| (on + pair.on, off + pair.off));
    let ratio = on / off;
    let n_batches = (pairs.len() / LEAST_PAIRS_IN_BATCH).clamp(LEAST_BATCHES, MOST_BATCHES);
    let half_width = t_quantile(n_batches - 1) * standard_error(pairs, ratio, n_batches);
    Ok(PairedEffect {
        ratio,
        low: ratio - half_width,
        high: ratio + half_width,
        n_blocks,
        n_pairs: pairs.len(),
        n_batches,
    })
}

/// Returns whether the whole interval lies inside (1 − margin, 1 + margin). `margin` is a fraction: 0.01 for 1 %.
///
/// Two one-sided tests at 2.5 % each (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15(6)): an
/// effect as large as the margin passes in about one experiment of forty.
pub fn is_equivalent(effect: &PairedEffect, margin: f64) -> bool {
    effect.low > 1.0 - margin && effect.high < 1.0 + margin
}

/// Returns how many blocks would have made the interval fit inside the margin, as far as this experiment tells; none
/// when the ratio itself is outside, since more blocks cannot help there.
///
/// The interval shrinks with the square root of the count of blocks.
pub fn blocks_needed(effect: &PairedEffect, margin: f64) -> Option<usize> {
    let room = margin - (effect.ratio - 1.0).abs();
    let half_width = (effect.high - effect.low) / 2.0;
    let times = (half_width / room).powi(2);
    if room <= 0.0 || !times.is_finite() {
        return None;
    }
    let blocks = (effect.n_blocks as f64 * times).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a square is not negative, and `as` saturates"
    )]
    Some((blocks as usize).max(LEAST_BLOCKS))
}

fn check_alternation(blocks: &[Block]) -> Result<(), PairedError> {
    match blocks.windows(2).position(|two| two[0].arm == two[1].arm) {
        Some(index) => Err(PairedError::NotAlternating { index }),
        None => Ok(()),
    }
}

/// Pairs every on block that has two neighbours with their mean, unless one of the three is disturbed.
fn pairs(blocks: &[Block], is_disturbed: &[bool]) -> Result<Vec<Pair>, PairedError> {
    check_alternation(blocks)?;
    let times: Vec<f64> = blocks.iter().enumerate().map(time_per_token).collect::<Result<_, _>>()?;
    let is_quiet = |block: usize| !is_disturbed.get(block).copied().unwrap_or(false);
    let starts = 0..blocks.len().saturating_sub(2);
    let around_on = starts.filter(|at| blocks[at + 1].arm == Arm::On && (*at..at + 3).all(is_quiet));
    let pair = |at: usize| Pair { on: times[at + 1], off: f64::midpoint(times[at], times[at + 2]) };
    Ok(around_on.map(pair).collect())
}

/// Nanoseconds below 2⁵³ (104 days) are exact in an `f64`.
fn time_per_token((index, block): (usize, &Block)) -> Result<f64, PairedError> {
    let Block { tokens, time_ns, .. } = *block;
    if tokens == 0 || time_ns == 0 {
        return Err(PairedError::Empty { index, tokens, time_ns });
    }
    Ok(time_ns as f64 / f64::from(tokens))
}

/// Returns the standard error of a ratio of sums: that of the mean of its residuals, relative to the mean of off
/// (Cochran 1977, "Sampling Techniques", section 6.4), by batch means (Conway 1963, "Some tactical problems in digital
/// simulation", Management Science 10(1)).
fn standard_error(pairs: &[Pair], ratio: f64, n_batches: usize) -> f64 {
    let mean_off = mean(pairs.iter().map(|pair| pair.off));
    let residuals: Vec<f64> = pairs.iter().map(|pair| (pair.on - ratio * pair.off) / mean_off).collect();
    let edge = |batch: usize| batch * residuals.len() / n_batches;
    let batch_mean = |batch| mean(residuals[edge(batch)..edge(batch + 1)].iter().copied());
    let means: Vec<f64> = (0..n_batches).map(batch_mean).collect();
    let centre = mean(means.iter().copied());
    let squares: f64 = means.iter().map(|mean| (mean - centre).powi(2)).sum();
    (squares / (n_batches - 1) as f64 / n_batches as f64).sqrt()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

/// Returns the two-sided quantile of Student's t at [`CONFIDENCE`].
fn t_quantile(degrees_of_freedom: usize) -> f64 {
    StudentsT::new(0.0, 1.0, degrees_of_freedom as f64)
        .expect("batches less one are above 0")
        .inverse_cdf(f64::midpoint(1.0, CONFIDENCE))
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
