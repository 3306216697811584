//! What a plan would do, as the document `lab.plan-check.v1`.

use schemars::JsonSchema;
use serde::Serialize;

/// Schema id of the document.
pub const PLAN_CHECK_SCHEMA: &str = "lab.plan-check.v1";

/// What a plan would do.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlanCheckDocument {
    /// Always `lab.plan-check.v1`.
    #[schemars(extend("const" = PLAN_CHECK_SCHEMA))]
    pub schema: &'static str,
    /// The plan's name.
    pub plan: String,
    /// The plan's sentence for people.
    pub description: String,
    /// Whether it could run here and now.
    pub runnable: bool,
    /// What keeps it from running.
    pub problems: Vec<String>,
    /// The model.
    pub model: ModelBlock,
    /// The work of one repetition.
    pub workload: WorkloadBlock,
    /// What executes it.
    pub engine: EngineBlock,
    /// What runs how often.
    pub run: RunBlock,
    /// What the built-in engine will take, in bytes; null where it cannot be told yet.
    pub memory: Option<MemoryBlock>,
    /// How long it will take; null where it cannot be told yet.
    pub time: Option<TimeBlock>,
    /// How its energy would be measured.
    pub energy: EnergyCheck,
    /// Tolerances that a comparison will apply.
    pub tolerances: Vec<ToleranceRow>,
}

/// The model of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModelBlock {
    /// The name every output calls it by.
    pub name: String,
    /// Where it comes from.
    pub source: String,
    /// What stands between the plan and the file.
    pub status: String,
    /// SHA-256 of the file the engine loads, where it is here or pinned.
    pub sha256: Option<String>,
    /// Architecture and quantisation, where the file is here.
    pub kind: Option<String>,
}

/// The work of one repetition.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct WorkloadBlock {
    /// Where the prompt comes from.
    pub prompt: String,
    /// Tokens of the prompt; null until a tokenizer has seen it.
    pub prompt_tokens: Option<usize>,
    /// Tokens to generate.
    pub generate: u32,
    /// How the next token is chosen, and when generation ends.
    pub sampling: String,
}

/// What executes a plan.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EngineBlock {
    /// Its name or command.
    pub name: String,
    /// The contract's word for what it may use, such as `cpu_avx2`.
    pub backend: String,
    /// Threads.
    pub threads: u32,
    /// Cores it may run on.
    pub cores: String,
}

/// What runs how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunBlock {
    /// Engine processes.
    pub launches: u32,
    /// Warm-ups, all launches together.
    pub warmups: u32,
    /// Measured repetitions.
    pub measured: u32,
    /// Which repetitions share a launch.
    pub isolation: String,
}

/// What the built-in engine will take, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MemoryBlock {
    /// Weights as loaded.
    pub weights: u64,
    /// Copies that candle packs for its kernels.
    pub repacked: u64,
    /// Token embedding in f32.
    pub token_embedding: u64,
    /// Keys and values of all positions.
    pub kv_cache: u64,
    /// All together.
    pub total: u64,
    /// What lab may use now; null where the kernel does not tell.
    pub available: Option<u64>,
}

/// How long a plan will take.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TimeBlock {
    /// Seconds, all repetitions together.
    pub seconds: f64,
    /// What the figure rests on.
    pub basis: String,
}

/// How energy would be measured.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EnergyCheck {
    /// Whether the plan runs only with a meter.
    pub required: bool,
    /// The meters that would be read; null where there is none.
    pub meters: Option<Vec<String>>,
    /// Why there is none; null where there is one.
    pub unavailable: Option<String>,
}

/// A tolerance that a comparison will apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ToleranceRow {
    /// Full metric id.
    pub metric: String,
    /// The tolerance, in words.
    pub tolerance: String,
    /// Whether it is looser than the contract's, which makes the plan unofficial.
    pub unofficial: bool,
}

/// Returns the document's text.
pub fn to_text(document: &PlanCheckDocument) -> String {
    crate::pretty(document)
}
