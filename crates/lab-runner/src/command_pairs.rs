//! The loop of a paired experiment of commands (`lab ab` with plans that run commands).
//!
//! ```text
//!   warm-ups     run A, run B, run A, run B …      recorded, never counted
//!   pair 0       run A, then B
//!   pair 1       run B, then A
//!     …
//! ```
//!
//! A command has no turns: what can be balanced is who runs first. Both sides never run at once. A pair is recorded whole, once
//! both sides have ended well, so that nothing is written between its runs; or as the failure of the side that lost it. Launches
//! carry the same number on either side.

use lab_core::experiment::{Side, StoppingPlan, first_side};
use lab_core::record::{Launch, LaunchStart, Outcome, Repetition, RepetitionKind, SessionStatus};
use serde_json::Value;

use crate::event::Event;
use crate::pairs::{Decision, Look, MOST_LOST_IN_A_ROW, status_of};

/// What a paired experiment of commands carries out.
#[derive(Debug, Clone, Copy)]
pub struct CommandOrder<'a> {
    /// Runs in front of the first pair, A's and B's.
    pub warmup: [u32; 2],
    /// What the order of the sides is drawn from.
    pub seed: u64,
    /// When the experiment may stop, and after how many complete pairs it must.
    pub stopping: &'a StoppingPlan,
}

/// What came of running a command once, in a launch of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandLaunch {
    /// How the start went.
    pub start: LaunchStart,
    /// Conditions of the host just before the start.
    pub conditions: Value,
    /// How the run went.
    pub outcome: Outcome,
}

/// Runs the command of a side once; nothing where the user stopped it.
pub type RunSide<'s> = dyn FnMut(Side) -> Option<CommandLaunch> + 's;

/// Carries out a paired experiment of commands and returns how it ended, the same for the sessions of both sides.
///
/// `decide` is asked at each of the plan's looks. A run that fails costs its pair, another pair follows, and three lost in a
/// row end the experiment, as does a command that cannot be started before any pair was ever complete. A warm-up that fails
/// costs nothing.
///
/// # Errors
///
/// Those of the sink.
pub fn run_command_pairs<E>(
    order: &CommandOrder<'_>,
    run: &mut RunSide<'_>,
    sink: &mut dyn FnMut(Side, Event) -> Result<(), E>,
    decide: &mut dyn FnMut(Look) -> Decision,
) -> Result<SessionStatus, E> {
    let mut pairs = CommandPairs {
        order,
        run,
        sink,
        n_repetitions: [0; 2],
        n_complete: 0,
        has_failed: false,
        has_failed_to_start: false,
    };
    match pairs.carry_out(decide) {
        Ok(()) => Ok(pairs.status()),
        Err(Halt::Interrupted) => Ok(SessionStatus::Interrupted),
        Err(Halt::Sink(error)) => Err(error),
    }
}

struct CommandPairs<'s, E> {
    order: &'s CommandOrder<'s>,
    run: &'s mut RunSide<'s>,
    sink: &'s mut dyn FnMut(Side, Event) -> Result<(), E>,
    /// Repetitions recorded on each side.
    n_repetitions: [u32; 2],
    n_complete: u32,
    /// Whether a measured run failed.
    has_failed: bool,
    has_failed_to_start: bool,
}

/// Why nothing goes on.
enum Halt<E> {
    /// The sink takes no more.
    Sink(E),
    /// The user stopped the experiment.
    Interrupted,
}

impl<E> CommandPairs<'_, E> {
    fn carry_out(&mut self, decide: &mut dyn FnMut(Look) -> Decision) -> Result<(), Halt<E>> {
        self.warm_up()?;
        let [warmup_a, warmup_b] = self.order.warmup;
        let mut launch = warmup_a.max(warmup_b);
        let mut n_lost_in_a_row = 0;
        while self.n_complete < self.order.stopping.most() && !self.gives_up(n_lost_in_a_row) {
            let is_complete = self.pair(launch)?;
            launch += 1;
            if !is_complete {
                n_lost_in_a_row += 1;
                continue;
            }
            n_lost_in_a_row = 0;
            self.n_complete += 1;
            let n_pairs = self.n_complete;
            if self.order.stopping.looks_after(n_pairs) && decide(Look::Pairs(n_pairs)) == Decision::Stop {
                break;
            }
        }
        Ok(())
    }

    fn gives_up(&self, n_lost_in_a_row: u32) -> bool {
        let never_starts = self.has_failed_to_start && self.n_complete == 0;
        never_starts || n_lost_in_a_row >= MOST_LOST_IN_A_ROW
    }

    /// Runs what each side runs in front of the first pair, in turn.
    fn warm_up(&mut self) -> Result<(), Halt<E>> {
        let [warmup_a, warmup_b] = self.order.warmup;
        for launch in 0..warmup_a.max(warmup_b) {
            for side in Side::BOTH {
                if launch < self.order.warmup[side.index()] && !self.gives_up(0) {
                    let launched = self.run(side)?;
                    self.record(side, launch, RepetitionKind::Warmup, launched)?;
                }
            }
        }
        Ok(())
    }

    /// Runs both sides once and returns whether the pair is complete. Where the first fails there is nothing to run the second
    /// for.
    fn pair(&mut self, launch: u32) -> Result<bool, Halt<E>> {
        // Lost pairs do not count, or one side could be the first in most of those that do.
        let first = first_side(self.order.seed, self.n_complete);
        let second = first.other();
        let measured = RepetitionKind::Measured;
        let one = self.run(first)?;
        if !one.outcome.is_completed() {
            self.record(first, launch, measured, one)?;
            return Ok(false);
        }
        let two = self.run(second)?;
        if !two.outcome.is_completed() {
            // It was launched, and what it took is worth nothing without the other.
            self.tell(first, launch_of(launch, one.start, one.conditions))?;
            self.record(second, launch, measured, two)?;
            return Ok(false);
        }
        self.record(first, launch, measured, one)?;
        self.record(second, launch, measured, two)?;
        Ok(true)
    }

    fn run(&mut self, side: Side) -> Result<CommandLaunch, Halt<E>> {
        (self.run)(side).ok_or(Halt::Interrupted)
    }

    fn record(
        &mut self,
        side: Side,
        launch: u32,
        kind: RepetitionKind,
        launched: CommandLaunch,
    ) -> Result<(), Halt<E>> {
        let CommandLaunch { start, conditions, outcome } = launched;
        self.has_failed_to_start |= matches!(start, LaunchStart::Failed(_));
        self.has_failed |= kind == RepetitionKind::Measured && !outcome.is_completed();
        self.tell(side, launch_of(launch, start, conditions))?;
        let n_repetitions = &mut self.n_repetitions[side.index()];
        let index = *n_repetitions;
        *n_repetitions += 1;
        self.tell(side, Event::Repetition(Repetition { index, launch, kind, outcome }))
    }

    fn tell(&mut self, side: Side, event: Event) -> Result<(), Halt<E>> {
        (self.sink)(side, event).map_err(Halt::Sink)
    }

    fn status(&self) -> SessionStatus {
        status_of(self.n_complete, self.has_failed)
    }
}

fn launch_of(index: u32, start: LaunchStart, conditions: Value) -> Event {
    Event::Launch(Launch { index, start, conditions, profile: None, layout: None })
}

#[cfg(test)]
mod tests;
