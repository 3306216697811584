//! Remembers for a day what a machine's memory can deliver, so that not every session spends a second on it. What
//! was measured while others used the cores is never remembered.
//!
//! One small JSON file for each machine, set of cores and count of threads. The file is a convenience: whatever is
//! wrong with it or its folder costs a measurement and never an error.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use lab_core::digest::Digest;
use lab_core::record::MemoryBandwidth;
use serde::{Deserialize, Serialize};

use super::Measured;
use crate::Unavailable;

/// The version of the file; another one is measured anew.
const FORMAT: &str = "lab.memory-bandwidth.v1";
/// Memory does not change, but neighbours on a shared machine do.
const GREATEST_AGE: SignedDuration = SignedDuration::from_hours(24);

/// What a remembered figure belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Digest of the hardware's fingerprint, in hexadecimal.
    pub hardware: String,
    /// The cores that the engine may use. Their order does not matter.
    pub cores: Vec<u32>,
    /// Threads that read.
    pub threads: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    key: Key,
    bandwidth: MemoryBandwidth,
}

impl Key {
    fn normalised(&self) -> Self {
        let mut key = self.clone();
        key.cores.sort_unstable();
        key.cores.dedup();
        key
    }

    /// The name is a digest, so that nothing in the key can lead out of the folder.
    fn file_name(&self) -> String {
        format!("memory-bandwidth-{}.json", Digest::of_canonical(FORMAT, self).short())
    }
}

/// Returns the bandwidth that `folder` remembers for `key`, or measures and remembers it.
///
/// A figure is measured anew when it is older than a day at `now`, comes from the future, or cannot be read. One that
/// others disturbed is returned and not remembered. A folder that cannot be written is left as it is.
///
/// # Errors
///
/// Those of `measure`, which are not remembered.
pub fn load_or_measure(
    folder: &Path,
    key: &Key,
    now: Timestamp,
    measure: impl FnOnce() -> Result<Measured, Unavailable>,
) -> Result<MemoryBandwidth, Unavailable> {
    let key = key.normalised();
    let path = folder.join(key.file_name());
    if let Some(remembered) = load(&path, &key, now) {
        return Ok(remembered);
    }
    let measured = measure()?;
    let bytes_per_second = measured.bytes_per_second;
    let bandwidth = MemoryBandwidth { bytes_per_second, threads: key.threads, measured_at: now };
    if measured.disturbance().is_some() {
        return Ok(bandwidth);
    }
    // A folder that cannot be written costs the next session a second, which is no reason to fail this one.
    let _forgotten =
        save(folder, &path, &File { format: FORMAT.to_owned(), key, bandwidth: bandwidth.clone() });
    Ok(bandwidth)
}

fn load(path: &Path, key: &Key, now: Timestamp) -> Option<MemoryBandwidth> {
    let file: File = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let age = now.duration_since(file.bandwidth.measured_at);
    let is_fresh = !age.is_negative() && age <= GREATEST_AGE;
    let is_whole = file.bandwidth.bytes_per_second > 0 && file.bandwidth.threads == key.threads;
    (file.format == FORMAT && file.key == *key && is_fresh && is_whole).then_some(file.bandwidth)
}

/// Writes beside the file and renames, so that a reader finds the old file or the new one, and never half of one.
fn save(folder: &Path, path: &Path, file: &File) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    beside.write_all(&serde_json::to_vec_pretty(file)?)?;
    beside.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests;
