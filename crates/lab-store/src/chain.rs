//! The hash chain: a digest for every recorded row, a link for every digest, a head for every link.
//!
//! **Row digest.** SHA-256 over `lab.store.row.v1`, a line feed, the table's name, and then, in the order of the
//! columns, the name and the value of each column that is not `NULL`. A text (name or value) is its length as eight
//! little-endian bytes and its UTF-8; a value is one letter for its type and then: `i` and eight little-endian bytes,
//! `r` and the eight little-endian bytes of its IEEE 754 bits, `t` and a text, or `b`, the length, and the SHA-256 of
//! the bytes. Every piece says where it ends, so two different rows never give the same bytes. `NULL` columns are left
//! out so that a column that a later schema adds does not change the digests of the rows before it. A BLOB enters by its
//! length and digest alone: where it left for an archive, these two stand in the store, and the row's digest stays what
//! it was.
//!
//! **Head.** SHA-256 over `lab.store.chain.v1`, a line feed, the 32 bytes of the head before, the subject as a text,
//! and the 32 bytes of the row digest. The head before the first link is [`genesis`].
//!
//! **Subject.** Which row a link is about: the table and the key, such as `repetition:<session>:3`.
//!
//! Digests are taken over what was stored, read back inside the transaction that stored it, by the same code that
//! verifies it.

use std::sync::OnceLock;

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
    /// The query for one row by its key: asked for every row.
    select_one: OnceLock<String>,
}

pub(crate) static PART: Recorded = Recorded::new("part", &["digest"]);
pub(crate) static SESSION: Recorded = Recorded::new("session", &["id"]);
pub(crate) static LAUNCH: Recorded = Recorded::new("launch", &["session", "idx"]);
pub(crate) static REPETITION: Recorded = Recorded::new("repetition", &["session", "idx"]);
pub(crate) static MEASUREMENT: Recorded = Recorded::new("measurement", &["session", "repetition", "metric"]);
pub(crate) static SESSION_END: Recorded = Recorded::new("session_end", &["session"]);
pub(crate) static BASELINE: Recorded = Recorded::new("baseline", &["seq"]);
pub(crate) static CALIBRATION: Recorded = Recorded::new("calibration", &["id"]);

pub(crate) static SOURCE: Recorded = Recorded::new("source", &["digest"]);
pub(crate) static PIECE: Recorded = Recorded::new("piece", &["source", "idx"]);
pub(crate) static ARCHIVE: Recorded = Recorded::new("archive", &["seq"]);
pub(crate) static ARCHIVED: Recorded = Recorded::new("archived", &["subject"]);

/// Every table but the chain itself.
pub(crate) static RECORDED: [&Recorded; 12] = [
    &PART,
    &SESSION,
    &LAUNCH,
    &REPETITION,
    &MEASUREMENT,
    &SESSION_END,
    &BASELINE,
    &CALIBRATION,
    &SOURCE,
    &PIECE,
    &ARCHIVE,
    &ARCHIVED,
];

/// What is known of a BLOB without its bytes: what the digest of its row is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobDigest {
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
}

impl BlobDigest {
    pub(crate) fn of(blob: &[u8]) -> Self {
        Self { bytes: blob.len() as u64, digest: Digest::of(blob) }
    }
}

impl Recorded {
    const fn new(table: &'static str, key: &'static [&'static str]) -> Self {
        Self { table, key, select_one: OnceLock::new() }
    }

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

    /// Returns the digest of a row read with all its columns. An empty BLOB stands for one that is in an archive, where
    /// there is such a one.
    pub(crate) fn digest(&self, row: &Row<'_>, archived: Option<&BlobDigest>) -> rusqlite::Result<Digest> {
        let mut hasher = Sha256::new();
        hasher.update(b"lab.store.row.v1\n");
        push_text(&mut hasher, self.table.as_bytes());
        for (index, column) in row.as_ref().column_names().enumerate() {
            let value = row.get_ref(index)?;
            if value.data_type() != Type::Null {
                push_text(&mut hasher, column.as_bytes());
                push_value(&mut hasher, value, archived);
            }
        }
        Ok(Digest::from_bytes(hasher.finalize().into()))
    }

    /// Returns the query for one row by its key.
    fn select_one(&self) -> &str {
        self.select_one.get_or_init(|| {
            let conditions: Vec<String> = self.key.iter().map(|column| format!("{column} = ?")).collect();
            format!("SELECT * FROM {} WHERE {}", self.table, conditions.join(" AND "))
        })
    }

    /// Returns whether the row is there.
    pub(crate) fn holds(&self, connection: &Connection, key: &[&dyn ToSql]) -> rusqlite::Result<bool> {
        connection.prepare_cached(self.select_one())?.exists(key)
    }

    /// Appends the link of a row that was just stored.
    pub(crate) fn link(&self, connection: &Connection, key: &[&dyn ToSql]) -> rusqlite::Result<()> {
        self.link_all(connection, [key])
    }

    /// Appends the links of rows that were just stored, in this order. The end of the chain is looked up once: nobody else
    /// writes inside the transaction.
    pub(crate) fn link_all<'k>(
        &self,
        connection: &Connection,
        keys: impl IntoIterator<Item = &'k [&'k dyn ToSql]>,
    ) -> rusqlite::Result<()> {
        let (mut seq, mut previous) = last_link(connection)?;
        let mut select = connection.prepare_cached(self.select_one())?;
        let mut insert = connection.prepare_cached(
            "INSERT INTO chain (seq, subject, digest, previous, head) VALUES (?, ?, ?, ?, ?)",
        )?;
        for key in keys {
            let (subject, digest) =
                select.query_row(key, |row| Ok((self.subject(row)?, self.digest(row, None)?)))?;
            let head = next_head(&previous, &subject, &digest);
            seq += 1;
            insert.execute((seq, subject, digest.to_string(), previous.to_string(), head.to_string()))?;
            previous = head;
        }
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

fn push_value(hasher: &mut Sha256, value: ValueRef<'_>, archived: Option<&BlobDigest>) {
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
            let BlobDigest { bytes, digest } = match archived {
                Some(archived) if bytes.is_empty() => *archived,
                _ => BlobDigest::of(bytes),
            };
            hasher.update(b"b");
            hasher.update(bytes.to_le_bytes());
            hasher.update(digest.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ANY: Recorded = Recorded::new("any", &["a"]);

    #[track_caller]
    fn digest_of(select: &str) -> Digest {
        digest_without(select, None)
    }

    #[track_caller]
    fn digest_without(select: &str, archived: Option<&BlobDigest>) -> Digest {
        let connection = Connection::open_in_memory().unwrap();
        connection.query_row(select, [], |row| ANY.digest(row, archived)).unwrap()
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
    fn a_row_whose_blob_left_has_the_digest_that_it_had() {
        let known = BlobDigest::of(&[1, 2]);
        let (whole, left) = ("SELECT 'x' AS a, X'0102' AS e", "SELECT 'x' AS a, X'' AS e");
        assert_eq!(digest_without(left, Some(&known)), digest_of(whole));
        assert_ne!(digest_of(left), digest_of(whole));
        // What did not leave is digested as it is, whatever is said of it.
        let other = BlobDigest::of(&[3]);
        assert_eq!(digest_without(whole, Some(&other)), digest_of(whole));
        assert_ne!(digest_without(left, Some(&other)), digest_of(whole));
    }

    #[test]
    fn the_schema_knows_the_genesis_head() {
        let sql = crate::migrate::MIGRATIONS[0].sql;
        assert!(sql.contains(&format!("'{}'", genesis())), "{}", genesis());
    }
}
