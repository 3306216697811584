//! `lab plan check`: what a plan would do, before it does it.

mod command;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use lab_core::energy::MeterInfo;
use lab_core::fingerprint::Isolation;
use lab_core::metric::METRICS;
use lab_core::model::ModelSource;
use lab_core::plan::{EnergySource, EngineKind, Plan, PlanFile};
use lab_core::record::{Session, SessionStatus};
use lab_core::workload::{Decode, PromptSpec, Sampling, Stop, Workload};
use lab_formats::plan_check::{
    EnergyCheck, EngineBlock, MemoryBlock, ModelBlock, PLAN_CHECK_SCHEMA, PlanCheckDocument, RunBlock,
    TimeBlock, ToleranceRow, WorkloadBlock,
};
use lab_formats::{page, plan_check, table};
use lab_host::{Roots, cpu, disk};
use lab_model::memory::{MemoryEstimate, bytes_touched_per_token};
use lab_model::source::{ModelStatus, status};
use lab_store::{ListFilter, Store};

use crate::backend::{self, Backend};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::instruments::Instruments;
use crate::plan_file;
use crate::prepare::{self, Header};
use crate::terminal::{Format, print};

const EXAMPLES: &str = "\
Examples:
  lab plan check plans/llama3.toml
  lab plan check my-plan.toml --format json

Nothing is downloaded, written or run. Exit status: 0 the plan can run here, 2 it cannot as it stands, 5 this host lacks
something it needs.";

/// What `lab plan` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Explain a plan and what keeps it from running.
    Check(CheckArguments),
}

/// What `lab plan check` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArguments {
    /// The plan.
    plan: PathBuf,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(command: &Command, global: &Global) -> Result<Exit> {
    let Command::Check(arguments) = command;
    let plan = match plan_file::load_any(&arguments.plan, global.color)? {
        PlanFile::Engine(plan) => *plan,
        PlanFile::Command(plan) => return command::carry_out(&plan, arguments, global),
        PlanFile::Contract(plan) => return Err(plan_file::measures_nothing(&plan)),
    };
    let (document, exit) = check(&plan, arguments, global)?;
    match arguments.format {
        Format::Json => print(&plan_check::to_text(&document))?,
        Format::Table => print(&table::render(&page::plan_check(&document), global.color.table_style()))?,
    }
    Ok(exit)
}

/// What keeps a plan from running. The first obstacle decides the exit status.
struct Obstacles {
    problems: Vec<String>,
    exit: Exit,
}

impl Obstacles {
    fn add(&mut self, failure: &Failure) {
        if self.problems.is_empty() {
            self.exit = failure.exit;
        }
        self.problems.push(failure.sentence());
    }

    /// Keeps a value, or notes why there is none.
    fn keep<T>(&mut self, checked: Result<T>) -> Option<T> {
        checked.map_err(|failure| self.add(&failure)).ok()
    }
}

fn check(plan: &Plan, arguments: &CheckArguments, global: &Global) -> Result<(PlanCheckDocument, Exit)> {
    let roots = global.roots()?;
    let backend = backend::resolve(&plan.engine, &roots, &cpu::probe(&roots))?;
    let cache = prepare::cache(global)?;
    let status = status(&cache, &plan.model, &plan_file::folder(&arguments.plan))?;
    let mut obstacles = Obstacles { problems: Vec::new(), exit: Exit::Pass };
    obstacles.keep(check_status(&status, cache.root()));
    let header = here(plan, &status)?;
    let workload = header.as_ref().and_then(|header| obstacles.keep(prepare::workload(plan, header)));
    let known = header.as_ref().zip(workload.as_ref());
    let memory = match known {
        Some((header, workload)) => {
            check_model(plan, header, workload, &roots, &mut obstacles);
            Some(prepare::estimate(header, workload))
        }
        None => foreseen_memory(plan, &roots, &mut obstacles)?,
    };
    let energy = energy_check(plan, &backend, &roots, &mut obstacles);
    let document = PlanCheckDocument {
        schema: PLAN_CHECK_SCHEMA,
        plan: plan.name.clone(),
        description: plan.description.clone(),
        runnable: obstacles.problems.is_empty(),
        problems: obstacles.problems,
        model: model_block(plan, &status, header.as_ref()),
        workload: workload_block(plan, workload.as_ref()),
        engine: engine_block(plan, &backend),
        run: run_block(plan),
        memory: memory.map(|estimate| memory_block(&estimate, &roots)),
        time: time_block(plan, known, global),
        energy,
        tolerances: tolerance_rows(plan),
    };
    Ok((document, obstacles.exit))
}

