//! Fixed records that every snapshot of this crate is taken of.

mod reports;

use lab_core::check::{CHECK_SCHEMA, LimitCheck, LimitOutcome, SessionCheck};
use lab_core::energy::{EnergyTrace, MeterInfo, MeterKind};
use lab_core::engine::{EngineError, OperationTime, Profile};
use lab_core::fixtures;
use lab_core::limit::Limit;
use lab_core::metric::{Direction, METRICS, Metric, Reading, percentile_type_7};
use lab_core::record::{
    IdleBaseline, InstrumentSet, Launch, LaunchStart, MemoryBandwidth, Outcome, ProfiledExecution,
    RepetitionKind, Session, SessionStatus,
};
use lab_core::summary::{MetricSummary, Summary};
use lab_core::tolerance::Tolerance;
use lab_core::validity::{RULES_VERSION, Validity};
use lab_core::work::Origin;

use crate::baseline_json::{BaselineRow, ChangeBlock};
use crate::history::{Change, HISTORY_SCHEMA, HistoryChange, HistoryDocument, HistoryEngine, HistorySession};
use crate::list_json::{ListRow, ListedFigure};
use crate::steps::{ChangeBounds, STEPS_SCHEMA, StepBlock, StepsDocument};
use crate::store_json::{
    ArchiveBlock, BlobBlock, DayBlock, ForecastBlock, ReachBlock, STORE_SCHEMA, StoreDocument, TableBlock,
};

pub(crate) use reports::{experiment_report, gate, judged_report, refused_report};

/// Three repetitions, all well.
pub(crate) fn session() -> Session {
    fixtures::session(1, &[10_000, 10_100, 9_950])
}

/// Two repetitions under 18 W, with instruments, an idle baseline and a profile.
pub(crate) fn observed_session() -> Session {
    let mut session = fixtures::session(3, &[10_000, 10_100]);
    let meter = MeterInfo {
        source: "rapl package-0".to_owned(),
        kind: MeterKind::Measured,
        quantum_uj: 61,
        update_ns: 1_000_000,
        integrated: false,
        longest_gap_ns: Some(60_000_000_000),
    };
    let profile = Profile {
        operations: [("matmul", 80_000_000, 210), ("attention", 17_000_000, 30), ("unnamed", 3_000_000, 8)]
            .map(|(kind, self_ns, calls)| OperationTime { kind: kind.to_owned(), self_ns, calls })
            .into(),
    };
    session.launches.push(Launch {
        index: 2,
        start: LaunchStart::Ready { load_ns: 250_000_000 },
        conditions: serde_json::json!({}),
        profile: Some(Reading::Value(ProfiledExecution { profile, total_ns: 140_000_000, n_tokens: 8 })),
        layout: None,
    });
    session.header.instruments = Some(InstrumentSet {
        rules: RULES_VERSION.to_owned(),
        sample_hz: 10.0,
        meters: Reading::Value(vec![meter.clone()]),
        memory_bandwidth: Reading::Value(MemoryBandwidth {
            bytes_per_second: 21_300_000_000,
            threads: 2,
            measured_at: session.header.started_at,
        }),
        idle: Some(Reading::Value(IdleBaseline {
            watts: 6.5,
            plus_minus_watts: 0.02,
            seconds: 5.0,
            traces: Vec::new(),
        })),
    });
    let n_prompt = session.header.n_prompt();
    for recorded in &mut session.repetitions {
        if let Outcome::Completed(completed) = &mut recorded.repetition.outcome {
            let ends = [completed.request_ns, completed.request_ns + completed.timeline.total_ns()];
            completed.observation.energy = Reading::Value(vec![EnergyTrace {
                meter: meter.clone(),
                at_ns: ends.to_vec(),
                total_uj: vec![0, completed.timeline.total_ns() / 1000 * 18],
                failure: None,
            }]);
            if recorded.repetition.kind == RepetitionKind::Measured {
                recorded.measurements = completed.measurements(n_prompt);
            }
        }
    }
    session
}

