//! From messages to sessions: those that files of the same devices would make, all of a batch in one transaction.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use lab_core::digest::Digest;
use lab_core::import::Source;
use lab_core::metric::Contract;
use lab_formats::import::device::{DeviceDocument, is_same_device, read_inferences_slice, read_loading};
use lab_mqtt::{DeviceId, Message, Pattern};
use lab_store::Store;

use crate::commands::import::device::{TOOL, sessions};
use crate::failure::Result;
use crate::imported::{Document, Recorded, Terms};

use super::quarantine::Quarantine;

/// What became of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Documents in the store that were not there.
    pub(super) stored: usize,
    /// The sessions that they are in.
    pub(super) sessions: usize,
    /// Messages whose payload was in the store or in quarantine already.
    pub(super) known: usize,
    /// Messages in quarantine that were not there.
    pub(super) quarantined: usize,
}

impl Counts {
    /// Returns how many messages were not known before.
    pub(super) fn n_new(&self) -> usize {
        self.stored + self.quarantined
    }

    /// Returns how many messages were taken.
    pub(super) fn n_taken(&self) -> usize {
        self.n_new() + self.known
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.sessions += other.sessions;
        self.known += other.known;
        self.quarantined += other.quarantined;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stored, sessions, known, quarantined } = self;
        write!(
            f,
            "stored: {stored} (sessions: {sessions}), known already: {known}, in quarantine: {quarantined}"
        )
    }
}

/// What a batch came to.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) counts: Counts,
    /// A sentence for each message that went into quarantine.
    pub(super) told: Vec<String>,
}

/// Takes messages in.
pub(super) struct Taker<'a> {
    pub(super) pattern: &'a Pattern,
    pub(super) address: &'a str,
    pub(super) quarantine: Quarantine,
}

/// The most bytes of a message that is read: nothing that a stranger publishes may take a watch's memory.
const LARGEST: usize = 16 << 20;

impl Taker<'_> {
    /// Stores the messages that are documents and not known, and keeps what is no document in quarantine.
    pub(super) fn take(&self, messages: Vec<Message>, store: &mut Store) -> Result<Taken> {
        let mut taken = Taken::default();
        let mut batch = Batch::default();
        for message in messages {
            let digest = Digest::of(&message.payload);
            if batch.payloads.contains_key(&digest) || store.session_of_source(&digest)?.is_some() {
                taken.counts.known += 1;
                continue;
            }
            match self.read(&message) {
                Ok((device, document)) => batch.add(&device, document, message, self.address),
                Err(reason) if self.quarantine.keep(&digest, &message, &reason)? => {
                    taken.counts.quarantined += 1;
                    taken.told.push(format!("in quarantine as {}: {reason}", digest.short()));
                }
                Err(_) => taken.counts.known += 1,
            }
        }
        let n_read = batch.documents.len();
        let recorded = batch.store(store)?;
        taken.counts.sessions = recorded.sessions.len();
        taken.counts.stored = n_read - recorded.known.len();
        taken.counts.known += recorded.known.len();
        Ok(taken)
    }

    /// Reads a message: whose it is, and what it says; or why it cannot be stored.
    fn read(&self, message: &Message) -> std::result::Result<(DeviceId, DeviceDocument), String> {
        let n_bytes = message.payload.len();
        if n_bytes > LARGEST {
            return Err(format!("{n_bytes} bytes, more than {LARGEST} for one document"));
        }
        let device = self.pattern.device_of(&message.topic).map_err(|error| error.to_string())?;
        let mut document = read_document(&message.payload)?;
        let said = &document.figures.device_id;
        if !said.is_empty() && !is_same_device(said, device.as_str()) {
            let sentence = format!("topic: the topic says `{device}`, the document `{said}`");
            document.contradictions.push(sentence);
        }
        Ok((device, document))
    }
}

/// A document of either kind. What is neither is told by what keeps it from being one about inferences.
fn read_document(payload: &[u8]) -> std::result::Result<DeviceDocument, String> {
    read_inferences_slice(payload)
        .or_else(|error| read_loading(payload).map_err(|_| error))
        .map_err(|error| error.to_string())
}

/// Documents that are stored together.
#[derive(Default)]
struct Batch {
    documents: Vec<Document>,
    payloads: BTreeMap<Digest, Arc<[u8]>>,
}

impl Batch {
    fn add(&mut self, device: &DeviceId, document: DeviceDocument, message: Message, address: &str) {
        let sha256 = Digest::of(&message.payload);
        let source = Source {
            path: format!("{address}/{}", message.topic),
            sha256,
            bytes: message.payload.len() as u64,
        };
        let content = sessions::content(device.as_str(), document, TOOL);
        self.documents.push(Document::new(source, content));
        self.payloads.insert(sha256, message.payload.into());
    }

    /// Stores all of it or nothing. What another command recorded meanwhile is left out.
    fn store(self, store: &mut Store) -> Result<Recorded> {
        let Self { documents, payloads } = self;
        let mut open = |source: &Source| -> io::Result<Box<dyn Read>> {
            let payload = payloads.get(&source.sha256).cloned().ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(Cursor::new(payload)))
        };
        let terms = Terms { contract: Contract::DeviceV1, plan: None, keep_going: false };
        Ok(terms.record(documents, &mut open, store)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(texts: &[&str]) -> Batch {
        let device = DeviceId::parse("edge-01").unwrap();
        let mut batch = Batch::default();
        for text in texts {
            let message = Message {
                topic: "iot/metrics/edge-01".to_owned(),
                payload: text.as_bytes().to_vec(),
                is_retained: false,
                is_repeated: false,
                receipt: None,
            };
            batch.add(&device, read_document(text.as_bytes()).unwrap(), message, "mqtt://broker");
        }
        batch
    }

    #[test]
    fn what_another_command_recorded_meanwhile_is_left_out_and_the_rest_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("lab.sqlite")).unwrap();
        let [first, second] = [r#"{"load_time_s": 1.5}"#, r#"{"load_time_s": 2.5}"#];
        for (texts, expected) in
            [(&[first][..], (1, 0)), (&[first, second][..], (1, 1)), (&[first, second][..], (0, 2))]
        {
            let Recorded { sessions, known, .. } = batch(texts).store(&mut store).unwrap();
            assert_eq!((sessions.len(), known.len()), expected, "{texts:?}");
        }
        assert_eq!(store.source_digests().unwrap().len(), 2);
    }
}
