//! Model files by digest.
//!
//! ```text
//! blobs/sha256/<digest>.gguf   model files, complete and verified when they got their name
//! index/<identity>.json        which digest a source gave
//! memo/<path>.json             the digest a file had, with what shows whether it has changed since
//! partial/                     what is not complete yet
//! locks/<identity>.lock        one lab at a time works on a source
//! ```

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lab_core::digest::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::SourceError;
use crate::{DigestWriter, Progress, Stage, Written};

/// The version of the index and memo files. Files of another version are ignored and written anew.
const FORMAT: u32 = 1;
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// A folder of model files.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    /// Commands that may be pip, in the order they are tried.
    pub(super) pip: Vec<Vec<String>>,
}

/// A model file on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalModel {
    /// Where it is. Absolute if the cache's root or the plan's folder is.
    pub path: PathBuf,
    /// Digest of its bytes.
    pub sha256: Digest,
    /// Its length.
    pub bytes: u64,
    /// Digest of the file it was requantised from; the same as `sha256` where it was not.
    pub source_sha256: Digest,
}

/// A blob by its name. Whether its bytes are what the name says is known only if it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) model: LocalModel,
    pub(super) trusted: bool,
}

#[derive(Serialize, Deserialize)]
struct IndexEntry {
    format: u32,
    sha256: Digest,
}

/// What a file was when its digest was taken.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Memo {
    format: u32,
    path: PathBuf,
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    sha256: Digest,
}

impl Memo {
    fn new(path: &Path, file: &Metadata, sha256: Digest) -> Self {
        Self {
            format: FORMAT,
            path: path.to_owned(),
            device: file.dev(),
            inode: file.ino(),
            bytes: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            sha256,
        }
    }
}

