//! What came of holding one session to limits, in its public, versioned form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limit::Limit;
use crate::work::Origin;

/// Schema id of a check.
pub const CHECK_SCHEMA: &str = "lab.check.v1";

/// What came of holding one session to limits. No baseline takes part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionCheck {
    /// Always `lab.check.v1`.
    #[schemars(extend("const" = CHECK_SCHEMA))]
    pub schema: String,
    /// The session's id.
    pub session: String,
    /// The plan that the session is of.
    pub plan: String,
    /// Who measured.
    pub origin: Origin,
    /// Whether every limit holds.
    pub passed: bool,
    /// Why, in a sentence.
    pub reason: String,
    /// One entry a limit.
    pub limits: Vec<LimitCheck>,
    /// What a reader of the outcome should know: repetitions that are suspect or invalid, a session that is not whole.
    pub notes: Vec<String>,
}

/// What came of one limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitCheck {
    /// The metric's full id.
    pub metric: String,
    /// The metric's unit, which limit and value are in.
    pub unit: String,
    /// The limit.
    pub limit: Limit,
    /// The worst value of the repetitions that count; null where there is none.
    pub worst: Option<f64>,
    /// How many repetitions it was held against.
    pub n: usize,
    /// Whether it holds.
    pub outcome: LimitOutcome,
    /// Why it cannot be shown to hold; null where there are values.
    pub unavailable: Option<String>,
}

/// Whether a limit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitOutcome {
    /// Every repetition that counts fulfils it.
    Holds,
    /// The worst one does not.
    Broken,
    /// A value is missing: it cannot be shown to hold.
    Unknown,
}
