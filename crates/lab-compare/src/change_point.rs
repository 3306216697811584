//! Where the level of a series moves: the sessions of one family over time.
//!
//! One value a session, in time order: the logarithm of its mean. A level moves by a split, or leaves and comes back:
//!
//! ```text
//!   split     ••••••••              excursion     •••••     •••••
//!                     ••••••                           ••••
//!             one change point                    two change points
//! ```
//!
//! Binary segmentation (Scott and Knott 1974, "A cluster analysis method for grouping means in the analysis of variance",
//! Biometrics 30(3); Vostrikova 1981, "Detecting disorder in multidimensional random processes", Soviet Mathematics
//! Doklady 24): the stretch of the series that differs most from the rest is looked for, and if it differs by more than
//! chance explains, the series is cut there and each piece is searched in turn. Excursions are looked for where there is
//! no split, since a split hardly sees them (Olshen, Venkatraman, Lucito and Wigler 2004, "Circular binary segmentation
//! for the analysis of array-based DNA copy number data", Biostatistics 5(4)). The sums are those of Page (1954,
//! "Continuous inspection schemes", Biometrika 41).
//!
//! *By more than chance explains* is asked of permutations (as Matteson and James 2014 do, "A nonparametric approach for
//! multiple change point analysis of multivariate data", Journal of the American Statistical Association 109(505)): if
//! nothing changed, every order of the sessions is as likely as the one seen, whatever their distribution. Each
//! permutation has its own best stretch, so that having selected the best one is paid for. The draws are seeded: the same
//! series gives the same answer on every machine (invariant I8).
//!
//! Nothing here judges: a change point is no verdict on two sessions. `docs/history.md` has how often it is right.

use std::ops::Range;

use lab_core::metric::percentile_type_7;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// The chance that a series without any change shows one.
pub const SIGNIFICANCE: f64 = 0.01;

/// The fewest sessions in which a change can be significant: of C(11, 5) ways to choose which five of eleven are the
/// low ones, two have them at an end, and 2/462 is below a half of [`SIGNIFICANCE`]. For ten it is 2/252.
pub const LEAST_SESSIONS: usize = 11;

/// Orders drawn for one question. p-values are multiples of 1/10,000.
const N_PERMUTATIONS: usize = 9_999;
/// Any number would do.
const SEED: u64 = 1_954;
/// What one session alone shows is an outlier; a level is what at least two have.
const LEAST_STRETCH: usize = 2;
/// Deviations beyond so many standard deviations count as that many, or one bad session would hide every change from
/// the series. Of normal values 1 in 22 lies beyond, which costs next to nothing (Huber 1964, "Robust estimation of a
/// location parameter", Annals of Mathematical Statistics 35(1)).
const CLIPPED_BEYOND: f64 = 2.0;
/// The standard deviation of a normal distribution over the first quartile of the distances between its values:
/// 1/(√2 Φ⁻¹(5/8)) (Rousseeuw and Croux 1993, "Alternatives to the median absolute deviation", Journal of the American
/// Statistical Association 88(424)).
const NORMAL_OVER_QUARTILE: f64 = 2.219_144_465_985_076;
/// Orders of equal worth differ by rounding alone, and count as equal.
const ROUNDING: f64 = 1e-9;

/// A session from which on the level is another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// Position of the first session of the new level, from 0.
    pub index: usize,
    /// The new level over the one before it, less 1: -0.06 is 6 % lower. The median of all ratios of a session after to
    /// a session before (Hodges and Lehmann 1963, "Estimates of location based on rank tests", Annals of Mathematical
    /// Statistics 34(2)), up to the neighbouring change points.
    pub change: f64,
    /// The chance of this or more in a series without any change, all questions asked of the series paid for. At most
    /// [`SIGNIFICANCE`].
    pub p: f64,
}

/// Why a series has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangePointError {
    /// The logarithm of zero, of a negative number, or of no number.
    #[error("value {index} of the series is no finite logarithm")]
    NotFinite {
        /// Its position, from 0.
        index: usize,
    },
}

/// Finds the sessions from which on the level is another, in time order.
///
/// `logs` has one natural logarithm a session, in time order. A series of fewer than [`LEAST_SESSIONS`] has none.
///
/// The chance that a series without any change shows one is at most [`SIGNIFICANCE`]: half of it goes to splits and half
/// to excursions, and a piece of the series is searched at a share of that as large as the piece (the nested rule of
/// Meinshausen 2008, "Hierarchical testing of variable importance", Biometrika 95(2)), so that the pieces around a true
/// change show no more false ones together than a whole series would.
///
/// # Errors
///
/// When a value is not finite.
pub fn change_points(logs: &[f64]) -> Result<Vec<ChangePoint>, ChangePointError> {
    if let Some(index) = logs.iter().position(|log| !log.is_finite()) {
        return Err(ChangePointError::NotFinite { index });
    }
    let mut cuts = Vec::new();
    let mut pending = vec![Piece { range: 0..logs.len(), least_p: 0.0 }];
    while let Some(piece) = pending.pop() {
        if let Some(found) = search(logs, &piece) {
            cuts.extend(found.cuts.iter().map(|index| Cut { index: *index, p: found.p }));
            pending.extend(found.pieces(&piece));
        }
    }
    cuts.sort_by_key(|cut| cut.index);
    Ok(sized(logs, &cuts))
}

