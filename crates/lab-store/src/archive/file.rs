//! The archive file.
//!
//! It is SQLite too, so that it is read in ten years without lab: `PRAGMA application_id` is `labA`, `user_version` 1, and
//! there are two tables. `origin` is one row about where it came from. `blob` is one row a BLOB: its row in the store as the
//! chain names it, SHA-256 and size of the BLOB as it lay there, and its content, as a Zstandard frame where that is shorter.
//! A piece of an imported file is such a frame already and is kept as it is.
//!
//! A file is written once, whole, and never again: there is no journal, and one that was not finished is thrown away.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lab_core::digest::Digest;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};
use sha2::{Digest as _, Sha256};

use crate::body::nanos_of;
use crate::chain::BlobDigest;
use crate::error::StoreError;
use crate::room;

/// The `PRAGMA application_id` of every archive: `labA` in ASCII.
pub const ARCHIVE_APPLICATION_ID: i32 = i32::from_be_bytes(*b"labA");
/// The `PRAGMA user_version` of the archives that this lab writes.
const VERSION: i64 = 1;
/// Above the default: an archive is written once, and kept for long. What follows it gains little on BLOBs this small.
const LEVEL: i32 = 9;
/// Bytes of a file that are digested at a time.
const BUFFER_BYTES: usize = 1 << 20;

const SCHEMA: &str = "
CREATE TABLE origin (
    store_head TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL,
    lab_version TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE blob (
    subject TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    bytes INTEGER NOT NULL CHECK (bytes > 0),
    compression TEXT NOT NULL CHECK (compression IN ('zstd', 'none')),
    content BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// An archive that is being written. The file is there, and is thrown away unless it is finished.
#[derive(Debug)]
pub(super) struct ArchiveWriter {
    connection: Connection,
    path: PathBuf,
}

impl ArchiveWriter {
    /// Makes the file, and refuses a path where something is.
    pub(super) fn create(path: &Path, head: &Digest, created_at: Timestamp) -> Result<Self, StoreError> {
        reserve(path)?;
        let connection = begin(path, head, created_at).inspect_err(|_| discard(path))?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Takes a BLOB in.
    pub(super) fn put(&self, subject: &str, blob: &[u8]) -> Result<BlobDigest, StoreError> {
        let known = BlobDigest::of(blob);
        let frame =
            zstd::bulk::compress(blob, LEVEL).map_err(|error| refused_by_system(&self.path, &error))?;
        let (compression, content) =
            if frame.len() < blob.len() { ("zstd", frame.as_slice()) } else { ("none", blob) };
        let insert = || -> rusqlite::Result<usize> {
            self.connection
                .prepare_cached(
                    "INSERT INTO blob (subject, digest, bytes, compression, content) VALUES (?, ?, ?, ?, ?)",
                )?
                .execute((subject, known.digest.to_string(), stored(known.bytes), compression, content))
        };
        insert().map_err(|error| refused(&self.path, &error))?;
        Ok(known)
    }

    /// Finishes the file: when this returns, it is on the disk under its name.
    pub(super) fn finish(self) -> Result<BlobDigest, StoreError> {
        let Self { connection, path } = self;
        let commit = connection.execute_batch("COMMIT");
        commit
            .and_then(|()| connection.close().map_err(|(_, error)| error))
            .map_err(|error| refused(&path, &error))?;
        let sync = || -> io::Result<BlobDigest> {
            File::open(&path)?.sync_all()?;
            if let Some(folder) = path.parent() {
                // The name of a new file lies in its folder, which is synchronised on its own (fsync(2)).
                File::open(folder)?.sync_all()?;
            }
            digest_of_file(&path)
        };
        sync().map_err(|error| refused_by_system(&path, &error))
    }
}

/// Throws away a file that was not finished. One that cannot be removed is a stray file and nothing more: no row names it.
pub(super) fn discard(path: &Path) {
    drop(std::fs::remove_file(path));
}

fn reserve(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(StoreError::ArchiveExists { path: path.to_owned() })
        }
        Err(error) => Err(refused_by_system(path, &error)),
    }
}

fn begin(path: &Path, head: &Digest, created_at: Timestamp) -> Result<Connection, StoreError> {
    let created_at = nanos_of("the time of an archive", created_at)?;
    let open = || -> rusqlite::Result<Connection> {
        let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, access)?;
        connection.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
        connection.pragma_update(None, "application_id", ARCHIVE_APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        connection.execute_batch("BEGIN")?;
        connection.execute_batch(SCHEMA)?;
        connection.execute(
            "INSERT INTO origin (store_head, created_at, lab_version) VALUES (?, ?, ?)",
            (head.to_string(), created_at, env!("CARGO_PKG_VERSION")),
        )?;
        Ok(connection)
    };
    open().map_err(|error| refused(path, &error))
}

/// An archive that is there.
#[derive(Debug)]
pub(super) struct ArchiveFile {
    connection: Connection,
    path: PathBuf,
}

impl ArchiveFile {
    /// Opens a file and refuses one that is no archive.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let open = || -> rusqlite::Result<(Connection, i32, i64)> {
            let access = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, access)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "cell_size_check", true)?;
            let id = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, id, version))
        };
        let (connection, id, version) = open().map_err(|error| unreadable(path, error.to_string()))?;
        if id != ARCHIVE_APPLICATION_ID {
            let message = format!("application id {id:#010x}, expected {ARCHIVE_APPLICATION_ID:#010x}");
            return Err(unreadable(path, format!("it is another program's database ({message})")));
        }
        if version > VERSION {
            let message = format!("a newer lab wrote it (version {version}, this one knows {VERSION})");
            return Err(unreadable(path, message));
        }
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Returns a BLOB and refuses one that is not what left the store.
    pub(super) fn blob(&self, subject: &str, known: &BlobDigest) -> Result<Vec<u8>, StoreError> {
        let wrong = |message: &str| unreadable(&self.path, format!("`{subject}`: {message}"));
        let find = || -> rusqlite::Result<Option<(String, Vec<u8>)>> {
            self.connection
                .prepare_cached("SELECT compression, content FROM blob WHERE subject = ?")?
                .query_row([subject], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        };
        let found = find().map_err(|error| wrong(&error.to_string()))?;
        let (compression, content) = found.ok_or_else(|| wrong("it is not in there"))?;
        let blob = match compression.as_str() {
            "none" => content,
            _ => decompress(&content, known.bytes).map_err(|error| wrong(&error.to_string()))?,
        };
        match BlobDigest::of(&blob) == *known {
            true => Ok(blob),
            false => Err(wrong("it is not what left the store")),
        }
    }
}

