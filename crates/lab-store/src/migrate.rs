//! The schema and its versions.
//!
//! A schema is the sum of its migrations, applied in order; `PRAGMA user_version` counts those applied. The list only
//! grows, and a migration is never edited once a store was made by it: [`Store::verify`](crate::Store::verify) compares
//! a store's schema with what the list creates, letter by letter.
//!
//! ## Tables
//!
//! | table | one row is | key |
//! |---|---|---|
//! | `part` | one part of a fingerprint, stored once however many sessions share it: its kind, domain, and the RFC 8785 JSON of its identity fields | `digest` over domain and identity |
//! | `session` | what was known when a session started: the columns a listing needs, the digests of its fingerprint and of the five parts, and the whole header as JSON | `id`, a version 7 UUID |
//! | `launch` | one engine process of a session, as JSON | `session, idx` |
//! | `repetition` | one `generate`, one run of a command or one imported document: kind, outcome and validity as words, the timeline as LEB128 bytes (`NULL` for a failure, empty where there are no tokens), everything else as JSON | `session, idx` |
//! | `measurement` | one published metric of one measured repetition: its value, or why there is none, never both and never neither | `session, metric, repetition` |
//! | `session_end` | that a session ended, when and how; a session without such a row is still running or was killed | `session` |
//! | `baseline` | that a name was set to a session, or removed (no session); the newest row of a name holds | `seq`, from 1 without gaps |
//! | `calibration` | a document about a fingerprint, as JSON, with its time and kind | `id`, a UUID |
//! | `source` | one imported file: the repetition it became, its size, and in how many pieces its bytes lie | `digest` of its bytes |
//! | `piece` | a stretch of an imported file's bytes as a Zstandard frame | `source, idx` |
//! | `archive` | one file that raw data left for: its paths, digest and size, and what went into it, as JSON | `seq`, from 1 without gaps |
//! | `archived` | one BLOB that left: its row as the chain names it, the archive, its digest and size | `subject` |
//! | `chain` | one link of the hash chain, for one row of the tables above | `seq`, from 1 without gaps |
//!
//! Times are nanoseconds since 1970-01-01 UTC. Metrics are text keys, so that a new metric is no migration. All tables
//! are `STRICT`; recorded ones are also `WITHOUT ROWID`, because a hidden rowid would be a second key through which
//! `INSERT OR REPLACE` could delete a row.
//!
//! Triggers refuse every update and deletion, every insertion over an existing key, every link and every baseline that is
//! not the next one, and every row of a session that has ended. One update is permitted: the BLOB of a `repetition` or a
//! `piece` of a session that has ended becomes empty once a row of `archived` says where it went.

#[cfg(test)]
mod tests;

use rusqlite::Connection;

/// One step from a schema to the next.
#[derive(Debug)]
pub struct Migration {
    /// Its file's name.
    pub name: &'static str,
    /// What it executes.
    pub sql: &'static str,
}

/// Every migration, oldest first. Append only; a store's `user_version` is how many of them it has.
pub static MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_first", sql: include_str!("migrations/0001_first.sql") },
    Migration { name: "0002_observations", sql: include_str!("migrations/0002_observations.sql") },
    Migration { name: "0003_experiments", sql: include_str!("migrations/0003_experiments.sql") },
    Migration { name: "0004_until", sql: include_str!("migrations/0004_until.sql") },
    Migration { name: "0005_other_contracts", sql: include_str!("migrations/0005_other_contracts.sql") },
    Migration { name: "0006_archive", sql: include_str!("migrations/0006_archive.sql") },
];

/// The `PRAGMA application_id` of every store: `lab1` in ASCII.
pub const APPLICATION_ID: i32 = i32::from_be_bytes(*b"lab1");

/// Returns the schema this lab writes: how many migrations it knows.
pub(crate) fn known_schema() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("a handful of migrations")
}

/// Returns the schema of an open database.
pub(crate) fn schema_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Applies the migrations a database lacks. The caller holds the transaction.
pub(crate) fn apply_missing(connection: &Connection) -> rusqlite::Result<()> {
    let present = usize::try_from(schema_of(connection)?).unwrap_or(usize::MAX);
    for migration in MIGRATIONS.iter().skip(present) {
        connection.execute_batch(migration.sql)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", known_schema().max(schema_of(connection)?))
}