/// Returns the last level over the first value, less 1; none for an empty series.
///
/// Many steps too small to be seen one by one add up here. The last level is the median since the last change point.
pub fn change_since_first(logs: &[f64], points: &[ChangePoint]) -> Option<f64> {
    let last = points.last().map_or(0, |point| point.index);
    Some((median(logs[last..].to_vec())? - logs.first()?).exp_m1())
}

/// A piece of the series between two cuts.
struct Piece {
    range: Range<usize>,
    /// The p of the cut that made it: what is found inside is never surer than that there is anything to find.
    least_p: f64,
}

/// Where a piece is cut.
struct Found {
    cuts: Vec<usize>,
    p: f64,
}

struct Cut {
    index: usize,
    p: f64,
}

impl Found {
    /// Returns what the cuts leave of the piece.
    fn pieces(&self, piece: &Piece) -> Vec<Piece> {
        let starts = [piece.range.start].into_iter().chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain([piece.range.end]);
        starts.zip(ends).map(|(start, end)| Piece { range: start..end, least_p: self.p }).collect()
    }
}

/// What a piece is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The level of the end is not that of the beginning.
    Split,
    /// Beginning and end are of one level, and the stretch between them of another.
    Excursion,
}

impl Shape {
    /// Splits first: an excursion that reaches nearly to the end of a piece is a poorer description of a split.
    const ALL: [Self; 2] = [Self::Split, Self::Excursion];

    /// Returns the stretches of a piece of `n` sessions that may be of another level than the rest of it.
    fn stretches(self, n: usize) -> Vec<Stretch> {
        let starts = LEAST_STRETCH..n.saturating_sub(LEAST_STRETCH).saturating_add(1);
        match self {
            Self::Split => starts.map(|start| Stretch::new(start, n, n)).collect(),
            Self::Excursion => starts
                .flat_map(|start| {
                    let ends = start + LEAST_STRETCH..(n + 1).saturating_sub(LEAST_STRETCH);
                    ends.map(move |end| Stretch::new(start, end, n))
                })
                .collect(),
        }
    }
}

/// Some sessions in a row, compared with all others of a piece.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    start: usize,
    end: usize,
    /// Turns the stretch's sum of centred scores into the two-sample statistic.
    weight: f64,
}

impl Stretch {
    fn new(start: usize, end: usize, n: usize) -> Self {
        let (inside, outside) = ((end - start) as f64, (n + start - end) as f64);
        Self { start, end, weight: (n as f64 / (inside * outside)).sqrt() }
    }
}

/// Looks for a significant cut of a piece.
fn search(logs: &[f64], piece: &Piece) -> Option<Found> {
    let Range { start, end } = piece.range;
    let scores = scores(&logs[start..end]);
    let questions = Shape::ALL.len() as f64 * logs.len() as f64 / scores.len() as f64;
    Shape::ALL.into_iter().find_map(|shape| {
        let stretches = shape.stretches(scores.len());
        let (best, statistic) = most_unlike(&scores, &stretches)?;
        let p = p_value(&scores, &stretches, statistic, SIGNIFICANCE / questions)?;
        let cuts = match shape {
            Shape::Split => vec![start + best.start],
            Shape::Excursion => vec![start + best.start, start + best.end],
        };
        Some(Found { cuts, p: (p * questions).max(piece.least_p) })
    })
}

/// Returns the deviations from the median, clipped and then centred at their mean.
///
/// They depend on which values there are and not on their order, so that a permutation of scores is one of sessions.
fn scores(logs: &[f64]) -> Vec<f64> {
    let Some(centre) = median(logs.to_vec()) else { return Vec::new() };
    let mut scores: Vec<f64> = logs.iter().map(|log| log - centre).collect();
    // Where many sessions agree exactly nothing tells what far is.
    if let Some(spread) = spread(&scores).filter(|spread| *spread > 0.0) {
        let most = CLIPPED_BEYOND * spread;
        scores.iter_mut().for_each(|score| *score = score.clamp(-most, most));
    }
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    scores.iter_mut().for_each(|score| *score -= mean);
    scores
}

