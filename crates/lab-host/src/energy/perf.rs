//! The processor's own energy counters through perf events (the kernel's `arch/x86/events/rapl.c`).
//!
//! The `power` unit lists its events below `/sys/bus/event_source/devices/power`; the kernel widens the processor's
//! counters to 64 bits and undoes their wraps. One CPU of each package, listed in `cpumask`, is asked.

use std::io;
use std::path::Path;

use lab_core::energy::EnergyMeter;
use perf_event::events::Software;
use perf_event::{Builder, Counter};

use super::account::Quantity;
use super::meter::{self, Description, Meters};
use super::rapl::{QUANTUM_UJ, UPDATE};
use crate::cpu::CpuList;
use crate::roots::{excerpt, read_number, read_text};
use crate::{Roots, Unavailable};

const UNIT: &str = "bus/event_source/devices/power";

/// Packages, and the memory beside them; cores and graphics are part of a package, and `energy-psys` contains it.
const EVENTS: [&str; 2] = ["energy-pkg", "energy-ram"];

/// An event of the unit, as sysfs describes it.
#[derive(Debug, Clone, PartialEq)]
struct PowerEvent {
    name: &'static str,
    /// The unit's number, which the kernel assigns at boot.
    unit: u32,
    /// The event's number within the unit.
    config: u64,
    /// Joules a count.
    scale: f64,
}

/// Opens one meter for each event that counts and each CPU that answers for a package.
///
/// # Errors
///
/// When the machine has no such unit, or the kernel refuses its counters.
pub(super) fn open(roots: &Roots) -> Result<Meters, Unavailable> {
    let unit = roots.sys.join(UNIT);
    let cpus = cpus(&unit)?;
    let events = events(&unit)?;
    let pairs = events.iter().flat_map(|event| cpus.iter().map(move |cpu| (event, cpu)));
    pairs.map(|(event, cpu)| open_event(roots, event, cpu)).collect()
}

fn cpus(unit: &Path) -> Result<CpuList, Unavailable> {
    let file = unit.join("cpumask");
    let text = read_text(&file)?;
    text.parse()
        .map_err(|_| Unavailable::content(&file, &format!("a list of CPUs, but `{}`", excerpt(&text))))
}

/// Returns those of the events that the unit has: not every processor counts its memory.
fn events(unit: &Path) -> Result<Vec<PowerEvent>, Unavailable> {
    let present = EVENTS.into_iter().filter(|name| unit.join("events").join(name).exists());
    let events = present.map(|name| event(unit, name)).collect::<Result<Vec<_>, _>>()?;
    if events.is_empty() {
        return Err(Unavailable::new(format!("`{}` lists neither of {}", unit.display(), EVENTS.join(", "))));
    }
    Ok(events)
}

