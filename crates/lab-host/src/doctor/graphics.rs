//! Whether there are GPUs, and whether they tell their consumption.

use std::path::Path;

use lab_core::plan::EnergySource;

use super::{Status, energy};
use crate::machine::accelerators;
use crate::{Roots, Unavailable};

/// A library that is named is asked as a session would ask it, whatever the drivers list.
pub(super) fn nvidia(roots: &Roots, library: Option<&Path>) -> Status {
    if library.is_some() {
        return energy::sources(roots, EnergySource::Nvml, library).into();
    }
    of_vendor(
        roots,
        "NVIDIA",
        EnergySource::Nvml,
        "install the vendor's driver, where the machine has such a GPU",
    )
}

pub(super) fn amd(roots: &Roots) -> Status {
    of_vendor(
        roots,
        "AMD",
        EnergySource::Amdgpu,
        "load the driver with `modprobe amdgpu`, where the machine has such a GPU",
    )
}

fn of_vendor(roots: &Roots, vendor: &str, source: EnergySource, remedy: &str) -> Status {
    let all = match accelerators(roots) {
        Ok(all) => all,
        Err(reason) => return Status::unavailable(reason.reason),
    };
    let names: Vec<_> = all.iter().filter(|gpu| gpu.vendor == vendor).map(|gpu| gpu.name.as_str()).collect();
    if names.is_empty() {
        return Status::unavailable(format!("no driver lists an {vendor} GPU")).or_remedy(remedy);
    }
    let energy = energy::sources(roots, source, None);
    energy.map_err(|reason| Unavailable::new(format!("present ({}), but {reason}", names.join(", ")))).into()
}
