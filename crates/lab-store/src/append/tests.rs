//! The four appends, and what they refuse.

use std::sync::{Barrier, Mutex, mpsc};
use std::thread;

use lab_core::record::{Outcome, Session};

use super::*;
use crate::fixture::{
    Scratch, completed, header, id, launch, measured, record, record_unfinished, scratch, session,
};

/// A store with session 1 begun and its launch 0 recorded.
fn begun() -> Scratch {
    let mut scratch = scratch();
    scratch.store.begin_session(&header(1)).unwrap();
    scratch.store.append_launch(id(1), &launch(0)).unwrap();
    scratch
}

#[track_caller]
fn check_refused(
    scratch: &mut Scratch,
    sentence: &str,
    append: impl FnOnce(&mut Store) -> Result<(), StoreError>,
) {
    let before = (scratch.store.head().unwrap(), scratch.store.load(&id(1)).ok());
    let error = append(&mut scratch.store).unwrap_err();
    assert_eq!(error.to_string(), sentence);
    assert_eq!((scratch.store.head().unwrap(), scratch.store.load(&id(1)).ok()), before);
}

#[test]
fn a_session_reads_back_as_it_was_recorded() {
    let mut scratch = scratch();
    let (one, two) = (session(1), Session { end: None, ..session(2) });
    record(&mut scratch.store, &one);
    record_unfinished(&mut scratch.store, &two);
    assert_eq!(scratch.store.load(&id(1)).unwrap(), one);
    assert_eq!(scratch.store.load(&id(2)).unwrap(), two);
    let reopened = Store::open_read_only(&scratch.path).unwrap();
    assert_eq!(reopened.load(&id(1)).unwrap(), one);
}

#[test]
fn values_read_back_bit_for_bit() {
    let mut scratch = begun();
    let values =
        [0.1 + 0.2, 1.0 / 3.0, 1.0, 1e300, f64::MIN_POSITIVE / 2.0, 9_007_199_254_740_993.0, -1.5, 0.0];
    let metric = |n: usize| format!("any/{n}");
    let measurements: Vec<Measurement> = values
        .iter()
        .enumerate()
        .map(|(n, value)| Measurement { metric: metric(n), reading: Reading::Value(*value) })
        .collect();
    let (repetition, _) = measured(1, 0, 0);
    scratch.store.append_repetition(id(1), &repetition, &measurements).unwrap();
    let loaded = scratch.store.load(&id(1)).unwrap();
    for (stored, given) in loaded.repetitions[0].measurements.iter().zip(values) {
        assert_eq!(stored.reading.value().unwrap().to_bits(), given.to_bits(), "{given}");
    }
}

#[test]
fn parts_are_stored_once_however_many_sessions_share_them() {
    let mut scratch = scratch();
    for n in 0..3 {
        record(&mut scratch.store, &session(n));
    }
    let count = |kind: &str| -> u32 {
        scratch.raw().query_row("SELECT count(*) FROM part WHERE kind = ?", [kind], |row| row.get(0)).unwrap()
    };
    assert_eq!(PartKind::ALL.map(|kind| count(kind.name())), [1, 3, 1, 1, 1]);
}

#[test]
fn nothing_is_recorded_twice() {
    let mut scratch = begun();
    let (repetition, measurements) = measured(1, 0, 0);
    scratch.store.append_repetition(id(1), &repetition, &measurements).unwrap();
    let sentence = |row: &str| {
        format!("`{row}` is already recorded, and recorded rows are never replaced (invariant I4)")
    };
    let session = id(1);
    check_refused(&mut scratch, &sentence(&format!("session:{session}")), |store| {
        store.begin_session(&header(1))
    });
    check_refused(&mut scratch, &sentence(&format!("launch:{session}:0")), |store| {
        store.append_launch(session, &launch(0))
    });
    check_refused(&mut scratch, &sentence(&format!("repetition:{session}:0")), |store| {
        store.append_repetition(session, &repetition, &measurements)
    });
}

#[test]
fn an_ended_session_takes_no_more_rows() {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    let session = id(1);
    let sentence = format!("session {session} has ended and takes no more rows (invariant I4)");
    let (repetition, measurements) = measured(1, 9, 0);
    let end = crate::fixture::session(1).end.unwrap();
    check_refused(&mut scratch, &sentence, |store| store.append_launch(session, &launch(9)));
    check_refused(&mut scratch, &sentence, |store| {
        store.append_repetition(session, &repetition, &measurements)
    });
    check_refused(&mut scratch, &sentence, |store| store.end_session(session, &end));
}

