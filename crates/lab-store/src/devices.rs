//! The documents of a contract over all sessions, and the files that the store has met.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use lab_core::digest::Digest;
use lab_core::import::Imported;
use lab_core::metric::Contract;
use lab_core::record::{Outcome, SessionHeader, SessionId};
use rusqlite::{Connection, Row};

use crate::body::{decode, outcome_of};
use crate::chain::{REPETITION, SESSION};
use crate::error::{Failure, StoreError};
use crate::open::Store;
use crate::query::parse_id;
use crate::source;

/// A session of imported documents, without measurements and without the bytes of its files.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedSession {
    /// What was known at its start.
    pub header: SessionHeader,
    /// Its documents, in order.
    pub documents: Vec<Imported>,
}

/// By the plan's part of the fingerprint, which is the contract and nothing else: there is one row of it a contract.
const SESSIONS: &str = "
    SELECT session.id, session.body
    FROM session JOIN part ON part.digest = session.plan_part
    WHERE part.domain = 'lab.import.plan.v1' AND json_extract(part.identity, '$.contract') = ?
    ORDER BY session.started_at, session.id";

impl Store {
    /// Returns every session of documents of a contract, oldest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or a row is damaged.
    pub fn imports(&self, contract: Contract) -> Result<Vec<ImportedSession>, StoreError> {
        let load = || -> Result<Vec<ImportedSession>, Failure> {
            // One snapshot, so that no session is seen without its documents.
            let snapshot = self.connection().unchecked_transaction()?;
            let mut statement = snapshot.prepare_cached(SESSIONS)?;
            let one = |row: &Row<'_>| -> Result<ImportedSession, Failure> {
                let (id, body): (String, String) = (row.get(0)?, row.get(1)?);
                imported_session(&snapshot, parse_id(&id)?, &body)
            };
            let sessions = statement.query_and_then([contract.to_string()], one)?;
            sessions.collect()
        };
        load().map_err(|failure| failure.into_store_error(self.path(), "looking for imported documents"))
    }

    /// Returns the digest of every file that was imported.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn source_digests(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let digests = source::digests(self.connection());
        digests
            .map(|digests| digests.into_iter().collect())
            .map_err(|failure| failure.into_store_error(self.path(), "looking for imported files"))
    }
}

fn imported_session(
    connection: &Connection,
    session: SessionId,
    body: &str,
) -> Result<ImportedSession, Failure> {
    let header = decode(&SESSION.subject_of(&[&session]), body)?;
    let mut statement = connection
        .prepare_cached("SELECT idx, body, timeline FROM repetition WHERE session = ? ORDER BY idx")?;
    let outcomes = statement.query_and_then([session.to_string()], |row| -> Result<Outcome, Failure> {
        let (index, body): (u32, String) = (row.get(0)?, row.get(1)?);
        let timeline: Option<Vec<u8>> = row.get(2)?;
        Ok(outcome_of(&REPETITION.subject_of(&[&session, &index]), &body, timeline.as_deref())?)
    })?;
    let mut documents = Vec::new();
    for outcome in outcomes {
        if let Outcome::Imported(imported) = outcome? {
            documents.push(*imported);
        }
    }
    Ok(ImportedSession { header, documents })
}
