//! Limits: demands on one session. No baseline takes part, and no interval: a limit is held against every repetition, so that
//! the worst one decides.

use lab_core::check::{CHECK_SCHEMA, LimitCheck, LimitOutcome, SessionCheck};
use lab_core::limit::Limit;
use lab_core::metric::find;
use lab_core::record::{Session, SessionStatus};
use lab_core::validity::Validity;

/// Holds a session to limits, by full metric id, in the order given.
pub fn check(session: &Session, limits: &[(String, Limit)]) -> SessionCheck {
    let header = &session.header;
    let rows: Vec<LimitCheck> = limits.iter().map(|(metric, limit)| row(session, metric, *limit)).collect();
    SessionCheck {
        schema: CHECK_SCHEMA.to_owned(),
        session: header.id.to_string(),
        plan: header.plan_name.clone(),
        origin: header.origin(),
        passed: !rows.is_empty() && rows.iter().all(|row| row.outcome == LimitOutcome::Holds),
        reason: reason(&rows),
        limits: rows,
        notes: notes(session),
    }
}

fn row(session: &Session, metric: &str, limit: Limit) -> LimitCheck {
    let (values, unavailable) = match session.samples(metric) {
        Ok(values) => (values, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let worst = limit.worst(&values);
    LimitCheck {
        metric: metric.to_owned(),
        unit: find(metric).map_or("", |metric| metric.unit).to_owned(),
        limit,
        worst,
        n: values.len(),
        outcome: match worst {
            Some(worst) if limit.holds(worst) => LimitOutcome::Holds,
            Some(_) => LimitOutcome::Broken,
            None => LimitOutcome::Unknown,
        },
        unavailable,
    }
}

fn reason(rows: &[LimitCheck]) -> String {
    let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let (broken, unknown) = (count(LimitOutcome::Broken), count(LimitOutcome::Unknown));
    let n = rows.len();
    let broken_words = format!("{broken} of {n} limits broken");
    let unknown_words = format!("{unknown} of {n} cannot be shown to hold");
    match (broken, unknown) {
        _ if n == 0 => "failed: there is no limit to hold the session to".to_owned(),
        (0, 0) => format!("passed: every limit holds ({n})"),
        (_, 0) => format!("failed: {broken_words}"),
        (0, _) => format!("failed: {unknown_words}"),
        _ => format!("failed: {broken_words}, {unknown_words}"),
    }
}

/// What is doubtful about the session. It decides nothing here: a limit that is broken by a disturbed repetition is broken.
fn notes(session: &Session) -> Vec<String> {
    let status = session.status();
    let ended = (status != SessionStatus::Completed).then(|| format!("the session is {status}"));
    let doubts = session.succeeded().filter_map(|recorded| {
        let index = recorded.repetition.index;
        let validity = recorded.repetition.outcome.validity()?;
        match validity {
            Validity::Valid => None,
            Validity::Suspect(_) => Some(format!("repetition {index} is {validity}")),
            Validity::Invalid(_) => Some(format!("repetition {index} is left out: {validity}")),
        }
    });
    ended.into_iter().chain(doubts).collect()
}

#[cfg(test)]
mod tests {
    use lab_core::fixtures;
    use lab_core::metric::Reading;
    use lab_core::record::Outcome;

    use super::*;

    const SPEED: &str = "engine.v0.1/tokens_per_sec";

    fn session(values: &[f64]) -> Session {
        let mut session = fixtures::session(1, &[10_000, 10_100, 9_950]);
        fixtures::set_values(&mut session, SPEED, values);
        session
    }

    fn outcome(session: &Session, limit: Limit) -> (Option<f64>, LimitOutcome) {
        let check = check(session, &[(SPEED.to_owned(), limit)]);
        assert_eq!(check.passed, check.limits[0].outcome == LimitOutcome::Holds);
        (check.limits[0].worst, check.limits[0].outcome)
    }

    #[test]
    fn the_worst_repetition_decides() {
        let session = session(&[10.0, 12.0, 9.0]);
        assert_eq!(outcome(&session, Limit::Min(9.0)), (Some(9.0), LimitOutcome::Holds));
        assert_eq!(outcome(&session, Limit::Above(9.0)), (Some(9.0), LimitOutcome::Broken));
        assert_eq!(outcome(&session, Limit::Below(12.0)), (Some(12.0), LimitOutcome::Broken));
        assert_eq!(outcome(&session, Limit::Max(12.0)), (Some(12.0), LimitOutcome::Holds));
    }

    #[test]
    fn a_limit_without_a_value_cannot_be_shown_to_hold() {
        let mut session = session(&[10.0, 12.0, 9.0]);
        let none = Reading::Unavailable("not told".to_owned());
        fixtures::set_readings(&mut session, SPEED, &[Reading::Value(10.0), none, Reading::Value(9.0)]);
        let check = check(&session, &[(SPEED.to_owned(), Limit::Min(1.0))]);
        assert!(!check.passed);
        assert_eq!(check.limits[0].unavailable.as_deref(), Some("not told"));
        assert_eq!(check.reason, "failed: 1 of 1 cannot be shown to hold");
    }

    #[test]
    fn a_session_without_limits_does_not_pass() {
        assert!(!check(&session(&[1.0, 1.0, 1.0]), &[]).passed);
    }

    #[test]
    fn what_is_suspect_is_noted_and_what_is_invalid_left_out() {
        let mut session = session(&[10.0, 12.0, 9.0]);
        let mut verdicts = [
            Validity::Suspect(vec!["steal: much".to_owned()]),
            Validity::Valid,
            Validity::Invalid(vec!["swap: more".to_owned()]),
        ]
        .into_iter();
        for recorded in session.repetitions.iter_mut().filter(|own| !own.measurements.is_empty()) {
            let Outcome::Completed(completed) = &mut recorded.repetition.outcome else {
                panic!("a completed one")
            };
            completed.validity = verdicts.next().unwrap();
        }
        let check = check(&session, &[(SPEED.to_owned(), Limit::Min(10.0))]);
        assert!(check.passed, "the slowest does not count: {check:?}");
        assert_eq!(check.limits[0].n, 2);
        assert_eq!(
            check.notes,
            ["repetition 1 is suspect (steal: much)", "repetition 5 is left out: invalid (swap: more)",]
        );
    }
}
