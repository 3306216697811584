//! From messages to sessions: those that files of the same devices would make, all of a batch in one transaction.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use lab_core::device::DeviceId;
use lab_core::digest::Digest;
use lab_core::excerpt::shown;
use lab_core::import::Source;
use lab_core::metric::Contract;
use lab_formats::import::device::{DeviceDocument, is_same_device, read_inferences_slice, read_loading};
use lab_mqtt::{Message, Pattern};
use lab_store::Store;

use crate::commands::import::device::{TOOL, sessions};
use crate::failure::Result;
use crate::imported::{Document, Recorded, Terms};

use super::quarantine::{Kept, Quarantine};

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
    /// Messages that cannot be stored, and for which the quarantine has no room.
    pub(super) dropped: usize,
}

impl Counts {
    /// Returns how many messages were not known before.
    pub(super) fn n_new(&self) -> usize {
        self.stored + self.quarantined
    }

    /// Returns how many messages were taken.
    pub(super) fn n_taken(&self) -> usize {
        self.n_new() + self.known + self.dropped
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.sessions += other.sessions;
        self.known += other.known;
        self.quarantined += other.quarantined;
        self.dropped += other.dropped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stored, sessions, known, quarantined, dropped } = self;
        write!(
            f,
            "stored: {stored} (sessions: {sessions}), known already: {known}, in quarantine: {quarantined}"
        )?;
        match dropped {
            0 => Ok(()),
            _ => write!(f, ", dropped: {dropped}"),
        }
    }
}

/// What a batch came to.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) counts: Counts,
    /// A sentence for each message that went into quarantine, or was dropped.
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

/// What a batch has in it, before anything is written.
#[derive(Default)]
struct Sorted {
    batch: Batch,
    rejected: Vec<Rejected>,
    /// Messages whose payload is in the store, or in the batch already.
    n_known: usize,
}

/// A message that cannot be stored, and why.
struct Rejected {
    digest: Digest,
    message: Message,
    reason: String,
}

