//! The reading side: the listing, and whole sessions.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use lab_core::digest::Digest;
use lab_core::metric::{Contract, Measurement, Reading, all_metrics};
use lab_core::record::{
    Launch, RecordedRepetition, Repetition, Session, SessionEnd, SessionId, SessionStatus,
};
use rusqlite::{Connection, OptionalExtension as _, Row};
use uuid::Uuid;

use crate::archive::Archives;
use crate::body::{damaged, decode, outcome_of, parse_word, time_of};
use crate::chain::{LAUNCH, REPETITION, SESSION, SESSION_END, last_link};
use crate::error::{Failure, StoreError};
use crate::open::Store;

/// Which sessions a listing shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// At most this many, the newest ones; all when absent.
    pub limit: Option<u32>,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    /// The session's id.
    pub id: SessionId,
    /// The id as people type it: see [`Store::short_id`].
    pub short_id: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The plan's name.
    pub plan_name: String,
    /// The model's name.
    pub model_name: String,
    /// How it ended, or that it has not.
    pub status: SessionStatus,
    /// Measured repetitions that completed, invalid ones included.
    pub completed: u32,
    /// Of them, those that are invalid: they count nowhere.
    pub invalid: u32,
    /// Measured repetitions asked for.
    pub repeat: u32,
    /// The figure that stands for it; none where nothing of it was measured. For display: judgements read the samples.
    pub listed: Option<ListedFigure>,
    /// The first twelve digits of the fingerprint's digest.
    pub fingerprint: String,
}

/// The figure that stands for a session in a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedFigure {
    /// Full id of the metric: [`Contract::listed_metric`] of the session's contract.
    pub metric: String,
    /// Its arithmetic mean over the repetitions that are not invalid, in the metric's unit; absent when there is none, or one of
    /// them has no value.
    pub mean: Option<f64>,
}

/// Full ids of the metrics that a listing shows. No session has two of them.
const LISTED_METRICS: [&str; 4] = [
    Contract::EngineV0_1.listed_metric(),
    Contract::SmokeV1.listed_metric(),
    Contract::WorkflowV1.listed_metric(),
    Contract::DeviceV1.listed_metric(),
];

/// Digits of a short id. Eight digits of the random tail: among a thousand sessions two share them with a chance of
/// one in ten thousand.
pub(crate) const SHORT_ID: usize = 8;

const LIST: &str = "
    WITH tail AS (SELECT substr(id, -8) AS digits, count(*) AS sessions FROM session GROUP BY 1),
    listed AS (
        SELECT id, started_at, plan_name, model_name, repeat, fingerprint
        FROM session ORDER BY started_at DESC, id DESC LIMIT ?1
    )
    SELECT listed.id, tail.sessions, started_at, plan_name, model_name, session_end.status,
        (SELECT count(*) FROM repetition
         WHERE session = listed.id AND kind = 'measured' AND outcome = 'completed'),
        repeat,
        (SELECT CASE WHEN count(*) = count(value) THEN avg(value) END
         FROM measurement JOIN repetition
            ON repetition.session = measurement.session AND repetition.idx = measurement.repetition
         WHERE measurement.session = listed.id AND metric IN (?2, ?3, ?4, ?5) AND validity <> 'invalid'),
        fingerprint,
        (SELECT count(*) FROM repetition
         WHERE session = listed.id AND kind = 'measured' AND validity = 'invalid'),
        (SELECT min(metric) FROM measurement WHERE session = listed.id AND metric IN (?2, ?3, ?4, ?5))
    FROM listed
    JOIN tail ON tail.digits = substr(listed.id, -8)
    LEFT JOIN session_end ON session_end.session = listed.id
    ORDER BY started_at DESC, listed.id DESC";

impl Store {
    /// Returns one line a session, newest first, without reading any body or timeline.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or a row is damaged.
    pub fn list(&self, filter: &ListFilter) -> Result<Vec<SessionRow>, StoreError> {
        let list = || -> Result<Vec<SessionRow>, Failure> {
            // A negative limit is none (SQLite, "SELECT", section 4).
            let limit = filter.limit.map_or(-1, i64::from);
            let mut statement = self.connection().prepare_cached(LIST)?;
            let [first, second, third, fourth] = LISTED_METRICS;
            let rows = statement.query_and_then((limit, first, second, third, fourth), list_row)?;
            rows.collect()
        };
        list().map_err(|failure| failure.into_store_error(self.path(), "listing the sessions"))
    }

