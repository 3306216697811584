//! The hash chain: a digest for every recorded row, a link for every digest, a head for every link.
//!
//! **Row digest.** SHA-256 over `lab.store.row.v1`, a line feed, the table's name, and then, in the order of the
//! columns, the name and the value of each column that is not `NULL`. A text (name or value) is its length as eight
//! little-endian bytes and its UTF-8; a value is one letter for its type and then: `i` and eight little-endian bytes,
//! `r` and the eight little-endian bytes of its IEEE 754 bits, `t` and a text, or `b`, the length, and the SHA-256 of
//! the bytes. Every piece says where it ends, so two different rows never give the same bytes. `NULL` columns are left
//! out so that a column that a later schema adds does not change the digests of the rows before it.
//!
//! **Head.** SHA-256 over `lab.store.chain.v1`, a line feed, the 32 bytes of the head before, the subject as a text,
//! and the 32 bytes of the row digest. The head before the first link is [`genesis`].
//!
//! **Subject.** Which row a link is about: the table and the key, such as `repetition:<session>:3`.
//!
//! Digests are taken over what was stored, read back inside the transaction that stored it, by the same code that
//! verifies it.

use lab_core::digest::Digest;
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql};
use sha2::{Digest as _, Sha256};

/// A table whose rows are recorded for good, and the columns that name a row of it.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) table: &'static str,
    /// Free text, if any, stands last, so that subjects are unambiguous.
    key: &'static [&'static str],
}

pub(crate) static PART: Recorded = Recorded { table: "part", key: &["digest"] };
pub(crate) static SESSION: Recorded = Recorded { table: "session", key: &["id"] };
pub(crate) static LAUNCH: Recorded = Recorded { table: "launch", key: &["session", "idx"] };
pub(crate) static REPETITION: Recorded = Recorded { table: "repetition", key: &["session", "idx"] };
pub(crate) static MEASUREMENT: Recorded =
    Recorded { table: "measurement", key: &["session", "repetition", "metric"] };
pub(crate) static SESSION_END: Recorded = Recorded { table: "session_end", key: &["session"] };
pub(crate) static BASELINE: Recorded = Recorded { table: "baseline", key: &["seq"] };
pub(crate) static CALIBRATION: Recorded = Recorded { table: "calibration", key: &["id"] };

/// Every table but the chain itself.
pub(crate) static RECORDED: [&Recorded; 8] =
    [&PART, &SESSION, &LAUNCH, &REPETITION, &MEASUREMENT, &SESSION_END, &BASELINE, &CALIBRATION];

impl Recorded {
    /// Returns the subject of the row with a key.
    pub(crate) fn subject_of(&self, key: &[&dyn std::fmt::Display]) -> String {
        let mut subject = self.table.to_owned();
        for column in key {
            subject.push(':');
            subject.push_str(&column.to_string());
        }
        subject
    }

    /// Returns the subject of a row read with all its columns.
    pub(crate) fn subject(&self, row: &Row<'_>) -> rusqlite::Result<String> {
        let mut subject = self.table.to_owned();
        for column in self.key {
            subject.push(':');
            match row.get_ref(*column)? {
                ValueRef::Integer(integer) => subject.push_str(&integer.to_string()),
                ValueRef::Text(text) => subject.push_str(&String::from_utf8_lossy(text)),
                _ => subject.push('?'),
            }
        }
        Ok(subject)
    }

    /// Returns the digest of a row read with all its columns.
    pub(crate) fn digest(&self, row: &Row<'_>) -> rusqlite::Result<Digest> {
        let mut hasher = Sha256::new();
        hasher.update(b"lab.store.row.v1\n");
        push_text(&mut hasher, self.table.as_bytes());
        for (index, column) in row.as_ref().column_names().enumerate() {
            let value = row.get_ref(index)?;
            if value.data_type() != Type::Null {
                push_text(&mut hasher, column.as_bytes());
                push_value(&mut hasher, value);
            }
        }
        Ok(Digest::from_bytes(hasher.finalize().into()))
    }

    /// Returns the query for one row by its key.
    fn select_one(&self) -> String {
        let conditions: Vec<String> = self.key.iter().map(|column| format!("{column} = ?")).collect();
        format!("SELECT * FROM {} WHERE {}", self.table, conditions.join(" AND "))
    }

    /// Returns whether the row is there.
    pub(crate) fn holds(&self, connection: &Connection, key: &[&dyn ToSql]) -> rusqlite::Result<bool> {
        connection.prepare_cached(&self.select_one())?.exists(key)
    }

