//! Whether durations can be trusted: the clock, and what would slow a run down unseen.

use super::{Status, own_pid};
use crate::clock::{COARSEST_PERMITTED_NS, resolution_ns, stated_resolution_ns};
use crate::conditions;
use crate::cpu;
use crate::process;
use crate::roots::entries;
use crate::{Roots, Unavailable};

pub(super) fn monotonic_clock(_roots: &Roots) -> Status {
    clock_status(resolution_ns(), stated_resolution_ns())
}

fn clock_status(measured: Result<u64, Unavailable>, stated: u64) -> Status {
    match measured {
        Ok(measured) if measured <= COARSEST_PERMITTED_NS => Status::available(format!(
            "smallest step {measured} ns measured, {stated} ns stated by the kernel"
        )),
        Ok(measured) => Status::unavailable(format!(
            "the smallest step is {measured} ns; the contract permits at most {COARSEST_PERMITTED_NS} ns"
        ))
        .or_remedy("boot with a finer clock source, such as `clocksource=tsc`"),
        Err(reason) => Status::unavailable(reason.reason),
    }
}

pub(super) fn affinity(roots: &Roots) -> Status {
    let answer = || {
        let mask = process::affinity(roots, own_pid(roots)?)?;
        // The mask may name CPUs that could be plugged in; those that are online are those that can run.
        let online = cpu::online(roots)?;
        let permitted: cpu::CpuList = mask.iter().filter(|cpu| online.contains(*cpu)).collect();
        let (count, all) = (permitted.len(), online.len());
        Ok(format!("{count} of {all} online CPUs in the mask of this process ({permitted})"))
    };
    answer().into()
}

pub(super) fn steal(roots: &Roots) -> Status {
    let detail = |share| format!("{:.2} % of the time since boot", 100.0 * share);
    conditions::steal_share(roots).map(detail).into()
}

pub(super) fn pressure(roots: &Roots) -> Status {
    let detail = |percent| format!("some task waited for a CPU in {percent} % of the last 10 s");
    Status::from(conditions::cpu_pressure(roots).map(detail))
        .or_remedy("use a kernel with CONFIG_PSI, booted with `psi=1`")
}

pub(super) fn frequency(roots: &Roots) -> Status {
    let answer = || {
        let (governor, khz) = (conditions::governor(roots, 0)?, conditions::frequency_khz(roots, 0)?);
        let boost = match conditions::boost(roots) {
            Ok(true) => "boost on",
            Ok(false) => "boost off",
            Err(_) => "boost unknown",
        };
        Ok(format!("governor `{governor}`, {:.2} GHz now, {boost}", khz as f64 / 1e6))
    };
    answer().into()
}

pub(super) fn throttling(roots: &Roots) -> Status {
    conditions::throttle_events(roots).map(|events| format!("{events} events since boot")).into()
}

/// The levels are the kernel's (Documentation/admin-guide/sysctl/kernel.rst): up to 2 a user may count in the user
/// space of own processes. Debian and Ubuntu add levels above, which forbid even that.
pub(super) fn perf_events(roots: &Roots) -> Status {
    const HIGHEST_PERMITTING: i32 = 2;
    let level: i32 = match roots.proc_number("sys/kernel/perf_event_paranoid") {
        Ok(level) => level,
        Err(reason) => return Status::unavailable(reason.reason),
    };
    if level > HIGHEST_PERMITTING {
        return Status::unavailable(format!("`perf_event_paranoid` is {level}"))
            .or_remedy("permit it with `sysctl kernel.perf_event_paranoid=2`");
    }
    match has_counters(roots) {
        true => Status::unavailable(format!(
            "permitted (`perf_event_paranoid` is {level}); not read by this version of lab"
        )),
        false => Status::unavailable("permitted, but the processor shows no counters"),
    }
}

/// Tells whether the kernel drives the processor's counters: `cpu`, `cpu_core` and `cpu_atom`, `armv8_pmuv3_0`.
fn has_counters(roots: &Roots) -> bool {
    let devices = roots.sys.join("bus/event_source/devices");
    ["cpu", "armv8"].iter().any(|prefix| entries(&devices, prefix).is_ok_and(|found| !found.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_must_step_by_a_microsecond_or_less() {
        assert!(clock_status(Ok(1_000), 1).is_available());
        let Status::Unavailable { reason, remedy } = clock_status(Ok(4_000_000), 4_000_000) else {
            panic!("a clock of 4 ms is too coarse");
        };
        assert_eq!(reason, "the smallest step is 4000000 ns; the contract permits at most 1000 ns");
        assert!(remedy.is_some());
        assert!(!clock_status(Err(Unavailable::new("it stands")), 1).is_available());
    }
}
