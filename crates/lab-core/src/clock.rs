//! Time as lab sees it: monotonic nanoseconds, and whoever can tell them.

use std::time::Duration;

/// Reads and waits on a monotonic clock. Implemented by the machine's clock (lab-host) and by virtual ones.
pub trait Clock {
    /// Returns the time now, in nanoseconds since an arbitrary origin. Never runs backwards.
    fn now_ns(&self) -> u64;

    /// Returns when the clock reads `deadline_ns` or more.
    fn wait_until_ns(&self, deadline_ns: u64);
}

/// Returns a duration in nanoseconds, as clocks count; for one that they cannot count to, the most that they can.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_beyond_every_clock_is_the_end_of_the_clock() {
        assert_eq!(nanoseconds(Duration::from_millis(3)), 3_000_000);
        assert_eq!(nanoseconds(Duration::MAX), u64::MAX);
    }
}
