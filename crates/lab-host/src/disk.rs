//! Room on a file system.

use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use crate::Unavailable;

/// Returns the bytes that an unprivileged process may still write to the file system that holds `path`.
///
/// `path` need not exist yet: its nearest existing ancestor answers.
///
/// # Errors
///
/// When the file system does not answer, or does not say (some pseudo file systems report no blocks at all).
pub fn free_bytes(path: &Path) -> Result<u64, Unavailable> {
    let existing = nearest_existing(path);
    let shown = existing.display();
    let answer = statvfs(&existing).map_err(|error| {
        Unavailable::new(format!("the file system of `{shown}` does not answer: {error}"))
    })?;
    if answer.f_blocks == 0 {
        return Err(Unavailable::new(format!("the file system of `{shown}` does not count its blocks")));
    }
    // f_bavail counts fragments of f_frsize and leaves out what is reserved for root (statvfs(3)).
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}

fn nearest_existing(path: &Path) -> PathBuf {
    let existing = path.ancestors().find(|ancestor| ancestor.exists());
    // The last ancestor of a relative path is the empty one, which stands for the current directory.
    existing.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_yet_has_the_room_of_its_ancestor() {
        let directory = tempfile::tempdir().unwrap();
        let planned = directory.path().join("a/b/c");
        assert_eq!(nearest_existing(&planned), directory.path());
        assert_eq!(nearest_existing(Path::new("no/such/thing")), Path::new("."));
        // Other processes write to the same disk meanwhile, so only the order of magnitude is firm.
        let (free, planned) = (free_bytes(directory.path()).unwrap(), free_bytes(&planned).unwrap());
        assert!(free > 0 && planned.abs_diff(free) < free / 2 + (64 << 20), "{free} {planned}");
    }

    #[test]
    fn a_file_system_without_blocks_says_so() {
        let reason = free_bytes(Path::new("/proc/self")).unwrap_err().reason;
        assert!(reason.contains("does not count its blocks"), "{reason}");
    }
}
