//! Opens stores, creates them, and refuses what is none.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::error::{APPEND_BUSY_SECONDS, BUSY_SECONDS, StoreError};
use crate::migrate::{APPLICATION_ID, apply_missing, known_schema, schema_of};

/// An open store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    mode: Mode,
    patience: Patience,
}

/// How long an append waits for another process that holds the store, and who is told.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Waits shorter than this are nobody's business.
    silent: Duration,
    /// After this it fails, in seconds.
    most_seconds: u64,
    /// Called once in each wait that is longer than the silent part.
    tell: fn(&Waiting<'_>),
}

impl Patience {
    const USUAL: Self =
        Self { silent: Duration::from_secs(2), most_seconds: APPEND_BUSY_SECONDS, tell: |_| {} };
}

/// An append that waits for another process. Displays as a sentence for people.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    path: &'a Path,
    most_seconds: u64,
}

impl fmt::Display for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, most_seconds } = self;
        write!(
            f,
            "the store `{}` is in use by another process: waiting for it, up to {most_seconds} s",
            path.display()
        )
    }
}

/// Whether a store can be appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It can.
    ReadWrite,
    /// It cannot.
    ReadOnly {
        /// Why, and what would help.
        reason: ReadOnlyReason,
    },
}

/// Why a store may only be read. Displays as the end of a sentence that begins with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnlyReason {
    /// The caller asked for it.
    Asked,
    /// The file system does not let lab write to it.
    WriteProtected,
    /// A newer lab made it.
    Newer {
        /// Its schema.
        found: i64,
        /// The newest schema this lab knows.
        known: i64,
    },
}

impl fmt::Display for ReadOnlyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("was opened for reading"),
            Self::WriteProtected => f.write_str("is write-protected; copy it to a place that can be written"),
            Self::Newer { found, known } => write!(
                f,
                "was written by a newer lab (schema {found}, this one knows {known}); use that lab, or record into \
                 another store"
            ),
        }
    }
}