#[test]
fn rows_of_unknown_sessions_and_launches_are_refused() {
    let mut scratch = begun();
    let sentence = format!("the store holds no session {}", id(2));
    let (repetition, measurements) = measured(1, 0, 7);
    check_refused(&mut scratch, &sentence, |store| store.append_launch(id(2), &launch(0)));
    check_refused(&mut scratch, &sentence, |store| {
        store.append_repetition(id(2), &repetition, &measurements)
    });
    let sentence = format!("session {} has no launch 7, so no repetition of it can be recorded", id(1));
    check_refused(&mut scratch, &sentence, |store| {
        store.append_repetition(id(1), &repetition, &measurements)
    });
}

#[test]
fn warm_ups_and_failures_carry_no_measurements() {
    let mut scratch = begun();
    let (repetition, measurements) = measured(1, 0, 0);
    let warmup = Repetition { kind: RepetitionKind::Warmup, ..repetition.clone() };
    let failure =
        Repetition { outcome: Outcome::Failed(lab_core::engine::EngineError::Interrupted), ..repetition };
    for (repetition, what) in [(warmup, "a warm-up"), (failure, "a failure")] {
        let sentence =
            format!("repetition 0 is {what} and carries no measurements, {} were given", measurements.len());
        check_refused(&mut scratch, &sentence, |store| {
            store.append_repetition(id(1), &repetition, &measurements)
        });
    }
}

#[test]
fn a_value_that_would_not_read_back_is_refused() {
    let mut scratch = begun();
    let (repetition, _) = measured(1, 0, 0);
    for (value, sentence) in [
        (
            f64::NAN,
            "NaN as the value of `any/x` cannot be recorded exactly: a value is finite, and what has none is unavailable",
        ),
        (
            f64::INFINITY,
            "inf as the value of `any/x` cannot be recorded exactly: a value is finite, and what has none is unavailable",
        ),
        (-0.0, "-0 as the value of `any/x` cannot be recorded exactly: the sign of zero would be lost"),
    ] {
        let measurement = Measurement { metric: "any/x".to_owned(), reading: Reading::Value(value) };
        check_refused(&mut scratch, sentence, |store| {
            store.append_repetition(id(1), &repetition, &[measurement])
        });
    }
}

#[test]
fn a_margin_that_json_cannot_carry_is_refused() {
    for margin in [f32::NAN, f32::INFINITY] {
        let mut scratch = begun();
        let outcome = Outcome::Completed(lab_core::record::Completed {
            margins: Some(vec![margin]),
            ..completed(1, 0)
        });
        let repetition = Repetition { index: 0, launch: 0, kind: RepetitionKind::Warmup, outcome };
        let error = scratch.store.append_repetition(id(1), &repetition, &[]).unwrap_err();
        assert!(matches!(error, StoreError::NotRepresentable { .. }), "{error}");
    }
}

#[test]
fn a_session_cannot_end_unfinished() {
    let mut scratch = begun();
    let sentence = format!(
        "session {} cannot end as `unfinished`: that is the status of a session without an end",
        id(1)
    );
    let end = SessionEnd { status: SessionStatus::Unfinished, ..session(1).end.unwrap() };
    check_refused(&mut scratch, &sentence, |store| store.end_session(id(1), &end));
}

#[test]
fn an_append_that_fails_half_way_leaves_nothing_behind() {
    let mut scratch = begun();
    let (repetition, mut measurements) = measured(1, 0, 0);
    measurements.push(measurements[0].clone());
    let sentence = format!(
        "`measurement:{}:0:engine.v0.1/tokens_total` is already recorded, and recorded rows are never replaced \
         (invariant I4)",
        id(1)
    );
    check_refused(&mut scratch, &sentence, |store| {
        store.append_repetition(id(1), &repetition, &measurements)
    });
    measurements.pop();
    scratch.store.append_repetition(id(1), &repetition, &measurements).unwrap();
    assert!(scratch.store.verify(None).unwrap().is_sound());
}

#[test]
fn a_run_killed_inside_an_append_loses_that_append_alone() {
    let mut scratch = begun();
    let (head, session) = (scratch.store.head().unwrap(), scratch.store.load(&id(1)).unwrap());
    let copy = scratch.path.with_file_name("copy.sqlite");
    let path = scratch.path.clone();
    let copied = copy.clone();
    let interrupted = scratch.store.append("recording", move |connection| {
        // So small a cache spills half-written pages into the log, as a large append would.
        connection.execute_batch("PRAGMA cache_size = 1; PRAGMA cache_spill = 1")?;
        let (repetition, measurements) = measured(1, 0, 0);
        let columns = OutcomeColumns::of(id(1), &repetition)?;
        insert_repetition(connection, id(1), &repetition, &columns)?;
        insert_measurements(connection, id(1), 0, &measurements)?;
        // What a kill leaves on the disk at this instant.
        std::fs::copy(&path, &copied).unwrap();
        std::fs::copy(path.with_file_name("lab.sqlite-wal"), copied.with_file_name("copy.sqlite-wal"))
            .unwrap();
        Err(Failure::from(StoreError::UnknownSession { session: id(1) }))
    });
    assert!(interrupted.is_err());
    let survivor = Store::open_existing(&copy).unwrap();
    assert_eq!(survivor.head().unwrap(), head);
    assert_eq!(survivor.load(&id(1)).unwrap(), session);
    assert!(survivor.verify(Some(&head)).unwrap().is_sound());
}

