//! Files that are named one by one: they are read, what the store knows is passed over, the rest is recorded as sessions,
//! all of them or none. What every import has in common, folders and messages too, is in `imported.rs`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use lab_core::digest::Digest;
use lab_core::import::{Import, Imported, Source};
use lab_core::metric::Contract;
use lab_core::plan::ContractPlan;
use lab_core::record::Session;
use lab_formats::import::{DocumentError, HashingReader};
use lab_store::{Store, StoreError};

use crate::commands::run;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::imported::{Common, Told, failed_by, take_known};
use crate::recording;
use crate::store;
use crate::terminal::{Format, say};

/// A document that was read.
pub(super) struct Document {
    /// The file.
    pub(super) path: PathBuf,
    /// What the document says.
    pub(super) imported: Imported,
    /// The tool that measured.
    pub(super) tool: String,
    /// What the document says of the identity of what it measured.
    pub(super) told: Told,
    /// What people find the session by, where no plan says.
    pub(super) name: String,
    /// The name every output calls the model by.
    pub(super) model: String,
}

impl Document {
    fn source(&self) -> &Source {
        &self.imported.source
    }
}

/// Bytes read at once: a document is read byte by byte, a file is not.
const BUFFER_BYTES: usize = 1 << 16;

/// Reads a document and takes the digest of all its bytes, without holding them.
pub(super) fn read<T>(
    path: &Path,
    parse: impl FnOnce(BufReader<&mut HashingReader<File>>) -> std::result::Result<T, DocumentError>,
) -> Result<(T, Source)> {
    let fails = |error: DocumentError| Failure::usage(anyhow!("`{}`: {error}", path.display()));
    refuse_what_is_read_once(path)?;
    let file = File::open(path).map_err(|error| fails(DocumentError::Unreadable(error)))?;
    let mut hashing = HashingReader::new(file);
    let parsed = parse(BufReader::with_capacity(BUFFER_BYTES, &mut hashing)).map_err(fails)?;
    let (sha256, bytes) = hashing.finish().map_err(|error| fails(DocumentError::Unreadable(error)))?;
    Ok((parsed, Source { path: path.display().to_string(), sha256, bytes }))
}

/// Refuses pipes and the like. A folder, and what is not there, is told by opening it.
fn refuse_what_is_read_once(path: &Path) -> Result<()> {
    let what = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
                format!("`{}` is no regular file, and", path.display())
            }
            _ => return Ok(()),
        }
    };
    Err(Failure::usage(anyhow!("{what} cannot be imported: a document is read twice"))
        .hint("save it to a file first"))
}

/// How documents are taken in.
pub(super) struct Intake<'a> {
    /// The contract they are of.
    pub(super) contract: Contract,
    /// What is demanded of them.
    pub(super) plan: Option<&'a ContractPlan>,
    /// Whether files that cannot be taken in keep the others out.
    pub(super) keep_going: bool,
    /// What to print.
    pub(super) format: Format,
}

