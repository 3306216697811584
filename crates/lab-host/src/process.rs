//! One process as the kernel sees it: its memory, its threads, where it may run, what it has taken.
//!
//! The figures of memory come from `/proc/<pid>/status`. The kernel counts pages per CPU and sums them lazily, so a figure
//! may be off by a few hundred kB a CPU (Documentation/filesystems/proc.rst calls them approximate).

mod counters;

use std::fs;
use std::io;

pub use counters::counters;
pub(crate) use counters::{ThreadTimes, thread_times};

use crate::cpu::CpuList;
use crate::roots::excerpt;
use crate::text::{field, kibibytes};
use crate::{Roots, Unavailable};

/// What `clear_refs` takes to mean "forget the peak" (proc(5), since Linux 4.0).
const RESET_PEAK: &str = "5";

/// `ESRCH`: what procfs answers where the process ended after its file was opened.
const NO_SUCH_PROCESS: i32 = 3;

/// Why a process did not give its answer.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The process has ended, or never was.
    #[error("process {pid} does not exist")]
    Vanished {
        /// The process.
        pid: u32,
    },
    /// The process exists but has no such figure: it has ended and waits for its parent, is a thread of the
    /// kernel, or the kernel is built without the file.
    #[error(
        "process {pid} has no `{what}` (it has ended, belongs to the kernel, or the kernel does not offer it)"
    )]
    NotOffered {
        /// The process.
        pid: u32,
        /// The file, or the field of its status.
        what: &'static str,
    },
    /// The figure is there but makes no sense.
    #[error("process {pid} has `{what}` as `{value}`, which is not understood")]
    NotUnderstood {
        /// The process.
        pid: u32,
        /// The file, or the field of its status.
        what: &'static str,
        /// The start of its value.
        value: String,
    },
    /// The kernel refuses access.
    #[error("`{what}` of process {pid} is not accessible")]
    Refused {
        /// The process.
        pid: u32,
        /// The file.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl From<ProcessError> for Unavailable {
    fn from(error: ProcessError) -> Self {
        match &error {
            ProcessError::Refused { source, .. } => Self::new(format!("{error}: {source}")),
            _ => Self::new(error.to_string()),
        }
    }
}

/// Makes the kernel forget the peak of a process's resident memory; [`peak_memory`] then starts again from what is
/// resident now.
///
/// # Errors
///
/// When the process has ended, belongs to another user, or the kernel lacks `clear_refs`.
pub fn reset_peak_memory(roots: &Roots, pid: u32) -> Result<(), ProcessError> {
    const FILE: &str = "clear_refs";
    let directory = roots.proc.join(pid.to_string());
    // Without `create`: in a tree that lacks the file, writing must fail, not make one.
    let opened = fs::OpenOptions::new().write(true).open(directory.join(FILE));
    opened
        .and_then(|mut file| io::Write::write_all(&mut file, RESET_PEAK.as_bytes()))
        .map_err(|source| failure(roots, pid, FILE, source))
}

/// Returns the largest resident memory of a process since it started or since [`reset_peak_memory`], in bytes
/// (`VmHWM`).
///
/// # Errors
///
/// When the process has ended, or has no memory of its own.
pub fn peak_memory(roots: &Roots, pid: u32) -> Result<u64, ProcessError> {
    status_field(roots, pid, "VmHWM", kibibytes)
}

/// Returns the resident memory of a process in bytes (`VmRSS`).
///
/// # Errors
///
/// As [`peak_memory`].
pub fn resident_memory(roots: &Roots, pid: u32) -> Result<u64, ProcessError> {
    status_field(roots, pid, "VmRSS", kibibytes)
}

/// Returns the CPUs on which a process's main thread may run. May name CPUs that are not online.
///
/// # Errors
///
/// When the process has ended.
pub fn affinity(roots: &Roots, pid: u32) -> Result<CpuList, ProcessError> {
    status_field(roots, pid, "Cpus_allowed_list", |list| list.parse().ok())
}

fn status_field<T>(
    roots: &Roots,
    pid: u32,
    what: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, ProcessError> {
    let path = roots.proc.join(pid.to_string()).join("status");
    let bytes = fs::read(path).map_err(|source| failure(roots, pid, "status", source))?;
    let status = String::from_utf8_lossy(&bytes);
    let value = field(&status, what).ok_or(ProcessError::NotOffered { pid, what })?;
    parse(value).ok_or_else(|| ProcessError::NotUnderstood { pid, what, value: excerpt(value) })
}

fn failure(roots: &Roots, pid: u32, what: &'static str, source: io::Error) -> ProcessError {
    let vanished =
        source.raw_os_error() == Some(NO_SUCH_PROCESS) || !roots.proc.join(pid.to_string()).is_dir();
    match source.kind() {
        _ if vanished => ProcessError::Vanished { pid },
        io::ErrorKind::NotFound => ProcessError::NotOffered { pid, what },
        _ => ProcessError::Refused { pid, what, source },
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A child that waits until its standard input is closed.
    fn waiting_child() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_child_shows_its_threads_its_memory_and_the_mask_it_inherited() {
        let roots = Roots::default();
        let mut child = waiting_child();
        let pid = child.id();
        let own = affinity(&roots, std::process::id()).unwrap();
        assert_eq!(affinity(&roots, pid).unwrap(), own);
        assert!(!own.is_empty());
        assert_eq!(counters(&roots, pid).unwrap().threads, 1);
        let peak = peak_memory(&roots, pid).unwrap();
        let resident = resident_memory(&roots, pid).unwrap();
        assert!(resident > 0 && peak > 0, "{resident} {peak}");
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_has_ended_is_an_error_and_no_zero() {
        let roots = Roots::default();
        let mut child = waiting_child();
        let pid = child.id();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(
            peak_memory(&roots, pid).unwrap_err().to_string(),
            format!("process {pid} does not exist")
        );
        assert!(matches!(reset_peak_memory(&roots, pid), Err(ProcessError::Vanished { .. })));
        assert!(matches!(counters(&roots, pid), Err(ProcessError::Vanished { .. })));
    }

    #[test]
    fn a_status_without_the_field_or_without_sense_says_which() {
        let directory = tempfile::tempdir().unwrap();
        let roots = Roots::new(directory.path(), directory.path());
        fs::create_dir(directory.path().join("7")).unwrap();
        assert!(matches!(peak_memory(&roots, 7), Err(ProcessError::NotOffered { what: "status", .. })));
        let status = "Name:\tz\nState:\tZ (zombie)\nCpus_allowed_list:\t\u{1}\n";
        fs::write(directory.path().join("7/status"), status).unwrap();
        assert!(matches!(peak_memory(&roots, 7), Err(ProcessError::NotOffered { what: "VmHWM", .. })));
        assert!(matches!(
            reset_peak_memory(&roots, 7),
            Err(ProcessError::NotOffered { what: "clear_refs", .. })
        ));
        let reason = Unavailable::from(affinity(&roots, 7).unwrap_err());
        assert_eq!(reason.reason, "process 7 has `Cpus_allowed_list` as `\\u{1}`, which is not understood");
    }
}
