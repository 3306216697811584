//! Why the store could not do what it was asked.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use lab_core::digest::Digest;
use lab_core::record::SessionId;
use rusqlite::ErrorCode;

use crate::baseline::{BaselineName, offer};
use crate::open::ReadOnlyReason;
use crate::room;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing lies at the path.
    #[error("there is no store at `{}`", path.display())]
    Missing {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path is a folder.
    #[error("`{}` is a folder, not a store file", path.display())]
    Folder {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path is a device, a socket or a pipe.
    #[error("`{}` is no regular file, so it cannot be a store", path.display())]
    NoRegularFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// The system does not let lab open or create the file.
    #[error("the store `{}` cannot be opened: {message}", path.display())]
    Unreadable {
        /// The path asked for.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The file is empty and was not to be created.
    #[error("`{}` is an empty file, not a store", path.display())]
    Empty {
        /// The path asked for.
        path: PathBuf,
    },
    /// The file is not SQLite's.
    #[error("`{}` is not a store: it is no SQLite file (it begins with {beginning})", path.display())]
    NotSqlite {
        /// The path asked for.
        path: PathBuf,
        /// Its first bytes, as text with escapes.
        beginning: String,
    },
    /// The file is another program's SQLite database.
    #[error(
        "`{}` is an SQLite database of another program (application id {found:#010x}, expected {:#010x})",
        path.display(),
        crate::migrate::APPLICATION_ID
    )]
    Foreign {
        /// The path asked for.
        path: PathBuf,
        /// The application id it carries.
        found: i32,
    },
    /// The file was a store or another database and is cut short or overwritten.
    #[error("the store `{}` is damaged: {message}", path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What SQLite, or the file's length, says.
        message: String,
    },
    /// A row does not hold what lab writes into such rows.
    #[error("the stored row `{subject}` cannot be read: {message}")]
    DamagedRow {
        /// The row, as the chain names it.
        subject: String,
        /// What is wrong with it.
        message: String,
    },
    /// The schema is older than this lab, and the store may not be written to.
    #[error(
        "the store `{}` has schema {found}, this lab needs {known}: open it once for writing to bring it up to date",
        path.display()
    )]
    Older {
        /// The store.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The schema of this lab.
        known: i64,
    },
    /// The schema is newer than this lab, which therefore cannot verify it.
    #[error("the store `{}` {}", path.display(), ReadOnlyReason::Newer { found: *found, known: *known })]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema this lab knows.
        known: i64,
    },
    /// An append to a store that may only be read.
    #[error("nothing can be recorded into the store `{}`: it {reason}", path.display())]
    ReadOnly {
        /// The store.
        path: PathBuf,
        /// Why it may only be read.
        reason: ReadOnlyReason,
    },
    /// Another process held the store for too long.
    #[error("the store `{}` is in use by another process and did not become free within {seconds} s", path.display())]
    Busy {
        /// The store.
        path: PathBuf,
        /// How long lab waited, in seconds.
        seconds: u64,
    },
    /// There is no room left.
    #[error("the disk is full: nothing more can be recorded into the store `{}`", path.display())]
    DiskFull {
        /// The store.
        path: PathBuf,
    },
    /// The device failed.
    #[error("the device under the store `{}` failed: {message}", path.display())]
    Device {
        /// The store.
        path: PathBuf,
        /// What SQLite says.
        message: String,
    },
    /// A session that the store does not hold.
    #[error("the store holds no session {session}")]
    UnknownSession {
        /// The session asked for.
        session: SessionId,
    },
    /// A name that no baseline has.
    #[error("no baseline is called `{name}`; {}", offer(nearest.as_ref(), known))]
    UnknownBaseline {
        /// The name asked for.
        name: String,
        /// The name that looks most like it, if one does.
        nearest: Option<BaselineName>,
        /// Every name that holds.
        known: Vec<BaselineName>,
    },
    /// A repetition of a launch that was not recorded.
    #[error("session {session} has no launch {launch}, so no repetition of it can be recorded")]
    UnknownLaunch {
        /// The session.
        session: SessionId,
        /// The launch that the repetition names.
        launch: u32,
    },
    /// An append to a session that has ended.
    #[error("session {session} has ended and takes no more rows (invariant I4)")]
    Ended {
        /// The session.
        session: SessionId,
    },
    /// The row is there already.
    #[error("`{subject}` is already recorded, and recorded rows are never replaced (invariant I4)")]
    AlreadyRecorded {
        /// The row, as the chain names it.
        subject: String,
    },
    /// A value that would not read back as it was given.
    #[error("{what} cannot be recorded exactly: {reason}")]
    NotRepresentable {
        /// Which value, with its session or metric.
        what: String,
        /// What would be lost.
        reason: String,
    },
    /// Measurements of a repetition that counts for nothing.
    #[error("repetition {repetition} is {what} and carries no measurements, {n} were given")]
    UnexpectedMeasurements {
        /// Position of the repetition in its session.
        repetition: u32,
        /// Why it carries none.
        what: &'static str,
        /// How many were given.
        n: usize,
    },
    /// A file cannot be read to its end while it is imported.
    #[error("`{path}` cannot be read: {message}; nothing of it was imported")]
    SourceUnreadable {
        /// The file.
        path: String,
        /// What the system said.
        message: String,
    },
    /// A file is another than it was a moment ago.
    #[error("`{path}` changed while it was read; nothing of it was imported")]
    SourceChanged {
        /// The file.
        path: String,
    },
    /// A file that the store does not hold.
    #[error("the store holds no imported file {digest}")]
    UnknownSource {
        /// Its digest.
        digest: Digest,
    },
    /// The stored bytes of a file are not what its digest says.
    #[error("the stored bytes of the imported file {digest} are damaged: {message}")]
    SourceDamaged {
        /// Its digest.
        digest: Digest,
        /// What is wrong.
        message: String,
    },
    /// Something lies where an archive was to be made.
    #[error("`{}` is there already, and an archive is never written over a file", path.display())]
    ArchiveExists {
        /// The path asked for, from the root.
        path: PathBuf,
    },
    /// An archive would have the name of a file that SQLite keeps beside the store.
    #[error(
        "`{}` cannot be an archive: SQLite keeps files of its own under names that begin with `{store}-`, such as \
         `{store}-wal`, and deletes them",
        path.display()
    )]
    ArchiveNameReserved {
        /// The path asked for, from the root.
        path: PathBuf,
        /// The file name of the store.
        store: String,
    },
    /// A session became one that others are compared with while its raw data were written into an archive.
    #[error(
        "the baseline `{name}` was set to session {session} while its raw data were archived; nothing was moved"
    )]
    BaselineMeanwhile {
        /// The baseline.
        name: BaselineName,
        /// The session.
        session: SessionId,
    },
    /// The system does not let lab make or write an archive.
    #[error("the archive `{}` cannot be written: {message}; the store is as it was", path.display())]
    ArchiveUnwritable {
        /// Its path.
        path: PathBuf,
        /// What the system or SQLite said.
        message: String,
    },
    /// There is no room for an archive.
    #[error("the disk is full: the archive `{}` was not finished, and the store is as it was", path.display())]
    ArchiveDiskFull {
        /// Its path.
        path: PathBuf,
    },
    /// Raw data lie in an archive that is not there.
    #[error("its raw data lie in the archive `{}`, which is not there{}", path.display(), nor(others))]
    ArchiveMissing {
        /// Where it was written.
        path: PathBuf,
        /// Where else it was looked for: below the folder of the store, and beside it.
        others: Vec<PathBuf>,
    },
    /// A file that should be an archive is none, or does not hold what left the store.
    #[error("the archive `{}` cannot be read: {message}", path.display())]
    ArchiveUnreadable {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// An end that says the session has not ended.
    #[error("session {session} cannot end as `unfinished`: that is the status of a session without an end")]
    EndUnfinished {
        /// The session.
        session: SessionId,
    },
    /// A trigger or a constraint of the schema refused the row.
    #[error("the store `{}` refused to go on {doing}: {message}", path.display())]
    Refused {
        /// The store.
        path: PathBuf,
        /// What lab was doing, such as `recording a launch`.
        doing: &'static str,
        /// The constraint or the trigger's sentence.
        message: String,
    },
    /// Anything else SQLite says.
    #[error("{doing} failed in the store `{}`", path.display())]
    Sqlite {
        /// The store.
        path: PathBuf,
        /// What lab was doing, such as `recording a launch`.
        doing: &'static str,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// How long lab waits for another process where it opens a store, reads it, or gives room back, in seconds. Readers wait for
/// no writer, and whoever types a command is told soon.
pub(crate) const BUSY_SECONDS: u64 = 10;

/// How long an append waits for its turn, in seconds. The append of a run takes milliseconds, but others hold the write lock for
/// as long as they write: the import of large files, raw data that move into an archive, and the file that is written anew
/// behind them, minutes each for gigabytes on a slow disk. A run that gave up before would lose what it measured.
pub(crate) const APPEND_BUSY_SECONDS: u64 = 600;

impl StoreError {
    /// Sorts an SQLite error into the situations that deserve their own sentence.
    pub(crate) fn from_sqlite(path: &Path, doing: &'static str, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let message = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Busy { path, seconds: BUSY_SECONDS }
            }
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            Some(ErrorCode::SystemIoFailure) if room::is_full(&path) => Self::DiskFull { path },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path, reason: ReadOnlyReason::WriteProtected },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                let message = denial_of(&path).unwrap_or(message);
                Self::Unreadable { path, message }
            }
            Some(ErrorCode::NotADatabase) => {
                Self::not_sqlite(&path).unwrap_or(Self::Damaged { path, message })
            }
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, message },
            Some(ErrorCode::SystemIoFailure) => Self::Device { path, message },
            Some(ErrorCode::ConstraintViolation) => Self::Refused { path, doing, message },
            _ => Self::Sqlite { path, doing, source: error },
        }
    }

    /// Says for how long was really waited, where another process held the store.
    pub(crate) fn after_waiting(self, seconds: u64) -> Self {
        match self {
            Self::Busy { path, .. } => Self::Busy { path, seconds },
            other => other,
        }
    }

    /// Returns the error for a file that does not begin as SQLite files do, and nothing for one that does.
    ///
    /// Only for files that SQLite has refused: closing a descriptor drops every POSIX lock this process holds on the
    /// file, which must not happen under an open store.
    pub(crate) fn not_sqlite(path: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(SQLITE_MAGIC.len() as u64).read_to_end(&mut bytes));
        match read {
            Err(error) => Some(Self::Unreadable { path: path.to_owned(), message: error.to_string() }),
            Ok(_) if SQLITE_MAGIC.starts_with(&bytes) => None,
            Ok(_) => Some(Self::NotSqlite {
                path: path.to_owned(),
                beginning: format!("`{}`", bytes.escape_ascii()),
            }),
        }
    }
}