#[test]
fn several_writers_append_to_one_store_at_once() {
    const WRITERS: u32 = 4;
    const SESSIONS: u32 = 3;
    let scratch = scratch();
    let start = Barrier::new(WRITERS as usize);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (start, path) = (&start, &scratch.path);
            scope.spawn(move || {
                let mut store = Store::open(path).unwrap();
                start.wait();
                for n in 0..SESSIONS {
                    record(&mut store, &session(writer * SESSIONS + n));
                }
            });
        }
    });
    let verification = scratch.store.verify(None).unwrap();
    assert_eq!(verification.findings, []);
    assert_eq!(verification.rows, verification.links);
    for n in 0..WRITERS * SESSIONS {
        assert_eq!(scratch.store.load(&id(n)).unwrap(), session(n));
    }
}

#[test]
fn a_store_opened_for_reading_takes_nothing() {
    let mut scratch = begun();
    scratch.store = Store::open_read_only(&scratch.path).unwrap();
    let sentence = format!(
        "nothing can be recorded into the store `{}`: it was opened for reading",
        scratch.path.display()
    );
    check_refused(&mut scratch, &sentence, |store| store.append_launch(id(1), &launch(1)));
}

/// Returns how long a connection waits for another process, in milliseconds.
fn busy_timeout_ms(connection: &Connection) -> u64 {
    let ms: u32 = connection.pragma_query_value(None, "busy_timeout", |row| row.get(0)).unwrap();
    u64::from(ms)
}

#[test]
fn an_append_waits_longer_than_what_is_asked_of_the_store_after_it() {
    let mut scratch = begun();
    scratch.store.append_launch(id(1), &launch(1)).unwrap();
    assert_eq!(busy_timeout_ms(scratch.store.connection()), crate::error::BUSY_SECONDS * 1_000);
    let transaction = scratch.store.begin_append("recording").unwrap();
    assert!(!transaction.is_autocommit());
    drop(transaction);
    assert!(scratch.store.connection().is_autocommit());
}

#[test]
fn an_append_that_waits_in_vain_says_for_how_long_and_may_be_tried_again() {
    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let told = || TOLD.lock().unwrap().clone();
    let mut scratch = begun();
    scratch.store = Store::open_impatient(&scratch.path, 1).unwrap();
    scratch.store.tell_of_waiting(|waiting| TOLD.lock().unwrap().push(waiting.to_string()));
    scratch.store.append_launch(id(1), &launch(1)).unwrap();
    assert_eq!(told(), Vec::<String>::new(), "nothing was waited for");
    let holder = scratch.raw();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let sentence = format!(
        "the store `{}` is in use by another process and did not become free within 1 s",
        scratch.path.display()
    );
    check_refused(&mut scratch, &sentence, |store| store.append_launch(id(1), &launch(2)));
    let waiting = format!(
        "the store `{}` is in use by another process: waiting for it, up to 1 s",
        scratch.path.display()
    );
    assert_eq!(told(), [waiting], "once a wait");
    assert_eq!(busy_timeout_ms(scratch.store.connection()), crate::error::BUSY_SECONDS * 1_000);
    holder.execute_batch("ROLLBACK").unwrap();
    scratch.store.append_launch(id(1), &launch(2)).unwrap();
}

#[test]
fn an_append_goes_on_when_another_process_lets_go_of_the_store() {
    let mut scratch = begun();
    let holder = scratch.raw();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (begins, begun) = mpsc::channel();
    let store = &mut scratch.store;
    thread::scope(|scope| {
        let append = scope.spawn(move || {
            begins.send(()).unwrap();
            store.append_launch(id(1), &launch(1))
        });
        begun.recv().unwrap();
        // Nothing tells when SQLite begins to wait; an append that comes only now finds the store free, and passes too.
        holder.execute_batch("COMMIT").unwrap();
        append.join().unwrap().unwrap();
    });
    assert_eq!(scratch.store.load(&id(1)).unwrap().launches.len(), 2);
    assert!(scratch.store.verify(None).unwrap().is_sound());
}
