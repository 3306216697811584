//! `lab run`: carry out a plan and store the session.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use jiff::Timestamp;
use lab_core::clock::Clock as _;
use lab_core::engine::{EngineError, Hello, LoadRequest};
use lab_core::fingerprint::{BackendPart, Fingerprint};
use lab_core::plan::Plan;
use lab_core::record::{
    LaunchStart, Outcome, Repetition, RepetitionKind, SessionEnd, SessionHeader, SessionId, SessionStatus,
};
use lab_core::workload::Workload;
use lab_host::clock::Monotonic;
use lab_host::{Roots, cpu};
use lab_runner::{Event, Order};
use lab_store::{Store, StoreError};

use crate::backend::{self, Backend};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::launch::{Launcher, check_clock};
use crate::prepare::{self, Model};
use crate::progress::RunLine;
use crate::terminal::{Format, print, say};
use crate::{identity, plan_file, store};

const EXAMPLES: &str = "\
Examples:
  lab run plans/quickstart.toml --repeat 5
  lab run plans/smollm2.toml --format json > session.json

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
    /// What to print when the session has ended.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let plan = plan_file::load(&arguments.plan, global.color)?;
    let repeat = arguments.repeat.unwrap_or(plan.run.repeat);
    let roots = Roots::default();
    let host = cpu::probe(&roots);
    let backend = backend::resolve(&plan.engine, &roots, &host)?;
    if let Some(foreseen) = prepare::foresee(&plan)? {
        prepare::check_foreseen(&plan, &foreseen, &roots)?;
    }
    // Store and engine come before the model: nobody waits for a download to learn that one of them is not to be had.
    let mut store = store::open_for_recording(&global.store)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let launcher = Launcher {
        kind: &plan.engine.kind,
        backend: &backend,
        limits: &plan.run,
        roots: &roots,
        interrupted: interrupted.clone(),
    };
    let hello = greet(&launcher)?;
    let model = prepare::obtain_model(&plan, &plan_file::folder(&arguments.plan), global)?;
    let workload = prepare::workload(&plan, &model.header)?;
    prepare::check(&plan, &model.header, &workload, &roots)?;

    // Only from here on is there something that Ctrl-C must end in order.
    listen_for_interruption(&interrupted)?;
    let header = header(&plan, repeat, &model, &workload, &backend, &launcher, &hello, &host)?;
    announce(&plan, &header);
    store.begin_session(&header)?;
    let order = Order {
        workload: &workload,
        load: &LoadRequest { model: absolute(&model.local.path), positions: workload.positions() },
        repeat,
        warmup: plan.run.warmup,
        isolation: plan.run.isolation,
    };
    let status = record(&order, &launcher, &hello, header.id, &mut store)?;
    store.end_session(header.id, &SessionEnd { ended_at: Timestamp::now(), status })?;
    show(header.id, arguments.format, &store, global)?;
    Ok(conclude(status, header.id, &store)?)
}

/// Ctrl-C and a polite kill raise a flag; the session then ends in order.
fn listen_for_interruption(interrupted: &Arc<AtomicBool>) -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second Ctrl-C ends lab at once.
        signal_hook::flag::register_conditional_default(signal, interrupted.clone()).map_err(Failure::run)?;
        signal_hook::flag::register(signal, interrupted.clone()).map_err(Failure::run)?;
    }
    Ok(())
}

/// Lets the engine introduce itself before anything is recorded.
fn greet(launcher: &Launcher<'_>) -> Result<Hello> {
    let hello = launcher.greet().context("cannot start the engine").map_err(Failure::run)?;
    check_clock(&hello).map_err(Failure::run).map_err(|failure| {
        failure.hint("the contract asks for a monotonic clock of 1000 ns or finer (engine.v0.1, section 6.1)")
    })?;
    Ok(hello)
}

#[expect(clippy::too_many_arguments, reason = "a header is where everything that identifies a session meets")]
fn header(
    plan: &Plan,
    repeat: u32,
    model: &Model,
    workload: &Workload,
    backend: &Backend,
    launcher: &Launcher<'_>,
    hello: &Hello,
    host: &cpu::Cpu,
) -> Result<SessionHeader> {
    let executable =
        launcher.executable_digest().context("cannot read the engine's program").map_err(Failure::run)?;
    let model_part =
        identity::model_part(&plan.model, &model.local, &model.header.gguf).map_err(Failure::usage)?;
    Ok(SessionHeader {
        id: SessionId(uuid::Uuid::now_v7()),
        started_at: Timestamp::now(),
        lab_version: env!("CARGO_PKG_VERSION").to_owned(),
        plan_name: plan.name.clone(),
        plan_text: plan.text.clone(),
        model_name: plan.model.name.clone(),
        workload: workload.clone(),
        repeat,
        tolerances: plan.tolerances.clone().into_iter().collect(),
        fingerprint: Fingerprint {
            model: model_part.record(),
            plan: identity::plan_part(plan, workload, repeat).record(),
            backend: BackendPart { device: hello.device.clone(), ..backend.part.clone() }.record(),
            hardware: identity::hardware_part(launcher.roots, host).record(),
            engine: identity::engine_part(&plan.engine.kind, hello, executable).record(),
        },
    })
}

/// The engine may work in another folder.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn announce(plan: &Plan, header: &SessionHeader) {
    let SessionHeader { model_name, repeat, workload, .. } = header;
    let (n_prompt, n_generate) = (workload.prompt.len(), workload.generate);
    say(&format!(
        "{}: {model_name}, {n_prompt} prompt tokens, {n_generate} to generate, {repeat} repetitions",
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
fn record(
    order: &Order<'_>,
    launcher: &Launcher<'_>,
    hello: &Hello,
    id: SessionId,
    store: &mut Store,
) -> Result<SessionStatus> {
    let line = RunLine::new(order.repeat);
    let begun_ns = Monotonic.now_ns();
    let elapsed = || Duration::from_nanos(Monotonic.now_ns() - begun_ns);
    let mut n_done = 0;
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
                let measurements = measurements(&repetition, order.workload.prompt.len());
                store.append_repetition(id, &repetition, &measurements)?;
                n_done += u32::from(repetition.kind == RepetitionKind::Measured);
                if let Outcome::Failed(error) = &repetition.outcome {
                    line.say(&format!("repetition {} failed: {error}", repetition.index));
                }
                line.show(n_done, if n_done < order.repeat { "measuring" } else { "done" }, elapsed());
                Ok(())
            }
        }
    };
    let mut start = |index| launcher.launch(index, hello);
    Ok(lab_runner::run(order, &mut start, &Monotonic, &mut sink)?)
}

/// Only completed measured repetitions have measurements.
fn measurements(repetition: &Repetition, n_prompt: usize) -> Vec<lab_core::metric::Measurement> {
    match (&repetition.outcome, repetition.kind) {
        (Outcome::Completed(completed), RepetitionKind::Measured) => completed.measurements(n_prompt),
        _ => Vec::new(),
    }
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