    /// Returns a session as it was recorded: its header, launches, repetitions with the measurements published of them
    /// in the order of the metric table, and its end. Timelines that left for an archive are read there.
    ///
    /// # Errors
    ///
    /// When the store holds no such session, a row of it is damaged, an archive that its timelines left for is not there or
    /// not readable, or the store cannot be read.
    pub fn load(&self, session: &SessionId) -> Result<Session, StoreError> {
        let load = || -> Result<Session, Failure> {
            // One snapshot, so that a session being recorded is never seen with a launch but not its repetition.
            let snapshot = self.connection().unchecked_transaction()?;
            load_session(&snapshot, &mut Archives::of(&snapshot, self.path()), *session)
        };
        load().map_err(|failure| failure.into_store_error(self.path(), "loading a session"))
    }

    /// Returns the head of the chain: what to keep elsewhere and give to [`Store::verify`] later.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn head(&self) -> Result<Digest, StoreError> {
        last_link(self.connection())
            .map(|(_, head)| head)
            .map_err(|error| self.explain("reading the head of the chain", error))
    }

    /// Returns the id that people type: the last eight digits, or all of it should another session share them.
    ///
    /// The first digits of a version 7 UUID are its time: sessions of one hour share six of them and more. The last ones
    /// are random, so they tell neighbours apart at a glance, and they stay unique as the store grows.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn short_id(&self, session: &SessionId) -> Result<String, StoreError> {
        let id = session.to_string();
        let same: u32 = self
            .connection()
            .query_row("SELECT count(*) FROM session WHERE substr(id, -8) = substr(?, -8)", [&id], |row| {
                row.get(0)
            })
            .map_err(|error| self.explain("shortening an id", error))?;
        Ok(shorten(&id, same))
    }
}

/// Returns the short form of an id whose last digits so many sessions share.
fn shorten(id: &str, sessions: u32) -> String {
    if sessions > 1 { id.to_owned() } else { id[id.len() - SHORT_ID..].to_owned() }
}

fn list_row(row: &Row<'_>) -> Result<SessionRow, Failure> {
    let text: String = row.get(0)?;
    let id = parse_id(&text)?;
    let status: Option<String> = row.get(5)?;
    let fingerprint: String = row.get(9)?;
    let (metric, mean): (Option<String>, Option<f64>) = (row.get(11)?, row.get(8)?);
    Ok(SessionRow {
        id,
        short_id: shorten(&id.to_string(), row.get(1)?),
        started_at: time_of(row.get(2)?),
        plan_name: row.get(3)?,
        model_name: row.get(4)?,
        status: status_of(&text, status.as_deref())?,
        completed: row.get(6)?,
        invalid: row.get(10)?,
        repeat: row.get(7)?,
        listed: metric.map(|metric| ListedFigure { metric, mean }),
        fingerprint: fingerprint.chars().take(12).collect(),
    })
}

fn status_of(session: &str, word: Option<&str>) -> Result<SessionStatus, StoreError> {
    let subject = || SESSION_END.subject_of(&[&session]);
    word.map_or(Ok(SessionStatus::Unfinished), |word| parse_word(&subject(), word))
}

/// Reads an id from its column.
pub(crate) fn parse_id(text: &str) -> Result<SessionId, StoreError> {
    let parsed = Uuid::try_parse(text).map_err(|error| damaged(&SESSION.subject_of(&[&text]), &error));
    parsed.map(SessionId)
}

/// Returns every session's id, newest first.
pub(crate) fn ids(connection: &Connection) -> Result<Vec<SessionId>, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM session ORDER BY started_at DESC, id DESC")?;
    let ids = statement.query_and_then([], |row| Ok(parse_id(&row.get::<_, String>(0)?)?))?;
    ids.collect()
}

