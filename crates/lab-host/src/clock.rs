//! The one place where time is read.
//!
//! Durations come from `CLOCK_MONOTONIC`, which no one can set; the time of day serves only to say when a session
//! happened. The engine contract asks for a resolution of a microsecond or better, so the resolution is measured
//! here and not believed.

use std::time::{SystemTime, UNIX_EPOCH};

use lab_core::clock::Clock;
use rustix::io::Errno;
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use crate::Unavailable;

/// The engine contract's coarsest permitted step of the monotonic clock, in nanoseconds ("resolução mínima:
/// microssegundos", section 6.1).
pub const COARSEST_PERMITTED_NS: u64 = 1_000;

/// Reads after which a clock that never moved is given up.
const MAX_READS: usize = 1_000_000;
/// Steps that are enough to have seen the smallest.
const ENOUGH_STEPS: usize = 2_000;

/// The monotonic clock of this machine, as a value to be passed to those who need a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    fn now_ns(&self) -> u64 {
        monotonic_now()
    }

    fn wait_until_ns(&self, deadline_ns: u64) {
        let deadline = timespec(deadline_ns);
        while clock_nanosleep_absolute(ClockId::Monotonic, &deadline) == Err(Errno::INTR) {}
    }
}

/// The CPU time of this process, as a value to be passed to those who need a clock that stands still while the process does
/// nothing or is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessCpu;

impl Clock for ProcessCpu {
    fn now_ns(&self) -> u64 {
        process_cpu_ns()
    }

    /// Takes CPU time until it has taken enough: nothing else moves this clock.
    fn wait_until_ns(&self, deadline_ns: u64) {
        while self.now_ns() < deadline_ns {
            std::hint::spin_loop();
        }
    }
}

/// Returns the nanoseconds since an arbitrary point in the past (`CLOCK_MONOTONIC`; Linux counts from boot).
///
/// All processes of one machine share the origin, so stamps taken in an engine's process compare with ours.
pub fn monotonic_now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Returns the CPU time that all threads of this process have taken, those that ended included, in nanoseconds
/// (`CLOCK_PROCESS_CPUTIME_ID`).
pub fn process_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// Returns the CPU time that the calling thread has taken, in nanoseconds (`CLOCK_THREAD_CPUTIME_ID`).
pub fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// Returns the time of day as nanoseconds since 1970-01-01 00:00 UTC; negative before that.
///
/// For labels only: this clock is set by people and by NTP, and may go back.
#[expect(clippy::disallowed_methods, reason = "the one place where the time of day is read")]
pub fn wall_now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanoseconds| -nanoseconds)
        }
    }
}

/// Returns the smallest step of the monotonic clock that many reads in a row saw, in nanoseconds.
///
/// This includes the cost of a read: a clock that counts single nanoseconds but takes 20 to be read has a
/// resolution of about 20 for whoever reads it.
///
/// # Errors
///
/// When the clock did not move at all.
pub fn resolution_ns() -> Result<u64, Unavailable> {
    smallest_step(monotonic_now)
}

/// Returns the resolution that the kernel states for the monotonic clock, in nanoseconds (`clock_getres(2)`).
pub fn stated_resolution_ns() -> u64 {
    nanoseconds(clock_getres(ClockId::Monotonic))
}

fn nanoseconds(time: Timespec) -> u64 {
    let (seconds, rest) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    let (Ok(seconds), Ok(rest)) = (seconds, rest) else {
        unreachable!("only the time of day can be negative (clock_gettime(2))");
    };
    seconds * 1_000_000_000 + rest
}

fn timespec(nanoseconds: u64) -> Timespec {
    let whole =
        i64::try_from(nanoseconds / 1_000_000_000).expect("a 64-bit count of nanoseconds is 584 years");
    let rest = i64::try_from(nanoseconds % 1_000_000_000).expect("a remainder below a thousand million");
    Timespec { tv_sec: whole, tv_nsec: rest }
}

fn smallest_step(mut read: impl FnMut() -> u64) -> Result<u64, Unavailable> {
    let mut smallest = None;
    let mut steps = 0;
    let mut last = read();
    for _ in 0..MAX_READS {
        let now = read();
        if now > last {
            smallest = Some(smallest.map_or(now - last, |known: u64| known.min(now - last)));
            steps += 1;
        }
        if steps == ENOUGH_STEPS {
            break;
        }
        last = now;
    }
    smallest.ok_or_else(|| Unavailable::new(format!("the monotonic clock did not move in {MAX_READS} reads")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_step_of_a_clock_is_found() {
        let steps = [0, 70, 0, 30, 30, 500];
        let (mut reads, mut now) = (0, 0);
        let irregular = || {
            now += steps[reads % steps.len()];
            reads += 1;
            now
        };
        assert_eq!(smallest_step(irregular), Ok(30));
    }

    #[test]
    fn a_coarse_clock_is_seen_as_coarse() {
        let mut reads = 0;
        // A tick of 4 ms that shows once in 50 000 reads.
        let coarse = || {
            reads += 1;
            reads / 50_000 * 4_000_000
        };
        assert_eq!(smallest_step(coarse), Ok(4_000_000));
    }

    #[test]
    fn a_clock_that_stands_still_has_no_resolution() {
        let still = smallest_step(|| 7).unwrap_err();
        assert_eq!(still.to_string(), "the monotonic clock did not move in 1000000 reads");
    }

    #[test]
    fn this_machines_clock_moves_forward_and_meets_the_contract() {
        let mut last = Monotonic.now_ns();
        for _ in 0..10_000 {
            let now = monotonic_now();
            assert!(now >= last, "{now} came after {last}");
            last = now;
        }
        assert!((1..=COARSEST_PERMITTED_NS).contains(&resolution_ns().unwrap()));
        assert!((1..=COARSEST_PERMITTED_NS).contains(&stated_resolution_ns()));
    }

    #[test]
    fn cpu_time_rises_with_work_and_the_process_has_at_least_what_one_thread_took() {
        let (thread, process) = (thread_cpu_ns(), process_cpu_ns());
        let sum = (0..1_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
        let (thread, process) = (thread_cpu_ns() - thread, process_cpu_ns() - process);
        assert!(sum < 1 << 20 && thread > 0 && process >= thread / 2, "{thread} {process}");
    }

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        let deadline_ns = monotonic_now() + 3_000_000;
        Monotonic.wait_until_ns(deadline_ns);
        assert!(monotonic_now() >= deadline_ns);
        Monotonic.wait_until_ns(0);
    }

    #[test]
    fn this_machines_day_is_later_than_this_file() {
        // 2026-01-01 00:00 UTC.
        assert!(wall_now() > 1_767_225_600_000_000_000);
    }
}
