//! What a comparison can come to, said before the candidate is measured.

use std::fmt;

use lab_core::calibration::{Calibration, Grouped, Rate};
use lab_core::experiment::StoppingPlan;
use lab_core::metric::{Metric, short_name};
use lab_core::record::{Session, SessionHeader};
use lab_core::report::{Drift, PairedSupport, Scale, Support};
use lab_core::tolerance::Tolerance;
use statrs::distribution::{Continuous as _, ContinuousCDF as _, Normal};

use crate::Policy;
use crate::change::{located, scale_of, scaled, size, spread, to_change};
use crate::drift::Drifting;
use crate::launches::launch_means;
use crate::location::n_trimmed;
use crate::need::Prospect;
use crate::noise;
use crate::number_line::{Verdict, place_beside};
use crate::percentile;
use crate::row;
use crate::stopping::{self, CONFIDENCE, freedom, widening};
use crate::summarize::figures;
use crate::suspicion;

/// Why no number of launches within a budget could call a candidate equivalent to a baseline.
#[derive(Debug, Clone, PartialEq)]
pub enum Undecidable {
    /// The baseline's own repetitions keep from every verdict.
    Suspect {
        /// The rules of validity that made them suspect.
        rules: Vec<String>,
    },
    /// The gate names a metric of which the baseline's plan has no tolerance, and what has none is not judged.
    NoTolerance {
        /// Full id of the metric.
        metric: String,
    },
    /// The interval of a metric would be too wide.
    Metric {
        /// Full id of the metric.
        metric: String,
        /// In words.
        reason: String,
    },
}

impl fmt::Display for Undecidable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspect { rules } => {
                write!(f, "repetitions of the baseline are suspect ({})", rules.join(", "))
            }
            Self::NoTolerance { metric } => write!(
                f,
                "{}: the gate names it, and the baseline was measured without a tolerance of it",
                short_name(metric)
            ),
            Self::Metric { metric, reason } => write!(f, "{}: {reason}", short_name(metric)),
        }
    }
}

/// Returns why a candidate could not be called equivalent to a baseline even if it were the same, at any look of the stopping
/// plan; nothing where it could. The candidate is taken to vary as the baseline does; its header tells what its plan tolerates.
pub fn undecidable(
    baseline: &Session,
    candidate: &SessionHeader,
    policy: &Policy,
    stopping: &StoppingPlan,
) -> Option<Undecidable> {
    let (suspicions, _) = suspicion::of_sessions(baseline, baseline, policy);
    if !suspicions.is_empty() {
        return Some(Undecidable::Suspect { rules: suspicions.into_iter().map(|own| own.rule).collect() });
    }
    let gated = policy.gate.metrics.as_deref();
    let metrics = || baseline.header.work.metrics();
    let tolerance = |metric: &Metric| row::tolerance_of(metric, &baseline.header, candidate, gated);
    let is_named = |metric: &Metric| gated.is_some_and(|gated| gated.contains(&metric.id()));
    if let Some(metric) = metrics().find(|metric| is_named(metric) && tolerance(metric).is_none()) {
        return Some(Undecidable::NoTolerance { metric: metric.id() });
    }
    let judged: Vec<(&Metric, Tolerance)> = metrics()
        .filter(|metric| figures(baseline, metric).is_ok())
        .filter_map(|metric| Some((metric, tolerance(metric)?)))
        .collect();
    let own = baseline.header.stopping().map_or(CONFIDENCE, |own| own.look_confidence);
    let together = own.max(stopping.look_confidence);
    let each = 1.0 - (1.0 - together) / judged.len().max(1) as f64;
    judged.iter().find_map(|(metric, tolerance)| {
        let reason = why_undecidable(metric, *tolerance, baseline, policy, &stopping.looks, each)?;
        Some(Undecidable::Metric { metric: metric.id(), reason })
    })
}

fn why_undecidable(
    metric: &Metric,
    tolerance: Tolerance,
    baseline: &Session,
    policy: &Policy,
    looks: &[u32],
    confidence: f64,
) -> Option<String> {
    if let Some(reason) = percentile::withheld(metric, [baseline; 2]) {
        return Some(format!("of the baseline {reason}"));
    }
    let scale = scale_of(Some(tolerance));
    let means = launch_means(baseline, metric);
    let values = match scaled(&[means, Vec::new()], scale) {
        Ok([ours, _]) => ours,
        Err(reason) => return Some(reason),
    };
    let ours = match located(&values, "baseline") {
        Ok(location) => location,
        Err(reason) => return Some(reason),
    };
    let drift = policy.drifts.get(&metric.id()).copied().unwrap_or_default();
    let drifting = Drifting::new(drift, scale, ours.centre);
    let prospect = drifting.prospect(0.0, [spread(ours, values.len()); 2]);
    let n = u32::try_from(values.len()).unwrap_or(u32::MAX);
    let ends = |look: u32| {
        let (low, high) = prospect.with([n, look]).interval(confidence);
        (to_change(scale, low), to_change(scale, high))
    };
    let (Tolerance::Relative(width) | Tolerance::Absolute(width)) = tolerance;
    let is_inside = |look: &u32| {
        let (low, high) = ends(*look);
        place_beside(size(scale, ours.centre), low, high, width, metric.direction) == Verdict::Equivalent
    };
    // Not only at the last: an interval need not shrink where a drift is known on a few degrees of freedom.
    if looks.iter().any(is_inside) {
        return None;
    }
    let most = looks.last().copied().unwrap_or(n);
    let (low, high) = ends(most);
    let words = |own: f64| scale.in_words(own, Some(tolerance), metric.unit);
    let also: String = drifting.troubles().map(|own| format!(", {own}")).collect();
    Some(format!(
        "the baseline has {n} launches{also}: the interval of an unchanged candidate would reach from {} to {} after \
         {most} launches (tolerance {})",
        words(low),
        words(high),
        tolerance.in_unit(metric.unit)
    ))
}

