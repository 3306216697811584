//! What takes how much room in the store's file, and giving room back that nothing takes any more.

use jiff::civil::Date;
use rusqlite::{Connection, Row};

use crate::body::damaged;
use crate::chain::RECORDED;
use crate::error::{Failure, StoreError};
use crate::open::{Mode, Store};

/// What takes how much room in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the file, without its write-ahead log.
    pub bytes: u64,
    /// Bytes of it that hold nothing: what is recorded next goes there first.
    pub unused_bytes: u64,
    /// Every table, in the order of the schema.
    pub tables: Vec<TableUsage>,
    /// The timelines that lie in the store.
    pub timelines: BlobUsage,
    /// The pieces of imported files that lie in the store.
    pub pieces: BlobUsage,
    /// What left for archives, with the sizes that it had here.
    pub archived: BlobUsage,
    /// The days on which sessions started, oldest first.
    pub days: Vec<DayUsage>,
}

/// What takes how much room in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableUsage {
    /// Its name.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Bytes of its pages and those of its indexes.
    pub bytes: u64,
}

/// A number of BLOBs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlobUsage {
    /// How many.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The sessions that started on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayUsage {
    /// The day, in UTC.
    pub day: Date,
    /// How many.
    pub sessions: u64,
    /// About the bytes of the file that are theirs: what all pages take that are in use, shared out by content.
    pub bytes: u64,
}

/// A row without its body or BLOB takes some 400 bytes with its link, most of them the link's digests. Only its share
/// matters: what the days take is scaled to the file.
const DAYS: &str = "
    WITH content AS (
        SELECT id AS session, 400 + octet_length(body) AS bytes FROM session
        UNION ALL SELECT session, 400 + octet_length(body) FROM launch
        UNION ALL SELECT session, 400 + octet_length(body) + coalesce(octet_length(timeline), 0) FROM repetition
        UNION ALL SELECT session, 400 FROM measurement
        UNION ALL
            SELECT source.session, 400 + octet_length(frame)
            FROM piece JOIN source ON source.digest = piece.source
    ),
    owned AS (SELECT session, sum(bytes) AS bytes FROM content GROUP BY session)
    SELECT date(started_at / 1000000000, 'unixepoch') AS day, count(*), sum(owned.bytes)
    FROM session JOIN owned ON owned.session = session.id
    GROUP BY day
    ORDER BY day";

impl Store {
    /// Returns what takes how much room. Reads every page of the file.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or a row is damaged.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let read = || -> Result<Usage, Failure> {
            let snapshot = self.connection().unchecked_transaction()?;
            usage_of(&snapshot)
        };
        read().map_err(|failure| failure.into_store_error(self.path(), "reading what takes room"))
    }

    /// Writes the file anew without the room that nothing takes, and returns by how many bytes it became smaller. No row
    /// changes. Needs about as much room on the disk as the store itself until it is done.
    ///
    /// # Errors
    ///
    /// When the store may only be read, another process holds it, or there is no room. It is then as it was.
    pub fn compact(&mut self) -> Result<u64, StoreError> {
        if let Mode::ReadOnly { reason } = self.mode() {
            return Err(StoreError::ReadOnly { path: self.path().to_owned(), reason });
        }
        let compact = || -> rusqlite::Result<u64> {
            let connection = self.connection();
            let before = bytes_of(connection)?;
            connection.execute_batch("VACUUM")?;
            // Until the log is taken over into it, the file is as long as it was. Its row says whether a reader stood in the
            // way; the next that closes the store then does it.
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            Ok(before.saturating_sub(bytes_of(connection)?))
        };
        compact().map_err(|error| self.explain("giving room back", error))
    }
}

fn usage_of(connection: &Connection) -> Result<Usage, Failure> {
    let (page_bytes, free_pages) = (pragma(connection, "page_size")?, pragma(connection, "freelist_count")?);
    let (bytes, unused_bytes) = (bytes_of(connection)?, free_pages * page_bytes);
    Ok(Usage {
        bytes,
        unused_bytes,
        tables: tables(connection)?,
        timelines: blobs(
            connection,
            "SELECT count(*), sum(length(timeline)) FROM repetition WHERE length(timeline) > 0",
        )?,
        pieces: blobs(connection, "SELECT count(*), sum(length(frame)) FROM piece WHERE length(frame) > 0")?,
        archived: blobs(connection, "SELECT count(*), sum(bytes) FROM archived")?,
        days: days(connection, bytes.saturating_sub(unused_bytes))?,
    })
}

fn bytes_of(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(pragma(connection, "page_count")? * pragma(connection, "page_size")?)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, name, |row| number(row, 0))
}

/// Reads a count or a size; 0 for the sum of nothing.
fn number(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, Option<i64>>(index)?.unwrap_or(0).unsigned_abs())
}

