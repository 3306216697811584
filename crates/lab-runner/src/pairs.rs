//! The loop of a paired experiment (`lab ab`).
//!
//! ```text
//!   lock-step    pair 0    start A, start B, warm both up    A│BB│AA│BB│A …   end both
//!                pair 1    start B, start A, warm both up    B│AA│BB│AA│B …   end both
//!                  …
//!                last      the same, then undisturbed repetitions A, B │ B, A │ A, B … in the engines that live, as long as
//!                          asked for; and, if all of them are doubted, as many of both in engines of their own
//!   alone        pair 0    start A, warm it up, generate, end it; then B
//!                pair 1    start B, warm it up, generate, end it; then A
//! ```
//!
//! A pair is recorded whole, once both sides have generated, or as the failure of the side that lost it; the other side
//! then records nothing measured in it, and the next pair follows. Launches carry the number of their pair on either
//! side, so both sides are launched in every pair.

mod turns;

use lab_core::clock::Clock;
use lab_core::engine::{BeginRequest, Engine, EngineError, LoadRequest, Tokens};
use lab_core::experiment::{Layout, Layouts, Side, StoppingPlan, first_side};
use lab_core::fingerprint::Mode;
use lab_core::record::{Completed, Launch, LaunchStart, Outcome, Repetition, RepetitionKind, SessionStatus};
use lab_core::workload::Workload;

use crate::event::Event;
use crate::launched::{Launched, Running, load};
use crate::repetition::{Generated, Next, follows, outcome_of, repetition};
use turns::{Failure, Sharing, generate_in_turn};

/// What a paired experiment carries out. What comes in twos is A's and B's.
#[derive(Debug, Clone, Copy)]
pub struct PairOrder<'a> {
    /// The work of one repetition of each side.
    pub workload: [&'a Workload; 2],
    /// What each launch of a side loads.
    pub load: [&'a LoadRequest; 2],
    /// How the two launches of a pair share the machine.
    pub mode: Mode,
    /// Whose memory lies where.
    pub layouts: Layouts,
    /// What the order of the sides and the memory layouts are drawn from.
    pub seed: u64,
    /// When the experiment may stop, and after how many complete pairs it must.
    pub stopping: &'a StoppingPlan,
    /// Tokens that a warm-up generates after its first one: never more than the workload asks for.
    pub warmup_tokens: u32,
    /// How long nothing is asked for behind a turn, in nanoseconds: so long may the threads of the side that generated still
    /// look for work. No part of any turn.
    pub settle_ns: u64,
    /// Rounds of one undisturbed repetition of each side behind every pair of an experiment in lock-step: what meters need,
    /// since the energy of a turn cannot be told from that of the side that waits.
    pub each_pair: u32,
    /// Most rounds of one undisturbed repetition of each side behind the last pair, those behind every pair included.
    pub closing: u32,
}

/// When the data are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// After so many complete pairs, as the stopping plan says.
    Pairs(u32),
    /// Behind the last pair, after a round of undisturbed repetitions that another may follow.
    Closing,
    /// After the last of them.
    Closed,
}

/// Starts the engine of a side for a pair, its memory laid out as told.
pub type StartSide<'a, 's> = dyn FnMut(Side, u32, Option<&Layout>) -> Result<Launched<'a>, EngineError> + 's;

/// What a look at the data decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// More is needed.
    Continue,
    /// What was measured so far will do.
    Stop,
}

/// So many pairs lost in a row show that the next would be lost too.
pub(crate) const MOST_LOST_IN_A_ROW: u32 = 3;

/// Carries out a paired experiment and returns how it ended, the same for the sessions of both sides.
///
/// `start` starts the engine of a side for a pair, its memory laid out as told. `decide` is asked at each of the plan's
/// looks, while the engines of the last pair still live. Pairs go on until it stops them or the plan's most pairs are
/// complete. Behind them it is asked after each round of undisturbed repetitions whether these will do; where all of them
/// will not, both sides are launched once more for as many. A lost pair is not
/// counted, and another follows; three in a row, or an engine that cannot load before any pair was ever complete, end the
/// experiment.
///
/// # Errors
///
/// Those of the sink.
pub fn run_pairs<'a, E>(
    order: &PairOrder<'_>,
    start: &mut StartSide<'a, '_>,
    clock: &dyn Clock,
    sink: &mut dyn FnMut(Side, Event) -> Result<(), E>,
    decide: &mut dyn FnMut(Look) -> Decision,
) -> Result<SessionStatus, E> {
    let mut pairs = Pairs {
        order,
        start,
        clock,
        sink,
        n_repetitions: [0; 2],
        n_pairs: 0,
        n_complete: 0,
        has_failed: false,
        has_failed_to_load: false,
    };
    match pairs.carry_out(decide) {
        Ok(()) | Err(Halt::Lost) => Ok(pairs.status()),
        Err(Halt::Interrupted) => Ok(SessionStatus::Interrupted),
        Err(Halt::Sink(error)) => Err(error),
    }
}

