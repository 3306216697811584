//! Sessions of imported documents, whoever brings them: files, or messages of a broker.

use std::collections::BTreeMap;
use std::mem;

use jiff::Timestamp;
use lab_core::fingerprint::PartKind;
use lab_core::import::{Figures, Import, Imported, Source, fingerprint};
use lab_core::metric::Contract;
use lab_core::plan::ContractPlan;
use lab_core::record::{
    Launch, LaunchStart, Outcome, RecordedRepetition, Repetition, RepetitionKind, Session, SessionEnd,
    SessionHeader, SessionId, SessionStatus,
};
use lab_core::validity::Validity;
use lab_core::work::Work;
use lab_store::{OpenSource, Store, StoreError};

/// What documents tell of the identity of what they measured, by part and field.
pub(crate) type Told = Vec<(PartKind, &'static str, String)>;

/// What the documents of one session have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// The tool that measured.
    pub(crate) tool: String,
    pub(crate) told: Told,
    /// What people find the session by, where no plan says.
    pub(crate) name: String,
    /// The name every output calls the model by.
    pub(crate) model_name: String,
}

/// What a document says.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) figures: Figures,
    /// In what it contradicts itself.
    pub(crate) contradictions: Vec<String>,
    pub(crate) identity: Identity,
}

/// A document that was read.
#[derive(Debug)]
pub(crate) struct Document {
    imported: Imported,
    identity: Identity,
}

impl Document {
    pub(crate) fn new(source: Source, content: Content) -> Self {
        let Content { figures, contradictions, identity } = content;
        let validity = match contradictions.is_empty() {
            true => Validity::Valid,
            false => Validity::Suspect(contradictions),
        };
        Self { imported: Imported { source, figures, validity }, identity }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.imported.source
    }

    /// Documents about loading have no metric in common with those about inferences, and so have a session of their own.
    fn is_about_loading(&self) -> bool {
        matches!(&self.imported.figures, Figures::Device(figures) if figures.loading.is_some())
    }
}

/// How documents are recorded.
pub(crate) struct Terms<'a> {
    /// The contract they are of.
    pub(crate) contract: Contract,
    /// What is demanded of them.
    pub(crate) plan: Option<&'a ContractPlan>,
    /// Whether files that cannot be taken in keep the others out.
    pub(crate) keep_going: bool,
}

/// What became of documents.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) sessions: Vec<Session>,
    /// The sources of those that another command recorded since they were looked up.
    pub(crate) known: Vec<Source>,
    /// A sentence for each that is another than a moment ago.
    pub(crate) complaints: Vec<String>,
}

impl Terms<'_> {
    /// Records documents in one transaction. What another command recorded meanwhile is left out, with `keep_going` also a file
    /// that is another than a moment ago, and the rest is tried again.
    ///
    /// # Errors
    ///
    /// When nothing can be left out, or the store cannot be written.
    pub(crate) fn record(
        &self,
        mut documents: Vec<Document>,
        open: &mut OpenSource<'_>,
        store: &mut Store,
    ) -> Result<Recorded, StoreError> {
        let mut recorded = Recorded::default();
        while !documents.is_empty() {
            let sessions = self.sessions(&documents);
            let Err(error) = store.append_imports(&sessions, open) else {
                return Ok(Recorded { sessions, ..recorded });
            };
            match failed_by(&error).filter(|_| self.keep_going) {
                Some(path) => {
                    let n_documents = documents.len();
                    documents.retain(|own| own.source().path != path);
                    if documents.len() == n_documents {
                        return Err(error);
                    }
                    recorded.complaints.push(error.to_string());
                }
                None => recorded.known.extend(take_known(error, &mut documents, store)?),
            }
        }
        Ok(recorded)
    }

    /// Documents that tell the same of their identity are repetitions of one session, in the order given.
    fn sessions(&self, documents: &[Document]) -> Vec<Session> {
        let mut positions: BTreeMap<(&Identity, bool), usize> = BTreeMap::new();
        let mut groups: Vec<(&Identity, Vec<Imported>)> = Vec::new();
        for document in documents {
            let key = (&document.identity, document.is_about_loading());
            let position = *positions.entry(key).or_insert(groups.len());
            if position == groups.len() {
                groups.push((&document.identity, Vec::new()));
            }
            groups[position].1.push(document.imported.clone());
        }
        groups.into_iter().map(|(identity, imported)| self.session(identity, imported)).collect()
    }

    /// Returns a session that has ended: nothing was measured here, and nothing more belongs to it. One document is one launch
    /// of its tool, with one repetition in it.
    fn session(&self, identity: &Identity, documents: Vec<Imported>) -> Session {
        let now = Timestamp::now();
        let repeat = u32::try_from(documents.len()).expect("nobody imports 2^32 documents at once");
        let (launches, repetitions) = (0..repeat).zip(documents).map(recorded).unzip();
        let end = SessionEnd { ended_at: now, status: SessionStatus::Completed };
        Session { header: self.header(identity, repeat, now), launches, repetitions, end: Some(end) }
    }

    fn header(&self, identity: &Identity, repeat: u32, now: Timestamp) -> SessionHeader {
        let import = Import { contract: self.contract, tool: identity.tool.clone() };
        let told: Vec<(PartKind, &str, &str)> =
            identity.told.iter().map(|(part, field, value)| (*part, *field, value.as_str())).collect();
        let tolerances = self.plan.map(|plan| plan.tolerances.clone()).unwrap_or_default();
        let limits = self.plan.map(|plan| plan.limits.clone()).unwrap_or_default();
        SessionHeader {
            id: SessionId(uuid::Uuid::now_v7()),
            started_at: now,
            lab_version: env!("CARGO_PKG_VERSION").to_owned(),
            plan_name: self.plan.map_or(&identity.name, |plan| &plan.name).clone(),
            plan_text: self.plan.map(|plan| plan.text.clone()).unwrap_or_default(),
            model_name: identity.model_name.clone(),
            fingerprint: fingerprint(&import, &told),
            work: Work::Import(import),
            repeat,
            tolerances: tolerances.into_iter().collect(),
            limits: limits.into_iter().collect(),
            instruments: None,
            experiment: None,
            until: None,
        }
    }
}

