//! `--emit-metrics`: the session as the metrics document of a workflow, written whole at its end.

use std::io::Write as _;
use std::path::Path;

use lab_core::record::Session;
use lab_formats::workflow::{self, Invocation};

use crate::failure::Result;
use crate::whole_file::Replacement;

/// A document that will be written.
pub(super) struct Emission(Replacement);

/// Where the time of the command went, by the monotonic clock, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phases {
    /// Reading and checking the plan.
    pub(super) plan_ns: u64,
    /// Everything that is checked before anything is measured, without obtaining the model.
    pub(super) validation_ns: u64,
    /// The session from its begin to its end.
    pub(super) runtime_ns: u64,
}

impl Emission {
    /// Makes sure that the document can be written, before anything is measured. It takes the place of none of the files
    /// that the command itself needs.
    pub(super) fn prepare(path: &Path, needed: [&Path; 2]) -> Result<Self> {
        Replacement::prepare(path, &needed).map(Self)
    }

    /// Writes the document in one piece: whoever reads it sees all of it or what was there before.
    pub(super) fn write(mut self, session: &Session, plan: &Path, phases: Phases) -> Result<()> {
        let input = plan.display().to_string();
        let invocation = Invocation {
            input: &input,
            compile_ms: Some(milliseconds(phases.plan_ns)),
            validation_ms: Some(milliseconds(phases.validation_ns)),
            runtime_ms: Some(milliseconds(phases.runtime_ns)),
        };
        let text = workflow::to_text(&workflow::of_session(session, invocation));
        self.0.write_all(text.as_bytes()).map_err(|error| self.0.failed(error))?;
        self.0.finish()
    }
}

#[expect(clippy::cast_precision_loss, reason = "no command takes 2^53 ns")]
fn milliseconds(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
