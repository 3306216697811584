//! One generation of each side of a pair, turn by turn: the same tokens on either side, one side working while the other
//! waits.
//!
//! ```text
//!   turn       0    1    2    3           the side that ended a turn begins the next: what drifts steadily,
//!   first      ██   ·██  ██·   ·██        such as heat, costs both sides the same over every two turns
//!   other      ·██  ██·   ·██  ██·
//! ```
//!
//! Turn 0 takes the prompt in, which may last as long as a hundred tokens. Engines that can be paused share it slice by slice, and
//! both end it before either begins turn 1:
//!
//! ```text
//!   first      █··██··██··█               the first slice is half as long, so that every other one lies evenly between two of
//!   other      ·██··██··██·               the other side
//! ```

use lab_core::clock::Clock;
use lab_core::engine::{BeginRequest, EngineError, Tokens};
use lab_core::experiment::{Evidence, Glance, Side, Turn};
use lab_core::observation::Observation;
use lab_core::record::Completed;

use super::Member;
use crate::accept::accept_turn;
use crate::repetition::answered_between;

/// Which side failed, and how.
pub(super) struct Failure {
    pub(super) side: Side,
    pub(super) error: EngineError,
}

/// How two sides share the machine while both generate.
#[derive(Clone, Copy)]
pub(super) struct Sharing {
    /// Tokens of a turn behind the first.
    pub(super) n_tokens: u32,
    /// How long a side works on its prompt before the other does, in nanoseconds; none where it is taken in at once.
    pub(super) slice_ns: Option<u64>,
    /// How long nothing is asked for behind a turn, in nanoseconds.
    pub(super) settle_ns: u64,
}

/// Lets both members of a pair generate their workloads in turns: turn 0 takes the prompt in and yields the first token. The
/// first member begins it.
///
/// Both sides' instruments watch the whole of it, each with its own sampling thread where it has one. That is twice the
/// cost of watching one side, on both sides alike, and what each observes of the machine includes the other's turns; what
/// used the machine in one turn alone is told by its evidence, from counters read between turns and never during one (of prompts
/// in slices, before both and behind both).
/// The rules of validity are for repetitions that run alone and are not asked.
pub(super) fn generate_in_turn(
    members: &mut [Member<'_, '_>; 2],
    sharing: Sharing,
    clock: &dyn Clock,
) -> Result<[Completed; 2], Failure> {
    for member in members.iter_mut() {
        member.running.instruments.begin();
    }
    let generated = take_turns(members, sharing, clock);
    let [seen_by_one, seen_by_two] = members.each_mut().map(|member| member.running.instruments.end());
    let [by_one, by_two] = generated?;
    let [one, two] = members;
    one.finish()?;
    two.finish()?;
    Ok([one.complete(by_one, seen_by_one)?, two.complete(by_two, seen_by_two)?])
}

fn take_turns(
    members: &mut [Member<'_, '_>; 2],
    sharing: Sharing,
    clock: &dyn Clock,
) -> Result<[Generation; 2], Failure> {
    let generations = members.each_ref().map(|member| Generation::of(member.workload.generate));
    let before = glances(members);
    let mut both = Both { members, generations, before, order: [0, 1], sharing, clock };
    if let Some(slice_ns) = sharing.slice_ns {
        both.take_prompts_in(slice_ns)?;
    }
    while both.generations.iter().any(|generation| generation.n_left > 0) {
        both.take_turn()?;
    }
    Ok(both.generations)
}

/// Both sides while they generate in turn.
struct Both<'m, 'o, 'a> {
    members: &'m mut [Member<'o, 'a>; 2],
    generations: [Generation; 2],
    /// The counters of both when the next turn begins.
    before: [Glance; 2],
    /// Who begins the next turn, and who follows.
    order: [usize; 2],
    sharing: Sharing,
    clock: &'m dyn Clock,
}

