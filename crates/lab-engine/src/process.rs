//! The harness's end: one engine process, its requests, its deadlines, its death.

mod sliced;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab_core::clock::{Clock, nanoseconds};
use lab_core::engine::{
    Answer, BeginRequest, Engine, EngineError, Hello, LoadRequest, Loaded, PROTOCOL_VERSION, Profile,
    Request, Tokens,
};
use lab_core::experiment::Layout;
use lab_core::workload::Workload;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::framing::{MAX_FRAME_BYTES, excerpt, write_frame};
use sliced::Sliced;

/// What to start, and under which limits.
#[derive(Debug, Clone)]
pub struct Start {
    /// The `lab` executable, whose `launch-engine` sets the conditions.
    pub launcher: PathBuf,
    /// The engine's program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// CPU numbers it may run on.
    pub cores: Vec<u32>,
    /// Where its memory is to begin; none leaves that to the kernel.
    pub layout: Option<Layout>,
    /// How long loading may take.
    pub load_timeout: Duration,
    /// How long one generation may take.
    pub generate_timeout: Duration,
    /// Raised when the user wants to stop.
    pub interrupted: Arc<AtomicBool>,
}

/// A greeting or a farewell needs no model: ten seconds cover a machine under heavy load.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of the engine's log goes into an error.
const LOG_TAIL_BYTES: u64 = 2_000;

/// A running engine process. Dropping it ends the process: with a farewell, or else by force.
pub struct Process<'a> {
    start: Start,
    clock: &'a dyn Clock,
    child: Child,
    requests: ChildStdin,
    answers: ChildStdout,
    /// What was read past the last frame.
    pending: Vec<u8>,
    log: File,
    /// What it is paused in the middle of.
    sliced: Option<Sliced>,
}

impl<'a> Process<'a> {
    /// Starts an engine process through the launcher.
    ///
    /// # Errors
    ///
    /// [`EngineError::Start`] when the program cannot be started at all.
    pub fn start(start: Start, clock: &'a dyn Clock) -> Result<Self, EngineError> {
        let failed = |error: io::Error| EngineError::Start { message: error.to_string() };
        let log = tempfile::tempfile().map_err(failed)?;
        let mut child = command(&start).stderr(log.try_clone().map_err(failed)?).spawn().map_err(failed)?;
        let requests = child.stdin.take().expect("standard input is piped");
        let answers = child.stdout.take().expect("standard output is piped");
        Ok(Self { start, clock, child, requests, answers, pending: Vec::new(), log, sliced: None })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks and waits for the answer. After any error but a plain failure the process is not to be asked again.
    fn ask(&mut self, request: &Request, timeout: Duration) -> Result<Answer, EngineError> {
        let deadline_ns = self.clock.now_ns().saturating_add(nanoseconds(timeout));
        let line = self.send(request, deadline_ns).and_then(|()| self.read_frame(deadline_ns));
        self.answer(line, request, timeout)
    }

    /// Returns the answer that came to a request, or what became of the process that gave none.
    fn answer(
        &mut self,
        line: Result<Vec<u8>, Silence>,
        request: &Request,
        timeout: Duration,
    ) -> Result<Answer, EngineError> {
        match line.and_then(|line| parse(&line)) {
            Ok(Answer::Error { message }) => Err(EngineError::Failed { message }),
            Ok(answer) => Ok(answer),
            Err(Silence::HungUp) => Err(self.death()),
            Err(Silence::Deadline) => {
                self.end();
                Err(EngineError::TimedOut {
                    request: name_of(request).to_owned(),
                    seconds: timeout.as_secs(),
                })
            }
            Err(Silence::Interrupted) => {
                self.end();
                Err(EngineError::Interrupted)
            }
            Err(Silence::NoFrame(message)) => {
                self.end();
                Err(EngineError::Protocol { message })
            }
        }
    }

    /// Writes a request in pieces that a pipe which polls writable takes without blocking, so that an engine that does not
    /// read meets the deadline too.
    fn send(&mut self, request: &Request, deadline_ns: u64) -> Result<(), Silence> {
        if !self.pending.is_empty() {
            return Err(Silence::NoFrame(format!("it said something unasked: `{}`", excerpt(&self.pending))));
        }
        let mut frame = Vec::new();
        write_frame(&mut frame, request).map_err(|error| Silence::NoFrame(error.to_string()))?;
        for piece in frame.chunks(rustix::pipe::PIPE_BUF) {
            self.wait_for(&self.requests, PollFlags::OUT, deadline_ns)?;
            self.requests.write_all(piece).map_err(|_| Silence::HungUp)?;
        }
        Ok(())
    }

    fn read_frame(&mut self, deadline_ns: u64) -> Result<Vec<u8>, Silence> {
        let mut chunk = [0; 64 << 10];
        let mut n_searched = 0;
        loop {
            if let Some(end) = self.pending[n_searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(n_searched + end + 1);
                return Ok(std::mem::replace(&mut self.pending, rest));
            }
            n_searched = self.pending.len();
            if n_searched > MAX_FRAME_BYTES {
                return Err(Silence::NoFrame(format!("a frame is longer than {MAX_FRAME_BYTES} bytes")));
            }
            self.wait_for(&self.answers, PollFlags::IN, deadline_ns)?;
            match self.answers.read(&mut chunk) {
                Ok(0) => return Err(Silence::HungUp),
                Ok(n) => self.pending.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Silence::HungUp),
            }
        }
    }

