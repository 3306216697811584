//! Listings, short ids and loading.

use lab_core::experiment::{StoppingPlan, Until};
use lab_core::record::SessionHeader;

use super::*;
use crate::fixture::{Scratch, header, id, measured, record, record_unfinished, scratch, session};

const SPEED: &str = Contract::EngineV0_1.listed_metric();

/// Records sessions without waiting for the disk: a thousand of them would otherwise cost minutes of it.
fn many(n: u32) -> Scratch {
    let mut scratch = scratch();
    scratch.store.connection().pragma_update(None, "synchronous", "OFF").unwrap();
    for n in 0..n {
        let store = &mut scratch.store;
        store.begin_session(&header(n)).unwrap();
        store.append_launch(id(n), &crate::fixture::launch(0)).unwrap();
        for index in 0..6 {
            let (repetition, measurements) = measured(n, index, 0);
            store.append_repetition(id(n), &repetition, &measurements).unwrap();
        }
    }
    scratch
}

#[test]
fn a_listing_shows_the_newest_session_first() {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    record_unfinished(&mut scratch.store, &session(3));
    record(&mut scratch.store, &session(2));
    let rows = scratch.store.list(&ListFilter::default()).unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
    let statuses: Vec<SessionStatus> = rows.iter().map(|row| row.status).collect();
    let incomplete = SessionStatus::Incomplete;
    assert_eq!(statuses, [SessionStatus::Unfinished, incomplete, incomplete]);
    assert_eq!(scratch.store.list(&ListFilter { limit: Some(2) }).unwrap(), rows[..2]);
    assert_eq!(scratch.store.list(&ListFilter { limit: Some(0) }).unwrap(), []);
}

#[test]
fn a_line_of_a_listing_says_what_the_session_says() {
    let mut scratch = scratch();
    let session = session(1);
    record(&mut scratch.store, &session);
    let row = scratch.store.list(&ListFilter::default()).unwrap().remove(0);
    let samples = session.samples(SPEED).unwrap();
    let mean = samples.iter().sum::<f64>() / 2.0;
    let listed = row.listed.clone().unwrap();
    assert_eq!(listed.metric, SPEED);
    assert!((listed.mean.unwrap() - mean).abs() < 1e-9 * mean, "{row:?} {mean}");
    let expected = SessionRow {
        id: id(1),
        short_id: id(1).to_string()[28..].to_owned(),
        started_at: session.header.started_at,
        plan_name: "plan-1".to_owned(),
        model_name: "tiny-synthetic".to_owned(),
        status: session.status(),
        completed: 2,
        invalid: 0,
        repeat: 3,
        listed: row.listed.clone(),
        fingerprint: session.fingerprint_digest().short(),
    };
    assert_eq!(row, expected);
}

#[test]
fn the_listed_mean_leaves_invalid_repetitions_out_and_is_absent_without_a_value() {
    use lab_core::record::{Outcome, RepetitionKind};
    use lab_core::validity::Validity;
    let mut scratch = scratch();
    let record = |store: &mut Store, n: u32, spoil: &dyn Fn(&mut Repetition, &mut Vec<Measurement>)| {
        store.begin_session(&header(n)).unwrap();
        store.append_launch(id(n), &crate::fixture::launch(0)).unwrap();
        for index in 0..2 {
            let (mut repetition, mut measurements) = measured(n, index, 0);
            if index == 1 {
                spoil(&mut repetition, &mut measurements);
            }
            assert_eq!(repetition.kind, RepetitionKind::Measured);
            store.append_repetition(id(n), &repetition, &measurements).unwrap();
        }
    };
    record(&mut scratch.store, 1, &|repetition, _| {
        let Outcome::Completed(completed) = &mut repetition.outcome else { unreachable!() };
        completed.validity = Validity::Invalid(vec!["swapped".to_owned()]);
    });
    record(&mut scratch.store, 2, &|_, measurements| {
        for measurement in measurements {
            measurement.reading = Reading::Unavailable("no clock".to_owned());
        }
    });
    for row in scratch.store.list(&ListFilter::default()).unwrap() {
        let samples = scratch.store.load(&row.id).unwrap().samples(SPEED);
        let mean = row.listed.as_ref().unwrap().mean;
        assert_eq!(mean, samples.ok().map(|samples| samples[0]), "{row:?}");
        assert_eq!((row.completed, row.invalid), (2, u32::from(row.id == id(1))));
    }
}

