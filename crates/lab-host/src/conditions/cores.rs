//! Where the time of the cores went: `/proc/stat`.

use lab_core::observation::CoreTime;

use super::first;
use crate::{Roots, Unavailable};

/// Returns where the time of each of `cores` went since boot, in their order.
pub(super) fn probe(roots: &Roots, cores: &[u32]) -> Result<Vec<CoreTime>, Unavailable> {
    first(cores)?;
    let text = roots.proc_text("stat")?;
    let unfit = |core| Unavailable::content(&roots.proc.join("stat"), &format!("a line of core {core}"));
    core_times(&text, cores).map_err(unfit)
}

/// `USER_HZ` is 100 on every current machine (time(7)).
const NANOS_PER_JIFFY: u64 = 10_000_000;

/// Returns the time that the hypervisor has taken from `cores` since boot, and the time in which they were busy, each of all
/// together, in nanoseconds.
pub(crate) fn stolen_and_busy_ns(roots: &Roots, cores: &[u32]) -> Result<[u64; 2], Unavailable> {
    let times = probe(roots, cores)?;
    let sum = |of: fn(&CoreTime) -> u64| times.iter().map(of).fold(0, u64::saturating_add);
    Ok([sum(|core| core.steal), sum(|core| core.busy)].map(|jiffies| jiffies.saturating_mul(NANOS_PER_JIFFY)))
}

/// Returns where the time of each of `cores` went according to the text of `/proc/stat`, or the core that it does
/// not speak of.
pub(crate) fn core_times(text: &str, cores: &[u32]) -> Result<Vec<CoreTime>, u32> {
    // The long line of interrupts comes after the cores and is never looked at.
    let lines = text.lines().take_while(|line| line.starts_with("cpu"));
    let all: Vec<CoreTime> = lines.filter_map(core_time).collect();
    let of = |core: &u32| all.iter().find(|time| time.core == *core).copied().ok_or(*core);
    cores.iter().map(of).collect()
}

fn core_time(line: &str) -> Option<CoreTime> {
    let (name, counts) = line.strip_prefix("cpu")?.split_once(' ')?;
    let [user, nice, system, idle, iowait, irq, softirq, steal] = columns(counts)?;
    let busy = [user, nice, system, irq, softirq].into_iter().fold(0, u64::saturating_add);
    Some(CoreTime { core: name.parse().ok()?, busy, idle: idle.saturating_add(iowait), steal })
}

/// `user nice system idle iowait irq softirq steal guest guest_nice` (proc(5)). The kernel counts a guest's time in
/// `user` and `nice` as well: the two columns after steal would count twice.
fn columns(counts: &str) -> Option<[u64; 8]> {
    let mut words = counts.split_ascii_whitespace();
    let mut columns = [0; 8];
    for column in &mut columns {
        *column = words.next()?.parse().ok()?;
    }
    Some(columns)
}

/// Returns the share of the time of all CPUs since boot that the hypervisor gave to others, from 0 to 1.
pub(crate) fn steal_share(roots: &Roots) -> Result<f64, Unavailable> {
    let text = roots.proc_text("stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
    let unfit = || Unavailable::content(&roots.proc.join("stat"), "a `cpu` line with steal in it");
    let columns = line.and_then(columns).ok_or_else(unfit)?;
    let total = columns.into_iter().fold(0, u64::saturating_add);
    Ok(columns[7] as f64 / total.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cpu  30 3 6 600 9 0 3 12 99 99\n\
        cpu0 10 1 2 200 3 0 1 4 33 33\n\
        cpu2 20 2 4 400 6 1 2 8 66 66\n\
        cpu3 20 2 4 x\n\
        intr 1 2 3\n\
        cpu7 1 1 1 1 1 1 1 1\n";

    #[test]
    fn the_cores_are_found_in_the_order_asked_for_and_guests_count_once() {
        let times = core_times(TEXT, &[2, 0]).unwrap();
        let expected = [(2, 29, 406, 8), (0, 14, 203, 4)];
        let expected = expected.map(|(core, busy, idle, steal)| CoreTime { core, busy, idle, steal });
        assert_eq!(times, expected);
    }

    #[test]
    fn a_core_that_is_offline_or_garbled_is_named() {
        for (cores, missing) in [(&[0, 1][..], 1), (&[3], 3), (&[7], 7)] {
            assert_eq!(core_times(TEXT, cores), Err(missing));
        }
    }
}
