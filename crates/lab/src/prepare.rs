//! From a plan to something that can be run here: the model on this machine, checked; the prompt as token ids; the
//! memory it will take.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use lab_core::model::ModelSource;
use lab_core::plan::{EngineKind, Plan};
use lab_core::workload::{Decode, PromptSpec, Workload, WorkloadSpec, draw_forced, draw_prompt};
use lab_host::{Roots, Unavailable, memory};
use lab_model::gguf::{Gguf, GgufError};
use lab_model::llama::LlamaShape;
use lab_model::memory::MemoryEstimate;
use lab_model::source::{Cache, LocalModel, SourceError, obtain};
use lab_model::tokenizer::Tokenizer;
use lab_model::{support, synthetic};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::progress::ByteBar;

/// A model on this machine and what is known of it.
pub(crate) struct Model {
    pub(crate) local: LocalModel,
    pub(crate) header: Header,
}

/// What a model file says of itself.
pub(crate) struct Header {
    pub(crate) gguf: Gguf,
    pub(crate) shape: LlamaShape,
}

/// What the plan alone tells of a synthetic model, before it is written.
pub(crate) struct Foreseen {
    shape: LlamaShape,
    positions: u64,
    pub(crate) memory: MemoryEstimate,
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
    let header = read_header(&local.path)?;
    Ok(Model { local, header })
}

/// Reads the header of a model that is on this machine.
pub(crate) fn read_header(path: &Path) -> Result<Header> {
    let gguf = Gguf::read(path).map_err(Failure::usage)?;
    match LlamaShape::read(&gguf) {
        Ok(shape) => Ok(Header { gguf, shape }),
        Err(error) => Err(shapeless(&gguf, error)),
    }
}

/// Says that an architecture is not supported rather than which of our keys its file lacks.
fn shapeless(gguf: &Gguf, error: GgufError) -> Failure {
    match gguf.architecture() {
        Ok(found) if !support::ARCHITECTURES.contains(&found) => {
            Failure::usage(support::Unsupported::Architecture { found: found.to_owned() })
        }
        _ => Failure::usage(error),
    }
}

/// Says what a plan's model will be where the plan alone tells: a synthetic one that is not rewritten.
pub(crate) fn foresee(plan: &Plan) -> Result<Option<Foreseen>> {
    let (ModelSource::Synthetic(spec), None) = (&plan.model.source, plan.model.requantize) else {
        return Ok(None);
    };
    let (shape, tensors) = synthetic::foresee(spec).map_err(Failure::usage)?;
    let n_prompt = match &plan.workload.prompt {
        PromptSpec::Random { tokens, .. } => u64::from(*tokens),
        PromptSpec::Tokens(ids) => ids.len() as u64,
        // At least one; how many only the tokenizer knows.
        PromptSpec::Text(_) => 1,
    };
    let positions = n_prompt + u64::from(plan.workload.generate);
    let memory = MemoryEstimate::of(&tensors, &shape, positions);
    Ok(Some(Foreseen { shape, positions, memory }))
}

/// Refuses a synthetic model that could not be run here, before it is written: nobody waits for gigabytes to learn that
/// they do not fit.
pub(crate) fn check_foreseen(plan: &Plan, foreseen: &Foreseen, roots: &Roots) -> Result<()> {
    let Foreseen { shape, positions, memory } = foreseen;
    if let Some(problem) = too_long(*positions, shape.context) {
        return Err(Failure::usage(anyhow!(problem)));
    }
    match plan.engine.kind {
        EngineKind::Candle if *positions > support::POSITION_LIMIT => {
            Err(Failure::usage(support::Unsupported::Positions { needed: *positions }))
        }
        EngineKind::Candle => check_memory(memory, roots),
        EngineKind::Scripted(_) | EngineKind::Command(_) => Ok(()),
    }
}

