//! How the machine stands at one moment: who else is busy, how it is set, how hot it is.
//!
//! Some dozens of small files, read around every repetition while the engine is idle. Counters are given as they
//! stand; what passed between two looks is derived elsewhere, and judged there too.

mod cores;
mod heat;

use lab_core::observation::{Conditions, LoadAverage, Pressure};

pub(crate) use cores::{core_times, steal_share, stolen_and_busy_ns};
pub(crate) use heat::{
    frequency_file, hottest, parse_frequency_khz, parse_temperature, temperature_files, throttle_events,
};

use crate::clock::monotonic_now;
use crate::layout::kernel_randomisation;
use crate::memory::cgroup_use;
use crate::reading::recorded;
use crate::roots::{entries, file_name};
use crate::text::chosen_word;
use crate::{Roots, Unavailable};

/// Returns the conditions now, of the machine and of the cores that the engine may use.
///
/// The time and the cores' counters are taken first, so that the two belong together.
pub fn probe(roots: &Roots, cores: &[u32]) -> Conditions {
    Conditions {
        at_ns: monotonic_now(),
        cores: recorded(cores::probe(roots, cores)),
        load_average: recorded(load_average(roots)),
        pressure: Pressure {
            cpu_some_us: recorded(waited_us(roots, "cpu")),
            memory_some_us: recorded(waited_us(roots, "memory")),
            io_some_us: recorded(waited_us(roots, "io")),
        },
        swapped_pages: recorded(swapped_pages(roots)),
        throttle_events: recorded(throttle_events(roots)),
        temperature_millidegrees: recorded(heat::temperature(roots)),
        frequencies_khz: recorded(heat::frequencies_khz(roots, cores)),
        governor: recorded(first(cores).and_then(|core| governor(roots, core))),
        boost: recorded(boost(roots)),
        transparent_hugepages: recorded(transparent_hugepages(roots)),
        address_space_randomisation: recorded(kernel_randomisation(roots)),
        clock_source: recorded(clock_source(roots)),
        cgroup: cgroup_use(roots),
    }
}

fn first(cores: &[u32]) -> Result<u32, Unavailable> {
    cores.first().copied().ok_or_else(|| Unavailable::new("it is not known which cores the engine may use"))
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

fn waited_us(roots: &Roots, resource: &str) -> Result<u64, Unavailable> {
    pressure(roots, resource, "total=", |word| word.parse().ok())
}

/// Returns the share of the last ten seconds in which some task waited for a CPU, in percent.
pub(crate) fn cpu_pressure(roots: &Roots) -> Result<f64, Unavailable> {
    pressure(roots, "cpu", "avg10=", finite)
}

/// `some avg10=0.23 avg60=2.72 avg300=10.45 total=77760575` (Documentation/accounting/psi.rst).
fn pressure<T>(
    roots: &Roots,
    resource: &str,
    key: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, Unavailable> {
    let file = roots.proc.join("pressure").join(resource);
    let text = roots.proc_text(&file)?;
    let some = text.lines().find_map(|line| line.strip_prefix("some "));
    let value = some.and_then(|line| line.split_whitespace().find_map(|word| word.strip_prefix(key)));
    value.and_then(parse).ok_or_else(|| Unavailable::content(&file, &format!("`some {key}`")))
}

fn swapped_pages(roots: &Roots) -> Result<u64, Unavailable> {
    let text = roots.proc_text("vmstat")?;
    let count = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        value.ok_or_else(|| Unavailable::content(&roots.proc.join("vmstat"), &format!("`{}`", name.trim())))
    };
    Ok(count("pswpin ")?.saturating_add(count("pswpout ")?))
}

/// Returns the frequency governor of a core.
pub(crate) fn governor(roots: &Roots, core: u32) -> Result<String, Unavailable> {
    roots.sys_text(format!("devices/system/cpu/cpu{core}/cpufreq/scaling_governor"))
}

/// Returns the frequency of a core now, in kHz.
pub(crate) fn frequency_khz(roots: &Roots, core: u32) -> Result<u64, Unavailable> {
    heat::frequencies_khz(roots, &[core]).map(|frequencies| frequencies[0])
}

/// Returns whether cores may exceed their nominal frequency.
pub(crate) fn boost(roots: &Roots) -> Result<bool, Unavailable> {
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

/// Returns where the kernel backs memory with huge pages.
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
    fn the_conditions_of_this_machine_survive_json_and_their_counters_only_grow() {
        let roots = Roots::default();
        let cores: Vec<u32> = crate::cpu::online(&roots).unwrap().iter().collect();
        let earlier = probe(&roots, &cores);
        let json = serde_json::to_string(&earlier).unwrap();
        assert_eq!(serde_json::from_str::<Conditions>(&json).unwrap(), earlier);
        let later = probe(&roots, &cores);
        assert!(later.at_ns > earlier.at_ns);
        let (one, two) = (earlier.cores.as_result().unwrap(), later.cores.as_result().unwrap());
        assert_eq!(two.iter().map(|time| time.core).collect::<Vec<_>>(), cores);
        assert!(one.iter().zip(two).all(|(one, two)| two.busy >= one.busy && two.steal >= one.steal));
        assert!(two.iter().map(|time| time.idle).sum::<u64>() > 0);
        for of in [
            |now: &Conditions| now.pressure.cpu_some_us.clone(),
            |now: &Conditions| now.pressure.memory_some_us.clone(),
            |now: &Conditions| now.pressure.io_some_us.clone(),
            |now: &Conditions| now.swapped_pages.clone(),
            |now: &Conditions| now.throttle_events.clone(),
            |now: &Conditions| now.cgroup.memory_peak_bytes.clone(),
            |now: &Conditions| now.cgroup.throttled_us.clone(),
        ] {
            assert!(of(&later).value() >= of(&earlier).value(), "{earlier:?} {later:?}");
        }
        let load = later.load_average.as_result().unwrap();
        assert!(load.one_minute.is_finite() && load.five_minutes >= 0.0 && load.fifteen_minutes >= 0.0);
        assert!(*later.address_space_randomisation.as_result().unwrap() <= 2);
        assert!(!later.clock_source.as_result().unwrap().is_empty());
        assert!(later.frequencies_khz.value().is_none_or(|each| each.len() == cores.len()));
    }

    #[test]
    fn nobody_is_asked_about_cores_that_are_not_named() {
        let now = probe(&Roots::default(), &[]);
        let reason = Some("it is not known which cores the engine may use");
        assert_eq!((now.cores.reason(), now.governor.reason()), (reason, reason));
        assert_eq!(now.frequencies_khz.reason(), reason);
    }
}
