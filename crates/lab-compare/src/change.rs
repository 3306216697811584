//! The change of one metric between two sessions, with its interval, from launches.

use std::collections::BTreeMap;

use lab_core::experiment::Noise;
use lab_core::metric::{Direction, Metric, Reading, speed};
use lab_core::record::Session;
use lab_core::report::{ChangeInterval, Drift, Scale};
use lab_core::tolerance::Tolerance;

use crate::drift::Drifting;
use crate::launches::{LaunchMean, launch_means};
use crate::location::{Location, location};
use crate::need::{Prospect, launches_needed};
use crate::number_line::{Verdict, place_beside};
use crate::pairs::Pairs;
use crate::stopping::{CONFIDENCE, effect, freedom};

/// What the intervals of a comparison share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// How sure an interval is if it is the only one.
    pub(crate) confidence: f64,
    /// Metrics that are judged together.
    pub(crate) n_judged: usize,
    /// What sessions differ by, by full metric id.
    pub(crate) drifts: &'a BTreeMap<String, Drift>,
    /// The pairs, if both sides are of one experiment.
    pub(crate) pairs: Option<&'a Pairs>,
    /// What calibration knows of pairs.
    pub(crate) noise: Noise,
    /// Full ids of the metrics that are judged; none for all that have a tolerance.
    pub(crate) gated: Option<&'a [String]>,
}

impl Terms<'_> {
    /// Returns the confidence of the interval of one of several metrics that are judged together: all of them hold at
    /// once as often as is claimed (Bonferroni).
    fn each(&self) -> f64 {
        1.0 - (1.0 - self.confidence) / self.n_judged.max(1) as f64
    }
}

/// Returns a metric's change and its interval, or why there is none.
pub(crate) fn interval(
    metric: &Metric,
    baseline: &Session,
    candidate: &Session,
    tolerance: Option<Tolerance>,
    terms: &Terms<'_>,
) -> Reading<ChangeInterval> {
    let scale = scale_of(tolerance);
    let sides = [baseline, candidate].map(|session| launch_means(session, metric));
    let drift = match terms.pairs {
        Some(_) => Drift::Paired,
        None => terms.drifts.get(&metric.id()).copied().unwrap_or_default(),
    };
    let change = match terms.pairs {
        Some(pairs) if metric.id() == speed().id() && scale == Scale::Relative => of_pairs(pairs, terms),
        Some(pairs) => matched(metric, &sides, scale, pairs, terms),
        None => separate(&sides, scale, drift),
    };
    change.map(|change| change.interval(scale, tolerance, drift, terms)).into()
}

/// Returns the scale that a change is measured on: that of its tolerance.
pub(crate) const fn scale_of(tolerance: Option<Tolerance>) -> Scale {
    match tolerance {
        Some(Tolerance::Absolute(_)) => Scale::Absolute,
        Some(Tolerance::Relative(_)) | None => Scale::Relative,
    }
}

/// Returns a change in the unit of its tolerance.
pub(crate) fn to_change(scale: Scale, own: f64) -> f64 {
    if scale == Scale::Relative { own.exp_m1() } else { own }
}

/// Returns the value that a change on a scale is a change of, where the baseline's middle is `centre`: shares are those of 1.
pub(crate) fn size(scale: Scale, centre: f64) -> f64 {
    if scale == Scale::Relative { 1.0 } else { centre.abs() }
}

/// A change on the scale that intervals are taken on: logarithms of ratios, or differences.
struct Change {
    location: Location,
    prospect: Prospect,
    /// The value that it is a change of, in the unit of the tolerance.
    baseline: f64,
    n: [usize; 2],
}

impl Change {
    fn interval(
        &self,
        scale: Scale,
        tolerance: Option<Tolerance>,
        drift: Drift,
        terms: &Terms<'_>,
    ) -> ChangeInterval {
        let to_change = |own: f64| to_change(scale, own);
        let (low, high) = self.location.interval(terms.each());
        let width = match tolerance {
            Some(Tolerance::Relative(width) | Tolerance::Absolute(width)) => Some(width),
            None => None,
        };
        let [n_baseline, n_candidate] = self.n;
        let has = n_baseline.min(n_candidate);
        let needed = width.and_then(|width| {
            let decides = |low: f64, high: f64| {
                let (low, high) = (to_change(low), to_change(high));
                place_beside(self.baseline, low, high, width, Direction::Neutral) != Verdict::Inconclusive
            };
            if decides(low, high) {
                None
            } else {
                launches_needed(&self.prospect, has, terms.each(), decides)
            }
        });
        ChangeInterval {
            scale,
            estimate: to_change(self.location.centre),
            low: to_change(low),
            high: to_change(high),
            confidence: CONFIDENCE,
            n_baseline,
            n_candidate,
            drift,
            needed,
        }
    }
}