/// Turns the plan's prompt, and what it forces, into token ids for a model.
pub(crate) fn workload(plan: &Plan, model: &Header) -> Result<Workload> {
    let spec = &plan.workload;
    let prompt = match &spec.prompt {
        PromptSpec::Random { tokens, seed } => draw(*seed, *tokens, spec.generate, &model.shape)?,
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
    let forced = forced(spec, prompt.len(), &model.shape)?;
    let WorkloadSpec { generate, sampling, stop, .. } = *spec;
    Ok(Workload { prompt, generate, sampling, stop, forced })
}

/// Draws a prompt. One that is longer than the context is refused first.
fn draw(seed: u64, n_prompt: u32, n_generate: u32, shape: &LlamaShape) -> Result<Vec<u32>> {
    check_drawable(n_prompt, u64::from(n_prompt) + u64::from(n_generate), shape)?;
    Ok(draw_prompt(seed, n_prompt, shape.vocabulary))
}

/// Draws what the engine is to be fed behind the prompt: a token for each one generated but the last, which nothing
/// follows.
fn forced(spec: &WorkloadSpec, n_prompt: usize, shape: &LlamaShape) -> Result<Option<Vec<u32>>> {
    let Decode::Forced { seed } = spec.decode else { return Ok(None) };
    check_drawable(spec.generate, n_prompt as u64 + u64::from(spec.generate), shape)?;
    Ok(Some(draw_forced(seed, spec.generate.saturating_sub(1), shape.vocabulary)))
}

/// Refuses to draw more ids than the context has positions: four billion ids take 16 GB.
fn check_drawable(n_ids: u32, positions: u64, shape: &LlamaShape) -> Result<()> {
    match too_long(positions, shape.context) {
        Some(problem) if n_ids > shape.context => Err(Failure::usage(anyhow!(problem))),
        _ => Ok(()),
    }
}

fn too_long(positions: u64, context: u32) -> Option<String> {
    (positions > u64::from(context))
        .then(|| format!("the workload fills {positions} positions; the model was made for {context}"))
}

fn tokenize(text: &str, gguf: &Gguf) -> Result<Vec<u32>> {
    let tokenizer =
        Tokenizer::from_gguf(gguf).context("cannot tokenise the prompt").map_err(Failure::usage)?;
    tokenizer.encode(text).context("cannot tokenise the prompt").map_err(Failure::usage)
}

/// Lists everything that keeps the plan's engine from running the model rightly.
pub(crate) fn problems(plan: &Plan, model: &Header, workload: &Workload) -> Vec<String> {
    let built_in = match plan.engine.kind {
        EngineKind::Candle => support::problems(&model.gguf, workload.positions()),
        EngineKind::Scripted(_) | EngineKind::Command(_) => Vec::new(),
    };
    let mut problems: Vec<String> = built_in.iter().map(ToString::to_string).collect();
    problems.extend(too_long(workload.positions(), model.shape.context));
    problems
}

/// Refuses a model that the plan's engine cannot run rightly, or that this host has no memory for.
pub(crate) fn check(plan: &Plan, model: &Header, workload: &Workload, roots: &Roots) -> Result<()> {
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
pub(crate) fn estimate(model: &Header, workload: &Workload) -> MemoryEstimate {
    MemoryEstimate::of(model.gguf.tensors(), &model.shape, workload.positions())
}

/// Returns how many bytes of memory lab may use now: what the kernel can give, but no more than this process may have.
pub(crate) fn available_memory(roots: &Roots) -> std::result::Result<u64, Unavailable> {
    let usable = memory::usable_memory(roots)?;
    Ok(memory::probe(roots).available_bytes.value().map_or(usable, |available| usable.min(*available)))
}

fn check_memory(estimate: &MemoryEstimate, roots: &Roots) -> Result<()> {
    let available = available_memory(roots).map_err(Failure::run)?;
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

#[cfg(test)]
mod tests {
    use lab_core::workload::{Sampling, Stop};

    use super::*;

    /// A host with 64 MiB of memory, of which this much is available, and a control group that permits 16 MiB.
    fn host(available_kib: u32) -> (tempfile::TempDir, Roots) {
        let folder = tempfile::tempdir().unwrap();
        let (proc, sys) = (folder.path().join("proc"), folder.path().join("sys"));
        std::fs::create_dir_all(proc.join("self")).unwrap();
        std::fs::create_dir_all(sys.join("fs/cgroup/lab")).unwrap();
        let meminfo = format!("MemTotal: 65536 kB\nMemAvailable: {available_kib} kB\n");
        std::fs::write(proc.join("meminfo"), meminfo).unwrap();
        std::fs::write(proc.join("self/cgroup"), "0::/lab\n").unwrap();
        let mount = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n";
        std::fs::write(proc.join("self/mountinfo"), mount).unwrap();
        std::fs::write(sys.join("fs/cgroup/lab/memory.max"), "16777216\n").unwrap();
        let roots = Roots::new(&proc, &sys);
        (folder, roots)
    }

    /// A model of 300 tokens and a context of 512.
    fn shape() -> LlamaShape {
        LlamaShape {
            architecture: "llama".to_owned(),
            layers: 1,
            embedding: 256,
            feed_forward: 256,
            heads: 4,
            kv_heads: 2,
            head_dim: 64,
            vocabulary: 300,
            context: 512,
            rope_base: 10_000.0,
            rope_dimension: 64,
            experts: 0,
        }
    }

    fn spec(generate: u32, decode: Decode) -> WorkloadSpec {
        let (sampling, stop) = (Sampling::Greedy, Stop::Length);
        WorkloadSpec { prompt: PromptSpec::Tokens(vec![1]), generate, sampling, stop, decode }
    }

    #[test]
    fn a_token_is_forced_for_each_one_generated_but_the_last() {
        let drawn = |generate, seed| forced(&spec(generate, Decode::Forced { seed }), 8, &shape()).unwrap();
        let ids = drawn(65, 1).unwrap();
        assert_eq!((ids.len(), drawn(65, 1)), (64, Some(ids.clone())));
        assert!(ids.iter().all(|id| *id < 300), "{ids:?}");
        assert_ne!(drawn(65, 2), Some(ids.clone()));
        assert_ne!(draw(1, 64, 65, &shape()).unwrap(), ids, "the prompt of the same seed is another");
        assert_eq!(drawn(1, 1), Some(Vec::new()));
        assert_eq!(forced(&spec(65, Decode::Free), 8, &shape()).unwrap(), None);
    }

    #[test]
    fn more_tokens_than_the_context_holds_are_refused_before_they_are_drawn() {
        let refusal = forced(&spec(u32::MAX, Decode::Forced { seed: 1 }), 8, &shape()).unwrap_err();
        assert_eq!(refusal.exit, Exit::Usage);
        let sentence = refusal.sentence();
        assert_eq!(sentence, "the workload fills 4294967303 positions; the model was made for 512");
    }

    #[test]
    fn available_is_what_the_machine_has_left_and_the_control_group_permits() {
        for (available_kib, bytes) in [(60_000, 16 << 20), (1_000, 1_000 << 10)] {
            let (_folder, roots) = host(available_kib);
            assert_eq!(available_memory(&roots), Ok(bytes));
        }
    }
}
