//! Hand-made sessions for the tests of other crates. Behind the feature `fixtures`, which only dev-dependencies turn on.
//!
//! Everything is fixed: two calls give the same session, byte for byte.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::command::{CommandRun, CommandWork, MemoryPeak, RowsSource};
use crate::digest::Digest;
use crate::experiment::{Evidence, Experiment, Layouts, Noise, Side, StoppingPlan, Turn};
use crate::fingerprint::{
    BackendPart, CommandEnginePart, CommandModelPart, CommandPlanPart, EnginePart, Fingerprint, HardwarePart,
    Isolation, Mode, ModelPart, PlanPart,
};
use crate::metric::Reading;
use crate::observation::Observation;
use crate::record::{
    Completed, Launch, LaunchStart, Outcome, RecordedRepetition, Repetition, RepetitionKind, Session,
    SessionEnd, SessionHeader, SessionId, SessionStatus,
};
use crate::timeline::Timeline;
use crate::tolerance::Tolerance;
use crate::validity::Validity;
use crate::work::Work;
use crate::workload::{Sampling, Stop, Workload};

/// Tokens every fixture repetition generates.
pub const N_TOKENS: u32 = 8;
/// Time to the first token of every fixture repetition, in microseconds.
pub const FIRST_TOKEN_US: u64 = 60_000;
/// 2026-01-02T03:04:05Z in seconds of Unix time.
const STARTED_AT: i64 = 1_767_323_045;

/// Returns a session that completed, with one measured repetition (in a launch of its own, after a warm-up) for each
/// time between two tokens, in microseconds. `number` becomes the id.
pub fn session(number: u128, token_gaps_us: &[u64]) -> Session {
    let repeat = u32::try_from(token_gaps_us.len()).expect("a fixture has few repetitions");
    let header = header(number, repeat);
    let n_prompt = header.n_prompt();
    let mut launches = Vec::new();
    let mut repetitions = Vec::new();
    for (launch, gap_us) in (0..repeat).zip(token_gaps_us) {
        let start = LaunchStart::Ready { load_ns: 250_000_000 };
        let conditions = serde_json::json!({});
        launches.push(Launch { index: launch, start, conditions, profile: None, layout: None });
        repetitions.push(repetition(2 * launch, launch, RepetitionKind::Warmup, gap_us * 2, n_prompt));
        repetitions.push(repetition(2 * launch + 1, launch, RepetitionKind::Measured, *gap_us, n_prompt));
    }
    let ended_at = Timestamp::from_second(STARTED_AT + 60).expect("a time of this century");
    let end = Some(SessionEnd { ended_at, status: SessionStatus::Completed });
    Session { header, launches, repetitions, end }
}

/// Returns a session of a command that completed, with one measured run, in a launch of its own, for each elapsed time, in
/// milliseconds. Every run had a peak of 10 MB, and 5 % of either are tolerated. `number` becomes the id.
pub fn command_session(number: u128, elapsed_ms: &[u64]) -> Session {
    let repeat = u32::try_from(elapsed_ms.len()).expect("a fixture has few repetitions");
    let launch = |index| {
        let conditions = serde_json::json!({});
        Launch { index, start: LaunchStart::Started, conditions, profile: None, layout: None }
    };
    let runs = (0..repeat).zip(elapsed_ms).map(|(index, elapsed_ms)| command_repetition(index, *elapsed_ms));
    let ended_at = Timestamp::from_second(STARTED_AT + 60).expect("a time of this century");
    Session {
        header: command_header(number, repeat),
        launches: (0..repeat).map(launch).collect(),
        repetitions: runs.collect(),
        end: Some(SessionEnd { ended_at, status: SessionStatus::Completed }),
    }
}

/// Returns what one side of an experiment knows of it: in lock-step, four tokens a turn, looked at once after ten pairs, no
/// uninterrupted repetitions planned.
pub fn experiment(side: Side) -> Experiment {
    Experiment {
        id: Uuid::from_u128(7),
        side,
        other: SessionId(Uuid::from_u128(9)),
        mode: Mode::LockStep { tokens: 4, slice_ms: None },
        layouts: Layouts::Shared,
        seed: 1,
        stopping: StoppingPlan { looks: vec![10], confidence: 0.95, look_confidence: 0.95 },
        noise: Noise::default(),
        closing: Some(0),
    }
}

