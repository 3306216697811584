//! One value a launch: repetitions inside a launch share its memory layout, its pages and its moment, and tokens share
//! still more. What is independent is the launch.

use std::collections::BTreeMap;

use lab_core::metric::{Metric, Reading};
use lab_core::record::Session;

/// A metric's mean over the repetitions of one launch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaunchMean {
    /// The launch's index.
    pub launch: u32,
    /// The mean, in the metric's unit.
    pub mean: f64,
}

/// Returns the mean of a metric in each launch with repetitions that count, in order; without those that have no value.
pub fn launch_means(session: &Session, metric: &Metric) -> Vec<LaunchMean> {
    let id = metric.id();
    let mut launches: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for recorded in session.counting(&id) {
        let found = recorded.measurements.iter().find(|own| own.metric == id);
        if let Some(Reading::Value(value)) = found.map(|own| &own.reading) {
            launches.entry(recorded.repetition.launch).or_default().push(*value);
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    launches.iter().map(|(launch, values)| LaunchMean { launch: *launch, mean: mean(values) }).collect()
}

#[cfg(test)]
mod tests {
    use lab_core::fixtures;

    use super::*;

    #[test]
    fn repetitions_of_one_launch_are_one_value() {
        let metric = lab_core::metric::METRICS.iter().find(|own| own.name == "tokens_per_sec").unwrap();
        let mut session = fixtures::session(1, &[10_000, 10_000, 10_000]);
        fixtures::set_values(&mut session, &metric.id(), &[10.0, 20.0, 40.0]);
        assert_eq!(launch_means(&session, metric).len(), 3);
        for recorded in &mut session.repetitions {
            recorded.repetition.launch = recorded.repetition.launch.min(1);
        }
        let expected = [LaunchMean { launch: 0, mean: 10.0 }, LaunchMean { launch: 1, mean: 30.0 }];
        assert_eq!(launch_means(&session, metric), expected);
    }
}
