//! Whether this machine tells its consumption: each row opens the meters that a session would open.

use std::path::Path;

use lab_core::plan::EnergySource;

use super::Status;
use crate::energy::{Wanted, open_one};
use crate::machine::virtualisation;
use crate::roots::entries;
use crate::{Roots, Unavailable};

/// The same counters have two doors; either serves.
pub(super) fn rapl(roots: &Roots) -> Status {
    let powercap = sources(roots, EnergySource::Rapl, None);
    let answer = powercap.or_else(|reason| sources(roots, EnergySource::RaplPerf, None).map_err(|_| reason));
    // Where there are zones, the reason itself says what would help.
    let has_zones =
        entries(&roots.sys.join("class/powercap"), "intel-rapl:").is_ok_and(|zones| !zones.is_empty());
    match has_zones {
        true => answer.into(),
        false => Status::from(answer).or_remedy(rapl_remedy(roots)),
    }
}

pub(super) fn hwmon(roots: &Roots) -> Status {
    sources(roots, EnergySource::Hwmon, None).into()
}

pub(super) fn battery(roots: &Roots) -> Status {
    sources(roots, EnergySource::Battery, None).into()
}

/// Names the meters of a source, in the words under which sessions record them.
pub(super) fn sources(
    roots: &Roots,
    source: EnergySource,
    nvml_library: Option<&Path>,
) -> Result<String, Unavailable> {
    let wanted = Wanted { sources: &[source], external: None, device: "cpu", nvml_library };
    let meters = open_one(roots, source, &wanted)?;
    let names: Vec<_> = meters.iter().map(|meter| meter.about().source.as_str()).collect();
    Ok(names.join(" + "))
}

fn rapl_remedy(roots: &Roots) -> String {
    match virtualisation(roots) {
        Ok(hypervisor) if hypervisor != "none" => {
            format!("measure on the bare machine: a guest ({hypervisor}) is not shown the energy counters")
        }
        _ => "load the driver with `modprobe intel_rapl_msr` (it serves AMD as well)".to_owned(),
    }
}