/// Two sessions of their own: the difference of their middles, and what sessions differ by.
fn separate(sides: &[Vec<LaunchMean>; 2], scale: Scale, drift: Drift) -> Result<Change, String> {
    let values = scaled(sides, scale)?;
    let [ours, theirs] = [located(&values[0], "baseline")?, located(&values[1], "candidate")?];
    let drifting = Drifting::new(drift, scale, ours.centre);
    let location = drifting.held_by(ours.to(theirs));
    let n = [values[0].len(), values[1].len()];
    let prospect = drifting.prospect(location.centre, [spread(ours, n[0]), spread(theirs, n[1])]);
    Ok(Change { location, prospect, baseline: size(scale, ours.centre), n })
}

/// The pairs of an experiment: the middle of their log-ratios, and what calibration knows of these.
fn of_pairs(pairs: &Pairs, terms: &Terms<'_>) -> Result<Change, String> {
    paired(&pairs.log_ratios(), terms.noise, 1.0)
}

/// Any other metric of an experiment: the differences between launches of one pair. Pairs that are left out for what used the
/// machine in their turns are left out here, too; energy was not measured in turns.
///
/// Calibration knows the noise of speed as a share. In the unit of speed it is that share of it; of other metrics nothing is
/// known.
fn matched(
    metric: &Metric,
    sides: &[Vec<LaunchMean>; 2],
    scale: Scale,
    pairs: &Pairs,
    terms: &Terms<'_>,
) -> Result<Change, String> {
    let counts = |own: &&LaunchMean| metric.meter.is_some() || pairs.counts(own.launch);
    let sides = sides.each_ref().map(|side| side.iter().filter(counts).copied().collect::<Vec<LaunchMean>>());
    let values = scaled(&sides, scale)?;
    let [ours, theirs] = &sides;
    let differences: Vec<f64> = ours
        .iter()
        .zip(&values[0])
        .filter_map(|(launch, value)| {
            let other = theirs.iter().position(|own| own.launch == launch.launch)?;
            Some(values[1][other] - value)
        })
        .collect();
    let usual = values[0].iter().sum::<f64>() / values[0].len() as f64;
    let noise = match metric.id() == speed().id() {
        true => Noise { bias: terms.noise.bias * usual.abs(), ..terms.noise },
        false => Noise::default(),
    };
    paired(&differences, noise, size(scale, usual))
}

fn paired(differences: &[f64], noise: Noise, baseline: f64) -> Result<Change, String> {
    let n = differences.len();
    let location = effect(differences, noise).ok_or_else(|| few(n, "pair"))?;
    // What all pairs share is no spread of theirs.
    let own = effect(differences, Noise { bias: 0.0, ..noise }).unwrap_or(location);
    let prospect = Prospect {
        centre: location.centre,
        spread: [spread(own, n), 0.0],
        drift: noise.bias,
        drift_freedom: freedom(noise),
    };
    Ok(Change { location, prospect, baseline, n: [n, n] })
}

/// Returns the standard deviation that a standard error of so many launches stands for.
pub(crate) fn spread(location: Location, n: usize) -> f64 {
    location.standard_error * (n as f64).sqrt()
}

pub(crate) fn located(values: &[f64], side: &str) -> Result<Location, String> {
    location(values).ok_or_else(|| format!("{} of the {side}", few(values.len(), "launch")))
}

pub(crate) fn few(n: usize, what: &str) -> String {
    match n {
        0 => format!("there is no {what} that counts"),
        1 => format!("there is a single {what}, and one value has no spread"),
        n => format!("{n} are too few"),
    }
}

/// Takes logarithms where the change is a ratio. A value that is not above 0 has none.
pub(crate) fn scaled(sides: &[Vec<LaunchMean>; 2], scale: Scale) -> Result<[Vec<f64>; 2], String> {
    let is_ratio = scale == Scale::Relative;
    if sides.iter().flatten().all(|own| own.mean == 0.0) {
        // Nothing against nothing: no change, on either scale.
        return Ok(sides.each_ref().map(|side| vec![0.0; side.len()]));
    }
    if is_ratio && sides.iter().flatten().any(|own| own.mean <= 0.0) {
        return Err("a launch has a mean that is not above 0, and no ratio to it".to_owned());
    }
    let value = |own: &LaunchMean| if is_ratio { own.mean.ln() } else { own.mean };
    Ok(sides.each_ref().map(|side| side.iter().map(value).collect()))
}
