//! Everything that must be there before a plan's command is run: the program, its rows, what it may use.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, anyhow};
use lab_core::engine::EngineError;
use lab_core::plan::CommandPlan;
use lab_core::record::{LaunchStart, Outcome, SessionHeader};
use lab_host::cpu;
use lab_measure::command::{Descendants, GRACE, NotEnded};
use lab_runner::CommandLaunch;
use serde_json::Value;
use uuid::Uuid;

use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::launch;
use crate::subject::{Asked, Program, Rows, Subject};
use crate::supervisor::{Request, Supervisor};
use crate::{backend, beside};

/// What came of running a command once.
pub(crate) struct Run {
    /// The launch; none where the user stopped it, or had.
    pub(crate) launched: Option<CommandLaunch>,
    /// How many processes it left running, which lab ended; the command itself, too, where its supervisor was killed.
    pub(crate) left: std::result::Result<usize, NotEnded>,
}

/// Keeps track of everything that is started from now on.
pub(crate) fn descendants() -> Result<Descendants> {
    Descendants::from_now_on("/proc")
        .context("cannot keep track of what the command starts")
        .map_err(Failure::run)
}

/// Says what a run left running, and what became of it; nothing where it left nothing.
pub(crate) fn words_of_left(run: &str, left: &std::result::Result<usize, NotEnded>) -> Option<String> {
    match left {
        Ok(0) => None,
        Ok(1) => Some(format!("note: {run} left 1 process running, which lab ended")),
        Ok(n_left) => Some(format!("note: {run} left {n_left} processes running, which lab ended")),
        Err(error) => {
            Some(format!("error: {run} left processes running, and none is measured beside them: {error}"))
        }
    }
}

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

    /// Runs the command once, to its end, in a launch of its own, and ends what it leaves running: nothing of it is left for the
    /// next one to share the machine with.
    pub(crate) fn launch(&self, interrupted: &AtomicBool, descendants: &mut Descendants) -> Run {
        if interrupted.load(Ordering::Relaxed) {
            return Run { launched: None, left: Ok(0) };
        }
        let Self { folder, subject, .. } = self;
        let conditions = subject.conditions();
        let environment = &subject.backend.environment;
        let supervisor = Supervisor { folder, environment, interrupted };
        let before = subject.beside();
        let ran = supervisor.run(&self.request());
        let (seen, left) = before.end(|| descendants.end(GRACE));
        let (start, conditions, outcome) = match ran {
            Err(EngineError::Interrupted) => return Run { launched: None, left },
            // It was started, and lost with whoever watched it.
            Err(error @ EngineError::Failed { .. }) => {
                (LaunchStart::Started, conditions, Outcome::Failed(error))
            }
            Err(error) => (LaunchStart::Failed(error.clone()), Value::Null, Outcome::Failed(error)),
            Ok(run) => {
                let ran = Outcome::Ran(Box::new(beside::judged(run, seen)));
                (LaunchStart::Started, conditions, self.changed().unwrap_or(ran))
            }
        };
        Run { launched: Some(CommandLaunch { start, conditions, outcome }), left }
    }

    /// Refuses what was run where it may not be what the session's fingerprint says.
    fn changed(&self) -> Option<Outcome> {
        let path = self.subject.changed(&self.rows)?;
        let message = format!(
            "`{path}` changed while the session ran: its digest is no longer that of the fingerprint, which has the \
             program, the first file among its arguments and the file of its rows"
        );
        Some(Outcome::Failed(EngineError::Failed { message }))
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
        launch::check_text(&program.path)?;
        return Ok(program);
    }
    let named = &plan.command.program[0];
    let whereabouts = match named.contains('/') {
        true => format!("there is no file `{}`", program.path.display()),
        false => "no folder of `PATH` has it".to_owned(),
    };
    Err(Failure::run(anyhow!("the plan's program `{named}` was not found: {whereabouts}")))
}
