//! How much memory there is, how much is left, and how much this process may have.

mod cgroup;

use serde::{Deserialize, Serialize};

pub(crate) use cgroup::cgroup_use;
pub use cgroup::{CgroupLimit, cgroup_limit};

use crate::text::{field, kibibytes};
use crate::{Reading, Roots, Unavailable};

const GIB: u64 = 1 << 30;

/// The machine's memory, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What the kernel manages: the installed memory less what firmware and kernel keep (`MemTotal`).
    pub total_bytes: Reading<u64>,
    /// The kernel's estimate of what can be had without swapping (`MemAvailable`).
    pub available_bytes: Reading<u64>,
    /// The size of the swap space; 0 where there is none.
    pub swap_total_bytes: Reading<u64>,
    /// The part of the swap space that is in use.
    pub swap_used_bytes: Reading<u64>,
}

/// Returns the machine's memory.
pub fn probe(roots: &Roots) -> Memory {
    let text = roots.proc_text("meminfo");
    let bytes = |name: &str| -> Result<u64, Unavailable> {
        let text = text.as_deref().map_err(Clone::clone)?;
        let what = || Unavailable::content(&roots.proc.join("meminfo"), &format!("`{name}` in kB"));
        field(text, name).and_then(kibibytes).ok_or_else(what)
    };
    let swap_used = || {
        let (total, free) = (bytes("SwapTotal")?, bytes("SwapFree")?);
        total.checked_sub(free).ok_or_else(|| Unavailable::new("more swap is free than there is"))
    };
    Memory {
        // A machine without memory is a file without sense.
        total_bytes: bytes("MemTotal").and_then(|total| nonzero(roots, total)).into(),
        available_bytes: bytes("MemAvailable").into(),
        swap_total_bytes: bytes("SwapTotal").into(),
        swap_used_bytes: swap_used().into(),
    }
}

/// Returns the most memory that this process may ever have, in bytes: what the machine has, or the limit of the
/// control group where that is lower.
///
/// # Errors
///
/// When the machine does not say how much memory it has.
pub fn usable_memory(roots: &Roots) -> Result<u64, Unavailable> {
    let total = probe(roots).total_bytes.into_result()?;
    Ok(cgroup_limit(roots).map_or(total, |limit| limit.bytes.min(total)))
}

/// Returns the machine's memory in GiB, rounded to the nearest; at least 1.
///
/// `MemTotal` differs by some megabytes from kernel to kernel on one machine; the rounded figure does not, and so
/// can be part of an identity.
///
/// # Errors
///
/// When the machine does not say how much memory it has.
pub fn memory_gib_rounded(roots: &Roots) -> Result<u64, Unavailable> {
    let total = probe(roots).total_bytes.into_result()?;
    Ok((total.saturating_add(GIB / 2) / GIB).max(1))
}

fn nonzero(roots: &Roots, total: u64) -> Result<u64, Unavailable> {
    let nothing = || Unavailable::content(&roots.proc.join("meminfo"), "a `MemTotal` above 0");
    Some(total).filter(|total| *total > 0).ok_or_else(nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_meminfo(text: &str) -> (tempfile::TempDir, Roots) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("meminfo"), text).unwrap();
        let roots = Roots::new(directory.path(), directory.path());
        (directory, roots)
    }

    #[test]
    fn memory_is_rounded_to_the_nearest_gib_and_never_to_none() {
        for (kilobytes, gib) in
            [(24_684_092, 24), (16_158_284, 15), (527_800_000, 503), (400_000, 1), (1_572_864, 2), (1, 1)]
        {
            let (_directory, roots) = with_meminfo(&format!("MemTotal: {kilobytes} kB\n"));
            assert_eq!(memory_gib_rounded(&roots), Ok(gib), "{kilobytes}");
            assert_eq!(usable_memory(&roots), Ok(kilobytes * 1024));
        }
    }

    #[test]
    fn a_line_without_sense_is_unavailable_and_leaves_the_others() {
        let (_directory, roots) =
            with_meminfo("MemTotal: 0 kB\nMemAvailable: 5 MB\nSwapTotal: 4 kB\nSwapFree: 8 kB\n");
        let memory = probe(&roots);
        assert!(memory.total_bytes.into_result().unwrap_err().reason.ends_with("a `MemTotal` above 0"));
        assert!(memory.available_bytes.into_result().unwrap_err().reason.ends_with("`MemAvailable` in kB"));
        assert_eq!(memory.swap_total_bytes, Reading::Available(4096));
        assert_eq!(memory.swap_used_bytes.value(), None);
    }

    #[test]
    fn this_machines_memory_adds_up() {
        let roots = Roots::default();
        let memory = probe(&roots);
        let total = memory.total_bytes.into_result().unwrap();
        assert!(total > 64 << 20);
        assert!((1..=total).contains(memory.available_bytes.value().unwrap()));
        assert!(
            memory.swap_used_bytes.into_result().unwrap() <= memory.swap_total_bytes.into_result().unwrap()
        );
        assert!((1..=total).contains(&usable_memory(&roots).unwrap()));
        assert!(memory_gib_rounded(&roots).unwrap().abs_diff(total / GIB) <= 1);
    }
}
