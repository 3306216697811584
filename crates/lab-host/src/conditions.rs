//! What is recorded before each launch: who else was busy, and how the machine was set.
//!
//! Some dozen small files. Counters are given as they stand: from one launch to the next their difference tells what
//! happened between. This version of lab records the conditions and judges no run by them.

use serde::{Deserialize, Serialize};

use crate::roots::{entries, file_name};
use crate::text::chosen_word;
use crate::{Reading, Roots, Unavailable};

const CPUS: &str = "devices/system/cpu";
const CPU_0_FREQUENCY: &str = "devices/system/cpu/cpu0/cpufreq";

/// The conditions at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// The mean count of tasks that ran or waited to run.
    pub load_average: Reading<LoadAverage>,
    /// The share of the last ten seconds in which some task waited for a CPU, in percent (PSI, `some avg10`).
    pub cpu_pressure_percent: Reading<f64>,
    /// Where the CPUs' time went since boot.
    pub cpu_time: Reading<CpuTime>,
    /// Pages written to and read from swap since boot.
    pub swapped_pages: Reading<u64>,
    /// Times a core or a package was slowed down for its heat since boot, over all CPUs.
    pub throttle_events: Reading<u64>,
    /// The frequency governor of CPU 0, such as `performance`.
    pub governor: Reading<String>,
    /// The frequency of CPU 0 in hertz.
    pub frequency_hz: Reading<u64>,
    /// Whether cores may exceed their nominal frequency.
    pub boost: Reading<bool>,
    /// Where the kernel backs memory with huge pages: `always`, `madvise` or `never`.
    pub transparent_hugepages: Reading<String>,
    /// How far the kernel shuffles addresses: 0 not at all, 1 without the heap, 2 all.
    pub address_space_randomisation: Reading<u8>,
    /// What the kernel tells time by, such as `tsc`.
    pub clock_source: Reading<String>,
}

/// The mean count of tasks that ran or waited to run (or for a disk), exponentially damped (proc(5), `loadavg`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoadAverage {
    /// Over one minute.
    pub one_minute: f64,
    /// Over five minutes.
    pub five_minutes: f64,
    /// Over fifteen minutes.
    pub fifteen_minutes: f64,
}

/// Where the time of all CPUs went since boot, in jiffies of `USER_HZ` (1/100 s on every current machine).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// Time in which this machine wanted to run and its hypervisor ran another.
    pub steal_jiffies: u64,
    /// Time in which nothing ran, waiting for disks included.
    pub idle_jiffies: u64,
    /// All time.
    pub total_jiffies: u64,
}

impl CpuTime {
    /// Returns the share of the CPUs' time that was stolen since `earlier`, from 0 to 1; nothing where no time
    /// passed or the counters ran backwards.
    pub fn steal_since(&self, earlier: &Self) -> Option<f64> {
        let total = self.total_jiffies.checked_sub(earlier.total_jiffies).filter(|total| *total > 0)?;
        let stolen = self.steal_jiffies.checked_sub(earlier.steal_jiffies)?;
        Some(stolen as f64 / total as f64)
    }
}

/// Returns the conditions now.
pub fn probe(roots: &Roots) -> Conditions {
    Conditions {
        load_average: load_average(roots).into(),
        cpu_pressure_percent: cpu_pressure(roots).into(),
        cpu_time: cpu_time(roots).into(),
        swapped_pages: swapped_pages(roots).into(),
        throttle_events: throttle_events(roots).into(),
        governor: roots.sys_text(format!("{CPU_0_FREQUENCY}/scaling_governor")).into(),
        frequency_hz: frequency_hz(roots).into(),
        boost: boost(roots).into(),
        transparent_hugepages: transparent_hugepages(roots).into(),
        address_space_randomisation: roots.proc_number("sys/kernel/randomize_va_space").into(),
        clock_source: clock_source(roots).into(),
    }
}

fn load_average(roots: &Roots) -> Result<LoadAverage, Unavailable> {
    let text = roots.proc_text("loadavg")?;
    let mut means = text.split_whitespace().map_while(finite);
    match (means.next(), means.next(), means.next()) {
        (Some(one_minute), Some(five_minutes), Some(fifteen_minutes)) => {
            Ok(LoadAverage { one_minute, five_minutes, fifteen_minutes })
        }
        _ => Err(Unavailable::content(&roots.proc.join("loadavg"), "three load averages")),
    }
}

/// `some avg10=0.23 avg60=2.72 avg300=10.45 total=77760575` (Documentation/accounting/psi.rst).
pub(crate) fn cpu_pressure(roots: &Roots) -> Result<f64, Unavailable> {
    let text = roots.proc_text("pressure/cpu")?;
    let some = text.lines().find_map(|line| line.strip_prefix("some "));
    let share =
        some.and_then(|line| line.split_whitespace().find_map(|word| finite(word.strip_prefix("avg10=")?)));
    share.ok_or_else(|| Unavailable::content(&roots.proc.join("pressure/cpu"), "`some avg10=`"))
}

/// `cpu user nice system idle iowait irq softirq steal guest guest_nice` (proc(5)).
pub(crate) fn cpu_time(roots: &Roots) -> Result<CpuTime, Unavailable> {
    let unfit = || Unavailable::content(&roots.proc.join("stat"), "a `cpu` line with steal in it");
    let text = roots.proc_text("stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu ")).ok_or_else(unfit)?;
    let counts: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    // The kernel counts a guest's time in `user` and `nice` as well: the two columns after steal would count twice.
    let [_, _, _, idle, iowait, _, _, steal] = counts.get(..8).ok_or_else(unfit)? else {
        unreachable!("the slice has eight elements");
    };
    let total = counts[..8].iter().copied().fold(0, u64::saturating_add);
    Ok(CpuTime { steal_jiffies: *steal, idle_jiffies: idle.saturating_add(*iowait), total_jiffies: total })
}