impl Both<'_, '_, '_> {
    /// Lets both sides do turn 0 slice by slice. No counter is read before both are done: a core that falls idle between two slices
    /// would be late for the second.
    fn take_prompts_in(&mut self, slice_ns: u64) -> Result<(), Failure> {
        let mut prompts = [Prompt::default(), Prompt::default()];
        let mut next_ns = slice_ns / 2;
        while prompts.iter().any(|prompt| prompt.answer.is_none()) {
            for own in self.order {
                if prompts[own].answer.is_some() {
                    continue;
                }
                self.members[own].take_slice(&mut prompts[own], next_ns, self.clock)?;
                next_ns = slice_ns;
                if prompts[own].answer.is_some() {
                    self.settle();
                }
            }
        }
        let after = glances(self.members);
        for (own, answer) in prompts.into_iter().filter_map(|prompt| prompt.answer).enumerate() {
            let [ours, theirs] = [own, 1 - own].map(|side| [&self.before[side], &after[side]]);
            self.generations[own].follow(answer, Evidence::of_slices(ours, theirs));
        }
        self.before = after;
        self.order.reverse();
        Ok(())
    }

    /// Lets both sides do one turn.
    fn take_turn(&mut self) -> Result<(), Failure> {
        for own in self.order {
            if self.generations[own].n_left == 0 {
                continue;
            }
            let answer =
                self.members[own].take_turn(&self.generations[own], self.sharing.n_tokens, self.clock);
            let after = glances(self.members);
            let [ours, theirs] = [own, 1 - own].map(|side| [&self.before[side], &after[side]]);
            self.generations[own].follow(answer?, Evidence::between(ours, theirs));
            self.before = after;
            if self.sharing.settle_ns > 0 {
                self.settle();
                self.before = glances(self.members);
            }
        }
        self.order.reverse();
        Ok(())
    }

    /// Waits while threads may still look for work behind their turn: they would take from the next.
    fn settle(&self) {
        self.clock.wait_until_ns(self.clock.now_ns() + self.sharing.settle_ns);
    }
}

fn glances(members: &mut [Member<'_, '_>; 2]) -> [Glance; 2] {
    members.each_mut().map(|member| member.running.instruments.glance())
}

impl Member<'_, '_> {
    /// Works on the prompt for one slice, and checks what came of it if that is all.
    fn take_slice(&mut self, prompt: &mut Prompt, slice_ns: u64, clock: &dyn Clock) -> Result<(), Failure> {
        let engine = &mut self.running.engine;
        let opening = prompt.began_ns.is_none().then(|| BeginRequest::from(self.workload));
        let sent_ns = clock.now_ns();
        let answer = match &opening {
            Some(request) => engine.begin_sliced(request, sent_ns, slice_ns),
            None => engine.go_on(slice_ns),
        };
        let received_ns = clock.now_ns();
        let began_ns = *prompt.began_ns.get_or_insert(sent_ns);
        prompt.outside_ns += received_ns - sent_ns;
        let outside_ns = prompt.outside_ns;
        let accepted = |tokens| accept_between(tokens, [began_ns, received_ns], 1);
        let tokens = answer.and_then(|tokens| tokens.map(accepted).transpose());
        let tokens = tokens.map_err(|error| self.failure(error))?;
        prompt.answer = tokens.map(|tokens| Answer { tokens, outside_ns });
        Ok(())
    }

    /// Takes one turn and checks what came of it. Between the two readings of the clock stands the request and nothing
    /// else.
    fn take_turn(
        &mut self,
        generation: &Generation,
        n_tokens: u32,
        clock: &dyn Clock,
    ) -> Result<Answer, Failure> {
        let engine = &mut self.running.engine;
        let opening = generation.turns.is_empty().then(|| BeginRequest::from(self.workload));
        // A generation in turns of no tokens would never end.
        let asked = if opening.is_some() { 1 } else { n_tokens.clamp(1, generation.n_left) };
        let sent_ns = clock.now_ns();
        let answer = match &opening {
            Some(request) => engine.begin(request, sent_ns),
            None => engine.step(asked, sent_ns),
        };
        let received_ns = clock.now_ns();
        let tokens = answer.and_then(|tokens| accept_between(tokens, [sent_ns, received_ns], asked));
        let outside_ns = received_ns - sent_ns;
        tokens.map(|tokens| Answer { tokens, outside_ns }).map_err(|error| self.failure(error))
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.running.engine.finish().map_err(|error| self.failure(error))
    }

    fn complete(&mut self, generation: Generation, observation: Observation) -> Result<Completed, Failure> {
        let Generation { tokens, turns, outside_ns, .. } = generation;
        let completed = self.running.complete(tokens, self.workload, outside_ns, observation);
        completed
            .map(|completed| Completed { turns: Some(turns), ..completed })
            .map_err(|error| self.failure(error))
    }

    fn failure(&self, error: EngineError) -> Failure {
        Failure { side: self.side, error }
    }
}

