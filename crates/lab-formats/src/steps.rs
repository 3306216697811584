//! What one paired experiment after the other found, as the document `lab.steps.v1`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::history::HistoryEngine;

/// Schema id of the document.
pub const STEPS_SCHEMA: &str = "lab.steps.v1";

/// The paired experiments of a plan, and what their changes come to: of speed, or of the elapsed time of a command.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StepsDocument {
    /// Always `lab.steps.v1`.
    #[schemars(extend("const" = STEPS_SCHEMA))]
    pub schema: &'static str,
    /// Plan name of the newest experiment.
    pub plan: String,
    /// Model name of the newest experiment.
    pub model: String,
    /// Digest of what all experiments share: the model, plan, backend and hardware parts of their fingerprints.
    pub family: String,
    /// Experiments of the family that are older than those shown.
    pub older: usize,
    /// Full id of the metric.
    pub metric: String,
    /// The experiments, oldest first.
    pub steps: Vec<StepBlock>,
}

/// One paired experiment.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StepBlock {
    /// Session id of side A.
    pub baseline: String,
    /// Session id of side B.
    pub candidate: String,
    /// What is enough of that id to tell the sessions of the store apart.
    pub short_id: String,
    /// When it started (RFC 3339, UTC).
    pub started_at: String,
    /// The engine of side A.
    pub from: HistoryEngine,
    /// The engine of side B.
    pub to: HistoryEngine,
    /// Pairs that count.
    pub pairs: usize,
    /// Relative change of B against A, with the interval that the stopping plan grants; null without one.
    pub change: Option<ChangeBounds>,
    /// Change from the first engine to this one, as if each step began where the one before it ended, of the pairs up to each first
    /// look, with an interval at 95 %.
    pub sum: Option<ChangeBounds>,
    /// Whether it began with the very engine that the step before it ended with.
    pub linked: bool,
    /// Why it shows no change.
    pub unavailable: Option<String>,
}

/// A relative change and its interval, as shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct ChangeBounds {
    /// The change.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Returns the document's text.
pub fn to_text(document: &StepsDocument) -> String {
    crate::pretty(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_a_versioned_document() {
        insta::assert_snapshot!(to_text(&crate::samples::steps()));
    }
}