/// Decompresses what is known to have so many bytes: what has more is not read to its end.
fn decompress(frame: &[u8], bytes: u64) -> io::Result<Vec<u8>> {
    let mut blob = Vec::new();
    zstd::stream::read::Decoder::new(frame)?.take(bytes.saturating_add(1)).read_to_end(&mut blob)?;
    Ok(blob)
}

/// Returns the size and the digest of a whole file.
pub(super) fn digest_of_file(path: &Path) -> io::Result<BlobDigest> {
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer, mut bytes) = (Sha256::new(), vec![0; BUFFER_BYTES], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
    Ok(BlobDigest { bytes, digest: Digest::from_bytes(hasher.finalize().into()) })
}

/// Returns a size as SQLite stores it.
pub(super) fn stored(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("nothing has 2^63 bytes")
}

fn unreadable(path: &Path, message: String) -> StoreError {
    StoreError::ArchiveUnreadable { path: path.to_owned(), message }
}

fn refused(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::ArchiveDiskFull { path },
        Some(ErrorCode::SystemIoFailure) if room::is_full(&path) => StoreError::ArchiveDiskFull { path },
        _ => StoreError::ArchiveUnwritable { path, message: error.to_string() },
    }
}

fn refused_by_system(path: &Path, error: &io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::ArchiveDiskFull { path },
        _ => StoreError::ArchiveUnwritable { path, message: error.to_string() },
    }
}
