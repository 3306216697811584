//! The built-in engine on candle: the only crate that compiles candle.
//!
//! It runs in a process of its own, since candle's thread pools are process-global and read their environment once
//! (`RAYON_NUM_THREADS`, `CANDLE_NUM_THREADS`). What a model must be for candle to run it rightly is checked in
//! `lab-model`, without this crate.

mod choose;
mod profile;
mod score;
mod weights;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};

use candle_core::quantized::gguf_file;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use lab_core::clock::Clock;
use lab_core::digest::Digest;
use lab_core::engine::{
    BeginRequest, Engine, EngineError, FORCED, Feed, Hello, LoadRequest, Loaded, PAUSABLE, PROTOCOL_VERSION,
    Profile, Tokens,
};
use lab_core::workload::Stop;

pub use choose::{BestTwo, best_two};

use choose::Chooser;
use profile::{Profiler, Spans};
pub use score::Position;
use weights::{Residence, bytes_per_token};

/// The built-in engine.
pub struct Candle<'a> {
    clock: &'a dyn Clock,
    clock_resolution_ns: u64,
    model: Option<Model>,
    generation: Option<Generation>,
    /// Only after a load that asked for a profile.
    profiler: Option<Profiler>,
}

struct Model {
    weights: ModelWeights,
    spans: Spans,
    eos: Option<u32>,
    vocabulary: u32,
    bytes_per_token: Option<u64>,
}

/// A generation begun: where it stands and how it goes on.
struct Generation {
    chooser: Chooser,
    /// The token chosen last.
    last: u32,
    position: usize,
    stop: Stop,
    feed: Feed,
}

impl<'a> Candle<'a> {
    /// Readies the engine. `clock_resolution_ns` is what the clock was measured to resolve, in nanoseconds.
    pub fn new(clock: &'a dyn Clock, clock_resolution_ns: u64) -> Self {
        Self { clock, clock_resolution_ns, model: None, generation: None, profiler: None }
    }

    fn model(&mut self) -> Result<&mut Model, EngineError> {
        self.model.as_mut().ok_or_else(no_model)
    }

    /// Chooses one token from the logits of a forward pass, and says whether it ends the generation.
    fn advance(&mut self, input: &[u32], position: usize, tokens: &mut Tokens) -> Result<u32, EngineError> {
        let model = self.model.as_mut().ok_or_else(no_model)?;
        let generation = self.generation.as_mut().ok_or_else(no_generation)?;
        let logits = model.forward(input, position)?;
        let chosen = model.spans.sampling.in_scope(|| generation.chooser.choose(&logits))?;
        tokens.record(chosen.id, self.clock.now_ns(), chosen.margin);
        generation.last = chosen.id;
        generation.position = position + input.len();
        let ends = generation.stop == Stop::Eos && !generation.feed.is_forced();
        tokens.ended = ends && model.eos == Some(chosen.id);
        Ok(chosen.id)
    }
}

impl Engine for Candle<'_> {
    fn hello(&mut self) -> Result<Hello, EngineError> {
        Ok(Hello {
            protocol: PROTOCOL_VERSION,
            name: "candle".to_owned(),
            version: env!("LAB_CANDLE_VERSION").to_owned(),
            build: build()?,
            device: "cpu".to_owned(),
            settings: settings(),
            clock_resolution_ns: self.clock_resolution_ns,
            features: features(),
        })
    }

    fn load(&mut self, request: &LoadRequest) -> Result<Loaded, EngineError> {
        let request_ns = self.clock.now_ns();
        let profiler = request.profile.then(Profiler::new);
        let load = || Model::load(&request.model);
        let model = match &profiler {
            Some(profiler) => profiler.watch(load)?,
            None => load()?,
        };
        let Model { vocabulary, bytes_per_token, .. } = model;
        (self.model, self.generation, self.profiler) = (Some(model), None, profiler);
        Ok(Loaded { request_ns, ready_ns: self.clock.now_ns(), vocabulary, bytes_per_token })
    }

    fn begin(&mut self, request: &BeginRequest, request_ns: u64) -> Result<Tokens, EngineError> {
        if request.prompt.is_empty() {
            return Err(failed("the prompt is empty"));
        }
        self.model()?.weights.clear_kv_cache();
        if let Some(profiler) = &self.profiler {
            profiler.restart();
        }
        let (chooser, feed) = (Chooser::new(request.sampling), Feed::of(request));
        self.generation = Some(Generation { chooser, last: 0, position: 0, stop: request.stop, feed });
        let mut tokens = Tokens::none(request_ns);
        self.advance(&request.prompt, 0, &mut tokens)?;
        Ok(tokens)
    }

    fn step(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError> {
        self.generation.as_ref().ok_or_else(no_generation)?.feed.check(n)?;
        let mut tokens = Tokens::none(request_ns);
        for _ in 0..n {
            let generation = self.generation.as_mut().ok_or_else(no_generation)?;
            let (input, position) = (generation.feed.next(generation.last)?, generation.position);
            self.advance(&[input], position, &mut tokens)?;
            if tokens.ended {
                break;
            }
        }
        Ok(tokens)
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        self.generation.take().map(|_| ()).ok_or_else(no_generation)
    }

    fn profile(&mut self) -> Result<Profile, EngineError> {
        let profiler =
            self.profiler.as_ref().ok_or_else(|| failed("the model was loaded without `profile`"))?;
        profiler.profile().ok_or_else(|| failed("nothing was generated since the model was loaded"))
    }
}

