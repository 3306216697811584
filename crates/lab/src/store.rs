//! Opening the store and finding sessions in it, with words for what goes wrong.

use std::path::Path;

use lab_core::record::Session;
use lab_store::{Mode, ResolveError, Store, StoreError};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::terminal::say;

/// Opens the store for recording; makes it when there is none.
pub(crate) fn open_for_recording(path: &Path) -> Result<Store> {
    let store = Store::open(path)?;
    match store.mode() {
        Mode::ReadWrite => Ok(store),
        Mode::ReadOnly { reason } => Err(StoreError::ReadOnly { path: path.to_owned(), reason }.into()),
    }
}

/// Opens the store for reading. One that a newer lab wrote is read with a word about it.
pub(crate) fn open(global: &Global) -> Result<Store> {
    let store = Store::open_existing(&global.store)?;
    if let Mode::ReadOnly { reason } = store.mode() {
        say(&format!("note: the store {reason}"));
    }
    Ok(store)
}

/// Finds a session by what the user typed and loads it.
pub(crate) fn load(store: &Store, typed: &str) -> Result<Session> {
    let id = store.resolve(typed)?;
    Ok(store.load(&id)?)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Missing { .. } => {
                Some("`lab run plans/quickstart.toml` makes one; `--store PATH` names another")
            }
            StoreError::Foreign { .. } | StoreError::NotSqlite { .. } => {
                Some("`--store PATH` names another file")
            }
            _ => None,
        };
        let failure = Self::with(exit_of(&error), error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// What the user named wrongly is a usage error; what broke underneath is a failed run.
fn exit_of(error: &StoreError) -> Exit {
    match error {
        StoreError::Busy { .. } | StoreError::DiskFull { .. } | StoreError::Device { .. } => Exit::RunFailed,
        _ => Exit::Usage,
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Store(error) => error.into(),
            other => Self::usage(other).hint("`lab list` shows the sessions; `@latest` is the newest"),
        }
    }
}
