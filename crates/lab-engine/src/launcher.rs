//! Sets an engine's conditions from inside its own process, then becomes the engine.
//!
//! The harness never forks with preparations of its own: it starts `lab launch-engine …`, which pins itself to its
//! cores, asks to die with the harness, fixes where memory will lie, moves the protocol to a private descriptor, and
//! replaces itself by the engine's program. What it sets survives the replacement, and the harness reads it back from
//! `/proc`.

use std::io;
use std::os::fd::{IntoRawFd as _, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use lab_core::experiment::Layout;
use rustix::process::{Pid, Signal};
use rustix::thread::CpuSet;

use crate::layout::{self, Environment};

/// Names the descriptor that answers are written to, in the engine's environment.
pub const PROTOCOL_FD: &str = "LAB_PROTOCOL_FD";

/// What holds for an engine process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// Process id of the harness.
    pub harness: u32,
    /// CPU numbers the engine may run on.
    pub cores: Vec<u32>,
    /// Where its memory is to begin; none leaves that to the kernel.
    pub layout: Option<Layout>,
    /// The engine's program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Sets the conditions and becomes the engine. Returns only when that fails.
pub fn become_engine(conditions: &Conditions) -> io::Error {
    match prepare(conditions) {
        Ok(mut program) => program.exec(),
        Err(error) => error,
    }
}

fn prepare(conditions: &Conditions) -> io::Result<Command> {
    on_death_of(conditions.harness, Signal::KILL)?;
    pin_to(&conditions.cores)?;
    if let Some(layout) = &conditions.layout {
        layout::fix(layout)?;
    }
    // The copy has no close-on-exec flag: it is the engine's private descriptor from here on.
    let answers = rustix::io::dup(io::stdout())?.into_raw_fd();
    rustix::stdio::dup2_stdout(io::stderr())?;
    let mut program = Command::new(&conditions.program);
    program.args(&conditions.arguments).env_clear().envs(environment(conditions, answers));
    Ok(program)
}

/// Returns the engine's whole environment: what this process was given, and what the launcher has to tell.
fn environment(conditions: &Conditions, answers: RawFd) -> Environment {
    let mut environment: Environment = std::env::vars_os().collect();
    environment.insert(PROTOCOL_FD.into(), answers.to_string().into());
    match &conditions.layout {
        None => environment,
        Some(layout) => {
            layout::furnish(layout, conditions.program.as_os_str(), &conditions.arguments, environment)
        }
    }
}

/// Asks the kernel to tell this process to end (SIGTERM) when the one that started it ends, however it ends.
///
/// # Errors
///
/// When that process is gone already, or the kernel refuses.
pub fn end_with(starter: u32) -> io::Result<()> {
    on_death_of(starter, Signal::TERM)
}

/// Asks the kernel to send this process a signal when the one that started it ends, however it ends: more exactly, when the
/// thread that started it does.
fn on_death_of(starter: u32, signal: Signal) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    // It may have ended before the request was in place.
    let parent = rustix::process::getppid().map(Pid::as_raw_nonzero);
    if parent.is_some_and(|parent| u32::try_from(parent.get()) == Ok(starter)) {
        return Ok(());
    }
    Err(io::Error::other("the process that started it is gone"))
}

/// Lets this thread, and what it starts from here on, run on these cores alone.
///
/// # Errors
///
/// When a core is beyond what a mask holds, or the kernel refuses.
pub fn pin_to(cores: &[u32]) -> io::Result<()> {
    let mut mask = CpuSet::new();
    for core in cores {
        let core = usize::try_from(*core).map_err(io::Error::other)?;
        if core >= CpuSet::MAX_CPU {
            return Err(io::Error::other(format!("core {core} is beyond what an affinity mask holds")));
        }
        mask.set(core);
    }
    Ok(rustix::thread::sched_setaffinity(None, &mask)?)
}
