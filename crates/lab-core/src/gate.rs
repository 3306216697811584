//! What a gate decided, in its public, versioned form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::GateSpec;
use crate::report::Report;

/// Schema id of a gate's outcome.
pub const GATE_SCHEMA: &str = "lab.gate.v1";

/// What a gate decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// Always `lab.gate.v1`.
    #[schemars(extend("const" = GATE_SCHEMA))]
    pub schema: String,
    /// Whether the candidate may pass.
    pub passed: bool,
    /// Why, in a sentence.
    pub reason: String,
    /// What was demanded.
    pub policy: GateSpec,
    /// One check a gated metric, in the order of the report.
    pub checks: Vec<Check>,
    /// The comparison that it rests on.
    pub report: Report,
}

/// What the gate says of one metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// The metric's full id.
    pub metric: String,
    /// What came of it.
    pub outcome: CheckOutcome,
    /// The verdict in words.
    pub words: String,
}

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It may pass.
    Passed,
    /// It is worse, or the data cannot tell and the policy lets only what is shown pass.
    Failed,
    /// The data cannot tell, and the policy lets that pass.
    Skipped,
    /// It could not be judged.
    Error,
}
