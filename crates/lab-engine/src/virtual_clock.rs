//! A clock for tests.

use std::cell::Cell;

use lab_core::clock::Clock;

/// A clock that only moves when somebody waits.
pub(crate) struct Virtual(Cell<u64>);

impl Virtual {
    /// Starts a clock at a time, in nanoseconds.
    pub(crate) fn at(now_ns: u64) -> Self {
        Self(Cell::new(now_ns))
    }
}

impl Clock for Virtual {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }

    fn wait_until_ns(&self, deadline_ns: u64) {
        self.0.set(self.0.get().max(deadline_ns));
    }
}
