//! What every command that records has in common: the session's header, its measurements, words for what went wrong, and
//! ending in order.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use jiff::Timestamp;
use lab_core::fingerprint::{BackendPart, Fingerprint, Mode};
use lab_core::metric::Measurement;
use lab_core::plan::Plan;
use lab_core::record::{
    Launch, RecordedRepetition, Repetition, RepetitionKind, Session, SessionEnd, SessionHeader, SessionId,
    SessionStatus,
};
use lab_core::validity::Validity;
use lab_core::work::Work;
use lab_store::{Store, StoreError};

use crate::bench::Bench;
use crate::failure::{Failure, Result};
use crate::identity;

/// Ctrl-C and a polite kill raise a flag; the session then ends in order.
pub(crate) fn listen_for_interruption(interrupted: &Arc<AtomicBool>) -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second Ctrl-C ends lab at once.
        signal_hook::flag::register_conditional_default(signal, interrupted.clone()).map_err(Failure::run)?;
        signal_hook::flag::register(signal, interrupted.clone()).map_err(Failure::run)?;
    }
    Ok(())
}

/// Puts together what is known when a session starts.
pub(crate) fn header(plan: &Plan, repeat: u32, mode: Mode, bench: &Bench<'_>) -> Result<SessionHeader> {
    let Bench { launcher, hello, instruments, model, workload, hardware, .. } = bench;
    let executable =
        launcher.executable_digest().context("cannot read the engine's program").map_err(Failure::run)?;
    let model_part =
        identity::model_part(&plan.model, &model.local, &model.header.gguf).map_err(Failure::usage)?;
    let backend = BackendPart { device: hello.device.clone(), ..launcher.backend.part.clone() };
    Ok(SessionHeader {
        id: SessionId(uuid::Uuid::now_v7()),
        started_at: Timestamp::now(),
        lab_version: env!("CARGO_PKG_VERSION").to_owned(),
        plan_name: plan.name.clone(),
        plan_text: plan.text.clone(),
        model_name: plan.model.name.clone(),
        work: Work::Workload(workload.clone()),
        repeat,
        tolerances: plan.tolerances.clone().into_iter().collect(),
        limits: plan.limits.clone().into_iter().collect(),
        fingerprint: Fingerprint {
            model: model_part.record(),
            plan: identity::plan_part(plan, workload, repeat, mode, instruments.set.sample_hz).record(),
            backend: backend.record(),
            hardware: hardware.clone(),
            engine: identity::engine_part(&plan.engine.kind, hello, executable).record(),
        },
        instruments: Some(instruments.set.clone()),
        experiment: None,
        until: None,
    })
}

/// A session as it goes: everything is in the store before it is looked at.
pub(crate) struct Recording {
    pub(crate) session: Session,
}

impl Recording {
    /// Begins a session in the store.
    pub(crate) fn begin(header: SessionHeader, store: &mut Store) -> std::result::Result<Self, StoreError> {
        store.begin_session(&header)?;
        let session = Session { header, launches: Vec::new(), repetitions: Vec::new(), end: None };
        Ok(Self { session })
    }

    /// Records a launch.
    pub(crate) fn launch(
        &mut self,
        launch: Launch,
        store: &mut Store,
    ) -> std::result::Result<(), StoreError> {
        store.append_launch(self.session.header.id, &launch)?;
        self.session.launches.push(launch);
        Ok(())
    }

    /// Records a repetition with its measurements.
    pub(crate) fn repetition(
        &mut self,
        repetition: Repetition,
        store: &mut Store,
    ) -> std::result::Result<(), StoreError> {
        let header = &self.session.header;
        let measurements = measurements(&repetition, header.n_prompt());
        store.append_repetition(header.id, &repetition, &measurements)?;
        self.session.repetitions.push(RecordedRepetition { repetition, measurements });
        Ok(())
    }

    /// Records how the session ended.
    pub(crate) fn end(
        &mut self,
        status: SessionStatus,
        store: &mut Store,
    ) -> std::result::Result<(), StoreError> {
        let end = SessionEnd { ended_at: Timestamp::now(), status };
        store.end_session(self.session.header.id, &end)?;
        self.session.end = Some(end);
        Ok(())
    }
}

/// Says what went wrong with a repetition of a session; what disturbed a warm-up is of no interest.
pub(crate) fn trouble(session: &Session, repetition: &Repetition) -> Option<String> {
    let Repetition { kind, outcome, .. } = repetition;
    if let Some(failure) = session.why_failed(outcome) {
        return Some(format!("{} failed: {failure}", session.name_of(repetition)));
    }
    let validity = outcome.validity().filter(|own| **own != Validity::Valid)?;
    (*kind == RepetitionKind::Measured).then(|| format!("{} is {validity}", session.name_of(repetition)))
}

/// Only completed measured repetitions have measurements.
fn measurements(repetition: &Repetition, n_prompt: usize) -> Vec<Measurement> {
    match repetition.kind {
        RepetitionKind::Measured => repetition.outcome.measurements(n_prompt),
        RepetitionKind::Warmup => Vec::new(),
    }
}
