//! Sensors on the hardware monitoring bus (Documentation/hwmon/sysfs-interface.rst).
//!
//! What a sensor covers is the board maker's secret, so the rules here only keep the same energy from counting twice
//! where the kernel's documentation tells; every sensor summed up stands in the session by name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab_core::energy::EnergyMeter;

use super::account::Quantity;
use super::meter::{self, Description, Meters};
use crate::roots::{entries, file_name, read_number, read_text};
use crate::{Roots, Unavailable};

pub(super) const CLASS: &str = "class/hwmon";

/// Drivers of GPUs; they are accelerators and no part of what the processor draws.
const GPU_DRIVERS: &[&str] = &["amdgpu", "radeon", "nouveau", "i915", "xe"];

/// The ACPI power meter covers the whole machine (Documentation/hwmon/acpi_power_meter.rst), every other chip included.
const WHOLE_MACHINE: &str = "power_meter";

/// Where a chip does not state how often it converts: drivers keep a register's value for a second (`HZ` or a little
/// more in most of `drivers/hwmon`).
const DEFAULT_UPDATE: Duration = Duration::from_secs(1);

/// Sensors in the order of preference, with what the numbers are; all speak in millionths.
const SENSORS: [(&str, &str, Quantity); 3] = [
    ("energy", "_input", Quantity::RisingEnergy),
    ("power", "_average", Quantity::Power),
    ("power", "_input", Quantity::Power),
];

/// Opens the sensors of all chips but those of GPUs and batteries.
///
/// # Errors
///
/// When there is none, or one of them cannot be read.
pub(super) fn open(roots: &Roots) -> Result<Meters, Unavailable> {
    let chips = entries(&roots.sys.join(CLASS), "hwmon")?;
    let counted =
        |chip: &&PathBuf| !GPU_DRIVERS.contains(&chip_name(chip).as_str()) && !is_battery(roots, chip);
    let mut chips: Vec<_> = chips.iter().filter(counted).collect();
    if let Some(whole) = chips.iter().copied().find(|chip| chip_name(chip) == WHOLE_MACHINE) {
        chips = vec![whole];
    }
    let mut meters = Vec::new();
    for chip in chips {
        meters.extend(open_chip(roots, chip, &format!("hwmon {}", chip_name(chip)))?);
    }
    if meters.is_empty() {
        let class = roots.sys.join(CLASS);
        let nothing = "lists no power or energy sensor besides those of GPUs and batteries";
        return Err(Unavailable::new(format!("`{}` {nothing}", class.display())));
    }
    Ok(meters)
}

/// Opens the best kind of sensor that a chip has; none where it has none.
///
/// # Errors
///
/// When a sensor that is there cannot be read.
pub(super) fn open_chip(roots: &Roots, chip: &Path, name: &str) -> Result<Meters, Unavailable> {
    for (prefix, suffix, quantity) in SENSORS {
        let sensors = sensors(chip, prefix, suffix)?;
        if !sensors.is_empty() {
            let open =
                |sensor: &String| open_sensor(roots, chip, &format!("{name} {sensor}"), sensor, quantity);
            return sensors.iter().map(open).collect();
        }
    }
    Ok(Vec::new())
}

/// Returns the name that the chip's driver gave it.
pub(super) fn chip_name(chip: &Path) -> String {
    read_text(&chip.join("name")).unwrap_or_else(|_| file_name(chip))
}

/// Batteries and chargers show on this bus too, by the name of the supply.
fn is_battery(roots: &Roots, chip: &Path) -> bool {
    roots.sys.join("class/power_supply").join(chip_name(chip)).exists()
}

/// Returns the files of one kind that do not count what another of them counts: a processor's sockets contain its cores
/// (Documentation/hwmon/amd_energy.rst), what goes out of a power supply went into it
/// (Documentation/hwmon/pmbus.rst: `pin`, `pout1`), and a total has its rails in it
/// (Documentation/hwmon/corsair-psu.rst: `power total`).
fn sensors(chip: &Path, prefix: &str, suffix: &str) -> Result<Vec<String>, Unavailable> {
    let files = entries(chip, prefix)?;
    let names = files.iter().map(|file| file_name(file)).filter(|file| is_numbered(file, prefix, suffix));
    let label = |file: &String| {
        let stem = file.trim_end_matches(suffix);
        read_text(&chip.join(format!("{stem}_label"))).unwrap_or_default()
    };
    let is_total = |file: &String| label(file).contains("total");
    let is_part = |file: &String| label(file).starts_with("Ecore") || label(file).starts_with("pout");
    let all: Vec<_> = names.collect();
    if let Some(total) = all.iter().find(|file| is_total(file)) {
        return Ok(vec![total.clone()]);
    }
    let (parts, whole): (Vec<_>, Vec<_>) = all.into_iter().partition(is_part);
    Ok(if whole.is_empty() { parts } else { whole })
}

