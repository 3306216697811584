//! Baselines as JSON documents: all of them, `lab.baselines.v1`, and one in full, `lab.baseline.v1`.

use lab_core::summary::MetricSummary;
use schemars::JsonSchema;
use serde::Serialize;

use crate::list_json::ListRow;
use crate::session_json::{Statistics, statistics};

/// Schema id of the list of baselines.
pub const BASELINES_SCHEMA: &str = "lab.baselines.v1";

/// Schema id of one baseline.
pub const BASELINE_SCHEMA: &str = "lab.baseline.v1";

/// The list of baselines.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BaselinesDocument<'a> {
    /// Always `lab.baselines.v1`.
    #[schemars(extend("const" = BASELINES_SCHEMA))]
    pub schema: &'static str,
    /// One row a name that holds, in the order given.
    pub baselines: &'a [BaselineRow],
}

/// One name of a list.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BaselineRow {
    /// The name.
    pub name: String,
    /// When it was set to the session (RFC 3339, UTC).
    pub set_at: String,
    /// What was said about it; null when nothing was.
    pub note: Option<String>,
    /// The session that it stands for.
    pub session: ListRow,
}

/// One baseline in full.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BaselineDocument<'a> {
    /// Always `lab.baseline.v1`.
    #[schemars(extend("const" = BASELINE_SCHEMA))]
    pub schema: &'static str,
    /// The name.
    pub name: &'a str,
    /// The session that it stands for; null when the name was removed.
    pub session: Option<&'a ListRow>,
    /// Every change of the name, newest first. The first one holds.
    pub history: &'a [ChangeBlock],
    /// The main figures of the session; empty when the name was removed.
    pub statistics: Vec<Statistics<'a>>,
}

/// One change of a name.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ChangeBlock {
    /// When (RFC 3339, UTC).
    pub set_at: String,
    /// The session that the name was set to; null where the name was removed.
    pub session: Option<String>,
    /// What is enough of the session's id to tell the sessions of the store apart; null where the name was removed.
    pub short_id: Option<String>,
    /// What was said about it; null when nothing was.
    pub note: Option<String>,
}

/// A baseline with what there is to show about it.
#[derive(Debug, Clone, Copy)]
pub struct ShownBaseline<'a> {
    /// The name.
    pub name: &'a str,
    /// The session that it stands for; none when the name was removed.
    pub session: Option<&'a ListRow>,
    /// Every change of the name, newest first.
    pub history: &'a [ChangeBlock],
    /// Every metric of the table over the session, in table order; empty when the name was removed.
    pub figures: &'a [MetricSummary],
}

impl<'a> ShownBaseline<'a> {
    /// Returns the main figures: those that a session shows first, without what only explains them.
    fn main_figures(self) -> impl Iterator<Item = &'a MetricSummary> {
        self.figures.iter().filter(|own| !own.metric.detail)
    }
}

/// Returns the text of the list.
pub fn list_to_text(baselines: &[BaselineRow]) -> String {
    crate::pretty(&BaselinesDocument { schema: BASELINES_SCHEMA, baselines })
}

/// Returns the text of one baseline.
pub fn to_text(shown: ShownBaseline<'_>) -> String {
    crate::pretty(&BaselineDocument {
        schema: BASELINE_SCHEMA,
        name: shown.name,
        session: shown.session,
        history: shown.history,
        statistics: shown.main_figures().map(statistics).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::samples;

    #[test]
    fn a_list_of_baselines_is_a_versioned_document() {
        let document: Value = serde_json::from_str(&list_to_text(&samples::baselines())).unwrap();
        assert_eq!(document["schema"], BASELINES_SCHEMA);
        let names: Vec<&Value> =
            document["baselines"].as_array().unwrap().iter().map(|own| &own["name"]).collect();
        assert_eq!(names, ["main", "release/1.4"]);
        assert_eq!(document["baselines"][0]["session"]["short_id"], "00000001");
        assert_eq!(document["baselines"][1]["note"], Value::Null);
    }

    #[test]
    fn a_baseline_has_its_history_and_the_main_figures_of_its_session() {
        let (rows, history) = (samples::list(), samples::baseline_history());
        let figures = samples::figures(&samples::session());
        let shown =
            ShownBaseline { name: "main", session: Some(&rows[0]), history: &history, figures: &figures };
        let document: Value = serde_json::from_str(&to_text(shown)).unwrap();
        assert_eq!((&document["schema"], &document["name"]), (&BASELINE_SCHEMA.into(), &"main".into()));
        assert_eq!(document["session"]["id"], rows[0].id.as_str());
        assert_eq!(document["history"].as_array().unwrap().len(), history.len());
        assert_eq!(document["history"][1]["session"], Value::Null);
        let metrics: Vec<&str> = document["statistics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|own| own["metric"].as_str().unwrap())
            .collect();
        assert!(metrics.contains(&"engine.v0.1/tokens_per_sec"), "{metrics:?}");
        assert!(metrics.len() < figures.len(), "explanations are left out: {metrics:?}");
    }

    #[test]
    fn a_removed_name_has_a_history_and_nothing_else() {
        let history = samples::baseline_history();
        let shown = ShownBaseline { name: "main", session: None, history: &history[1..], figures: &[] };
        let document: Value = serde_json::from_str(&to_text(shown)).unwrap();
        assert_eq!((&document["session"], &document["statistics"]), (&Value::Null, &serde_json::json!([])));
    }
}
