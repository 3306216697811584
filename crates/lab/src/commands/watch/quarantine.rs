//! What cannot be stored is kept, with the reason. Names of files are digests: nothing that somebody published names one.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::anyhow;
use jiff::Timestamp;
use lab_core::digest::Digest;
use lab_mqtt::Message;

use crate::failure::{Failure, Result};
use crate::whole_file;

/// What a file takes of a disk at least: file systems give room by the block.
const BLOCK: u64 = 4_096;

/// A folder of messages that cannot be stored. It is made with the first of them.
pub(super) struct Quarantine {
    folder: PathBuf,
    /// The most bytes that its files may take together.
    limit: u64,
    /// What was known of it last.
    known: Cell<Option<Known>>,
}

/// The room that a folder had when it was changed last: counting its files anew takes long where they are many.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// None where there was no folder.
    changed: Option<SystemTime>,
    room: u64,
}

/// What became of a message that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It lies there now.
    Anew,
    /// Its payload lay there already.
    Before,
    /// There is no room for it.
    Nowhere,
}

impl Quarantine {
    pub(super) fn new(folder: PathBuf, limit: u64) -> Self {
        Self { folder, limit, known: Cell::new(None) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns how many bytes may still be kept. The folder is counted again where anybody has changed it: other watches may
    /// fill it, and its owner empty it.
    fn room(&self) -> Result<u64> {
        let changed = self.changed()?;
        if let Some(known) = self.known.get().filter(|known| known.changed == changed) {
            return Ok(known.room);
        }
        let room = self.count()?;
        self.known.set(Some(Known { changed, room }));
        Ok(room)
    }

    /// Returns when a file came to the folder or left it; nothing where there is no folder.
    fn changed(&self) -> Result<Option<SystemTime>> {
        match fs::metadata(&self.folder).and_then(|found| found.modified()) {
            Ok(changed) => Ok(Some(changed)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure(&self.folder, &error)),
        }
    }

    fn count(&self) -> Result<u64> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self.limit),
            entries => entries.map_err(|error| failure(&self.folder, &error))?,
        };
        let mut room = self.limit;
        for entry in entries {
            match entry.and_then(|entry| entry.metadata()) {
                Ok(found) => room = room.saturating_sub(taken_by(found.len())),
                // Somebody has removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failure(&self.folder, &error)),
            }
        }
        Ok(room)
    }

    /// Keeps a message and why it cannot be stored, as far as there is room.
    pub(super) fn keep(&self, digest: &Digest, message: &Message, reason: &str) -> Result<Kept> {
        let payload = self.folder.join(format!("{digest}.json"));
        if payload.exists() {
            return Ok(Kept::Before);
        }
        let note = format!(
            "{reason}\n\ntopic: {}\nreceived: {}\nbytes: {}\n",
            message.topic.escape_debug(),
            Timestamp::now(),
            message.payload.len()
        );
        let needed = taken_by(note.len() as u64).saturating_add(taken_by(message.payload.len() as u64));
        let Some(left) = self.room()?.checked_sub(needed) else { return Ok(Kept::Nowhere) };
        // The payload comes last: where it lies, its reason does.
        write(&self.folder.join(format!("{digest}.reason.txt")), note.as_bytes())?;
        write(&payload, &message.payload)?;
        self.known.set(Some(Known { changed: self.changed()?, room: left }));
        Ok(Kept::Anew)
    }
}

/// Returns what a file of so many bytes takes of a disk.
fn taken_by(bytes: u64) -> u64 {
    bytes.max(1).div_ceil(BLOCK).saturating_mul(BLOCK)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    whole_file::write(path, bytes).map_err(|error| failure(path, &error))
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::run(anyhow!("cannot keep a message in quarantine, in `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_kept_once_under_its_digest_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(folder.path().join("q"), 10_000);
        let message = Message {
            topic: "iot/metrics/../../etc\n".to_owned(),
            payload: b"not json".to_vec(),
            is_retained: false,
            is_repeated: false,
            receipt: None,
        };
        let digest = Digest::of(&message.payload);
        assert_eq!(quarantine.room().unwrap(), 10_000);
        let keep = |digest: &Digest| quarantine.keep(digest, &message, "line 1: expected value").unwrap();
        assert_eq!([keep(&digest), keep(&digest)], [Kept::Anew, Kept::Before]);
        // A block of 4096 bytes for each file.
        assert_eq!(keep(&Digest::of(b"another")), Kept::Nowhere);
        let counted = Quarantine::new(quarantine.folder().to_owned(), 10_000);
        assert_eq!((quarantine.room().unwrap(), counted.room().unwrap()), (1_808, 1_808));
        let mut names: Vec<_> = fs::read_dir(quarantine.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [format!("{digest}.json"), format!("{digest}.reason.txt")]);
        let note = fs::read_to_string(quarantine.folder().join(&names[1])).unwrap();
        assert!(note.starts_with("line 1: expected value\n\ntopic: iot/metrics/../../etc\\n\n"), "{note}");
    }
}
