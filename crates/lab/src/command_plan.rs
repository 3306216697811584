//! Everything that must be there before a plan's command is run: the program, its rows, what it may use.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use lab_core::engine::EngineError;
use lab_core::plan::CommandPlan;
use lab_core::record::{LaunchStart, Outcome, SessionHeader};
use lab_host::cpu;
use lab_runner::CommandLaunch;
use serde_json::Value;
use uuid::Uuid;

use crate::backend;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::launch;
use crate::subject::{Asked, Program, Rows, Subject};
use crate::supervisor::{Request, Supervisor};

/// A plan whose command is ready to be run.
pub(crate) struct Prepared<'a> {
    plan: &'a CommandPlan,
    /// Where the command works, and relative paths start.
    pub(crate) folder: PathBuf,
    pub(crate) rows: Rows,
    pub(crate) subject: Subject,
}

impl<'a> Prepared<'a> {
    /// Looks for the program, counts the rows and asks the machine.
    ///
    /// # Errors
    ///
    /// When the program is not there, its rows cannot be counted, or its cores are not to be had.
    pub(crate) fn of(plan: &'a CommandPlan, folder: &Path, global: &Global) -> Result<Self> {
        let roots = global.roots()?;
        let cpu = cpu::probe(&roots);
        let spec = &plan.command;
        let backend = backend::of_command(spec.cores.as_deref(), &spec.environment, &roots, &cpu)?;
        let program = find(plan, folder)?;
        let rows = Rows::count(spec.rows.clone(), folder)?;
        let subject = Subject::new(program, backend, roots, &cpu);
        Ok(Self { plan, folder: folder.to_owned(), rows, subject })
    }

    /// Returns what is known when a session of so many measured runs starts.
    pub(crate) fn header(&self, repeat: u32) -> SessionHeader {
        let CommandPlan { name, text, command, run, tolerances, limits, .. } = self.plan;
        let asked = Asked {
            name: name.clone(),
            text: text.clone(),
            words: command.program.clone(),
            warmup: run.warmup,
            repeat,
            interval: command.interval,
            tolerances: tolerances.clone().into_iter().collect(),
            limits: limits.clone().into_iter().collect(),
        };
        self.subject.header(asked, &self.rows)
    }

    /// Runs the command once, to its end, in a launch of its own; nothing where the user stops it, or has.
    pub(crate) fn launch(&self, interrupted: &AtomicBool) -> Option<CommandLaunch> {
        if interrupted.load(Ordering::Relaxed) {
            return None;
        }
        let Self { folder, subject, .. } = self;
        let conditions = subject.conditions();
        let environment = &subject.backend.environment;
        let supervisor = Supervisor { folder, environment, interrupted };
        let (start, conditions, outcome) = match supervisor.run(&self.request()) {
            Err(EngineError::Interrupted) => return None,
            Err(error) => (LaunchStart::Failed(error.clone()), Value::Null, Outcome::Failed(error)),
            Ok(run) => (LaunchStart::Started, conditions, Outcome::Ran(Box::new(run))),
        };
        Some(CommandLaunch { start, conditions, outcome })
    }

    /// Returns one run, under an id of its own. The program is named by where it was found: what a session's fingerprint says
    /// of it is what runs.
    fn request(&self) -> Request {
        let CommandPlan { command, run, .. } = self.plan;
        let found = launch::absolute(&self.subject.program.path);
        Request {
            run_id: Uuid::new_v4(),
            program: [found].into_iter().chain(command.program.iter().skip(1).cloned()).collect(),
            rows: self.rows.known,
            interval_us: u64::try_from(command.interval.as_micros()).unwrap_or(u64::MAX),
            timeout_s: run.timeout.as_secs(),
            cores: self.subject.backend.cores.clone(),
        }
    }
}

/// Finds the plan's program.
pub(crate) fn find(plan: &CommandPlan, folder: &Path) -> Result<Program> {
    let words: Vec<OsString> = plan.command.program.iter().map(OsString::from).collect();
    let program = Program::find(&words, folder);
    if program.is_there() {
        return Ok(program);
    }
    let named = &plan.command.program[0];
    let whereabouts = match named.contains('/') {
        true => format!("there is no file `{}`", program.path.display()),
        false => "no folder of `PATH` has it".to_owned(),
    };
    Err(Failure::run(anyhow!("the plan's program `{named}` was not found: {whereabouts}")))
}
