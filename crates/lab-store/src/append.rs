//! The appends that make up a session, each one transaction. Baselines and calibrations are appended the same way, in
//! modules of their own; there is no other way to write.

#[cfg(test)]
mod tests;

use lab_core::digest::canonical_json;
use lab_core::fingerprint::{PartKind, PartRecord};
use lab_core::metric::{Measurement, Reading};
use lab_core::record::{
    Launch, Repetition, RepetitionKind, SessionEnd, SessionHeader, SessionId, SessionStatus,
};
use rusqlite::types::Value;
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::body::{OutcomeColumns, check_exact, encode, nanos_of, session_columns};
use crate::chain::{LAUNCH, MEASUREMENT, PART, REPETITION, Recorded, SESSION, SESSION_END};
use crate::error::{Failure, StoreError};
use crate::open::Store;

impl Store {
    /// Records that a session starts, and the parts of its fingerprint that the store has not met before.
    ///
    /// # Errors
    ///
    /// When the session is already recorded, its header would not read back exactly, or the store cannot be written.
    pub fn begin_session(&mut self, header: &SessionHeader) -> Result<(), StoreError> {
        let columns = session_columns(header)?;
        self.append("recording the start of a session", |connection| {
            insert_session(connection, header, &columns)
        })
    }

    /// Records an engine process of a session.
    ///
    /// # Errors
    ///
    /// When the session is unknown or ended, the launch is already recorded, its conditions would not read back
    /// exactly, or the store cannot be written.
    pub fn append_launch(&mut self, session: SessionId, launch: &Launch) -> Result<(), StoreError> {
        let body = encode(&LAUNCH.subject_of(&[&session, &launch.index]), launch)?;
        self.append("recording a launch", |connection| {
            refuse_unless_running(connection, session)?;
            insert_launch(connection, session, launch.index, &body)
        })
    }

    /// Records a repetition and the measurements published of it, all or nothing.
    ///
    /// # Errors
    ///
    /// When the session is unknown or ended, the launch unknown, the repetition already recorded, a measurement given
    /// twice, measurements given for a warm-up or a failure, a value would not read back exactly, or the store cannot
    /// be written.
    pub fn append_repetition(
        &mut self,
        session: SessionId,
        repetition: &Repetition,
        measurements: &[Measurement],
    ) -> Result<(), StoreError> {
        refuse_unexpected(repetition, measurements)?;
        let columns = OutcomeColumns::of(session, repetition)?;
        self.append("recording a repetition", |connection| {
            refuse_unless_running(connection, session)?;
            insert_repetition(connection, session, repetition, &columns)?;
            insert_measurements(connection, session, repetition.index, measurements)
        })
    }

    /// Records how a session ended. It takes no more rows afterwards.
    ///
    /// # Errors
    ///
    /// When the session is unknown or has ended already, the status is `unfinished`, or the store cannot be written.
    pub fn end_session(&mut self, session: SessionId, end: &SessionEnd) -> Result<(), StoreError> {
        if end.status == SessionStatus::Unfinished {
            return Err(StoreError::EndUnfinished { session });
        }
        self.append("recording the end of a session", |connection| {
            refuse_unless_running(connection, session)?;
            insert_end(connection, session, end)
        })
    }

    /// Runs an append in a transaction: committed when it succeeds, without a trace when it does not.
    pub(crate) fn append(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<(), Failure>,
    ) -> Result<(), StoreError> {
        let path = self.path().to_owned();
        let transaction = self.begin_append(doing)?;
        work(&transaction)
            .and_then(|()| transaction.commit().map_err(Failure::from))
            .map_err(|failure| failure.into_store_error(&path, doing))
    }
}

/// One column of a key: as SQLite compares it, and as a subject shows it.
pub(crate) type KeyColumn<'a> = (&'a dyn ToSql, &'a dyn std::fmt::Display);

