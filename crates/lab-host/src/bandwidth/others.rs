//! How much of the cores' time others took while memory was read.

use lab_core::observation::CoreTime;

use crate::clock::process_cpu_ns;
use crate::{Roots, conditions};

/// `USER_HZ` is 100 on every current machine (time(7)).
const NS_PER_JIFFY: u64 = 10_000_000;

/// Carries out `work` and returns, beside its result, the share of the time of `cores` that others took meanwhile.
/// Nothing where the machine does not tell.
pub(super) fn watched<T>(machine: &Roots, cores: &[u32], work: impl FnOnce() -> T) -> (T, Option<f64>) {
    // The conditions begin with the cores, so that the two figures of a look belong together.
    let look = || (process_cpu_ns(), conditions::probe(machine, cores));
    let (own_before_ns, before) = look();
    let done = work();
    let (own_after_ns, after) = look();
    let both = before.cores.value().zip(after.cores.value());
    let own_ns = own_after_ns.saturating_sub(own_before_ns);
    let elapsed_ns = after.at_ns.saturating_sub(before.at_ns);
    (done, both.and_then(|(before, after)| share(before, after, own_ns, elapsed_ns)))
}

/// Returns the share of the cores' time, from 0 up, that was stolen, or busy beyond the time that this process ran.
fn share(before: &[CoreTime], after: &[CoreTime], own_ns: u64, elapsed_ns: u64) -> Option<f64> {
    let passed_ns = |of: fn(&CoreTime) -> u64| {
        let rises = before.iter().zip(after).map(|(before, after)| of(after).saturating_sub(of(before)));
        rises.fold(0, u64::saturating_add).saturating_mul(NS_PER_JIFFY)
    };
    let busy_ns = passed_ns(|core| core.busy).saturating_sub(own_ns);
    let others_ns = busy_ns.saturating_add(passed_ns(|core| core.steal));
    let cores_ns = elapsed_ns.saturating_mul(after.len() as u64);
    (cores_ns > 0).then(|| others_ns as f64 / cores_ns as f64)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// How long the cores are looked at.
    const SECOND_NS: u64 = 1_000_000_000;

    #[track_caller]
    fn check(busy: [u64; 2], steal: [u64; 2], own_ns: u64, expected: f64) {
        let core = |core, busy, steal| CoreTime { core, busy, idle: 0, steal };
        let before = [core(0, 1_000, 50), core(1, 2_000, 60)];
        let after = [core(0, 1_000 + busy[0], 50 + steal[0]), core(1, 2_000 + busy[1], 60 + steal[1])];
        let found = share(&before, &after, own_ns, SECOND_NS).unwrap();
        assert!((found - expected).abs() < 1e-9, "{found}");
    }

    #[test]
    fn what_is_stolen_and_what_is_busy_beyond_this_process_is_others() {
        check([0, 0], [0, 0], 0, 0.0);
        check([100, 100], [0, 0], 2 * SECOND_NS, 0.0);
        check([100, 100], [0, 0], 2 * SECOND_NS - 60_000_000, 0.03);
        check([90, 100], [10, 0], 1_900_000_000, 0.05);
        // A jiffy that the kernel has not booked yet makes nobody owe time, and takes nothing from what was stolen.
        check([99, 100], [0, 1], 2 * SECOND_NS, 0.005);
    }

    #[test]
    fn no_time_and_no_core_have_no_share() {
        let core = CoreTime { core: 0, busy: 1, idle: 1, steal: 1 };
        assert_eq!(share(&[core], &[core], 0, 0), None);
        assert_eq!(share(&[], &[], 0, SECOND_NS), None);
    }

    #[test]
    fn others_are_looked_for_below_the_roots() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::new(folder.path(), folder.path());
        let stat = |busy: u64| format!("cpu0 {busy} 0 0 5000 0 0 0 0 0 0\n");
        let write = |text: String| fs::write(folder.path().join("stat"), text).unwrap();
        assert_eq!(watched(&roots, &[0], || "done"), ("done", None));
        write(stat(100));
        assert_eq!(watched(&roots, &[0], || "done"), ("done", Some(0.0)));
        // Ten hours, in the moment that writing takes.
        let ((), others) = watched(&roots, &[0], || write(stat(3_600_100)));
        assert!(others.unwrap() > 1.0, "{others:?}");
        assert_eq!(watched(&roots, &[1], || ()), ((), None));
    }
}
