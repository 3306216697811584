//! What a program leaves running when it has ended: who it is, and how it is ended.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{Timespec, poll};
use rustix::process::{Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

use crate::clock::now_ns;
use crate::tree::{Identity, Tree, number};

/// A process that was killed is gone within so long, unless the kernel holds it: it waits for a disk.
const DEATH: Duration = Duration::from_secs(5);
/// What ends by itself within so long is let be: the other end of a pipe outlives its program by that.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// Between two looks at what is to end.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// The descendants that this process gets from a moment on.
#[derive(Debug)]
pub struct Descendants(Tree);

/// Some processes cannot be ended: they belong to another user, or the kernel holds them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these processes cannot be ended, since they belong to another user or wait for a disk: {}", listed(.processes))]
pub struct NotEnded {
    /// Those that are left.
    pub processes: Vec<Identity>,
}

impl Descendants {
    /// Returns those from now on. Children that this process has already are none of them: a shell may have left it some
    /// (`server & exec lab …`). Nor is what those start, unless it was started and left behind between two looks.
    ///
    /// From now on a process whose parent ends becomes a child of this one (`PR_SET_CHILD_SUBREAPER`, prctl(2)), so that nothing
    /// gets away by leaving its parent, its process group or its session. `procfs` is where procfs is mounted.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn from_now_on(procfs: impl Into<PathBuf>) -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        let mut tree = Tree::new(procfs, std::process::id());
        tree.spare_descendants();
        Ok(Self(tree))
    }

    /// Returns those that are alive, in the order of their numbers.
    ///
    /// To be asked when this process has waited for every child that it started itself: those that have ended are waited for
    /// here.
    pub fn living(&mut self) -> Vec<Identity> {
        self.look().0
    }

    /// Returns those that are alive, and whether some were there that had ended.
    fn look(&mut self) -> (Vec<Identity>, bool) {
        let (ended, living): (Vec<Identity>, Vec<Identity>) =
            self.0.descendants().into_iter().partition(|process| self.0.has_ended(*process));
        for pid in ended.iter().copied().filter_map(number) {
            // Fails for one whose parent is another process of them, which is to wait for it.
            let _status = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        (living, !ended.is_empty())
    }

    /// Ends them, and returns how many there were: gives them a moment to end by themselves, asks them (`SIGTERM`), and kills what
    /// has not ended within a time of grace. To be called when [`Self::living`] may be asked.
    ///
    /// # Errors
    ///
    /// When some are left all the same.
    pub fn end(&mut self, grace: Duration) -> Result<usize, NotEnded> {
        let left = self.left_after(LAST_WORDS, None);
        self.send(&left, Signal::TERM);
        // A process that is stopped hears nothing until it goes on.
        self.send(&left, Signal::CONT);
        if self.left_after(grace, None).is_empty() {
            return Ok(left.len());
        }
        // Again and again: what is being killed may be starting others.
        match self.left_after(DEATH, Some(Signal::KILL)) {
            none if none.is_empty() => Ok(left.len()),
            processes => Err(NotEnded { processes }),
        }
    }

    /// Waits until none is left or the time is up, sending a signal at every look. Returns those that are left.
    fn left_after(&mut self, patience: Duration, signal: Option<Signal>) -> Vec<Identity> {
        let patience_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        let until_ns = now_ns().saturating_add(patience_ns);
        loop {
            let (left, has_seen_ends) = self.look();
            // What had ended may have left a child behind in the middle of the look.
            let is_over = left.is_empty() && !has_seen_ends;
            if is_over || now_ns() >= until_ns {
                return left;
            }
            if let Some(signal) = signal {
                self.send(&left, signal);
            }
            // A signal that interrupts it brings the next look forward.
            let _waited = poll(&mut [], Some(&LOOK_EVERY));
        }
    }

    fn send(&self, processes: &[Identity], signal: Signal) {
        for process in processes.iter().filter(|process| self.0.is_alive(**process)) {
            // Fails where it is gone by now, or is another user's.
            let _gone = number(*process).map(|pid| kill_process(pid, signal));
        }
    }
}

fn listed(processes: &[Identity]) -> String {
    let numbers: Vec<String> = processes.iter().map(|process| process.pid.to_string()).collect();
    numbers.join(", ")
}