/// Four repetitions: one suspect, one failed, one whose launch failed; and a loosened tolerance.
pub(crate) fn disturbed_session() -> Session {
    let mut session = fixtures::session(2, &[10_000, 10_100, 9_950, 9_900]);
    session.header.tolerances = vec![("engine.v0.1/tokens_per_sec".to_owned(), Tolerance::Relative(0.2))];
    session.launches[3].start =
        LaunchStart::Failed(EngineError::Start { message: "no such file".to_owned() });
    session.repetitions.truncate(6);
    let measured =
        session.repetitions.iter_mut().filter(|own| own.repetition.kind == RepetitionKind::Measured);
    for (position, recorded) in measured.enumerate() {
        match (position, &mut recorded.repetition.outcome) {
            (1, Outcome::Completed(completed)) => {
                let reason =
                    "other-load: other processes took from the engine's cores 12.0 % (more than 5 %)"
                        .to_owned();
                completed.validity = Validity::Suspect(vec![reason]);
            }
            (2, outcome) => {
                *outcome = Outcome::Failed(EngineError::Killed {
                    signal: 9,
                    name: "SIGKILL".to_owned(),
                    log: String::new(),
                });
                recorded.measurements.clear();
            }
            _ => {}
        }
    }
    session.end =
        session.end.map(|end| lab_core::record::SessionEnd { status: SessionStatus::Incomplete, ..end });
    session
}

/// Figures as the comparison crate gives them, computed the plain way (crates do not depend on their siblings).
pub(crate) fn figures(session: &Session) -> Vec<MetricSummary> {
    let summary = |metric: &'static Metric| {
        let figures = match session.samples(&metric.id()) {
            Ok(samples) => Reading::Value(summary(&samples)),
            Err(reason) => Reading::Unavailable(reason),
        };
        MetricSummary { metric, figures }
    };
    METRICS.iter().map(summary).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a handful of samples")]
fn summary(samples: &[f64]) -> Summary {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    Summary {
        n: samples.len(),
        mean,
        standard_deviation: (samples.len() > 1).then(|| (squares / (n - 1.0)).sqrt()),
        min: sorted[0],
        median: percentile_type_7(&sorted, 0.5).unwrap(),
        max: sorted[samples.len() - 1],
    }
}

pub(crate) fn list() -> Vec<ListRow> {
    let row = |short_id: &str, status, completed, invalid, tokens_per_sec_mean| ListRow {
        id: format!("019b7a5c-0000-7000-8000-0000{short_id}"),
        short_id: short_id.to_owned(),
        started_at: "2026-01-02T03:04:05.678Z".to_owned(),
        plan: "quick".to_owned(),
        model: "tiny-synthetic".to_owned(),
        status,
        completed,
        invalid,
        asked: 5,
        tokens_per_sec_mean,
        listed: tokens_per_sec_mean
            .map(|mean| ListedFigure { metric: "engine.v0.1/tokens_per_sec".to_owned(), mean: Some(mean) }),
        fingerprint: session().fingerprint_digest().to_string(),
    };
    vec![
        row("00000001", SessionStatus::Completed, 5, 0, Some(61.234_5)),
        row("00000002", SessionStatus::Incomplete, 3, 1, Some(60.9)),
        row("00000003", SessionStatus::Failed, 0, 0, None),
    ]
}

/// A list in which a command and a document stand beside an engine.
pub(crate) fn mixed_list() -> Vec<ListRow> {
    let of = |row: &ListRow, plan: &str, model: &str, metric: &str, mean| ListRow {
        plan: plan.to_owned(),
        model: model.to_owned(),
        tokens_per_sec_mean: None,
        listed: Some(ListedFigure { metric: metric.to_owned(), mean }),
        ..row.clone()
    };
    let engines = list();
    vec![
        engines[0].clone(),
        of(&engines[1], "smoke", "train.py", "smoke.v1/elapsed_sec", Some(1.204)),
        of(&engines[1], "fan", "apxm", "workflow.v1/duration_ms", None),
        engines[2].clone(),
    ]
}

