//! `lab run`: carry out a plan and store the session.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use jiff::Timestamp;
use lab_core::clock::Clock as _;
use lab_core::engine::EngineError;
use lab_core::fingerprint::Mode;
use lab_core::plan::Plan;
use lab_core::record::{
    LaunchStart, Outcome, Repetition, RepetitionKind, SessionEnd, SessionHeader, SessionId, SessionStatus,
};
use lab_host::clock::Monotonic;
use lab_runner::{Event, Order};
use lab_store::{Store, StoreError};

use crate::bench::{Bench, Host};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::progress::RunLine;
use crate::terminal::{Format, print, say};
use crate::{plan_file, recording, store};

const EXAMPLES: &str = "\
Examples:
  lab run plans/quickstart.toml --repeat 5
  lab run plans/smollm2.toml --format json > session.json
  lab run plans/smollm2.toml --profile --replace-invalid

Every repetition is stored as soon as it ends; Ctrl-C keeps what has finished.";

/// What `lab run` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The plan.
    plan: PathBuf,
    /// Measured repetitions, in place of the plan's.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    repeat: Option<u32>,
    /// Measure another repetition in the place of an invalid one, at most as many as were asked for; all are kept.
    #[arg(long)]
    replace_invalid: bool,
    /// Learn where the time goes, in one more launch that is never counted as measured.
    #[arg(long)]
    profile: bool,
    /// What to print when the session has ended.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let plan = plan_file::load(&arguments.plan, global.color)?;
    let host = Host::resolve(&plan, global)?;
    let mut store = store::open_for_recording(&global.store)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut bench = Bench::ready(&plan, &arguments.plan, &host, &interrupted, global)?;
    bench.calibrate(&plan, global)?;
    // Only from here on is there something that Ctrl-C must end in order.
    recording::listen_for_interruption(&interrupted)?;
    let header = recording::header(&plan, arguments.repeat.unwrap_or(plan.run.repeat), Mode::Alone, &bench)?;
    announce(&plan, &header);
    store.begin_session(&header)?;
    let order = Order {
        workload: &bench.workload,
        load: &bench.load_request(),
        repeat: header.repeat,
        warmup: plan.run.warmup,
        isolation: plan.run.isolation,
        replace_invalid: arguments.replace_invalid,
        profile: arguments.profile,
    };
    let status = record(&order, &bench, header.id, &mut store)?;
    store.end_session(header.id, &SessionEnd { ended_at: Timestamp::now(), status })?;
    show(header.id, arguments.format, &store, global)?;
    Ok(conclude(status, header.id, &store)?)
}

fn announce(plan: &Plan, header: &SessionHeader) {
    let SessionHeader { model_name, repeat, workload, .. } = header;
    let (n_prompt, n_generate) = (workload.prompt.len(), workload.generate);
    say(&format!(
        "{}: {model_name}, {n_prompt} prompt tokens, {n_generate} to generate, repetitions: {repeat}",
        plan.name
    ));
    let loosened: Vec<&str> = plan.loosened().iter().map(|metric| metric.name).collect();
    if !loosened.is_empty() {
        say(&format!(
            "note: unofficial: the plan loosens the contract's tolerance of {}",
            loosened.join(", ")
        ));
    }
}

/// Carries the order out; every event is in the store before the next begins.
fn record(order: &Order<'_>, bench: &Bench<'_>, id: SessionId, store: &mut Store) -> Result<SessionStatus> {
    let line = RunLine::new(order.repeat);
    let begun_ns = Monotonic.now_ns();
    let elapsed = || Duration::from_nanos(Monotonic.now_ns() - begun_ns);
    let (mut n_done, mut n_replaced) = (0, 0);
    line.show(n_done, "loading", elapsed());
    let mut sink = |event: Event| -> std::result::Result<(), StoreError> {
        match event {
            Event::Begins(_) => Ok(()),
            Event::Launch(launch) => {
                if let LaunchStart::Failed(error) = &launch.start {
                    line.say(&format!("launch {} failed: {error}", launch.index));
                }
                store.append_launch(id, &launch)
            }
            Event::Repetition(repetition) => {
                let measurements = recording::measurements(&repetition, order.workload.prompt.len());
                store.append_repetition(id, &repetition, &measurements)?;
                match repetition.kind {
                    RepetitionKind::Measured
                        if is_invalid(&repetition) && n_replaced < most_replaced(order) =>
                    {
                        n_replaced += 1;
                    }
                    RepetitionKind::Measured => n_done += 1,
                    RepetitionKind::Warmup => {}
                }
                if let Some(trouble) = recording::trouble(&repetition) {
                    line.say(&trouble);
                }
                let next = match (n_done < order.repeat, order.profile) {
                    (true, _) => "measuring",
                    (false, true) => "profiling",
                    (false, false) => "done",
                };
                line.show(n_done, next, elapsed());
                Ok(())
            }
        }
    };
    let mut start = |index| bench.launcher.launch(index, &bench.hello, &bench.instruments, None);
    Ok(lab_runner::run(order, &mut start, &Monotonic, &mut sink)?)
}

fn is_invalid(repetition: &Repetition) -> bool {
    matches!(&repetition.outcome, Outcome::Completed(completed) if !completed.is_usable())
}

/// Invalid repetitions that others are measured for are no progress.
fn most_replaced(order: &Order<'_>) -> u32 {
    if order.replace_invalid { order.repeat } else { 0 }
}

fn show(id: SessionId, format: Format, store: &Store, global: &Global) -> Result<()> {
    let session = store.load(&id)?;
    let figures = lab_compare::summarize_session(&session);
    let recording = lab_formats::Recording { session: &session, figures: &figures };
    match format {
        Format::Json => print(&lab_formats::session_json::to_text(recording)),
        Format::Table => {
            let page = lab_formats::page::session(recording);
            print(&lab_formats::table::render(&page, global.color.table_style()))
        }
    }
}

fn conclude(status: SessionStatus, id: SessionId, store: &Store) -> std::result::Result<Exit, StoreError> {
    let short = store.short_id(&id)?;
    let stored = format!("stored as {short} in {}", store.path().display());
    Ok(match status {
        SessionStatus::Completed if store.load(&id)?.usable().next().is_none() => {
            say(&format!("error: every repetition is invalid (`lab rules` explains the rules); {stored}"));
            Exit::RunFailed
        }
        SessionStatus::Completed => {
            say(&stored);
            Exit::Pass
        }
        SessionStatus::Interrupted => {
            say(&format!("interrupted; what had finished is {stored}"));
            Exit::Interrupted
        }
        SessionStatus::Incomplete | SessionStatus::Failed | SessionStatus::Unfinished => {
            say(&format!("error: the session is {status}; {stored}"));
            Exit::RunFailed
        }
    })
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::run(error)
    }
}