fn swapped_pages(roots: &Roots) -> Result<u64, Unavailable> {
    let text = roots.proc_text("vmstat")?;
    let count = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        value.ok_or_else(|| Unavailable::content(&roots.proc.join("vmstat"), &format!("`{}`", name.trim())))
    };
    Ok(count("pswpin ")?.saturating_add(count("pswpout ")?))
}

fn throttle_events(roots: &Roots) -> Result<u64, Unavailable> {
    let cpus = entries(&roots.sys.join(CPUS), "cpu")?;
    let counts = cpus.iter().flat_map(|cpu| {
        ["core_throttle_count", "package_throttle_count"]
            .map(|file| roots.sys_number::<u64>(cpu.join("thermal_throttle").join(file)))
    });
    let readable: Vec<u64> = counts.flatten().collect();
    if readable.is_empty() {
        let cpus = roots.sys.join(CPUS);
        return Err(Unavailable::new(format!("no CPU below `{}` counts its throttling", cpus.display())));
    }
    Ok(readable.into_iter().fold(0, u64::saturating_add))
}

fn frequency_hz(roots: &Roots) -> Result<u64, Unavailable> {
    // The kernel writes kHz (Documentation/admin-guide/pm/cpufreq.rst).
    let file = format!("{CPU_0_FREQUENCY}/scaling_cur_freq");
    let kilohertz: u64 = roots.sys_number(&file)?;
    let hertz = kilohertz.checked_mul(1000).filter(|hertz| *hertz > 0);
    hertz.ok_or_else(|| Unavailable::content(&roots.sys.join(file), "a frequency"))
}

fn boost(roots: &Roots) -> Result<bool, Unavailable> {
    // Intel's own driver has a switch that forbids; the generic one has a switch that permits.
    let forbidden = switch(roots, "devices/system/cpu/intel_pstate/no_turbo");
    let permitted = || switch(roots, "devices/system/cpu/cpufreq/boost");
    forbidden.map(|forbidden| !forbidden).or_else(|_| permitted())
}

fn switch(roots: &Roots, file: &str) -> Result<bool, Unavailable> {
    match roots.sys_text(file)?.as_str() {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(Unavailable::content(&roots.sys.join(file), "0 or 1")),
    }
}

pub(crate) fn transparent_hugepages(roots: &Roots) -> Result<String, Unavailable> {
    const FILE: &str = "kernel/mm/transparent_hugepage/enabled";
    let text = roots.sys_text(FILE)?;
    let chosen = chosen_word(&text).map(str::to_owned);
    chosen.ok_or_else(|| Unavailable::content(&roots.sys.join(FILE), "a choice in brackets"))
}

fn clock_source(roots: &Roots) -> Result<String, Unavailable> {
    let directories = entries(&roots.sys.join("devices/system/clocksource"), "clocksource")?;
    let first = directories.first().map(|directory| file_name(directory)).unwrap_or_default();
    roots.sys_text(format!("devices/system/clocksource/{first}/current_clocksource"))
}

fn finite(word: &str) -> Option<f64> {
    word.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_a_share_of_the_time_between_two_readings() {
        let at = |steal_jiffies, total_jiffies| CpuTime { steal_jiffies, idle_jiffies: 0, total_jiffies };
        for (earlier, later, share) in [
            (at(10, 1000), at(35, 1100), Some(0.25)),
            (at(10, 1000), at(10, 1100), Some(0.0)),
            (at(10, 1000), at(10, 1000), None),
            (at(10, 1000), at(9, 1100), None),
            (at(10, 1000), at(10, 900), None),
        ] {
            assert_eq!(later.steal_since(&earlier), share, "{earlier:?} {later:?}");
        }
    }

    #[test]
    fn the_conditions_of_this_machine_survive_json_and_their_counters_only_grow() {
        let roots = Roots::default();
        let earlier = probe(&roots);
        let json = serde_json::to_string(&earlier).unwrap();
        assert_eq!(serde_json::from_str::<Conditions>(&json).unwrap(), earlier);
        let later = probe(&roots);
        let (one, two) = (earlier.cpu_time.into_result().unwrap(), later.cpu_time.into_result().unwrap());
        assert!(two.total_jiffies >= one.total_jiffies && two.steal_jiffies >= one.steal_jiffies);
        assert!(two.steal_jiffies + two.idle_jiffies <= two.total_jiffies);
        assert!(two.steal_since(&one).is_none_or(|share| (0.0..=1.0).contains(&share)));
        let load = later.load_average.into_result().unwrap();
        assert!(load.one_minute.is_finite() && load.five_minutes >= 0.0 && load.fifteen_minutes >= 0.0);
        assert!(later.address_space_randomisation.into_result().unwrap() <= 2);
        assert!(!later.clock_source.into_result().unwrap().is_empty());
        assert!(later.cpu_pressure_percent.value().is_none_or(|percent| (0.0..=100.0).contains(percent)));
        assert!(later.frequency_hz.value().is_none_or(|hertz| *hertz > 1_000_000));
    }
}