impl Store {
    /// Opens a store for reading and appending; creates it, and the folder it lies in, when nothing is there.
    ///
    /// A store that is write-protected or was written by a newer lab opens all the same, for reading: see
    /// [`Store::mode`].
    ///
    /// # Errors
    ///
    /// When the path is something else than a store or an empty file, or the system refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| unreadable(path, &error))?;
        }
        Self::open_for_writing(path)
    }

    /// Opens a store for reading and appending, and creates nothing.
    ///
    /// # Errors
    ///
    /// As [`Store::open`], and when nothing is at the path or the file is empty.
    pub fn open_existing(path: &Path) -> Result<Self, StoreError> {
        refuse_absence(path)?;
        Self::open_for_writing(path)
    }

    /// Opens a store for reading.
    ///
    /// # Errors
    ///
    /// As [`Store::open_existing`], and when the schema is older than this lab's.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        refuse_absence(path)?;
        Self::open_for_reading(path, ReadOnlyReason::Asked)
    }

    /// Returns whether the store can be appended to.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the path the store was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets a function be called when an append has waited two seconds for another process that holds the store.
    pub fn tell_of_waiting(&mut self, tell: fn(&Waiting<'_>)) {
        self.patience.tell = tell;
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Words an SQLite error as one of this store.
    pub(crate) fn explain(&self, doing: &'static str, error: rusqlite::Error) -> StoreError {
        StoreError::from_sqlite(&self.path, doing, error)
    }

    /// Begins the transaction of an append: the write lock is taken at once, so that what is checked inside holds until
    /// the commit. Another process may hold it for minutes, and is waited for.
    pub(crate) fn begin_append(&mut self, doing: &'static str) -> Result<Transaction<'_>, StoreError> {
        if let Mode::ReadOnly { reason } = self.mode {
            return Err(StoreError::ReadOnly { path: self.path.clone(), reason });
        }
        let (connection, path, patience) = (&self.connection, &self.path, self.patience);
        let Patience { silent, most_seconds, tell } = patience;
        let explain = |error| StoreError::from_sqlite(path, doing, error).after_waiting(most_seconds);
        let begun = begin_within(connection, silent);
        let is_busy = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        let begun = match begun {
            Err(error) if is_busy(&error) => {
                tell(&Waiting { path, most_seconds });
                begin_within(connection, Duration::from_secs(most_seconds).saturating_sub(silent))
            }
            other => other,
        };
        connection.busy_timeout(Duration::from_secs(BUSY_SECONDS)).map_err(explain)?;
        begun.map_err(explain)
    }

    fn open_for_writing(path: &Path) -> Result<Self, StoreError> {
        refuse_other_kinds(path)?;
        let explain = |error| StoreError::from_sqlite(path, OPENING, error);
        let writable = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = match connect(path, writable) {
            Ok(connection) if !connection.is_readonly("main").map_err(explain)? => connection,
            Err(error) if !path.exists() || !is_about_access(&error) => return Err(explain(error)),
            _ => return Self::open_for_reading(path, ReadOnlyReason::WriteProtected),
        };
        let (found, known) = (probe(&connection, path)?, known_schema());
        if found > known {
            drop(connection);
            return Self::open_for_reading(path, ReadOnlyReason::Newer { found, known });
        }
        if found < known {
            migrate(&mut connection, path)?;
        }
        enter_wal(&connection).map_err(explain)?;
        Ok(Self::of(connection, path, Mode::ReadWrite))
    }

    fn open_for_reading(path: &Path, reason: ReadOnlyReason) -> Result<Self, StoreError> {
        refuse_other_kinds(path)?;
        let explain = |error| StoreError::from_sqlite(path, OPENING, error);
        let connection = connect_for_reading(path).map_err(explain)?;
        let (found, known) = (probe(&connection, path)?, known_schema());
        if found < known {
            return Err(StoreError::Older { path: path.to_owned(), found, known });
        }
        let reason = if found > known { ReadOnlyReason::Newer { found, known } } else { reason };
        Ok(Self::of(connection, path, Mode::ReadOnly { reason }))
    }

    fn of(connection: Connection, path: &Path, mode: Mode) -> Self {
        Self { connection, path: path.to_owned(), mode, patience: Patience::USUAL }
    }

    /// Opens a store whose appends wait for so many seconds, half a second of it in silence: nobody waits ten minutes for a test.
    #[cfg(test)]
    pub(crate) fn open_impatient(path: &Path, most_seconds: u64) -> Result<Self, StoreError> {
        let patience = Patience { silent: Duration::from_millis(500), most_seconds, ..Patience::USUAL };
        Ok(Self { patience, ..Self::open(path)? })
    }
}

/// Takes the write lock, waiting for it no longer than told.
fn begin_within(connection: &Connection, most: Duration) -> rusqlite::Result<Transaction<'_>> {
    connection.busy_timeout(most)?;
    // Unchecked, because the time-out is set back while the transaction lives; `&mut Store` lets none be nested.
    Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
}

const OPENING: &str = "opening";

fn unreadable(path: &Path, error: &std::io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::DiskFull { path },
        _ => StoreError::Unreadable { path, message: error.to_string() },
    }
}

fn refuse_absence(path: &Path) -> Result<(), StoreError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() == 0 && !log_of(path).exists() => {
            Err(StoreError::Empty { path: path.to_owned() })
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(StoreError::Missing { path: path.to_owned() })
        }
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// SQLite's smallest page, and so its smallest file, in bytes (file format, section 1.3.2).
const SMALLEST_PAGE: u64 = 512;

/// Refuses what the length and the kind of the file tell. Looks without opening: closing a descriptor of our own would
/// drop the locks that another store in this process holds on the same file.
fn refuse_other_kinds(path: &Path) -> Result<(), StoreError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let path = path.to_owned();
    match metadata.len() {
        _ if metadata.is_dir() => Err(StoreError::Folder { path }),
        _ if !metadata.is_file() => Err(StoreError::NoRegularFile { path }),
        length if (1..SMALLEST_PAGE).contains(&length) => Err(too_short(path, length)),
        _ => Ok(()),
    }
}

