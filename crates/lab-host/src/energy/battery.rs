//! The discharge of the machine's battery, which feeds all of the machine (Documentation/power/power_supply_class.rst).

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab_core::energy::EnergyMeter;

use super::account::Quantity;
use super::meter::{self, Description, Meters};
use crate::roots::{entries, file_name, read_number, read_text};
use crate::{Roots, Unavailable};

const CLASS: &str = "class/power_supply";

/// The kernel asks an ACPI battery no more than once a second (`cache_time` in `drivers/acpi/battery.c`).
const UPDATE: Duration = Duration::from_secs(1);

const DISCHARGING: &str = "Discharging";

/// Opens one meter for each battery that feeds the machine.
///
/// # Errors
///
/// When there is none, or none is discharging.
pub(super) fn open(roots: &Roots) -> Result<Meters, Unavailable> {
    let class = roots.sys.join(CLASS);
    let supplies = entries(&class, "")?;
    let batteries: Vec<_> = supplies.into_iter().filter(|supply| feeds_the_machine(supply)).collect();
    if batteries.is_empty() {
        return Err(Unavailable::new(format!("`{}` lists no battery", class.display())));
    }
    let states: Vec<_> = batteries.iter().map(|battery| check_discharging(battery)).collect();
    if let (false, Some(Err(reason))) = (states.contains(&Ok(())), states.first()) {
        return Err(Unavailable::new(format!("{reason}; unplug the power supply to measure its discharge")));
    }
    let discharging = batteries.iter().zip(&states).filter(|(_, state)| state.is_ok());
    discharging.map(|(battery, _)| open_battery(roots, battery)).collect()
}

/// Mice and keyboards have batteries too; their scope is `Device`.
fn feeds_the_machine(supply: &Path) -> bool {
    read_text(&supply.join("type")).as_deref() == Ok("Battery")
        && read_text(&supply.join("scope")).as_deref() != Ok("Device")
}

fn open_battery(roots: &Roots, battery: &Path) -> Result<Box<dyn EnergyMeter>, Unavailable> {
    let source = meter::name(roots, &format!("battery {}", file_name(battery)));
    let description = Description { source, quantity: Quantity::Power, quantum_uj: 1, update: UPDATE };
    let battery: PathBuf = battery.to_owned();
    meter::measured(
        &description,
        Box::new(move || check_discharging(&battery).and_then(|()| power_uw(&battery))),
    )
}

fn check_discharging(battery: &Path) -> Result<(), Unavailable> {
    let status = read_text(&battery.join("status"))?;
    if status == DISCHARGING {
        return Ok(());
    }
    Err(Unavailable::new(format!("battery `{}` is not discharging but `{status}`", file_name(battery))))
}

/// Returns the power in microwatts. Batteries speak either in watts or in ampere and volt; some drivers count a
/// discharge as negative.
fn power_uw(battery: &Path) -> Result<u64, Unavailable> {
    let number = |file: &str| read_number::<i64>(&battery.join(file)).map(i64::unsigned_abs);
    if battery.join("power_now").exists() {
        return number("power_now");
    }
    let (microamperes, microvolts) = (number("current_now")?, number("voltage_now")?);
    Ok(u64::try_from(u128::from(microamperes) * u128::from(microvolts) / 1_000_000).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn supply(files: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
        let directory = tempfile::tempdir().unwrap();
        let supply = directory.path().join(CLASS).join("BAT0");
        fs::create_dir_all(&supply).unwrap();
        for (file, text) in files {
            fs::write(supply.join(file), text).unwrap();
        }
        let roots = Roots::new("/proc", directory.path());
        (directory, roots)
    }

    #[test]
    fn watts_and_amperes_by_volts_are_one_power() {
        for files in [
            &[("power_now", "12000000")][..],
            &[("current_now", "1000000"), ("voltage_now", "12000000")],
            &[("current_now", "-1000000"), ("voltage_now", "12000000")],
        ] {
            let (_directory, roots) = supply(files);
            assert_eq!(power_uw(&roots.sys.join(CLASS).join("BAT0")), Ok(12_000_000), "{files:?}");
        }
    }

    #[test]
    fn a_battery_is_a_meter_only_while_it_discharges() {
        let (_directory, roots) =
            supply(&[("type", "Battery"), ("status", "Discharging"), ("power_now", "12000000")]);
        let mut meters = open(&roots).unwrap();
        assert!(meters[0].about().source.starts_with("battery BAT0 below "));
        assert!(meters[0].read().is_ok());
        fs::write(roots.sys.join(CLASS).join("BAT0/status"), "Charging\n").unwrap();
        assert_eq!(meters[0].read().unwrap_err().0, "battery `BAT0` is not discharging but `Charging`");
        assert_eq!(
            open(&roots).err().unwrap().reason,
            "battery `BAT0` is not discharging but `Charging`; unplug the power supply to measure its discharge"
        );
    }

    #[test]
    fn the_battery_of_a_mouse_and_a_charger_feed_no_machine() {
        for files in [&[("type", "Battery"), ("scope", "Device")][..], &[("type", "Mains")]] {
            let (_directory, roots) = supply(files);
            assert!(open(&roots).err().unwrap().reason.ends_with("power_supply` lists no battery"));
        }
    }
}
