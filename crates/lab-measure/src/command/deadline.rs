//! Ends a program that takes longer than it may.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// What is asked to end politely is given so long: enough to close files and to write a last line.
pub const GRACE: Duration = Duration::from_secs(5);

/// A thread that waits for the end of a program, or for that of its time. Dropping it ends the thread, too.
#[derive(Debug)]
pub(super) struct Deadline {
    over: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Deadline {
    /// Gives a process group so long from now. Its leader must not be waited for before [`Self::end`]: until then its
    /// number belongs to no other group.
    pub(super) fn start(limit: Duration, group: Pid) -> io::Result<Self> {
        let (over, is_over) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("lab-deadline".to_owned())
            .spawn(move || enforce(limit, group, &is_over))?;
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

fn enforce(limit: Duration, group: Pid, is_over: &Receiver<()>) -> bool {
    let lasts = |time| is_over.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
    if !lasts(limit) {
        return false;
    }
    // Fails only where the program became another user's, or is gone.
    let _gone = kill_process_group(group, Signal::TERM);
    // A program that is stopped hears nothing until it goes on.
    let _gone = kill_process_group(group, Signal::CONT);
    let _is_over = !lasts(GRACE);
    // Whoever of the group did not end with its leader would run beside what comes next.
    let _gone = kill_process_group(group, Signal::KILL);
    true
}
