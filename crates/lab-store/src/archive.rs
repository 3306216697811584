//! Moving raw data out of the store: the one way in which any ever leaves it.
//!
//! What is raw are the timelines of repetitions and the bytes of imported files. They go into a file of their own
//! (module [`file`]); everything else stays: headers, conditions, observations, measurements, ends, and the chain. In the
//! place of each BLOB the store keeps its digest and its size, so that the digest of its row can still be computed and the
//! chain be verified without the archive. Where the archive is there, it is read as if nothing had moved.
//!
//! **Order.** The file is written, read back and synchronised first. Then one transaction records it, says of each BLOB
//! where it went, and empties it. Whatever ends lab in between leaves the store as it was, and at worst a file that no row
//! names. Once that transaction was begun the file is never removed: a commit that seemed to fail may be on the disk all the
//! same.

mod file;
mod lookup;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lab_core::digest::Digest;
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use crate::append::refuse_recorded;
use crate::baseline::{Baseline, held};
use crate::body::{decode, encode, nanos_of, time_of};
use crate::chain::{ARCHIVE, ARCHIVED, BlobDigest, PIECE, REPETITION, Recorded, digest_at, last_link};
use crate::error::{Failure, StoreError};
use crate::open::{Mode, Store};

pub use file::ARCHIVE_APPLICATION_ID;
use file::{ArchiveFile, ArchiveWriter, discard, stored};
pub(crate) use lookup::{Archives, archived, not_left};

/// What leaves the store, and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveOrder<'a> {
    /// Raw data of the sessions that ended before this leave.
    pub older_than: Timestamp,
    /// The file to make.
    pub to: &'a Path,
    /// The time of doing so.
    pub now: Timestamp,
}

/// How much an archive holds, or would.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveContents {
    /// Sessions that it has raw data of.
    pub sessions: u64,
    /// Timelines.
    pub timelines: u64,
    /// Pieces of imported files.
    pub pieces: u64,
    /// Bytes of both as they lay in the store.
    pub blob_bytes: u64,
}

/// What could leave a store, and what stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Archivable {
    /// What would leave.
    pub contents: ArchiveContents,
    /// BLOBs of as old sessions that stay because they are too small for it to be worth it.
    pub small: u64,
    /// Sessions as old that stay because a baseline stands for them.
    pub baselines: u64,
}

/// An archive of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveRow {
    /// Its number in the store, from 1.
    pub(crate) seq: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its path from the root.
    pub path: PathBuf,
    /// Its path from the folder of the store; none where it lies elsewhere.
    pub relative: Option<PathBuf>,
    /// The digest of the file.
    pub digest: Digest,
    /// The size of the file.
    pub bytes: u64,
    /// What it holds.
    pub contents: ArchiveContents,
    /// Where the file is now; nothing when it is not to be found.
    pub place: Option<PathBuf>,
}

/// Fewest bytes of a BLOB that leaves. The row that says where it went and the link of that row take some 400 bytes: to
/// move what is shorter would make the store grow.
pub const SMALLEST_ARCHIVED_BYTES: u64 = 512;

/// A kind of BLOB that is raw data.
struct RawKind {
    recorded: &'static Recorded,
    /// Session, the two columns of the key, and size of every BLOB of a session that ended before a time. One that a row says
    /// left already, though it is here, cannot leave again: that is for [`Store::verify`] to tell.
    candidates: &'static str,
    read: &'static str,
    empty: &'static str,
}

static TIMELINE: RawKind = RawKind {
    recorded: &REPETITION,
    candidates: "SELECT repetition.session, repetition.session, idx, length(timeline)
        FROM repetition JOIN session_end ON session_end.session = repetition.session
        WHERE ended_at < ? AND length(timeline) > 0 AND NOT EXISTS (
            SELECT 1 FROM archived WHERE subject = 'repetition:' || repetition.session || ':' || repetition.idx
        )
        ORDER BY repetition.session, idx",
    read: "SELECT timeline FROM repetition WHERE session = ? AND idx = ?",
    empty: "UPDATE repetition SET timeline = X'' WHERE session = ? AND idx = ?",
};