fn event(unit: &Path, name: &'static str) -> Result<PowerEvent, Unavailable> {
    let file = unit.join("events").join(name);
    let scale_file = unit.join("events").join(format!("{name}.scale"));
    let text = read_text(&file)?;
    let number = text.strip_prefix("event=0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let config = number
        .ok_or_else(|| Unavailable::content(&file, &format!("`event=0x…`, but `{}`", excerpt(&text))))?;
    let scale: f64 = read_number(&scale_file)?;
    if !(scale.is_finite() && scale > 0.0) {
        return Err(Unavailable::content(&scale_file, &format!("joules a count, but {scale}")));
    }
    Ok(PowerEvent { name, unit: read_number(&unit.join("type"))?, config, scale })
}

fn open_event(roots: &Roots, event: &PowerEvent, cpu: u32) -> Result<Box<dyn EnergyMeter>, Unavailable> {
    let mut counter = counter(event, cpu).map_err(|error| refusal(roots, event, cpu, &error))?;
    let description = Description {
        source: meter::name(roots, &format!("rapl-perf {} cpu{cpu}", event.name)),
        quantity: Quantity::RisingEnergy,
        quantum_uj: QUANTUM_UJ,
        update: UPDATE,
    };
    let (source, scale) = (description.source.clone(), event.scale);
    let failed = move |error: io::Error| Unavailable::new(format!("`{source}` cannot be read: {error}"));
    let gauge = move || counter.read().map(|count| microjoules(count, scale)).map_err(&failed);
    meter::measured(&description, Box::new(gauge))
}

/// The unit counts whole packages: for all processes, in the kernel as well (it refuses every exclusion).
fn counter(event: &PowerEvent, cpu: u32) -> io::Result<Counter> {
    let cpu = usize::try_from(cpu).expect("a CPU's number fits the address space");
    let mut builder = Builder::new(Software::DUMMY);
    builder.attrs_mut().type_ = event.unit;
    builder.attrs_mut().config = event.config;
    let mut counter = builder.any_pid().one_cpu(cpu).include_kernel().include_hv().build()?;
    counter.enable()?;
    Ok(counter)
}

fn refusal(roots: &Roots, event: &PowerEvent, cpu: u32, error: &io::Error) -> Unavailable {
    let what = format!("the kernel refuses `power/{}/` on CPU {cpu}: {error}", event.name);
    if error.kind() != io::ErrorKind::PermissionDenied {
        return Unavailable::new(what);
    }
    // Counting all processes on a CPU asks for this (Documentation/admin-guide/perf-security.rst).
    let level = roots.proc_text("sys/kernel/perf_event_paranoid").unwrap_or_else(|_| "unknown".to_owned());
    Unavailable::new(format!(
        "{what}; `perf_event_paranoid` is {level}: permit it with `sudo sysctl kernel.perf_event_paranoid=0`, or give \
         lab the capability CAP_PERFMON"
    ))
}

/// Counts of 2^-32 J stay exact below 2 MJ and lose less than a microjoule below a terajoule's thousandth.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and neither factor is negative"
)]
fn microjoules(count: u64, scale: f64) -> u64 {
    (count as f64 * scale * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lab_core::clock::Clock as _;

    use super::*;
    use crate::clock::Monotonic;

    fn unit(files: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
        let directory = tempfile::tempdir().unwrap();
        let unit = directory.path().join(UNIT);
        fs::create_dir_all(unit.join("events")).unwrap();
        for (file, text) in files {
            fs::write(unit.join(file), text).unwrap();
        }
        let roots = Roots::new("/proc", directory.path());
        (directory, roots)
    }

    #[test]
    fn events_are_read_as_the_kernel_describes_them() {
        let (_directory, roots) = unit(&[
            ("type", "21\n"),
            ("cpumask", "0,18\n"),
            ("events/energy-cores", "event=0x01\n"),
            ("events/energy-pkg", "event=0x02\n"),
            ("events/energy-pkg.unit", "Joules\n"),
            ("events/energy-pkg.scale", "2.3283064365386962890625e-10\n"),
        ]);
        let unit = roots.sys.join(UNIT);
        let scale = 2.0_f64.powi(-32);
        assert_eq!(events(&unit).unwrap(), [PowerEvent { name: "energy-pkg", unit: 21, config: 2, scale }]);
        assert_eq!(cpus(&unit).unwrap().iter().collect::<Vec<_>>(), [0, 18]);
        assert_eq!(microjoules(1 << 32, scale), 1_000_000);
    }

    #[test]
    fn what_the_unit_does_not_say_is_named() {
        let pkg = ("events/energy-pkg", "event=0x02");
        for (files, reason) in [
            (&[][..], "cpumask` does not exist"),
            (&[("cpumask", "x")][..], "cpumask` does not hold a list of CPUs, but `x`"),
            (&[("cpumask", "0")], "power` lists neither of energy-pkg, energy-ram"),
            (
                &[("cpumask", "0"), ("events/energy-pkg", "config=2")],
                "does not hold `event=0x…`, but `config=2`",
            ),
            (&[("cpumask", "0"), pkg], "energy-pkg.scale` does not exist"),
            (
                &[("cpumask", "0"), pkg, ("events/energy-pkg.scale", "-1")],
                "energy-pkg.scale` does not hold joules a count, but -1",
            ),
        ] {
            let (_directory, roots) = unit(files);
            let error = open(&roots).err().unwrap();
            assert!(error.reason.ends_with(reason), "{error}");
        }
    }

    /// The kernel's `cpu-clock` (unit 1, event 0) counts a nanosecond a nanosecond: a package that draws one watt.
    #[test]
    fn a_counter_of_the_kernel_is_read_through_the_same_door_or_its_refusal_is_explained() {
        let (_directory, roots) = unit(&[
            ("type", "1"),
            ("cpumask", "0"),
            ("events/energy-pkg", "event=0x00"),
            ("events/energy-pkg.scale", "1e-9"),
        ]);
        let mut meters = match open(&roots) {
            Ok(meters) => meters,
            Err(refusal) => {
                return assert!(refusal.reason.contains("the kernel refuses"), "{refusal}");
            }
        };
        assert!(meters[0].about().source.starts_with("rapl-perf energy-pkg cpu0 below "));
        let first = meters[0].read().unwrap();
        Monotonic.wait_until_ns(first.at_ns + 500_000_000);
        let second = meters[0].read().unwrap();
        let (elapsed_us, used_uj) = ((second.at_ns - first.at_ns) / 1000, second.total_uj - first.total_uj);
        assert!(used_uj.abs_diff(elapsed_us) * 20 < elapsed_us, "{used_uj} uJ in {elapsed_us} us");
    }
}