/// What calibration knows of a host and an engine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibrations {
    /// Of separate sessions.
    pub compare: Option<Calibration>,
    /// Of paired experiments.
    pub ab: Option<Calibration>,
}

impl Calibrations {
    /// Returns what sessions differ by in speed, if enough of them were measured.
    pub fn drift(&self) -> Drift {
        self.compare.as_ref().map_or(Drift::Unknown, |own| noise::drift_of(&own.noise))
    }

    /// Returns what the host supports at so many launches a side; nothing where it is not calibrated by sessions enough to know
    /// what they differ by, and for a single launch.
    pub fn support(&self, launches: usize) -> Option<Support> {
        let compare = self.compare.as_ref().filter(|own| noise::drift_of(&own.noise) != Drift::Unknown)?;
        let launches = u32::try_from(launches).ok().filter(|launches| *launches > 1)?;
        let detects = of_sessions(&compare.noise, launches).detects(launches, CONFIDENCE, compare.tolerance);
        let equal = compare.rates.iter().filter(|rate| rate.change == 0.0 && rate.n <= launches);
        let known =
            equal.max_by_key(|rate| rate.n).and_then(|rate| Some((rate.n, rate.beyond?, rate.trials)));
        Some(Support {
            launches,
            detects,
            paired: self.ab.as_ref().and_then(paired),
            contract_wrong: known.map(|(_, beyond, trials)| f64::from(beyond) / f64::from(trials)),
            contract_launches: known.map(|(n, ..)| n),
        })
    }

    /// Returns how far the interval of an unchanged candidate reaches at so many launches a side, if that is beyond the
    /// tolerance: then nothing can be called equivalent with so few. As shares of the baseline.
    pub fn too_few(&self, launches: u32, tolerance: f64) -> Option<f64> {
        let compare = self.compare.as_ref().filter(|_| launches > 1)?;
        let (_, high) = of_sessions(&compare.noise, launches).with([launches; 2]).interval(CONFIDENCE);
        Some(high.exp_m1()).filter(|high| *high > tolerance)
    }

    /// Returns how far the interval of an unchanged candidate reaches after the most pairs of an experiment, if that is beyond the
    /// tolerance. As shares of the baseline.
    pub fn too_few_pairs(&self, stopping: &StoppingPlan, tolerance: f64) -> Option<f64> {
        let most = stopping.most().max(stopping::LEAST_PAIRS);
        let prospect = of_pairs(&self.ab.as_ref()?.noise, most);
        let (_, high) = prospect.with([most; 2]).interval(stopping.look_confidence);
        Some(high.exp_m1()).filter(|high| *high > tolerance)
    }
}

/// Two sessions of their own: each has launches and a drift.
fn of_sessions(noise: &Grouped, launches: u32) -> Prospect {
    let drifting = Drifting::new(noise::known(noise), Scale::Relative, 0.0);
    drifting.prospect(0.0, [spread_at(launches, noise.within); 2])
}

/// An experiment of so many pairs: each pair is a value, and the experiment may be off as a whole.
fn of_pairs(noise: &Grouped, pairs: u32) -> Prospect {
    let known = noise.noise();
    Prospect {
        centre: 0.0,
        spread: [spread_at(pairs, noise.within) * widening(known), 0.0],
        drift: known.bias,
        drift_freedom: freedom(known),
    }
}

/// Returns the standard deviation that so many values seem to have when their trimmed mean is taken, if they are normal.
///
/// With a share α set aside on either side, and z the normal quantile of 1 − α, the variance of the mean is greater by
/// ((1 − 2α) − 2zφ(z) + 2αz²) / (1 − 2α)² (Huber 1981, "Robust Statistics", section 3.3).
fn spread_at(n: u32, standard_deviation: f64) -> f64 {
    let aside = n_trimmed(n as usize) as f64 / f64::from(n);
    if aside == 0.0 {
        return standard_deviation;
    }
    let normal = Normal::standard();
    let (left, z) = (1.0 - 2.0 * aside, normal.inverse_cdf(1.0 - aside));
    let winsorised = left - 2.0 * z * normal.pdf(z) + 2.0 * aside * z * z;
    standard_deviation * winsorised.sqrt() / left
}

/// What experiments see in as many pairs as identical engines usually take to be called so.
fn paired(ab: &Calibration) -> Option<PairedSupport> {
    let by_default = |rate: &&Rate| rate.change == 0.0 && rate.n == stopping::DEFAULT_PAIRS;
    let unchanged = ab.rates.iter().find(by_default)?;
    // A calibration is read from a store: what makes no sense in it supports nothing.
    let pairs = unchanged.median_pairs.filter(|pairs| *pairs > 1)?;
    let prospect = of_pairs(&ab.noise, pairs);
    let most = unchanged.n.clamp(stopping::LEAST_PAIRS, stopping::MOST_PAIRS);
    let confidence = stopping::plan(most).look_confidence;
    Some(PairedSupport {
        pairs,
        detects: prospect.detects(pairs, confidence, ab.tolerance),
        seconds: ab.seconds.map(|seconds| seconds * f64::from(pairs) + ab.closing_seconds.unwrap_or(0.0)),
    })
}

#[cfg(test)]
mod tests;
