//! What keeps a comparison from a verdict that its figures would give.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tolerance::change_in_words;

/// What keeps a comparison as a whole from a verdict, whatever its metrics say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reservation {
    /// A session did not end as planned. Whoever may stop when the figures look good, or lose the launches that look bad, is
    /// shown nothing by them.
    EndedOtherwise {
        /// Session id.
        session: String,
        /// How it ended.
        status: String,
        /// Completed measured repetitions.
        completed: usize,
        /// Measured repetitions asked for; of an experiment, at most.
        asked: u32,
    },
    /// The uninterrupted repetitions of an experiment in lock-step contradict its pairs.
    Contradicted {
        /// Relative change of `tokens_per_sec` in them, as a share.
        uninterrupted: f64,
    },
    /// Too few of the uninterrupted repetitions that were to check an experiment in lock-step are there: none, or one of each side
    /// that does not lie near enough to be sure.
    Unchecked,
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndedOtherwise { session, status, completed, asked } => {
                // Ids begin with the time, which both sides of an experiment share.
                let session =
                    session.len().checked_sub(8).and_then(|at| session.get(at..)).unwrap_or(session);
                write!(f, "session {session} is {status}, {completed} of {asked} repetitions completed")
            }
            Self::Contradicted { uninterrupted } => {
                let change = change_in_words(*uninterrupted, None);
                write!(f, "uninterrupted repetitions contradict the pairs (they changed by {change})")
            }
            Self::Unchecked => f.write_str("too few uninterrupted repetitions are there to check the pairs"),
        }
    }
}
