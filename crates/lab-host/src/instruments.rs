//! The instruments around the repetitions of one launch.
//!
//! What costs time is done where no engine waits for it: everything else comes before the first reading of the meters
//! and after the last, and those two lie as close to the request and to the answer as they can. The one thing that
//! runs beside the engine is the sampling thread, and its cost is recorded with what it saw.
//!
//! No instrument fails a repetition: what cannot be had is recorded with its reason.

mod meters;

use lab_core::metric::Reading;
use lab_core::observation::{Conditions, Instruments, MemoryUse, Observation, ProcessCounters, Span};

pub(crate) use meters::EnergyLog;
pub use meters::Meters;

use crate::clock::process_cpu_ns;
use crate::conditions;
use crate::process::{ProcessError, counters, peak_memory, reset_peak_memory, resident_memory};
use crate::reading::recorded;
use crate::sampler::{Gauges, Sampler};
use crate::{Roots, Unavailable};

/// What is watched in a launch, and with what.
#[derive(Clone)]
pub struct Watched {
    /// Where the machine's files are.
    pub machine: Roots,
    /// Where the engine's process is found: always the roots of this machine, for its number is one of this kernel's.
    pub processes: Roots,
    /// The engine's process.
    pub pid: u32,
    /// The cores that the engine may use.
    pub cores: Vec<u32>,
    /// Ticks of the sampling thread a second; 0 for none. The meters are then read at the beginning and at the end
    /// only. Where a meter's counter may wrap in between, its energy is refused when it is derived, and not here.
    pub sample_hz: f64,
    /// The machine's meters.
    pub meters: Meters,
    /// What the machine's memory can deliver, in bytes per second, as measured before the session.
    pub memory_bandwidth: Reading<u64>,
    /// Size of all caches of the last level together, in bytes.
    pub last_level_cache_bytes: Reading<u64>,
}

/// The instruments of the machine that this process runs on.
pub struct HostInstruments {
    watched: Watched,
    before_load_bytes: Reading<u64>,
    after_load_bytes: Reading<u64>,
    launch_peak_bytes: Reading<u64>,
    begun: Option<Begun>,
}

/// What stood before the request.
struct Begun {
    machine: Conditions,
    process: Reading<ProcessCounters>,
    harness_cpu_ns: u64,
    peak_reset: Result<(), ProcessError>,
    sampler: Result<Sampler, Unavailable>,
    log: EnergyLog,
}

impl HostInstruments {
    /// Sets the instruments up around a process that runs and has not loaded its model yet.
    pub fn new(watched: Watched) -> Self {
        let (roots, pid) = (&watched.processes, watched.pid);
        Self {
            before_load_bytes: recorded(resident_memory(roots, pid)),
            after_load_bytes: Reading::Unavailable("no model has been loaded in this launch".to_owned()),
            launch_peak_bytes: recorded(peak_memory(roots, pid)),
            begun: None,
            watched,
        }
    }

    fn counters(&self) -> Reading<ProcessCounters> {
        recorded(counters(&self.watched.processes, self.watched.pid))
    }

    fn conditions(&self) -> Conditions {
        conditions::probe(&self.watched.machine, &self.watched.cores)
    }

    /// Returns the peak of memory since it was last forgotten, and keeps it for the peak of the launch.
    fn take_peak(&mut self) -> Reading<u64> {
        let peak = recorded(peak_memory(&self.watched.processes, self.watched.pid));
        self.launch_peak_bytes = greater(&self.launch_peak_bytes, &peak);
        peak
    }

    fn memory(&mut self, peak_reset: Result<(), ProcessError>) -> MemoryUse {
        let peak_bytes = self.take_peak();
        MemoryUse {
            peak_bytes: match peak_reset {
                Ok(()) => peak_bytes,
                Err(reason) => recorded(Err(reason)),
            },
            launch_peak_bytes: self.launch_peak_bytes.clone(),
            before_load_bytes: self.before_load_bytes.clone(),
            after_load_bytes: self.after_load_bytes.clone(),
        }
    }
}

impl Instruments for HostInstruments {
    fn loaded(&mut self) {
        self.after_load_bytes = recorded(resident_memory(&self.watched.processes, self.watched.pid));
    }

    fn begin(&mut self) {
        // A repetition that never ended leaves its sampler behind; it stops here.
        self.begun = None;
        // The harness's own time is taken at the same place before the conditions here and in `end`, so that it is
        // that of the span in which the cores' time passed.
        let harness_cpu_ns = process_cpu_ns();
        let (machine, process) = (self.conditions(), self.counters());
        self.take_peak();
        let peak_reset = reset_peak_memory(&self.watched.processes, self.watched.pid);
        let log = EnergyLog::new(&self.watched.meters);
        let gauges = Gauges::open(&self.watched.machine, &self.watched.cores);
        let sampler = Sampler::start(self.watched.sample_hz, gauges, log.clone());
        log.read_all();
        self.begun = Some(Begun { machine, process, harness_cpu_ns, peak_reset, sampler, log });
    }

    fn end(&mut self) -> Observation {
        let begun = self.begun.take().expect("only a repetition that began can end");
        begun.log.read_all();
        let samples = recorded(begun.sampler.and_then(Sampler::stop));
        let process = Span { before: begun.process, after: self.counters() };
        let harness_cpu_ns = process_cpu_ns() - begun.harness_cpu_ns;
        let machine = Span { before: begun.machine, after: self.conditions() };
        Observation {
            energy: begun.log.traces(),
            memory: self.memory(begun.peak_reset),
            process,
            machine,
            samples,
            harness_cpu_ns: Reading::Value(harness_cpu_ns),
            memory_bandwidth: self.watched.memory_bandwidth.clone(),
            last_level_cache_bytes: self.watched.last_level_cache_bytes.clone(),
        }
    }
}

/// Returns the greater of two readings; where one is missing the other might have been greater.
fn greater(one: &Reading<u64>, other: &Reading<u64>) -> Reading<u64> {
    let both = || Ok(*one.as_result()?.max(other.as_result()?));
    both().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_that_was_missed_once_is_missing_for_good() {
        let missed = || Reading::Unavailable("gone".to_owned());
        for (one, other, expected) in [
            (Reading::Value(1), Reading::Value(2), Reading::Value(2)),
            (Reading::Value(2), Reading::Value(1), Reading::Value(2)),
            (missed(), Reading::Value(2), missed()),
            (Reading::Value(2), missed(), missed()),
        ] {
            assert_eq!(greater(&one, &other), expected);
        }
    }
}
