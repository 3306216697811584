//! What a plan asks for, resolved on this machine.

use std::path::Path;

use lab_core::plan::{EnergySource, ExternalMeter};

use super::meter::Meters;
use super::{amdgpu, battery, external, hwmon, nvml, perf, rapl};
use crate::{Roots, Unavailable};

/// The energy meters that someone wants.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The sources to be summed up; empty to measure none.
    pub sources: &'a [EnergySource],
    /// The meter outside the machine, where `sources` names it.
    pub external: Option<&'a ExternalMeter>,
    /// The device that computes, such as `cpu` or `cuda:0`.
    pub device: &'a str,
    /// NVIDIA's management library, where it is not the one of the system.
    pub nvml_library: Option<&'a Path>,
}

/// Opens the meters; their energies add up.
///
/// Each is read once, so that permission shows now and not in the middle of a session.
///
/// # Errors
///
/// When none is wanted; when a source that is named cannot be had, or counts what another counts; when `auto` finds
/// nothing, with the reason of every source.
pub fn open(roots: &Roots, wanted: &Wanted<'_>) -> Result<Meters, Unavailable> {
    match wanted.sources {
        [] | [EnergySource::None] => Err(Unavailable::new("the plan asks for no energy meter")),
        [EnergySource::Auto] => automatic(roots, wanted),
        named => {
            check_overlap(named)?;
            if named.contains(&EnergySource::Amdgpu) && named.len() > 1 && amdgpu::shares_the_processor(roots)
            {
                return Err(Unavailable::new(
                    "the AMD graphics of this machine share a package with its processor: `amdgpu` counts both, name it alone",
                ));
            }
            let opened = named.iter().map(|source| open_named(roots, *source, wanted));
            Ok(opened.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
    }
}

fn open_named(roots: &Roots, source: EnergySource, wanted: &Wanted<'_>) -> Result<Meters, Unavailable> {
    open_one(roots, source, wanted).map_err(|Unavailable { reason }| {
        Unavailable::new(format!("energy source `{}`: {reason}", source.name()))
    })
}

/// Opens one source; the reason does not name it.
pub(crate) fn open_one(
    roots: &Roots,
    source: EnergySource,
    wanted: &Wanted<'_>,
) -> Result<Meters, Unavailable> {
    let device = Device::parse(wanted.device);
    match source {
        EnergySource::Auto | EnergySource::None => Err(Unavailable::new("stands alone")),
        EnergySource::Rapl => rapl::open(roots),
        EnergySource::RaplPerf => perf::open(roots),
        EnergySource::Hwmon => hwmon::open(roots),
        EnergySource::Nvml => nvml::open(roots, wanted.nvml_library, device.number_for(Vendor::Nvidia)),
        EnergySource::Amdgpu => amdgpu::open(roots, device.number_for(Vendor::Amd)),
        EnergySource::Battery => battery::open(roots),
        EnergySource::External => {
            let meter = wanted.external.ok_or_else(|| Unavailable::new("the plan describes no meter"))?;
            Ok(vec![external::open(meter)?])
        }
    }
}

/// Two sources that count the same energy on any machine. A plan with such is refused when it is read.
fn check_overlap(named: &[EnergySource]) -> Result<(), Unavailable> {
    match EnergySource::overlap(named) {
        None => Ok(()),
        Some((one, other)) => Err(Unavailable::new(format!(
            "`{}` and `{}` count the same energy; name one",
            one.name(),
            other.name()
        ))),
    }
}

/// The processor's sources, the most exact first.
const OF_PROCESSOR: &[EnergySource] =
    &[EnergySource::Rapl, EnergySource::RaplPerf, EnergySource::Hwmon, EnergySource::Battery];
/// Beside an accelerator's meter: sources that are known not to contain the accelerator.
const BESIDE_ACCELERATOR: &[EnergySource] = &[EnergySource::Rapl, EnergySource::RaplPerf];

/// Takes the first source of the processor. Where an accelerator computes, its own meter comes first and the
/// processor's joins it where it can be had; without its own meter only the battery, which feeds everything, serves.
fn automatic(roots: &Roots, wanted: &Wanted<'_>) -> Result<Meters, Unavailable> {
    let own = Device::parse(wanted.device).sources();
    let mut tried = Vec::new();
    if own.is_empty() {
        return first(roots, OF_PROCESSOR, wanted, &mut tried).ok_or_else(|| nothing(wanted, &tried));
    }
    let Some(mut meters) = first(roots, own, wanted, &mut tried) else {
        return first(roots, &[EnergySource::Battery], wanted, &mut tried)
            .ok_or_else(|| nothing(wanted, &tried));
    };
    if !own.contains(&EnergySource::Amdgpu) || !amdgpu::shares_the_processor(roots) {
        meters.extend(first(roots, BESIDE_ACCELERATOR, wanted, &mut tried).unwrap_or_default());
    }
    Ok(meters)
}

fn first(
    roots: &Roots,
    sources: &[EnergySource],
    wanted: &Wanted<'_>,
    tried: &mut Vec<String>,
) -> Option<Meters> {
    sources.iter().find_map(|source| match open_one(roots, *source, wanted) {
        Ok(meters) => Some(meters),
        Err(reason) => {
            tried.push(format!("{}: {reason}", source.name()));
            None
        }
    })
}

fn nothing(wanted: &Wanted<'_>, tried: &[String]) -> Unavailable {
    Unavailable::new(format!("no energy meter for device `{}`: {}", wanted.device, tried.join("; ")))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vendor {
    Nvidia,
    Amd,
    Unknown,
}

/// The device that computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    Processor,
    Accelerator { vendor: Vendor, number: Option<usize> },
}

impl Device {
    /// Engines call devices `cpu`, `cuda:0`, `rocm:1`, `vulkan`.
    fn parse(device: &str) -> Self {
        let (family, number) = device.split_once(':').unwrap_or((device, ""));
        let vendor = match family.to_ascii_lowercase().as_str() {
            "" | "cpu" => return Self::Processor,
            "cuda" => Vendor::Nvidia,
            "rocm" | "hip" => Vendor::Amd,
            _ => Vendor::Unknown,
        };
        Self::Accelerator { vendor, number: number.parse().ok() }
    }

    /// Returns the number of the one device that computes, where it is this vendor's.
    fn number_for(self, wanted: Vendor) -> Option<usize> {
        match self {
            Self::Accelerator { vendor, number } if vendor == wanted => number,
            _ => None,
        }
    }

    /// Returns the sources that meter the device itself, beside the processor.
    fn sources(self) -> &'static [EnergySource] {
        match self {
            Self::Processor => &[],
            Self::Accelerator { vendor: Vendor::Nvidia, .. } => &[EnergySource::Nvml],
            Self::Accelerator { vendor: Vendor::Amd, .. } => &[EnergySource::Amdgpu],
            Self::Accelerator { vendor: Vendor::Unknown, .. } => &[EnergySource::Nvml, EnergySource::Amdgpu],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CPU: Wanted<'static> =
        Wanted { sources: &[EnergySource::Auto], external: None, device: "cpu", nvml_library: None };

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let roots = Roots::new(directory.path().join("proc"), directory.path());
        (directory, roots)
    }

    const RAPL: &[(&str, &str)] = &[
        ("class/powercap/intel-rapl:0/name", "package-0"),
        ("class/powercap/intel-rapl:0/energy_uj", "1"),
        ("class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850"),
    ];
    const SENSOR: &[(&str, &str)] =
        &[("class/hwmon/hwmon0/name", "vrm"), ("class/hwmon/hwmon0/power1_input", "1")];
    const AMD: &[(&str, &str)] =
        &[("class/hwmon/hwmon1/name", "amdgpu"), ("class/hwmon/hwmon1/power1_average", "1")];
    const BATTERY: &[(&str, &str)] = &[
        ("class/power_supply/BAT0/type", "Battery"),
        ("class/power_supply/BAT0/status", "Discharging"),
        ("class/power_supply/BAT0/power_now", "1"),
    ];

    /// Opens what is wanted below these files and returns the first words of the sources.
    fn opened(files: &[&[(&str, &str)]], wanted: &Wanted<'_>) -> Result<Vec<String>, String> {
        let (_directory, roots) = tree(&files.concat());
        let meters = open(&roots, wanted).map_err(|error| error.reason)?;
        let first = |source: &str| source.split(' ').next().unwrap_or_default().to_owned();
        Ok(meters.iter().map(|meter| first(&meter.about().source)).collect())
    }

    #[test]
    fn auto_takes_the_most_exact_source_of_the_processor() {
        for (files, expected) in [
            (&[RAPL, SENSOR, BATTERY][..], "rapl"),
            (&[SENSOR, BATTERY], "hwmon"),
            (&[BATTERY, AMD], "battery"),
        ] {
            assert_eq!(opened(files, &CPU).unwrap(), [expected]);
        }
    }

    #[test]
    fn auto_adds_the_processor_to_an_accelerator_and_never_takes_it_for_one() {
        let rocm = Wanted { device: "rocm:0", ..CPU };
        assert_eq!(opened(&[RAPL, AMD], &rocm).unwrap(), ["amdgpu", "rapl"]);
        assert_eq!(opened(&[SENSOR, AMD, BATTERY], &rocm).unwrap(), ["amdgpu"]);
        assert_eq!(opened(&[RAPL, BATTERY, SENSOR], &rocm).unwrap(), ["battery"]);
        let reason = opened(&[RAPL, SENSOR], &rocm).unwrap_err();
        assert!(reason.starts_with("no energy meter for device `rocm:0`: amdgpu: `"), "{reason}");
    }

    #[test]
    fn auto_that_finds_nothing_says_what_it_tried() {
        let reason = opened(&[], &CPU).unwrap_err();
        for part in ["device `cpu`: rapl: `", "; rapl-perf: `", "; hwmon: `", "; battery: `"] {
            assert!(reason.contains(part), "{part}: {reason}");
        }
    }

    #[test]
    fn named_sources_are_summed_up_and_all_must_be_there() {
        use EnergySource::{Amdgpu, Battery, Hwmon, Rapl, RaplPerf};
        let sources = |sources| Wanted { sources, ..CPU };
        assert_eq!(opened(&[RAPL, AMD], &sources(&[Rapl, Amdgpu])).unwrap(), ["rapl", "amdgpu"]);
        let missing = opened(&[RAPL], &sources(&[Rapl, Amdgpu])).unwrap_err();
        assert!(missing.starts_with("energy source `amdgpu`: `"), "{missing}");
        for (twice, reason) in [
            (&[Rapl, RaplPerf][..], "`rapl` and `rapl-perf` count the same energy; name one"),
            (&[Hwmon, Battery], "`hwmon` and `battery` count the same energy; name one"),
            (&[Rapl, Hwmon], "`rapl` and `hwmon` count the same energy; name one"),
        ] {
            assert_eq!(opened(&[RAPL, SENSOR, BATTERY], &sources(twice)).unwrap_err(), reason);
        }
    }

    #[test]
    fn asking_for_none_gives_none() {
        let none = opened(&[RAPL], &Wanted { sources: &[], ..CPU });
        assert_eq!(none.unwrap_err(), "the plan asks for no energy meter");
        let bare = opened(&[], &Wanted { sources: &[EnergySource::External], ..CPU });
        assert_eq!(bare.unwrap_err(), "energy source `external`: the plan describes no meter");
    }

    #[test]
    fn devices_are_told_by_their_family_and_number() {
        let accelerator = |vendor, number| Device::Accelerator { vendor, number };
        for (text, expected) in [
            ("cpu", Device::Processor),
            ("cuda:1", accelerator(Vendor::Nvidia, Some(1))),
            ("CUDA", accelerator(Vendor::Nvidia, None)),
            ("hip:0", accelerator(Vendor::Amd, Some(0))),
            ("vulkan:0", accelerator(Vendor::Unknown, Some(0))),
        ] {
            assert_eq!(Device::parse(text), expected, "{text}");
        }
    }
}