    /// Appends the link of a row that was just stored.
    pub(crate) fn link(&self, connection: &Connection, key: &[&dyn ToSql]) -> rusqlite::Result<()> {
        let (subject, digest) = connection
            .prepare_cached(&self.select_one())?
            .query_row(key, |row| Ok((self.subject(row)?, self.digest(row)?)))?;
        let (seq, previous) = last_link(connection)?;
        let head = next_head(&previous, &subject, &digest);
        connection
            .prepare_cached(
                "INSERT INTO chain (seq, subject, digest, previous, head) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute((seq + 1, subject, digest.to_string(), previous.to_string(), head.to_string()))?;
        Ok(())
    }
}

/// Returns the head of an empty store, before any link: SHA-256 of `lab.store.genesis.v1`.
pub fn genesis() -> Digest {
    Digest::of(b"lab.store.genesis.v1")
}

/// Returns the position and the head of the last link; 0 and [`genesis`] when there is none.
pub(crate) fn last_link(connection: &Connection) -> rusqlite::Result<(i64, Digest)> {
    let last = connection
        .prepare_cached("SELECT seq, head FROM chain ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, digest_at(row, 1)?)))
        .optional()?;
    Ok(last.unwrap_or_else(|| (0, genesis())))
}

/// Returns the head after a link.
pub(crate) fn next_head(previous: &Digest, subject: &str, digest: &Digest) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(b"lab.store.chain.v1\n");
    hasher.update(previous.as_bytes());
    push_text(&mut hasher, subject.as_bytes());
    hasher.update(digest.as_bytes());
    Digest::from_bytes(hasher.finalize().into())
}

/// Reads a digest from a text column.
pub(crate) fn digest_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Digest> {
    let text: String = row.get(index)?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error)))
}

fn push_text(hasher: &mut Sha256, text: &[u8]) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text);
}

fn push_value(hasher: &mut Sha256, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => hasher.update(b"n"),
        ValueRef::Integer(integer) => {
            hasher.update(b"i");
            hasher.update(integer.to_le_bytes());
        }
        ValueRef::Real(real) => {
            hasher.update(b"r");
            hasher.update(real.to_bits().to_le_bytes());
        }
        ValueRef::Text(text) => {
            hasher.update(b"t");
            push_text(hasher, text);
        }
        ValueRef::Blob(bytes) => {
            hasher.update(b"b");
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(Digest::of(bytes).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ANY: Recorded = Recorded { table: "any", key: &["a"] };

    #[track_caller]
    fn digest_of(select: &str) -> Digest {
        let connection = Connection::open_in_memory().unwrap();
        connection.query_row(select, [], |row| ANY.digest(row)).unwrap()
    }

    #[test]
    fn the_row_digest_is_pinned() {
        // Pinned by an independent computation (Python's hashlib over the encoding in the module's essay).
        let row = "SELECT 'x' AS a, 7 AS b, 1.5 AS c, NULL AS d, X'0102' AS e";
        assert_eq!(
            digest_of(row).to_string(),
            "d8b8150854f2b14f12b265f2a462d30bb2035207115679e98825ccd15717339b"
        );
        let head = next_head(&genesis(), "any:x", &digest_of(row));
        assert_eq!(head.to_string(), "b5495f2c2133f8ece0ce19a1d0eb58ee9b22d51c31d30e182410238b3ac66246");
    }

    #[test]
    fn rows_that_differ_in_anything_have_different_digests() {
        let rows = [
            "SELECT 'x' AS a, 'y' AS b",
            "SELECT 'xy' AS a, '' AS b",
            "SELECT '' AS a, 'xy' AS b",
            "SELECT 'y' AS a, 'x' AS b",
            "SELECT 'x' AS b, 'y' AS a",
            "SELECT X'78' AS a, 'y' AS b",
            "SELECT 1 AS a, 'y' AS b",
            "SELECT 1.0 AS a, 'y' AS b",
            "SELECT '1' AS a, 'y' AS b",
            "SELECT 'x' AS a, NULL AS b",
        ];
        let mut digests: Vec<Digest> = rows.iter().map(|row| digest_of(row)).collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), rows.len());
    }

    #[test]
    fn a_null_column_is_as_good_as_absent() {
        assert_eq!(digest_of("SELECT 'x' AS a, NULL AS added_later"), digest_of("SELECT 'x' AS a"));
    }

    #[test]
    fn the_schema_knows_the_genesis_head() {
        let sql = crate::migrate::MIGRATIONS[0].sql;
        assert!(sql.contains(&format!("'{}'", genesis())), "{}", genesis());
    }
}
