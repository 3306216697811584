//! Whether there are GPUs.

use super::Status;
use crate::Roots;
use crate::machine::accelerators;

pub(super) fn nvidia(roots: &Roots) -> Status {
    of_vendor(roots, "NVIDIA", "install the vendor's driver, where the machine has such a GPU")
}

pub(super) fn amd(roots: &Roots) -> Status {
    of_vendor(roots, "AMD", "load the driver with `modprobe amdgpu`, where the machine has such a GPU")
}

fn of_vendor(roots: &Roots, vendor: &str, remedy: &str) -> Status {
    let all = match accelerators(roots) {
        Ok(all) => all,
        Err(reason) => return Status::unavailable(reason.reason),
    };
    let names: Vec<_> = all.iter().filter(|gpu| gpu.vendor == vendor).map(|gpu| gpu.name.as_str()).collect();
    if names.is_empty() {
        return Status::unavailable(format!("no driver lists an {vendor} GPU")).or_remedy(remedy);
    }
    Status::unavailable(format!("present ({}); not used by this version of lab", names.join(", ")))
}