impl Cache {
    /// Names a cache. Its folders are created when something is put in them.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let commands = [&["python3", "-m", "pip"][..], &["pip3"], &["pip"]];
        let pip =
            commands.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect();
        Self { root: root.into(), pip }
    }

    /// Returns the cache's root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a folder of the cache, and creates it.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, SourceError> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).map_err(SourceError::file("create", &folder))?;
        Ok(folder)
    }

    /// Waits until no other lab works on this source, and keeps others out until the lock is dropped.
    pub(super) fn lock(
        &self,
        identity: &Digest,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<File, SourceError> {
        let path = self.folder("locks")?.join(format!("{identity}.lock"));
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(SourceError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(SourceError::file("lock", &path)(source)),
        }
        progress(Progress { stage: Stage::Waiting, done: 0, total: None });
        file.lock().map_err(SourceError::file("lock", &path))?;
        Ok(file)
    }

    /// Returns the digest that a source gave before.
    pub(super) fn indexed(&self, identity: &Digest) -> Option<Digest> {
        let entry: IndexEntry = read_json(&self.index_path(identity))?;
        (entry.format == FORMAT).then_some(entry.sha256)
    }

    /// Remembers which digest a source gave.
    pub(super) fn index(&self, identity: &Digest, sha256: Digest) -> Result<(), SourceError> {
        self.folder("index")?;
        let path = self.index_path(identity);
        write_json(&path, &IndexEntry { format: FORMAT, sha256 }).map_err(SourceError::file("write", &path))
    }

    fn index_path(&self, identity: &Digest) -> PathBuf {
        self.root.join("index").join(format!("{identity}.json"))
    }

    fn blob_path(&self, sha256: &Digest) -> PathBuf {
        self.root.join("blobs").join("sha256").join(format!("{sha256}.gguf"))
    }

    /// Looks for a blob without reading it.
    pub(super) fn blob(&self, sha256: Digest) -> Option<Blob> {
        let path = self.blob_path(&sha256);
        let file = fs::metadata(&path).ok().filter(Metadata::is_file)?;
        let trusted = self.recall(&path, &file) == Some(sha256);
        Some(Blob { model: LocalModel { path, sha256, bytes: file.len(), source_sha256: sha256 }, trusted })
    }

    /// Returns a blob whose bytes are what its name says. One that is corrupted is removed.
    pub(super) fn verified(
        &self,
        sha256: Digest,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<LocalModel>, SourceError> {
        let Some(blob) = self.blob(sha256) else {
            return Ok(None);
        };
        if blob.trusted || self.digest_of(&blob.model.path, progress)?.sha256 == sha256 {
            return Ok(Some(blob.model));
        }
        fs::remove_file(&blob.model.path).map_err(SourceError::file("remove", &blob.model.path))?;
        Ok(None)
    }

    /// Makes a complete file a blob: on disk before it gets its name, and under no name at all if its digest is
    /// not the expected one.
    pub(super) fn adopt(
        &self,
        partial: PartialFile,
        written: Written,
        expected: Option<Digest>,
        what: &str,
    ) -> Result<LocalModel, SourceError> {
        let Written { bytes, sha256 } = written;
        expect_digest(what, sha256, expected)?;
        let file = File::open(&partial.path).map_err(SourceError::file("open", &partial.path))?;
        file.sync_all().map_err(SourceError::file("write", &partial.path))?;
        self.folder("blobs/sha256")?;
        let path = self.blob_path(&sha256);
        fs::rename(&partial.path, &path).map_err(SourceError::file("rename", &partial.path))?;
        if let Ok(file) = fs::metadata(&path) {
            self.remember(&path, &file, sha256);
        }
        Ok(LocalModel { path, sha256, bytes, source_sha256: sha256 })
    }

    /// Returns length and digest of a file, from the memo if the file has not changed since.
    pub(super) fn digest_of(
        &self,
        path: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Written, SourceError> {
        let before = fs::metadata(path).map_err(SourceError::file("read", path))?;
        if let Some(sha256) = self.recall(path, &before) {
            return Ok(Written { bytes: before.len(), sha256 });
        }
        let written = hash(path, before.len(), progress)?;
        let after = fs::metadata(path).map_err(SourceError::file("read", path))?;
        if Memo::new(path, &before, written.sha256) != Memo::new(path, &after, written.sha256) {
            return Err(SourceError::ChangedWhileRead { path: path.to_owned() });
        }
        self.remember(path, &after, written.sha256);
        Ok(written)
    }

    /// Returns the digest a file had if nothing about the file has changed since.
    pub(super) fn recall(&self, path: &Path, file: &Metadata) -> Option<Digest> {
        let memo: Memo = read_json(&self.memo_path(path))?;
        (memo == Memo::new(path, file, memo.sha256)).then_some(memo.sha256)
    }

    /// Writes a memo. Failing to remember costs time later, nothing else: a cache may be read-only.
    fn remember(&self, path: &Path, file: &Metadata, sha256: Digest) {
        if self.folder("memo").is_ok() {
            let _forgotten = write_json(&self.memo_path(path), &Memo::new(path, file, sha256));
        }
    }

    fn memo_path(&self, path: &Path) -> PathBuf {
        let name = Digest::of(path.as_os_str().as_encoded_bytes());
        self.root.join("memo").join(format!("{name}.json"))
    }
}

/// Refuses a digest that is not the expected one.
pub(super) fn expect_digest(what: &str, found: Digest, expected: Option<Digest>) -> Result<(), SourceError> {
    match expected {
        Some(expected) if expected != found => {
            Err(SourceError::DigestMismatch { what: what.to_owned(), found, expected })
        }
        _ => Ok(()),
    }
}

/// A file that is not complete yet. It goes away with this value, unless it has been renamed.
#[derive(Debug)]
pub(super) struct PartialFile {
    pub(super) path: PathBuf,
}

impl PartialFile {
    /// Creates an empty file.
    pub(super) fn create(cache: &Cache, name: &str) -> Result<(Self, File), SourceError> {
        let path = cache.folder("partial")?.join(name);
        let file = File::create(&path).map_err(SourceError::file("create", &path))?;
        Ok((Self { path }, file))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // Gone already where it was renamed.
        let _gone = fs::remove_file(&self.path);
    }
}

/// Reads a file and takes its digest.
pub(super) fn hash(
    path: &Path,
    total: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Written, SourceError> {
    let mut file = File::open(path).map_err(SourceError::file("open", path))?;
    let mut writer = DigestWriter::new(io::sink());
    copy(&mut file, &mut writer, |done| {
        progress(Progress { stage: Stage::Hashing, done, total: Some(total) });
    })
    .map_err(SourceError::file("read", path))?;
    writer.finish().map(|(_, written)| written).map_err(SourceError::file("read", path))
}

/// Copies everything and reports the bytes done after each piece.
pub(super) fn copy(
    reader: &mut impl Read,
    writer: &mut impl Write,
    mut report: impl FnMut(u64),
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        writer.write_all(&buffer[..count])?;
        done += count as u64;
        report(done);
    }
}

/// Reads a JSON file; one that is absent or unreadable is as good as none.
fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a JSON file so that a reader sees the old one or the new one.
fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let unique = format!("{}-{}.new", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let fresh = path.with_extension(unique);
    fs::write(&fresh, serde_json::to_vec(value)?)?;
    fs::rename(&fresh, path)
}
