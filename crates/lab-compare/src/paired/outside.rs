//! What others used of the machine during a block: the only ground on which one is left out.

use lab_core::experiment::Glance;
use lab_core::metric::Reading;

use crate::pairs::{GREATEST_SHARE, GREATEST_SHARE_OF_PAIR};

/// The kernel counts the busy time of a core in jiffies of `USER_HZ` (1/100 s on every current machine, time(7)).
const NANOS_PER_JIFFY: f64 = 1e7;

/// What is known of one block besides how fast it was: the kernel's counters before and after it.
#[derive(Debug, Clone, Copy)]
pub struct Outside<'a> {
    /// The counters before the request.
    pub before: &'a Glance,
    /// The counters after the answer.
    pub after: &'a Glance,
    /// CPU time that lab itself took in between, in nanoseconds: that of the instruments is what is measured, and disturbs
    /// nothing.
    pub harness_cpu_ns: u64,
    /// The time that the block took, in nanoseconds: what shares are shares of.
    pub time_ns: u64,
    /// Threads that the engine computes with.
    pub threads: u32,
    /// Cores that it may use.
    pub n_cores: usize,
}

impl Outside<'_> {
    /// Returns the ids of the rules of validity by which others disturbed the block, with the limits that hold for the turns and
    /// pairs of an experiment; none for a quiet one. What the kernel does not tell is not held against it.
    ///
    /// Threads of one engine wait for each other, too, so that of an engine with several only the time of its cores is looked
    /// at, and of that one jiffy a core is rounding.
    pub fn disturbances(&self) -> Vec<&'static str> {
        let time_ns = self.time_ns as f64;
        let of_cores_ns = time_ns * self.n_cores as f64;
        let kinds = [
            ("steal", self.stolen_ns(), GREATEST_SHARE * time_ns),
            ("run-queue", self.waited_ns(), GREATEST_SHARE * time_ns),
            ("other-load", self.others_ns(), GREATEST_SHARE_OF_PAIR * of_cores_ns),
        ];
        kinds.into_iter().filter(|(_, taken, limit)| taken > limit).map(|(rule, _, _)| rule).collect()
    }

    fn stolen_ns(&self) -> f64 {
        self.rise(|glance| &glance.steal_ns).unwrap_or(0.0)
    }

    /// Returns how long an engine of one thread waited for a CPU that neither it nor lab had.
    fn waited_ns(&self) -> f64 {
        if self.threads > 1 {
            return 0.0;
        }
        let waited = self.rise(|glance| &glance.run_delay_ns).unwrap_or(0.0);
        let own = self.rise(|glance| &glance.cpu_ns);
        let went_without = own.map_or(waited, |own| (self.time_ns as f64 - own).max(0.0));
        waited.min(went_without) - self.harness_cpu_ns as f64
    }

    /// Returns how long the cores of an engine of several threads were busy with neither it nor lab.
    fn others_ns(&self) -> f64 {
        let busy = self.rise(|glance| &glance.busy_ns);
        let own = self.rise(|glance| &glance.cpu_ns);
        let rounding = self.n_cores as f64 * NANOS_PER_JIFFY;
        match busy.zip(own) {
            Some((busy, own)) if self.threads > 1 => busy - own - self.harness_cpu_ns as f64 - rounding,
            _ => 0.0,
        }
    }

    fn rise(&self, of: fn(&Glance) -> &Reading<u64>) -> Option<f64> {
        let (before, after) = (of(self.before).value()?, of(self.after).value()?);
        after.checked_sub(*before).map(|rise| rise as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn glance(steal_ns: u64, busy_ns: u64, run_delay_ns: u64, cpu_ns: u64) -> Glance {
        let [steal_ns, busy_ns, run_delay_ns, cpu_ns] =
            [steal_ns, busy_ns, run_delay_ns, cpu_ns].map(Reading::Value);
        Glance { steal_ns, busy_ns, run_delay_ns, cpu_ns }
    }

    /// What is held against a block of a second, on two cores, of an engine with so many threads.
    fn told(threads: u32, after: &Glance, harness_cpu_ns: u64) -> Vec<&'static str> {
        let before = glance(0, 0, 0, 0);
        let (time_ns, n_cores) = (1_000 * MS, 2);
        Outside { before: &before, after, harness_cpu_ns, time_ns, threads, n_cores }.disturbances()
    }

    #[test]
    fn a_block_is_disturbed_by_what_others_took_and_by_nothing_else() {
        for (threads, after, harness_cpu_ns, expected) in [
            (1, glance(0, 1_000 * MS, 0, 1_000 * MS), 0, &[""; 0][..]),
            (1, glance(10 * MS, 1_000 * MS, 0, 1_000 * MS), 0, &[]),
            (1, glance(20 * MS, 1_000 * MS, 0, 980 * MS), 0, &["steal"]),
            (1, glance(0, 1_000 * MS, 200 * MS, 800 * MS), 0, &["run-queue"]),
            // It waited no longer than it went without a CPU: the rest is of threads that only ever sleep.
            (1, glance(0, 1_000 * MS, 200 * MS, 995 * MS), 0, &[]),
            // The instruments took the CPU, and that is what they cost.
            (1, glance(0, 1_000 * MS, 200 * MS, 800 * MS), 195 * MS, &[]),
            // Its threads waited for each other.
            (2, glance(0, 1_900 * MS, 500 * MS, 1_900 * MS), 0, &[]),
            (2, glance(0, 2_000 * MS, 500 * MS, 1_500 * MS), 0, &["other-load"]),
            (2, glance(0, 2_000 * MS, 500 * MS, 1_500 * MS), 400 * MS, &[]),
            // A jiffy a core and a twentieth of two cores: 120 ms.
            (2, glance(0, 2_000 * MS, 0, 1_880 * MS), 0, &[]),
            (2, glance(0, 2_000 * MS, 0, 1_879 * MS), 0, &["other-load"]),
        ] {
            assert_eq!(told(threads, &after, harness_cpu_ns), expected, "{threads} {after:?}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_not_held_against_a_block() {
        let hidden = || Reading::Unavailable("hidden".to_owned());
        let blind =
            Glance { steal_ns: hidden(), busy_ns: hidden(), run_delay_ns: hidden(), cpu_ns: hidden() };
        for threads in [1, 2] {
            assert_eq!(told(threads, &blind, 0), [""; 0]);
        }
        let without_own = Glance { run_delay_ns: Reading::Value(200 * MS), ..blind };
        assert_eq!(told(1, &without_own, 0), ["run-queue"]);
    }
}
