//! What a history shows of each session: one mean of one metric.

use std::collections::BTreeMap;

use lab_core::metric::{Metric, Reading};
use lab_core::record::Session;

/// One metric of one session, its launches counting alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SessionMean {
    /// Launches that have a value.
    pub n_launches: usize,
    /// Arithmetic mean over the launches, each the mean of its repetitions, in the metric's unit. Above 0.
    pub mean: f64,
}

/// Returns one mean of the metric a session, in the order given, or why a session has none.
///
/// A history follows ratios, so that a mean of zero or less has no place in it. Energy figures of another meter than the
/// last session's have none either: they are never compared (invariant I5).
pub fn session_means(sessions: &[Session], metric: &Metric) -> Vec<Reading<SessionMean>> {
    let source = |session: &Session| metric.meter.and_then(|kind| session.energy_source(kind));
    let means: Vec<Result<SessionMean, String>> =
        sessions.iter().map(|session| session_mean(session, metric)).collect();
    let last = sessions.iter().zip(&means).rev().find(|(_, mean)| mean.is_ok());
    let expected = last.and_then(|(session, _)| source(session));
    let of_one_source = |(session, mean): (&Session, Result<SessionMean, String>)| {
        let own = source(session);
        match mean {
            Ok(_) if own != expected => Err(format!(
                "measured with {}, and the newest session with {}",
                named(own.as_deref()),
                named(expected.as_deref())
            )),
            mean => mean,
        }
    };
    sessions.iter().zip(means).map(|both| Reading::from(of_one_source(both))).collect()
}

fn named(source: Option<&str>) -> String {
    source.map_or("no meter".to_owned(), |source| format!("`{source}`"))
}

fn session_mean(session: &Session, metric: &Metric) -> Result<SessionMean, String> {
    let samples = session.samples(&metric.id())?;
    let mut by_launch: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (recorded, sample) in session.counting(&metric.id()).zip(samples) {
        by_launch.entry(recorded.repetition.launch).or_default().push(sample);
    }
    let mean = mean(&by_launch.values().map(|samples| mean(samples)).collect::<Vec<_>>());
    if mean > 0.0 && mean.is_finite() {
        Ok(SessionMean { n_launches: by_launch.len(), mean })
    } else {
        Err(format!("{mean} has no ratio to other values"))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use lab_core::energy::{EnergyTrace, MeterInfo, MeterKind};
    use lab_core::fixtures;
    use lab_core::metric::find;
    use lab_core::record::Outcome;
    use lab_core::validity::Validity;

    use super::*;

    const SPEED: &str = "engine.v0.1/tokens_per_sec";

    /// A session of three launches with these values of the metric.
    fn session(number: u128, values: [f64; 3]) -> Session {
        let mut session = fixtures::session(number, &[10_000; 3]);
        fixtures::set_values(&mut session, SPEED, &values);
        session
    }

    fn means(sessions: &[Session]) -> Vec<Reading<SessionMean>> {
        session_means(sessions, find(SPEED).unwrap())
    }

    fn value(n_launches: usize, mean: f64) -> Reading<SessionMean> {
        Reading::Value(SessionMean { n_launches, mean })
    }

    #[test]
    fn every_session_has_the_mean_over_its_launches() {
        let sessions = [session(1, [1.0, 2.0, 6.0]), session(2, [4.0, 4.0, 4.0])];
        assert_eq!(means(&sessions), [value(3, 3.0), value(3, 4.0)]);
    }

    #[test]
    fn launches_count_alike_however_many_repetitions_they_have() {
        let mut session = session(1, [1.0, 3.0, 8.0]);
        session.repetitions[3].repetition.launch = 0;
        assert_eq!(means(&[session]), [value(2, 5.0)]);
    }

    #[test]
    fn invalid_repetitions_do_not_count() {
        let mut session = session(1, [1.0, 3.0, 80.0]);
        let Outcome::Completed(completed) = &mut session.repetitions[5].repetition.outcome else { panic!() };
        completed.validity = Validity::Invalid(vec!["swapped".to_owned()]);
        assert_eq!(means(&[session]), [value(2, 2.0)]);
    }

    #[test]
    fn a_session_without_a_value_says_why_and_one_of_zero_has_no_ratio() {
        let mut none = session(1, [1.0; 3]);
        fixtures::set_readings(
            &mut none,
            SPEED,
            &[(); 3].map(|()| Reading::Unavailable("no clock".to_owned())),
        );
        let readings = means(&[none, session(2, [0.0; 3]), session(3, [5.0; 3])]);
        let reasons: Vec<Option<&str>> = readings.iter().map(Reading::reason).collect();
        assert_eq!(reasons, [Some("no clock"), Some("0 has no ratio to other values"), None]);
    }

    #[test]
    fn energy_of_another_meter_than_the_newest_sessions_has_no_mean() {
        const POWER: &str = "engine.v0.1/watts_avg";
        let metered = |number, source: &str| {
            let mut session = fixtures::session(number, &[10_000; 3]);
            fixtures::set_values(&mut session, POWER, &[20.0; 3]);
            for recorded in &mut session.repetitions {
                let Outcome::Completed(completed) = &mut recorded.repetition.outcome else { panic!() };
                completed.observation.energy = Reading::Value(vec![trace(source)]);
            }
            session
        };
        let sessions = [metered(1, "rapl package-0"), metered(2, "plug"), metered(3, "plug")];
        let readings = session_means(&sessions, find(POWER).unwrap());
        let reasons: Vec<Option<&str>> = readings.iter().map(Reading::reason).collect();
        let refused = "measured with `rapl package-0`, and the newest session with `plug`";
        assert_eq!(reasons, [Some(refused), None, None]);
    }

    fn trace(source: &str) -> EnergyTrace {
        let meter = MeterInfo {
            source: source.to_owned(),
            kind: MeterKind::Measured,
            quantum_uj: 61,
            update_ns: 1_000_000,
            integrated: false,
            longest_gap_ns: None,
        };
        EnergyTrace { meter, at_ns: vec![0, 1], total_uj: vec![0, 1], failure: None }
    }
}
