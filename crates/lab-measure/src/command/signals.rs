//! Passes signals that ask a program to end on to the program that is measured.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

/// What is passed on. Everything else does to this process what it always does.
const PASSED_ON: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// Hears signals from before the program is started, so that none is lost in between.
pub(super) struct Listener(Signals);

/// A thread that passes on what is heard.
pub(super) struct Passing {
    handle: Handle,
    thread: JoinHandle<Vec<i32>>,
}

/// Lets the signals that were passed on to commands end this process again, as if nothing had ever heard them: for the time
/// after the last command. Those that were ignored from the start stay so.
///
/// # Errors
///
/// When the kernel takes no handler.
pub fn end_on_signals(procfs: impl AsRef<Path>) -> io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    for signal in heard(procfs.as_ref()) {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&always))?;
    }
    Ok(())
}

/// Returns what is passed on and not ignored by this process.
fn heard(procfs: &Path) -> impl Iterator<Item = i32> {
    let status = fs::read_to_string(procfs.join("self/status")).unwrap_or_default();
    let ignored = ignored(&status);
    PASSED_ON.into_iter().filter(move |signal| !contains(ignored, *signal))
}

impl Listener {
    pub(super) fn begin(procfs: &Path) -> io::Result<Self> {
        Signals::new(heard(procfs)).map(Self)
    }

    /// Passes on what is heard, and what was heard since the beginning, to a process group.
    pub(super) fn pass_on_to(self, group: Pid) -> io::Result<Passing> {
        let Self(signals) = self;
        let handle = signals.handle();
        let thread =
            thread::Builder::new().name("lab-signals".to_owned()).spawn(move || pass_on(signals, group))?;
        Ok(Passing { handle, thread })
    }
}

impl Passing {
    /// Ends the thread, and returns what it passed on.
    pub(super) fn end(self) -> Vec<i32> {
        self.handle.close();
        match self.thread.join() {
            Ok(passed_on) => passed_on,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn pass_on(mut signals: Signals, group: Pid) -> Vec<i32> {
    let mut passed_on = Vec::new();
    for number in signals.forever() {
        let signal = Signal::from_named_raw(number).expect("the four that are heard have names");
        // The group is there as long as its leader was not waited for. It may be another user's by now (sudo).
        if kill_process_group(group, signal).is_ok() {
            passed_on.push(number);
        }
        // A program that is stopped, because it asked something of the terminal, hears nothing until it goes on.
        let _gone = kill_process_group(group, Signal::CONT);
    }
    passed_on
}

/// Returns the mask of ignored signals, bit 0 for signal 1 (proc(5), `SigIgn`).
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn contains(mask: u64, signal: i32) -> bool {
    (mask >> (signal - 1)) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_are_ignored_are_left_alone() {
        // As under nohup, in a program of Rust: SIGHUP and SIGPIPE.
        let mask = ignored("Name:\tlab\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\nSigCgt:\t0\n");
        let left: Vec<i32> = PASSED_ON.into_iter().filter(|signal| !contains(mask, *signal)).collect();
        assert_eq!(left, [SIGINT, SIGTERM, SIGQUIT]);
        for strange in ["", "SigIgn:\tmany\n"] {
            assert_eq!(ignored(strange), 0, "{strange}");
        }
    }
}
