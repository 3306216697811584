//! One run of a command in a lab process of its own: `lab supervise`.
//!
//! The kernel's account of the memory of children (`ru_maxrss` of `RUSAGE_CHILDREN`) is a running maximum over all that a
//! process ever had. In one process, a second run with the peak of the first would show nothing; in a process of its own,
//! every run starts at nothing, and equal peaks give equal figures.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab_core::clock::Clock as _;
use lab_core::command::CommandRun;
use lab_core::engine::EngineError;
use lab_host::clock::Monotonic;
use lab_measure::Interval;
use lab_measure::command::{GRACE, Redirect, RowsChannel, Run};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::launch::OWN_EXECUTABLE;
use crate::terminal::say;

/// A signal wakes the wait for an answer; one that comes just before it is heard this much later.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// A command that has not ended so long after the user asked for it may take its time: that is said.
const PROMPT: Duration = Duration::from_secs(1);
/// A supervisor answers within so long from the end of its command's time and grace.
const ANSWER: Duration = Duration::from_secs(10);

/// What a supervisor is asked to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The run's own id.
    pub(crate) run_id: Uuid,
    /// The program, then its arguments.
    pub(crate) program: Vec<String>,
    /// Its rows; none where it reports them.
    pub(crate) rows: Option<u64>,
    /// Time between two looks at its memory, in microseconds.
    pub(crate) interval_us: u64,
    /// How long it may take, in seconds.
    pub(crate) timeout_s: u64,
    /// CPU numbers it may run on.
    pub(crate) cores: Vec<u32>,
}

impl Request {
    /// Returns the run itself, which has the supervisor's environment and works in its folder.
    pub(crate) fn run(&self) -> Run {
        let interval = Interval::new(Duration::from_micros(self.interval_us));
        let interval = interval.expect("a plan's intervals are those that can be watched at");
        Run {
            stdout: Redirect::ToStderr,
            rows: if self.rows.is_none() { RowsChannel::Offered } else { RowsChannel::Closed },
            interval,
            limit: Some(self.timeout()),
            adopts: true,
            ends_with_starter: true,
            ..Run::new(&self.program)
        }
    }

    /// Returns how long it may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

/// What a supervisor answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The command was run to its end.
    Ran(Box<CommandRun>),
    /// It never ran, or could not be watched.
    NotRun(String),
}

/// Starts supervisors.
pub(crate) struct Supervisor<'a> {
    /// Where the command works.
    pub(crate) folder: &'a Path,
    /// The command's whole environment.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Raised when the user wants to stop.
    pub(crate) interrupted: &'a AtomicBool,
}

impl Supervisor<'_> {
    /// Runs a command to its end. That the command fails is no error.
    ///
    /// To be called by the main thread: the supervisor ends with the thread that started it, and takes the command with it. What
    /// is left running afterwards is the caller's to end: the command itself, where the supervisor was killed.
    ///
    /// # Errors
    ///
    /// When the command never ran, could not be watched to its end, or the user stopped it.
    pub(crate) fn run(&self, request: &Request) -> Result<CommandRun, EngineError> {
        let (answer, status) = self.ask(request).map_err(|error| not_run(error.to_string()))?;
        let is_interrupted = self.interrupted.load(Ordering::Relaxed);
        match serde_json::from_str::<Answer>(&answer) {
            Ok(Answer::Ran(run)) if run.failure.is_none() || !is_interrupted => Ok(*run),
            _ if is_interrupted => Err(EngineError::Interrupted),
            Ok(Answer::NotRun(message)) => Err(not_run(message)),
            Ok(Answer::Ran(_)) | Err(_) => Err(unwatched(status)),
        }
    }

    fn ask(&self, request: &Request) -> io::Result<(String, ExitStatus)> {
        let patience = request.timeout().saturating_add(GRACE + ANSWER);
        let mut child = Command::new(OWN_EXECUTABLE)
            .process_group(0)
            .args(["supervise", "--ends-with", &std::process::id().to_string()])
            .current_dir(self.folder)
            .env_clear()
            .envs(self.environment)
            .stdin(handed_over(request)?)
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().expect("it was asked for a pipe");
        let answer = self.listen(stdout, &child, patience);
        let status = child.wait()?;
        Ok((answer?, status))
    }

    /// Reads to the end of the answer, and passes on that the user wants to stop. A supervisor that lasts longer than it may is
    /// killed, which ends its answer: it keeps its command to the limit of time, unless somebody stopped it.
    fn listen(&self, mut stdout: ChildStdout, child: &Child, patience: Duration) -> io::Result<String> {
        let begun_ns = Monotonic.now_ns();
        let mut answer = Vec::new();
        let (mut told_ns, mut is_noted): (Option<u64>, bool) = (None, false);
        loop {
            if told_ns.is_none() && self.interrupted.load(Ordering::Relaxed) {
                send(child, Signal::INT);
                // One that is stopped hears nothing until it goes on.
                send(child, Signal::CONT);
                told_ns = Some(Monotonic.now_ns());
            }
            if !is_noted && told_ns.is_some_and(|told_ns| since(told_ns) >= PROMPT) {
                say("note: waiting for the command to end; Ctrl-C again ends lab at once");
                is_noted = true;
            }
            if since(begun_ns) >= patience {
                send(child, Signal::KILL);
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
            let n_ready = poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&LOOK_EVERY));
            match n_ready {
                Ok(0) | Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
            let mut piece = [0; 4096];
            match stdout.read(&mut piece) {
                Ok(0) => return Ok(String::from_utf8_lossy(&answer).into_owned()),
                Ok(n) => answer.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Returns a request as a file in memory: one argument holds 128 KiB, and a pipe what somebody reads.
fn handed_over(request: &Request) -> io::Result<File> {
    let mut file = File::from(memfd_create("lab-request", MemfdFlags::CLOEXEC)?);
    serde_json::to_writer(&mut file, request)?;
    file.rewind()?;
    Ok(file)
}

/// Sends a signal to a supervisor that was not waited for, so that its number is still its own.
fn send(child: &Child, signal: Signal) {
    // Fails only where it is gone.
    let _gone = kill_process(Pid::from_child(child), signal);
}

fn since(begun_ns: u64) -> Duration {
    Duration::from_nanos(Monotonic.now_ns().saturating_sub(begun_ns))
}

fn not_run(message: String) -> EngineError {
    EngineError::Start { message }
}

/// Says how the supervisor ended where it gave no answer. It may have had a command, and what it measured of it is lost.
fn unwatched(status: ExitStatus) -> EngineError {
    let how = match status.signal() {
        Some(signal) => format!("was killed by signal {signal}"),
        None => format!("ended without a word ({status})"),
    };
    EngineError::Failed { message: format!("the lab process that watched the command {how}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_that_lasts_longer_than_it_may_is_killed_without_an_answer() {
        let (folder, environment, interrupted) = (Path::new("."), BTreeMap::new(), AtomicBool::new(false));
        let supervisor = Supervisor { folder, environment: &environment, interrupted: &interrupted };
        let mut child = Command::new("sleep").arg("600").stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        assert_eq!(supervisor.listen(stdout, &child, Duration::ZERO).unwrap(), "");
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn how_a_supervisor_ended_that_gave_no_answer_is_told() {
        for (raw_status, words) in [(9, "killed by signal 9"), (5 << 8, "without a word (exit status: 5)")] {
            let error = unwatched(ExitStatus::from_raw(raw_status)).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
