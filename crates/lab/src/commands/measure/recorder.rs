//! The session of one measured command. All that takes time or may fail is done before the command starts, or after it ended.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use lab_core::command::{CommandObservation, CommandRun};
use lab_core::metric::{Contract, Metric};
use lab_core::record::{
    Launch, LaunchStart, Outcome, Repetition, RepetitionKind, SessionHeader, SessionStatus,
};
use lab_core::tolerance::Tolerance;
use lab_core::validity::Validity;
use lab_host::cpu;
use lab_measure::command::end_on_signals;
use lab_store::{Store, Waiting};

use super::{Arguments, text_of};
use crate::backend;
use crate::beside::{self, Beside};
use crate::failure::Result;
use crate::global::Global;
use crate::recording::Recording;
use crate::store;
use crate::subject::{Asked, Program, Rows, Subject};
use crate::terminal::say;

/// What of a command without a plan is held to: the share by which it may differ from another session of it. As the ready plan
/// `plans/smoke.toml` has it.
const TOLERANCE: Tolerance = Tolerance::Relative(0.05);

/// An open store, and all that is known of the session before its command runs.
pub(super) struct Recorder {
    store: Store,
    header: SessionHeader,
    conditions: serde_json::Value,
    /// How the machine stood before the run; none from its end on.
    before: Option<Beside>,
    seen: Option<CommandObservation>,
}

impl Recorder {
    /// Opens the store, and looks at the program and the machine.
    pub(super) fn ready(arguments: &Arguments, rows: &Rows, global: &Global) -> Result<Self> {
        let hint = "write it in UTF-8, or leave the session out with `--no-store`";
        let word = |word: &OsString| text_of(word, "the command has the word", hint);
        let words = arguments.command.iter().map(word).collect::<Result<Vec<String>>>()?;
        let roots = global.roots()?;
        let cpu = cpu::probe(&roots);
        let backend = backend::of_command(None, &BTreeMap::new(), &roots, &cpu)?;
        let program = Program::find(&arguments.command, Path::new(""));
        let subject = Subject::new(program, backend, roots, &cpu);
        let asked = Asked {
            name: subject.program.name.clone(),
            text: String::new(),
            words,
            warmup: 0,
            repeat: 1,
            interval: arguments.interval.duration(),
            tolerances: tolerances(),
            limits: Vec::new(),
        };
        let mut store = store::open_for_recording(&global.store)?;
        store.tell_of_waiting(waiting);
        let (header, conditions) = (subject.header(asked, rows), subject.conditions());
        Ok(Self { store, header, conditions, before: Some(subject.beside()), seen: None })
    }

    /// Looks at what the machine did while the command ran: to be called when it has just ended. `settle` waits for what has ended
    /// of all that it started.
    pub(super) fn has_ended(&mut self, settle: impl FnOnce()) {
        self.seen = self.before.take().map(|before| before.end(settle).0);
    }

    /// Records the session whole.
    pub(super) fn record(self, run: &CommandRun, passed_on: &[i32]) -> Result<()> {
        let Self { mut store, header, conditions, seen, .. } = self;
        let run = match seen {
            Some(seen) => beside::judged(run.clone(), seen),
            None => run.clone(),
        };
        let id = header.id;
        let status = status_of(&run, passed_on);
        if run.failure.is_none() && run.validity != Validity::Valid {
            say(&format!("note: the run is {}", run.validity));
        }
        let start = LaunchStart::Started;
        let launch = Launch { index: 0, start, conditions, profile: None, layout: None };
        let outcome = Outcome::Ran(Box::new(run));
        let repetition = Repetition { index: 0, launch: 0, kind: RepetitionKind::Measured, outcome };
        let mut recording = Recording::begin(header, &mut store)?;
        recording.launch(launch, &mut store)?;
        recording.repetition(repetition, &mut store)?;
        recording.end(status, &mut store)?;
        say(&format!("stored as {} in {}", store.short_id(&id)?, store.path().display()));
        Ok(())
    }
}

/// The command has ended and its summary is out: nothing is lost but the session when the user waits no longer.
fn waiting(waiting: &Waiting<'_>) {
    // Before the word of it: who reads that may press Ctrl-C at once.
    match end_on_signals("/proc") {
        Ok(()) => say(&format!("note: {waiting}; Ctrl-C leaves the session out")),
        Err(error) => say(&format!("note: {waiting}; Ctrl-C does nothing: {error}")),
    }
}

fn tolerances() -> Vec<(String, Tolerance)> {
    let judged = |metric: &&Metric| metric.name != "rows_used";
    Contract::SmokeV1.metrics().filter(judged).map(|metric| (metric.id(), TOLERANCE)).collect()
}

/// A run that failed after somebody asked it to end was stopped.
fn status_of(run: &CommandRun, passed_on: &[i32]) -> SessionStatus {
    match (&run.failure, passed_on) {
        (None, _) => SessionStatus::Completed,
        (Some(_), []) => SessionStatus::Failed,
        (Some(_), _) => SessionStatus::Interrupted,
    }
}
