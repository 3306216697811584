//! The processor's own energy counters through powercap (Documentation/power/powercap/powercap.rst).
//!
//! Summed up are packages and the memory beside them. A package contains its cores and graphics, which would count
//! twice; `psys`, where there is one, contains the packages; and `intel-rapl-mmio` is the same package by another door.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use lab_core::energy::EnergyMeter;

use super::account::{Quantity, Wrap};
use super::meter::{self, Description, Meters};
use crate::roots::{entries, file_name, read_number, read_text};
use crate::{Roots, Unavailable};

const CLASS: &str = "class/powercap";

/// Energy status units are 15.3 uJ on most processors and 61 uJ on the coarsest (2^-14 J; Intel SDM volume 3B, section
/// 15.10.1, MSR_RAPL_POWER_UNIT). The files do not tell which, so the coarser is taken.
pub(super) const QUANTUM_UJ: u64 = 61;

/// "Updated every ~1msec" (Intel SDM volume 3B, section 15.10.3, MSR_PKG_ENERGY_STATUS).
pub(super) const UPDATE: Duration = Duration::from_millis(1);

/// Where a zone states no power: more than any package sold so far draws (500 W), twice.
const GREATEST_UW: u64 = 1_000_000_000;

/// The stated maximum is the thermal design power; for milliseconds a package draws more. Twice as much leaves the test of
/// wraps sharp: at 250 W and ten readings a second, one false counter in 5000 would still pass for a wrap of 262 kJ.
const OVER_STATED: u64 = 2;

/// Opens one meter for each package and each memory beside one.
///
/// # Errors
///
/// When there is no zone, or one of them cannot be read.
pub(super) fn open(roots: &Roots) -> Result<Meters, Unavailable> {
    let zones = entries(&roots.sys.join(CLASS), "intel-rapl:")?;
    let counted: Vec<_> = zones.iter().filter_map(|zone| Some((zone, counted_name(zone)?))).collect();
    if counted.is_empty() {
        let class = roots.sys.join(CLASS);
        return Err(Unavailable::new(format!("`{}` lists no RAPL zone of a package", class.display())));
    }
    counted.into_iter().map(|(zone, name)| open_zone(roots, zone, &name)).collect()
}

/// Names a zone that counts: `package-0`, or `package-0/dram`.
fn counted_name(zone: &Path) -> Option<String> {
    let own = read_text(&zone.join("name")).ok()?;
    if own.starts_with("package-") {
        return Some(own);
    }
    let directory = file_name(zone);
    let (whole, _) = directory.rsplit_once(':')?;
    let package = read_text(&zone.with_file_name(whole).join("name")).ok()?;
    (own == "dram" && package.starts_with("package-")).then(|| format!("{package}/{own}"))
}

fn open_zone(roots: &Roots, zone: &Path, name: &str) -> Result<Box<dyn EnergyMeter>, Unavailable> {
    let file = zone.join("energy_uj");
    let range_file = zone.join("max_energy_range_uj");
    let range_uj = read_number(&range_file)?;
    if range_uj == 0 {
        return Err(Unavailable::content(&range_file, "a range, but 0"));
    }
    let wrap = Wrap { range_uj, greatest_uw: greatest_uw(zone), update: UPDATE };
    let description = Description {
        source: meter::name(roots, &format!("rapl {name}")),
        quantity: Quantity::WrappingEnergy(wrap),
        quantum_uj: QUANTUM_UJ,
        update: UPDATE,
    };
    meter::measured(
        &description,
        Box::new(move || read_number(&file).map_err(|reason| explain(reason, &file))),
    )
}

/// Returns more power than the zone can draw, in microwatts: from what it states as its maximum, never from its limits,
/// which may be low or not enforced.
fn greatest_uw(zone: &Path) -> u64 {
    let stated = entries(zone, "constraint_").unwrap_or_default();
    let stated = stated.iter().filter(|file| file_name(file).ends_with("_max_power_uw"));
    match stated.filter_map(|file| read_number::<u64>(file).ok()).max() {
        Some(stated_uw) if stated_uw > 0 => stated_uw.saturating_mul(OVER_STATED),
        _ => GREATEST_UW,
    }
}

