//! Recomputes everything that can be recomputed, and says what does not agree.

mod check;
mod finding;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;

use lab_core::digest::Digest;

use crate::error::{Failure, StoreError};
use crate::migrate::{known_schema, schema_of};
use crate::open::Store;

use check::Check;
pub use finding::Finding;

/// What a verification looked at and what it found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// Recorded rows whose digests were recomputed.
    pub rows: u64,
    /// Links of the chain that were recomputed.
    pub links: u64,
    /// Measurements that were derived again from raw data.
    pub rederived: u64,
    /// Ids of stored metrics that this lab does not know and so cannot derive again. Their rows are in the chain.
    pub unknown_metrics: BTreeSet<String>,
    /// The archives that raw data left for, oldest first.
    pub archives: Vec<ArchiveCheck>,
    /// Sessions and imported files whose raw data lie in an archive that is not there: their rows are in the chain, and
    /// nothing was derived from them again.
    pub out_of_reach: u64,
    /// The head of the chain as stored: what to keep elsewhere.
    pub head: Digest,
    /// Everything that does not agree, in the order it was found.
    pub findings: Vec<Finding>,
}

/// An archive, and whether it could be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveCheck {
    /// Where it was written.
    pub path: PathBuf,
    /// The BLOBs that left for it.
    pub blobs: u64,
    /// Whether it is there, and so was read whole.
    pub found: bool,
}

impl Verification {
    /// Returns whether everything agrees. An archive that is not there disagrees with nothing.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

impl Store {
    /// Recomputes the store: SQLite's own checks, the schema against the migrations, every row digest, every link of the
    /// chain, the digests of the fingerprint parts, the columns of every session against its header and of every
    /// repetition against its outcome, and every published measurement from its raw timeline, or from the figures in its
    /// body where a document was imported; the bytes of that are held to their digest, and its figures are not taken out of
    /// them again. Baselines and calibrations must be readable. Raw data that left are looked for in their archives: one that is there is read whole, one that is
    /// not is told. Looks at one snapshot, so that sessions may be recorded meanwhile.
    ///
    /// `expect_head` is a head kept elsewhere: it must be the store's head or one that the chain has passed. Without it,
    /// a chain cut at its end or rebuilt from its start goes unnoticed.
    ///
    /// # Errors
    ///
    /// When the store was written by a newer lab, or cannot be read at all. Damage is no error but a [`Finding`].
    pub fn verify(&self, expect_head: Option<&Digest>) -> Result<Verification, StoreError> {
        let verify = || -> Result<Verification, Failure> {
            let snapshot = self.connection().unchecked_transaction()?;
            let (found, known) = (schema_of(&snapshot)?, known_schema());
            if found > known {
                return Err(StoreError::Newer { path: self.path().to_owned(), found, known }.into());
            }
            let mut check = Check::new(&snapshot, self.path());
            check.everything(expect_head)?;
            Ok(check.verification)
        };
        verify().map_err(|failure| failure.into_store_error(self.path(), "verifying"))
    }
}