impl Taker<'_> {
    /// Stores the messages that are documents and not known, and keeps what is no document in quarantine.
    ///
    /// An error of the store leaves everything as it was, the quarantine too: the same messages may be taken again, and come to
    /// what they would have come to.
    pub(super) fn take(&self, messages: Vec<Message>, store: &mut Store) -> Result<Taken> {
        let Sorted { batch, rejected, n_known } = self.sort(messages, store)?;
        let mut taken = Taken::default();
        let n_read = batch.documents.len();
        let recorded = batch.store(store)?;
        taken.counts.sessions = recorded.sessions.len();
        taken.counts.stored = n_read - recorded.known.len();
        taken.counts.known = n_known + recorded.known.len();
        // Behind the store, which may be busy: what lies in quarantine would count as known when the batch is taken again.
        self.set_aside(&rejected, &mut taken)?;
        Ok(taken)
    }

    /// Tells what is known, what is a document and what is none. Nothing is written.
    fn sort(&self, messages: Vec<Message>, store: &Store) -> Result<Sorted> {
        let mut sorted = Sorted::default();
        for message in messages {
            let digest = Digest::of(&message.payload);
            if sorted.batch.payloads.contains_key(&digest) || store.session_of_source(&digest)?.is_some() {
                sorted.n_known += 1;
                continue;
            }
            match self.read(&message) {
                Ok((device, document)) => {
                    sorted.batch.add(&device, document, digest, message, self.address);
                }
                Err(reason) => sorted.rejected.push(Rejected { digest, message, reason }),
            }
        }
        Ok(sorted)
    }

    /// Keeps in quarantine what is not there yet, as far as there is room.
    fn set_aside(&self, rejected: &[Rejected], taken: &mut Taken) -> Result<()> {
        for Rejected { digest, message, reason } in rejected {
            match self.quarantine.keep(digest, message, reason)? {
                Kept::Anew => {
                    taken.counts.quarantined += 1;
                    taken.told.push(format!("in quarantine as {}: {reason}", digest.short()));
                }
                Kept::Before => taken.counts.known += 1,
                Kept::Nowhere => {
                    taken.counts.dropped += 1;
                    let topic = shown(&message.topic);
                    taken.told.push(format!(
                        "dropped {digest}, published on `{topic}`: {reason}; the quarantine is full \
                         (`--quarantine-limit`)"
                    ));
                }
            }
        }
        Ok(())
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
    fn add(
        &mut self,
        device: &DeviceId,
        document: DeviceDocument,
        sha256: Digest,
        message: Message,
        address: &str,
    ) {
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

    fn message(payload: &str) -> Message {
        Message {
            topic: "iot/metrics/edge-01".to_owned(),
            payload: payload.as_bytes().to_vec(),
            is_retained: false,
            is_repeated: false,
            receipt: None,
        }
    }

    fn batch(texts: &[&str]) -> Batch {
        let device = DeviceId::parse("edge-01").unwrap();
        let mut batch = Batch::default();
        for text in texts {
            let digest = Digest::of(text.as_bytes());
            let document = read_document(text.as_bytes()).unwrap();
            batch.add(&device, document, digest, message(text), "mqtt://broker");
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

    #[test]
    fn a_batch_that_could_not_be_stored_is_taken_again_as_if_for_the_first_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lab.sqlite");
        drop(Store::open(&path).unwrap());
        let pattern = Pattern::parse("iot/metrics/{device_id}").unwrap();
        let quarantine = Quarantine::new(folder.path().join("quarantine"), 1_000_000);
        let taker = Taker { pattern: &pattern, address: "mqtt://broker", quarantine };
        let messages: Vec<Message> =
            ["{", r#"{"load_time_s": 1.5}"#, "{", r#"{"load_time_s": 1.5}"#].map(message).into();
        // It refuses the append at once, where one that another process holds makes it wait for minutes.
        let mut unwritable = Store::open_read_only(&path).unwrap();
        assert!(taker.take(messages.clone(), &mut unwritable).is_err());
        assert!(!taker.quarantine.folder().exists(), "nothing was put aside for a batch that comes again");
        drop(unwritable);
        let mut store = Store::open(&path).unwrap();
        let taken = taker.take(messages.clone(), &mut store).unwrap();
        assert_eq!(taken.counts, Counts { stored: 1, sessions: 1, known: 2, quarantined: 1, dropped: 0 });
        assert_eq!(taken.told.len(), 1, "{:?}", taken.told);
        let again = taker.take(messages, &mut store).unwrap();
        assert_eq!(again.counts, Counts { known: 4, ..Counts::default() });
        assert!(again.told.is_empty(), "{:?}", again.told);
    }

    #[test]
    fn what_the_quarantine_has_no_room_for_is_dropped_and_counted_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("lab.sqlite")).unwrap();
        let pattern = Pattern::parse("iot/metrics/{device_id}").unwrap();
        // Room for the two files of one message.
        let quarantine = Quarantine::new(folder.path().join("quarantine"), 10_000);
        let taker = Taker { pattern: &pattern, address: "mqtt://broker", quarantine };
        let taken = taker.take(["{", "[", "{"].map(message).into(), &mut store).unwrap();
        assert_eq!(taken.counts, Counts { quarantined: 1, dropped: 1, known: 1, ..Counts::default() });
        assert!(taken.counts.to_string().ends_with("in quarantine: 1, dropped: 1"), "{}", taken.counts);
        let told = format!("dropped {}, published on `iot/metrics/edge-01`: ", Digest::of(b"["));
        assert!(taken.told[1].starts_with(&told), "{:?}", taken.told);
        assert!(taken.told[1].ends_with("the quarantine is full (`--quarantine-limit`)"), "{:?}", taken.told);
        // Whoever empties it has room again.
        std::fs::remove_dir_all(taker.quarantine.folder()).unwrap();
        let again = taker.take(vec![message("[")], &mut store).unwrap();
        assert_eq!(again.counts, Counts { quarantined: 1, ..Counts::default() });
    }
}
