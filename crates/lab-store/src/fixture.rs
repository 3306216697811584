//! Sessions for tests: small, distinct, and true to the metric table.

use std::io::Cursor;
use std::path::PathBuf;

use jiff::Timestamp;
use lab_core::device::DeviceFigures;
use lab_core::digest::Digest;
use lab_core::engine::EngineError;
use lab_core::fingerprint::{Isolation, Mode, PlanPart};
use lab_core::import::{Figures, Import, Imported, Source, fingerprint};
use lab_core::metric::{Contract, Measurement, Reading};
use lab_core::observation::Observation;
use lab_core::record::{
    Completed, Launch, LaunchStart, Outcome, RecordedRepetition, Repetition, RepetitionKind, Session,
    SessionEnd, SessionHeader, SessionId, SessionStatus,
};
use lab_core::timeline::Timeline;
use lab_core::tolerance::Tolerance;
use lab_core::validity::Validity;
use lab_core::work::Work;
use lab_core::workload::Sampling;
use uuid::Builder;

use crate::archive::{ArchiveOrder, ArchiveRow};
use crate::calibration::{CalibrationKind, CalibrationRow};
use crate::open::Store;

/// A store in a folder of its own that vanishes with it.
pub(crate) struct Scratch {
    pub(crate) store: Store,
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

pub(crate) fn scratch() -> Scratch {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lab.sqlite");
    Scratch { store: Store::open(&path).unwrap(), path, _folder: folder }
}

impl Scratch {
    /// A plain connection to the same file, as any other tool would open it.
    pub(crate) fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(&self.path).unwrap()
    }
}

/// Returns the whole of session `n`: two launches, each with a warm-up and a measured repetition, and a third whose
/// repetition failed.
pub(crate) fn session(n: u32) -> Session {
    let header = header(n);
    let n_prompt = header.n_prompt();
    let repetitions = (0..5).map(|index| recorded(n, index, n_prompt)).collect();
    let launches = (0..3).map(launch).collect();
    let end = SessionEnd {
        ended_at: header.started_at + jiff::SignedDuration::from_secs(30),
        status: SessionStatus::Incomplete,
    };
    Session { header, launches, repetitions, end: Some(end) }
}

/// Returns session `n` with so many tokens a repetition that its timelines are worth an archive.
pub(crate) fn long_session(n: u32) -> Session {
    let mut session = session(n);
    let n_prompt = session.header.n_prompt();
    for RecordedRepetition { repetition, measurements } in &mut session.repetitions {
        let Outcome::Completed(completed) = &mut repetition.outcome else { continue };
        let gap_ns = 1_000_003 + u64::from(n * 11 + repetition.index);
        completed.timeline =
            Timeline::new((1..=256).map(|token| 2_000_001 + token * gap_ns).collect()).unwrap();
        completed.token_ids = (0..256).collect();
        completed.margins = None;
        if !measurements.is_empty() {
            *measurements = completed.measurements(n_prompt);
        }
    }
    session
}

/// Returns session `n`, a document of another tool, and its bytes: some thousands that do not shrink to nothing.
pub(crate) fn import(n: u32) -> (Session, Vec<u8>) {
    let bytes =
        (0..100).map(|line| Digest::of(&[line, n.to_le_bytes()[0]]).to_string() + "\n").collect::<String>();
    let import = Import { contract: Contract::DeviceV1, tool: "edge".to_owned() };
    let told = fingerprint(&import, &[]);
    let header = SessionHeader { fingerprint: told, work: Work::Import(import), repeat: 1, ..header(n) };
    let figures = DeviceFigures {
        device_id: "00:0f".to_owned(),
        model_name: "phi".to_owned(),
        compute_devices: vec!["cpu".to_owned()],
        first_timestamp: None,
        last_timestamp: None,
        inferences: None,
        loading: None,
    };
    let source = Source {
        path: format!("device-{n}.json"),
        sha256: Digest::of(bytes.as_bytes()),
        bytes: bytes.len() as u64,
    };
    let figures = Figures::Device(Box::new(figures));
    let outcome = Outcome::Imported(Box::new(Imported { source, figures, validity: Validity::Valid }));
    let measurements = outcome.measurements(0);
    let repetition = Repetition { index: 0, launch: 0, kind: RepetitionKind::Measured, outcome };
    let start = Launch { start: LaunchStart::Started, conditions: serde_json::json!({}), ..launch(0) };
    let end = SessionEnd { ended_at: header.started_at, status: SessionStatus::Completed };
    let repetitions = vec![RecordedRepetition { repetition, measurements }];
    (Session { header, launches: vec![start], repetitions, end: Some(end) }, bytes.into_bytes())
}