impl Model {
    fn load(path: &str) -> Result<Self, EngineError> {
        let cannot_open = |error: io::Error| failed(&format!("cannot open `{path}`: {error}"));
        let mut file = BufReader::new(File::open(path).map_err(cannot_open)?);
        let content = gguf_file::Content::read(&mut file).map_err(from_candle)?;
        let embedding =
            content.tensor_infos.get("token_embd.weight").map(|tensor| tensor.shape.dims().to_vec());
        let vocabulary = embedding.and_then(|dims| dims.first().copied()).unwrap_or_default();
        let vocabulary = u32::try_from(vocabulary).map_err(|_| failed("the vocabulary is too large"))?;
        let eos = content.metadata.get("tokenizer.ggml.eos_token_id").and_then(|id| id.to_u32().ok());
        let bytes_per_token = bytes_per_token(&content, Residence::probe());
        let weights = ModelWeights::from_gguf(content, &mut file, &Device::Cpu).map_err(from_candle)?;
        Ok(Self { weights, spans: Spans::new(), eos, vocabulary, bytes_per_token })
    }

    /// Returns the logits that follow the last of `input`, whose first token stands at `position`.
    fn forward(&mut self, input: &[u32], position: usize) -> Result<Vec<f32>, EngineError> {
        let _forward = self.spans.forward.enter();
        let mut forward = || -> candle_core::Result<Vec<f32>> {
            let input = Tensor::new(input, &Device::Cpu)?.unsqueeze(0)?;
            let logits = self.weights.forward(&input, position)?;
            let _output = self.spans.output.enter();
            logits.squeeze(0)?.to_vec1()
        };
        forward().map_err(from_candle)
    }
}

/// Reports what candle made of the machine and of the environment the harness passed.
fn settings() -> BTreeMap<String, String> {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    BTreeMap::from([
        ("rayon_threads".to_owned(), candle_core::utils::get_num_threads().to_string()),
        ("barrier_pool_threads".to_owned(), (candle_core::utils::barrier_pool().n_workers() + 1).to_string()),
        ("compiled_with_avx".to_owned(), yes_no(candle_core::utils::with_avx())),
        ("compiled_with_f16c".to_owned(), yes_no(candle_core::utils::with_f16c())),
        ("mkl".to_owned(), yes_no(candle_core::utils::has_mkl())),
    ])
}

/// Returns what the engine says that it can. Paused it can be with one thread: a delay is planted as a share of its work, and of several
/// threads no clock tells that without the pauses.
fn features() -> Vec<String> {
    let has_one_thread = candle_core::utils::get_num_threads() == 1;
    let features = [Some(FORCED), has_one_thread.then_some(PAUSABLE)];
    features.into_iter().flatten().map(str::to_owned).collect()
}

/// Returns the digest of what was built.
fn build() -> Result<Digest, EngineError> {
    env!("LAB_CANDLE_BUILD").parse().map_err(|error| failed(&format!("{error}")))
}

fn failed(message: &str) -> EngineError {
    EngineError::Failed { message: message.to_owned() }
}

fn no_model() -> EngineError {
    failed("no model is loaded")
}

fn no_generation() -> EngineError {
    failed("no generation was begun")
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn from_candle(error: candle_core::Error) -> EngineError {
    failed(&error.to_string())
}
