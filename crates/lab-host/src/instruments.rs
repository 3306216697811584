//! The instruments around the repetitions of one launch.
//!
//! What costs time is done where no engine waits for it: everything else comes before the first reading of the meters
//! and after the last, and those two lie as close to the request and to the answer as they can. The one thing that
//! runs beside the engine is the sampling thread, and its cost is recorded with what it saw.
//!
//! No instrument fails a repetition: what cannot be had is recorded with its reason.

mod meters;

use lab_core::experiment::Glance;
use lab_core::metric::Reading;
use lab_core::observation::{Conditions, Instruments, MemoryUse, Observation, ProcessCounters, Span};

pub(crate) use meters::EnergyLog;
pub use meters::Meters;

use crate::clock::process_cpu_ns;
use crate::conditions::{self, stolen_and_busy_ns};
use crate::process::{
    ProcessError, ThreadTimes, counters, peak_memory, reset_peak_memory, resident_memory, thread_times,
};
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

    /// Reads `stat` of the machine, the list of the process's threads, and one file of each thread: nothing else.
    fn glance(&mut self) -> Glance {
        let Watched { machine, processes, pid, cores, .. } = &self.watched;
        let threads = recorded(thread_times(processes, *pid));
        let of = |time: fn(&ThreadTimes) -> &Reading<u64>| -> Reading<u64> {
            threads.as_result().and_then(|threads| time(threads).as_result().copied()).into()
        };
        let of_cores = recorded(stolen_and_busy_ns(machine, cores));
        Glance {
            steal_ns: of_cores.clone().map(|[stolen, _]| stolen),
            busy_ns: of_cores.map(|[_, busy]| busy),
            run_delay_ns: of(|threads| &threads.run_delay_ns),
            cpu_ns: of(|threads| &threads.on_cpu_ns),
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
    use std::fs;

    use super::*;
    use crate::process::affinity;

    const CORES: &str = "cpu  9 0 0 9 0 0 0 9\n\
        cpu0 1 0 0 1 0 0 0 2\n\
        cpu1 1 0 0 1 0 0 0 4\n\
        cpu2 1 0 0 1 0 0 0 3\n";

    fn watching(roots: &Roots, pid: u32, cores: &[u32]) -> HostInstruments {
        HostInstruments::new(Watched {
            machine: roots.clone(),
            processes: roots.clone(),
            pid,
            cores: cores.to_vec(),
            sample_hz: 0.0,
            meters: Meters::new(Reading::Unavailable("this test has none".to_owned())),
            memory_bandwidth: Reading::Unavailable("not measured".to_owned()),
            last_level_cache_bytes: Reading::Unavailable("not looked at".to_owned()),
        })
    }

    #[test]
    fn a_glance_sums_up_the_cores_and_the_threads() {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("stat", CORES.to_owned()),
            ("7/task/7/schedstat", "1000 20 3\n".to_owned()),
            ("7/task/8/schedstat", "500 1 1\n".to_owned()),
        ] {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let roots = Roots::new(folder.path(), folder.path());
        let glance = watching(&roots, 7, &[0, 2]).glance();
        let expected = Glance {
            steal_ns: Reading::Value(50_000_000),
            busy_ns: Reading::Value(20_000_000),
            run_delay_ns: Reading::Value(21),
            cpu_ns: Reading::Value(1500),
        };
        assert_eq!(glance, expected);

        let blind = watching(&roots, 8, &[5]).glance();
        assert!(blind.steal_ns.reason().unwrap().ends_with("does not hold a line of core 5"));
        for reading in [&blind.run_delay_ns, &blind.cpu_ns] {
            assert_eq!(reading.reason(), Some("process 8 does not exist"));
        }
    }

    #[test]
    fn a_glance_at_this_process_knows_what_its_counters_know() {
        let (roots, pid) = (Roots::default(), std::process::id());
        let cores: Vec<u32> = affinity(&roots, pid).unwrap().iter().take(1).collect();
        let (glance, counted) = (watching(&roots, pid, &cores).glance(), counters(&roots, pid).unwrap());
        assert!(glance.steal_ns.value().is_some());
        assert_eq!(glance.run_delay_ns.value().is_some(), counted.run_delay_ns.value().is_some());
        assert_eq!(glance.cpu_ns.value().is_some(), counted.on_cpu_ns.value().is_some());
    }

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
