//! What cannot be stored is kept, with the reason. Names of files are digests: nothing that somebody published names one.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use jiff::Timestamp;
use lab_core::digest::Digest;
use lab_mqtt::Message;

use crate::failure::{Failure, Result};
use crate::whole_file;

/// A folder of messages that cannot be stored. It is made with the first of them.
pub(super) struct Quarantine {
    folder: PathBuf,
}

impl Quarantine {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps a message and why it cannot be stored; false where its payload lies there already.
    pub(super) fn keep(&self, digest: &Digest, message: &Message, reason: &str) -> Result<bool> {
        let payload = self.folder.join(format!("{digest}.json"));
        if payload.exists() {
            return Ok(false);
        }
        let note = format!(
            "{reason}\n\ntopic: {}\nreceived: {}\nbytes: {}\n",
            message.topic.escape_debug(),
            Timestamp::now(),
            message.payload.len()
        );
        // The payload comes last: where it lies, its reason does.
        self.write(&self.folder.join(format!("{digest}.reason.txt")), note.as_bytes())?;
        self.write(&payload, &message.payload)?;
        Ok(true)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        whole_file::write(path, bytes).map_err(|error| {
            Failure::run(anyhow!("cannot keep a message in quarantine, in `{}`: {error}", path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_kept_once_under_its_digest_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(folder.path().join("q"));
        let message = Message {
            topic: "iot/metrics/../../etc\n".to_owned(),
            payload: b"not json".to_vec(),
            is_retained: false,
            is_repeated: false,
            receipt: None,
        };
        let digest = Digest::of(&message.payload);
        assert!(quarantine.keep(&digest, &message, "line 1: expected value").unwrap());
        assert!(!quarantine.keep(&digest, &message, "line 1: expected value").unwrap());
        let mut names: Vec<_> = std::fs::read_dir(quarantine.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [format!("{digest}.json"), format!("{digest}.reason.txt")]);
        let note = std::fs::read_to_string(quarantine.folder().join(&names[1])).unwrap();
        assert!(note.starts_with("line 1: expected value\n\ntopic: iot/metrics/../../etc\\n\n"), "{note}");
    }
}
