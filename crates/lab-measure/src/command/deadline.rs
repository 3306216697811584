//! Ends a program that takes longer than it may, or whose measurement nobody waits for any more.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, kill_process_group};

use crate::clock::now_ns;

/// What is asked to end politely is given so long: enough to close files and to write a last line.
pub const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at whether the process that started this one is there still.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A thread that waits for the end of a program, or for that of its time. Dropping it ends the thread, too.
#[derive(Debug)]
pub(super) struct Deadline {
    over: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Deadline {
    /// Gives a process group so long from now, and no longer than the parent of this process stays the same, where one is
    /// named. Its leader must not be waited for before [`Self::end`]: until then its number belongs to no other group.
    pub(super) fn start(limit: Option<Duration>, starter: Option<Pid>, group: Pid) -> io::Result<Self> {
        let (over, is_over) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("lab-deadline".to_owned())
            .spawn(move || enforce(limit, starter, group, &is_over))?;
        Ok(Self { over, thread })
    }

    /// Ends the thread, and returns whether the time was up.
    pub(super) fn end(self) -> bool {
        drop(self.over);
        match self.thread.join() {
            Ok(timed_out) => timed_out,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Why a program is made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    TimeUp,
    StarterGone,
}

fn enforce(limit: Option<Duration>, starter: Option<Pid>, group: Pid, is_over: &Receiver<()>) -> bool {
    let Some(cause) = cause_to_end(limit, starter, is_over) else { return false };
    // Fails only where the program became another user's, or is gone.
    let _gone = kill_process_group(group, Signal::TERM);
    // A program that is stopped hears nothing until it goes on.
    let _gone = kill_process_group(group, Signal::CONT);
    let _is_over = !lasts(GRACE, is_over);
    // Whoever of the group did not end with its leader would run beside what comes next.
    let _gone = kill_process_group(group, Signal::KILL);
    cause == Cause::TimeUp
}

/// Waits for a cause to end the program; returns none where it ended by itself.
fn cause_to_end(limit: Option<Duration>, starter: Option<Pid>, is_over: &Receiver<()>) -> Option<Cause> {
    let begun_ns = now_ns();
    let longest = if starter.is_some() { LOOK_EVERY } else { Duration::MAX };
    loop {
        let spent = Duration::from_nanos(now_ns().saturating_sub(begun_ns));
        let left = limit.map_or(Duration::MAX, |limit| limit.saturating_sub(spent));
        if left.is_zero() {
            return Some(Cause::TimeUp);
        }
        if starter.is_some() && getppid() != starter {
            return Some(Cause::StarterGone);
        }
        if !lasts(left.min(longest), is_over) {
            return None;
        }
    }
}

/// Returns whether the program has not ended after so long.
fn lasts(time: Duration, is_over: &Receiver<()>) -> bool {
    is_over.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}