/// Returns a standard deviation that neither outliers nor levels reach: from about the first quartile of the distances
/// between two values (Q of Rousseeuw and Croux 1993). Of two levels half of the distances, and of three a third, are
/// inside one of them; the median absolute deviation would take two levels for noise. None below two values.
fn spread(values: &[f64]) -> Option<f64> {
    let pairs = values
        .iter()
        .enumerate()
        .flat_map(|(index, left)| values[index + 1..].iter().map(move |right| (right - left).abs()));
    let mut distances: Vec<f64> = pairs.collect();
    let half = values.len() / 2 + 1;
    let quartile = (half * (half - 1) / 2).checked_sub(1)?;
    let (_, distance, _) = distances.select_nth_unstable_by(quartile, f64::total_cmp);
    Some(NORMAL_OVER_QUARTILE * *distance)
}

/// Returns the stretch that differs most from the rest, and its statistic: |mean inside − mean outside| over
/// √(1/inside + 1/outside). Divided by the pooled standard deviation it would be Student's two-sample t, which is greatest
/// for the same stretch, since all of them share their total sum of squares (Sen and Srivastava 1975, "On tests for
/// detecting change in mean", Annals of Statistics 3(1)). None where no stretch differs.
fn most_unlike<'s>(scores: &[f64], stretches: &'s [Stretch]) -> Option<(&'s Stretch, f64)> {
    let sums = running_sums(scores);
    let statistics = stretches.iter().map(|stretch| (stretch, statistic(&sums, stretch)));
    // The first of equals.
    let best = statistics.reduce(|best, other| if other.1 > best.1 { other } else { best })?;
    (best.1 > 0.0).then_some(best)
}

/// Returns sums up to each position, with 0 in front.
fn running_sums(scores: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; scores.len() + 1];
    run_sums(scores, &mut sums);
    sums
}

fn run_sums(scores: &[f64], sums: &mut [f64]) {
    let mut sum = 0.0;
    for (score, slot) in scores.iter().zip(&mut sums[1..]) {
        sum += score;
        *slot = sum;
    }
}

fn statistic(sums: &[f64], stretch: &Stretch) -> f64 {
    (sums[stretch.end] - sums[stretch.start]).abs() * stretch.weight
}

/// Returns the share of orders, the one seen included, whose best stretch is as unlike its rest (Phipson and Smyth 2010,
/// "Permutation p-values should never be zero", Statistical Applications in Genetics and Molecular Biology 9(1)); none as
/// soon as it is clear that it will be above `level` (Besag and Clifford 1991, "Sequential Monte Carlo p-values",
/// Biometrika 78(2)).
fn p_value(scores: &[f64], stretches: &[Stretch], observed: f64, level: f64) -> Option<f64> {
    let share = |n_orders: usize| n_orders as f64 / (N_PERMUTATIONS + 1) as f64;
    let threshold = observed * (1.0 - ROUNDING);
    let mut words = ChaCha8Rng::seed_from_u64(SEED);
    let mut shuffled = scores.to_vec();
    let mut sums = running_sums(scores);
    let mut n_as_unlike = 1;
    for _ in 0..N_PERMUTATIONS {
        if share(n_as_unlike) > level {
            return None;
        }
        shuffle(&mut shuffled, &mut words);
        run_sums(&shuffled, &mut sums);
        n_as_unlike += usize::from(stretches.iter().any(|stretch| statistic(&sums, stretch) >= threshold));
    }
    (share(n_as_unlike) <= level).then(|| share(n_as_unlike))
}

/// Puts values in random order (Durstenfeld 1964, "Algorithm 235: Random permutation", Communications of the ACM 7(7)).
fn shuffle(values: &mut [f64], words: &mut ChaCha8Rng) {
    for last in (1..values.len()).rev() {
        // The high half of a product is below its factor, evenly but for one part in 2³²/n.
        let drawn = (u64::from(words.next_u32()) * (last as u64 + 1)) >> 32;
        let other = usize::try_from(drawn).expect("the high half is at most the position of the last");
        values.swap(last, other);
    }
}

/// Sizes each change by the levels on either side of it.
fn sized(logs: &[f64], cuts: &[Cut]) -> Vec<ChangePoint> {
    let edges: Vec<usize> =
        [0].into_iter().chain(cuts.iter().map(|cut| cut.index)).chain([logs.len()]).collect();
    let around = edges.windows(3).map(|edges| (&logs[edges[0]..edges[1]], &logs[edges[1]..edges[2]]));
    let sized = cuts.iter().zip(around).map(|(cut, (before, after))| {
        let change = shift(before, after).exp_m1();
        ChangePoint { index: cut.index, change, p: cut.p }
    });
    sized.collect()
}

/// Returns the median of all differences of a value after and a value before.
fn shift(before: &[f64], after: &[f64]) -> f64 {
    let differences = after.iter().flat_map(|after| before.iter().map(move |before| after - before));
    median(differences.collect()).expect("a cut has sessions on either side")
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    percentile_type_7(&values, 0.5)
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