#[test]
fn each_session_is_listed_with_the_figure_of_its_own_contract() {
    let mut scratch = scratch();
    for (n, metric) in (1..).zip(LISTED_METRICS) {
        scratch.store.begin_session(&header(n)).unwrap();
        scratch.store.append_launch(id(n), &crate::fixture::launch(0)).unwrap();
        let (repetition, _) = measured(n, 0, 0);
        let own = Measurement { metric: metric.to_owned(), reading: Reading::Value(f64::from(n)) };
        scratch.store.append_repetition(id(n), &repetition, &[own]).unwrap();
    }
    scratch.store.begin_session(&header(9)).unwrap();
    let rows = scratch.store.list(&ListFilter::default()).unwrap();
    for (n, metric) in (1..).zip(LISTED_METRICS) {
        let row = rows.iter().find(|row| row.id == id(n)).unwrap();
        let expected = ListedFigure { metric: metric.to_owned(), mean: Some(f64::from(n)) };
        assert_eq!(row.listed, Some(expected));
    }
    assert_eq!(rows.iter().find(|row| row.id == id(9)).unwrap().listed, None);
}

#[test]
fn a_store_of_a_thousand_sessions_lists_every_one() {
    let scratch = many(1_000);
    let rows = scratch.store.list(&ListFilter::default()).unwrap();
    assert_eq!(rows.len(), 1_000);
    assert!(rows.iter().all(|row| row.completed == 6 && row.listed.is_some()));
    let short: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.short_id.as_str()).collect();
    assert_eq!(short.len(), rows.len());
    for row in rows.iter().step_by(100) {
        assert_eq!(scratch.store.resolve(&row.short_id).unwrap(), row.id);
        assert_eq!(scratch.store.short_id(&row.id).unwrap(), row.short_id);
    }
    assert_eq!(scratch.store.resolve("@latest~999").unwrap(), id(0));
}

#[test]
fn a_listing_scans_the_index_of_sessions_and_looks_everything_else_up() {
    let scratch = scratch();
    let mut statement = scratch.store.connection().prepare(&format!("EXPLAIN QUERY PLAN {LIST}")).unwrap();
    let [first, second, third, fourth] = LISTED_METRICS;
    let rows = statement.query_map((-1, first, second, third, fourth), |row| row.get(3)).unwrap();
    let plan: Vec<String> = rows.map(Result::unwrap).collect();
    let scans: Vec<&String> = plan.iter().filter(|line| line.starts_with("SCAN")).collect();
    let index = "SCAN session USING COVERING INDEX session_by_start";
    assert_eq!(scans, [index, index, "SCAN listed"]);
    assert!(plan.iter().any(|line| line.starts_with("SEARCH repetition USING COVERING INDEX")), "{plan:#?}");
}

#[test]
fn sessions_that_share_their_last_digits_are_shown_whole() {
    let mut scratch = scratch();
    let twin = {
        let mut header = header(1);
        let other: String = format!("019a0000{}", &id(1).to_string()[8..]);
        header.id = SessionId(other.parse().unwrap());
        header
    };
    scratch.store.begin_session(&header(1)).unwrap();
    scratch.store.begin_session(&header(2)).unwrap();
    scratch.store.begin_session(&twin).unwrap();
    for row in scratch.store.list(&ListFilter::default()).unwrap() {
        assert_eq!(row.short_id.len(), if row.id == id(2) { 8 } else { 36 }, "{row:?}");
        assert_eq!(scratch.store.short_id(&row.id).unwrap(), row.short_id);
        assert_eq!(scratch.store.resolve(&row.short_id).unwrap(), row.id);
    }
}

#[test]
fn a_session_that_is_not_there_is_an_error() {
    let scratch = scratch();
    let error = scratch.store.load(&id(5)).unwrap_err();
    assert_eq!(error.to_string(), format!("the store holds no session {}", id(5)));
    assert_eq!(scratch.store.list(&ListFilter::default()).unwrap(), []);
}

#[test]
fn a_session_whose_stopping_plan_makes_no_sense_is_a_damaged_row() {
    let stopping = StoppingPlan { looks: vec![10], confidence: 0.95, look_confidence: 0.98 };
    let until = Some(Until { against: id(1), stopping });
    let mut scratch = scratch();
    scratch.store.begin_session(&SessionHeader { until, ..header(2) }).unwrap();
    let damage = "DROP TRIGGER session_is_never_updated;
        UPDATE session SET body = json_set(body, '$.until.stopping.look_confidence', 1.0)";
    scratch.raw().execute_batch(damage).unwrap();
    let error = scratch.store.load(&id(2)).unwrap_err().to_string();
    assert!(error.starts_with("the stored row `session:"), "{error}");
    assert!(error.contains("a confidence of 1, not between 0 and 1"), "{error}");
}
