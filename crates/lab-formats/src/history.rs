//! One metric over the sessions of a family, as the document `lab.history.v1`.

use lab_core::fingerprint::PartRecord;
use lab_core::metric::Direction;
use schemars::JsonSchema;
use serde::Serialize;

/// Schema id of the document.
pub const HISTORY_SCHEMA: &str = "lab.history.v1";

/// One metric over the sessions of a family.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HistoryDocument {
    /// Always `lab.history.v1`.
    #[schemars(extend("const" = HISTORY_SCHEMA))]
    pub schema: &'static str,
    /// Plan name of the newest session.
    pub plan: String,
    /// Model name of the newest session.
    pub model: String,
    /// Digest of what all sessions share: the model, plan, backend and hardware parts of their fingerprints.
    pub family: String,
    /// Sessions of the family that are older than those shown and looked at.
    pub older: usize,
    /// Full metric id.
    pub metric: String,
    /// Unit of the means.
    pub unit: String,
    /// Which way is better.
    pub direction: Direction,
    /// The sessions, oldest first.
    pub sessions: Vec<HistorySession>,
    /// The chance that sessions without any change show a change point.
    pub significance: f64,
    /// The fewest sessions with a mean in which a change point can be found.
    pub least_sessions: usize,
    /// Where the level changes, oldest first.
    pub change_points: Vec<HistoryChange>,
    /// From the first mean to the level of the last sessions; null when no session has a mean.
    pub since_first: Option<Change>,
}

/// One session of a history.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HistorySession {
    /// Session id.
    pub id: String,
    /// What is enough of the id to tell the sessions of the store apart.
    pub short_id: String,
    /// When it started (RFC 3339, UTC).
    pub started_at: String,
    /// The engine it measured.
    pub engine: HistoryEngine,
    /// Whether that is another engine than the session before measured.
    pub engine_changed: bool,
    /// Launches that the mean is over.
    pub launches: usize,
    /// Measured repetitions that count and that something may have disturbed.
    pub suspect: usize,
    /// Mean over the launches, each the mean of its repetitions; null without one.
    pub mean: Option<f64>,
    /// Why there is no mean; null where there is one.
    pub unavailable: Option<String>,
    /// Mean over the first mean, less 1; null without a mean.
    pub relative_to_first: Option<f64>,
}

/// An engine, as its part of the fingerprint names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HistoryEngine {
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Digest of what was built.
    pub build: Option<String>,
    /// Digest of its whole part of the fingerprint, settings included.
    pub digest: String,
}

/// A session from which on the level is another.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HistoryChange {
    /// Id of the first session of the new level.
    pub session: String,
    /// Its position among `sessions`, from 0.
    pub index: usize,
    /// From the level before to this one.
    pub change: Change,
    /// The chance of this or more in sessions without any change, all questions asked of them paid for.
    pub p: f64,
}

/// A change of a metric and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    /// New over old, less 1.
    pub relative: f64,
    /// What it means.
    pub effect: Effect,
}

/// What a change means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It went the better way.
    Better,
    /// It went the worse way.
    Worse,
    /// The metric has no better way, or nothing changed.
    Neither,
}

impl Change {
    /// Returns a relative change of a metric that is better this way.
    pub fn of(relative: f64, direction: Direction) -> Self {
        let effect = match direction {
            Direction::Higher if relative > 0.0 => Effect::Better,
            Direction::Higher if relative < 0.0 => Effect::Worse,
            Direction::Lower if relative < 0.0 => Effect::Better,
            Direction::Lower if relative > 0.0 => Effect::Worse,
            Direction::Higher | Direction::Lower | Direction::Neutral => Effect::Neither,
        };
        Self { relative, effect }
    }
}

impl HistoryEngine {
    /// Returns what a part of a fingerprint says of the engine.
    pub fn of(part: &PartRecord) -> Self {
        let field = |name| crate::identity_text(part, name);
        Self {
            name: field("name"),
            version: field("version"),
            build: field("build"),
            digest: part.digest().to_string(),
        }
    }

    /// Returns version and the first digits of the build, as tables show them.
    pub fn short(&self) -> String {
        /// As many as short ids have.
        const BUILD_DIGITS: usize = 8;
        let build = self.build.as_deref().unwrap_or_default().chars().take(BUILD_DIGITS).collect();
        let words = [self.version.clone(), Some(build)];
        words.into_iter().flatten().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// Returns the document's text.
pub fn to_text(document: &HistoryDocument) -> String {
    crate::pretty(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_a_versioned_document() {
        insta::assert_snapshot!(to_text(&crate::samples::history()));
    }

    #[test]
    fn a_change_is_better_or_worse_by_the_direction_of_its_metric() {
        for (relative, direction, expected) in [
            (0.1, Direction::Higher, Effect::Better),
            (-0.1, Direction::Higher, Effect::Worse),
            (0.1, Direction::Lower, Effect::Worse),
            (-0.1, Direction::Lower, Effect::Better),
            (0.1, Direction::Neutral, Effect::Neither),
            (0.0, Direction::Higher, Effect::Neither),
        ] {
            assert_eq!(Change::of(relative, direction).effect, expected, "{relative} {direction}");
        }
    }
}