/// A store with two archives, one of which is gone, and a limit that is reached.
pub(crate) fn store() -> StoreDocument {
    let table = |table: &str, rows, bytes| TableBlock { table: table.to_owned(), rows, bytes };
    let archive = |path: &str, place: Option<&str>| ArchiveBlock {
        created_at: "2026-02-03T04:05:06.789Z".to_owned(),
        path: path.to_owned(),
        place: place.map(str::to_owned),
        digest: session().fingerprint_digest().to_string(),
        bytes: 900_000,
        sessions: 40,
        timelines: 400,
        pieces: 0,
        blob_bytes: 1_100_000,
    };
    let day = |day: &str, sessions, bytes| DayBlock { day: day.to_owned(), sessions, bytes };
    StoreDocument {
        schema: STORE_SCHEMA,
        path: "results/lab.sqlite".to_owned(),
        at: "2026-03-04T05:06:07Z".to_owned(),
        bytes: 12_345_678,
        unused_bytes: 40_960,
        tables: vec![table("session", 120, 409_600), table("repetition", 1_200, 4_096_000)],
        timelines: BlobBlock { blobs: 800, bytes: 2_200_000 },
        pieces: BlobBlock { blobs: 0, bytes: 0 },
        archived: BlobBlock { blobs: 800, bytes: 2_200_000 },
        archives: vec![archive("/old/a.archive", Some("results/a.archive")), archive("/old/b.archive", None)],
        days: vec![day("2026-03-03", 30, 3_000_000), day("2026-03-04", 2, 200_000)],
        forecast: ForecastBlock {
            over_days: 7,
            bytes_per_day: 12_500_000,
            free_bytes: Reading::Value(40_000_000_000),
            full: Some(ReachBlock { in_days: 3_200, on: Some("2035-01-01".to_owned()) }),
            limit_bytes: Some(10_000_000_000),
            limit: Some(ReachBlock { in_days: 0, on: Some("2026-03-04".to_owned()) }),
        },
    }
}

/// Two names, one with a note.
pub(crate) fn baselines() -> Vec<BaselineRow> {
    let row = |name: &str, note: Option<&str>, session: ListRow| BaselineRow {
        name: name.to_owned(),
        set_at: "2026-02-03T04:05:06.789Z".to_owned(),
        note: note.map(str::to_owned),
        session,
    };
    let [first, second, _]: [ListRow; 3] = list().try_into().expect("the list has three rows");
    vec![row("main", Some("before the new kernel"), first), row("release/1.4", None, second)]
}

/// A name that was set, removed, and set again; newest first.
pub(crate) fn baseline_history() -> Vec<ChangeBlock> {
    let change = |day: u32, session: Option<&ListRow>, note: Option<&str>| ChangeBlock {
        set_at: format!("2026-02-{day:02}T04:05:06.789Z"),
        session: session.map(|own| own.id.clone()),
        short_id: session.map(|own| own.short_id.clone()),
        note: note.map(str::to_owned),
    };
    let rows = list();
    vec![
        change(3, Some(&rows[0]), Some("before the new kernel")),
        change(2, None, None),
        change(1, Some(&rows[1]), None),
    ]
}

/// Fourteen sessions: another engine from the ninth on, and a lower level; one without a value and one suspect.
pub(crate) fn history() -> HistoryDocument {
    let mut sessions: Vec<HistorySession> = (0..14).map(session_of_history).collect();
    sessions[3].mean = None;
    sessions[3].relative_to_first = None;
    sessions[3].launches = 0;
    sessions[3].unavailable = Some("every measured repetition is invalid".to_owned());
    sessions[5].suspect = 2;
    sessions[8].engine_changed = true;
    let worse = |relative| Change::of(relative, Direction::Higher);
    HistoryDocument {
        schema: HISTORY_SCHEMA,
        plan: "quick".to_owned(),
        model: "tiny-synthetic".to_owned(),
        family: session().fingerprint_digest().to_string(),
        older: 3,
        metric: "engine.v0.1/tokens_per_sec".to_owned(),
        unit: "tokens/s".to_owned(),
        direction: Direction::Higher,
        significance: 0.01,
        least_sessions: 11,
        change_points: vec![HistoryChange {
            session: sessions[8].id.clone(),
            index: 8,
            change: worse(-0.062),
            p: 0.0014,
        }],
        since_first: Some(worse(-0.0587)),
        sessions,
    }
}

