//! Where this machine could tell its consumption. Detection only: this version of lab reads no energy meter yet.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::roots::{entries, file_name, read_text};
use crate::{Reading, Roots, Unavailable};

/// A file that counts or states energy or power.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnergySource {
    /// What it measures, such as `package-0/dram` or `amdgpu power1_average`.
    pub name: String,
    /// The file that would be read.
    pub file: PathBuf,
    /// Whether this process may read it; the reason where not.
    pub readable: Reading<()>,
}

/// Returns the zones of RAPL, the processor's own energy counters (Documentation/power/powercap/powercap.rst):
/// packages, and the cores, graphics and memory within them.
///
/// # Errors
///
/// When there is none.
pub fn rapl_zones(roots: &Roots) -> Result<Vec<EnergySource>, Unavailable> {
    const CLASS: &str = "class/powercap";
    // `intel-rapl-mmio:0` is the same package through another door and would count twice.
    let zones = entries(&roots.sys.join(CLASS), "intel-rapl:")?;
    let sources = zones.iter().filter_map(|zone| source(zone, "energy_uj", rapl_name(zone)?));
    some(roots, CLASS, "RAPL zone", sources.collect())
}

/// Returns the sensors of power and energy on the hardware monitoring bus (Documentation/hwmon/sysfs-interface.rst).
///
/// # Errors
///
/// When there is none.
pub fn hwmon_sensors(roots: &Roots) -> Result<Vec<EnergySource>, Unavailable> {
    const CLASS: &str = "class/hwmon";
    let mut sources = Vec::new();
    for chip in entries(&roots.sys.join(CLASS), "hwmon")? {
        let chip_name = read_text(&chip.join("name")).unwrap_or_else(|_| file_name(&chip));
        for file in entries(&chip, "")?.iter().map(|path| file_name(path)) {
            if is_energy_or_power(&file) {
                sources.extend(source(&chip, &file, format!("{chip_name} {file}")));
            }
        }
    }
    some(roots, CLASS, "power or energy sensor", sources)
}

/// Returns the batteries that state their discharge.
///
/// # Errors
///
/// When there is none.
pub fn batteries(roots: &Roots) -> Result<Vec<EnergySource>, Unavailable> {
    const CLASS: &str = "class/power_supply";
    let supplies = entries(&roots.sys.join(CLASS), "")?;
    let batteries =
        supplies.iter().filter(|supply| read_text(&supply.join("type")).as_deref() == Ok("Battery"));
    let sources = batteries.filter_map(|battery| {
        // Batteries speak either in watts or in ampere and volt.
        let stated = |file: &&str| battery.join(file).exists();
        let file = ["power_now", "current_now"].into_iter().find(stated)?;
        source(battery, file, format!("{} {file}", file_name(battery)))
    });
    some(roots, CLASS, "battery that states its discharge", sources.collect())
}

/// Returns a zone's name, preceded by that of the zone it is a part of: every package has a `core`. `intel-rapl:0:1`
/// is a part of `intel-rapl:0`.
fn rapl_name(zone: &Path) -> Option<String> {
    let own = read_text(&zone.join("name")).ok()?;
    let directory = file_name(zone);
    let (whole, _) = directory.rsplit_once(':')?;
    let whole = read_text(&zone.with_file_name(whole).join("name"));
    Some(whole.map_or(own.clone(), |whole| format!("{whole}/{own}")))
}

fn is_energy_or_power(file: &str) -> bool {
    let numbered = |prefix: &str, suffix: &str| {
        let number = file.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    numbered("power", "_average") || numbered("power", "_input") || numbered("energy", "_input")
}

fn source(directory: &Path, file: &str, name: String) -> Option<EnergySource> {
    let file = directory.join(file);
    if !file.exists() {
        return None;
    }
    // Opening shows the permission; reading a sensor may wake its device.
    let readable = File::open(&file).map(drop).map_err(|error| Unavailable::reading(&file, &error));
    Some(EnergySource { name, file, readable: readable.into() })
}

fn some(
    roots: &Roots,
    class: &str,
    what: &str,
    sources: Vec<EnergySource>,
) -> Result<Vec<EnergySource>, Unavailable> {
    if sources.is_empty() {
        let class = roots.sys.join(class);
        return Err(Unavailable::new(format!("`{}` lists no {what}", class.display())));
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readings_of_power_and_energy_count_as_sensors() {
        for file in ["power1_average", "power12_input", "energy3_input"] {
            assert!(is_energy_or_power(file), "{file}");
        }
        for file in ["power1_cap", "power_average", "temp1_input", "powerx_input", "energy1_label"] {
            assert!(!is_energy_or_power(file), "{file}");
        }
    }

    #[test]
    fn this_machines_sources_are_named_or_their_absence_is() {
        let roots = Roots::default();
        for answer in [rapl_zones(&roots), hwmon_sensors(&roots), batteries(&roots)] {
            match answer {
                Ok(sources) => {
                    assert!(!sources.is_empty());
                    assert!(sources.iter().all(|source| source.file.exists() && !source.name.is_empty()));
                }
                Err(reason) => assert!(reason.reason.starts_with("`/sys/class/"), "{reason}"),
            }
        }
    }
}
