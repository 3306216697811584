//! The list of sessions as a JSON document, `lab.list.v1`.

use lab_core::record::SessionStatus;
use schemars::JsonSchema;
use serde::Serialize;

/// Schema id of a list of sessions.
pub const LIST_SCHEMA: &str = "lab.list.v1";

/// The list of sessions.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListDocument<'a> {
    /// Always `lab.list.v1`.
    #[schemars(extend("const" = LIST_SCHEMA))]
    pub schema: &'static str,
    /// One row a session, in the order given.
    pub sessions: &'a [ListRow],
}

/// One session of a list.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ListRow {
    /// Session id.
    pub id: String,
    /// What is enough of the id to tell the sessions of the store apart.
    pub short_id: String,
    /// When it started (RFC 3339, UTC).
    pub started_at: String,
    /// Plan name.
    pub plan: String,
    /// Model name.
    pub model: String,
    /// How it ended.
    pub status: SessionStatus,
    /// Completed measured repetitions, invalid ones included.
    pub completed: usize,
    /// Completed measured repetitions that something made worthless: recorded, never counted.
    pub invalid: usize,
    /// Measured repetitions asked for.
    pub asked: u32,
    /// Mean of `engine.v0.1/tokens_per_sec`, in tokens/s; null when the session has none.
    pub tokens_per_sec_mean: Option<f64>,
    /// The figure that stands for the session, by its contract; null when nothing of it was measured.
    pub listed: Option<ListedFigure>,
    /// Digest of the whole fingerprint. Sessions that share it may be compared.
    pub fingerprint: String,
}

/// The figure that stands for a session.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ListedFigure {
    /// Full id of the metric.
    pub metric: String,
    /// Its mean over the repetitions that count, in the metric's unit; null when there is none.
    pub mean: Option<f64>,
}

impl ListRow {
    /// Returns how many repetitions count.
    pub(crate) fn counting(&self) -> usize {
        self.completed.saturating_sub(self.invalid)
    }
}

/// Returns the document's text.
pub fn to_text(sessions: &[ListRow]) -> String {
    crate::pretty(&ListDocument { schema: LIST_SCHEMA, sessions })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_list_is_a_versioned_document() {
        insta::assert_snapshot!(super::to_text(&crate::samples::list()));
    }
}
