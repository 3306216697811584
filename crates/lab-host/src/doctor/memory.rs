//! Memory: how much, whether its peak can be told, and what about it changes from launch to launch.

use super::{Status, human_bytes, own_pid};
use crate::conditions;
use crate::layout::kernel_randomisation;
use crate::memory as machine_memory;
use crate::process::{peak_memory, reset_peak_memory};
use crate::{Roots, Unavailable};

pub(super) fn peak_memory_reset(roots: &Roots) -> Status {
    let answer = || -> Result<String, Unavailable> {
        let pid = own_pid(roots)?;
        reset_peak_memory(roots, pid)?;
        Ok(format!("reset on this process, whose peak is now {}", human_bytes(peak_memory(roots, pid)?)))
    };
    Status::from(answer())
        .or_remedy("use a kernel with CONFIG_PROC_PAGE_MONITOR, and engines of the same user")
}

pub(super) fn usable_memory(roots: &Roots) -> Status {
    let answer = || {
        let usable = human_bytes(machine_memory::usable_memory(roots)?);
        Ok(match machine_memory::cgroup_limit(roots) {
            Ok(limit) => {
                let (limit, file) = (human_bytes(limit.bytes), limit.file.display().to_string());
                format!("{usable}; the control group permits {limit} (`{file}`)")
            }
            Err(reason) => format!("{usable}; {reason}"),
        })
    };
    answer().into()
}

pub(super) fn swap(roots: &Roots) -> Status {
    let now = machine_memory::probe(roots);
    let answer = || {
        let (total, used) = (now.swap_total_bytes.into_result()?, now.swap_used_bytes.into_result()?);
        Ok(match total {
            0 => "no swap space, so no run can swap".to_owned(),
            _ => format!("{} of {} in use", human_bytes(used), human_bytes(total)),
        })
    };
    answer().into()
}

pub(super) fn huge_pages(roots: &Roots) -> Status {
    let reserved = roots.proc_number::<u64>("sys/vm/nr_hugepages");
    let detail = |choice| match reserved {
        Ok(reserved) => format!("transparent: `{choice}`; {reserved} reserved"),
        Err(_) => format!("transparent: `{choice}`"),
    };
    conditions::transparent_hugepages(roots).map(detail).into()
}

pub(super) fn address_space_randomisation(roots: &Roots) -> Status {
    let level = kernel_randomisation(roots);
    let meaning = |level| match level {
        0 => "off",
        1 => "on, without the heap",
        _ => "on",
    };
    level.map(|level| format!("{} (`randomize_va_space` is {level})", meaning(level))).into()
}
