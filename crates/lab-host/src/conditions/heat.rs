//! Frequency, heat, and what heat does to frequency.

use std::path::PathBuf;

use super::first;
use crate::roots::{entries, read_text};
use crate::{Roots, Unavailable};

const CPUS: &str = "devices/system/cpu";

/// What a sensor of a running machine can show, in thousandths of a degree. Chips are specified from -40 to 125 °C;
/// inputs that nothing is connected to show 127 or 255 °C, or the value of an overflow.
const PLAUSIBLE_MILLIDEGREES: std::ops::RangeInclusive<i64> = -40_000..=125_000;

/// 100 GHz: no core comes near it.
const GREATEST_KHZ: u64 = 100_000_000;

/// Returns how often cores and packages were slowed down for their heat since boot, over all CPUs.
pub(crate) fn throttle_events(roots: &Roots) -> Result<u64, Unavailable> {
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

/// Returns the temperature of the hottest sensor, in thousandths of a degree Celsius.
pub(super) fn temperature(roots: &Roots) -> Result<i64, Unavailable> {
    let files = temperature_files(roots);
    let readings = files.iter().filter_map(|file| parse_temperature(&read_text(file).ok()?));
    let class = roots.sys.join("class");
    let nothing = || format!("no sensor below `{}` shows a temperature", class.display());
    hottest(readings).ok_or_else(|| Unavailable::new(nothing()))
}

/// Returns the files of every sensor of temperature (Documentation/driver-api/thermal/sysfs-api.rst,
/// Documentation/hwmon/sysfs-interface.rst).
pub(crate) fn temperature_files(roots: &Roots) -> Vec<PathBuf> {
    let class = roots.sys.join("class");
    let directories = |class: PathBuf, prefix| entries(&class, prefix).unwrap_or_default().into_iter();
    let zones = directories(class.join("thermal"), "thermal_zone").map(|zone| zone.join("temp"));
    let chips = directories(class.join("hwmon"), "hwmon");
    let inputs = chips.flat_map(|chip| entries(&chip, "temp").unwrap_or_default());
    zones.chain(inputs.filter(|file| file.to_string_lossy().ends_with("_input"))).collect()
}

/// Returns the temperature in a sensor's file in thousandths of a degree, where it is one that a machine can have.
pub(crate) fn parse_temperature(text: &str) -> Option<i64> {
    text.trim().parse().ok().filter(|millidegrees| PLAUSIBLE_MILLIDEGREES.contains(millidegrees))
}

/// Returns the hottest of several temperatures.
pub(crate) fn hottest(temperatures: impl Iterator<Item = i64>) -> Option<i64> {
    temperatures.max()
}

/// Returns the frequency of each of `cores` in kHz, in their order.
pub(super) fn frequencies_khz(roots: &Roots, cores: &[u32]) -> Result<Vec<u64>, Unavailable> {
    first(cores)?;
    let frequency = |core: &u32| {
        let file = frequency_file(roots, *core);
        parse_frequency_khz(&read_text(&file)?)
            .ok_or_else(|| Unavailable::content(&file, "a frequency in kHz"))
    };
    cores.iter().map(frequency).collect()
}

/// Returns the file with a core's frequency (Documentation/admin-guide/pm/cpufreq.rst).
pub(crate) fn frequency_file(roots: &Roots, core: u32) -> PathBuf {
    roots.sys.join(CPUS).join(format!("cpu{core}/cpufreq/scaling_cur_freq"))
}

/// Returns the frequency in a core's file in kHz, where it is one that a core can have.
pub(crate) fn parse_frequency_khz(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|khz| (1..=GREATEST_KHZ).contains(khz))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_can_have_is_no_temperature_and_no_frequency() {
        for (text, expected) in [
            ("51000\n", Some(51_000)),
            ("-5000", Some(-5_000)),
            ("125000", Some(125_000)),
            ("127000", None),
            ("-274000", None),
            ("65261850", None),
            ("warm", None),
        ] {
            assert_eq!(parse_temperature(text), expected, "{text}");
        }
        for (text, expected) in
            [("2700012\n", Some(2_700_012)), ("0", None), ("18446744073709551615", None), ("<unknown>", None)]
        {
            assert_eq!(parse_frequency_khz(text), expected, "{text}");
        }
    }
}