/// Records an imported session, its file included.
pub(crate) fn record_import(store: &mut Store, n: u32) {
    let (session, bytes) = import(n);
    let open = &mut |_: &Source| -> std::io::Result<Box<dyn std::io::Read>> {
        Ok(Box::new(Cursor::new(bytes.clone())))
    };
    store.append_imports(&[session], open).unwrap();
}

/// Moves everything that may leave into a file beside the store.
pub(crate) fn archive_all(scratch: &mut Scratch, name: &str) -> ArchiveRow {
    let to = scratch.path.with_file_name(name);
    let order = ArchiveOrder { older_than: far_future(), to: &to, now: far_future() };
    scratch.store.archive(&order).unwrap().expect("there is raw data that may leave")
}

/// A time after the end of every session here.
pub(crate) fn far_future() -> Timestamp {
    Timestamp::from_second(2_000_000_000).unwrap()
}

/// Records a session, its end included.
pub(crate) fn record(store: &mut Store, session: &Session) {
    record_unfinished(store, session);
    store.end_session(session.header.id, &session.end.unwrap()).unwrap();
}

/// Sets a name to a recorded session, sets it anew, removes it, and records a calibration: a row of every kind that belongs
/// to no session.
pub(crate) fn name_and_calibrate(store: &mut Store, session: SessionId) {
    let name = "main".parse().unwrap();
    for (seconds, session, note) in
        [(1, Some(&session), None), (2, Some(&session), Some("again")), (3, None, None)]
    {
        store.set_baseline(&name, session, Timestamp::from_second(seconds).unwrap(), note).unwrap();
    }
    store.append_calibration(&calibration(1)).unwrap();
}

/// Returns calibration `n`; a greater `n` is newer.
pub(crate) fn calibration(n: u32) -> CalibrationRow {
    CalibrationRow {
        id: id(n).0,
        made_at: Timestamp::from_second(1_763_700_000 + i64::from(n)).unwrap(),
        fingerprint: Digest::of(b"fingerprint"),
        kind: CalibrationKind::Compare,
        body: serde_json::json!({"spread": 0.012_3, "sessions": [n, n + 1]}),
    }
}

/// Records a session but for its end.
pub(crate) fn record_unfinished(store: &mut Store, session: &Session) {
    let id = session.header.id;
    store.begin_session(&session.header).unwrap();
    for launch in &session.launches {
        store.append_launch(id, launch).unwrap();
    }
    for RecordedRepetition { repetition, measurements } in &session.repetitions {
        store.append_repetition(id, repetition, measurements).unwrap();
    }
}

/// The header of the fixture that all crates share, with what a store must not lose and what tells sessions apart.
pub(crate) fn header(n: u32) -> SessionHeader {
    let mut header = lab_core::fixtures::session(u128::from(n), &[1, 1, 1]).header;
    header.id = id(n);
    header.started_at =
        Timestamp::from_nanosecond(1_763_700_000_123_456_789 + i128::from(n) * 60_000_000_000).unwrap();
    header.plan_name = format!("plan-{n}");
    header.plan_text = "[model]\nname = \"tiny\"\r\n# ünïcödé \u{0}\n".to_owned();
    header.tolerances = vec![("engine.v0.1/tokens_per_sec".to_owned(), Tolerance::Relative(0.03))];
    let workload = lab_core::fixtures::workload_mut(&mut header);
    workload.prompt = vec![1, 2, 3, n];
    // Above 2^53: a double would lose it.
    workload.sampling = Sampling::Temperature { temperature: 1.0, seed: u64::MAX - 1 };
    header.fingerprint.plan = plan_part(&header).record();
    header
}