static FRAME: RawKind = RawKind {
    recorded: &PIECE,
    candidates: "SELECT source.session, piece.source, idx, length(frame)
        FROM piece
        JOIN source ON source.digest = piece.source
        JOIN session_end ON session_end.session = source.session
        WHERE ended_at < ? AND length(frame) > 0 AND NOT EXISTS (
            SELECT 1 FROM archived WHERE subject = 'piece:' || piece.source || ':' || piece.idx
        )
        ORDER BY piece.source, idx",
    read: "SELECT frame FROM piece WHERE source = ? AND idx = ?",
    empty: "UPDATE piece SET frame = X'' WHERE source = ? AND idx = ?",
};

/// A BLOB that is to leave.
struct RawBlob {
    kind: &'static RawKind,
    session: String,
    owner: String,
    idx: i64,
    bytes: u64,
}

impl RawBlob {
    fn subject(&self) -> String {
        self.kind.recorded.subject_of(&[&self.owner, &self.idx])
    }
}

/// A file that was finished, and what in the store it may now stand for.
struct Finished {
    row: ArchiveRow,
    blobs: Vec<(RawBlob, BlobDigest)>,
}

impl Store {
    /// Returns how much would leave the store, and changes nothing.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or a row is damaged.
    pub fn archivable(&self, older_than: Timestamp) -> Result<Archivable, StoreError> {
        let find = || -> Result<Archivable, Failure> {
            let snapshot = self.connection().unchecked_transaction()?;
            Ok(candidates(&snapshot, older_than)?.1)
        };
        find().map_err(|failure| failure.into_store_error(self.path(), "looking for old raw data"))
    }

    /// Moves the raw data of old sessions into an archive, and returns the archive; nothing, and no file, when there is none
    /// that could leave.
    ///
    /// Only of sessions that have ended: one that was killed keeps its timelines, as it may still be running. Sessions that
    /// baselines stand for stay whole.
    ///
    /// # Errors
    ///
    /// When something is at the path or it has a name that SQLite keeps for itself, the archive cannot be written or does not
    /// read back, the path is not UTF-8, a baseline is set meanwhile, or the store cannot be written. The store is then as it
    /// was. A file that was finished stays, and no row names it.
    pub fn archive(&mut self, order: &ArchiveOrder<'_>) -> Result<Option<ArchiveRow>, StoreError> {
        let Some(mut finished) = self.finish_archive(order)? else { return Ok(None) };
        let mut seq = 0;
        self.append("moving raw data into an archive", |connection| {
            seq = move_all(connection, &finished)?;
            Ok(())
        })?;
        finished.row.seq = seq;
        Ok(Some(finished.row))
    }

    /// Returns the archives of the store, oldest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or a row is damaged.
    pub fn archives(&self) -> Result<Vec<ArchiveRow>, StoreError> {
        rows(self.connection(), self.path())
            .map_err(|failure| failure.into_store_error(self.path(), "reading the archives"))
    }

    /// Writes the file and reads it back. The store is not changed.
    fn finish_archive(&self, order: &ArchiveOrder<'_>) -> Result<Option<Finished>, StoreError> {
        if let Mode::ReadOnly { reason } = self.mode() {
            return Err(StoreError::ReadOnly { path: self.path().to_owned(), reason });
        }
        let path = path_of(order.to)?;
        refuse_reserved_name(&path, self.path())?;
        let write = || -> Result<Option<Finished>, Failure> {
            let snapshot = self.connection().unchecked_transaction()?;
            let (blobs, Archivable { contents, .. }) = candidates(&snapshot, order.older_than)?;
            if blobs.is_empty() {
                return Ok(None);
            }
            let (_, head) = last_link(&snapshot)?;
            let writer = ArchiveWriter::create(&path, &head, order.now)?;
            let written = write_all(&snapshot, writer, blobs, &path);
            let (blobs, whole) = written.inspect_err(|_| discard(&path))?;
            let BlobDigest { bytes, digest } = whole;
            let (created_at, place) = (order.now, Some(path.clone()));
            let (path, relative) = (path.clone(), lookup::relative_to(&path, self.path()));
            // Its number it gets with its row.
            let row = ArchiveRow { seq: 0, created_at, path, relative, digest, bytes, contents, place };
            Ok(Some(Finished { row, blobs }))
        };
        write().map_err(|failure| failure.into_store_error(self.path(), "writing an archive"))
    }
}

