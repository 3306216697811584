//! AMD accelerators, through the sensors that their driver puts on the hardware monitoring bus
//! (Documentation/gpu/amdgpu/thermal.rst: `power1_average`, `power1_input`; `energy1_input` where a version has it).

use super::hwmon::{CLASS, chip_name, open_chip};
use super::meter::Meters;
use crate::roots::entries;
use crate::{Roots, Unavailable};

/// Opens the sensors of one accelerator, counted in the order of the bus, or of all.
///
/// # Errors
///
/// When there is none, or one of them cannot be read.
pub(super) fn open(roots: &Roots, only: Option<usize>) -> Result<Meters, Unavailable> {
    let class = roots.sys.join(CLASS);
    let chips = entries(&class, "hwmon")?;
    let chips: Vec<_> = chips.iter().filter(|chip| chip_name(chip) == "amdgpu").collect();
    if chips.is_empty() {
        return Err(Unavailable::new(format!("`{}` lists no chip `amdgpu`", class.display())));
    }
    let mut meters = Vec::new();
    for (number, chip) in
        chips.iter().enumerate().filter(|(number, _)| only.is_none_or(|only| only == *number))
    {
        let of_chip = open_chip(roots, chip, &format!("amdgpu {number}"))?;
        if of_chip.is_empty() {
            return Err(Unavailable::new(format!("`{}` has no sensor of energy or power", chip.display())));
        }
        meters.extend(of_chip);
    }
    match only {
        Some(only) if meters.is_empty() => Err(Unavailable::new(format!(
            "there is no AMD accelerator {only}: {} are numbered from 0",
            chips.len()
        ))),
        _ => Ok(meters),
    }
}

/// Tells whether an AMD accelerator is a part of the processor (an APU): its power then includes the processor's. Only
/// those have the voltage of a northbridge, `in1_input` (Documentation/gpu/amdgpu/thermal.rst).
pub(super) fn shares_the_processor(roots: &Roots) -> bool {
    let chips = entries(&roots.sys.join(CLASS), "hwmon").unwrap_or_default();
    chips.iter().any(|chip| chip_name(chip) == "amdgpu" && chip.join("in1_input").exists())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Two accelerators with different sensors, and a third with none, between other chips.
    fn two() -> (tempfile::TempDir, Roots) {
        let directory = tempfile::tempdir().unwrap();
        for (chip, name, sensor) in [
            ("hwmon0", "k10temp", "temp1_input"),
            ("hwmon1", "amdgpu", "power1_average"),
            ("hwmon2", "nvme", "temp1_input"),
            ("hwmon10", "amdgpu", "energy1_input"),
        ] {
            let chip = directory.path().join(CLASS).join(chip);
            fs::create_dir_all(&chip).unwrap();
            fs::write(chip.join("name"), name).unwrap();
            fs::write(chip.join(sensor), "17000000").unwrap();
        }
        let roots = Roots::new("/proc", directory.path());
        (directory, roots)
    }

    #[test]
    fn each_accelerator_is_read_by_the_best_sensor_it_has() {
        let (_directory, roots) = two();
        let about: Vec<_> = open(&roots, None).unwrap().iter().map(|meter| meter.about().clone()).collect();
        assert!(about[0].source.starts_with("amdgpu 0 power1_average below "), "{about:?}");
        assert!(about[1].source.starts_with("amdgpu 1 energy1_input below "), "{about:?}");
        assert_eq!((about[0].integrated, about[1].integrated), (true, false));
    }

    #[test]
    fn one_accelerator_is_picked_by_its_number() {
        let (_directory, roots) = two();
        let one = open(&roots, Some(1)).unwrap();
        assert!(one[0].about().source.starts_with("amdgpu 1 "));
        let error = open(&roots, Some(2)).err().unwrap();
        assert_eq!(error.reason, "there is no AMD accelerator 2: 2 are numbered from 0");
    }

    #[test]
    fn an_accelerator_without_a_sensor_is_named() {
        let (_directory, roots) = two();
        fs::remove_file(roots.sys.join(CLASS).join("hwmon1/power1_average")).unwrap();
        let error = open(&roots, None).err().unwrap();
        assert!(error.reason.ends_with("hwmon1` has no sensor of energy or power"), "{error}");
    }
}