fn blobs(connection: &Connection, select: &str) -> rusqlite::Result<BlobUsage> {
    connection.query_row(select, [], |row| Ok(BlobUsage { blobs: number(row, 0)?, bytes: number(row, 1)? }))
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<TableUsage>> {
    let names = RECORDED.iter().map(|recorded| recorded.table).chain(["chain"]);
    names.map(|table| table_usage(connection, table)).collect()
}

fn table_usage(connection: &Connection, table: &str) -> rusqlite::Result<TableUsage> {
    let count = format!("SELECT count(*) FROM {table}");
    let rows = connection.query_row(&count, [], |row| number(row, 0))?;
    // An index is an object of its own, which names its table.
    let pages = "SELECT sum(pgsize) FROM dbstat
        WHERE aggregate = TRUE AND name IN (SELECT name FROM sqlite_master WHERE tbl_name = ?)";
    let bytes = connection.query_row(pages, [table], |row| number(row, 0))?;
    Ok(TableUsage { table: table.to_owned(), rows, bytes })
}

/// Returns the days on which sessions started, and shares the bytes in use out among them.
fn days(connection: &Connection, used_bytes: u64) -> Result<Vec<DayUsage>, Failure> {
    let mut statement = connection.prepare(DAYS)?;
    let days = statement.query_and_then([], |row| -> Result<DayUsage, Failure> {
        let text: String = row.get(0)?;
        let day = text.parse::<Date>().map_err(|error| damaged("the days of the sessions", &error))?;
        Ok(DayUsage { day, sessions: number(row, 1)?, bytes: number(row, 2)? })
    })?;
    let mut days = days.collect::<Result<Vec<DayUsage>, Failure>>()?;
    let content: u64 = days.iter().map(|day| day.bytes).sum();
    for day in &mut days {
        day.bytes = share(used_bytes, day.bytes, content);
    }
    Ok(days)
}

/// Returns a part of a whole, rounded down.
fn share(whole: u64, part: u64, of: u64) -> u64 {
    let exact = u128::from(whole) * u128::from(part) / u128::from(of.max(1));
    u64::try_from(exact).expect("a part is not above the whole")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{header, id, measured, record, scratch, session};

    #[test]
    fn usage_counts_every_row_and_shares_the_file_out_among_the_days() {
        let mut scratch = scratch();
        let empty = scratch.store.usage().unwrap();
        assert!(empty.days.is_empty() && empty.tables.iter().all(|table| table.rows == 0), "{empty:?}");
        for n in [1, 2, 3_000] {
            record(&mut scratch.store, &session(n));
        }
        let usage = scratch.store.usage().unwrap();
        let rows: u64 =
            usage.tables.iter().filter(|table| table.table != "chain").map(|table| table.rows).sum();
        let chain = usage.tables.last().unwrap();
        assert_eq!((chain.table.as_str(), chain.rows), ("chain", rows));
        // The page of the schema itself is no table's.
        let in_tables: u64 = usage.tables.iter().map(|table| table.bytes).sum();
        assert!(in_tables < usage.bytes && in_tables > usage.bytes / 2, "{usage:?}");
        // Four of the five repetitions of each session completed.
        assert_eq!((usage.timelines.blobs, usage.pieces.blobs, usage.archived.blobs), (12, 0, 0));
        let days: Vec<(String, u64)> =
            usage.days.iter().map(|day| (day.day.to_string(), day.sessions)).collect();
        // Session 3000 starts 2999 minutes after session 1.
        assert_eq!(days, [("2025-11-21".to_owned(), 2), ("2025-11-23".to_owned(), 1)]);
        let shared: u64 = usage.days.iter().map(|day| day.bytes).sum();
        assert!(shared <= usage.bytes && shared > usage.bytes / 2, "{usage:?}");
    }

    #[test]
    fn compacting_changes_no_row_and_gives_room_back() {
        let mut scratch = scratch();
        record(&mut scratch.store, &session(1));
        scratch.store.begin_session(&header(2)).unwrap();
        scratch.store.append_launch(id(2), &crate::fixture::launch(0)).unwrap();
        let (repetition, measurements) = measured(2, 0, 0);
        scratch.store.append_repetition(id(2), &repetition, &measurements).unwrap();
        scratch
            .raw()
            .execute_batch("CREATE TABLE big AS SELECT zeroblob(1000000) AS x; DROP TABLE big")
            .unwrap();
        let head = scratch.store.head().unwrap();
        let before = std::fs::metadata(&scratch.path).unwrap().len();
        let freed = scratch.store.compact().unwrap();
        let after = std::fs::metadata(&scratch.path).unwrap().len();
        assert!(freed > 900_000 && after < 900_000, "{before} {after} {freed}");
        assert_eq!(scratch.store.usage().unwrap().unused_bytes, 0);
        assert!(scratch.store.verify(Some(&head)).unwrap().is_sound());
        assert_eq!(scratch.store.load(&id(1)).unwrap(), session(1));
    }

    #[test]
    fn a_store_opened_for_reading_is_not_compacted() {
        let scratch = scratch();
        let mut reader = Store::open_read_only(&scratch.path).unwrap();
        assert!(matches!(reader.compact(), Err(StoreError::ReadOnly { .. })));
    }
}