/// Adds what helps against a denied permission. Counters of energy are for root only since Linux 5.10, because they
/// betray what other processes compute (CVE-2020-8694, "PLATYPUS").
fn explain(reason: Unavailable, file: &Path) -> Unavailable {
    if !File::open(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        return reason;
    }
    let files = file.parent().and_then(Path::parent).unwrap_or(file).join("intel-rapl:*/energy_uj");
    Unavailable::new(format!(
        "{reason}: since Linux 5.10 it is for root only (CVE-2020-8694); run as root, or permit it until the next boot \
         with `sudo chmod a+r {}`",
        files.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Builds zones with their names and a counter that stands at 5 J.
    fn tree(zones: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
        let directory = tempfile::tempdir().unwrap();
        for (zone, name) in zones {
            let zone = directory.path().join("sys").join(CLASS).join(zone);
            fs::create_dir_all(&zone).unwrap();
            fs::write(zone.join("name"), name).unwrap();
            fs::write(zone.join("energy_uj"), "5000000\n").unwrap();
            fs::write(zone.join("max_energy_range_uj"), "262143328850\n").unwrap();
        }
        let roots = Roots::new(directory.path().join("proc"), directory.path().join("sys"));
        (directory, roots)
    }

    fn names(meters: &Meters, roots: &Roots) -> Vec<String> {
        let below = format!(" below {}", roots.sys.display());
        meters.iter().map(|meter| meter.about().source.strip_suffix(&below).unwrap().to_owned()).collect()
    }

    #[test]
    fn packages_and_their_memory_count_once_each() {
        let (_directory, roots) = tree(&[
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:0:1", "uncore"),
            ("intel-rapl:0:2", "dram"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:1:0", "dram"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl:3", "package-0-die-1"),
            ("intel-rapl-mmio:0", "package-0"),
        ]);
        let meters = open(&roots).unwrap();
        let expected = [
            "rapl package-0",
            "rapl package-0/dram",
            "rapl package-1",
            "rapl package-1/dram",
            "rapl package-0-die-1",
        ];
        assert_eq!(names(&meters, &roots), expected);
        let info = meters[0].about();
        assert_eq!((info.quantum_uj, info.update_ns, info.integrated), (61, 1_000_000, false));
        assert_eq!(info.longest_gap_ns, Some(60_000_000_000));
    }

    #[test]
    fn the_greatest_power_is_twice_what_the_zone_states_or_a_kilowatt() {
        let (_directory, roots) = tree(&[("intel-rapl:0", "package-0")]);
        let zone = roots.sys.join(CLASS).join("intel-rapl:0");
        assert_eq!(greatest_uw(&zone), 1_000_000_000);
        fs::write(zone.join("constraint_0_max_power_uw"), "65000000").unwrap();
        fs::write(zone.join("constraint_1_max_power_uw"), "0").unwrap();
        fs::write(zone.join("constraint_1_power_limit_uw"), "88000000").unwrap();
        fs::write(zone.join("constraint_1_time_window_us"), "999000000000").unwrap();
        assert_eq!(greatest_uw(&zone), 130_000_000);
        fs::write(zone.join("constraint_0_max_power_uw"), "0").unwrap();
        assert_eq!(greatest_uw(&zone), 1_000_000_000, "a limit that may not be enforced is no bound");
    }

    #[test]
    fn a_counter_without_a_range_is_refused() {
        let (_directory, roots) = tree(&[("intel-rapl:0", "package-0")]);
        fs::write(roots.sys.join(CLASS).join("intel-rapl:0/max_energy_range_uj"), "0").unwrap();
        let error = open(&roots).err().unwrap();
        assert!(error.reason.ends_with("max_energy_range_uj` does not hold a range, but 0"), "{error}");
    }

    #[test]
    fn no_package_is_no_source() {
        let (_directory, roots) = tree(&[("intel-rapl:0", "psys")]);
        assert!(open(&roots).err().unwrap().reason.ends_with("lists no RAPL zone of a package"));
    }
}
