//! A thread that looks at the memory of a process tree, and keeps the highest of what it saw.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::now_ns;
use crate::interval::Interval;
use crate::tree::{Identity, Resident, Tree};

/// The highest memory of a run, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryPeak {
    /// The highest sum over all processes of the tree that a sample saw, in bytes; none where fewer than two samples saw any.
    pub sampled_bytes: Option<u64>,
    /// The highest peak that the kernel itself kept of any single process, in bytes. It misses no moment, but does
    /// not add processes up.
    pub kernel_bytes: Option<u64>,
    /// What no single process of the run can have exceeded, in bytes: a bound for runs that ended before they were
    /// seen once. It may be the memory of whoever measured.
    pub at_most_bytes: Option<u64>,
    /// How many samples saw a process.
    pub samples: u32,
}

impl MemoryPeak {
    /// Returns the greater of what was sampled and what the kernel kept; the bound where neither is known.
    pub fn bytes(&self) -> Option<u64> {
        self.sampled_bytes.max(self.kernel_bytes).or(self.at_most_bytes)
    }
}

/// What becomes of peaks that processes had before the watch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// They count: the processes belong to the run from their beginning.
    Counted,
    /// The kernel's peak of a process that the first sample saw counts only if it has risen since.
    LeftOut,
}

/// A thread that samples until it is stopped. Dropping the watch ends the thread, too.
#[derive(Debug)]
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Highest>,
}

