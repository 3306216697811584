//! Names for ARM cores, which identify themselves by numbers only.

use super::Processor;

/// Designers by their number (`CPU implementer`). Source: util-linux, `sys-utils/lscpu-arm.c`.
const DESIGNERS: &[(&str, &str)] = &[
    ("0x41", "ARM"),
    ("0x48", "HiSilicon"),
    ("0x4e", "NVIDIA"),
    ("0x51", "Qualcomm"),
    ("0x61", "Apple"),
    ("0xc0", "Ampere"),
];

/// Cores by designer and part (`CPU implementer`, `CPU part`). Same source.
const CORES: &[(&str, &str, &str)] = &[
    ("0x41", "0xd03", "Cortex-A53"),
    ("0x41", "0xd05", "Cortex-A55"),
    ("0x41", "0xd07", "Cortex-A57"),
    ("0x41", "0xd08", "Cortex-A72"),
    ("0x41", "0xd09", "Cortex-A73"),
    ("0x41", "0xd0a", "Cortex-A75"),
    ("0x41", "0xd0b", "Cortex-A76"),
    ("0x41", "0xd0c", "Neoverse-N1"),
    ("0x41", "0xd0d", "Cortex-A77"),
    ("0x41", "0xd40", "Neoverse-V1"),
    ("0x41", "0xd41", "Cortex-A78"),
    ("0x41", "0xd42", "Cortex-A78AE"),
    ("0x41", "0xd44", "Cortex-X1"),
    ("0x41", "0xd46", "Cortex-A510"),
    ("0x41", "0xd47", "Cortex-A710"),
    ("0x41", "0xd48", "Cortex-X2"),
    ("0x41", "0xd49", "Neoverse-N2"),
    ("0x41", "0xd4f", "Neoverse-V2"),
    ("0x48", "0xd01", "TaiShan-v110"),
    ("0xc0", "0xac3", "Ampere-1"),
    ("0xc0", "0xac4", "Ampere-1a"),
];

/// Returns the name of an ARM core, or its numbers where the name is not known.
pub(super) fn core_name(processor: &Processor<'_>) -> Option<String> {
    let (implementer, part) = (*processor.get("CPU implementer")?, *processor.get("CPU part")?);
    let known = CORES.iter().find(|(designer, core, _)| (*designer, *core) == (implementer, part));
    Some(match known {
        Some((_, _, name)) => (*name).to_owned(),
        None => format!("implementer {implementer} part {part}"),
    })
}

/// Returns the designer of an ARM core, or its number where the name is not known.
pub(super) fn designer(processor: &Processor<'_>) -> Option<String> {
    let implementer = *processor.get("CPU implementer")?;
    let known = DESIGNERS.iter().find(|(number, _)| *number == implementer);
    Some(known.map_or(implementer, |(_, name)| name).to_owned())
}

/// Returns variant and revision as ARM writes them together: `r4p0`.
pub(super) fn stepping(processor: &Processor<'_>) -> Option<String> {
    let variant = processor.get("CPU variant")?.strip_prefix("0x")?;
    let variant = u32::from_str_radix(variant, 16).ok()?;
    let revision: u32 = processor.get("CPU revision")?.parse().ok()?;
    Some(format!("r{variant}p{revision}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_without_a_known_name_keeps_its_numbers() {
        let processor = Processor::from([
            ("CPU implementer", "0x77"),
            ("CPU part", "0x001"),
            ("CPU variant", "0xa"),
            ("CPU revision", "2"),
        ]);
        assert_eq!(core_name(&processor).as_deref(), Some("implementer 0x77 part 0x001"));
        assert_eq!(designer(&processor).as_deref(), Some("0x77"));
        assert_eq!(stepping(&processor).as_deref(), Some("r10p2"));
        assert_eq!(core_name(&Processor::new()), None);
    }
}
