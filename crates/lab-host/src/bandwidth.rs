//! What the machine's memory can deliver: an upper bound for the speed of decoding.
//!
//! Each decoded token reads the weights once, so tokens per second cannot exceed the memory's bandwidth divided by the
//! bytes of weights that a token touches: the sloped part of the roofline (Williams, Waterman and Patterson 2009,
//! "Roofline: an insightful visual performance model for multicore architectures", CACM 52(4)).
//!
//! Measured in the manner of STREAM (McCalpin 1995, "Memory bandwidth and machine balance in current high performance
//! computers"): arrays of at least four times the last-level caches, many passes, and the best of them. STREAM's four
//! kernels write as well; decoding only reads its weights, and so does this. An upper bound must not be lowered by a
//! disturbance, hence the best pass and not the mean.
//!
//! In a build without optimisation the reading loop is slower than the memory, so that its answer would be no upper
//! bound: [`measure`] refuses there.

pub mod cache;
mod others;
mod readers;

use lab_core::clock::Clock;

use crate::{Roots, Unavailable};
use readers::{MOST_PASSES, Pass, Readers};

/// STREAM's rule: "each array must be at least 4x the size of the sum of all the last-level caches".
const CACHE_MULTIPLE: u64 = 4;
/// However small the caches: a pass shorter than some milliseconds would be spent on starting the threads together.
const LEAST_BYTES: u64 = 256_000_000;
/// The part of the available memory that may be taken: no measurement may push anything out to swap.
const AVAILABLE_SHARE: u64 = 4;
/// Long enough for tens of passes on any machine, so that one of them is undisturbed.
const DURATION_NS: u64 = 1_000_000_000;
/// Where others take more of the cores' time, even the best pass may be a disturbed one: the threshold of the rule of
/// validity `other-load`.
const GREATEST_OTHERS_SHARE: f64 = 0.05;

/// Who reads, and how much there is to read.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The cores that the engine may use. Every thread may use all of them, as the engine's threads may.
    pub cores: &'a [u32],
    /// Threads that read: as many as the engine has.
    pub threads: u32,
    /// Bytes of all caches of the last level together.
    pub largest_cache_bytes: u64,
    /// Bytes of memory that can be had without swapping.
    pub available_bytes: u64,
}

/// What memory delivered, and who else used the cores meanwhile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Bytes per second of the best pass.
    pub bytes_per_second: u64,
    /// The share of the cores' time that other processes or the hypervisor took, from 0 up; nothing where the machine
    /// does not tell.
    pub others_share: Option<f64>,
}

impl Measured {
    /// Returns the share of the cores' time that others took, where it is more than 5 %: what memory delivers on a quiet
    /// machine may then be more.
    pub fn disturbance(&self) -> Option<f64> {
        self.others_share.filter(|share| *share > GREATEST_OTHERS_SHARE)
    }
}

/// Measures how many bytes a second the threads of `setup` can read from memory together, in about a second.
/// Who else uses the cores meanwhile is read below the roots of `machine`.
///
/// # Errors
///
/// When memory or threads do not suffice, the cores cannot be used, the clock stands still, or this build of lab is
/// not optimised.
pub fn measure(
    setup: &Setup<'_>,
    machine: &Roots,
    clock: &(dyn Clock + Sync),
) -> Result<Measured, Unavailable> {
    // A second of a build that cannot keep up with the memory would pass for the memory's own limit.
    if cfg!(debug_assertions) {
        return Err(Unavailable::new(
            "this build of lab is not optimised: it reads slower than memory delivers",
        ));
    }
    let total_bytes = bytes_to_read(setup.largest_cache_bytes, setup.available_bytes)?;
    let read = || read_repeatedly(setup, total_bytes, DURATION_NS, clock);
    let (rate, others_share) = others::watched(machine, setup.cores, read);
    Ok(Measured { bytes_per_second: rate?, others_share })
}

/// Returns how many bytes a pass reads: enough that the caches cannot serve it.
fn bytes_to_read(largest_cache_bytes: u64, available_bytes: u64) -> Result<u64, Unavailable> {
    let needed = largest_cache_bytes.saturating_mul(CACHE_MULTIPLE).max(LEAST_BYTES);
    let permitted = available_bytes / AVAILABLE_SHARE;
    if needed > permitted {
        return Err(Unavailable::new(format!(
            "reading past caches of {largest_cache_bytes} bytes takes {needed} bytes of memory, and a quarter of what \
             is available is {permitted}"
        )));
    }
    Ok(needed)
}

fn read_repeatedly(
    setup: &Setup<'_>,
    total_bytes: u64,
    duration_ns: u64,
    clock: &(dyn Clock + Sync),
) -> Result<u64, Unavailable> {
    if setup.threads == 0 || setup.cores.is_empty() {
        return Err(Unavailable::new("memory cannot be read by no thread or on no core"));
    }
    let word_bytes = u64::from(u64::BITS / 8);
    let words_each = total_bytes / u64::from(setup.threads) / word_bytes;
    let readers = Readers {
        cores: setup.cores,
        threads: setup.threads,
        words_each,
        duration_ns,
        most_passes: MOST_PASSES,
        clock,
    };
    let bytes_per_pass = words_each * word_bytes * u64::from(setup.threads);
    best_rate(bytes_per_pass, &readers.run()?)
}

