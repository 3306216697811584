//! Whether a hypervisor or a container stands between this process and the hardware.

use crate::text::field;
use crate::{Roots, Unavailable};

/// What firmware calls itself (`sys_vendor` and `product_name`), and the hypervisor behind it.
/// Source: systemd, `src/basic/virt.c`, table of DMI vendors.
const FIRMWARE: &[(&str, &str)] = &[
    ("VMware", "vmware"),
    ("VirtualBox", "virtualbox"),
    ("innotek GmbH", "virtualbox"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Microsoft Corporation Virtual Machine", "hyperv"),
    ("Amazon EC2", "kvm"),
    ("Google Compute Engine", "kvm"),
    ("OpenStack", "kvm"),
    ("KVM", "kvm"),
    ("QEMU", "qemu"),
];

/// Clocks that a guest offers only under one hypervisor.
const CLOCKS: &[(&str, &str)] =
    &[("kvm-clock", "kvm"), ("hyperv_clocksource", "hyperv"), ("xen", "xen"), ("arm,kvm", "kvm")];

/// Parts of a control group's path that name the container's keeper.
const CONTAINER_GROUPS: &[(&str, &str)] = &[
    ("kubepods", "kubernetes"),
    ("libpod", "podman"),
    ("docker", "docker"),
    ("lxc", "lxc"),
    ("machine.slice", "systemd-nspawn"),
];

/// Returns the hypervisor that this machine runs under: `kvm`, `qemu`, `vmware`, `hyperv`, `xen`, `virtualbox`, …,
/// `unknown hypervisor` where there is one that does not say its name, or `none`.
///
/// # Errors
///
/// When nothing speaks for or against a hypervisor.
pub fn virtualisation(roots: &Roots) -> Result<String, Unavailable> {
    let flag = hypervisor_flag(roots);
    if flag == Ok(false) && roots.sys_text("hypervisor/type").is_err() {
        // An x86 processor without the flag is bare metal, whatever the firmware is called: EC2 sells both.
        return Ok("none".to_owned());
    }
    let named = [by_hypervisor_type(roots), by_device_tree(roots), by_clock(roots), by_firmware(roots)];
    match named.into_iter().flatten().next() {
        Some(name) => Ok(name),
        None if flag == Ok(true) => Ok("unknown hypervisor".to_owned()),
        None if roots.sys_text(FIRMWARE_VENDOR).is_ok() || has_device_tree(roots) => Ok("none".to_owned()),
        None => Err(flag.err().unwrap_or_else(|| Unavailable::new("nothing speaks of a hypervisor"))),
    }
}

/// Returns the kind of container that this process runs in, or `none` where nothing hints at one.
///
/// # Errors
///
/// When there is no control group to look at.
pub fn container(roots: &Roots) -> Result<String, Unavailable> {
    // `self/root` is the root directory that this process sees, so that a fixture can stand in for it.
    let marks = [("self/root/.dockerenv", "docker"), ("self/root/run/.containerenv", "podman")];
    let by_mark = || marks.iter().find(|(file, _)| roots.proc.join(file).exists()).map(|(_, name)| *name);
    let groups = own_groups(roots);
    let by_group = groups.as_deref().ok().and_then(|groups| first_hint(groups, CONTAINER_GROUPS));
    match by_group.or_else(by_mark) {
        Some(name) => Ok(name.to_owned()),
        None => groups.map(|_| "none".to_owned()),
    }
}

fn own_groups(roots: &Roots) -> Result<String, Unavailable> {
    let text = roots.proc_text("self/cgroup")?;
    // `number:controllers:path` (cgroups(7)).
    let is_group = |line: &str| line.splitn(3, ':').nth(2).is_some_and(|path| path.starts_with('/'));
    let unfit = || Unavailable::content(&roots.proc.join("self/cgroup"), "a control group");
    if text.lines().any(is_group) { Ok(text) } else { Err(unfit()) }
}

const FIRMWARE_VENDOR: &str = "class/dmi/id/sys_vendor";

/// Tells whether an x86 processor carries the flag that hypervisors set (CPUID leaf 1, ECX bit 31). ARM has none.
fn hypervisor_flag(roots: &Roots) -> Result<bool, Unavailable> {
    let text = roots.proc_text("cpuinfo")?;
    let flags = field(&text, "flags")
        .ok_or_else(|| Unavailable::content(&roots.proc.join("cpuinfo"), "the flags of a processor"))?;
    Ok(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn by_hypervisor_type(roots: &Roots) -> Option<String> {
    roots.sys_text("hypervisor/type").ok()
}

fn by_device_tree(roots: &Roots) -> Option<String> {
    // `linux,kvm`, `xen,xen`: the part after the comma is the name.
    let compatible = roots.proc_text("device-tree/hypervisor/compatible").ok()?;
    let first = compatible.split('\0').next()?;
    Some(first.rsplit(',').next()?.to_owned())
}

fn by_clock(roots: &Roots) -> Option<String> {
    let clocks = roots.sys_text("devices/system/clocksource/clocksource0/available_clocksource").ok()?;
    first_hint(&clocks, CLOCKS).map(str::to_owned)
}

fn by_firmware(roots: &Roots) -> Option<String> {
    let vendor = roots.sys_text(FIRMWARE_VENDOR).ok()?;
    let product = roots.sys_text("class/dmi/id/product_name").unwrap_or_default();
    if product.ends_with(".metal") {
        return None;
    }
    first_hint(&format!("{vendor} {product}"), FIRMWARE).map(str::to_owned)
}

fn has_device_tree(roots: &Roots) -> bool {
    roots.proc_text("device-tree/model").is_ok()
}

fn first_hint(text: &str, hints: &[(&str, &'static str)]) -> Option<&'static str> {
    hints.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
        let directory = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let roots = Roots::new(directory.path().join("proc"), directory.path().join("sys"));
        (directory, roots)
    }

    const GUEST: (&str, &str) = ("proc/cpuinfo", "processor: 0\nflags: fpu hypervisor\n");
    const METAL: (&str, &str) = ("proc/cpuinfo", "processor: 0\nflags: fpu\n");
    const ARM: (&str, &str) = ("proc/cpuinfo", "processor: 0\nFeatures: fp asimd\n");
    const VENDOR: &str = "sys/class/dmi/id/sys_vendor";
    const PRODUCT: &str = "sys/class/dmi/id/product_name";
    const CLOCK: &str = "sys/devices/system/clocksource/clocksource0/available_clocksource";

    #[test]
    fn a_hypervisor_is_known_by_whatever_betrays_it() {
        for (files, expected) in [
            (&[METAL, (VENDOR, "Amazon EC2")][..], "none"),
            (&[METAL, ("sys/hypervisor/type", "xen")], "xen"),
            (&[GUEST, (VENDOR, "VMware, Inc."), (PRODUCT, "VMware7,1")], "vmware"),
            (&[GUEST, (VENDOR, "Microsoft Corporation"), (PRODUCT, "Virtual Machine")], "hyperv"),
            (&[GUEST, (CLOCK, "tsc kvm-clock ")], "kvm"),
            (&[GUEST], "unknown hypervisor"),
            (&[GUEST, (VENDOR, "LENOVO")], "unknown hypervisor"),
            (&[ARM, ("proc/device-tree/hypervisor/compatible", "linux,kvm\0")], "kvm"),
            (&[ARM, ("proc/device-tree/model", "Board\0")], "none"),
            (&[ARM, (VENDOR, "Amazon EC2"), (PRODUCT, "c7g.metal")], "none"),
            (&[ARM, (VENDOR, "Amazon EC2"), (PRODUCT, "c7g.large")], "kvm"),
        ] {
            let (_directory, roots) = tree(files);
            assert_eq!(virtualisation(&roots).as_deref(), Ok(expected), "{files:?}");
        }
        let (_directory, silent) = tree(&[ARM]);
        assert!(virtualisation(&silent).is_err());
    }

    #[test]
    fn a_container_is_known_by_its_group_or_its_mark() {
        for (files, expected) in [
            (&[("proc/self/cgroup", "0::/kubepods/besteffort/pod1")][..], "kubernetes"),
            (&[("proc/self/cgroup", "4:memory:/docker/ab")], "docker"),
            (&[("proc/self/cgroup", "0::/"), ("proc/self/root/run/.containerenv", "")], "podman"),
            (&[("proc/self/cgroup", "0::/"), ("proc/self/root/.dockerenv", "")], "docker"),
            (&[("proc/self/cgroup", "0::/user.slice")], "none"),
        ] {
            let (_directory, roots) = tree(files);
            assert_eq!(container(&roots).as_deref(), Ok(expected), "{files:?}");
        }
        let (_directory, nothing) = tree(&[]);
        assert!(container(&nothing).is_err());
    }
}