/// Returns a turn of so many tokens in which nothing else used the machine.
pub fn quiet_turn(n_tokens: u32) -> Turn {
    let evidence = Evidence {
        steal_ns: Reading::Value(0),
        run_delay_ns: Reading::Value(0),
        own_cpu_ns: Reading::Unavailable("not told".to_owned()),
        waiting_cpu_ns: Reading::Value(0),
    };
    Turn { request_ns: 0, n_tokens, evidence }
}

/// Replaces one metric's readings in the completed measured repetitions, in order.
///
/// # Panics
///
/// When there are fewer readings than completed measured repetitions.
pub fn set_readings(session: &mut Session, metric: &str, readings: &[Reading<f64>]) {
    let mut readings = readings.iter();
    for recorded in &mut session.repetitions {
        for measurement in recorded.measurements.iter_mut().filter(|own| own.metric == metric) {
            measurement.reading = readings.next().expect("one reading a repetition").clone();
        }
    }
}

/// Replaces one metric's readings in the completed measured repetitions by these values, in order.
///
/// # Panics
///
/// When there are fewer values than completed measured repetitions.
pub fn set_values(session: &mut Session, metric: &str, values: &[f64]) {
    let readings: Vec<Reading<f64>> = values.iter().copied().map(Reading::Value).collect();
    set_readings(session, metric, &readings);
}

/// Returns the workload of a header, to change it.
///
/// # Panics
///
/// When the session asked no engine.
pub fn workload_mut(header: &mut SessionHeader) -> &mut Workload {
    match &mut header.work {
        Work::Workload(workload) => workload,
        other => panic!("no engine was asked: {other:?}"),
    }
}

fn header(number: u128, repeat: u32) -> SessionHeader {
    let workload = Workload {
        prompt: vec![1, 2, 3, 4, 5],
        generate: N_TOKENS,
        sampling: Sampling::Greedy,
        stop: Stop::Length,
        forced: None,
    };
    SessionHeader {
        id: SessionId(Uuid::from_u128((0x019b_7a5c_0000_7000_8000 << 48) | number)),
        started_at: Timestamp::from_second(STARTED_AT).expect("a time of this century"),
        lab_version: "0.1.0".to_owned(),
        plan_name: "quick".to_owned(),
        plan_text: "version = 1\nname = \"quick\"\n".to_owned(),
        model_name: "tiny-synthetic".to_owned(),
        fingerprint: fingerprint(&workload, repeat),
        work: Work::Workload(workload),
        repeat,
        tolerances: Vec::new(),
        limits: Vec::new(),
        instruments: None,
        experiment: None,
        until: None,
    }
}

fn fingerprint(workload: &Workload, repeat: u32) -> Fingerprint {
    let model = ModelPart {
        weights_sha256: Digest::of(b"weights"),
        architecture: "llama".to_owned(),
        quantization: "q4_k_m".to_owned(),
        tokenizer: Digest::of(b"tokenizer"),
        weights: "synthetic v1".to_owned(),
        name: "tiny-synthetic".to_owned(),
        bytes: 1_234_567,
    };
    let plan = PlanPart {
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
        name: "quick".to_owned(),
        repeat,
    };
    Fingerprint {
        model: model.record(),
        plan: plan.record(),
        backend: backend().record(),
        hardware: hardware().record(),
        engine: engine().record(),
    }
}

fn backend() -> BackendPart {
    BackendPart {
        kind: "cpu_avx2".to_owned(),
        device: "cpu".to_owned(),
        threads: 2,
        cores: "0-1".to_owned(),
        instruction_sets: vec!["avx2".to_owned(), "fma".to_owned()],
        environment: BTreeMap::from([("RAYON_NUM_THREADS".to_owned(), "2".to_owned())]),
        nice: Some(0),
        address_space_randomization: Some("full".to_owned()),
        transparent_hugepages: Some("madvise".to_owned()),
    }
}

