//! A launch: an engine process, its instruments, and what loading its model left behind.

use lab_core::engine::{Engine, EngineError, LoadRequest, Loaded, Tokens};
use lab_core::metric::Reading;
use lab_core::observation::{Instruments, Observation};
use lab_core::record::Completed;
use lab_core::validity::Validity;
use lab_core::workload::Workload;

use crate::accept::accept;

/// A started engine process, greeted but without a model, and what watches it.
pub struct Launched<'a> {
    /// The engine.
    pub engine: Box<dyn Engine + 'a>,
    /// What watches its repetitions.
    pub instruments: Box<dyn Instruments + 'a>,
    /// Conditions of the host just before the start.
    pub conditions: serde_json::Value,
}

/// An engine process whose model is loaded. Dropping it ends the process.
pub(crate) struct Running<'a> {
    pub(crate) engine: Box<dyn Engine + 'a>,
    pub(crate) instruments: Box<dyn Instruments + 'a>,
    pub(crate) load_ns: u64,
    bytes_per_token: Reading<u64>,
    /// Repetitions that have completed in the launch.
    n_completed: u32,
}

/// Loads the model into a launched engine. Returns it with the conditions of the host just before its start.
pub(crate) fn load<'a>(
    launched: Launched<'a>,
    request: &LoadRequest,
) -> Result<(Running<'a>, serde_json::Value), EngineError> {
    let Launched { mut engine, mut instruments, conditions } = launched;
    let loaded = engine.load(request)?;
    let load_ns = load_time(&loaded)?;
    instruments.loaded();
    let bytes_per_token = loaded
        .bytes_per_token
        .ok_or_else(|| "the engine does not tell what a token touches".to_owned())
        .into();
    Ok((Running { engine, instruments, load_ns, bytes_per_token, n_completed: 0 }, conditions))
}

/// Returns how long loading took by the engine's own stamps, in nanoseconds.
fn load_time(loaded: &Loaded) -> Result<u64, EngineError> {
    let Loaded { request_ns, ready_ns, .. } = loaded;
    ready_ns.checked_sub(*request_ns).ok_or_else(|| {
        let message =
            format!("the model was ready at {ready_ns} ns, before it was asked for at {request_ns} ns");
        EngineError::Protocol { message }
    })
}

impl Running<'_> {
    /// Checks what a repetition yielded and joins it with what is known of the launch. Nothing has judged it yet.
    pub(crate) fn complete(
        &mut self,
        tokens: Tokens,
        workload: &Workload,
        outside_ns: u64,
        observation: Observation,
    ) -> Result<Completed, EngineError> {
        let timeline = accept(&tokens, workload)?;
        let n_before = self.n_completed;
        self.n_completed += 1;
        Ok(Completed {
            timeline,
            token_ids: tokens.ids,
            margins: tokens.margins,
            load_ns: self.load_ns,
            outside_ns,
            request_ns: tokens.request_ns,
            n_before: Some(n_before),
            bytes_per_token: self.bytes_per_token.clone(),
            observation: Box::new(observation),
            validity: Validity::Valid,
            turns: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_ready_before_it_was_asked_for_is_refused() {
        let loaded =
            |request_ns, ready_ns| Loaded { request_ns, ready_ns, vocabulary: 1, bytes_per_token: None };
        assert_eq!(load_time(&loaded(4, 5)), Ok(1));
        assert!(load_time(&loaded(5, 4)).is_err());
    }
}
