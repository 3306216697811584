//! The archives of a store, found again and opened when a BLOB of theirs is asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lab_core::digest::Digest;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::file::{ArchiveFile, digest_of_file};
use super::{ArchiveRow, rows};
use crate::body::damaged;
use crate::chain::{ARCHIVE, BlobDigest, digest_at};
use crate::error::{Failure, StoreError};

/// The archives of a store.
#[derive(Debug)]
pub(crate) struct Archives<'a> {
    connection: &'a Connection,
    store: PathBuf,
    /// Their rows, once one was asked for: where each file is was looked for then.
    rows: Option<Vec<ArchiveRow>>,
    open: BTreeMap<i64, ArchiveFile>,
}

impl<'a> Archives<'a> {
    pub(crate) fn of(connection: &'a Connection, store: &Path) -> Self {
        Self { connection, store: store.to_owned(), rows: None, open: BTreeMap::new() }
    }

    /// Returns the BLOB that left a row; nothing for a row that none left.
    pub(crate) fn blob(&mut self, subject: &str) -> Result<Option<Vec<u8>>, Failure> {
        let row: Option<(i64, BlobDigest)> = self
            .connection
            .prepare_cached("SELECT archive, digest, bytes FROM archived WHERE subject = ?")?
            .query_row([subject], |row| Ok((row.get(0)?, known_at(row, 1)?)))
            .optional()?;
        let Some((archive, known)) = row else { return Ok(None) };
        self.open(archive)?;
        Ok(Some(self.open[&archive].blob(subject, &known)?))
    }