/// Says where else an archive is not.
fn nor(others: &[PathBuf]) -> String {
    others.iter().map(|place| format!(", nor at `{}`", place.display())).collect()
}

/// Returns the system's words when it denies access to a file; SQLite only says that it could not open it.
fn denial_of(path: &Path) -> Option<String> {
    let error = File::open(path).err()?;
    (error.kind() == std::io::ErrorKind::PermissionDenied).then(|| error.to_string())
}

/// What can end an append or a reading half-way: SQLite, or a refusal of ours.
#[derive(Debug)]
pub(crate) enum Failure {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl Failure {
    pub(crate) fn into_store_error(self, path: &Path, doing: &'static str) -> StoreError {
        match self {
            Self::Sqlite(error) => StoreError::from_sqlite(path, doing, error),
            Self::Store(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How every SQLite file begins (file format, section 1.3.1).
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn the_situations_a_user_can_mend_have_their_own_sentences() {
        let cases = [
            (
                ffi::SQLITE_BUSY,
                "the store `x` is in use by another process and did not become free within 10 s",
            ),
            (
                ffi::SQLITE_LOCKED,
                "the store `x` is in use by another process and did not become free within 10 s",
            ),
            (ffi::SQLITE_FULL, "the disk is full: nothing more can be recorded into the store `x`"),
            (ffi::SQLITE_READONLY, "nothing can be recorded into the store `x`: it is write-protected"),
            (ffi::SQLITE_CANTOPEN, "the store `x` cannot be opened: unable to open database file"),
            (ffi::SQLITE_CORRUPT, "the store `x` is damaged: database disk image is malformed"),
            (ffi::SQLITE_IOERR_FSYNC, "the device under the store `x` failed: disk I/O error"),
            (ffi::SQLITE_NOMEM, "recording failed in the store `x`"),
        ];
        for (code, sentence) in cases {
            let message = ffi::code_to_str(code).to_owned();
            let failure = rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message));
            let error = StoreError::from_sqlite(Path::new("x"), "recording", failure);
            assert!(error.to_string().starts_with(sentence), "{error}");
        }
    }

    #[test]
    fn an_append_that_waited_says_for_how_long() {
        let busy = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None);
        let error = StoreError::from_sqlite(Path::new("x"), "recording", busy).after_waiting(600);
        assert!(error.to_string().ends_with("did not become free within 600 s"), "{error}");
        let full = StoreError::DiskFull { path: "x".into() }.after_waiting(600);
        assert!(matches!(full, StoreError::DiskFull { .. }), "{full}");
    }
}
