//! Why sessions, or a metric of theirs, may not be compared.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fingerprint::Difference;
use crate::metric::{Contract, short_name};
use crate::work::Origin;

/// Why two sessions, or one metric of theirs, may not be compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Refusal {
    /// A fingerprint field differs.
    Fingerprint(Difference),
    /// One side was measured by lab and the other by another tool.
    DifferentOrigin {
        /// Who measured the baseline.
        baseline: Origin,
        /// Who measured the candidate.
        candidate: Origin,
    },
    /// Two sides that other tools measured were measured by different ones.
    DifferentTool {
        /// The baseline's tool.
        baseline: String,
        /// The candidate's tool.
        candidate: String,
    },
    /// The sides are of different contracts, which share no metric.
    DifferentContract {
        /// The baseline's contract.
        baseline: Contract,
        /// The candidate's contract.
        candidate: Contract,
    },
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
    /// Engines that did the same work said something else, and not for rounding.
    DifferentOutput {
        /// Position of the first token that differs.
        token: usize,
        /// The margin between the baseline's two greatest logits there, where it was reported.
        margin: Option<f32>,
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
            Self::DifferentOrigin { baseline, candidate } => write!(
                f,
                "the baseline was {baseline} and the candidate {candidate}: what another tool says is never held against \
                 what lab measured"
            ),
            Self::DifferentTool { baseline, candidate } => {
                write!(f, "the baseline was measured by `{baseline}` and the candidate by `{candidate}`")
            }
            Self::DifferentContract { baseline, candidate } => {
                write!(f, "the baseline is of contract {baseline} and the candidate of {candidate}")
            }
            Self::NothingCompleted { session } => {
                write!(f, "no measured repetition of session {session} completed and counts")
            }
            Self::UnstableOutput { session, repetition, token, .. } => write!(
                f,
                "the repetition with index {repetition} of session {session} generated other tokens than its first, from token \
                 {token} on"
            ),
            Self::DifferentOutput { token, margin: Some(margin), .. } => write!(
                f,
                "the sessions generated different tokens from token {token} on, at a margin of {margin:.2} logits"
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
