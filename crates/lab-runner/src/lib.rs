//! Carries out a plan: launches, warm-ups, measured repetitions, and what disturbed them.
//!
//! The runner has no I/O of its own. It is given a way to start engines, a clock, and a sink for events; the binary
//! joins them with processes, the machine and the store. Everything it learns leaves through the sink at once, so that
//! a killed session loses only the repetition in flight.

mod accept;
mod session;

pub use accept::accept;
pub use session::{Event, Launched, Order, run};