/// Reads a whole session inside the caller's transaction.
pub(crate) fn load_session(
    connection: &Connection,
    archives: &mut Archives<'_>,
    session: SessionId,
) -> Result<Session, Failure> {
    let id = session.to_string();
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM session WHERE id = ?")?
        .query_row([&id], |row| row.get(0))
        .optional()?;
    let body = body.ok_or(StoreError::UnknownSession { session })?;
    Ok(Session {
        header: decode(&SESSION.subject_of(&[&session]), &body)?,
        launches: load_launches(connection, &id)?,
        repetitions: load_repetitions(connection, archives, &id)?,
        end: load_end(connection, &id)?,
    })
}

fn load_launches(connection: &Connection, session: &str) -> Result<Vec<Launch>, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT idx, body FROM launch WHERE session = ? ORDER BY idx")?;
    let launches = statement.query_and_then([session], |row| -> Result<Launch, Failure> {
        let (index, body): (u32, String) = (row.get(0)?, row.get(1)?);
        Ok(decode(&LAUNCH.subject_of(&[&session, &index]), &body)?)
    })?;
    launches.collect()
}

fn load_end(connection: &Connection, session: &str) -> Result<Option<SessionEnd>, Failure> {
    let row: Option<(i64, String)> = connection
        .prepare_cached("SELECT ended_at, status FROM session_end WHERE session = ?")?
        .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    row.map(|(ended_at, status)| {
        Ok(SessionEnd { ended_at: time_of(ended_at), status: status_of(session, Some(&status))? })
    })
    .transpose()
}

fn load_repetitions(
    connection: &Connection,
    archives: &mut Archives<'_>,
    session: &str,
) -> Result<Vec<RecordedRepetition>, Failure> {
    let mut measurements = load_measurements(connection, session)?;
    let mut statement = connection.prepare_cached(
        "SELECT idx, launch, kind, body, timeline FROM repetition WHERE session = ? ORDER BY idx",
    )?;
    let repetitions = statement.query_and_then([session], |row| -> Result<RecordedRepetition, Failure> {
        let repetition = repetition_of(session, row, archives)?;
        let measurements = measurements.remove(&repetition.index).unwrap_or_default();
        Ok(RecordedRepetition { repetition, measurements })
    })?;
    repetitions.collect()
}

fn repetition_of(session: &str, row: &Row<'_>, archives: &mut Archives<'_>) -> Result<Repetition, Failure> {
    let index: u32 = row.get(0)?;
    let subject = REPETITION.subject_of(&[&session, &index]);
    let (kind, body): (String, String) = (row.get(2)?, row.get(3)?);
    let timeline = match row.get::<_, Option<Vec<u8>>>(4)? {
        // Moved, or the row of something that has no tokens.
        Some(stored) if stored.is_empty() => Some(archives.blob(&subject)?.unwrap_or_default()),
        stored => stored,
    };
    Ok(Repetition {
        index,
        launch: row.get(1)?,
        kind: parse_word(&subject, &kind)?,
        outcome: outcome_of(&subject, &body, timeline.as_deref())?,
    })
}

/// Returns the measurements of a session by repetition, each in the order of the metric table.
fn load_measurements(
    connection: &Connection,
    session: &str,
) -> Result<BTreeMap<u32, Vec<Measurement>>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT repetition, metric, value, unavailable FROM measurement WHERE session = ? ORDER BY metric",
    )?;
    let rows = statement.query_and_then([session], |row| -> Result<(u32, Measurement), Failure> {
        let unavailable: Option<String> = row.get(3)?;
        let reading = match unavailable {
            Some(reason) => Reading::Unavailable(reason),
            None => Reading::Value(row.get(2)?),
        };
        Ok((row.get(0)?, Measurement { metric: row.get(1)?, reading }))
    })?;
    let mut by_repetition: BTreeMap<u32, Vec<Measurement>> = BTreeMap::new();
    for row in rows {
        let (repetition, measurement) = row?;
        by_repetition.entry(repetition).or_default().push(measurement);
    }
    let order: BTreeMap<String, usize> =
        all_metrics().enumerate().map(|(position, metric)| (metric.id(), position)).collect();
    for measurements in by_repetition.values_mut() {
        // Stable: metrics that this lab does not know follow by name.
        measurements.sort_by_key(|measurement| order.get(&measurement.metric).copied().unwrap_or(usize::MAX));
    }
    Ok(by_repetition)
}
