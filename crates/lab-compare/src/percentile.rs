//! How many independent samples a percentile rests on.

use lab_core::metric::Metric;
use lab_core::record::Session;

/// The samples that must be expected beyond a percentile before anything is said of it: with fewer, its distribution-free
/// interval has an end at the greatest sample or none at all. 130 samples for the 95th percentile.
const LEAST_BEYOND: f64 = 6.5;

/// Returns the share of samples below a percentile metric: 0.95 for `latency_p95_ms`; nothing for any other metric.
fn share_of(metric: &Metric) -> Option<f64> {
    let digits = metric.name.split('_').find_map(|word| word.strip_prefix('p')?.parse::<u32>().ok())?;
    (digits > 0 && digits < 100).then(|| f64::from(digits) / 100.0)
}

/// Returns why nothing is said of a percentile metric: one side has too few independent samples, or was imported, and documents do not
/// tell their number. Nothing where both have enough, and for metrics that are no percentiles.
pub(crate) fn withheld(metric: &Metric, sides: [&Session; 2]) -> Option<String> {
    let share = share_of(metric)?;
    if sides.iter().any(|side| side.header.work.import().is_some()) {
        return Some("nobody tells how many independent samples an imported percentile rests on".to_owned());
    }
    let floor = (LEAST_BEYOND / share.min(1.0 - share)).ceil();
    let n = sides.map(independent_gaps).into_iter().fold(f64::INFINITY, f64::min).floor();
    (n < floor).then(|| format!("it rests on {n} independent samples, and {floor} are needed"))
}

/// Returns how many independent gaps between tokens the repetitions of a session are worth.
fn independent_gaps(session: &Session) -> f64 {
    let gaps = session.usable().map(|(_, completed)| completed.timeline.gaps_ns());
    gaps.map(|gaps| effective(&gaps.iter().map(|own| *own as f64).collect::<Vec<f64>>())).sum()
}

/// Returns the number of independent values that a series is worth: n over its autocorrelation time, which sums the
/// correlations up to the first pair of neighbours whose sum is not positive (Geyer 1992, "Practical Markov Chain Monte
/// Carlo", Statistical Science 7(4), section 3.3). Never more than n.
fn effective(series: &[f64]) -> f64 {
    let n = series.len();
    if n < 4 {
        return n as f64;
    }
    let mean = series.iter().sum::<f64>() / n as f64;
    let covariance = |lag: usize| -> f64 {
        series.iter().zip(&series[lag..]).map(|(one, other)| (one - mean) * (other - mean)).sum::<f64>()
    };
    let variance = covariance(0);
    if variance <= 0.0 {
        return n as f64;
    }
    let pairs = (0..n / 2).map(|half| (covariance(2 * half) + covariance(2 * half + 1)) / variance);
    let time = 2.0 * pairs.take_while(|pair| *pair > 0.0).sum::<f64>() - 1.0;
    n as f64 / time.max(1.0)
}

#[cfg(test)]
mod tests {
    use lab_core::fixtures;
    use lab_core::metric::METRICS;

    use super::*;

    fn metric(name: &str) -> &'static Metric {
        METRICS.iter().find(|own| own.name == name).unwrap()
    }

    #[test]
    fn percentile_metrics_are_known_by_their_names() {
        assert_eq!(share_of(metric("latency_p95_ms")), Some(0.95));
        assert_eq!(share_of(metric("latency_p50_ms")), Some(0.5));
        assert_eq!(share_of(metric("tokens_per_sec")), None);
    }

    #[test]
    fn a_percentile_of_few_samples_is_withheld_with_the_number_it_takes() {
        // Seven gaps a repetition.
        let few = fixtures::session(1, &[10_000; 5]);
        let many = fixtures::session(2, &[10_000; 20]);
        let reason = withheld(metric("latency_p95_ms"), [&few, &many]).unwrap();
        assert_eq!(reason, "it rests on 35 independent samples, and 130 are needed");
        assert_eq!(withheld(metric("latency_p95_ms"), [&many, &many]), None);
        assert_eq!(withheld(metric("latency_p50_ms"), [&few, &many]), None);
    }

    #[test]
    fn samples_that_repeat_each_other_are_worth_less() {
        let alternating: Vec<f64> = (0..100).map(|own| f64::from(own % 2)).collect();
        assert!((effective(&alternating) - 100.0).abs() < 1e-9);
        let runs: Vec<f64> = (0..100).map(|own| f64::from((own / 10) % 2)).collect();
        assert!(effective(&runs) < 30.0, "{}", effective(&runs));
        assert!((effective(&[3.0; 50]) - 50.0).abs() < 1e-9);
    }
}
