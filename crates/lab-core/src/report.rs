//! The outcome of a comparison in its only public, versioned form. Every exporter reads this.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fingerprint::Difference;
use crate::metric::{Direction, short_name};
use crate::record::ContractCoverage;
use crate::summary::Summary;
use crate::tolerance::Tolerance;

/// Schema id of a report.
pub const REPORT_SCHEMA: &str = "lab.report.v1";

/// The outcome of a comparison of two sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always `lab.report.v1`.
    #[schemars(extend("const" = REPORT_SCHEMA))]
    pub schema: String,
    /// What kind of comparison it is; `contract comparison` between equals.
    pub title: String,
    /// The session compared with.
    pub baseline: Side,
    /// The session under judgement.
    pub candidate: Side,
    /// The rule that decided.
    pub rule: Rule,
    /// What follows from all metrics together.
    pub conclusion: Conclusion,
    /// Rules of validity whose suspicion does not keep from a verdict.
    pub admitted: Vec<String>,
    /// Rules of validity that keep from a verdict, each with the repetitions that they made suspect; empty for a verdict.
    pub suspicions: Vec<Suspicion>,
    /// The conclusion in one sentence.
    pub headline: String,
    /// How far the two sessions together fulfil the official contract: what either lacks is missing.
    pub contract: ContractCoverage,
    /// Why the sessions may not be compared; empty when they may.
    pub refusals: Vec<Refusal>,
    /// One row a metric, `tokens_per_watt` first; empty when refused as a whole.
    pub metrics: Vec<MetricComparison>,
    /// Context fields that differ: shown, never judged.
    pub context_differences: Vec<Difference>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Session id.
    pub session: String,
    /// Plan name.
    pub plan: String,
    /// Model name.
    pub model: String,
    /// When it started (RFC 3339).
    pub started_at: String,
    /// How it ended.
    pub status: String,
    /// Completed measured repetitions.
    pub completed: usize,
    /// Measured repetitions asked for.
    pub asked: u32,
    /// Completed measured repetitions that something may have disturbed.
    pub suspect: usize,
    /// Completed measured repetitions that something made worthless: recorded, never counted.
    pub invalid: usize,
    /// What its energy was measured with; absent without a meter.
    pub energy_source: Option<String>,
    /// Version of the rules of validity it was judged by; absent for recordings of versions that had none.
    pub rules: Option<String>,
}

/// A rule of validity that made repetitions suspect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suspicion {
    /// The rule's id.
    pub rule: String,
    /// Repetitions of the baseline that it made suspect.
    pub baseline: usize,
    /// Repetitions of the candidate that it made suspect.
    pub candidate: usize,
}

/// The rule that turns figures into a conclusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The contract's point rule: the change of means lies within the tolerance.
    Contract,
}

/// What follows from all metrics together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// Every judged metric is within its tolerance.
    Reproduced,
    /// Some judged metric is beyond its tolerance.
    NotReproduced,
    /// Something may have disturbed the data, and the policy does not admit it: no verdict.
    Inconclusive,
    /// The sessions, or a gated metric of theirs, may not be compared.
    Refused,
}

/// Why two sessions, or one metric of theirs, may not be compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Refusal {
    /// A fingerprint field differs.
    Fingerprint(Difference),
    /// A side has nothing to compare.
    NothingCompleted {
        /// Its session id.
        session: String,
    },
    /// A session contradicts itself: a repetition generated other tokens than the session's first.
    UnstableOutput {
        /// Its session id.
        session: String,
        /// Index of the repetition, warm-ups included.
        repetition: u32,
        /// Position of the first token that differs.
        token: usize,
        /// The first repetition's token id, absent past its end.
        first: Option<u32>,
        /// This repetition's token id, absent past its end.
        other: Option<u32>,
    },
    /// The same engine on the same model and plan said something else.
    DifferentOutput {
        /// Position of the first token that differs.
        token: usize,
        /// The baseline's token id, absent past its end.
        baseline: Option<u32>,
        /// The candidate's token id, absent past its end.
        candidate: Option<u32>,
    },
    /// One side has no value for a gated metric.
    OneSided {
        /// The metric's full id.
        metric: String,
        /// The session without a value.
        session: String,
        /// Why it has none.
        reason: String,
    },
    /// A gated metric was measured with different meters.
    DifferentSource {
        /// The metric's full id.
        metric: String,
        /// What the baseline was measured with.
        baseline: String,
        /// What the candidate was measured with.
        candidate: String,
    },
    /// No gated metric has a value on either side: nothing could be judged, and that is no pass.
    NothingJudged,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(difference) if difference.is_unknown() => {
                write!(f, "{} does not know {} on either side", difference.part, difference.field)
            }
            Self::Fingerprint(difference) => write!(f, "{} differs in {}", difference.part, difference.field),
            Self::NothingCompleted { session } => {
                write!(f, "no measured repetition of session {session} completed and counts")
            }
            Self::UnstableOutput { session, repetition, token, .. } => write!(
                f,
                "repetition {repetition} of session {session} generated other tokens than its first, from token {token} on"
            ),
            Self::DifferentOutput { token, .. } => {
                write!(f, "the sessions generated different tokens from token {token} on")
            }
            Self::OneSided { metric, session, reason } => {
                write!(f, "{} has no value in session {session} ({reason})", short_name(metric))
            }
            Self::DifferentSource { metric, baseline, candidate } => write!(
                f,
                "{} was measured with `{baseline}` in the baseline and with `{candidate}` in the candidate",
                short_name(metric)
            ),
            Self::NothingJudged => f.write_str("no metric with a tolerance has a value on both sides"),
        }
    }
}

/// One metric, both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricComparison {
    /// Full metric id.
    pub metric: String,
    /// Unit of the values.
    pub unit: String,
    /// Which way is better.
    pub direction: Direction,
    /// Whether the official contract defines it.
    pub official: bool,
    /// The baseline's figures.
    pub baseline: Option<Summary>,
    /// The candidate's figures.
    pub candidate: Option<Summary>,
    /// (candidate mean − baseline mean) / |baseline mean|; absent when a side has no value or the baseline's mean is 0.
    pub relative_change: Option<f64>,
    /// The tolerance it is judged by; absent for metrics that are shown only.
    pub tolerance: Option<Tolerance>,
    /// Whether the plan loosened the contract's tolerance.
    pub unofficial_tolerance: bool,
    /// What the rule says.
    pub judgement: Judgement,
}

/// What the rule says about one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Judgement {
    /// Within tolerance.
    Within,
    /// Beyond tolerance, in the better direction.
    BeyondBetter,
    /// Beyond tolerance, in the worse direction.
    BeyondWorse,
    /// Shown only: no tolerance applies.
    Shown,
    /// Something may have disturbed its data, and the policy does not admit it.
    Inconclusive {
        /// Why.
        reason: String,
    },
    /// Neither side has a value.
    NotJudged {
        /// Why.
        reason: String,
    },
    /// One side has no value, or the two were measured with different meters.
    Refused {
        /// Why.
        reason: String,
    },
}
