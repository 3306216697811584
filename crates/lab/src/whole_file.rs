//! Files that are there whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use tempfile::NamedTempFile;

use crate::failure::{Failure, Result};
use crate::terminal::say;

/// What a new file may be: the user's mask takes its share.
const MODE: u32 = 0o666;

/// Writes a file beside its place, hands it to the disk, and moves it there. Its folder is made where there is none.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let folder = folder(path);
    fs::create_dir_all(&folder)?;
    let mut part = part_in(&folder)?;
    part.write_all(bytes)?;
    persist(part, path)
}

/// A file that the user wants written, and that takes its place when it is whole: whoever reads it sees all of it, or what was
/// there before.
pub(crate) struct Replacement {
    /// The file, as the user named it.
    path: PathBuf,
    /// The file behind a symbolic link.
    target: PathBuf,
    part: NamedTempFile,
}

impl Replacement {
    /// Makes sure that the file can be written. It takes the place of no device, no folder, and none of the files that the
    /// command itself needs: not of the store's.
    pub(crate) fn prepare(path: &Path, needed: &[&Path]) -> Result<Self> {
        let fails = |error: anyhow::Error| Failure::usage(error.context(cannot_write(path)));
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(fails(anyhow!("it is there and is no file")));
        }
        let target = resolved(path);
        if let Some(own) = needed.iter().find(|own| belongs_to(&target, &resolved(own))) {
            return Err(fails(anyhow!("it would take the place of `{}`", own.display())));
        }
        let part = part_in(&folder(&target)).map_err(|error| fails(error.into()))?;
        Ok(Self { path: path.to_owned(), target, part })
    }

    /// Moves what was written to its place.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { path, target, part } = self;
        persist(part, &target).with_context(|| cannot_write(&path)).map_err(Failure::run)?;
        say(&format!("wrote {}", path.display()));
        Ok(())
    }

    /// Returns the failure that an error of writing is.
    pub(crate) fn failed(&self, error: io::Error) -> Failure {
        Failure::run(anyhow::Error::new(error).context(cannot_write(&self.path)))
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.part.flush()
    }
}

/// What is not yet whole has a name that nobody looks for.
fn part_in(folder: &Path) -> io::Result<NamedTempFile> {
    let permissions = Permissions::from_mode(MODE);
    tempfile::Builder::new().prefix(".lab-").suffix(".part").permissions(permissions).tempfile_in(folder)
}

fn persist(part: NamedTempFile, path: &Path) -> io::Result<()> {
    part.as_file().sync_all()?;
    part.persist(path).map_err(|error| error.error)?;
    // The name is on the disk when its folder is.
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Returns whether a file is another one, or one of those that SQLite keeps beside it (`-wal`, `-shm`, `-journal`).
fn belongs_to(target: &Path, own: &Path) -> bool {
    let beside = |suffix: &str| {
        let mut name = OsString::from(own);
        name.push(suffix);
        target.as_os_str() == name
    };
    ["", "-wal", "-shm", "-journal"].into_iter().any(beside)
}

/// Returns the file that a name leads to; for one that is not there yet, its name in the folder that is meant.
fn resolved(path: &Path) -> PathBuf {
    let in_folder = || Some(folder(path).canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
        let below_a_file = path.join("c.json");
        assert!(write(&below_a_file, b"").is_err());
    }

    #[test]
    fn what_a_command_needs_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("lab.sqlite");
        fs::write(&store, b"recordings").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&store, &link).unwrap();
        for path in [store.clone(), link, folder.path().join("lab.sqlite-wal"), folder.path().to_owned()] {
            let refused = Replacement::prepare(&path, &[&store]).err().expect("it is refused");
            assert!(refused.to_string().starts_with("cannot write `"), "{refused}");
        }
        let mut fresh = Replacement::prepare(&folder.path().join("new.csv"), &[&store]).unwrap();
        fresh.write_all(b"1,2").unwrap();
        assert!(!folder.path().join("new.csv").exists(), "it is not whole yet");
        fresh.finish().unwrap();
        assert_eq!(fs::read(folder.path().join("new.csv")).unwrap(), b"1,2");
        assert_eq!(fs::read(&store).unwrap(), b"recordings");
    }
}
