//! Documents that wait for their broker: a folder of files, the oldest first, no more than a limit.

use std::collections::VecDeque;
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
/// The folder of documents that no broker will have.
const SET_ASIDE: &str = "set-aside";

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

    /// Publishes what waits, the oldest first, and sets aside what is longer than the broker takes.
    pub(super) fn send(&self, recipient: &Recipient) -> Sent {
        let mut sent = Sent::default();
        let trouble = self.send_waiting(&mut Line { recipient, publisher: None }, &mut sent).err();
        Sent { trouble, ..sent }
    }

    fn send_waiting(&self, line: &mut Line<'_>, sent: &mut Sent) -> Result<(), SpoolError> {
        let deadline_ns = Monotonic.now_ns().saturating_add(ATTEMPT_NS);
        let mut waiting = self.documents(sent)?;
        while let Some(path) = waiting.pop_front() {
            if Monotonic.now_ns() >= deadline_ns {
                break;
            }
            let Some(document) = read(&path)? else { continue };
            let mut offered = line.offer(&document)?;
            if let Offered::Lost(error) = offered {
                if !send_shorter(&document, &mut waiting, line, sent)? {
                    return Err(error.into());
                }
                if Monotonic.now_ns() >= deadline_ns {
                    break;
                }
                offered = line.offer(&document)?;
            }
            match offered {
                Offered::Taken => sent.take(&path)?,
                Offered::TooLong(error) => sent.set_aside.push(self.set_aside(&path, &error.to_string())?),
                Offered::Lost(error) => {
                    let n = document.len();
                    let reason = format!("the broker hangs up on its {n} bytes, and takes fewer ({error})");
                    sent.set_aside.push(self.set_aside(&path, &reason)?);
                }
            }
        }
        line.close();
        Ok(())
    }

    /// Lists the documents that wait, and sets aside what is no file: to open a pipe may take for ever.
    fn documents(&self, sent: &mut Sent) -> Result<VecDeque<PathBuf>, SpoolError> {
        let mut documents = VecDeque::new();
        for path in self.waiting()? {
            match fs::metadata(&path) {
                Ok(metadata) if !metadata.is_file() => {
                    sent.set_aside.push(self.set_aside(&path, "it is no regular file")?);
                }
                _ => documents.push_back(path),
            }
        }
        Ok(documents)
    }

    /// Moves a document out of the way of the others, and returns a sentence about that.
    fn set_aside(&self, path: &Path, reason: &str) -> Result<String, SpoolError> {
        let failed = |source| SpoolError::File { action: "set aside", path: path.to_owned(), source };
        let folder = self.folder.join(SET_ASIDE);
        fs::create_dir_all(&folder).map_err(failed)?;
        let place = folder.join(path.file_name().expect("it was listed by its name"));
        fs::rename(path, &place).map_err(failed)?;
        Ok(format!("never published, and set aside as `{}`: {reason}", place.display()))
    }
}

/// What came of sending what waits.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Documents that the broker has.
    pub(super) n_sent: usize,
    /// A sentence for each document that it will never have.
    pub(super) set_aside: Vec<String>,
    /// Why documents still wait, unless it was for want of time.
    pub(super) trouble: Option<SpoolError>,
}

impl Sent {
    /// Takes note of a document that the broker has.
    fn take(&mut self, path: &Path) -> Result<(), SpoolError> {
        remove(path)?;
        self.n_sent += 1;
        Ok(())
    }
}

/// A connection, where there is one.
struct Line<'a> {
    recipient: &'a Recipient,
    publisher: Option<Publisher<'a>>,
}

/// What became of a document that was offered to the broker.
enum Offered {
    Taken,
    /// No packet holds it.
    TooLong(MqttError),
    /// The connection ended over it: it may be longer than this broker takes. MQTT 3.1.1 has no words for that.
    Lost(MqttError),
}

impl Line<'_> {
    /// Offers a document, through a new connection where there is none.
    fn offer(&mut self, document: &[u8]) -> Result<Offered, MqttError> {
        let Recipient { broker, client_id, topic } = self.recipient;
        let mut publisher = match self.publisher.take() {
            Some(publisher) => publisher,
            None => Publisher::connect(broker, client_id, PATIENCE, &Monotonic)?,
        };
        let offered = match publisher.publish(topic, document, PATIENCE) {
            Ok(()) => Offered::Taken,
            Err(error @ MqttError::TooLong { .. }) => Offered::TooLong(error),
            // A slow link is no broker that hangs up.
            Err(MqttError::Broken(source)) if is_late(source.kind()) => {
                return Err(MqttError::Broken(source));
            }
            Err(error @ (MqttError::Closed | MqttError::Broken(_))) => return Ok(Offered::Lost(error)),
            Err(error) => return Err(error),
        };
        self.publisher = Some(publisher);
        Ok(offered)
    }

    /// Ends the connection in order.
    fn close(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            publisher.close();
        }
    }
}

fn is_late(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Sends the shortest of the documents that wait, if it is shorter than one that the connection ended over, and returns whether
/// the broker took it: then it is not the broker that is in trouble.
fn send_shorter(
    than: &[u8],
    waiting: &mut VecDeque<PathBuf>,
    line: &mut Line<'_>,
    sent: &mut Sent,
) -> Result<bool, SpoolError> {
    let sizes = waiting.iter().enumerate();
    let sizes = sizes.filter_map(|(position, path)| Some((fs::metadata(path).ok()?.len(), position)));
    let shortest = sizes.filter(|(bytes, _)| *bytes < than.len() as u64).min();
    let Some(path) = shortest.and_then(|(_, position)| waiting.remove(position)) else { return Ok(false) };
    let Some(document) = read(&path)? else { return Ok(false) };
    match line.offer(&document)? {
        Offered::Taken => sent.take(&path).map(|()| true),
        Offered::TooLong(_) | Offered::Lost(_) => Ok(false),
    }
}

/// Reads a document; nothing where another run has sent it meanwhile.
fn read(path: &Path) -> Result<Option<Vec<u8>>, SpoolError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(|source| SpoolError::File {
            action: "read",
            path: path.to_owned(),
            source,
        }),
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

    #[test]
    fn what_is_no_file_is_set_aside_unread() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"), 2);
        spool.add("20251007_103015_a.json", b"{}").unwrap();
        std::os::unix::fs::symlink("/dev/zero", spool.folder().join("x.json")).unwrap();
        let mut sent = Sent::default();
        let documents = spool.documents(&mut sent).unwrap();
        assert_eq!(documents, [spool.folder().join("20251007_103015_a.json")]);
        assert!(sent.set_aside[0].ends_with("x.json`: it is no regular file"), "{sent:?}");
    }

    #[test]
    fn what_was_set_aside_is_kept_and_waits_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"), 2);
        spool.add("20251007_103015_a.json", b"{}").unwrap();
        let waiting = spool.waiting().unwrap();
        let told = spool.set_aside(&waiting[0], "it is too long").unwrap();
        let place = spool.folder().join("set-aside/20251007_103015_a.json");
        assert_eq!(told, format!("never published, and set aside as `{}`: it is too long", place.display()));
        assert_eq!(fs::read(place).unwrap(), b"{}");
        assert!(spool.waiting().unwrap().is_empty());
    }
}
