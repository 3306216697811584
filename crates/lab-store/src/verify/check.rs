//! The steps of a verification, each over one kind of row.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lab_core::digest::Digest;
use lab_core::metric::{Measurement, Reading};
use lab_core::record::{RecordedRepetition, Repetition, RepetitionKind, Session, SessionId};
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, Row};

use super::{ArchiveCheck, Finding, Verification};
use crate::archive::{self, Archives};
use crate::body::{OutcomeColumns, session_columns};
use crate::chain::{
    BlobDigest, RECORDED, REPETITION, Recorded, SESSION, digest_at, genesis, last_link, next_head,
};
use crate::error::{Failure, StoreError};
use crate::migrate::apply_missing;
use crate::query::{ids, load_session};
use crate::{baseline, calibration, source};

/// A verification under way.
pub(super) struct Check<'a> {
    connection: &'a Connection,
    store: &'a Path,
    archives: Archives<'a>,
    pub(super) verification: Verification,
    /// What is known of the BLOBs that left, by subject.
    archived: BTreeMap<String, BlobDigest>,
    /// Digests of the rows that no link has claimed yet, by subject.
    unclaimed: BTreeMap<String, Digest>,
}

type Step<'a> = (&'static str, fn(&mut Check<'a>) -> Result<(), Failure>);

impl<'a> Check<'a> {
    pub(super) fn new(connection: &'a Connection, store: &'a Path) -> Self {
        let verification = Verification {
            rows: 0,
            links: 0,
            rederived: 0,
            unknown_metrics: BTreeSet::new(),
            archives: Vec::new(),
            out_of_reach: 0,
            head: genesis(),
            findings: Vec::new(),
        };
        let archives = Archives::of(connection, store);
        let (archived, unclaimed) = (BTreeMap::new(), BTreeMap::new());
        Self { connection, store, archives, verification, archived, unclaimed }
    }

    pub(super) fn everything(&mut self, expect_head: Option<&Digest>) -> Result<(), Failure> {
        let steps: [Step<'a>; 13] = [
            ("SQLite's integrity check", Self::integrity),
            ("the schema", Self::schema),
            ("the references between rows", Self::references),
            ("what left for archives", Self::archived),
            ("the digests of the rows", Self::rows),
            ("the chain", Self::chain),
            ("the head of the chain", Self::head),
            ("the fingerprint parts", Self::parts),
            ("the archives", Self::archives),
            ("the sessions", Self::sessions),
            ("the baselines", Self::baselines),
            ("the calibrations", Self::calibrations),
            ("the imported files", Self::sources),
        ];
        for (what, step) in steps {
            let result = step(self);
            self.absorb(what, result)?;
        }
        if let Some(expected) = expect_head {
            let result = self.expected_head(expected);
            self.absorb("the expected head", result)?;
        }
        Ok(())
    }

    fn found(&mut self, finding: Finding) {
        self.verification.findings.push(finding);
    }

    /// Turns damage into a finding, so that one broken page does not hide what else is wrong.
    fn absorb(&mut self, what: &'static str, result: Result<(), Failure>) -> Result<(), Failure> {
        match result {
            Err(failure) if is_damage(&failure) => {
                let message = match failure {
                    Failure::Sqlite(error) => error.to_string(),
                    Failure::Store(error) => error.to_string(),
                };
                self.found(Finding::Unchecked { what, message });
                Ok(())
            }
            other => other,
        }
    }

    fn integrity(&mut self) -> Result<(), Failure> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check")?;
        let messages = statement.query_map([], |row| row.get::<_, String>(0))?;
        for message in messages {
            let message = message?;
            if message != "ok" {
                self.found(Finding::Integrity { message });
            }
        }
        Ok(())
    }

    fn schema(&mut self) -> Result<(), Failure> {
        let reference = Connection::open_in_memory()?;
        apply_missing(&reference)?;
        let expected = schema_objects(&reference)?;
        let mut actual = schema_objects(self.connection)?;
        for ((kind, name), sql) in expected {
            match actual.remove(&(kind.clone(), name.clone())) {
                None => self.found(Finding::SchemaMissing { kind, name }),
                Some(other) if other != sql => self.found(Finding::SchemaChanged { kind, name }),
                Some(_) => {}
            }
        }
        for (kind, name) in actual.into_keys() {
            self.found(Finding::SchemaForeign { kind, name });
        }
        Ok(())
    }

    fn references(&mut self) -> Result<(), Failure> {
        let mut statement = self.connection.prepare("PRAGMA foreign_key_check")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(2)?)))?;
        for row in rows {
            let (table, parent) = row?;
            self.found(Finding::BrokenReference { table, parent });
        }
        Ok(())
    }

    fn archived(&mut self) -> Result<(), Failure> {
        self.archived = archive::archived(self.connection)?;
        for subject in archive::not_left(self.connection)? {
            self.found(Finding::ArchivedWithoutRow { subject });
        }
        Ok(())
    }

    fn rows(&mut self) -> Result<(), Failure> {
        for recorded in RECORDED {
            let result = self.rows_of(recorded);
            self.absorb(recorded.table, result)?;
        }
        Ok(())
    }

    fn rows_of(&mut self, recorded: &Recorded) -> Result<(), Failure> {
        let mut statement = self.connection.prepare(&format!("SELECT * FROM {}", recorded.table))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let subject = recorded.subject(row)?;
            let digest = recorded.digest(row, self.archived.get(&subject))?;
            self.verification.rows += 1;
            // Two rows of one name: lab's schema has none, a schema that was tampered with may.
            if self.unclaimed.insert(subject.clone(), digest).is_some() {
                self.found(Finding::RowWithoutLink { subject });
            }
        }
        Ok(())
    }

    fn chain(&mut self) -> Result<(), Failure> {
        let mut statement =
            self.connection.prepare("SELECT seq, subject, digest, previous, head FROM chain ORDER BY seq")?;
        let mut links = statement.query([])?;
        let (mut seq, mut head) = (0, genesis());
        let mut claimed = BTreeSet::new();
        while let Some(row) = links.next()? {
            let link = Link::read(row)?;
            self.check_position(&link, seq, &head);
            self.check_claim(&link, &mut claimed);
            // Goes on from what is stored, so that one wrong link is one finding and not one for each that follows.
            (seq, head) = (link.seq, link.head);
            self.verification.links += 1;
        }
        for subject in std::mem::take(&mut self.unclaimed).into_keys() {
            self.found(Finding::RowWithoutLink { subject });
        }
        Ok(())
    }

    fn check_position(&mut self, link: &Link, seq: i64, head: &Digest) {
        if link.seq != seq + 1 {
            self.found(Finding::ChainGap { after: seq, found: link.seq });
        }
        if link.previous != *head {
            self.found(Finding::ChainBroken { seq: link.seq });
        }
        if link.head != next_head(&link.previous, &link.subject, &link.digest) {
            self.found(Finding::HeadMismatch { seq: link.seq });
        }
    }

    fn check_claim(&mut self, link: &Link, claimed: &mut BTreeSet<String>) {
        let Link { seq, subject, digest, .. } = link;
        match self.unclaimed.remove(subject) {
            Some(actual) if actual == *digest => {}
            Some(_) => self.found(Finding::RowChanged { subject: subject.clone() }),
            None if claimed.contains(subject) => {
                self.found(Finding::LinkedTwice { seq: *seq, subject: subject.clone() });
            }
            None => self.found(Finding::LinkWithoutRow { seq: *seq, subject: subject.clone() }),
        }
        claimed.insert(subject.clone());
    }

    fn head(&mut self) -> Result<(), Failure> {
        (_, self.verification.head) = last_link(self.connection)?;
        Ok(())
    }

    fn parts(&mut self) -> Result<(), Failure> {
        let mut statement = self.connection.prepare("SELECT digest, domain, identity FROM part")?;
        let mut parts = statement.query([])?;
        while let Some(row) = parts.next()? {
            let (digest, domain, identity): (String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            // What `Digest::of_canonical` hashes, over the canonical JSON as it is stored.
            let actual = Digest::of(format!("{domain}\n{identity}").as_bytes());
            if actual.to_string() != digest {
                self.found(Finding::PartMismatch { digest, actual });
            }
        }
        Ok(())
    }

    /// Reads every archive that is there, whole.
    fn archives(&mut self) -> Result<(), Failure> {
        for row in archive::rows(self.connection, self.store)? {
            if let Some(place) = &row.place {
                for message in self.archives.check(&row, place)? {
                    self.found(Finding::ArchiveDamaged { path: place.clone(), message });
                }
            }
            let (blobs, found) = (row.contents.timelines + row.contents.pieces, row.place.is_some());
            self.verification.archives.push(ArchiveCheck { path: row.path, blobs, found });
        }
        Ok(())
    }

    fn sessions(&mut self) -> Result<(), Failure> {
        for id in ids(self.connection)? {
            let result = match load_session(self.connection, &mut self.archives, id) {
                Err(Failure::Store(StoreError::ArchiveMissing { .. })) => {
                    self.verification.out_of_reach += 1;
                    continue;
                }
                loaded => loaded.and_then(|session| self.session(&session)),
            };
            self.absorb("a session", result)?;
        }
        Ok(())
    }

    /// Reads every baseline: what they say cannot be derived again, only be read.
    fn baselines(&mut self) -> Result<(), Failure> {
        baseline::changes(self.connection).map(drop)
    }

    fn calibrations(&mut self) -> Result<(), Failure> {
        calibration::all(self.connection).map(drop)
    }

    fn sources(&mut self) -> Result<(), Failure> {
        for digest in source::digests(self.connection)? {
            if self.archives.lacks_source(&digest)? {
                self.verification.out_of_reach += 1;
                continue;
            }
            let checked = source::check(self.connection, &mut self.archives, &digest)?;
            if let Err(StoreError::SourceDamaged { message, .. }) = checked {
                self.found(Finding::SourceDamaged { digest, message });
            }
        }
        Ok(())
    }

    fn session(&mut self, session: &Session) -> Result<(), Failure> {
        self.session_columns(session)?;
        for recorded in session.succeeded() {
            self.measurements(session.header.id, recorded, session.header.n_prompt());
        }
        for recorded in &session.repetitions {
            self.outcome_columns(session.header.id, &recorded.repetition)?;
            let Repetition { kind, outcome, .. } = &recorded.repetition;
            let counts = *kind == RepetitionKind::Measured && outcome.is_completed();
            if !counts && !recorded.measurements.is_empty() {
                let (session, repetition) = (session.header.id, recorded.repetition.index);
                self.found(Finding::UnexpectedMeasurements { session, repetition });
            }
        }
        Ok(())
    }

    /// Compares the columns of a session's row, which listings and references use, with the header in its body.
    fn session_columns(&mut self, session: &Session) -> Result<(), Failure> {
        let id = session.header.id;
        for (column, expected) in session_columns(&session.header)? {
            let select = format!("SELECT {column} FROM session WHERE id = ?");
            let stored: Option<Value> = self
                .connection
                .prepare_cached(&select)?
                .query([id.to_string()])?
                .next()?
                .map(|row| row.get(0))
                .transpose()?;
            if column != "body" && stored != Some(expected) {
                self.found(Finding::ColumnMismatch { subject: SESSION.subject_of(&[&id]), column });
            }
        }
        Ok(())
    }

    /// Compares the columns of a repetition's row, which listings count, with the outcome in its body.
    fn outcome_columns(&mut self, session: SessionId, repetition: &Repetition) -> Result<(), Failure> {
        let OutcomeColumns { outcome, validity, body: _, timeline: _ } =
            OutcomeColumns::of(session, repetition)?;
        let stored: (String, Option<String>) = self
            .connection
            .prepare_cached("SELECT outcome, validity FROM repetition WHERE session = ? AND idx = ?")?
            .query_row((session.to_string(), repetition.index), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let agreements = [("outcome", stored.0 == outcome), ("validity", stored.1.as_deref() == validity)];
        for (column, _) in agreements.into_iter().filter(|(_, agrees)| !agrees) {
            let subject = REPETITION.subject_of(&[&session, &repetition.index]);
            self.found(Finding::ColumnMismatch { subject, column });
        }
        Ok(())
    }

    fn measurements(&mut self, session: SessionId, recorded: &RecordedRepetition, n_prompt: usize) {
        let derived: BTreeMap<String, Reading<f64>> = recorded
            .repetition
            .outcome
            .measurements(n_prompt)
            .into_iter()
            .map(|Measurement { metric, reading }| (metric, reading))
            .collect();
        for Measurement { metric, reading } in &recorded.measurements {
            let Some(derived) = derived.get(metric) else {
                self.verification.unknown_metrics.insert(metric.clone());
                continue;
            };
            self.verification.rederived += 1;
            if !agree(reading, derived) {
                self.found(Finding::NotRederived {
                    session,
                    repetition: recorded.repetition.index,
                    metric: metric.clone(),
                    stored: reading.clone(),
                    derived: derived.clone(),
                });
            }
        }
    }

    fn expected_head(&mut self, expected: &Digest) -> Result<(), Failure> {
        let mut statement = self.connection.prepare("SELECT 1 FROM chain WHERE head = ?")?;
        if *expected != genesis() && !statement.exists([expected.to_string()])? {
            self.found(Finding::HeadUnknown { expected: *expected });
        }
        Ok(())
    }
}

/// One link of the chain as stored.
struct Link {
    seq: i64,
    subject: String,
    digest: Digest,
    previous: Digest,
    head: Digest,
}

impl Link {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            subject: row.get(1)?,
            digest: digest_at(row, 2)?,
            previous: digest_at(row, 3)?,
            head: digest_at(row, 4)?,
        })
    }
}