    /// Blocks until a pipe to the engine is ready. A signal wakes the wait, so that Ctrl-C is heard.
    fn wait_for(&self, pipe: &impl AsFd, ready: PollFlags, deadline_ns: u64) -> Result<(), Silence> {
        loop {
            if self.start.interrupted.load(Ordering::Relaxed) {
                return Err(Silence::Interrupted);
            }
            let left_ns = deadline_ns.saturating_sub(self.clock.now_ns());
            if left_ns == 0 {
                return Err(Silence::Deadline);
            }
            let left = Timespec::try_from(Duration::from_nanos(left_ns)).map_err(|_| Silence::Deadline)?;
            match poll(&mut [PollFd::new(pipe, ready)], Some(&left)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(Silence::NoFrame(error.to_string())),
            }
        }
    }

    /// Says how a process that hung up came to its end.
    fn death(&mut self) -> EngineError {
        // It may have closed its descriptor and live on.
        let ended_itself = self.wait_briefly();
        self.end();
        match (ended_itself, self.start.interrupted.load(Ordering::Relaxed)) {
            (_, true) => EngineError::Interrupted,
            (Some(status), false) => cause_of(status, &self.log_tail()),
            (None, false) => {
                EngineError::Protocol { message: format!("it hung up but lives on{}", self.log_tail()) }
            }
        }
    }

    /// Gives a process that hung up a second to be gone.
    fn wait_briefly(&mut self) -> Option<ExitStatus> {
        let deadline_ns = self.clock.now_ns() + 1_000_000_000;
        while self.clock.now_ns() < deadline_ns {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            self.clock.wait_until_ns(self.clock.now_ns() + 1_000_000);
        }
        None
    }

    /// Ends the process and everything it started, and reaps it.
    fn end(&mut self) {
        let _gone = self.signal(Signal::KILL);
        // All three fail only for processes that are gone already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends a signal to the process and everything it started, if there is still any of it.
    fn signal(&self, signal: Signal) -> Result<(), Errno> {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return Ok(()) };
        match kill_process_group(group, signal) {
            Err(Errno::SRCH) => Ok(()),
            result => result,
        }
    }

    /// Returns the last lines of the engine's log, introduced, or nothing.
    fn log_tail(&mut self) -> String {
        let mut tail = Vec::new();
        let length = self.log.seek(SeekFrom::End(0)).unwrap_or(0);
        let from = SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES));
        if self.log.seek(from).and_then(|_| self.log.read_to_end(&mut tail)).is_err() || tail.is_empty() {
            return String::new();
        }
        format!("; its log ends: {}", String::from_utf8_lossy(&tail).trim())
    }
}

impl Drop for Process<'_> {
    /// Says goodbye, gives the process a second to end by itself, and ends it if it does not. One that is paused has nothing to
    /// say any more.
    fn drop(&mut self) {
        if self.sliced.is_none() {
            // A process that is gone cannot hear it.
            drop(write_frame(&mut self.requests, &Request::Exit));
            self.wait_briefly();
        }
        self.end();
    }
}