/// Returns a path from the root. It is recorded as text.
fn path_of(to: &Path) -> Result<PathBuf, StoreError> {
    let refuse = |reason: String| StoreError::NotRepresentable {
        what: format!("the path `{}` of an archive", to.display()),
        reason,
    };
    let path = std::path::absolute(to).map_err(|error| refuse(error.to_string()))?;
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(refuse("it is not UTF-8".to_owned())),
    }
}

/// Refuses the names of SQLite's own files beside the store, in every folder: an archive may be put beside the store later.
fn refuse_reserved_name(path: &Path, store: &Path) -> Result<(), StoreError> {
    // SQLite names its files after the file that a link leads to.
    let behind_links = std::fs::canonicalize(store).unwrap_or_else(|_| store.to_owned());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for store in [store, behind_links.as_path()] {
        let store = store.file_name().unwrap_or_default().to_string_lossy();
        if name.strip_prefix(&*store).is_some_and(|rest| rest.starts_with('-')) {
            let (path, store) = (path.to_owned(), store.into_owned());
            return Err(StoreError::ArchiveNameReserved { path, store });
        }
    }
    Ok(())
}

/// Returns the BLOBs that may leave, and how much they are.
fn candidates(connection: &Connection, older_than: Timestamp) -> Result<(Vec<RawBlob>, Archivable), Failure> {
    let older_than = nanos_of("the age of raw data", older_than)?;
    let named: BTreeSet<String> =
        held(connection)?.into_iter().map(|baseline| baseline.session.to_string()).collect();
    let (mut leaving, mut sessions, mut kept) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut found = Archivable::default();
    for kind in [&TIMELINE, &FRAME] {
        for blob in old_blobs(connection, kind, older_than)? {
            if named.contains(&blob.session) {
                kept.insert(blob.session);
            } else if blob.bytes < SMALLEST_ARCHIVED_BYTES {
                found.small += 1;
            } else {
                found.contents.blob_bytes += blob.bytes;
                sessions.insert(blob.session.clone());
                leaving.push(blob);
            }
        }
    }
    let n_pieces = leaving.iter().filter(|blob| blob.kind.recorded.table == PIECE.table).count();
    found.contents.sessions = sessions.len() as u64;
    found.contents.pieces = n_pieces as u64;
    found.contents.timelines = (leaving.len() - n_pieces) as u64;
    found.baselines = kept.len() as u64;
    Ok((leaving, found))
}

fn old_blobs(
    connection: &Connection,
    kind: &'static RawKind,
    older_than: i64,
) -> Result<Vec<RawBlob>, Failure> {
    let mut statement = connection.prepare(kind.candidates)?;
    let blobs = statement.query_map([older_than], |row| {
        let bytes = row.get::<_, i64>(3)?.unsigned_abs();
        Ok(RawBlob { kind, session: row.get(0)?, owner: row.get(1)?, idx: row.get(2)?, bytes })
    })?;
    Ok(blobs.collect::<rusqlite::Result<_>>()?)
}

type Written = (Vec<(RawBlob, BlobDigest)>, BlobDigest);

