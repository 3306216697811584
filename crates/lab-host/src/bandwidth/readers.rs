//! Threads that read memory at the same time, pass by pass.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, OnceLock};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use lab_core::clock::Clock;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Unavailable;

/// The first pass still fills the table of pages, and one more can be disturbed.
const LEAST_PASSES: usize = 3;
/// A clock that stands still would never reach the end; a real one leaves no time for so many.
pub(super) const MOST_PASSES: usize = 10_000;

/// Sums that do not wait for each other: two cache lines of words.
const LANES: usize = 16;

/// Threads that each read their own memory.
pub(super) struct Readers<'a> {
    /// The cores that every thread may use.
    pub(super) cores: &'a [u32],
    /// How many threads.
    pub(super) threads: u32,
    /// 64-bit words that each thread reads in a pass.
    pub(super) words_each: u64,
    /// Passes begin for this long.
    pub(super) duration_ns: u64,
    /// Passes that end it before its time.
    pub(super) most_passes: usize,
    /// The clock of the passes.
    pub(super) clock: &'a (dyn Clock + Sync),
}

/// The time from the first thread's start to the last thread's end, in nanoseconds of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

impl Pass {
    pub(super) fn duration_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    fn around(one: Self, other: Self) -> Self {
        Self { start_ns: one.start_ns.min(other.start_ns), end_ns: one.end_ns.max(other.end_ns) }
    }
}

/// What the threads agree by.
struct Agreement {
    /// Whether every thread could be started: none may wait for one that never comes.
    all_started: OnceLock<bool>,
    /// Set when time is up, or when some thread cannot read.
    stop: AtomicBool,
    /// Where they wait for each other.
    barrier: Barrier,
}

type Spans = Result<Vec<Pass>, Unavailable>;

impl Readers<'_> {
    /// Returns the passes over all threads.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, cannot have its memory, or may not use the cores.
    pub(super) fn run(&self) -> Result<Vec<Pass>, Unavailable> {
        let n_threads = usize::try_from(self.threads).map_err(|_| too_large())?;
        let places: Vec<Places> = (0..n_threads)
            .map(|thread| Places::of(thread, n_threads, self.cores))
            .collect::<Result<_, _>>()?;
        let agreement = Agreement {
            all_started: OnceLock::new(),
            stop: AtomicBool::new(false),
            barrier: Barrier::new(n_threads),
        };
        let spans = std::thread::scope(|scope| {
            let started: Result<Vec<_>, _> =
                places.iter().map(|places| self.start(scope, places, &agreement)).collect();
            agreement.all_started.get_or_init(|| started.is_ok());
            let join =
                |thread: ScopedJoinHandle<'_, Spans>| thread.join().expect("a reading thread never panics");
            started?.into_iter().map(join).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(merge(&spans))
    }

    fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        places: &'scope Places,
        agreement: &'scope Agreement,
    ) -> Result<ScopedJoinHandle<'scope, Spans>, Unavailable> {
        let read = move || {
            if *agreement.all_started.wait() { self.read(places, agreement) } else { Ok(Vec::new()) }
        };
        let failed =
            |error| Unavailable::new(format!("a thread that reads memory cannot be started: {error}"));
        Builder::new().name("bandwidth".to_owned()).spawn_scoped(scope, read).map_err(failed)
    }

    /// What one thread does. A thread that cannot read still comes to the barrier, where the others wait for it.
    fn read(&self, places: &Places, agreement: &Agreement) -> Spans {
        let mut spans = Vec::new();
        let mut words = self.prepare(places);
        loop {
            words = words.and_then(|words| places.go(spans.len()).map(|()| words));
            if words.is_err() {
                agreement.stop.store(true, Ordering::SeqCst);
            }
            agreement.barrier.wait();
            if agreement.stop.load(Ordering::SeqCst) {
                break;
            }
            let start_ns = self.clock.now_ns();
            black_box(sum(black_box(words.as_deref().unwrap_or_default())));
            spans.push(Pass { start_ns, end_ns: self.clock.now_ns() });
            // The second meeting keeps a fast thread from ending a pass that a slow one has not yet looked at.
            if agreement.barrier.wait().is_leader() && self.is_enough(&spans) {
                agreement.stop.store(true, Ordering::SeqCst);
            }
        }
        words.map(|_| spans)
    }

    fn is_enough(&self, spans: &[Pass]) -> bool {
        let begun_ns = spans.first().map_or(0, |pass| pass.start_ns);
        let is_late = self.clock.now_ns().saturating_sub(begun_ns) >= self.duration_ns;
        (is_late && spans.len() >= LEAST_PASSES) || spans.len() >= self.most_passes
    }

    /// Moves this thread to its core and only then writes its memory: Linux places a page near the core that first
    /// writes to it. The words are not zero, since the kernel backs pages that were only read with one page of zeros.
    fn prepare(&self, places: &Places) -> Result<Vec<u64>, Unavailable> {
        places.go(0)?;
        let n_words = usize::try_from(self.words_each).map_err(|_| too_large())?;
        let mut words = Vec::new();
        words.try_reserve_exact(n_words).map_err(|_| too_large())?;
        words.resize(n_words, 0x5555_5555_5555_5555);
        Ok(words)
    }
}