/// Returns the SQL of every object of a schema, by kind and name. Names in `sqlite_` are SQLite's own.
fn schema_objects(connection: &Connection) -> rusqlite::Result<BTreeMap<(String, String), Option<String>>> {
    let select = r"SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\'";
    let mut statement = connection.prepare(select)?;
    let objects = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    objects.collect()
}

/// Returns whether a stored reading is what the raw data give: the same bits, or both none. The words of a reason may
/// change from one lab to the next.
fn agree(stored: &Reading<f64>, derived: &Reading<f64>) -> bool {
    match (stored, derived) {
        (Reading::Value(stored), Reading::Value(derived)) => stored.to_bits() == derived.to_bits(),
        (Reading::Unavailable(_), Reading::Unavailable(_)) => true,
        _ => false,
    }
}

/// Returns whether a failure speaks of the file's content and not of the system around it.
fn is_damage(failure: &Failure) -> bool {
    match failure {
        Failure::Store(
            StoreError::DamagedRow { .. }
            | StoreError::NotRepresentable { .. }
            | StoreError::ArchiveUnreadable { .. },
        ) => true,
        Failure::Store(_) => false,
        // `Unknown` is SQLite's "SQL error": a table or a column of ours is not there.
        Failure::Sqlite(error) => match error.sqlite_error_code() {
            Some(code) => matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::Unknown),
            None => true,
        },
    }
}