/// Writes every BLOB, finishes the file, and reads every BLOB back.
fn write_all(
    connection: &Connection,
    writer: ArchiveWriter,
    blobs: Vec<RawBlob>,
    path: &Path,
) -> Result<Written, Failure> {
    let mut written = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let content: Vec<u8> = connection
            .prepare_cached(blob.kind.read)?
            .query_row((&blob.owner, blob.idx), |row| row.get(0))?;
        let known = writer.put(&blob.subject(), &content)?;
        written.push((blob, known));
    }
    let whole = writer.finish()?;
    let file = ArchiveFile::open(path)?;
    for (blob, known) in &written {
        file.blob(&blob.subject(), known)?;
    }
    Ok((written, whole))
}

/// Refuses to move raw data of a session that a baseline was set to while the file was written.
fn refuse_baselines(connection: &Connection, finished: &Finished) -> Result<(), Failure> {
    let leaving: BTreeSet<&str> = finished.blobs.iter().map(|(blob, _)| blob.session.as_str()).collect();
    let named = held(connection)?
        .into_iter()
        .find(|baseline| leaving.contains(baseline.session.to_string().as_str()));
    match named {
        None => Ok(()),
        Some(Baseline { name, session, .. }) => Err(StoreError::BaselineMeanwhile { name, session }.into()),
    }
}

/// Records the archive, says of every BLOB where it went, empties it, and returns the archive's number.
fn move_all(connection: &Connection, finished: &Finished) -> Result<i64, Failure> {
    refuse_baselines(connection, finished)?;
    let archive = insert_archive(connection, &finished.row)?;
    for (blob, known) in &finished.blobs {
        let subject = blob.subject();
        // Another process may have moved it meanwhile.
        refuse_recorded(connection, &ARCHIVED, &[(&subject, &subject)])?;
        connection
            .prepare_cached("INSERT INTO archived (subject, archive, digest, bytes) VALUES (?, ?, ?, ?)")?
            .execute((&subject, archive, known.digest.to_string(), stored(known.bytes)))?;
        ARCHIVED.link(connection, &[&subject])?;
        connection.prepare_cached(blob.kind.empty)?.execute((&blob.owner, blob.idx))?;
    }
    Ok(archive)
}

fn insert_archive(connection: &Connection, row: &ArchiveRow) -> Result<i64, Failure> {
    let seq: i64 =
        connection.query_row("SELECT coalesce(max(seq), 0) + 1 FROM archive", [], |row| row.get(0))?;
    let subject = ARCHIVE.subject_of(&[&seq]);
    let created_at = nanos_of(&subject, row.created_at)?;
    let body = encode(&subject, &row.contents)?;
    let path = row.path.to_str().expect("the path was checked when it was given");
    let relative = row.relative.as_deref().and_then(Path::to_str);
    connection.execute(
        "INSERT INTO archive (seq, created_at, path, relative, digest, bytes, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (seq, created_at, path, relative, row.digest.to_string(), stored(row.bytes), body),
    )?;
    ARCHIVE.link(connection, &[&seq])?;
    Ok(seq)
}

/// Returns the archives of a store, oldest first.
pub(crate) fn rows(connection: &Connection, store: &Path) -> Result<Vec<ArchiveRow>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, created_at, path, relative, digest, bytes, body FROM archive ORDER BY seq",
    )?;
    let rows = statement.query_and_then([], |row| archive_row(row, store))?;
    rows.collect()
}

fn archive_row(row: &Row<'_>, store: &Path) -> Result<ArchiveRow, Failure> {
    let (seq, path, body): (i64, String, String) = (row.get(0)?, row.get(2)?, row.get(6)?);
    let (path, relative) = (PathBuf::from(path), row.get::<_, Option<String>>(3)?.map(PathBuf::from));
    let bytes = row.get::<_, i64>(5)?.unsigned_abs();
    Ok(ArchiveRow {
        seq,
        created_at: time_of(row.get(1)?),
        digest: digest_at(row, 4)?,
        bytes,
        contents: decode(&ARCHIVE.subject_of(&[&seq]), &body)?,
        place: lookup::place_of(&lookup::places_of(&path, relative.as_deref(), store), bytes),
        path,
        relative,
    })
}
