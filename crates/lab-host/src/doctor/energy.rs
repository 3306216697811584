//! Whether this machine could tell its consumption.

use super::Status;
use crate::energy::{EnergySource, batteries, hwmon_sensors, rapl_zones};
use crate::machine::virtualisation;
use crate::{Roots, Unavailable};

const NOT_READ: &str = "not read by this version of lab";

pub(super) fn rapl(roots: &Roots) -> Status {
    status(rapl_zones(roots)).unwrap_or_else(|missing| missing.or_remedy(rapl_remedy(roots)))
}

pub(super) fn hwmon(roots: &Roots) -> Status {
    status(hwmon_sensors(roots)).unwrap_or_else(|missing| missing)
}

pub(super) fn battery(roots: &Roots) -> Status {
    status(batteries(roots)).unwrap_or_else(|missing| missing)
}

/// Returns the status of sources that are there, or, as an error, of sources that are not.
fn status(sources: Result<Vec<EnergySource>, Unavailable>) -> Result<Status, Status> {
    let sources = sources.map_err(|reason| Status::unavailable(reason.reason))?;
    let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
    let names = names.join(", ");
    let denied = sources.iter().find_map(|source| Some((source, source.readable.as_result().err()?)));
    Ok(match denied {
        None => Status::unavailable(format!("present ({names}); {NOT_READ}")),
        Some((source, reason)) => Status::unavailable(format!("present ({names}), but {reason}; {NOT_READ}"))
            .or_remedy(permission_remedy(source)),
    })
}

/// Counters of energy are for root only since Linux 5.10, because they betray what other processes compute
/// (CVE-2020-8694, "PLATYPUS").
fn permission_remedy(source: &EnergySource) -> String {
    let file = source.file.display();
    format!(
        "run as root, or permit reading until the next boot with `chmod a+r {file}`; \
         only where no one else's secrets are computed (CVE-2020-8694)"
    )
}

fn rapl_remedy(roots: &Roots) -> String {
    match virtualisation(roots) {
        Ok(hypervisor) if hypervisor != "none" => {
            format!("measure on the bare machine: a guest ({hypervisor}) is not shown the energy counters")
        }
        _ => "load the driver with `modprobe intel_rapl_msr` (it serves AMD as well)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reading;

    fn zone(readable: Result<(), Unavailable>) -> EnergySource {
        let file = "/sys/class/powercap/intel-rapl:0/energy_uj".into();
        EnergySource { name: "package-0".to_owned(), file, readable: Reading::from(readable) }
    }

    #[test]
    fn a_readable_meter_is_still_no_capability_while_lab_does_not_read_it() {
        let expected = Status::unavailable("present (package-0); not read by this version of lab");
        assert_eq!(status(Ok(vec![zone(Ok(()))])), Ok(expected));
    }

    #[test]
    fn a_meter_for_root_only_comes_with_the_way_to_permit_it() {
        let denied = Unavailable::reading(
            &zone(Ok(())).file,
            &std::io::Error::from(std::io::ErrorKind::PermissionDenied),
        );
        let Ok(Status::Unavailable { reason, remedy }) = status(Ok(vec![zone(Err(denied))])) else {
            panic!("a denied meter is no capability");
        };
        assert_eq!(
            reason,
            "present (package-0), but `/sys/class/powercap/intel-rapl:0/energy_uj` may not be read \
             (permission denied); not read by this version of lab"
        );
        assert!(remedy.unwrap().contains("`chmod a+r /sys/class/powercap/intel-rapl:0/energy_uj`"));
    }
}