impl Engine for Process<'_> {
    fn hello(&mut self) -> Result<Hello, EngineError> {
        match self.ask(&Request::Hello { protocol: PROTOCOL_VERSION }, GREETING_TIMEOUT)? {
            Answer::Hello(hello) if hello.protocol == PROTOCOL_VERSION => Ok(hello),
            Answer::Hello(hello) => Err(EngineError::Protocol {
                message: format!(
                    "it speaks protocol version {}; this lab speaks {PROTOCOL_VERSION}",
                    hello.protocol
                ),
            }),
            other => Err(unexpected("hello", &other)),
        }
    }

    fn load(&mut self, request: &LoadRequest) -> Result<Loaded, EngineError> {
        match self.ask(&Request::Load(request.clone()), self.start.load_timeout)? {
            Answer::Loaded(loaded) => Ok(loaded),
            other => Err(unexpected("loaded", &other)),
        }
    }

    fn begin(&mut self, request: &BeginRequest, _: u64) -> Result<Tokens, EngineError> {
        self.ask_tokens(&Request::Begin(request.clone()))
    }

    fn begin_sliced(
        &mut self,
        request: &BeginRequest,
        _: u64,
        slice_ns: u64,
    ) -> Result<Option<Tokens>, EngineError> {
        self.ask_sliced(Request::Begin(request.clone()), slice_ns)
    }

    fn go_on(&mut self, slice_ns: u64) -> Result<Option<Tokens>, EngineError> {
        self.resume(slice_ns)
    }

    fn step(&mut self, n: u32, _: u64) -> Result<Tokens, EngineError> {
        self.ask_tokens(&Request::Step { n })
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        match self.ask(&Request::Finish, GREETING_TIMEOUT)? {
            Answer::Finished {} => Ok(()),
            other => Err(unexpected("finished", &other)),
        }
    }

    /// An engine may sum up what it kept of a whole generation, so it has as long as for the generation itself.
    fn profile(&mut self) -> Result<Profile, EngineError> {
        match self.ask(&Request::Profile, self.start.generate_timeout)? {
            Answer::Profile(profile) => Ok(profile),
            other => Err(unexpected("profile", &other)),
        }
    }

    fn generate(&mut self, workload: &Workload, _: u64) -> Result<Tokens, EngineError> {
        self.ask_tokens(&Request::Generate(workload.clone()))
    }
}

impl Process<'_> {
    fn ask_tokens(&mut self, request: &Request) -> Result<Tokens, EngineError> {
        tokens_of(self.ask(request, self.start.generate_timeout)?)
    }
}

fn tokens_of(answer: Answer) -> Result<Tokens, EngineError> {
    match answer {
        Answer::Tokens(tokens) => Ok(tokens),
        other => Err(unexpected("tokens", &other)),
    }
}

/// Why no frame came.
enum Silence {
    HungUp,
    Deadline,
    Interrupted,
    NoFrame(String),
}

fn command(start: &Start) -> Command {
    let cores: Vec<String> = start.cores.iter().map(u32::to_string).collect();
    let mut command = Command::new(&start.launcher);
    command.arg("launch-engine").args([
        "--harness",
        &std::process::id().to_string(),
        "--cores",
        &cores.join(","),
    ]);
    if let Some(layout) = &start.layout {
        let text = serde_json::to_string(layout).expect("a layout serialises to JSON");
        command.args(["--layout", &text]);
    }
    command
        .arg("--")
        .arg(&start.program)
        .args(&start.arguments)
        .env_clear()
        .envs(&start.environment)
        // Its own group: the terminal's Ctrl-C is for the harness, which then ends the engine in order.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

fn parse(line: &[u8]) -> Result<Answer, Silence> {
    serde_json::from_slice(line).map_err(|error| {
        Silence::NoFrame(format!("expected an answer frame, got `{}`: {error}", excerpt(line)))
    })
}

fn unexpected(expected: &str, answer: &Answer) -> EngineError {
    let got = serde_json::to_string(answer).unwrap_or_default();
    EngineError::Protocol { message: format!("expected `{expected}`, got `{}`", excerpt(got.as_bytes())) }
}

fn name_of(request: &Request) -> &'static str {
    match request {
        Request::Hello { .. } => "hello",
        Request::Load(_) => "load",
        Request::Begin(_) => "begin",
        Request::Step { .. } => "step",
        Request::Finish => "finish",
        Request::Generate(_) => "generate",
        Request::Profile => "profile",
        Request::Exit => "exit",
    }
}

fn cause_of(status: ExitStatus, log_tail: &str) -> EngineError {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            EngineError::Killed { signal, name: signal_name(signal), log: log_tail.to_owned() }
        }
        (None, code) => EngineError::Exited { status: code.unwrap_or(-1), log: log_tail.to_owned() },
    }
}

/// The signals that end an engine in practice (signal(7), the x86 and ARM numbers).
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