impl Intake<'_> {
    /// Takes in files, and prints the sessions made of them.
    pub(super) fn carry_out(
        &self,
        files: &[PathBuf],
        read: impl Fn(&Path) -> Result<Document>,
        global: &Global,
    ) -> Result<Exit> {
        let documents = self.read_all(files, read)?;
        let mut n_refused = files.len() - documents.len();
        if !documents.is_empty() {
            let mut store = store::open_for_recording(&global.store)?;
            let new = unknown(documents, &store)?;
            if new.is_empty() {
                say("nothing is new");
            }
            let recorded = self.record(new, &mut store)?;
            n_refused += recorded.n_refused;
            self.show(&recorded.sessions, &store, global)?;
        }
        match n_refused {
            0 => Ok(Exit::Pass),
            n => Err(Failure::usage(anyhow!("{n} of {} files could not be imported", files.len()))),
        }
    }

    fn read_all(&self, files: &[PathBuf], read: impl Fn(&Path) -> Result<Document>) -> Result<Vec<Document>> {
        let mut documents = Vec::new();
        for path in files {
            match read(path) {
                Ok(document) => documents.push(document),
                Err(failure) if self.keep_going => say(&format!("error: {failure}")),
                Err(failure) if files.len() > 1 => {
                    return Err(
                        failure.hint("nothing was imported; `--keep-going` takes in the files that can be")
                    );
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(documents)
    }

    /// Records the sessions of all documents at once. With `keep_going`, a file that is another than a moment ago is left
    /// out, and the rest tried again; so are the others where another command recorded some of them meanwhile.
    fn record(&self, mut documents: Vec<Document>, store: &mut Store) -> Result<Recorded> {
        let mut recorded = Recorded::default();
        while !documents.is_empty() {
            recorded.sessions = self.sessions(&documents);
            let Err(error) = append(&recorded.sessions, &documents, store) else { return Ok(recorded) };
            match failed_by(&error).filter(|_| self.keep_going) {
                Some(path) => {
                    let n_documents = documents.len();
                    documents.retain(|own| own.source().path != path);
                    if documents.len() == n_documents {
                        return Err(error.into());
                    }
                    recorded.n_refused += n_documents - documents.len();
                    say(&format!("error: {error}"));
                }
                None => {
                    let known = take_known(error, &mut documents, |own| own.source().sha256, store)?;
                    known.iter().for_each(|own| remark(own, "was imported by another command meanwhile"));
                }
            }
        }
        Ok(Recorded { sessions: Vec::new(), ..recorded })
    }

    /// Documents of one tool that tell the same of their identity are repetitions of one session, in the order given.
    fn sessions(&self, documents: &[Document]) -> Vec<Session> {
        let mut positions: BTreeMap<(&str, &Told), usize> = BTreeMap::new();
        let mut groups: Vec<Vec<&Document>> = Vec::new();
        for document in documents {
            let position = *positions.entry((document.tool.as_str(), &document.told)).or_insert(groups.len());
            if position == groups.len() {
                groups.push(Vec::new());
            }
            groups[position].push(document);
        }
        groups.iter().map(|group| self.session(group)).collect()
    }

    fn session(&self, documents: &[&Document]) -> Session {
        let first = documents[0];
        let common = Common {
            import: Import { contract: self.contract, tool: first.tool.clone() },
            told: &first.told,
            name: first.name.clone(),
            model_name: &first.model,
            plan: self.plan,
        };
        common.session(documents.iter().map(|document| document.imported.clone()).collect())
    }

    fn show(&self, sessions: &[Session], store: &Store, global: &Global) -> Result<()> {
        for session in sessions {
            for trouble in
                session.repetitions.iter().filter_map(|own| recording::trouble(session, &own.repetition))
            {
                say(&trouble);
            }
            run::show(session, self.format, global)?;
            let short = store.short_id(&session.header.id)?;
            say(&format!("stored as {short} in {}", store.path().display()));
        }
        Ok(())
    }
}

/// What became of documents.
#[derive(Default)]
struct Recorded {
    sessions: Vec<Session>,
    /// Files that were others than a moment ago.
    n_refused: usize,
}

fn append(
    sessions: &[Session],
    documents: &[Document],
    store: &mut Store,
) -> std::result::Result<(), StoreError> {
    // A file's name as text need not be the name of the file.
    let files: BTreeMap<Digest, &Path> =
        documents.iter().map(|own| (own.source().sha256, own.path.as_path())).collect();
    let mut open = |source: &Source| -> io::Result<Box<dyn Read>> {
        let path = files.get(&source.sha256).expect("every source is that of a document at hand");
        Ok(Box::new(File::open(path)?))
    };
    store.append_imports(sessions, &mut open)
}

/// Leaves out the documents that the store knows, and those that stand there twice, with a word about each.
fn unknown(documents: Vec<Document>, store: &Store) -> Result<Vec<Document>> {
    let mut paths: BTreeMap<Digest, String> = BTreeMap::new();
    let mut new: Vec<Document> = Vec::new();
    for document in documents {
        let Source { path, sha256, .. } = document.source().clone();
        match whereabouts(&sha256, paths.get(&sha256), store)? {
            Some(words) => remark(&document, &words),
            None => {
                paths.insert(sha256, path);
                new.push(document);
            }
        }
    }
    Ok(new)
}

fn whereabouts(sha256: &Digest, twin: Option<&String>, store: &Store) -> Result<Option<String>> {
    if let Some(twin) = twin {
        return Ok(Some(format!("has the bytes of `{twin}`, which are imported once")));
    }
    match store.session_of_source(sha256)? {
        Some(id) => Ok(Some(format!("is imported already, as part of session {}", store.short_id(&id)?))),
        None => Ok(None),
    }
}

fn remark(document: &Document, words: &str) {
    say(&format!("note: `{}` {words}", document.source().path));
}