/// A version 7 id whose last digits are `n`'s own.
pub(crate) fn id(n: u32) -> SessionId {
    let mut random = [0x11; 10];
    // An odd multiplier scatters the digits and keeps them distinct.
    random[6..].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_be_bytes());
    let millis = 1_763_700_000_123 + u64::from(n) * 60_000;
    SessionId(Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

fn plan_part(header: &SessionHeader) -> PlanPart {
    let workload = header.workload().unwrap();
    PlanPart {
        prompt: workload.prompt_digest(),
        prompt_tokens: workload.prompt.len() as u64,
        forced: workload.forced_digest(),
        generate: workload.generate,
        sampling: workload.sampling,
        stop: workload.stop,
        isolation: Isolation::Launch,
        warmup: 1,
        sample_hz: 10.0,
        mode: Mode::Alone,
        name: header.plan_name.clone(),
        repeat: header.repeat,
    }
}

pub(crate) fn launch(index: u32) -> Launch {
    let conditions = serde_json::json!({"load_1m": 1.0, "steal": 0.1, "note": null});
    Launch {
        index,
        start: LaunchStart::Ready { load_ns: 7_000_001 },
        conditions,
        profile: None,
        layout: None,
    }
}

/// Repetition `index` of session `n`: even ones are warm-ups, the last failed.
fn recorded(n: u32, index: u32, n_prompt: usize) -> RecordedRepetition {
    let failed = index == 4;
    let kind =
        if index.is_multiple_of(2) && !failed { RepetitionKind::Warmup } else { RepetitionKind::Measured };
    let outcome = if failed {
        Outcome::Failed(EngineError::Killed { signal: 9, name: "SIGKILL".to_owned(), log: String::new() })
    } else {
        Outcome::Completed(completed(n, index))
    };
    let measurements = match (&outcome, kind) {
        (Outcome::Completed(completed), RepetitionKind::Measured) => completed.measurements(n_prompt),
        _ => vec![],
    };
    let repetition = Repetition { index, launch: index / 2, kind, outcome };
    RecordedRepetition { repetition, measurements }
}

pub(crate) fn completed(n: u32, index: u32) -> Completed {
    let gap = 1_000_003 + u64::from(n % 97) * 1_009 + u64::from(index) * 11;
    Completed {
        timeline: Timeline::new((1..=8).map(|token| 2_000_001 + token * gap).collect()).unwrap(),
        token_ids: (100..108).collect(),
        margins: Some(vec![0.1, 1.0 / 3.0, f32::MIN_POSITIVE, 0.0, 1e-9, 3.5, f32::MAX, 2.0]),
        load_ns: 7_000_001,
        outside_ns: 20_000_000,
        request_ns: 1_000_003,
        n_before: Some(1),
        turns: None,
        bytes_per_token: Reading::Value(9_007),
        observation: Box::new(Observation::unobserved(Reading::Value(45_600_007))),
        validity: if index == 3 {
            Validity::Suspect(vec!["steal above 1 %".to_owned()])
        } else {
            Validity::Valid
        },
    }
}

/// A measured repetition with its measurements, for a session of [`header`].
pub(crate) fn measured(n: u32, index: u32, launch: u32) -> (Repetition, Vec<Measurement>) {
    let completed = completed(n, index);
    let measurements = completed.measurements(4);
    let outcome = Outcome::Completed(completed);
    (Repetition { index, launch, kind: RepetitionKind::Measured, outcome }, measurements)
}
