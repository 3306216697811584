//! What the kernel has counted about a process: CPU time, waiting, switches, faults.

use std::array;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use lab_core::metric::Reading;
use lab_core::observation::ProcessCounters;

use super::{NO_SUCH_PROCESS, ProcessError, failure};
use crate::Roots;
use crate::reading::recorded;
use crate::roots::excerpt;
use crate::text::field;

/// Returns what the kernel has counted about a process since it started.
///
/// CPU time in jiffies and page faults include threads that have ended. Times in nanoseconds and switches are sums
/// over the threads that are alive, since the kernel offers them for single threads only.
///
/// # Errors
///
/// When the process has ended, or its `stat` makes no sense.
pub fn counters(roots: &Roots, pid: u32) -> Result<ProcessCounters, ProcessError> {
    let stat = Stat::read(roots, pid)?;
    let threads = Threads::of(roots, pid)?;
    let ThreadTimes { on_cpu_ns, run_delay_ns } = ThreadTimes::of(&threads);
    let switches = recorded(threads.sum("status", switches));
    Ok(ProcessCounters {
        user_jiffies: stat.user_jiffies,
        system_jiffies: stat.system_jiffies,
        on_cpu_ns,
        run_delay_ns,
        voluntary_switches: switches.clone().map(|[voluntary, _]| voluntary),
        involuntary_switches: switches.map(|[_, involuntary]| involuntary),
        minor_faults: stat.minor_faults,
        major_faults: stat.major_faults,
        threads: stat.threads,
        nice: stat.nice,
    })
}

/// How long the threads of a process that are alive have run and waited, together.
#[derive(Debug)]
pub(crate) struct ThreadTimes {
    /// Time on a CPU, in nanoseconds.
    pub(crate) on_cpu_ns: Reading<u64>,
    /// Time ready to run but waiting for a CPU, in nanoseconds.
    pub(crate) run_delay_ns: Reading<u64>,
}

impl ThreadTimes {
    fn of(threads: &Threads<'_>) -> Self {
        let times = recorded(threads.times());
        Self {
            on_cpu_ns: times.clone().map(|[on_cpu, _]| on_cpu),
            run_delay_ns: times.map(|[_, run_delay]| run_delay),
        }
    }
}

/// Returns how long the threads of a process have run and waited: one small file a thread, and the list of threads.
///
/// # Errors
///
/// When the process has ended.
pub(crate) fn thread_times(roots: &Roots, pid: u32) -> Result<ThreadTimes, ProcessError> {
    Ok(ThreadTimes::of(&Threads::of(roots, pid)?))
}

/// The columns of `/proc/<pid>/stat` that matter here.
struct Stat {
    minor_faults: u64,
    major_faults: u64,
    user_jiffies: u64,
    system_jiffies: u64,
    nice: i64,
    threads: u64,
}

impl Stat {
    fn read(roots: &Roots, pid: u32) -> Result<Self, ProcessError> {
        const FILE: &str = "stat";
        let bytes = fs::read(roots.proc.join(pid.to_string()).join(FILE));
        let bytes = bytes.map_err(|source| failure(roots, pid, FILE, source))?;
        let text = String::from_utf8_lossy(&bytes);
        let unfit = || ProcessError::NotUnderstood { pid, what: FILE, value: excerpt(&text) };
        Self::parse(&text).ok_or_else(unfit)
    }

    /// The second column is the program's name in parentheses, and may itself hold parentheses and spaces: what counts
    /// is the last one. Behind it follow the columns from the third on (proc(5), counted from 1).
    fn parse(text: &str) -> Option<Self> {
        let columns: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let column = |number: usize| columns.get(number - 3);
        let count = |number| column(number)?.parse().ok();
        Some(Self {
            minor_faults: count(10)?,
            major_faults: count(12)?,
            user_jiffies: count(14)?,
            system_jiffies: count(15)?,
            nice: column(19)?.parse().ok()?,
            threads: count(20)?,
        })
    }
}

/// The threads of a process that were alive a moment ago.
struct Threads<'a> {
    roots: &'a Roots,
    pid: u32,
    directories: Vec<PathBuf>,
}

impl<'a> Threads<'a> {
    fn of(roots: &'a Roots, pid: u32) -> Result<Self, ProcessError> {
        const DIRECTORY: &str = "task";
        let listed = || -> io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(roots.proc.join(pid.to_string()).join(DIRECTORY))?;
            entries.map(|entry| Ok(entry?.path())).collect()
        };
        let directories = listed().map_err(|source| failure(roots, pid, DIRECTORY, source))?;
        Ok(Self { roots, pid, directories })
    }

    /// Returns the nanoseconds that the threads were on a CPU, and those that they waited for one.
    fn times(&self) -> Result<[u64; 2], ProcessError> {
        const FILE: &str = "schedstat";
        let [on_cpu, run_delay, slices] = self.sum(FILE, times)?;
        // A kernel that can keep these counts but is set not to writes zeros (Linux `proc_pid_schedstat`); a process
        // that runs has had a slice of time, if not yet a counted nanosecond.
        if slices == 0 {
            return Err(ProcessError::NotOffered { pid: self.pid, what: FILE });
        }
        Ok([on_cpu, run_delay])
    }

    /// Adds up the counts in a file of each thread. A thread that has ended since it was listed counts no more.
    fn sum<const N: usize>(
        &self,
        file: &'static str,
        parse: fn(&str) -> Option<[u64; N]>,
    ) -> Result<[u64; N], ProcessError> {
        let mut sums = None;
        let mut bytes = Vec::with_capacity(ROOM);
        for thread in &self.directories {
            // The name of a thread stands in it, and need not be UTF-8.
            let text = match read_into(&thread.join(file), &mut bytes) {
                Ok(()) => String::from_utf8_lossy(&bytes),
                Err(error) if has_ended(thread, &error) => continue,
                Err(source) => return Err(failure(self.roots, self.pid, file, source)),
            };
            let unfit = || ProcessError::NotUnderstood { pid: self.pid, what: file, value: excerpt(&text) };
            let counts = parse(&text).ok_or_else(unfit)?;
            let so_far = sums.unwrap_or([0_u64; N]);
            sums = Some(array::from_fn(|at| so_far[at].saturating_add(counts[at])));
        }
        sums.ok_or(ProcessError::Vanished { pid: self.pid })
    }
}

