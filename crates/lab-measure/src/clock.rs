//! The one place of this crate where time is read.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// Returns the nanoseconds since an arbitrary point in the past (`CLOCK_MONOTONIC`), which no one can set.
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (Ok(seconds), Ok(rest)) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec)) else {
        unreachable!("only the time of day can be negative (clock_gettime(2))");
    };
    seconds * SECOND + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let mut last = now_ns();
        for _ in 0..1_000 {
            let now = now_ns();
            assert!(now >= last, "{now} came after {last}");
            last = now;
        }
        assert!(last > 0);
    }
}
