//! Runs a program and measures it: elapsed time, peak memory of its process tree, the rows it reports, how it ended.
//!
//! **The program** is started as it is named, without a shell, and has lab's standard error and environment. Where
//! standard input is a terminal the program gets an empty one instead: a run that waits for a keyboard measures the
//! person.
//!
//! **Signals.** The program has a process group of its own, as under `timeout(1)`, so the terminal does not reach
//! it. An interrupt, a request to end, a hang-up or a quit (`SIGINT`, `SIGTERM`, `SIGHUP`, `SIGQUIT`) that reaches
//! lab is passed on to that group, once, whoever sent it; lab itself lives on until the program has ended, and what
//! was measured is not lost. A signal that lab was started to ignore (`nohup`) is left ignored. From the first run
//! on, these four signals no longer end the process that called this by themselves, so that a second one does not
//! come between the end of the program and the record of it; [`end_on_signals`] lets them end it again. Whoever stops lab (`SIGTSTP`) stops its watching, not
//! the program.
//!
//! **Memory** is sampled from procfs ([`crate::watch`]). Beside that stands what the kernel kept: the peak of each
//! process that a sample saw, and `ru_maxrss` of the children that were waited for (`getrusage(2)`), their own
//! waited-for descendants included. That last figure is a running maximum over all children this process has ever
//! had, and a child's begins with the memory of whoever started it (Linux, `exec_mmap`): so it counts only if it
//! rose, and if it stands clear of this process's own peak.

mod deadline;
mod descendants;
mod reported;
mod signals;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getppid, kill_process_group, waitid};

use self::deadline::Deadline;
pub use self::deadline::GRACE;
pub use self::descendants::{Descendants, NotEnded};
use self::reported::Channel;
pub use self::reported::{ROWS_FD, ROWS_FILE, ReportError};
use self::signals::Listener;
pub use self::signals::end_on_signals;
use crate::clock::now_ns;
use crate::interval::Interval;
use crate::tree::{Tree, peak_memory};
use crate::watch::{MemoryPeak, Past, Watch};

/// What shells answer for a program that was not found.
pub const NOT_FOUND: u8 = 127;
/// What shells answer for a program that was found and could not be started.
pub const NOT_STARTED: u8 = 126;
/// What shells add to the number of the signal that ended a program.
const SIGNALLED: i32 = 128;

/// Descriptors for the program are open to every program that this process starts in the meantime: so one run starts
/// its program at a time.
static SPAWNING: Mutex<()> = Mutex::new(());

/// Where the program's standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirect {
    /// To this process's standard output.
    Inherit,
    /// To this process's standard error, so that standard output is left for the summary.
    ToStderr,
}

/// Whether the program is told how to report the rows it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsChannel {
    /// It finds [`ROWS_FILE`] and [`ROWS_FD`] in its environment.
    Offered,
    /// It finds neither, not even those of a run around this one.
    Closed,
}

/// What is to be run, and how it is watched.
#[derive(Debug, Clone)]
pub struct Run {
    /// The program and its arguments. A name without a slash is looked for in `PATH`.
    pub command: Vec<OsString>,
    /// Where its standard output goes.
    pub stdout: Redirect,
    /// Whether it may report rows.
    pub rows: RowsChannel,
    /// Time between two looks at its memory.
    pub interval: Interval,
    /// How long it may take: past that, its process group is asked to end (`SIGTERM`), and killed when it has not done so
    /// five seconds later. None lets it take its time.
    pub limit: Option<Duration>,
    /// What its environment has besides, or instead of, what this process's has.
    pub environment: Vec<(OsString, OsString)>,
    /// Where procfs is mounted.
    pub procfs: PathBuf,
    /// Whether this process adopts orphans ([`Descendants::from_now_on`]) and waits for no other child meanwhile: then those
    /// that have ended are waited for while the program runs, or one that leaves many behind would run out of processes.
    pub adopts: bool,
    /// Whether the program is to end when the process that started this one does, with the grace of one whose time is up.
    pub ends_with_starter: bool,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Time from just before the start to the end of the program, by a monotonic clock, in nanoseconds.
    pub elapsed_ns: u64,
    /// How the program ended.
    pub status: ExitStatus,
    /// The highest memory of the program and its descendants.
    pub peak: MemoryPeak,
    /// How many rows the program said it used; none where it said nothing.
    pub rows_reported: Result<Option<u64>, ReportError>,
    /// Numbers of the signals that were passed on to the program, in the order in which they were.
    pub passed_on: Vec<i32>,
    /// Whether it was asked to end because its time was up.
    pub timed_out: bool,
}

/// Why a run could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Nothing was named to run.
    #[error("no program is named, so there is nothing to run")]
    Nothing,
    /// The program was not found.
    #[error("`{program}` was not found: {reason}")]
    NotFound {
        /// As it was named.
        program: String,
        /// Where it was looked for.
        reason: &'static str,
    },
    /// The program was found and cannot be started: it is no program, or must not be run.
    #[error("`{program}` cannot be started")]
    NotStarted {
        /// As it was named.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The run cannot be prepared or watched. A program that was started already was killed.
    #[error("the run cannot be measured: {what}")]
    NotMeasured {
        /// What failed.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl CommandError {
    /// Returns the exit status that shells give in this situation: 127 for a program that was not found, 126 for
    /// one that could not be started; none where it is not the program that failed.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::NotFound { .. } => Some(NOT_FOUND),
            Self::NotStarted { .. } => Some(NOT_STARTED),
            Self::Nothing | Self::NotMeasured { .. } => None,
        }
    }
}

