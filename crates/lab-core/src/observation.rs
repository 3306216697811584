//! What the instruments saw around one repetition: the raw data of validity, energy and use of the machine.
//!
//! Counters are kept as they stood before and after; every figure is derived from them (invariant I3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::energy::EnergyTrace;
use crate::experiment::Glance;
use crate::metric::Reading;
use crate::number::exact;

/// The instruments around the repetitions of one launch.
pub trait Instruments {
    /// The model is loaded: takes what can only be seen now.
    fn loaded(&mut self);

    /// A repetition is about to be asked for.
    fn begin(&mut self);

    /// The answer is there. Returns what was seen since [`Self::begin`].
    fn end(&mut self) -> Observation;

    /// Returns how the counters stand that tell what else uses the machine: cheap enough to be read between the turns of a
    /// paired experiment.
    fn glance(&mut self) -> Glance;
}

/// What the instruments saw around one repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The readings of every energy meter; the reason where there is no meter.
    pub energy: Reading<Vec<EnergyTrace>>,
    /// The engine's memory.
    pub memory: MemoryUse,
    /// The engine's process.
    pub process: Span<Reading<ProcessCounters>>,
    /// The machine.
    pub machine: Span<Conditions>,
    /// What the sampling thread saw meanwhile.
    pub samples: Reading<Samples>,
    /// CPU time that the harness itself took meanwhile, in nanoseconds.
    pub harness_cpu_ns: Reading<u64>,
    /// What the machine's memory can deliver, in bytes per second, as measured before the session.
    pub memory_bandwidth: Reading<u64>,
    /// Size of all caches of the last level together, in bytes: weights that fit may be read faster than memory delivers.
    pub last_level_cache_bytes: Reading<u64>,
}

impl Observation {
    /// Returns the observation of a recording in which nothing but the peak of memory was looked at.
    pub fn unobserved(peak_bytes: Reading<u64>) -> Self {
        let energy = Reading::Unavailable("this version of lab reads no energy meter".to_owned());
        let conditions = Conditions::unobserved();
        Self {
            energy,
            memory: MemoryUse { peak_bytes, ..MemoryUse::unobserved() },
            process: Span { before: unobserved(), after: unobserved() },
            machine: Span { before: conditions.clone(), after: conditions },
            samples: unobserved(),
            harness_cpu_ns: unobserved(),
            memory_bandwidth: unobserved(),
            last_level_cache_bytes: unobserved(),
        }
    }
}

fn unobserved<T>() -> Reading<T> {
    Reading::Unavailable("not observed in this session".to_owned())
}

/// The same thing before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span<T> {
    /// Before the request.
    pub before: T,
    /// After the answer.
    pub after: T,
}

impl Span<Reading<ProcessCounters>> {
    /// Returns what a counter of the process rose by.
    ///
    /// # Errors
    ///
    /// Why there is no figure: a side was not read, or a thread ended meanwhile and took its counts along.
    pub fn rise(&self, of: impl Fn(&ProcessCounters) -> Result<u64, String>) -> Result<f64, String> {
        let (before, after) = (of(self.before.as_result()?)?, of(self.after.as_result()?)?);
        let rise = after.checked_sub(before).ok_or("a thread ended meanwhile and took its counts along")?;
        Ok(exact(rise))
    }

    /// Returns the CPU time of the process in nanoseconds: the time on a CPU of the threads that live, or the jiffies of
    /// all that ever lived where those are more.
    ///
    /// # Errors
    ///
    /// As [`Self::rise`].
    pub fn cpu_ns(&self) -> Result<f64, String> {
        let jiffies = self.rise(|process| Ok(process.user_jiffies + process.system_jiffies))?;
        let on_cpu_ns = self.rise(|process| process.on_cpu_ns.as_result().copied());
        Ok(on_cpu_ns.unwrap_or_default().max(jiffies * NANOS_PER_JIFFY))
    }
}

/// `USER_HZ` is 100 on every current machine (time(7)).
pub(crate) const NANOS_PER_JIFFY: f64 = 1e7;

/// The engine's memory, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Peak of resident memory during the repetition.
    pub peak_bytes: Reading<u64>,
    /// Peak of resident memory since the process started.
    pub launch_peak_bytes: Reading<u64>,
    /// Resident memory before the model was loaded.
    pub before_load_bytes: Reading<u64>,
    /// Resident memory when the model was loaded.
    pub after_load_bytes: Reading<u64>,
}

impl MemoryUse {
    fn unobserved() -> Self {
        Self {
            peak_bytes: unobserved(),
            launch_peak_bytes: unobserved(),
            before_load_bytes: unobserved(),
            after_load_bytes: unobserved(),
        }
    }
}

