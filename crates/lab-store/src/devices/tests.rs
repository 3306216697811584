//! Imported documents, read back without what is large.

use std::io::{self, Read};

use lab_core::device::{DeviceFigures, Inferences, Tally};
use lab_core::fingerprint::PartKind;
use lab_core::import::{Figures, Import, Source, fingerprint};
use lab_core::record::{
    Launch, LaunchStart, RecordedRepetition, Repetition, RepetitionKind, Session, SessionEnd, SessionStatus,
};
use lab_core::validity::Validity;
use lab_core::work::Work;

use super::*;
use crate::fixture::{header, id, record, scratch, session};

const TEXTS: [&str; 3] = ["one", "another", "a third"];

fn document(text: &str, device: &str) -> Imported {
    let mut time = Tally::default();
    time.add(1234.56);
    let inferences = Inferences { n: 1, inference_time_ms: time, ..Inferences::default() };
    let figures = DeviceFigures {
        device_id: device.to_owned(),
        model_name: "m".to_owned(),
        compute_devices: vec!["cpu".to_owned()],
        first_timestamp: None,
        last_timestamp: None,
        inferences: Some(inferences),
        loading: None,
    };
    Imported {
        source: Source {
            path: text.to_owned(),
            sha256: Digest::of(text.as_bytes()),
            bytes: text.len() as u64,
        },
        figures: Figures::Device(Box::new(figures)),
        validity: Validity::Suspect(vec!["summary: 1, not 2".to_owned()]),
    }
}

/// Session `n` of some documents, which lie under their own texts.
fn imported(n: u32, device: &str, texts: &[&str]) -> Session {
    let import = Import { contract: Contract::DeviceV1, tool: "edge-device".to_owned() };
    let mut header = header(n);
    header.fingerprint = fingerprint(&import, &[(PartKind::Hardware, "device_id", device)]);
    header.work = Work::Import(import);
    let indices = 0..u32::try_from(texts.len()).unwrap();
    let repetition = |(index, text): (u32, &&str)| {
        let outcome = Outcome::Imported(Box::new(document(text, device)));
        let measurements = outcome.measurements(0);
        let repetition = Repetition { index, launch: index, kind: RepetitionKind::Measured, outcome };
        RecordedRepetition { repetition, measurements }
    };
    let launch = |index| Launch {
        index,
        start: LaunchStart::Started,
        conditions: serde_json::json!({}),
        profile: None,
        layout: None,
    };
    let end = SessionEnd { ended_at: header.started_at, status: SessionStatus::Completed };
    Session {
        launches: indices.clone().map(launch).collect(),
        repetitions: indices.zip(texts).map(repetition).collect(),
        end: Some(end),
        header,
    }
}

fn append(store: &mut Store, sessions: &[Session]) -> Result<(), StoreError> {
    let mut open = |source: &Source| -> io::Result<Box<dyn Read>> {
        Ok(Box::new(io::Cursor::new(source.path.clone().into_bytes())))
    };
    store.append_imports(sessions, &mut open)
}

#[test]
fn documents_are_found_by_contract_and_in_order() {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    let sessions = [imported(2, "a", &TEXTS[..2]), imported(3, "b", &TEXTS[2..])];
    append(&mut scratch.store, &sessions).unwrap();
    let found = scratch.store.imports(Contract::DeviceV1).unwrap();
    let headers: Vec<SessionId> = found.iter().map(|own| own.header.id).collect();
    assert_eq!(headers, [id(2), id(3)]);
    assert_eq!(found[0].documents, [document("one", "a"), document("another", "a")]);
    assert_eq!(found[1].documents, [document("a third", "b")]);
    assert!(scratch.store.imports(Contract::WorkflowV1).unwrap().is_empty());
}

#[test]
fn the_files_that_the_store_has_met_are_told_by_their_digests() {
    let mut scratch = scratch();
    assert_eq!(scratch.store.source_digests().unwrap(), BTreeSet::new());
    append(&mut scratch.store, &[imported(2, "a", &TEXTS)]).unwrap();
    let expected: BTreeSet<Digest> = TEXTS.iter().map(|text| Digest::of(text.as_bytes())).collect();
    assert_eq!(scratch.store.source_digests().unwrap(), expected);
}

#[test]
fn what_was_imported_verifies_and_reads_back_whole() {
    let mut scratch = scratch();
    let session = imported(2, "a", &TEXTS);
    append(&mut scratch.store, std::slice::from_ref(&session)).unwrap();
    let verification = scratch.store.verify(None).unwrap();
    assert!(verification.is_sound(), "{:?}", verification.findings);
    assert_eq!(scratch.store.load(&id(2)).unwrap(), session);
    let mut bytes = Vec::new();
    scratch.store.source(&Digest::of(b"another")).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"another");
}

#[test]
fn a_measurement_that_is_given_twice_is_refused_and_nothing_is_kept() {
    let mut scratch = scratch();
    let mut session = imported(2, "a", &TEXTS);
    let measurements = &mut session.repetitions[1].measurements;
    measurements.push(measurements[0].clone());
    let head = scratch.store.head().unwrap();
    let error = append(&mut scratch.store, &[session]).unwrap_err();
    assert!(error.to_string().contains("a recorded measurement is never replaced"), "{error}");
    assert_eq!(scratch.store.head().unwrap(), head);
    assert_eq!(scratch.store.source_digests().unwrap(), BTreeSet::new());
}

#[test]
fn a_file_that_changes_between_the_two_readings_is_refused_and_nothing_is_kept() {
    let mut scratch = scratch();
    let head = scratch.store.head().unwrap();
    let mut n_opened = 0;
    let mut open = |source: &Source| -> io::Result<Box<dyn Read>> {
        n_opened += 1;
        let text = if n_opened == 2 { "changed" } else { source.path.as_str() };
        Ok(Box::new(io::Cursor::new(text.to_owned().into_bytes())))
    };
    let error = scratch.store.append_imports(&[imported(2, "a", &TEXTS)], &mut open).unwrap_err();
    assert_eq!(error.to_string(), "`another` changed while it was read; nothing of it was imported");
    assert_eq!(scratch.store.head().unwrap(), head);
}