fn recorded((index, imported): (u32, Imported)) -> (Launch, RecordedRepetition) {
    let launch = Launch {
        index,
        start: LaunchStart::Started,
        conditions: serde_json::json!({}),
        profile: None,
        layout: None,
    };
    let measurements = imported.measurements();
    let outcome = Outcome::Imported(Box::new(imported));
    let repetition = Repetition { index, launch: index, kind: RepetitionKind::Measured, outcome };
    (launch, RecordedRepetition { repetition, measurements })
}

/// Returns the file that an import failed by, where it was one: the others may be tried again without it.
fn failed_by(error: &StoreError) -> Option<&str> {
    match error {
        StoreError::SourceChanged { path } | StoreError::SourceUnreadable { path, .. } => Some(path),
        _ => None,
    }
}

/// Takes the documents out that another command recorded since they were looked up, where an import failed by one of them, and
/// returns their sources.
///
/// # Errors
///
/// The error itself, where it was another or nothing can be left out; when the store cannot be read.
fn take_known(
    error: StoreError,
    documents: &mut Vec<Document>,
    store: &Store,
) -> Result<Vec<Source>, StoreError> {
    if !is_source_recorded(&error) {
        return Err(error);
    }
    let recorded = store.source_digests()?;
    let is_known = |document: &Document| recorded.contains(&document.source().sha256);
    let (known, left): (Vec<Document>, Vec<Document>) = mem::take(documents).into_iter().partition(is_known);
    *documents = left;
    if known.is_empty() { Err(error) } else { Ok(known.into_iter().map(|own| own.imported.source).collect()) }
}

/// Returns whether the store refused a file that it has; it names rows by their table and key.
fn is_source_recorded(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyRecorded { subject } if subject.starts_with("source:"))
}

/// Letters of a plan's name, at most.
const MOST_LETTERS: usize = 64;

/// Makes a plan's name of a text; nothing where no letter of it is one.
pub(crate) fn plan_name(text: &str) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let letter = |c: char| if is_allowed(c) { c.to_ascii_lowercase() } else { '-' };
    let letters = text.chars().map(letter).skip_while(|c| !c.is_ascii_alphanumeric());
    let name: String = letters.take(MOST_LETTERS).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor, Read};

    use lab_core::digest::Digest;

    use super::*;

    /// A document whose bytes are its path.
    fn document(path: &str) -> Document {
        let source =
            Source { path: path.to_owned(), sha256: Digest::of(path.as_bytes()), bytes: path.len() as u64 };
        let [tool, name, model_name] = ["apxm", "workflow", "unknown"].map(str::to_owned);
        let identity = Identity { tool, told: Vec::new(), name, model_name };
        let figures = Figures::Workflow(Box::default());
        Document::new(source, Content { figures, contradictions: Vec::new(), identity })
    }

    #[test]
    fn a_file_that_is_another_than_a_moment_ago_is_left_out_where_the_rest_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("lab.sqlite")).unwrap();
        let mut open = |source: &Source| -> io::Result<Box<dyn Read>> {
            let bytes = if source.path == "changed" { "other" } else { source.path.as_str() };
            Ok(Box::new(Cursor::new(bytes.as_bytes().to_vec())))
        };
        let terms = |keep_going| Terms { contract: Contract::WorkflowV1, plan: None, keep_going };
        let documents = || vec![document("changed"), document("same")];
        let error = terms(false).record(documents(), &mut open, &mut store).err().unwrap();
        assert!(matches!(error, StoreError::SourceChanged { .. }), "{error}");
        assert!(store.source_digests().unwrap().is_empty());
        let recorded = terms(true).record(documents(), &mut open, &mut store).unwrap();
        assert_eq!((recorded.sessions.len(), recorded.sessions[0].repetitions.len()), (1, 1));
        assert_eq!(recorded.complaints, ["`changed` changed while it was read; nothing of it was imported"]);
        assert_eq!(store.source_digests().unwrap().len(), 1);
    }

    #[test]
    fn a_text_gives_a_name_that_a_plan_may_have() {
        let (long, cut) = ("x".repeat(90), "x".repeat(64));
        for (text, expected) in [
            ("edge-device-01", Some("edge-device-01")),
            ("Fan Out (2)", Some("fan-out--2-")),
            ("..hidden.tar", Some("hidden.tar")),
            ("00:0f", Some("00-0f")),
            ("ünïcödé", Some("n-c-d-")),
            ("日本", None),
            ("", None),
            (long.as_str(), Some(cut.as_str())),
        ] {
            assert_eq!(plan_name(text).as_deref(), expected, "{text}");
        }
    }
}
