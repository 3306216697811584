//! What measuring costs, as the document `lab.overhead.v1`.

use lab_core::metric::Reading;
use schemars::JsonSchema;
use serde::Serialize;

/// Schema id of the document.
pub const OVERHEAD_SCHEMA: &str = "lab.overhead.v1";

/// What measuring costs.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct OverheadDocument {
    /// Always `lab.overhead.v1`.
    #[schemars(extend("const" = OVERHEAD_SCHEMA))]
    pub schema: &'static str,
    /// The plan whose engine was measured.
    pub plan: String,
    /// Its model.
    pub model: String,
    /// Ticks a second of the sampling thread; 0 is off.
    pub sample_hz: f64,
    /// The energy meters that were read, or why there were none.
    pub meters: Reading<Vec<String>>,
    /// Blocks measured, every other one with all instruments.
    pub blocks: usize,
    /// Tokens a block.
    pub tokens_a_block: u32,
    /// Blocks during which others used the machine: no comparison that one of them is part of counts.
    pub blocks_left_out: usize,
    /// The rules of validity that left blocks out, and how many each.
    pub left_out_by: Vec<LeftOutBlocks>,
    /// Comparisons of a block with instruments with its two neighbours without.
    pub comparisons: usize,
    /// Comparisons in which others disturbed no block.
    pub comparisons_left: usize,
    /// Whether these are too few: then the figures are those of all blocks, and decide nothing.
    pub too_disturbed: bool,
    /// Mean time of a token without instruments, in ms.
    pub token_ms_off: f64,
    /// Mean time of a token with all instruments, in ms.
    pub token_ms_on: f64,
    /// How much longer a token takes with instruments than in the neighbouring blocks without, in percent.
    pub change_percent: f64,
    /// Lower end of the change's 95 % confidence interval, in percent.
    pub low_percent: f64,
    /// Upper end of the change's 95 % confidence interval, in percent.
    pub high_percent: f64,
    /// Equivalence margin, in percent.
    pub margin_percent: f64,
    /// What follows.
    pub conclusion: OverheadConclusion,
    /// Blocks that would bring the interval inside the margin; null where no number would, and where others used the machine in
    /// too many of them.
    pub blocks_needed: Option<usize>,
    /// CPU time of the sampling thread in the blocks with instruments, in percent of their time; null when it is off.
    pub sampler_cpu_percent: Option<f64>,
    /// Ticks of the sampling thread in all blocks with instruments.
    pub sampler_ticks: usize,
}

/// Blocks that a rule of validity left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LeftOutBlocks {
    /// The rule's id. One block may fall under several rules.
    pub rule: String,
    /// Blocks that it left out.
    pub blocks: usize,
}

/// What follows for the cost of measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverheadConclusion {
    /// The interval lies inside the margin.
    Equivalent,
    /// The interval lies beyond the margin.
    Beyond,
    /// Neither, or others used the machine in too many blocks.
    Inconclusive,
}

/// Returns the document's text.
pub fn to_text(document: &OverheadDocument) -> String {
    crate::pretty(document)
}
