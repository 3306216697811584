//! Descriptive statistics: the figures of a metric over a session.

use lab_core::metric::{Metric, Reading, percentile_type_7};
use lab_core::record::Session;
use lab_core::summary::{MetricSummary, Summary};
use statrs::statistics::Statistics as _;

/// Returns the figures of a sample; nothing for an empty one.
///
/// Mean and sample standard deviation (divisor n−1) are those of Welford's recurrence (1962, "Note on a Method for
/// Calculating Corrected Sums of Squares and Products"), taken in the order of the samples; the median is type 7 of
/// Hyndman and Fan (1996).
pub fn summarize(samples: &[f64]) -> Option<Summary> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(Summary {
        n: samples.len(),
        mean: samples.mean(),
        standard_deviation: (samples.len() > 1).then(|| samples.std_dev()),
        min: *sorted.first()?,
        median: percentile_type_7(&sorted, 0.5)?,
        max: *sorted.last()?,
    })
}

/// Returns the figures of every metric that a session can have, in table order.
pub fn summarize_session(session: &Session) -> Vec<MetricSummary> {
    let summary = |metric: &'static Metric| {
        let figures = match figures(session, metric) {
            Ok(summary) => Reading::Value(summary),
            Err(reason) => Reading::Unavailable(reason),
        };
        MetricSummary { metric, figures }
    };
    session.header.work.metrics().map(summary).collect()
}

/// Returns a metric's figures over a session, or why it has none.
pub(crate) fn figures(session: &Session, metric: &Metric) -> Result<Summary, String> {
    let samples = session.samples(&metric.id())?;
    Ok(summarize(&samples).expect("a session's samples are never empty"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(samples: &[f64], mean: f64, standard_deviation: f64, median: f64) {
        let summary = summarize(samples).unwrap();
        let close = |actual: f64, expected: f64| (actual - expected).abs() <= 1e-12 * expected.abs();
        assert!(close(summary.mean, mean), "mean {}", summary.mean);
        assert!(close(summary.standard_deviation.unwrap(), standard_deviation), "{summary:?}");
        assert!(close(summary.median, median), "median {}", summary.median);
    }

    #[test]
    fn mean_spread_and_median_agree_with_numpy() {
        // python -c "import numpy as n
        // for s in ([74.3, 73.9, 75.1, 74.0, 74.6], [1e9, 1e9+1, 1e9+2, 1e9+4], [0.1, 0.2]):
        //     print(repr(float(n.mean(s))), repr(float(n.std(s, ddof=1))), repr(float(n.median(s))))"
        // numpy 2.4.6
        check(&[74.3, 73.9, 75.1, 74.0, 74.6], 74.38, 0.486_826_457_785_519_4, 74.3);
        check(
            &[1e9, 1e9 + 1.0, 1e9 + 2.0, 1e9 + 4.0],
            1_000_000_001.75,
            1.707_825_127_659_933,
            1_000_000_001.5,
        );
        check(&[0.1, 0.2], 0.15, 0.070_710_678_118_654_77, 0.15);
    }

    #[test]
    fn a_single_sample_has_no_spread_and_an_empty_one_no_figures() {
        let summary = summarize(&[2.5]).unwrap();
        let expected = Summary { n: 1, mean: 2.5, standard_deviation: None, min: 2.5, median: 2.5, max: 2.5 };
        assert_eq!(summary, expected);
        assert_eq!(summarize(&[]), None);
    }
}