fn is_numbered(file: &str, prefix: &str, suffix: &str) -> bool {
    let number = file.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn open_sensor(
    roots: &Roots,
    chip: &Path,
    name: &str,
    file: &str,
    quantity: Quantity,
) -> Result<Box<dyn EnergyMeter>, Unavailable> {
    let source = meter::name(roots, name);
    let description = Description { source, quantity, quantum_uj: 1, update: update(chip, file) };
    let file = chip.join(file);
    meter::measured(&description, Box::new(move || read_number(&file)))
}

/// Returns the time between two conversions: of the one sensor where its averaging time is stated, else of the chip,
/// both in milliseconds.
fn update(chip: &Path, file: &str) -> Duration {
    let stated = [format!("{file}_interval"), "update_interval".to_owned()];
    let stated = stated.iter().find_map(|file| read_number(&chip.join(file)).ok());
    stated.filter(|ms| *ms > 0).map_or(DEFAULT_UPDATE, Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = directory.path().join("class").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let roots = Roots::new("/proc", directory.path());
        (directory, roots)
    }

    /// Opens what these files make and returns the names, or the reason.
    fn opened(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let (_directory, roots) = tree(files);
        let below = format!(" below {}", roots.sys.display());
        let meters =
            open(&roots).map_err(|error| error.reason.replace(&roots.sys.display().to_string(), ""))?;
        Ok(meters.iter().map(|meter| meter.about().source.replace(&below, "")).collect())
    }

    #[test]
    fn energy_is_preferred_to_average_power_and_that_to_power() {
        let files = [
            ("hwmon/hwmon0/name", "a"),
            ("hwmon/hwmon0/energy1_input", "1"),
            ("hwmon/hwmon0/power1_input", "1"),
            ("hwmon/hwmon1/name", "b"),
            ("hwmon/hwmon1/power1_average", "1"),
            ("hwmon/hwmon1/power1_input", "1"),
            ("hwmon/hwmon2/name", "c"),
            ("hwmon/hwmon2/power1_input", "1"),
            ("hwmon/hwmon2/power2_input", "1"),
            ("hwmon/hwmon2/power1_cap", "1"),
        ];
        let expected = [
            "hwmon a energy1_input",
            "hwmon b power1_average",
            "hwmon c power1_input",
            "hwmon c power2_input",
        ];
        assert_eq!(opened(&files).unwrap(), expected);
    }

    #[test]
    fn nothing_counts_twice() {
        let sockets = [
            ("hwmon/hwmon0/name", "amd_energy"),
            ("hwmon/hwmon0/energy1_input", "1"),
            ("hwmon/hwmon0/energy1_label", "Ecore000"),
            ("hwmon/hwmon0/energy2_input", "1"),
            ("hwmon/hwmon0/energy2_label", "Esocket0"),
        ];
        assert_eq!(opened(&sockets).unwrap(), ["hwmon amd_energy energy2_input"]);
        let whole =
            [&sockets[..], &[("hwmon/hwmon1/name", "power_meter"), ("hwmon/hwmon1/power1_average", "1")]];
        assert_eq!(opened(&whole.concat()).unwrap(), ["hwmon power_meter power1_average"]);
        let supply = [
            ("hwmon/hwmon0/name", "dps800"),
            ("hwmon/hwmon0/power1_input", "1"),
            ("hwmon/hwmon0/power1_label", "pin"),
            ("hwmon/hwmon0/power2_input", "1"),
            ("hwmon/hwmon0/power2_label", "pout1"),
        ];
        assert_eq!(opened(&supply).unwrap(), ["hwmon dps800 power1_input"]);
    }

    #[test]
    fn gpus_and_batteries_are_other_sources() {
        let files = [
            ("hwmon/hwmon0/name", "amdgpu"),
            ("hwmon/hwmon0/power1_average", "1"),
            ("hwmon/hwmon1/name", "BAT0"),
            ("hwmon/hwmon1/power1_input", "1"),
            ("power_supply/BAT0/type", "Battery"),
        ];
        let reason = "`/class/hwmon` lists no power or energy sensor besides those of GPUs and batteries";
        assert_eq!(opened(&files).unwrap_err(), reason);
    }

    #[test]
    fn updates_are_as_far_apart_as_the_sensor_or_its_chip_states() {
        for (file, text, expected_ms) in [
            ("hwmon/hwmon0/power1_average_interval", "300", 300),
            ("hwmon/hwmon0/update_interval", "20", 20),
            ("hwmon/hwmon0/update_interval", "0", 1000),
            ("hwmon/hwmon0/name", "a", 1000),
        ] {
            let (_directory, roots) = tree(&[("hwmon/hwmon0/power1_average", "1"), (file, text)]);
            let meters = open(&roots).unwrap();
            assert_eq!(meters[0].about().update_ns, expected_ms * 1_000_000, "{file}");
            assert!(meters[0].about().integrated);
        }
    }

    #[test]
    fn an_energy_counter_that_goes_backwards_is_an_error() {
        let (_directory, roots) = tree(&[("hwmon/hwmon0/name", "a"), ("hwmon/hwmon0/energy1_input", "9")]);
        let mut meters = open(&roots).unwrap();
        fs::write(roots.sys.join("class/hwmon/hwmon0/energy1_input"), "4").unwrap();
        let error = meters[0].read().unwrap_err();
        assert!(error.0.starts_with("`hwmon a energy1_input below "), "{error}");
        assert!(error.0.ends_with("went backwards, from 9 to 4"), "{error}");
    }
}
