//! By when something is to be done.

use std::time::Duration;

use lab_core::clock::{Clock, nanoseconds};

use crate::error::MqttError;

/// A time on a clock, and how long it was away when it was set.
#[derive(Clone, Copy)]
pub(crate) struct Deadline<'a> {
    clock: &'a dyn Clock,
    at_ns: u64,
    patience: Duration,
}

impl<'a> Deadline<'a> {
    /// Sets a deadline so far from now.
    pub(crate) fn after(patience: Duration, clock: &'a dyn Clock) -> Self {
        Self { clock, at_ns: clock.now_ns().saturating_add(nanoseconds(patience)), patience }
    }

    /// Returns how long it is away; nothing is left of one that has passed.
    pub(crate) fn left(&self) -> Duration {
        Duration::from_nanos(self.at_ns.saturating_sub(self.clock.now_ns()))
    }

    /// Returns whether it has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Returns the error of a broker that did not do something by then.
    pub(crate) fn missed(&self, what: &'static str) -> MqttError {
        MqttError::Silent { what, patience: self.patience }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now_ns(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn wait_until_ns(&self, deadline_ns: u64) {
            self.0.fetch_max(deadline_ns, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_deadline_comes_nearer_and_is_over() {
        let clock = Hand(AtomicU64::new(1_000));
        let deadline = Deadline::after(Duration::from_nanos(500), &clock);
        assert_eq!((deadline.left(), deadline.is_over()), (Duration::from_nanos(500), false));
        clock.wait_until_ns(1_499);
        assert_eq!((deadline.left(), deadline.is_over()), (Duration::from_nanos(1), false));
        clock.wait_until_ns(2_000);
        assert_eq!((deadline.left(), deadline.is_over()), (Duration::ZERO, true));
        let error = deadline.missed("answer").to_string();
        assert_eq!(error, "the broker did not answer within 0.0000005 s");
        assert!(!Deadline::after(Duration::MAX, &clock).is_over());
    }
}
