//! Documents out of files, on two threads: reading is where an import takes its time.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lab_core::digest::Digest;
use lab_core::import::Source;
use lab_formats::import::{DocumentError, HashingReader};

use crate::imported::{Content, Document};

use super::watch::{Watch, Watched};

/// A file to import.
#[derive(Debug)]
pub(super) struct SourceFile<K> {
    /// Where it lies, as it was named.
    path: String,
    /// Its size when it was found.
    bytes: u64,
    /// What it is taken for.
    kind: K,
}

impl<K> SourceFile<K> {
    /// Takes a file that was found, or says why it cannot be recorded where it lies.
    pub(super) fn new(path: &Path, bytes: u64, kind: K) -> Result<Self, String> {
        Ok(Self { path: shown(path)?, bytes, kind })
    }
}

/// Returns a path as it is recorded and shown.
pub(super) fn shown(path: &Path) -> Result<String, String> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    text.map(str::to_owned).ok_or_else(|| {
        "the path has bytes that are no text, or control characters; give it another name".to_owned()
    })
}

/// Files up to this size are read whole, which is several times as fast; of larger ones nothing is kept but figures. Two
/// threads may hold one each.
const WHOLE_BYTES: u64 = 32 << 20;

/// JSON is taken from a reader byte by byte.
const BUFFER_BYTES: usize = 1 << 16;

/// The bytes of a document.
pub(super) enum Bytes<'a> {
    /// All of them.
    Whole(&'a [u8]),
    /// As they are read.
    Stream(&'a mut dyn Read),
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Whole(bytes) => bytes.read(buffer),
            Self::Stream(reader) => reader.read(buffer),
        }
    }
}

/// What a document says, or why it says nothing.
pub(super) type Parsed = Result<Content, DocumentError>;

/// What came of a file.
pub(super) enum Outcome {
    /// It is a document that the store does not know.
    New(Document),
    /// The store knows its bytes.
    Known(Source),
    /// What is wrong with it, the file named.
    Refused(String),
}

/// Reads files, and returns what came of each, in their order.
pub(super) fn all<K: Sync>(
    files: &[SourceFile<K>],
    known: &BTreeSet<Digest>,
    parse: impl Fn(&K, Bytes<'_>) -> Parsed + Sync,
) -> Vec<Outcome> {
    let watch = Watch::new("reading", files.iter().map(|file| file.bytes).sum());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut outcomes: Vec<(usize, Outcome)> = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else { return outcomes };
            outcomes.push((index, one(file, known, &watch, |bytes| parse(&file.kind, bytes))));
        }
    };
    let mut outcomes = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut outcomes = work();
        outcomes.extend(other.join().expect("what a file holds is refused, never panicked on"));
        outcomes
    });
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn one<K>(
    file: &SourceFile<K>,
    known: &BTreeSet<Digest>,
    watch: &Arc<Watch>,
    parse: impl FnOnce(Bytes<'_>) -> Parsed,
) -> Outcome {
    let read = || -> Result<Outcome, DocumentError> {
        let reader = Watched::new(File::open(&file.path).map_err(DocumentError::Unreadable)?, watch);
        if file.bytes <= WHOLE_BYTES {
            whole(reader, file, known, parse)
        } else {
            streamed(reader, file, known, parse)
        }
    };
    read().unwrap_or_else(|error| Outcome::Refused(format!("`{}`: {error}", file.path)))
}

fn whole<K>(
    reader: impl Read,
    file: &SourceFile<K>,
    known: &BTreeSet<Digest>,
    parse: impl FnOnce(Bytes<'_>) -> Parsed,
) -> Result<Outcome, DocumentError> {
    let mut bytes = Vec::with_capacity(usize::try_from(file.bytes).unwrap_or_default() + 1);
    // A file that grows meanwhile is read no further; the second reading finds it changed.
    reader.take(WHOLE_BYTES + 1).read_to_end(&mut bytes).map_err(DocumentError::Unreadable)?;
    let source = Source { path: file.path.clone(), sha256: Digest::of(&bytes), bytes: bytes.len() as u64 };
    if known.contains(&source.sha256) {
        return Ok(Outcome::Known(source));
    }
    Ok(Outcome::New(Document::new(source, parse(Bytes::Whole(&bytes))?)))
}

fn streamed<K>(
    reader: impl Read,
    file: &SourceFile<K>,
    known: &BTreeSet<Digest>,
    parse: impl FnOnce(Bytes<'_>) -> Parsed,
) -> Result<Outcome, DocumentError> {
    let mut hashing = HashingReader::new(reader);
    let content = parse(Bytes::Stream(&mut BufReader::with_capacity(BUFFER_BYTES, &mut hashing)))?;
    let (sha256, bytes) = hashing.finish().map_err(DocumentError::Unreadable)?;
    let source = Source { path: file.path.clone(), sha256, bytes };
    Ok(match known.contains(&sha256) {
        true => Outcome::Known(source),
        false => Outcome::New(Document::new(source, content)),
    })
}
