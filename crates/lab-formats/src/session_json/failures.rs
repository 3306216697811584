//! What failed in a session.

use lab_core::engine::EngineError;
use lab_core::record::{Launch, LaunchStart, Outcome, Repetition, RepetitionKind, Session};
use schemars::JsonSchema;
use serde::Serialize;

/// A launch or a repetition that failed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Failure<'a> {
    /// An engine process that did not become ready.
    Launch {
        /// Index of the launch.
        launch: u32,
        /// What went wrong, in words.
        reason: String,
        /// What went wrong, as data.
        error: &'a EngineError,
    },
    /// A repetition that did not finish.
    Repetition {
        /// Index of the repetition, warm-ups included.
        repetition: u32,
        /// Index of the launch it ran in.
        launch: u32,
        /// Whether it would have counted.
        kind: RepetitionKind,
        /// What went wrong, in words.
        reason: String,
        /// What went wrong, as data.
        error: &'a EngineError,
    },
    /// A run of a command that did not succeed.
    Run {
        /// Index of the repetition.
        repetition: u32,
        /// What went wrong, in words.
        reason: String,
    },
}

pub(super) fn failures(session: &Session) -> Vec<Failure<'_>> {
    let launches = session.launches.iter().filter_map(|launch| launch_failure(session, launch));
    let repetitions = session.repetitions.iter();
    let repetitions = repetitions.filter_map(|own| repetition_failure(session, &own.repetition));
    launches.chain(repetitions).collect()
}

fn launch_failure<'a>(session: &Session, launch: &'a Launch) -> Option<Failure<'a>> {
    match &launch.start {
        LaunchStart::Ready { .. } | LaunchStart::Started => None,
        LaunchStart::Failed(error) => {
            let reason = session.header.work.words_of(error);
            Some(Failure::Launch { launch: launch.index, reason, error })
        }
    }
}

fn repetition_failure<'a>(session: &Session, repetition: &'a Repetition) -> Option<Failure<'a>> {
    let Repetition { index, launch, kind, outcome } = repetition;
    let (repetition, launch, kind) = (*index, *launch, *kind);
    let reason = session.why_failed(outcome)?;
    Some(match outcome {
        Outcome::Failed(error) => Failure::Repetition { repetition, launch, kind, reason, error },
        _ => Failure::Run { repetition, reason },
    })
}