/// Three experiments: two small losses of builds that follow each other, and one between others that shows nothing.
pub(crate) fn steps() -> StepsDocument {
    let change = |estimate: f64, width: f64| {
        Some(ChangeBounds { estimate, low: estimate - width, high: estimate + width })
    };
    let step = |index: u32, change: Option<ChangeBounds>, sum: Option<ChangeBounds>| {
        let [from, to] = [session_of_history(8 * index), session_of_history(8)];
        StepBlock {
            baseline: from.id.clone(),
            candidate: to.id.clone(),
            short_id: format!("{index:08}"),
            started_at: from.started_at,
            from: from.engine,
            to: to.engine,
            pairs: if change.is_some() { 8 } else { 1 },
            unavailable: change
                .is_none()
                .then(|| "there is a single pair, and one value has no spread".to_owned()),
            change,
            sum,
            linked: index < 2,
        }
    };
    StepsDocument {
        schema: STEPS_SCHEMA,
        plan: "quick".to_owned(),
        model: "tiny-synthetic".to_owned(),
        family: session().fingerprint_digest().to_string(),
        older: 1,
        metric: "engine.v0.1/tokens_per_sec".to_owned(),
        steps: vec![
            step(0, change(-0.012, 0.01), change(-0.012, 0.007)),
            step(1, change(-0.014, 0.011), change(-0.0258, 0.0104)),
            step(2, change(0.001, 0.012), change(-0.0248, 0.0131)),
            step(3, None, None),
        ],
    }
}

fn session_of_history(index: u32) -> HistorySession {
    let (level, version) = if index < 8 { (62.0, "0.1.0") } else { (58.0, "0.2.0") };
    let wave = |index: u32| f64::from(index * 7_919 % 1_009) / 1_009.0;
    let mean = level + wave(index);
    HistorySession {
        id: format!("019b7a5c-0000-7000-8000-0000{index:08}"),
        short_id: format!("{index:08}"),
        started_at: format!("2026-01-{:02}T03:04:05.678Z", index + 2),
        engine: HistoryEngine {
            name: Some("candle".to_owned()),
            version: Some(version.to_owned()),
            build: Some(lab_core::digest::Digest::of(version.as_bytes()).to_string()),
            digest: lab_core::digest::Digest::of(b"engine").to_string(),
        },
        engine_changed: false,
        launches: 5,
        suspect: 0,
        mean: Some(mean),
        unavailable: None,
        relative_to_first: Some(mean / 62.0 - 1.0),
    }
}

/// One limit that holds, and one without a value, of an imported session.
pub(crate) fn check() -> SessionCheck {
    let row = |name: &str, unit: &str, limit, worst: Option<f64>| LimitCheck {
        metric: format!("workflow.v1/{name}"),
        unit: unit.to_owned(),
        limit,
        worst,
        n: usize::from(worst.is_some()),
        outcome: worst.map_or(LimitOutcome::Unknown, |_| LimitOutcome::Holds),
        unavailable: worst.is_none().then(|| "the document does not tell `total_requests`".to_owned()),
    };
    SessionCheck {
        schema: CHECK_SCHEMA.to_owned(),
        session: "019b7a5c-0000-7000-8000-000000000001".to_owned(),
        plan: "workflow".to_owned(),
        origin: Origin::Imported,
        passed: false,
        reason: "failed: 1 of 2 cannot be shown to hold".to_owned(),
        limits: vec![
            row("per_op_overhead_us", "us", Limit::Below(10.0), Some(4.73)),
            row("overhead_ratio_pct", "%", Limit::Below(1.0), None),
        ],
        notes: vec!["repetition 0 is suspect (status: `done` is neither `success` nor `failed`)".to_owned()],
    }
}