/// Where one thread runs: in every second pass on a core of its own, in the others on any core of the engine.
///
/// Neither alone gives the best pass. Threads that may run anywhere are at times woken on one core, where they read in
/// turn (seen on a busy machine: the rate of one thread for two); threads with a core each may be given the two halves
/// of one physical core.
struct Places {
    own: CpuSet,
    any: CpuSet,
}

impl Places {
    fn of(thread: usize, n_threads: usize, cores: &[u32]) -> Result<Self, Unavailable> {
        // Spread evenly, since neighbours in the list may be halves of one physical core.
        let own = thread * cores.len() / n_threads;
        Ok(Self { own: affinity(&cores[own..=own])?, any: affinity(cores)? })
    }

    fn go(&self, pass: usize) -> Result<(), Unavailable> {
        let mask = if pass.is_multiple_of(2) { &self.own } else { &self.any };
        sched_setaffinity(None, mask).map_err(|error| {
            Unavailable::new(format!("the engine's cores cannot be used to read memory: {error}"))
        })
    }
}

fn too_large() -> Unavailable {
    Unavailable::new("the memory to read cannot be had")
}

fn affinity(cores: &[u32]) -> Result<CpuSet, Unavailable> {
    let mut mask = CpuSet::new();
    for core in cores {
        let fits = usize::try_from(*core).ok().filter(|core| *core < CpuSet::MAX_CPU);
        let beyond = || Unavailable::new(format!("core {core} is beyond what an affinity mask holds"));
        mask.set(fits.ok_or_else(beyond)?);
    }
    Ok(mask)
}

/// Reads every word.
///
/// Wrapping addition neither traps nor orders the words, so the compiler reads whole vectors, and independent sums keep
/// it from waiting for each addition: out of the first cache this reads 115 GB/s where one sum reads 67 and memory
/// delivers 28 to 34 (AMD EPYC of family 26, baseline x86-64 instructions). Unoptimised, it reads about 1 GB/s.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0_u64; LANES];
    let (chunks, rest) = words.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
}

/// Joins what each thread saw of a pass.
fn merge(spans: &[Vec<Pass>]) -> Vec<Pass> {
    let Some((first, others)) = spans.split_first() else { return Vec::new() };
    let whole = |(n, pass): (usize, &Pass)| {
        others.iter().filter_map(|spans| spans.get(n)).fold(*pass, |whole, part| Pass::around(whole, *part))
    };
    first.iter().enumerate().map(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bandwidth::tests::first_core;

    struct Still;

    impl Clock for Still {
        fn now_ns(&self) -> u64 {
            7
        }

        fn wait_until_ns(&self, _deadline_ns: u64) {}
    }

    #[test]
    fn a_pass_lasts_from_the_first_start_to_the_last_end() {
        let pass = |start_ns, end_ns| Pass { start_ns, end_ns };
        let spans = [vec![pass(0, 10), pass(20, 30)], vec![pass(2, 12), pass(19, 25)]];
        assert_eq!(merge(&spans), [pass(0, 12), pass(19, 30)]);
        assert_eq!(merge(&[]), []);
    }

    #[test]
    fn threads_are_spread_over_the_cores() {
        let own = |thread, n_threads| {
            let places = Places::of(thread, n_threads, &[1, 3, 5, 7]).unwrap();
            assert_eq!(places.any.count(), 4);
            (0..8).filter(|core| places.own.is_set(*core)).collect::<Vec<_>>()
        };
        assert_eq!([own(0, 2), own(1, 2)], [[1], [5]]);
        assert_eq!([own(0, 8), own(3, 8), own(7, 8)], [[1], [3], [7]]);
    }

    #[test]
    fn every_word_is_read_and_the_sum_wraps() {
        for n in [0, 1, 15, 16, 17, 47, 100] {
            assert_eq!(sum(&(1..=n).collect::<Vec<_>>()), n * (n + 1) / 2);
        }
        assert_eq!(sum(&[u64::MAX, 2]), 1);
    }

    #[test]
    fn a_clock_that_stands_still_does_not_keep_the_threads_forever() {
        let readers = Readers {
            cores: &[first_core()],
            threads: 2,
            words_each: 8,
            duration_ns: 1,
            most_passes: 20,
            clock: &Still,
        };
        assert_eq!(readers.run().unwrap().len(), 20);
    }

    #[test]
    fn a_thread_that_gets_no_memory_does_not_keep_the_others_waiting() {
        let readers = Readers {
            cores: &[first_core()],
            threads: 3,
            words_each: u64::MAX / 8,
            duration_ns: 1,
            most_passes: 20,
            clock: &Still,
        };
        assert_eq!(readers.run().unwrap_err().to_string(), "the memory to read cannot be had");
    }
}