/// Checks the answer to a request for so many tokens that was sent and answered at these times.
fn accept_between(
    tokens: Tokens,
    [sent_ns, received_ns]: [u64; 2],
    asked: u32,
) -> Result<Tokens, EngineError> {
    let tokens = answered_between(tokens, sent_ns, received_ns)?;
    accept_turn(&tokens, asked)?;
    Ok(tokens)
}

/// A prompt that is taken in slice by slice.
#[derive(Default)]
struct Prompt {
    /// When it was asked for, by the harness's clock (monotonic nanoseconds).
    began_ns: Option<u64>,
    /// Slices so far, by the harness's clock, in nanoseconds.
    outside_ns: u64,
    /// What came of it, once that is all.
    answer: Option<Answer>,
}

/// The accepted answer of one turn.
struct Answer {
    tokens: Tokens,
    /// From sending the request to having the answer, by the harness's clock, in nanoseconds.
    outside_ns: u64,
}

/// What one side has generated so far.
struct Generation {
    /// Its tokens as if it had never waited: stamps and request of the first turn as they were, later ones moved up.
    tokens: Tokens,
    turns: Vec<Turn>,
    outside_ns: u64,
    /// Tokens still to come; none once the stop rule ended it.
    n_left: u32,
}

impl Generation {
    fn of(n_tokens: u32) -> Self {
        Self { tokens: Tokens::none(0), turns: Vec::new(), outside_ns: 0, n_left: n_tokens }
    }

    /// Lets an accepted answer follow what came before. An answer without a token, which only the stop rule allows, is
    /// no turn.
    fn follow(&mut self, answer: Answer, evidence: Evidence) {
        let Answer { tokens, outside_ns } = answer;
        let n_tokens = u32::try_from(tokens.ids.len()).expect("no more tokens come than are asked for");
        self.outside_ns += outside_ns;
        self.n_left = if tokens.ended { 0 } else { self.n_left - n_tokens };
        if n_tokens == 0 {
            return;
        }
        let is_first = self.turns.is_empty();
        self.turns.push(Turn { request_ns: tokens.request_ns, n_tokens, evidence });
        if is_first {
            self.tokens = tokens;
        } else {
            append_without_waiting(&mut self.tokens, tokens);
        }
    }
}

/// Appends the tokens of a turn as if it had been asked for at the moment of the last token before it.
fn append_without_waiting(earlier: &mut Tokens, mut turn: Tokens) {
    let last_ns = earlier.stamps_ns.last().copied().unwrap_or(earlier.request_ns);
    for stamp_ns in &mut turn.stamps_ns {
        // An accepted turn has no stamp before its request.
        *stamp_ns = last_ns + (*stamp_ns - turn.request_ns);
    }
    earlier.append(turn);
}

#[cfg(test)]
mod tests {
    use lab_core::metric::Reading;

    use super::*;

    fn evidence() -> Evidence {
        let unseen = || Reading::Unavailable("hidden".to_owned());
        Evidence {
            steal_ns: unseen(),
            run_delay_ns: unseen(),
            own_cpu_ns: unseen(),
            waiting_cpu_ns: unseen(),
        }
    }

    fn answer(request_ns: u64, stamps_ns: &[u64], ended: bool) -> Answer {
        let (ids, stamps_ns) = (vec![1; stamps_ns.len()], stamps_ns.to_vec());
        let margins = (!ids.is_empty()).then(|| vec![0.5; ids.len()]);
        Answer { tokens: Tokens { request_ns, ids, stamps_ns, margins, ended }, outside_ns: 100 }
    }

    #[test]
    fn turns_follow_each_other_without_the_time_between() {
        let mut generation = Generation::of(5);
        for answer in
            [answer(10, &[15], false), answer(100, &[102, 103], false), answer(7_000, &[7_001, 7_009], false)]
        {
            generation.follow(answer, evidence());
        }
        assert_eq!(generation.tokens.stamps_ns, [15, 17, 18, 19, 27]);
        assert_eq!((generation.tokens.request_ns, generation.outside_ns), (10, 300));
        assert_eq!((generation.turns.len(), generation.n_left), (3, 0));
    }

    #[test]
    fn an_end_without_a_token_is_no_turn_and_takes_no_margins_away() {
        let mut generation = Generation::of(5);
        generation.follow(answer(10, &[15], false), evidence());
        generation.follow(answer(100, &[], true), evidence());
        assert_eq!((generation.turns.len(), generation.n_left), (1, 0));
        assert_eq!(generation.tokens.margins, Some(vec![0.5]));
    }
}
