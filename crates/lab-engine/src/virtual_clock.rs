//! A clock for tests.

use std::cell::Cell;

use lab_core::clock::Clock;

/// A clock that moves when somebody waits, and by a step with every reading.
pub(crate) struct Virtual {
    now_ns: Cell<u64>,
    step_ns: u64,
}

impl Virtual {
    /// Starts a clock at a time, in nanoseconds.
    pub(crate) fn at(now_ns: u64) -> Self {
        Self::stepping(now_ns, 0)
    }

    /// Starts a clock that every reading moves on, for whoever reads until a time has come.
    pub(crate) fn stepping(now_ns: u64, step_ns: u64) -> Self {
        Self { now_ns: Cell::new(now_ns), step_ns }
    }
}

impl Clock for Virtual {
    fn now_ns(&self) -> u64 {
        self.now_ns.set(self.now_ns.get() + self.step_ns);
        self.now_ns.get()
    }

    fn wait_until_ns(&self, deadline_ns: u64) {
        self.now_ns.set(self.now_ns.get().max(deadline_ns));
    }
}
