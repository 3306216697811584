//! One repetition that nothing else of lab runs beside: asked for, watched, checked and judged.

use lab_core::clock::Clock;
use lab_core::engine::{Engine, EngineError, Tokens};
use lab_core::record::{Completed, Outcome};
use lab_core::validity;
use lab_core::workload::Workload;

use crate::launched::Running;

/// Runs one repetition of a workload, which `ask` demands of the engine, told when. Between the two readings of the clock
/// stands that and nothing else.
pub(crate) fn repetition(
    running: &mut Running<'_>,
    workload: &Workload,
    clock: &dyn Clock,
    ask: impl FnOnce(&mut dyn Engine, u64) -> Result<Tokens, EngineError>,
) -> Generated {
    running.instruments.begin();
    let sent_ns = clock.now_ns();
    let answer = ask(&mut *running.engine, sent_ns);
    let received_ns = clock.now_ns();
    let observation = running.instruments.end();
    let mut completed = answer
        .and_then(|tokens| answered_between(tokens, sent_ns, received_ns))
        .and_then(|tokens| running.complete(tokens, workload, received_ns - sent_ns, observation))?;
    completed.validity = validity::judge(&completed.inputs(workload.prompt.len()));
    Ok(completed)
}

/// What came of asking an engine to generate.
pub(crate) type Generated = Result<Completed, EngineError>;

/// Returns what is recorded of it.
pub(crate) fn outcome_of(generated: Generated) -> Outcome {
    generated.map_or_else(Outcome::Failed, Outcome::Completed)
}

/// Both sides read the same clock: an answer whose stamps lie outside the time between question and answer is none to
/// this question.
pub(crate) fn answered_between(
    tokens: Tokens,
    sent_ns: u64,
    received_ns: u64,
) -> Result<Tokens, EngineError> {
    let last_ns = tokens.stamps_ns.last().copied().unwrap_or(received_ns);
    if tokens.request_ns >= sent_ns && last_ns <= received_ns {
        return Ok(tokens);
    }
    let message = "its stamps lie outside the time between question and answer".to_owned();
    Err(EngineError::Protocol { message })
}

/// What follows a launch or a repetition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    NewLaunch,
    Stop,
}

/// An engine that answered that it failed lives on; any other error is the end of its process, or of trust in it.
pub(crate) fn follows(generated: &Generated) -> Next {
    match generated {
        Ok(_) | Err(EngineError::Failed { .. }) => Next::Continue,
        Err(EngineError::Interrupted) => Next::Stop,
        Err(_) => Next::NewLaunch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_another_question_is_refused() {
        let tokens = |request_ns, last_ns| Tokens {
            ids: vec![3],
            stamps_ns: vec![last_ns],
            ..Tokens::none(request_ns)
        };
        assert!(answered_between(tokens(10, 20), 10, 20).is_ok());
        assert!(answered_between(tokens(9, 20), 10, 20).is_err());
        assert!(answered_between(tokens(10, 21), 10, 20).is_err());
    }
}
