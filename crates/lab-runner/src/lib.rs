//! Carries out a plan: launches, warm-ups, measured repetitions, and what disturbed them; and two plans against each
//! other, in pairs.
//!
//! The runner has no I/O of its own. It is given a way to start engines, a clock, and a sink for events; the binary
//! joins them with processes, the machine and the store. Everything it learns leaves through the sink at once, so that
//! a killed session loses only the repetition in flight, and a killed experiment only the pair in flight.

mod accept;
mod command_pairs;
mod event;
mod launched;
mod pairs;
mod repetition;
mod session;

pub use accept::accept;
pub use command_pairs::{CommandLaunch, CommandOrder, RunSide, run_command_pairs};
pub use event::Event;
pub use launched::Launched;
pub use pairs::{Decision, Look, PairOrder, StartSide, run_pairs};
pub use session::{Order, run};
