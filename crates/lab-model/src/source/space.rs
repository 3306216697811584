//! Free space: asked for before writing, and named when it ran out all the same.

use std::io;
use std::path::Path;

use super::SourceError;

/// Something about to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space<'a> {
    /// The folder it goes to, which exists.
    pub(super) folder: &'a Path,
    /// What it is, for the message.
    pub(super) what: &'a str,
    /// Bytes it takes.
    pub(super) needed: u64,
}

impl Space<'_> {
    /// Refuses what does not fit.
    pub(super) fn check(self) -> Result<(), SourceError> {
        let available = available(self.folder)?;
        if available < self.needed { Err(self.lacking(available)) } else { Ok(()) }
    }

    /// Turns a failed write into the error that tells what matters: no space, or the rest.
    pub(super) fn failed(self, action: &'static str, path: &Path, source: io::Error) -> SourceError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                self.lacking(available(self.folder).unwrap_or(0))
            }
            _ => SourceError::file(action, path)(source),
        }
    }

    fn lacking(self, available: u64) -> SourceError {
        SourceError::NoSpace {
            folder: self.folder.to_owned(),
            what: self.what.to_owned(),
            needed: self.needed,
            available,
        }
    }
}

fn available(folder: &Path) -> Result<u64, SourceError> {
    let failed =
        |error: rustix::io::Errno| SourceError::file("ask for the free space of", folder)(error.into());
    let status = rustix::fs::statvfs(folder).map_err(failed)?;
    // Blocks for users, not those reserved for root.
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_space_is_refused_with_both_figures() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space { folder: folder.path(), what: "`m.gguf`", needed: u64::MAX };
        let SourceError::NoSpace { needed, available, .. } = space.check().unwrap_err() else {
            panic!("another error");
        };
        assert_eq!(needed, u64::MAX);
        assert!(available > 0);
        Space { needed: 1, ..space }.check().unwrap();
    }

    #[test]
    fn running_out_in_mid_write_is_the_same_error() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space { folder: folder.path(), what: "`m.gguf`", needed: 5 };
        let full = space.failed("write", Path::new("m"), io::ErrorKind::StorageFull.into());
        assert!(matches!(full, SourceError::NoSpace { needed: 5, .. }), "{full}");
        let other = space.failed("write", Path::new("m"), io::ErrorKind::PermissionDenied.into());
        assert_eq!(other.to_string(), "cannot write `m`");
    }
}
