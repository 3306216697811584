//! Sessions of imported documents, whoever brings them: files, or messages of a broker.

use std::mem;

use jiff::Timestamp;
use lab_core::digest::Digest;
use lab_core::fingerprint::PartKind;
use lab_core::import::{Import, Imported, fingerprint};
use lab_core::plan::ContractPlan;
use lab_core::record::{
    Launch, LaunchStart, Outcome, RecordedRepetition, Repetition, RepetitionKind, Session, SessionEnd,
    SessionHeader, SessionId, SessionStatus,
};
use lab_core::validity::Validity;
use lab_core::work::Work;
use lab_store::{Store, StoreError};

/// What documents tell of the identity of what they measured, by part and field.
pub(crate) type Told = Vec<(PartKind, &'static str, String)>;

/// What the documents of one session have in common.
pub(crate) struct Common<'a> {
    pub(crate) import: Import,
    pub(crate) told: &'a Told,
    /// What people find the session by, where no plan says.
    pub(crate) name: String,
    /// The name every output calls the model by.
    pub(crate) model_name: &'a str,
    /// What is demanded of the documents.
    pub(crate) plan: Option<&'a ContractPlan>,
}

impl Common<'_> {
    /// Returns a session that has ended: nothing was measured here, and nothing more belongs to it. One document is one launch
    /// of its tool, with one repetition in it.
    pub(crate) fn session(self, documents: Vec<Imported>) -> Session {
        let now = Timestamp::now();
        let repeat = u32::try_from(documents.len()).expect("nobody imports 2^32 documents at once");
        let (launches, repetitions) = (0..repeat).zip(documents).map(recorded).unzip();
        let end = SessionEnd { ended_at: now, status: SessionStatus::Completed };
        Session { header: self.header(repeat, now), launches, repetitions, end: Some(end) }
    }

    fn header(self, repeat: u32, now: Timestamp) -> SessionHeader {
        let told: Vec<(PartKind, &str, &str)> =
            self.told.iter().map(|(part, field, value)| (*part, *field, value.as_str())).collect();
        let tolerances = self.plan.map(|plan| plan.tolerances.clone()).unwrap_or_default();
        let limits = self.plan.map(|plan| plan.limits.clone()).unwrap_or_default();
        SessionHeader {
            id: SessionId(uuid::Uuid::now_v7()),
            started_at: now,
            lab_version: env!("CARGO_PKG_VERSION").to_owned(),
            plan_name: self.plan.map_or(self.name, |plan| plan.name.clone()),
            plan_text: self.plan.map(|plan| plan.text.clone()).unwrap_or_default(),
            model_name: self.model_name.to_owned(),
            fingerprint: fingerprint(&self.import, &told),
            work: Work::Import(self.import),
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

/// Returns what contradictions make of a document.
pub(crate) fn validity(contradictions: Vec<String>) -> Validity {
    match contradictions.is_empty() {
        true => Validity::Valid,
        false => Validity::Suspect(contradictions),
    }
}

/// Returns the file that an import failed by, where it was one: the others may be tried again without it.
pub(crate) fn failed_by(error: &StoreError) -> Option<&str> {
    match error {
        StoreError::SourceChanged { path } | StoreError::SourceUnreadable { path, .. } => Some(path),
        _ => None,
    }
}

/// Takes the documents out that another command recorded since they were looked up, where an import failed by one of them:
/// the others may be tried again without them.
///
/// # Errors
///
/// The error itself, where it was another or nothing can be left out; when the store cannot be read.
pub(crate) fn take_known<T>(
    error: StoreError,
    documents: &mut Vec<T>,
    digest_of: impl Fn(&T) -> Digest,
    store: &Store,
) -> Result<Vec<T>, StoreError> {
    if !is_source_recorded(&error) {
        return Err(error);
    }
    let recorded = store.source_digests()?;
    let is_known = |document: &T| recorded.contains(&digest_of(document));
    let (known, left): (Vec<T>, Vec<T>) = mem::take(documents).into_iter().partition(is_known);
    *documents = left;
    if known.is_empty() { Err(error) } else { Ok(known) }
}

/// Returns whether the store refused a file that it has; it names rows by their table and key.
fn is_source_recorded(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyRecorded { subject } if subject.starts_with("source:"))
}
