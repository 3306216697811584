//! What every import of files does: what the store knows is passed over, and the rest is recorded as sessions, all of it or
//! nothing. What becomes of documents, those of a broker too, is in `imported.rs`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use anyhow::anyhow;
use lab_core::digest::Digest;
use lab_core::import::Source;
use lab_core::record::Session;
use lab_store::{Store, StoreError};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::imported::{Document, Recorded, Terms};
use crate::terminal::say;

use super::read::{self, Bytes, Outcome, Parsed, SourceFile};
use super::watch::{Watch, Watched};

/// The files that the user means.
#[derive(Debug)]
pub(super) struct Found<K> {
    pub(super) files: Vec<SourceFile<K>>,
    /// What cannot be read, a sentence each, the file named.
    pub(super) complaints: Vec<String>,
}

impl<K> Default for Found<K> {
    fn default() -> Self {
        Self { files: Vec::new(), complaints: Vec::new() }
    }
}

/// What was taken in.
pub(super) struct Taken {
    pub(super) sessions: Vec<Session>,
    /// How the command ends.
    pub(super) exit: Exit,
}

/// Takes files in, and says what became of those that are in no session now.
pub(super) fn take<K: Sync>(
    terms: &Terms<'_>,
    found: Found<K>,
    parse: impl Fn(&K, Bytes<'_>) -> Parsed + Sync,
    store: &mut Store,
) -> Result<Taken> {
    let Found { files, complaints } = found;
    let mut reading = Reading { complaints, ..Reading::default() };
    for outcome in read::all(&files, &store.source_digests()?, parse) {
        reading.add(outcome);
    }
    let Reading { documents, mut known, twins, mut complaints, .. } = reading;
    if !terms.keep_going && !complaints.is_empty() {
        return Err(refusal(&complaints));
    }
    let recorded = record(terms, documents, store)?;
    known.extend(recorded.known);
    complaints.extend(recorded.complaints);
    complaints.iter().for_each(|complaint| say(&format!("passed over: {complaint}")));
    tell_known(&known, store)?;
    tell_twins(&twins);
    let exit = if complaints.is_empty() { Exit::Pass } else { Exit::Usage };
    Ok(Taken { sessions: recorded.sessions, exit })
}

/// What came of reading.
#[derive(Default)]
struct Reading {
    documents: Vec<Document>,
    /// Where the bytes of each of them lie.
    paths: BTreeMap<Digest, String>,
    /// Files that the store has met.
    known: Vec<Source>,
    /// A sentence for each file whose bytes lie in another one too.
    twins: Vec<String>,
    complaints: Vec<String>,
}

impl Reading {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::New(document) => self.add_document(document),
            Outcome::Known(source) => self.known.push(source),
            Outcome::Refused(complaint) => self.complaints.push(complaint),
        }
    }

    fn add_document(&mut self, document: Document) {
        let Source { path, sha256, .. } = document.source().clone();
        if let Some(twin) = self.paths.get(&sha256) {
            self.twins.push(format!("`{path}` has the bytes of `{twin}`, which are imported once"));
            return;
        }
        self.paths.insert(sha256, path);
        self.documents.push(document);
    }
}

fn record(
    terms: &Terms<'_>,
    documents: Vec<Document>,
    store: &mut Store,
) -> std::result::Result<Recorded, StoreError> {
    let watch = Watch::new("storing", documents.iter().map(|document| document.source().bytes).sum());
    let mut open = |source: &Source| -> io::Result<Box<dyn Read>> {
        Ok(Box::new(Watched::new(File::open(&source.path)?, &watch)))
    };
    terms.record(documents, &mut open, store)
}

/// What is said is read by people: some lines of it, not thousands.
const SHOWN: usize = 8;

fn refusal(complaints: &[String]) -> Failure {
    let shown: Vec<&str> = complaints.iter().take(SHOWN).map(String::as_str).collect();
    let more = match complaints.len() - shown.len() {
        0 => String::new(),
        n => format!("\n… and {n} more"),
    };
    let message = format!("{}{more}\nnothing was imported", shown.join("\n"));
    Failure::usage(anyhow!(message))
        .hint("`--keep-going` passes over what cannot be read, and imports the rest")
}

fn tell_known(known: &[Source], store: &Store) -> Result<()> {
    if known.len() > SHOWN {
        say(&format!("{} files were in the store already", known.len()));
        return Ok(());
    }
    for Source { path, sha256, .. } in known {
        if let Some(id) = store.session_of_source(sha256)? {
            say(&format!("note: `{path}` is imported already, as part of session {}", store.short_id(&id)?));
        }
    }
    Ok(())
}

fn tell_twins(twins: &[String]) {
    twins.iter().take(SHOWN).for_each(|twin| say(&format!("note: {twin}")));
    if twins.len() > SHOWN {
        say(&format!("… and {} more files have the bytes of others", twins.len() - SHOWN));
    }
}