/// What the kernel has counted about a process since it started, over all its threads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessCounters {
    /// CPU time in user mode, in jiffies of `USER_HZ` (1/100 s).
    pub user_jiffies: u64,
    /// CPU time in the kernel, in jiffies.
    pub system_jiffies: u64,
    /// Time on a CPU, in nanoseconds (`schedstat`).
    pub on_cpu_ns: Reading<u64>,
    /// Time ready to run but waiting for a CPU, in nanoseconds (`schedstat`).
    pub run_delay_ns: Reading<u64>,
    /// Times a thread gave its CPU up.
    pub voluntary_switches: Reading<u64>,
    /// Times a thread was taken off its CPU.
    pub involuntary_switches: Reading<u64>,
    /// Page faults served without a disk.
    pub minor_faults: u64,
    /// Page faults that waited for a disk.
    pub major_faults: u64,
    /// Threads alive.
    pub threads: u64,
    /// Nice level, -20 to 19.
    pub nice: i64,
}

/// How the machine stood at one moment. Counters run since boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// When (monotonic nanoseconds).
    pub at_ns: u64,
    /// The mean count of tasks that ran or waited to run.
    pub load_average: Reading<LoadAverage>,
    /// Where the time of each core that the engine may use went.
    pub cores: Reading<Vec<CoreTime>>,
    /// Time in which some task waited for something (PSI, `some … total`).
    pub pressure: Pressure,
    /// Pages written to and read from swap.
    pub swapped_pages: Reading<u64>,
    /// Times a core or a package was slowed down for its heat, over all CPUs.
    pub throttle_events: Reading<u64>,
    /// The hottest sensor, in thousandths of a degree Celsius.
    pub temperature_millidegrees: Reading<i64>,
    /// The frequency of each core that the engine may use, in kHz.
    pub frequencies_khz: Reading<Vec<u64>>,
    /// The frequency governor of the engine's first core, such as `performance`.
    pub governor: Reading<String>,
    /// Whether cores may exceed their nominal frequency.
    pub boost: Reading<bool>,
    /// Where the kernel backs memory with huge pages: `always`, `madvise` or `never`.
    pub transparent_hugepages: Reading<String>,
    /// How far the kernel shuffles addresses: 0 not at all, 1 without the heap, 2 all.
    pub address_space_randomisation: Reading<u8>,
    /// What the kernel tells time by, such as `tsc`.
    pub clock_source: Reading<String>,
    /// The control group that lab and its engines run in.
    pub cgroup: CgroupUse,
}

impl Conditions {
    /// Returns conditions that nobody looked at.
    pub fn unobserved() -> Self {
        Self {
            at_ns: 0,
            load_average: unobserved(),
            cores: unobserved(),
            pressure: Pressure {
                cpu_some_us: unobserved(),
                memory_some_us: unobserved(),
                io_some_us: unobserved(),
            },
            swapped_pages: unobserved(),
            throttle_events: unobserved(),
            temperature_millidegrees: unobserved(),
            frequencies_khz: unobserved(),
            governor: unobserved(),
            boost: unobserved(),
            transparent_hugepages: unobserved(),
            address_space_randomisation: unobserved(),
            clock_source: unobserved(),
            cgroup: CgroupUse {
                memory_limit_bytes: unobserved(),
                memory_peak_bytes: unobserved(),
                throttled_us: unobserved(),
            },
        }
    }
}

/// The mean count of tasks that ran or waited to run (or for a disk), exponentially damped (proc(5), `loadavg`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadAverage {
    /// Over one minute.
    pub one_minute: f64,
    /// Over five minutes.
    pub five_minutes: f64,
    /// Over fifteen minutes.
    pub fifteen_minutes: f64,
}

/// Where one core's time went since boot, in jiffies of `USER_HZ` (1/100 s on every current machine).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreTime {
    /// The core.
    pub core: u32,
    /// Time in which something ran: user, nice, system, interrupts.
    pub busy: u64,
    /// Time in which nothing ran, waiting for disks included.
    pub idle: u64,
    /// Time in which this machine wanted to run and its hypervisor ran another.
    pub steal: u64,
}

/// Time in which some task waited, in microseconds since boot (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// For a CPU.
    pub cpu_some_us: Reading<u64>,
    /// For memory.
    pub memory_some_us: Reading<u64>,
    /// For a disk.
    pub io_some_us: Reading<u64>,
}

/// What the control group bounds and counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CgroupUse {
    /// The lowest limit of memory on the way to the root, in bytes.
    pub memory_limit_bytes: Reading<u64>,
    /// The greatest use of memory of the group, in bytes.
    pub memory_peak_bytes: Reading<u64>,
    /// Time in which the group was kept from running by its CPU quota, in microseconds.
    pub throttled_us: Reading<u64>,
}

/// What the sampling thread saw, one entry a tick in each column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Ticks a second asked for.
    pub hz: f64,
    /// When each tick was taken (monotonic nanoseconds).
    pub at_ns: Vec<u64>,
    /// Jiffies that the engine's cores were busy, since boot.
    pub busy: Vec<u64>,
    /// Jiffies stolen from the engine's cores, since boot.
    pub steal: Vec<u64>,
    /// Lowest frequency among the engine's cores, in kHz; empty where the kernel tells none.
    pub frequency_khz: Vec<u64>,
    /// The hottest sensor, in thousandths of a degree Celsius; empty where there is none.
    pub temperature_millidegrees: Vec<i64>,
    /// CPU time of the sampling thread, in nanoseconds.
    pub cpu_ns: u64,
}