/// Opens the meters that a session would read. What device the engine has only the engine knows: the backend's word for
/// it stands in.
fn energy_check(plan: &Plan, backend: &Backend, roots: &Roots, obstacles: &mut Obstacles) -> EnergyCheck {
    if plan.energy.sources.contains(&EnergySource::External) {
        let unavailable = "the plan's own meter is asked when the plan runs".to_owned();
        return EnergyCheck { required: plan.energy.required, meters: None, unavailable: Some(unavailable) };
    }
    let opened = obstacles.keep(Instruments::open(plan, &backend.part.device, backend, roots));
    let meters = opened.map(|instruments| instruments.set.meters);
    let names = |meters: &Vec<MeterInfo>| meters.iter().map(|meter| meter.source.clone()).collect();
    EnergyCheck {
        required: plan.energy.required,
        meters: meters.as_ref().and_then(|meters| meters.value().map(names)),
        unavailable: meters.as_ref().and_then(|meters| meters.reason().map(str::to_owned)),
    }
}

/// Refuses a file that is not there, and one that would not fit.
fn check_status(status: &ModelStatus, cache: &Path) -> Result<()> {
    match status {
        ModelStatus::Missing { path } => {
            Err(Failure::usage(anyhow!("the model file `{}` does not exist", path.display())))
        }
        ModelStatus::NeedsWriting { bytes } => match disk::free_bytes(cache) {
            Ok(free) if free < *bytes => Err(Failure::run(anyhow!(
                "the model takes {} MB of disk and {} MB are free for `{}`",
                bytes / 1_000_000,
                free / 1_000_000,
                cache.display()
            ))),
            // A file system that does not tell its room is found out by writing.
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_model(plan: &Plan, model: &Header, workload: &Workload, roots: &Roots, obstacles: &mut Obstacles) {
    let problems = prepare::problems(plan, model, workload);
    if problems.is_empty() {
        obstacles.keep(prepare::check(plan, model, workload, roots));
    }
    problems.into_iter().for_each(|problem| obstacles.add(&Failure::usage(anyhow!(problem))));
}

/// Estimates the memory of a synthetic model that is not written yet.
fn foreseen_memory(plan: &Plan, roots: &Roots, obstacles: &mut Obstacles) -> Result<Option<MemoryEstimate>> {
    let foreseen = prepare::foresee(plan)?;
    if let (Some(foreseen), true) = (&foreseen, obstacles.problems.is_empty()) {
        obstacles.keep(prepare::check_foreseen(plan, foreseen, roots));
    }
    Ok(foreseen.map(|foreseen| foreseen.memory))
}

/// Reads the header of the file that the engine would load, where it is on this machine.
fn here(plan: &Plan, status: &ModelStatus) -> Result<Option<Header>> {
    match status {
        ModelStatus::Cached(local) => prepare::read_header(&local.path).map(Some),
        // What is to be hashed may still be rewritten, and then it is not what the engine loads.
        ModelStatus::NeedsHashing { path, .. } if plan.model.requantize.is_none() => {
            prepare::read_header(path).map(Some)
        }
        _ => Ok(None),
    }
}

fn model_block(plan: &Plan, status: &ModelStatus, model: Option<&Header>) -> ModelBlock {
    let spec = &plan.model;
    let sha256 = match status {
        ModelStatus::Cached(local) => Some(local.sha256),
        _ => spec.requantize.map_or(spec.sha256, |requantize| requantize.sha256),
    };
    ModelBlock {
        name: spec.name.clone(),
        source: source_words(plan),
        status: status_words(status),
        sha256: sha256.map(|digest| digest.to_string()),
        kind: model.map(|model| format!("{} {}", model.shape.architecture, model.gguf.quantization())),
    }
}

fn source_words(plan: &Plan) -> String {
    let source = match &plan.model.source {
        ModelSource::Path(path) => format!("your file `{}`", path.display()),
        ModelSource::Url(url) => format!("download of {url}"),
        ModelSource::Wheel { requirement, member } => format!("`{member}` of the Python wheel {requirement}"),
        ModelSource::Synthetic(shape) => format!(
            "synthetic Llama: {} layers, {} wide, {} feed-forward, {}/{} heads, {} tokens, seed {}",
            shape.layers,
            shape.embedding,
            shape.feed_forward,
            shape.heads,
            shape.kv_heads,
            shape.vocabulary,
            shape.seed
        ),
    };
    match plan.model.requantize {
        Some(requantize) => format!("{source}, requantised to {}", requantize.to),
        None => source,
    }
}

fn status_words(status: &ModelStatus) -> String {
    let megabytes = |bytes: &u64| bytes / 1_000_000;
    match status {
        ModelStatus::Cached(local) => format!("here ({} MB)", megabytes(&local.bytes)),
        ModelStatus::NeedsHashing { bytes, .. } => {
            format!("here ({} MB), to be hashed once", megabytes(bytes))
        }
        ModelStatus::NeedsDownload { what } => format!("to be downloaded once ({what})"),
        ModelStatus::NeedsWriting { bytes } => {
            format!("to be written once to the cache ({} MB)", megabytes(bytes))
        }
        ModelStatus::Missing { .. } => "missing".to_owned(),
    }
}

fn workload_block(plan: &Plan, workload: Option<&Workload>) -> WorkloadBlock {
    let spec = &plan.workload;
    let (prompt, known) = match &spec.prompt {
        PromptSpec::Random { tokens, seed } => (format!("drawn from seed {seed}"), Some(*tokens as usize)),
        PromptSpec::Text(text) => (format!("text of {} bytes", text.len()), None),
        PromptSpec::Tokens(ids) => ("given token ids".to_owned(), Some(ids.len())),
    };
    let choice = match spec.sampling {
        Sampling::Greedy => "greedy".to_owned(),
        Sampling::Temperature { temperature, seed } => format!("temperature {temperature}, seed {seed}"),
    };
    let stop = match spec.stop {
        Stop::Length => "exactly this many",
        Stop::Eos => "or until end-of-sequence",
    };
    let fed = match spec.decode {
        Decode::Free => String::new(),
        Decode::Forced { seed } => format!(", fed tokens drawn from seed {seed}"),
    };
    WorkloadBlock {
        prompt,
        prompt_tokens: workload.map(|workload| workload.prompt.len()).or(known),
        generate: spec.generate,
        sampling: format!("{choice}, {stop}{fed}"),
    }
}

fn engine_block(plan: &Plan, backend: &Backend) -> EngineBlock {
    EngineBlock {
        name: match &plan.engine.kind {
            EngineKind::Candle => "candle (built in)".to_owned(),
            EngineKind::Scripted(_) => "scripted".to_owned(),
            EngineKind::Command(words) => words.join(" "),
        },
        backend: backend.part.kind.clone(),
        threads: backend.threads,
        cores: backend.part.cores.clone(),
    }
}

fn run_block(plan: &Plan) -> RunBlock {
    let launches = match plan.run.isolation {
        Isolation::Launch => plan.run.repeat,
        Isolation::Session => 1,
    };
    RunBlock {
        launches,
        warmups: launches.saturating_mul(plan.run.warmup),
        measured: plan.run.repeat,
        isolation: plan.run.isolation.to_string(),
    }
}

fn memory_block(estimate: &MemoryEstimate, roots: &Roots) -> MemoryBlock {
    MemoryBlock {
        weights: estimate.weights,
        repacked: estimate.repacked,
        token_embedding: estimate.token_embedding,
        kv_cache: estimate.kv_cache,
        total: estimate.total(),
        available: prepare::available_memory(roots).ok(),
    }
}

/// Estimates from a session of this plan in the store, or else from bytes and an assumed bandwidth.
fn time_block(plan: &Plan, known: Option<(&Header, &Workload)>, global: &Global) -> Option<TimeBlock> {
    let recorded = Store::open_existing(&global.store).ok().and_then(|store| recorded_time(plan, &store));
    recorded.or_else(|| known.map(|(model, workload)| assumed_time(plan, model, workload)))
}

/// How far back to look for a session of the same plan.
const LOOKED_AT: u32 = 200;

fn recorded_time(plan: &Plan, store: &Store) -> Option<TimeBlock> {
    let rows = store.list(&ListFilter { limit: Some(LOOKED_AT) }).ok()?;
    let row = rows.iter().find(|row| row.plan_name == plan.name && row.status == SessionStatus::Completed)?;
    let session = store.load(&row.id).ok()?;
    let seconds = seconds_a_repetition(&session)? * f64::from(plan.run.repeat);
    Some(TimeBlock { seconds, basis: format!("as session {} took", row.short_id) })
}

fn seconds_a_repetition(session: &Session) -> Option<f64> {
    let ended_at = session.end?.ended_at;
    let n_measured = u32::try_from(session.measured().count()).ok()?.max(1);
    Some(ended_at.duration_since(session.header.started_at).as_secs_f64() / f64::from(n_measured))
}

/// A modest desktop reads memory at this rate (two channels of DDR4-3200 peak at 51 GB/s; a busy virtual machine gets a
/// fifth of that). Only for a first guess; a recorded session replaces it.
const ASSUMED_BYTES_PER_SECOND: f64 = 10e9;
/// Prefill reads each weight once for many tokens and is bound by arithmetic instead: this many tokens for one read.
const ASSUMED_PREFILL_TOKENS_PER_READ: f64 = 4.0;
/// Loading reads the file and builds the tables.
const ASSUMED_LOAD_BYTES_PER_SECOND: f64 = 1e9;

#[expect(clippy::cast_precision_loss, reason = "a first guess")]
fn assumed_time(plan: &Plan, model: &Header, workload: &Workload) -> TimeBlock {
    let read = bytes_touched_per_token(&model.gguf) as f64 / ASSUMED_BYTES_PER_SECOND;
    let prefill = workload.prompt.len() as f64 / ASSUMED_PREFILL_TOKENS_PER_READ;
    let generation = read * (prefill + f64::from(workload.generate));
    let run = run_block(plan);
    let load = model.gguf.file_bytes() as f64 / ASSUMED_LOAD_BYTES_PER_SECOND;
    let seconds =
        f64::from(run.launches) * load + (f64::from(run.warmups) + f64::from(run.measured)) * generation;
    TimeBlock {
        seconds,
        basis: "a guess from 10 GB/s of memory bandwidth; no session of this plan is stored yet".to_owned(),
    }
}

fn tolerance_rows(plan: &Plan) -> Vec<ToleranceRow> {
    let loosened = plan.loosened();
    let row = |metric: &'static lab_core::metric::Metric| {
        Some(ToleranceRow {
            metric: metric.id(),
            tolerance: plan.tolerance(metric)?.to_string(),
            unofficial: loosened.iter().any(|own| std::ptr::eq(*own, metric)),
        })
    };
    METRICS.iter().filter_map(row).collect()
}