fn hardware() -> HardwarePart {
    HardwarePart {
        cpu_model: Some("Example CPU 9000".to_owned()),
        cpu_vendor: "ExampleVendor".to_owned(),
        cpu_signature: "25-1-1".to_owned(),
        sockets: "1".to_owned(),
        cores: Some(2),
        threads: Some(2),
        caches: vec!["L1d 32 KiB".to_owned()],
        memory_gib: Some(8),
        accelerators: Some(Vec::new()),
        virtualization: "none".to_owned(),
        observed_from: "this machine".to_owned(),
        kernel: "6.1.0".to_owned(),
    }
}

fn engine() -> EnginePart {
    EnginePart {
        name: "candle".to_owned(),
        version: "0.1.0".to_owned(),
        build: Digest::of(b"build"),
        settings: BTreeMap::from([("threads".to_owned(), "2".to_owned())]),
        executable: Digest::of(b"executable"),
        protocol: 1,
        arguments: Vec::new(),
    }
}

fn repetition(
    index: u32,
    launch: u32,
    kind: RepetitionKind,
    gap_us: u64,
    n_prompt: usize,
) -> RecordedRepetition {
    let stamp_ns = |token: u64| (FIRST_TOKEN_US + token * gap_us) * 1000;
    let stamps = (0..u64::from(N_TOKENS)).map(stamp_ns).collect();
    let timeline = Timeline::new(stamps).expect("rising stamps are a timeline");
    let completed = Completed {
        outside_ns: timeline.total_ns() + 100_000,
        timeline,
        token_ids: (100..100 + N_TOKENS).collect(),
        margins: None,
        load_ns: 250_000_000,
        request_ns: 1_000_000_000,
        n_before: Some(u32::from(kind == RepetitionKind::Measured)),
        bytes_per_token: Reading::Value(1_000_000),
        observation: Box::new(Observation::unobserved(Reading::Value(45_600_000))),
        validity: Validity::Valid,
        turns: None,
    };
    let measurements = match kind {
        RepetitionKind::Warmup => Vec::new(),
        RepetitionKind::Measured => completed.measurements(n_prompt),
    };
    let outcome = Outcome::Completed(completed);
    RecordedRepetition { repetition: Repetition { index, launch, kind, outcome }, measurements }
}

fn command_header(number: u128, repeat: u32) -> SessionHeader {
    let program = vec!["sh".to_owned(), "train.sh".to_owned()];
    let rows = RowsSource::Given(3);
    let tolerance = |name: &str| (format!("smoke.v1/{name}"), Tolerance::Relative(0.05));
    SessionHeader {
        plan_name: "train".to_owned(),
        plan_text: String::new(),
        model_name: "sh".to_owned(),
        tolerances: vec![tolerance("elapsed_sec"), tolerance("peak_memory_mb")],
        fingerprint: command_fingerprint(program.clone(), rows.clone(), repeat),
        work: Work::Command(CommandWork { program, rows }),
        ..header(number, repeat)
    }
}

fn command_fingerprint(program: Vec<String>, rows: RowsSource, repeat: u32) -> Fingerprint {
    let (warmup, interval_us, name) = (0, 100_000, "train".to_owned());
    let plan = CommandPlanPart { program, rows, rows_digest: None, warmup, interval_us, name, repeat };
    let engine = CommandEnginePart {
        name: "sh".to_owned(),
        build: Some(Digest::of(b"sh")),
        script: Some(Digest::of(b"script")),
        path: "/bin/sh".to_owned(),
    };
    Fingerprint {
        model: CommandModelPart { kind: "none".to_owned() }.record().of_command(),
        plan: plan.record().of_command(),
        backend: backend().record().of_command(),
        hardware: hardware().record(),
        engine: engine.record().of_command(),
    }
}

fn command_repetition(index: u32, elapsed_ms: u64) -> RecordedRepetition {
    let memory = MemoryPeak {
        sampled_bytes: Reading::Value(10_000_000),
        kernel_bytes: Reading::Value(9_000_000),
        samples: 3,
    };
    let run = CommandRun {
        run_id: Uuid::from_u128(u128::from(index)),
        elapsed_ns: elapsed_ms * 1_000_000,
        rows_used: Reading::Value(3),
        memory,
        failure: None,
        validity: Validity::Valid,
        observation: None,
    };
    let outcome = Outcome::Ran(Box::new(run));
    let measurements = outcome.measurements(0);
    let kind = RepetitionKind::Measured;
    RecordedRepetition { repetition: Repetition { index, launch: index, kind, outcome }, measurements }
}
