//! Calibrations: what is known of how far recordings of one fingerprint differ when nothing has changed.
//!
//! The store keeps the documents and finds them again; what stands in them it does not look at.

#[cfg(test)]
mod tests;

use std::fmt;

use jiff::Timestamp;
use lab_core::digest::Digest;
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::append::refuse_recorded;
use crate::body::{damaged, decode, encode, nanos_of, parse_word, time_of};
use crate::chain::{CALIBRATION, digest_at};
use crate::error::{Failure, StoreError};
use crate::open::Store;

/// A recorded calibration.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationRow {
    /// Its id.
    pub id: Uuid,
    /// When it was made.
    pub made_at: Timestamp,
    /// The digest of what it is about: recordings with this digest may be judged by it.
    pub fingerprint: Digest,
    /// What it calibrates.
    pub kind: CalibrationKind,
    /// The document.
    pub body: Value,
}

/// What a calibration calibrates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationKind {
    /// Comparisons of two sessions.
    Compare,
    /// Paired experiments.
    Ab,
}

impl CalibrationKind {
    /// Returns the word that it is stored as.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compare => "compare",
            Self::Ab => "ab",
        }
    }
}

impl fmt::Display for CalibrationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Store {
    /// Records a calibration.
    ///
    /// # Errors
    ///
    /// When one with this id is already recorded, the document would not read back exactly, or the store cannot be
    /// written.
    pub fn append_calibration(&mut self, calibration: &CalibrationRow) -> Result<(), StoreError> {
        let CalibrationRow { id, made_at, fingerprint, kind, body } = calibration;
        let id = id.to_string();
        let subject = CALIBRATION.subject_of(&[&id]);
        let (made_at, body) = (nanos_of(&subject, *made_at)?, encode(&subject, body)?);
        self.append("recording a calibration", |connection| {
            refuse_recorded(connection, &CALIBRATION, &[(&id, &id)])?;
            connection.execute(
                "INSERT INTO calibration (id, made_at, fingerprint, kind, body) VALUES (?, ?, ?, ?, ?)",
                (&id, made_at, fingerprint.to_string(), kind.name(), &body),
            )?;
            CALIBRATION.link(connection, &[&id])?;
            Ok(())
        })
    }

    /// Returns the calibrations of one kind that are about a digest, newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or a row is damaged.
    pub fn calibrations(
        &self,
        fingerprint: &Digest,
        kind: CalibrationKind,
    ) -> Result<Vec<CalibrationRow>, StoreError> {
        let read = || -> Result<Vec<CalibrationRow>, Failure> {
            let mut statement = self.connection().prepare_cached(
                "SELECT id, made_at, fingerprint, kind, body FROM calibration
                 WHERE fingerprint = ? AND kind = ? ORDER BY made_at DESC, id DESC",
            )?;
            let rows = statement.query_and_then((fingerprint.to_string(), kind.name()), calibration)?;
            rows.collect()
        };
        read().map_err(|failure| failure.into_store_error(self.path(), "reading the calibrations"))
    }
}

/// Returns every row, in the order of the ids.
pub(crate) fn all(connection: &Connection) -> Result<Vec<CalibrationRow>, Failure> {
    let mut statement =
        connection.prepare("SELECT id, made_at, fingerprint, kind, body FROM calibration ORDER BY id")?;
    let rows = statement.query_and_then([], calibration)?;
    rows.collect()
}

fn calibration(row: &Row<'_>) -> Result<CalibrationRow, Failure> {
    let (id, kind, body): (String, String, String) = (row.get(0)?, row.get(3)?, row.get(4)?);
    let subject = CALIBRATION.subject_of(&[&id]);
    Ok(CalibrationRow {
        id: Uuid::try_parse(&id).map_err(|error| damaged(&subject, &error))?,
        made_at: time_of(row.get(1)?),
        fingerprint: digest_at(row, 2)?,
        kind: parse_word(&subject, &kind)?,
        body: decode(&subject, &body)?,
    })
}
