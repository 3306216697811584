//! The append-only, hash-chained store of recordings: one SQLite file, one concrete type, [`Store`].
//!
//! A store only grows. [`Store::begin_session`], [`Store::append_launch`], [`Store::append_repetition`] and
//! [`Store::end_session`] record sessions, [`Store::append_imports`] those of other tools, [`Store::set_baseline`] names them, [`Store::append_calibration`] records what is
//! known of their noise. That is the whole writing side; there is no update and no deletion, in this API or below it, where
//! triggers refuse both to anyone who opens the file with another tool (invariant I4). The one exception is
//! [`Store::archive`], which moves the bytes of old raw data into a file of their own and keeps their digests. Each append is one
//! `BEGIN IMMEDIATE` transaction that is on the disk when the call returns, so that a killed run loses the
//! repetition in flight and nothing else, and so that several processes may record into one store at once.
//!
//! Triggers can be dropped by whoever can write the file. Therefore every recorded row also has a link in a hash chain
//! (module [`chain`]), and [`Store::verify`] recomputes all of it, derives every published number again from the raw
//! timelines (invariant I3), and compares the schema itself with what lab creates. A chain can be rebuilt from its
//! start by someone determined: what defeats that is a head kept elsewhere, which `verify` takes as its argument.
//!
//! What the store does not do: it judges nothing, computes no metric of its own, and reads no clock. Times and ids come
//! from the caller.
//!
//! | module | what it does |
//! |---|---|
//! | [`migrate`] | the schema, its versions, and one line on every table |
//! | `open` | opens and refuses files |
//! | `append` | what a session is appended by |
//! | `archive` | moves raw data out, and finds it again |
//! | `baseline` | names for sessions, and their history |
//! | `body` | rows from records and back |
//! | `calibration` | documents about a fingerprint |
//! | [`chain`] | digests of rows, links and heads |
//! | `launch_means` | what launches of one fingerprint measured |
//! | `query` | [`Store::list`] and [`Store::load`] |
//! | `devices` | [`Store::imports`]: the documents of a contract, over all sessions |
//! | `family` | [`Store::families`]: sessions that may differ in the engine alone |
//! | `source` | imported sessions, and the files they were imported from |
//! | `resolve` | what a user types, to a session id |
//! | `room` | whether a disk is full, where SQLite does not say |
//! | `usage` | what takes how much room, and giving room back |
//! | `verify` | recomputes everything |

mod append;
mod archive;
mod baseline;
mod body;
mod calibration;
pub mod chain;
mod devices;
mod error;
mod family;
#[cfg(test)]
mod fixture;
mod launch_means;
pub mod migrate;
mod open;
mod query;
mod resolve;
mod room;
mod source;
mod usage;
mod verify;

pub use archive::{
    ARCHIVE_APPLICATION_ID, Archivable, ArchiveContents, ArchiveOrder, ArchiveRow, SMALLEST_ARCHIVED_BYTES,
};
pub use baseline::{Baseline, BaselineChange, BaselineName, BaselineNameError};
pub use calibration::{CalibrationKind, CalibrationRow};
pub use devices::ImportedSession;
pub use error::StoreError;
pub use family::Family;
pub use open::{Mode, ReadOnlyReason, Store, Waiting};
pub use query::{ListFilter, ListedFigure, SessionRow};
pub use resolve::ResolveError;
pub use source::{OpenSource, SourceReader};
pub use usage::{BlobUsage, DayUsage, TableUsage, Usage};
pub use verify::{ArchiveCheck, Finding, Verification};
