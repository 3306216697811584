//! Whether a file system has room left. SQLite says that a disk is full only where a write of the database or its log found
//! no place; where the index of the log finds none, or a file is cut to its length, it speaks of a disk I/O error.

use std::path::Path;

use rustix::fs::statvfs;

/// The index of the log grows by so many bytes at once (`WALINDEX_PGSZ`, wal.c): nothing can be appended where they do not
/// fit.
const LEAST_BYTES: u64 = 32 * 1024;

/// Returns whether the file system of a file has too little room for any append. Where it does not answer, or does not count
/// its blocks, nobody knows, and it is not full.
pub(crate) fn is_full(path: &Path) -> bool {
    // A file that could not be made is not there.
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let answer = statvfs(path).or_else(|_| statvfs(folder));
    answer.is_ok_and(|answer| has_no_room(answer.f_blocks, answer.f_bavail, answer.f_frsize))
}

/// Decides by the blocks that an unprivileged process may still write (statvfs(3)).
fn has_no_room(n_blocks: u64, n_available: u64, block_bytes: u64) -> bool {
    n_blocks > 0 && n_available.saturating_mul(block_bytes) < LEAST_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_when_the_index_of_a_log_does_not_fit() {
        for (n_blocks, n_available, expected) in
            [(1_000, 0, true), (1_000, 7, true), (1_000, 8, false), (1_000, u64::MAX, false), (0, 0, false)]
        {
            assert_eq!(has_no_room(n_blocks, n_available, 4096), expected, "{n_available} of {n_blocks}");
        }
    }

    #[test]
    fn what_does_not_count_its_blocks_or_does_not_answer_is_not_full() {
        assert!(!is_full(Path::new("/proc/version")));
        assert!(!is_full(Path::new("/no/such/folder/lab.sqlite")));
    }
}