struct Pairs<'s, 'o, 'a, E> {
    order: &'s PairOrder<'o>,
    start: &'s mut StartSide<'a, 's>,
    clock: &'s dyn Clock,
    sink: &'s mut dyn FnMut(Side, Event) -> Result<(), E>,
    /// Repetitions recorded on each side.
    n_repetitions: [u32; 2],
    /// Pairs begun.
    n_pairs: u32,
    n_complete: u32,
    has_failed: bool,
    has_failed_to_load: bool,
}

/// One side of a pair: an engine with its model loaded, and the work that it is asked for.
struct Member<'o, 'a> {
    side: Side,
    /// The launch's index: the number of the pair.
    launch: u32,
    workload: &'o Workload,
    running: Running<'a>,
}

/// Why something goes no further.
enum Halt<E> {
    /// The sink takes no more.
    Sink(E),
    /// The user stopped the experiment.
    Interrupted,
    /// A side failed, and that is recorded. It costs the pair and not the experiment.
    Lost,
}

/// Returns nothing for what was lost: the experiment goes on.
fn unless_lost<T, E>(result: Result<T, Halt<E>>) -> Result<Option<T>, Halt<E>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Halt::Lost) => Ok(None),
        Err(halt) => Err(halt),
    }
}

impl<'o, 'a, E> Pairs<'_, 'o, 'a, E> {
    fn carry_out(&mut self, decide: &mut dyn FnMut(Look) -> Decision) -> Result<(), Halt<E>> {
        let mut n_lost_in_a_row = 0;
        while self.n_complete < self.order.stopping.most() {
            let pair = self.n_pairs;
            self.n_pairs += 1;
            let result = self.pair(pair);
            let Some(mut members) = unless_lost(result)? else {
                n_lost_in_a_row += 1;
                if self.gives_up(n_lost_in_a_row) {
                    break;
                }
                continue;
            };
            n_lost_in_a_row = 0;
            self.n_complete += 1;
            unless_lost(self.rounds(&mut members, self.order.each_pair))?;
            if self.is_over(decide) {
                return self.close(members, decide);
            }
        }
        Ok(())
    }

    fn gives_up(&self, n_lost_in_a_row: u32) -> bool {
        let never_loads = self.has_failed_to_load && self.n_complete == 0;
        never_loads || n_lost_in_a_row >= MOST_LOST_IN_A_ROW
    }

    /// Returns whether the pair that was just completed is the last.
    fn is_over(&self, decide: &mut dyn FnMut(Look) -> Decision) -> bool {
        let (n_complete, stopping) = (self.n_complete, self.order.stopping);
        let is_stopped =
            stopping.looks_after(n_complete) && decide(Look::Pairs(n_complete)) == Decision::Stop;
        is_stopped || n_complete >= stopping.most()
    }

    /// Carries out one pair and returns the engines that live on: both, or none.
    fn pair(&mut self, pair: u32) -> Result<Vec<Member<'o, 'a>>, Halt<E>> {
        // Lost pairs do not count, or one side could be the first in most of those that do. What a comparison leaves out later
        // is not made up for: docs/comparison.md says what follows.
        let first = first_side(self.order.seed, self.n_complete);
        let sides = [first, first.other()];
        match self.order.mode {
            Mode::LockStep { tokens, slice_ms } => {
                let slice_ns = slice_ms.map(|slice_ms| u64::from(slice_ms) * 1_000_000);
                let sharing = Sharing { n_tokens: tokens, slice_ns, settle_ns: self.order.settle_ns };
                self.lock_step(pair, sides, sharing).map(Vec::from)
            }
            Mode::Alone => self.one_after_the_other(pair, sides).map(|()| Vec::new()),
        }
    }

    /// Lets both sides generate in turn while both engines live.
    fn lock_step(
        &mut self,
        pair: u32,
        sides: [Side; 2],
        sharing: Sharing,
    ) -> Result<[Member<'o, 'a>; 2], Halt<E>> {
        let mut members = self.launch_both(pair, sides)?;
        for side in sides {
            self.tell(side, Event::Begins(RepetitionKind::Measured))?;
        }
        let generated = generate_in_turn(&mut members, sharing, self.clock);
        let generated = generated.map_err(|Failure { side, error }| self.lose(pair, side, error))?;
        self.record_pair(pair, sides, generated)?;
        Ok(members)
    }

    /// Starts and warms up both sides, which then both live.
    fn launch_both(&mut self, pair: u32, sides: [Side; 2]) -> Result<[Member<'o, 'a>; 2], Halt<E>> {
        let one = unless_lost(self.launch(pair, sides[0]))?;
        let two = unless_lost(self.launch(pair, sides[1]))?;
        let (Some(one), Some(two)) = (one, two) else { return Err(Halt::Lost) };
        let mut members = [one, two];
        for member in &mut members {
            self.warm_up(member)?;
        }
        Ok(members)
    }

    /// Lets each side generate while no other engine lives.
    fn one_after_the_other(&mut self, pair: u32, sides: [Side; 2]) -> Result<(), Halt<E>> {
        let Some(one) = unless_lost(self.alone(pair, sides[0]))? else {
            self.launch(pair, sides[1])?;
            return Err(Halt::Lost);
        };
        let two = self.alone(pair, sides[1])?;
        self.record_pair(pair, sides, [one, two])
    }

    /// Launches a side, lets it generate undisturbed, and ends it.
    fn alone(&mut self, pair: u32, side: Side) -> Result<Completed, Halt<E>> {
        let mut member = self.launch(pair, side)?;
        self.warm_up(&mut member)?;
        self.generate(&mut member)?.map_err(|error| self.lose(pair, side, error))
    }

    /// Starts one engine process and loads its model.
    fn launch(&mut self, pair: u32, side: Side) -> Result<Member<'o, 'a>, Halt<E>> {
        let layout = self.order.layouts.of(self.order.seed, pair, side);
        let request = self.order.load[side.index()];
        let record = |start, conditions| {
            Event::Launch(Launch { index: pair, start, conditions, profile: None, layout })
        };
        let started = (self.start)(side, pair, layout.as_ref()).and_then(|launched| load(launched, request));
        match started {
            Err(EngineError::Interrupted) => Err(Halt::Interrupted),
            Err(error) => {
                self.has_failed_to_load = true;
                self.tell(side, record(LaunchStart::Failed(error.clone()), serde_json::Value::Null))?;
                Err(self.lose(pair, side, error))
            }
            Ok((running, conditions)) => {
                self.tell(side, record(LaunchStart::Ready { load_ns: running.load_ns }, conditions))?;
                Ok(Member { side, launch: pair, workload: self.order.workload[side.index()], running })
            }
        }
    }

    /// Runs and records an abbreviated repetition, asked for in the pieces that turns are asked for in where there are turns.
    fn warm_up(&mut self, member: &mut Member<'_, '_>) -> Result<(), Halt<E>> {
        let Member { side, launch, workload, ref mut running } = *member;
        let generate = self.order.warmup_tokens.saturating_add(1).min(workload.generate);
        let workload = Workload { generate, ..workload.clone() };
        let clock = self.clock;
        self.tell(side, Event::Begins(RepetitionKind::Warmup))?;
        let has_turns = matches!(self.order.mode, Mode::LockStep { .. });
        let ask = |engine: &mut dyn Engine, sent_ns| match has_turns {
            true => in_pieces(engine, &workload, sent_ns, clock),
            false => engine.generate(&workload, sent_ns),
        };
        match repetition(running, &workload, clock, ask) {
            Err(EngineError::Interrupted) => Err(Halt::Interrupted),
            Err(error) => {
                self.record(launch, side, RepetitionKind::Warmup, Outcome::Failed(error.clone()))?;
                Err(self.lose(launch, side, error))
            }
            Ok(completed) => self.record(launch, side, RepetitionKind::Warmup, Outcome::Completed(completed)),
        }
    }

    /// Lets a side generate its whole workload undisturbed. What comes of it is not recorded yet.
    fn generate(&mut self, member: &mut Member<'_, '_>) -> Result<Generated, Halt<E>> {
        let workload = member.workload;
        self.tell(member.side, Event::Begins(RepetitionKind::Measured))?;
        let ask = |engine: &mut dyn Engine, sent_ns| engine.generate(workload, sent_ns);
        Ok(repetition(&mut member.running, workload, self.clock, ask))
    }

    /// Runs the undisturbed repetitions that end the experiment, round by round until a look says that these will do, and as many
    /// as that at most in engines of their own if none says so. Those engines have another memory layout: what comes of the layout
    /// of the last pair is told from what comes of turns.
    fn close(
        &mut self,
        mut members: Vec<Member<'o, 'a>>,
        decide: &mut dyn FnMut(Look) -> Decision,
    ) -> Result<(), Halt<E>> {
        let PairOrder { closing, each_pair, .. } = *self.order;
        if members.is_empty() || closing <= each_pair {
            return Ok(());
        }
        for round in each_pair + 1..=closing {
            self.rounds(&mut members, 1)?;
            let look = if round < closing { Look::Closing } else { Look::Closed };
            if decide(look) == Decision::Stop {
                return Ok(());
            }
        }
        if each_pair > 0 {
            return Ok(());
        }
        // Four engines need not fit.
        drop(members);
        let pair = self.n_pairs;
        self.n_pairs += 1;
        let first = first_side(self.order.seed, self.n_complete);
        let mut members = self.launch_both(pair, [first, first.other()])?;
        self.rounds(&mut members, closing)
    }

    /// Runs rounds of undisturbed repetitions behind a pair, each in the order that the one before ended with, so that neither
    /// side is always the later one.
    fn rounds(&mut self, members: &mut [Member<'_, '_>], n_rounds: u32) -> Result<(), Halt<E>> {
        for _ in 0..n_rounds {
            for member in members.iter_mut() {
                let generated = self.generate(member)?;
                let next = follows(&generated);
                if next == Next::Stop {
                    return Err(Halt::Interrupted);
                }
                let outcome = outcome_of(generated);
                self.record(member.launch, member.side, RepetitionKind::Measured, outcome)?;
                if next == Next::NewLaunch {
                    return Err(Halt::Lost);
                }
            }
            members.reverse();
        }
        Ok(())
    }

    fn record_pair(&mut self, pair: u32, sides: [Side; 2], completed: [Completed; 2]) -> Result<(), Halt<E>> {
        for (side, completed) in sides.into_iter().zip(completed) {
            self.record(pair, side, RepetitionKind::Measured, Outcome::Completed(completed))?;
        }
        Ok(())
    }

    /// Records the measured repetition that a failure cost a side, and returns what else it costs.
    fn lose(&mut self, pair: u32, side: Side, error: EngineError) -> Halt<E> {
        if error == EngineError::Interrupted {
            return Halt::Interrupted;
        }
        let recorded = self.record(pair, side, RepetitionKind::Measured, Outcome::Failed(error));
        recorded.err().unwrap_or(Halt::Lost)
    }

    fn record(
        &mut self,
        launch: u32,
        side: Side,
        kind: RepetitionKind,
        outcome: Outcome,
    ) -> Result<(), Halt<E>> {
        let n_repetitions = &mut self.n_repetitions[side.index()];
        let index = *n_repetitions;
        *n_repetitions += 1;
        self.has_failed |= matches!(outcome, Outcome::Failed(_));
        self.tell(side, Event::Repetition(Repetition { index, launch, kind, outcome }))
    }

    fn tell(&mut self, side: Side, event: Event) -> Result<(), Halt<E>> {
        (self.sink)(side, event).map_err(Halt::Sink)
    }

    fn status(&self) -> SessionStatus {
        status_of(self.n_complete, self.has_failed)
    }
}

/// Returns how the sessions of both sides end, where nobody stopped the experiment.
pub(crate) fn status_of(n_complete: u32, has_failed: bool) -> SessionStatus {
    match (n_complete, has_failed) {
        (0, _) => SessionStatus::Failed,
        (_, true) => SessionStatus::Incomplete,
        (_, false) => SessionStatus::Completed,
    }
}

/// Generates a workload in two requests: the first token, and all others.
fn in_pieces(
    engine: &mut dyn Engine,
    workload: &Workload,
    request_ns: u64,
    clock: &dyn Clock,
) -> Result<Tokens, EngineError> {
    let mut tokens = engine.begin(&BeginRequest::from(workload), request_ns)?;
    if !tokens.ended && workload.generate > 1 {
        tokens.append(engine.step(workload.generate - 1, clock.now_ns())?);
    }
    engine.finish()?;
    Ok(tokens)
}

#[cfg(test)]
mod tests;
