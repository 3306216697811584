//! Time as lab sees it: monotonic nanoseconds, and whoever can tell them.

/// Reads and waits on a monotonic clock. Implemented by the machine's clock (lab-host) and by virtual ones.
pub trait Clock {
    /// Returns the time now, in nanoseconds since an arbitrary origin. Never runs backwards.
    fn now_ns(&self) -> u64;

    /// Returns when the clock reads `deadline_ns` or more.
    fn wait_until_ns(&self, deadline_ns: u64);
}
