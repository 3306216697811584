//! What leaves the runner.

use lab_core::record::{Launch, Repetition, RepetitionKind};

/// What leaves the runner, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A repetition is about to run: nothing may disturb the machine before the next event that is not one of these.
    Begins(RepetitionKind),
    /// A launch was started, or failed to.
    Launch(Launch),
    /// A repetition ended.
    Repetition(Repetition),
}