impl Watch {
    /// Takes the first sample, then goes on in a thread on a fixed schedule. A sample that takes longer than the
    /// interval costs the ones that it covers, and moves none.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(mut tree: Tree, interval: Interval, past: Past) -> io::Result<Self> {
        let schedule = Schedule { begun_ns: now_ns(), interval_ns: interval.nanoseconds() };
        let mut highest = Highest::new(past);
        highest.take(&tree.look());
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("lab-measure".to_owned())
            .spawn(move || sample(tree, highest, schedule, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Takes a last sample, ends the thread and returns what it found.
    pub fn stop(self) -> MemoryPeak {
        drop(self.stop);
        match self.thread.join() {
            Ok(highest) => highest.peak(),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn sample(mut tree: Tree, mut highest: Highest, schedule: Schedule, stopped: &Receiver<()>) -> Highest {
    loop {
        let waited = stopped.recv_timeout(schedule.until_next(now_ns()));
        highest.take(&tree.look());
        tree.wait_for_adopted();
        if waited != Err(RecvTimeoutError::Timeout) {
            return highest;
        }
    }
}

/// The second look is due after a millisecond.
const FIRST_NS: u64 = 1_000_000;

/// A single look may fall on a process that has only just begun: what it saw says nothing of the run.
const LEAST_SAMPLES: u32 = 2;

/// When samples are due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    begun_ns: u64,
    interval_ns: u64,
}

impl Schedule {
    /// Returns the time from now to the next look: a multiple of the interval, or before the first of these a power of two
    /// of milliseconds, so that short runs are seen too.
    fn until_next(self, now_ns: u64) -> Duration {
        let since_ns = now_ns.saturating_sub(self.begun_ns);
        let multiple_ns = since_ns - since_ns % self.interval_ns + self.interval_ns;
        let early_ns = FIRST_NS.saturating_mul((since_ns / FIRST_NS + 1).next_power_of_two());
        let next_ns = if early_ns < self.interval_ns { early_ns } else { multiple_ns };
        Duration::from_nanos(next_ns - since_ns)
    }
}

/// The highest figures so far.
#[derive(Debug)]
struct Highest {
    past: Past,
    /// Peaks from before the watch.
    floors: BTreeMap<Identity, u64>,
    sum: Option<u64>,
    kernel: Option<u64>,
    samples: u32,
}

impl Highest {
    fn new(past: Past) -> Self {
        Self { past, floors: BTreeMap::new(), sum: None, kernel: None, samples: 0 }
    }

    fn take(&mut self, processes: &[Resident]) {
        if processes.is_empty() {
            return;
        }
        if self.samples == 0 && self.past == Past::LeftOut {
            self.floors = peaks(processes).collect();
        }
        self.samples = self.samples.saturating_add(1);
        let sum = processes.iter().fold(0_u64, |sum, own| sum.saturating_add(own.resident_bytes));
        self.sum = self.sum.max(Some(sum));
        let floor = |process: Identity| self.floors.get(&process).copied().unwrap_or(0);
        let risen = peaks(processes).filter(|(process, peak)| *peak > floor(*process));
        let highest = risen.map(|(_, peak)| peak).max();
        self.kernel = self.kernel.max(highest);
    }

    fn peak(&self) -> MemoryPeak {
        let is_known = self.samples >= LEAST_SAMPLES;
        MemoryPeak {
            sampled_bytes: self.sum.filter(|_| is_known),
            kernel_bytes: self.kernel.filter(|_| is_known),
            at_most_bytes: None,
            samples: self.samples,
        }
    }
}

fn peaks(processes: &[Resident]) -> impl Iterator<Item = (Identity, u64)> {
    processes.iter().filter_map(|own| Some((own.process, own.peak_bytes?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident(pid: u32, resident_bytes: u64, peak_bytes: Option<u64>) -> Resident {
        let process = Identity { pid, started: 1 };
        Resident { process, resident_bytes, peak_bytes }
    }

    fn after(past: Past, samples: &[&[Resident]]) -> MemoryPeak {
        let mut highest = Highest::new(past);
        for sample in samples {
            highest.take(sample);
        }
        highest.peak()
    }

    #[test]
    fn the_highest_sum_and_the_highest_single_peak_are_kept() {
        let samples: [&[Resident]; 4] = [
            &[resident(1, 10, Some(15))],
            &[resident(1, 10, Some(15)), resident(2, 30, Some(35)), resident(3, 1, None)],
            &[],
            &[resident(1, 12, Some(15)), resident(2, 5, Some(35))],
        ];
        let peak = after(Past::Counted, &samples);
        let expected =
            MemoryPeak { sampled_bytes: Some(41), kernel_bytes: Some(35), at_most_bytes: None, samples: 3 };
        assert_eq!(peak, expected);
        assert_eq!(peak.bytes(), Some(41));
    }

    #[test]
    fn peaks_from_before_count_only_where_they_rose() {
        let before: &[Resident] = &[resident(1, 10, Some(90)), resident(2, 10, Some(80))];
        let same = after(Past::LeftOut, &[before, before]);
        assert_eq!((same.kernel_bytes, same.bytes()), (None, Some(20)));
        let risen = after(Past::LeftOut, &[before, &[resident(1, 10, Some(90)), resident(2, 10, Some(81))]]);
        assert_eq!((risen.kernel_bytes, risen.bytes()), (Some(81), Some(81)));
        let newcomer =
            after(Past::LeftOut, &[before, &[resident(1, 10, Some(90)), resident(3, 1, Some(25))]]);
        assert_eq!(newcomer.kernel_bytes, Some(25));
        assert_eq!(after(Past::Counted, &[before, &[]]).kernel_bytes, None, "one look tells nothing");
        assert_eq!(after(Past::Counted, &[before, before]).kernel_bytes, Some(90));
    }

    #[test]
    fn the_bound_serves_only_where_nothing_else_is_known() {
        let peak = |sampled_bytes, kernel_bytes| {
            MemoryPeak { sampled_bytes, kernel_bytes, at_most_bytes: Some(99), samples: 0 }.bytes()
        };
        assert_eq!(peak(None, None), Some(99));
        assert_eq!(peak(Some(3), None), Some(3));
        assert_eq!(peak(Some(3), Some(4)), Some(4));
        assert_eq!(MemoryPeak::default().bytes(), None);
        assert_eq!(after(Past::Counted, &[&[]]), MemoryPeak::default());
    }

    #[test]
    fn samples_are_due_at_multiples_of_the_interval() {
        let schedule = Schedule { begun_ns: 1_000, interval_ns: 100 };
        for (now_ns, left_ns) in
            [(1_000, 100), (1_001, 99), (1_099, 1), (1_100, 100), (1_350, 50), (900, 100)]
        {
            assert_eq!(schedule.until_next(now_ns), Duration::from_nanos(left_ns), "{now_ns}");
        }
    }

    #[test]
    fn before_the_first_interval_looks_come_after_powers_of_two_of_milliseconds() {
        let schedule = Schedule { begun_ns: 0, interval_ns: 10 * FIRST_NS };
        let (mut now_ns, mut due) = (0, Vec::new());
        while now_ns < 30 * FIRST_NS {
            now_ns += u64::try_from(schedule.until_next(now_ns).as_nanos()).unwrap();
            due.push(now_ns / FIRST_NS);
        }
        assert_eq!(due, [1, 2, 4, 8, 10, 20, 30]);
    }

    #[test]
    fn a_watch_stops_at_once_and_has_a_first_and_a_last_sample() {
        let begun_ns = now_ns();
        let tree = Tree::new("/proc", std::process::id());
        let watch = Watch::start(tree, Interval::new(Interval::LONGEST).unwrap(), Past::Counted).unwrap();
        let peak = watch.stop();
        assert!(now_ns() - begun_ns < 30_000_000_000, "it waited for its next sample");
        assert_eq!(peak.samples, 2);
        assert!(peak.sampled_bytes > Some(100_000) && peak.kernel_bytes > Some(100_000), "{peak:?}");
    }

    #[test]
    fn a_watch_over_nothing_knows_nothing() {
        let watch = Watch::start(Tree::new("/nowhere", 1), Interval::default(), Past::Counted).unwrap();
        assert_eq!(watch.stop(), MemoryPeak::default());
    }
}