pub(crate) fn refuse_recorded(
    connection: &Connection,
    recorded: &Recorded,
    key: &[KeyColumn<'_>],
) -> Result<(), Failure> {
    let (values, shown): (Vec<_>, Vec<_>) = key.iter().copied().unzip();
    if recorded.holds(connection, &values)? {
        return Err(StoreError::AlreadyRecorded { subject: recorded.subject_of(&shown) }.into());
    }
    Ok(())
}

fn refuse_unless_running(connection: &Connection, session: SessionId) -> Result<(), Failure> {
    let id = session.to_string();
    if !SESSION.holds(connection, &[&id])? {
        return Err(StoreError::UnknownSession { session }.into());
    }
    if SESSION_END.holds(connection, &[&id])? {
        return Err(StoreError::Ended { session }.into());
    }
    Ok(())
}

/// Refuses measurements of what counts for nothing: they would be numbers without raw data behind them.
fn refuse_unexpected(repetition: &Repetition, measurements: &[Measurement]) -> Result<(), StoreError> {
    let what = match (repetition.kind, repetition.outcome.is_completed()) {
        (RepetitionKind::Measured, true) => return Ok(()),
        (RepetitionKind::Warmup, _) => "a warm-up",
        (RepetitionKind::Measured, false) => "a failure",
    };
    match measurements.len() {
        0 => Ok(()),
        n => Err(StoreError::UnexpectedMeasurements { repetition: repetition.index, what, n }),
    }
}

pub(crate) fn insert_session(
    connection: &Connection,
    header: &SessionHeader,
    columns: &[(&'static str, Value)],
) -> Result<(), Failure> {
    refuse_recorded(connection, &SESSION, &[(&header.id.to_string(), &header.id)])?;
    for kind in PartKind::ALL {
        insert_part(connection, header.fingerprint.part(kind))?;
    }
    insert_columns(connection, &SESSION, columns)?;
    SESSION.link(connection, &[&header.id.to_string()])?;
    Ok(())
}

pub(crate) fn insert_launch(
    connection: &Connection,
    session: SessionId,
    index: u32,
    body: &str,
) -> Result<(), Failure> {
    let id = session.to_string();
    refuse_recorded(connection, &LAUNCH, &[(&id, &session), (&index, &index)])?;
    connection
        .prepare_cached("INSERT INTO launch (session, idx, body) VALUES (?, ?, ?)")?
        .execute((&id, index, body))?;
    LAUNCH.link(connection, &[&id, &index])?;
    Ok(())
}

pub(crate) fn insert_end(
    connection: &Connection,
    session: SessionId,
    end: &SessionEnd,
) -> Result<(), Failure> {
    let id = session.to_string();
    let ended_at = nanos_of(&SESSION_END.subject_of(&[&session]), end.ended_at)?;
    connection.execute(
        "INSERT INTO session_end (session, ended_at, status) VALUES (?, ?, ?)",
        (&id, ended_at, end.status.to_string()),
    )?;
    SESSION_END.link(connection, &[&id])?;
    Ok(())
}

fn insert_part(connection: &Connection, part: &PartRecord) -> Result<(), Failure> {
    let digest = part.digest().to_string();
    if PART.holds(connection, &[&digest])? {
        return Ok(());
    }
    let identity = String::from_utf8(canonical_json(&part.identity)).expect("JSON is UTF-8");
    connection.execute(
        "INSERT INTO part (digest, kind, domain, identity) VALUES (?, ?, ?, ?)",
        (&digest, part.kind.name(), &part.domain, identity),
    )?;
    PART.link(connection, &[&digest])?;
    Ok(())
}

fn insert_columns(
    connection: &Connection,
    recorded: &Recorded,
    columns: &[(&'static str, Value)],
) -> rusqlite::Result<usize> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    let insert = format!("INSERT INTO {} ({}) VALUES ({marks})", recorded.table, names.join(", "));
    connection.execute(&insert, params_from_iter(columns.iter().map(|(_, value)| value)))
}

pub(crate) fn insert_repetition(
    connection: &Connection,
    session: SessionId,
    repetition: &Repetition,
    columns: &OutcomeColumns,
) -> Result<(), Failure> {
    let id = session.to_string();
    let Repetition { index, launch, kind, outcome: _ } = repetition;
    refuse_recorded(connection, &REPETITION, &[(&id, &session), (index, index)])?;
    if !LAUNCH.holds(connection, &[&id, launch])? {
        return Err(StoreError::UnknownLaunch { session, launch: *launch }.into());
    }
    connection
        .prepare_cached(
            "INSERT INTO repetition (session, idx, launch, kind, outcome, validity, body, timeline)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            &id,
            index,
            launch,
            kind.to_string(),
            columns.outcome,
            columns.validity,
            &columns.body,
            &columns.timeline,
        ))?;
    REPETITION.link(connection, &[&id, index])?;
    Ok(())
}

pub(crate) fn insert_measurements(
    connection: &Connection,
    session: SessionId,
    repetition: u32,
    measurements: &[Measurement],
) -> Result<(), Failure> {
    let id = session.to_string();
    for measurement in measurements {
        let metric = &measurement.metric;
        refuse_recorded(
            connection,
            &MEASUREMENT,
            &[(&id, &session), (&repetition, &repetition), (metric, metric)],
        )?;
        insert_measurement(connection, &id, repetition, measurement)?;
    }
    link_measurements(connection, &id, repetition, measurements)
}

/// Inserts the measurements of a repetition that the same transaction began: none of them can be there, and a trigger refuses
/// one that is given twice.
pub(crate) fn insert_first_measurements(
    connection: &Connection,
    session: SessionId,
    repetition: u32,
    measurements: &[Measurement],
) -> Result<(), Failure> {
    let id = session.to_string();
    for measurement in measurements {
        insert_measurement(connection, &id, repetition, measurement)?;
    }
    link_measurements(connection, &id, repetition, measurements)
}

fn insert_measurement(
    connection: &Connection,
    session: &str,
    repetition: u32,
    measurement: &Measurement,
) -> Result<(), Failure> {
    let metric = &measurement.metric;
    let (value, unavailable) = match &measurement.reading {
        Reading::Value(value) => (Some(*value), None),
        Reading::Unavailable(reason) => (None, Some(reason)),
    };
    value.map_or(Ok(()), |value| check_exact(metric, value))?;
    connection
        .prepare_cached(
            "INSERT INTO measurement (session, metric, repetition, value, unavailable) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute((session, metric, repetition, value, unavailable))?;
    Ok(())
}

fn link_measurements(
    connection: &Connection,
    session: &str,
    repetition: u32,
    measurements: &[Measurement],
) -> Result<(), Failure> {
    let mut keys: Vec<[&dyn ToSql; 3]> = Vec::with_capacity(measurements.len());
    for measurement in measurements {
        keys.push([&session, &repetition, &measurement.metric]);
    }
    MEASUREMENT.link_all(connection, keys.iter().map(|key| &key[..]))?;
    Ok(())
}
