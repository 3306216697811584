//! How far the kernel shuffles the addresses of a process: memory layout moves speed by percents.

use crate::roots::read_text;
use crate::{Roots, Unavailable};

/// `ADDR_NO_RANDOMIZE` of personality(2).
const NO_RANDOMISATION: u32 = 0x0004_0000;

/// Returns how far the addresses of a process are shuffled: `full`, `without heap` or `off`, by the kernel's setting
/// (`machine`) and the process's own personality (`processes`).
///
/// # Errors
///
/// When either is not to be read.
pub fn address_space_randomisation(
    machine: &Roots,
    processes: &Roots,
    pid: u32,
) -> Result<&'static str, Unavailable> {
    let level = kernel_randomisation(machine)?;
    let path = processes.proc.join(pid.to_string()).join("personality");
    let text = read_text(&path)?;
    let personality = u32::from_str_radix(&text, 16)
        .map_err(|_| Unavailable::new(format!("`{}` holds `{text}`, no personality", path.display())))?;
    Ok(match (level, personality & NO_RANDOMISATION) {
        (0, _) => "off",
        (_, NO_RANDOMISATION) => "off",
        (1, _) => "without heap",
        _ => "full",
    })
}

/// Returns the kernel's own setting, `randomize_va_space`: 0 for off, 1 for all but the heap, 2 for all
/// (Documentation/admin-guide/sysctl/kernel.rst).
pub(crate) fn kernel_randomisation(machine: &Roots) -> Result<u8, Unavailable> {
    machine.proc_number("sys/kernel/randomize_va_space")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::conditions;

    #[test]
    fn kernel_and_personality_decide_together() {
        for (level, personality, expected) in [
            ("2", "00000000", Some("full")),
            ("1", "00000000", Some("without heap")),
            ("0", "00000000", Some("off")),
            ("2", "00040000", Some("off")),
            ("2", "000c0000", Some("off")),
            ("2", "much", None),
            ("many", "00000000", None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let roots = Roots::new(folder.path(), folder.path());
            fs::create_dir_all(folder.path().join("sys/kernel")).unwrap();
            fs::create_dir(folder.path().join("7")).unwrap();
            fs::write(folder.path().join("sys/kernel/randomize_va_space"), level).unwrap();
            fs::write(folder.path().join("7/personality"), personality).unwrap();
            let found = address_space_randomisation(&roots, &roots, 7);
            assert_eq!(found.as_ref().ok().copied(), expected, "{level} {personality}: {found:?}");
            // What the conditions record is the same setting.
            let recorded = conditions::probe(&roots, &[]).address_space_randomisation;
            assert_eq!(recorded.value().copied(), level.parse().ok(), "{level}");
        }
    }

    #[test]
    fn this_process_tells_how_far_its_addresses_are_shuffled() {
        let roots = Roots::default();
        let found = address_space_randomisation(&roots, &roots, std::process::id()).unwrap();
        assert!(["full", "without heap", "off"].contains(&found));
    }
}