/// More than a file of a thread holds, in bytes: it is then read in one piece.
const ROOM: usize = 4096;

/// Reads a file anew. Without asking for its size first, as `fs::read` does: the kernel tells none of these.
fn read_into(path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    File::open(path)?.take(u64::MAX).read_to_end(bytes)?;
    Ok(())
}

fn has_ended(thread: &Path, error: &io::Error) -> bool {
    error.raw_os_error() == Some(NO_SUCH_PROCESS) || !thread.is_dir()
}

/// `on-CPU-ns run-delay-ns timeslices` (Documentation/scheduler/sched-stats.rst).
fn times(schedstat: &str) -> Option<[u64; 3]> {
    let mut words = schedstat.split_ascii_whitespace().map_while(|word| word.parse().ok());
    Some([words.next()?, words.next()?, words.next()?])
}

fn switches(status: &str) -> Option<[u64; 2]> {
    let count = |name| field(status, name)?.parse().ok();
    Some([count("voluntary_ctxt_switches")?, count("nonvoluntary_ctxt_switches")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a ) b (c)) S 1 7 7 0 -1 4194304 100 5 3 9 40 20 1 2 39 -19 2 0 123 456 789\n";

    /// A process with the given files of threads.
    fn process(files: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in [("stat", STAT)].iter().chain(files) {
            let file = directory.path().join("7").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let roots = Roots::new(directory.path(), directory.path());
        (directory, roots)
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_column() {
        let stat = Stat::parse(STAT).unwrap();
        assert_eq!((stat.minor_faults, stat.major_faults), (100, 3));
        assert_eq!((stat.user_jiffies, stat.system_jiffies), (40, 20));
        assert_eq!((stat.nice, stat.threads), (-19, 2));
        for garbled in ["", "7 (a", "7 (a) S 1 2", &STAT.replace("-19", "low")] {
            assert!(Stat::parse(garbled).is_none(), "{garbled}");
        }
    }

    #[test]
    fn threads_add_up_and_one_that_has_ended_is_left_out() {
        let (directory, roots) = process(&[
            ("task/7/schedstat", "1000 20 3\n"),
            ("task/8/schedstat", "500 1 1\n"),
            ("task/7/status", "Name:\ta\nvoluntary_ctxt_switches:\t4\nnonvoluntary_ctxt_switches:\t6\n"),
            ("task/8/status", "voluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t2\n"),
        ]);
        let counted = counters(&roots, 7).unwrap();
        assert_eq!((counted.on_cpu_ns, counted.run_delay_ns), (Reading::Value(1500), Reading::Value(21)));
        let switches = (counted.voluntary_switches, counted.involuntary_switches);
        assert_eq!(switches, (Reading::Value(5), Reading::Value(8)));

        let listed = Threads::of(&roots, 7).unwrap();
        fs::remove_dir_all(directory.path().join("7/task/8")).unwrap();
        assert_eq!(listed.times().unwrap(), [1000, 20]);
        fs::remove_dir_all(directory.path().join("7/task/7")).unwrap();
        assert!(matches!(listed.times(), Err(ProcessError::Vanished { pid: 7 })));
    }

    #[test]
    fn counts_that_a_kernel_does_not_keep_are_unavailable_and_leave_the_others() {
        let status = "voluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t2\n";
        for (files, reason) in [
            (
                &[("task/7/status", status), ("task/7/schedstat", "0 0 0\n")][..],
                "process 7 has no `schedstat` (",
            ),
            (&[("task/7/status", status)], "process 7 has no `schedstat` ("),
            (
                &[("task/7/status", status), ("task/7/schedstat", "many\n")],
                "process 7 has `schedstat` as `many\\n`",
            ),
        ] {
            let (_directory, roots) = process(files);
            let counted = counters(&roots, 7).unwrap();
            assert!(counted.on_cpu_ns.reason().unwrap().starts_with(reason), "{counted:?}");
            assert_eq!(counted.on_cpu_ns, counted.run_delay_ns);
            assert_eq!(counted.involuntary_switches, Reading::Value(2));
        }
    }

    #[test]
    fn this_process_has_counted_something() {
        let counted = counters(&Roots::default(), std::process::id()).unwrap();
        assert!(counted.threads >= 1 && counted.minor_faults > 0 && (-20..=19).contains(&counted.nice));
        assert!(
            counted.voluntary_switches.value().is_some() && counted.involuntary_switches.value().is_some()
        );
        assert_eq!(counted.on_cpu_ns.value().is_some(), counted.run_delay_ns.value().is_some());
    }

    #[test]
    fn a_process_that_never_was_is_an_error() {
        let error = counters(&Roots::default(), u32::MAX).unwrap_err();
        assert_eq!(error.to_string(), "process 4294967295 does not exist");
    }
}
