//! From a plan to something that can be run here: the model on this machine, checked; the prompt as token ids; the
//! memory it will take.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use lab_core::plan::{EngineKind, Plan};
use lab_core::workload::{PromptSpec, Workload, draw_prompt};
use lab_host::{Roots, memory};
use lab_model::gguf::Gguf;
use lab_model::llama::LlamaShape;
use lab_model::memory::MemoryEstimate;
use lab_model::source::{Cache, LocalModel, SourceError, obtain};
use lab_model::support;
use lab_model::tokenizer::Tokenizer;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::progress::ByteBar;

/// A model on this machine and what is known of it.
pub(crate) struct Model {
    pub(crate) local: LocalModel,
    pub(crate) gguf: Gguf,
    pub(crate) shape: LlamaShape,
}

/// Opens the cache of models.
pub(crate) fn cache(global: &Global) -> Result<Cache> {
    Ok(Cache::new(cache_folder(global)?))
}

/// The folder named by the user, or `lab` in the cache folder of the XDG base directory specification, version 0.8.
fn cache_folder(global: &Global) -> Result<PathBuf> {
    if let Some(folder) = &global.cache {
        return Ok(std::path::absolute(folder).unwrap_or_else(|_| folder.clone()));
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|folder| folder.join("lab"))
        .ok_or_else(|| anyhow!("neither `XDG_CACHE_HOME` nor `HOME` is set"))
        .map_err(|error| Failure::usage(error).hint("name a folder for models with `--cache FOLDER`"))
}

/// Brings the model to this machine, with progress.
pub(crate) fn obtain_model(plan: &Plan, folder: &Path, global: &Global) -> Result<Model> {
    let cache = cache(global)?;
    let mut bar = ByteBar::new();
    let mut show = |progress: lab_model::Progress| {
        bar.show(&progress.stage.to_string(), progress.done, progress.total);
    };
    let local = obtain(&cache, &plan.model, folder, &mut show)?;
    drop(bar);
    read_model(local)
}

/// Reads the header of a model that is on this machine.
pub(crate) fn read_model(local: LocalModel) -> Result<Model> {
    let gguf = Gguf::read(&local.path).map_err(Failure::usage)?;
    let shape = LlamaShape::read(&gguf).map_err(Failure::usage)?;
    Ok(Model { local, gguf, shape })
}

/// Turns the plan's prompt into token ids for a model.
pub(crate) fn workload(plan: &Plan, model: &Model) -> Result<Workload> {
    let spec = &plan.workload;
    let prompt = match &spec.prompt {
        PromptSpec::Random { tokens, seed } => draw_prompt(*seed, *tokens, model.shape.vocabulary),
        PromptSpec::Text(text) => tokenize(text, &model.gguf)?,
        PromptSpec::Tokens(ids) => ids.clone(),
    };
    if let Some(outside) = prompt.iter().find(|id| **id >= model.shape.vocabulary) {
        let vocabulary = model.shape.vocabulary;
        return Err(Failure::usage(anyhow!(
            "prompt token {outside} lies outside the model's vocabulary of {vocabulary}"
        )));
    }
    if prompt.is_empty() {
        return Err(Failure::usage(anyhow!("the prompt's text holds no token of this model")));
    }
    Ok(Workload { prompt, generate: spec.generate, sampling: spec.sampling, stop: spec.stop })
}

fn tokenize(text: &str, gguf: &Gguf) -> Result<Vec<u32>> {
    let tokenizer =
        Tokenizer::from_gguf(gguf).context("cannot tokenise the prompt").map_err(Failure::usage)?;
    tokenizer.encode(text).context("cannot tokenise the prompt").map_err(Failure::usage)
}

/// Lists everything that keeps the plan's engine from running the model rightly.
pub(crate) fn problems(plan: &Plan, model: &Model, workload: &Workload) -> Vec<String> {
    let built_in = match plan.engine.kind {
        EngineKind::Candle => support::problems(&model.gguf, workload.positions()),
        EngineKind::Scripted(_) | EngineKind::Command(_) => Vec::new(),
    };
    let mut problems: Vec<String> = built_in.iter().map(ToString::to_string).collect();
    let (positions, context) = (workload.positions(), u64::from(model.shape.context));
    if positions > context {
        problems.push(format!("the workload fills {positions} positions; the model was made for {context}"));
    }
    problems
}

/// Refuses a model that the plan's engine cannot run rightly, or that this host has no memory for.
pub(crate) fn check(plan: &Plan, model: &Model, workload: &Workload, roots: &Roots) -> Result<()> {
    let problems = problems(plan, model, workload);
    if !problems.is_empty() {
        let name = &plan.model.name;
        return Err(Failure::usage(anyhow!(
            "`{name}` cannot be run as planned:\n  - {}",
            problems.join("\n  - ")
        )));
    }
    match plan.engine.kind {
        EngineKind::Candle => check_memory(&estimate(model, workload), roots),
        EngineKind::Scripted(_) | EngineKind::Command(_) => Ok(()),
    }
}

/// Estimates what the built-in engine will take.
pub(crate) fn estimate(model: &Model, workload: &Workload) -> MemoryEstimate {
    MemoryEstimate::of(&model.gguf, &model.shape, workload.positions())
}

fn check_memory(estimate: &MemoryEstimate, roots: &Roots) -> Result<()> {
    let probed = memory::probe(roots);
    let usable = memory::usable_memory(roots).map_err(Failure::run)?;
    let available = probed.available_bytes.value().copied().unwrap_or(usable).min(usable);
    if estimate.total() <= available {
        return Ok(());
    }
    let megabytes = |bytes: u64| bytes / 1_000_000;
    Err(Failure::run(anyhow!(
        "the model needs about {} MB of memory and {} MB are available",
        megabytes(estimate.total()),
        megabytes(available)
    ))
    .hint("nothing was loaded; `lab plan check` shows what takes how much"))
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::with(exit_of(&error), error)
    }
}

/// What this host or the network lacks is a failed run; what the plan says wrongly is a usage error.
fn exit_of(error: &SourceError) -> Exit {
    match error {
        SourceError::File { .. }
        | SourceError::NoSpace { .. }
        | SourceError::HttpStatus { .. }
        | SourceError::Connection { .. }
        | SourceError::NoPip { .. }
        | SourceError::Pip { .. } => Exit::RunFailed,
        _ => Exit::Usage,
    }
}