/// Returns the bytes per second of the fastest pass.
fn best_rate(bytes_per_pass: u64, passes: &[Pass]) -> Result<u64, Unavailable> {
    let shortest_ns = passes.iter().map(Pass::duration_ns).min().filter(|shortest_ns| *shortest_ns > 0);
    let shortest_ns = shortest_ns.ok_or_else(|| Unavailable::new("the clock stood still during a pass"))?;
    let rate = u128::from(bytes_per_pass) * 1_000_000_000 / u128::from(shortest_ns);
    u64::try_from(rate).ok().filter(|rate| *rate > 0).ok_or_else(|| {
        Unavailable::new(format!("{bytes_per_pass} bytes in {shortest_ns} ns are no rate of a memory"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Monotonic;

    const MIB: u64 = 1 << 20;

    fn setup(cores: &[u32]) -> Setup<'_> {
        Setup { cores, threads: 1, largest_cache_bytes: 32 * MIB, available_bytes: 8192 * MIB }
    }

    pub(super) fn first_core() -> u32 {
        let mask = rustix::thread::sched_getaffinity(None).unwrap();
        let core = (0..rustix::thread::CpuSet::MAX_CPU).find(|core| mask.is_set(*core)).unwrap();
        u32::try_from(core).unwrap()
    }

    #[track_caller]
    fn check_bytes(cache_bytes: u64, available_bytes: u64, expected: Option<u64>) {
        assert_eq!(bytes_to_read(cache_bytes, available_bytes).ok(), expected);
    }

    #[test]
    fn a_pass_reads_four_times_the_caches_and_never_more_than_a_quarter_of_the_memory() {
        check_bytes(32 * MIB, 8192 * MIB, Some(LEAST_BYTES));
        check_bytes(0, 4 * LEAST_BYTES, Some(LEAST_BYTES));
        check_bytes(0, 4 * LEAST_BYTES - 1, None);
        check_bytes(768 * MIB, 16 * 768 * MIB, Some(4 * 768 * MIB));
        check_bytes(768 * MIB, 16 * 768 * MIB - 1, None);
        check_bytes(u64::MAX, u64::MAX, None);
    }

    #[test]
    fn a_machine_with_too_little_memory_says_what_it_lacks() {
        assert_eq!(
            bytes_to_read(100_000_000, 1_000_000_000).unwrap_err().to_string(),
            "reading past caches of 100000000 bytes takes 400000000 bytes of memory, and a quarter of what is \
             available is 250000000",
        );
    }

    #[test]
    fn the_best_pass_is_the_answer() {
        let passes: Vec<Pass> = [(0, 40), (50, 75), (80, 180)]
            .into_iter()
            .map(|(start_ns, end_ns)| Pass { start_ns, end_ns })
            .collect();
        assert_eq!(best_rate(1_000, &passes), Ok(40_000_000_000));
    }

    #[test]
    fn no_pass_and_a_clock_that_stands_still_have_no_rate() {
        let still = Pass { start_ns: 7, end_ns: 7 };
        for passes in [&[][..], &[still][..]] {
            let reason = best_rate(1_000, passes).unwrap_err().to_string();
            assert_eq!(reason, "the clock stood still during a pass");
        }
        let endless = Pass { start_ns: 0, end_ns: u64::MAX };
        assert!(best_rate(1, &[endless]).unwrap_err().to_string().ends_with("are no rate of a memory"));
    }

    #[test]
    fn a_small_buffer_of_this_machine_is_read_at_a_positive_rate() {
        let cores = [first_core()];
        for threads in [1, 3] {
            let setup = Setup { threads, ..setup(&cores) };
            let rate = read_repeatedly(&setup, MIB, 1_000_000, &Monotonic).unwrap();
            // Slower than any memory, and faster than any: 1 MB/s and 100 TB/s.
            assert!((1_000_000..100_000_000_000_000).contains(&rate), "{rate} bytes a second");
        }
    }

    #[test]
    fn a_build_without_optimisation_gives_no_answer() {
        let cores = [first_core()];
        let answer =
            measure(&Setup { largest_cache_bytes: 0, ..setup(&cores) }, &Roots::default(), &Monotonic);
        assert_eq!(answer.is_err(), cfg!(debug_assertions), "{answer:?}");
    }

    #[test]
    fn what_cannot_read_says_why() {
        let cores = [first_core()];
        let unknown = [u32::MAX];
        for (setup, reason) in [
            (Setup { threads: 0, ..setup(&cores) }, "memory cannot be read by no thread or on no core"),
            (setup(&[]), "memory cannot be read by no thread or on no core"),
            (setup(&unknown), "core 4294967295 is beyond what an affinity mask holds"),
        ] {
            let answer = read_repeatedly(&setup, MIB, 1_000_000, &Monotonic);
            assert_eq!(answer.unwrap_err().to_string(), reason);
        }
    }
}