fn too_short(path: PathBuf, length: u64) -> StoreError {
    // SQLite has never opened it successfully at this length, so reading its first bytes disturbs nobody's locks.
    match StoreError::not_sqlite(&path) {
        Some(error) => error,
        None => StoreError::Damaged { path, message: format!("it is cut off after {length} bytes") },
    }
}

/// Refuses another program's database and returns the schema. One transaction, so that a store which another process
/// is just creating is seen before or after that, never half-way.
fn probe(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let explain = |error| StoreError::from_sqlite(path, OPENING, error);
    let snapshot = connection.unchecked_transaction().map_err(explain)?;
    refuse_foreign(&snapshot, path)?;
    schema_of(&snapshot).map_err(explain)
}

/// Refuses a database that carries another program's id, or none and somebody's tables.
fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let explain = |error| StoreError::from_sqlite(path, OPENING, error);
    let found: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(explain)?;
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(explain)?;
    let fresh = found == 0 && objects == 0 && schema_of(connection).map_err(explain)? == 0;
    if found == APPLICATION_ID || fresh {
        return Ok(());
    }
    Err(StoreError::Foreign { path: path.to_owned(), found })
}

/// Brings the schema up to date in one transaction. Of two processes that try, the second finds it done.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    const MIGRATING: &str = "bringing the schema up to date";
    let explain = |error| StoreError::from_sqlite(path, MIGRATING, error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)?;
    refuse_foreign(&transaction, path)?;
    apply_missing(&transaction).map_err(explain)?;
    transaction.commit().map_err(explain)
}

/// Opens a connection and sets what holds for every one of ours.
fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // Absolute, so that SQLite takes no file name such as `:memory:` for one of its own words.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    configure(Connection::open_with_flags(absolute, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

/// Statements kept prepared: an import goes through nearly as many as rusqlite keeps of itself, for every file.
const STATEMENTS: usize = 32;

fn configure(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(Duration::from_secs(BUSY_SECONDS))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Neither functions named in the file's schema nor damaged cells may do more than raise an error.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Opens a connection that cannot write.
///
/// SQLite shares an index of the write-ahead log in a file beside the database, and so cannot open one in a folder it
/// may not write to. Where no log is left to be read, the file alone is the whole store: then it is opened as immutable,
/// and what somebody with more rights records meanwhile is not waited for.
fn connect_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    match connection.and_then(|connection| schema_of(&connection).map(|_| connection)) {
        Err(error) if is_about_access(&error) && !log_of(path).exists() => {
            connect_immutable(path).map_err(|_| error)
        }
        other => other,
    }
}

fn is_about_access(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly))
}

fn connect_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let uri = immutable_uri(&absolute);
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    configure(Connection::open_with_flags(uri, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

/// Returns the `file:` URI of a path (SQLite, "Uniform Resource Identifiers"), every byte but the plainest escaped.
fn immutable_uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let escape = |byte: &u8| match byte {
        b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(*byte).to_string(),
        other => format!("%{other:02x}"),
    };
    let escaped: String = path.as_os_str().as_bytes().iter().map(escape).collect();
    format!("file:{escaped}?immutable=1")
}

/// Returns where SQLite keeps a database's write-ahead log.
fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// Switches to the write-ahead log, for good: the mode is a property of the file.
///
/// Two processes that switch a new file at once can meet in a lock that SQLite does not wait for; the loser waits for
/// the write lock instead and finds the switch done, or tries again.
fn enter_wal(connection: &Connection) -> rusqlite::Result<()> {
    /// Each attempt waits up to the busy time-out, so that running out of them is a stuck lock and not bad luck.
    const ATTEMPTS: u32 = 20;
    for _ in 1..ATTEMPTS {
        match switch_to_wal(connection) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
            }
            other => return other,
        }
    }
    switch_to_wal(connection)
}

fn switch_to_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
}
