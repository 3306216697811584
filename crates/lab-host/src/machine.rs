//! Which machine this is: its kernel, whether it is virtual, and what accelerators it has.

mod accelerators;
mod virtualisation;

use serde::{Deserialize, Serialize};

pub use accelerators::{Accelerator, accelerators};
pub use virtualisation::{container, virtualisation};

use crate::{Reading, Roots, Unavailable};

/// What is known of the machine as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The architecture as the kernel names it: `x86_64`, `aarch64`.
    pub architecture: Reading<String>,
    /// The release of the kernel, such as `6.1.0-18-amd64`.
    pub kernel_release: Reading<String>,
    /// The name of the host.
    pub hostname: Reading<String>,
    /// The hypervisor (`kvm`, `vmware`, …), or `none` on bare metal.
    pub virtualisation: Reading<String>,
    /// The kind of container this process runs in (`docker`, `kubernetes`, …), or `none` where nothing hints at one.
    pub container: Reading<String>,
    /// GPUs and neural processors; empty where the machine has none.
    pub accelerators: Reading<Vec<Accelerator>>,
}

/// Returns what is known of the machine as a whole.
pub fn probe(roots: &Roots) -> Machine {
    Machine {
        architecture: architecture(roots).into(),
        kernel_release: roots.proc_text("sys/kernel/osrelease").into(),
        hostname: hostname(roots).into(),
        virtualisation: virtualisation(roots).into(),
        container: container(roots).into(),
        accelerators: accelerators(roots).into(),
    }
}

/// Returns the name of the host.
///
/// # Errors
///
/// When the kernel does not tell it.
pub fn hostname(roots: &Roots) -> Result<String, Unavailable> {
    roots.proc_text("sys/kernel/hostname")
}

/// Kernels before 6.1 lack the file; the system call then answers, but only for the machine it runs on.
fn architecture(roots: &Roots) -> Result<String, Unavailable> {
    let from_file = roots.proc_text("sys/kernel/arch");
    if from_file.is_err() && roots.are_this_machine() {
        return Ok(rustix::system::uname().machine().to_string_lossy().into_owned());
    }
    from_file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_the_one_the_system_call_describes() {
        let machine = probe(&Roots::default());
        let uname = rustix::system::uname();
        for (reading, expected) in [
            (machine.architecture, uname.machine()),
            (machine.kernel_release, uname.release()),
            (machine.hostname, uname.nodename()),
        ] {
            assert_eq!(reading.into_result().unwrap(), expected.to_string_lossy());
        }
        assert!(!machine.virtualisation.into_result().unwrap().is_empty());
        assert!(!machine.container.into_result().unwrap().is_empty());
        for accelerator in machine.accelerators.into_result().unwrap() {
            assert!(!accelerator.name.is_empty(), "{accelerator:?}");
        }
    }
}
