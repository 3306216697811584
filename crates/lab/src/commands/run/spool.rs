//! Documents that wait for their broker: a folder of files, the oldest first, no more than a limit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab_core::clock::Clock as _;
use lab_host::clock::Monotonic;
use lab_mqtt::{Broker, MqttError, Publisher};

use crate::whole_file;

/// How long the broker may take from the look-up of its name to its welcome, and how long to acknowledge each document.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long documents are sent at one time. What is left waits for the next.
const ATTEMPT_NS: u64 = 10_000_000_000;

/// Whom documents are sent to, and as whom.
pub(super) struct Recipient {
    pub(super) broker: Broker,
    pub(super) client_id: String,
    pub(super) topic: String,
}

/// Why documents still wait.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    #[error(transparent)]
    Broker(#[from] MqttError),
    #[error("cannot {action} `{path}`: {source}", path = path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
}

/// A folder of documents that were not published yet. Their names begin with the time, so that they sort by it.
pub(super) struct Spool {
    folder: PathBuf,
    limit: usize,
}

impl Spool {
    /// Wraps a folder; it is made with the first document.
    pub(super) fn new(folder: PathBuf, limit: usize) -> Self {
        Self { folder, limit }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds a document and returns how many of the oldest had to go for it.
    pub(super) fn add(&self, name: &str, document: &[u8]) -> Result<usize, SpoolError> {
        let waiting = self.waiting()?;
        let n_dropped = (waiting.len() + 1).saturating_sub(self.limit);
        for oldest in &waiting[..n_dropped.min(waiting.len())] {
            remove(oldest)?;
        }
        let path = self.folder.join(name);
        whole_file::write(&path, document).map_err(|source| SpoolError::File {
            action: "write",
            path,
            source,
        })?;
        Ok(n_dropped.min(waiting.len()))
    }

    /// Lists the documents that wait, the oldest first.
    pub(super) fn waiting(&self) -> Result<Vec<PathBuf>, SpoolError> {
        let unreadable = |source| SpoolError::File { action: "read", path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut waiting = Vec::new();
        for entry in entries {
            let path = entry.map_err(unreadable)?.path();
            // Parts of files that were never finished begin with a full stop and end otherwise.
            if path.extension().is_some_and(|extension| extension == "json") {
                waiting.push(path);
            }
        }
        waiting.sort();
        Ok(waiting)
    }

    /// Publishes what waits, through a connection that is closed again, and returns how many documents it was.
    pub(super) fn send(&self, recipient: &Recipient) -> Result<usize, SpoolError> {
        let waiting = self.waiting()?;
        if waiting.is_empty() {
            return Ok(0);
        }
        let deadline_ns = Monotonic.now_ns().saturating_add(ATTEMPT_NS);
        let Recipient { broker, client_id, topic } = recipient;
        let mut publisher = Publisher::connect(broker, client_id, PATIENCE, &Monotonic)?;
        let mut n_sent = 0;
        for path in waiting {
            if Monotonic.now_ns() >= deadline_ns {
                break;
            }
            let document = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => {
                    read.map_err(|source| SpoolError::File { action: "read", path: path.clone(), source })?
                }
            };
            publisher.publish(topic, &document, PATIENCE)?;
            remove(&path)?;
            n_sent += 1;
        }
        publisher.close();
        Ok(n_sent)
    }
}

/// What is gone was sent by another run.
fn remove(path: &Path) -> Result<(), SpoolError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed.map_err(|source| SpoolError::File { action: "remove", path: path.to_owned(), source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_spool_drops_its_oldest_documents() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"), 2);
        assert!(spool.waiting().unwrap().is_empty());
        let added: Vec<usize> =
            ["20251007_103015_a.json", "20251007_103017_b.json", "20251007_103016_c.json"]
                .map(|name| spool.add(name, b"{}").unwrap())
                .to_vec();
        assert_eq!(added, [0, 0, 1]);
        let names: Vec<_> = spool.waiting().unwrap();
        let names: Vec<_> = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["20251007_103016_c.json", "20251007_103017_b.json"]);
        fs::write(spool.folder().join(".20251007_103018_d.json.part"), b"{").unwrap();
        assert_eq!(spool.waiting().unwrap().len(), 2);
    }
}