    /// Returns whether a part of an imported file left for an archive that is not there.
    pub(crate) fn lacks_source(&mut self, digest: &Digest) -> Result<bool, Failure> {
        // `;` follows `:`: every piece of this file, and nothing else.
        let mut statement = self
            .connection
            .prepare_cached("SELECT DISTINCT archive FROM archived WHERE subject > ? AND subject < ?")?;
        let archives: Vec<i64> = statement
            .query_map((format!("piece:{digest}:"), format!("piece:{digest};")), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(self.rows()?.iter().any(|row| archives.contains(&row.seq) && row.place.is_none()))
    }

    /// Reads everything that the store says is in an archive which is there, and returns in words what is not as it left.
    pub(crate) fn check(&mut self, row: &ArchiveRow, place: &Path) -> Result<Vec<String>, Failure> {
        let mut wrong = match whole_file(row, place) {
            Err(error) => return Ok(vec![error.to_string()]),
            Ok(wrong) => Vec::from_iter(wrong),
        };
        match self.open(row.seq) {
            Ok(()) => {}
            Err(Failure::Store(StoreError::ArchiveUnreadable { message, .. })) => {
                wrong.push(message);
                return Ok(wrong);
            }
            Err(other) => return Err(other),
        }
        wrong.extend(self.check_blobs(row.seq)?);
        Ok(wrong)
    }

    fn check_blobs(&self, archive: i64) -> Result<Vec<String>, Failure> {
        let mut wrong = Vec::new();
        let mut statement = self
            .connection
            .prepare("SELECT subject, digest, bytes FROM archived WHERE archive = ? ORDER BY 1")?;
        let mut blobs = statement.query([archive])?;
        while let Some(blob) = blobs.next()? {
            let (subject, known): (String, BlobDigest) = (blob.get(0)?, known_at(blob, 1)?);
            if let Err(error) = self.open[&archive].blob(&subject, &known) {
                wrong.push(match error {
                    StoreError::ArchiveUnreadable { message, .. } => message,
                    other => other.to_string(),
                });
            }
        }
        Ok(wrong)
    }

    fn rows(&mut self) -> Result<&[ArchiveRow], Failure> {
        if self.rows.is_none() {
            self.rows = Some(rows(self.connection, &self.store)?);
        }
        Ok(self.rows.as_deref().unwrap_or_default())
    }

    fn open(&mut self, archive: i64) -> Result<(), Failure> {
        if self.open.contains_key(&archive) {
            return Ok(());
        }
        if self.rows()?.iter().all(|row| row.seq != archive) {
            // Made since: whoever reads a file piece by piece has no snapshot.
            self.rows = None;
        }
        let row = self.rows()?.iter().find(|row| row.seq == archive).cloned();
        let row = row.ok_or_else(|| {
            damaged(&ARCHIVE.subject_of(&[&archive]), &"raw data went there, and it is not there")
        })?;
        let Some(place) = &row.place else {
            let mut places = places_of(&row.path, row.relative.as_deref(), &self.store);
            let path = places.remove(0);
            return Err(StoreError::ArchiveMissing { path, others: places }.into());
        };
        let file = ArchiveFile::open(place)?;
        self.open.insert(archive, file);
        Ok(())
    }
}

/// Returns in words how a file is not the one that was recorded. What has another size is not read to its end.
fn whole_file(row: &ArchiveRow, place: &Path) -> std::io::Result<Option<String>> {
    let bytes = std::fs::metadata(place)?.len();
    if bytes != row.bytes {
        return Ok(Some(format!("the file has {bytes} bytes, {} are recorded", row.bytes)));
    }
    let actual = digest_of_file(place)?.digest;
    let differs = actual != row.digest;
    Ok(differs.then(|| format!("the digest of the file is {actual}, {} is recorded", row.digest)))
}

/// Reads the digest and, in the column behind it, the size of a BLOB that left.
fn known_at(row: &Row<'_>, index: usize) -> rusqlite::Result<BlobDigest> {
    Ok(BlobDigest { digest: digest_at(row, index)?, bytes: row.get::<_, i64>(index + 1)?.unsigned_abs() })
}

/// Returns where an archive may be, in the order in which it is looked for: where it was written, where it lay from the folder
/// of the store, which it may have moved with, and beside the store.
pub(super) fn places_of(path: &Path, relative: Option<&Path>, store: &Path) -> Vec<PathBuf> {
    let store = std::path::absolute(store).unwrap_or_else(|_| store.to_owned());
    let mut places = vec![path.to_owned()];
    for near in [relative, path.file_name().map(Path::new)].into_iter().flatten() {
        let place = store.with_file_name(near);
        // Never the store itself: a descriptor of it that is closed again drops the locks of this process.
        if place != store && !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// Returns which of the places has the archive: the first with a file of its size, or else the first with a file, which is then
/// told to be another. Files of one name are easily mistaken for one another.
pub(super) fn place_of(places: &[PathBuf], bytes: u64) -> Option<PathBuf> {
    let size = |place: &PathBuf| {
        std::fs::metadata(place).ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
    };
    let of_its_size = places.iter().find(|place| size(place) == Some(bytes));
    of_its_size.or_else(|| places.iter().find(|place| size(place).is_some())).cloned()
}

/// Returns the path of an archive from the folder of the store; none for one that does not lie below it.
pub(super) fn relative_to(path: &Path, store: &Path) -> Option<PathBuf> {
    let store = std::path::absolute(store).ok()?;
    let relative = path.strip_prefix(store.parent()?).ok()?;
    let leads_out = relative.components().any(|part| part == std::path::Component::ParentDir);
    (!leads_out).then(|| relative.to_owned())
}

/// Returns what is known of every BLOB that left, by its row.
pub(crate) fn archived(connection: &Connection) -> Result<BTreeMap<String, BlobDigest>, Failure> {
    let mut statement = connection.prepare("SELECT subject, digest, bytes FROM archived")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, known_at(row, 1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the subjects that rows say left, and that are not there with their BLOB emptied.
pub(crate) fn not_left(connection: &Connection) -> Result<Vec<String>, Failure> {
    let mut statement = connection.prepare(
        "SELECT subject FROM archived WHERE subject NOT IN (
            SELECT 'repetition:' || session || ':' || idx FROM repetition WHERE length(timeline) = 0
            UNION ALL SELECT 'piece:' || source || ':' || idx FROM piece WHERE length(frame) = 0
         ) ORDER BY subject",
    )?;
    let subjects = statement.query_map([], |row| row.get(0))?;
    Ok(subjects.collect::<rusqlite::Result<_>>()?)
}