impl Finished {
    /// Returns the exit status to pass through: the program's own, or 128 and the number of the signal that ended
    /// it.
    pub fn exit_code(&self) -> u8 {
        let signalled = || self.status.signal().map(|signal| SIGNALLED + signal);
        let code = self.status.code().or_else(signalled);
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }
}

impl Run {
    /// Returns a run of a program with its arguments: standard output inherited, rows may be reported, memory
    /// looked at every 100 ms, no limit of time, nothing added to the environment, procfs in `/proc`, no
    /// orphans adopted, and whoever started this process may end before.
    pub fn new<Word: Into<OsString>>(command: impl IntoIterator<Item = Word>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            stdout: Redirect::Inherit,
            rows: RowsChannel::Offered,
            interval: Interval::default(),
            limit: None,
            environment: Vec::new(),
            procfs: PathBuf::from("/proc"),
            adopts: false,
            ends_with_starter: false,
        }
    }

    /// Runs the program to its end. That it fails is no error: [`Finished::status`] has it.
    ///
    /// # Errors
    ///
    /// When there is nothing to run, the program cannot be started, or the run cannot be watched.
    pub fn carry_out(&self) -> Result<Finished, CommandError> {
        let channel = match self.rows {
            RowsChannel::Offered => Some(Channel::open().map_err(not_measured("no file for its rows"))?),
            RowsChannel::Closed => None,
        };
        // Asked before signals are heard: until then the end of that process, which is told by one, ends this one, too.
        let starter = if self.ends_with_starter { getppid() } else { None };
        let listener = Listener::begin(&self.procfs).map_err(not_measured("signals cannot be heard"))?;
        let before = Kept::now(&self.procfs);
        let (mut child, begun_ns) = self.start(channel.as_ref())?;
        let watched = self.watch(&child, listener, starter, begun_ns);
        if watched.is_err() {
            end(&mut child);
        }
        let watched = watched.map_err(not_measured("the program cannot be watched"))?;
        let status = child.wait().map_err(not_measured("the program cannot be waited for"))?;
        Ok(Finished {
            elapsed_ns: watched.elapsed_ns,
            status,
            peak: before.add_to(watched.peak, &Kept::now(&self.procfs)),
            rows_reported: channel.map_or(Ok(None), |channel| channel.rows()),
            passed_on: watched.passed_on,
            timed_out: watched.timed_out,
        })
    }

    /// Starts the program, and returns it with the time just before.
    fn start(&self, channel: Option<&Channel>) -> Result<(Child, u64), CommandError> {
        let (program, arguments) = self.command.split_first().ok_or(CommandError::Nothing)?;
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        command.env_remove(ROWS_FILE).env_remove(ROWS_FD);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if io::stdin().is_terminal() {
            command.stdin(Stdio::null());
        }
        if self.stdout == Redirect::ToStderr {
            command.stdout(io::stderr());
        }
        let _one_at_a_time = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
        let inherited = channel.map(Channel::inheritable).transpose();
        let inherited = inherited.map_err(not_measured("no descriptor for its rows"))?;
        if let (Some(channel), Some(file)) = (channel, &inherited) {
            command.env(ROWS_FILE, channel.path()).env(ROWS_FD, file.as_raw_fd().to_string());
        }
        let begun_ns = now_ns();
        let child = command.spawn().map_err(|source| refusal(program, source))?;
        Ok((child, begun_ns))
    }

    /// Watches a program to its end, which leaves it to be waited for.
    fn watch(
        &self,
        child: &Child,
        listener: Listener,
        starter: Option<Pid>,
        begun_ns: u64,
    ) -> io::Result<Watched> {
        let pid = Pid::from_child(child);
        let tree = Tree::new(&self.procfs, child.id()).adopting(self.adopts);
        let watch = Watch::start(tree, self.interval, Past::Counted)?;
        let may_be_ended = self.limit.is_some() || starter.is_some();
        let deadline = may_be_ended.then(|| Deadline::start(self.limit, starter, pid)).transpose()?;
        let passing = listener.pass_on_to(pid)?;
        let waited = wait_for_end(pid);
        let elapsed_ns = now_ns().saturating_sub(begun_ns);
        let timed_out = deadline.is_some_and(Deadline::end);
        let (passed_on, peak) = (passing.end(), watch.stop());
        waited?;
        Ok(Watched { elapsed_ns, peak, passed_on, timed_out })
    }
}

struct Watched {
    elapsed_ns: u64,
    peak: MemoryPeak,
    passed_on: Vec<i32>,
    timed_out: bool,
}

/// Waits until a child has ended but does not take its status: until then its number, and that of its group, belong
/// to no other process, and a signal reaches no stranger.
fn wait_for_end(pid: Pid) -> io::Result<()> {
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// Kills a program that cannot be watched, and reaps it.
fn end(child: &mut Child) {
    let _gone = kill_process_group(Pid::from_child(child), Signal::KILL);
    // Fails only for a process that is gone already, which is what is wanted.
    drop(child.wait());
}

fn not_measured(what: &'static str) -> impl FnOnce(io::Error) -> CommandError {
    move |source| CommandError::NotMeasured { what, source }
}

/// Says why a program did not start.
fn refusal(program: &OsStr, source: io::Error) -> CommandError {
    let has_slash = program.as_bytes().contains(&b'/');
    let name = program.to_string_lossy().into_owned();
    if source.kind() != io::ErrorKind::NotFound {
        return CommandError::NotStarted { program: name, source };
    }
    let reason = match (has_slash, Path::new(program).exists()) {
        (true, true) => "the file is there, but not the interpreter or the loader that it asks for",
        (true, false) => "there is no such file",
        (false, _) => "no folder of `PATH` has it, or its interpreter is missing",
    };
    CommandError::NotFound { program: name, reason }
}

/// What the kernel has kept of peaks up to a moment, in bytes.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// The highest peak of any single descendant that was waited for, ever.
    children: Option<u64>,
    /// This process's own peak.
    own: Option<u64>,
}

impl Kept {
    fn now(procfs: &Path) -> Self {
        let children = peak_kept_of(UsageWho::RUSAGE_CHILDREN);
        Self { children, own: peak_memory(procfs, std::process::id()) }
    }

    /// Adds to what was sampled what the kernel kept between two moments.
    fn add_to(self, sampled: MemoryPeak, after: &Self) -> MemoryPeak {
        MemoryPeak {
            kernel_bytes: sampled.kernel_bytes.max(self.risen(after)),
            at_most_bytes: after.children.filter(|bytes| *bytes > 0),
            ..sampled
        }
    }

    /// Returns the later peak of children where it is one of the run in between.
    ///
    /// A quarter above this process's own peak leaves room for the kernel's lazy sums; what is hidden by it is
    /// smaller than this process, and is left to the samples.
    fn risen(self, after: &Self) -> Option<u64> {
        let (before, own) = (self.children?, after.own?);
        after.children.filter(|children| *children > before && *children > own.saturating_add(own / 4))
    }
}

/// Returns `ru_maxrss`, which Linux gives in KiB, in bytes.
pub(crate) fn peak_kept_of(who: UsageWho) -> Option<u64> {
    u64::try_from(getrusage(who).ok()?.max_rss()).ok()?.checked_mul(1024)
}

/// Returns the CPU time of all processes that this one has waited for so far, their own waited-for descendants included, in
/// nanoseconds (`getrusage(2)`); none where the kernel does not say.
pub fn waited_for_cpu_ns() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let (user, system) = (usage.user_time(), usage.system_time());
    let seconds = u64::try_from(user.tv_sec() + system.tv_sec()).ok()?;
    let microseconds = u64::try_from(user.tv_usec() + system.tv_usec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(microseconds.checked_mul(1_000)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(children: u64, own: u64) -> Kept {
        Kept { children: Some(children), own: Some(own) }
    }

    #[test]
    fn the_peak_of_children_counts_where_it_rose_clear_of_our_own() {
        for (before, after, risen) in [
            (kept(0, 100), kept(126, 100), Some(126)),
            (kept(0, 100), kept(125, 100), None),
            (kept(0, 100), kept(126, 101), None),
            (kept(500, 100), kept(500, 100), None),
            (kept(500, 100), kept(501, 100), Some(501)),
            (Kept { own: None, ..kept(0, 0) }, Kept { own: None, ..kept(500, 0) }, None),
            (Kept { children: None, ..kept(0, 1) }, kept(500, 1), None),
        ] {
            assert_eq!(before.risen(&after), risen, "{before:?} {after:?}");
        }
        let sampled =
            MemoryPeak { sampled_bytes: Some(7), kernel_bytes: Some(3), at_most_bytes: None, samples: 1 };
        let whole = kept(0, 1).add_to(sampled, &kept(9, 1));
        assert_eq!(
            (whole.sampled_bytes, whole.kernel_bytes, whole.at_most_bytes),
            (Some(7), Some(9), Some(9))
        );
        assert_eq!(whole.samples, 1);
    }

    #[test]
    fn the_kernel_tells_what_it_kept() {
        let kept = Kept::now(Path::new("/proc"));
        assert!(kept.children.is_some() && kept.own > Some(100_000), "{kept:?}");
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        let finished = |raw| Finished {
            elapsed_ns: 1,
            status: ExitStatus::from_raw(raw),
            peak: MemoryPeak::default(),
            rows_reported: Ok(None),
            passed_on: Vec::new(),
            timed_out: false,
        };
        for (raw, code) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143), (0x80 | 6, 134)] {
            assert_eq!(finished(raw).exit_code(), code, "{raw:#x}");
        }
    }
}
