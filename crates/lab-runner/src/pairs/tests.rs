mod failures;
mod in_turn;
mod world;

use std::convert::Infallible;

use lab_core::validity::Validity;
use lab_core::workload::{Sampling, Stop};

use super::*;
use world::World;

/// What differs between the experiments of these tests.
struct Setup {
    generate: u32,
    stop: Stop,
    mode: Mode,
    looks: Vec<u32>,
    warmup_tokens: u32,
    each_pair: u32,
    closing: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            generate: 5,
            stop: Stop::Length,
            mode: Mode::LockStep { tokens: 2, slice_ms: None },
            looks: vec![1],
            warmup_tokens: 1,
            each_pair: 0,
            closing: 0,
        }
    }
}

/// Returns a seed with which A goes first in the pairs 0, 2 and 4, and so B in 1, 3 and 5.
fn seed() -> u64 {
    let a_goes_first = |seed: &u64| [0, 2, 4].iter().all(|pair| first_side(*seed, *pair) == Side::A);
    (0..).find(a_goes_first).expect("one seed in eight is such a one")
}

fn run_in<E>(
    world: &World,
    setup: &Setup,
    sink: &mut dyn FnMut(Side, Event) -> Result<(), E>,
    decide: &mut dyn FnMut(Look) -> Decision,
) -> Result<SessionStatus, E> {
    let Setup { generate, stop, mode, ref looks, warmup_tokens, each_pair, closing } = *setup;
    let workload = |side| Workload {
        prompt: vec![side as u32],
        generate,
        sampling: Sampling::Greedy,
        stop,
        forced: None,
    };
    let load = |side| LoadRequest { model: format!("{side:?}"), positions: 99, profile: false };
    let (workloads, loads) = (Side::BOTH.map(workload), Side::BOTH.map(load));
    let stopping = StoppingPlan { looks: looks.clone(), confidence: 0.95, look_confidence: 0.98 };
    let order = PairOrder {
        workload: workloads.each_ref(),
        load: loads.each_ref(),
        mode,
        layouts: Layouts::Shared,
        seed: seed(),
        stopping: &stopping,
        warmup_tokens,
        settle_ns: 0,
        each_pair,
        closing,
    };
    let mut start = |side, pair, layout: Option<&Layout>| world.start(side, pair, layout);
    run_pairs(&order, &mut start, world, sink, decide)
}

/// Carries out an experiment that nothing stops before its most pairs, and returns its events and how it ended.
fn carry_out(world: &World, setup: &Setup) -> (Vec<(Side, Event)>, SessionStatus) {
    let mut events = Vec::new();
    let mut sink = |side, event| -> Result<(), Infallible> {
        events.push((side, event));
        Ok(())
    };
    let mut decide = |look| if look == Look::Closed { Decision::Stop } else { Decision::Continue };
    let Ok(status) = run_in(world, setup, &mut sink, &mut decide);
    check_indexes(&events);
    (events, status)
}

/// On either side launches and repetitions are numbered without a gap, and a repetition names the launch before it.
#[track_caller]
fn check_indexes(events: &[(Side, Event)]) {
    for side in Side::BOTH {
        let (mut n_launches, mut n_repetitions) = (0, 0);
        for (_, event) in events.iter().filter(|(whose, _)| *whose == side) {
            match event {
                Event::Begins(_) => {}
                Event::Launch(launch) => {
                    assert_eq!(launch.index, n_launches);
                    n_launches += 1;
                }
                Event::Repetition(repetition) => {
                    assert_eq!((repetition.index, repetition.launch + 1), (n_repetitions, n_launches));
                    n_repetitions += 1;
                }
            }
        }
    }
}

/// Tells events in one line, each with its side: `L` a launch, `l` a lost one, `w` a warm-up, `m` a repetition in turns,
/// `c` one that ran alone, `i` an invalid one; `x` and `X` a failed warm-up and a failed measured repetition.
fn story(events: &[(Side, Event)]) -> String {
    let told = events.iter().filter_map(|(side, event)| {
        let letter = match event {
            Event::Begins(_) => return None,
            Event::Launch(Launch { start: LaunchStart::Ready { load_ns: 5 }, .. }) => 'L',
            Event::Launch(_) => 'l',
            Event::Repetition(Repetition { kind, outcome, .. }) => letter(*kind, outcome),
        };
        Some(format!("{side:?}{letter}"))
    });
    told.collect::<Vec<_>>().join(" ")
}

fn letter(kind: RepetitionKind, outcome: &Outcome) -> char {
    match (kind, outcome) {
        (RepetitionKind::Warmup, Outcome::Completed(_)) => 'w',
        (RepetitionKind::Warmup, Outcome::Failed(_)) => 'x',
        (RepetitionKind::Measured, Outcome::Failed(_)) => 'X',
        (RepetitionKind::Measured, Outcome::Completed(Completed { turns, validity, .. })) => {
            match (turns, validity) {
                (Some(_), Validity::Valid) => 'm',
                (None, Validity::Valid) => 'c',
                _ => 'i',
            }
        }
        (_, Outcome::Ran(_) | Outcome::Imported(_)) => '?',
    }
}

/// Returns a side's repetitions that completed, warm-ups included.
fn completed(events: &[(Side, Event)], of: Side) -> Vec<&Completed> {
    let completed = events.iter().filter_map(|(side, event)| match event {
        Event::Repetition(Repetition { outcome: Outcome::Completed(completed), .. }) => {
            (*side == of).then_some(completed)
        }
        _ => None,
    });
    completed.collect()
}

/// Returns a side's generations in turn.
fn taken_in_turn(events: &[(Side, Event)], of: Side) -> Vec<&Completed> {
    completed(events, of).into_iter().filter(|completed| completed.turns.is_some()).collect()
}

#[test]
fn both_engines_of_a_pair_live_side_by_side_and_end_before_the_next_pair() {
    let world = World::default();
    let (events, status) = carry_out(&world, &Setup { looks: vec![2], ..Setup::default() });
    assert_eq!(status, SessionStatus::Completed);
    assert_eq!(story(&events), "AL BL Aw Bw Am Bm BL AL Bw Aw Bm Am");
    assert_eq!(
        world.log_without(&['b', 'f', '(', ')', '?', '2']),
        "+A0 +B0 A1 B1 -A0 -B0 +B1 +A1 B1 A1 -B1 -A1"
    );
    assert_eq!(world.most_alive.get(), 2);
}

#[test]
fn both_sides_of_a_pair_lie_alike_in_memory_and_say_so() {
    let world = World::default();
    let (events, _) = carry_out(&world, &Setup { looks: vec![3], ..Setup::default() });
    let layouts = world.layouts.borrow();
    assert_eq!(layouts.len(), 6);
    for (_, pair, layout) in layouts.iter() {
        assert_eq!(*layout, Layout::draw(seed(), *pair));
    }
    let launches = events.iter().filter_map(|(side, event)| match event {
        Event::Launch(launch) => {
            Some((*side, launch.index, launch.layout.expect("every launch has a layout")))
        }
        _ => None,
    });
    assert_eq!(launches.collect::<Vec<_>>(), *layouts);
}

#[test]
fn a_warm_up_generates_what_is_asked_and_never_more_than_the_workload() {
    for (warmup_tokens, expected, n_tokens) in [(0, "Ab Af", 1), (3, "Ab A3 Af", 4), (99, "Ab A4 Af", 5)] {
        let world = World::default();
        let (events, _) = carry_out(&world, &Setup { warmup_tokens, ..Setup::default() });
        let log = world.log_without(&['(', ')', '?']);
        assert!(log.starts_with(&format!("+A0 +B0 {expected} Bb")), "{log}");
        assert_eq!(completed(&events, Side::A)[0].timeline.n_tokens(), n_tokens);
    }
}

#[test]
fn the_data_are_looked_at_after_the_planned_numbers_of_pairs_and_never_else() {
    for (stops_at, expected) in [(4, vec![2, 4]), (99, vec![2, 4, 6])] {
        let mut asked = Vec::new();
        let mut decide = |look| {
            let Look::Pairs(n_pairs) = look else { return Decision::Continue };
            asked.push(n_pairs);
            if n_pairs == stops_at { Decision::Stop } else { Decision::Continue }
        };
        let mut n_measured = 0;
        let mut sink = |side, event: Event| -> Result<(), Infallible> {
            n_measured += u32::from(story(&[(side, event)]) == "Bm");
            Ok(())
        };
        let setup = Setup { looks: vec![2, 4, 6], ..Setup::default() };
        let Ok(status) = run_in(&World::default(), &setup, &mut sink, &mut decide);
        assert_eq!(status, SessionStatus::Completed);
        assert_eq!(asked, expected);
        assert_eq!(asked.last(), Some(&n_measured));
    }
}

#[test]
fn an_experiment_without_looks_measures_nothing() {
    let world = World::default();
    let (events, status) = carry_out(&world, &Setup { looks: vec![], ..Setup::default() });
    assert_eq!((events, status), (vec![], SessionStatus::Failed));
}

#[test]
fn closing_repetitions_run_undisturbed_in_the_last_pairs_engines() {
    let world = World::default();
    let (events, status) = carry_out(&world, &Setup { looks: vec![2], closing: 3, ..Setup::default() });
    assert_eq!(status, SessionStatus::Completed);
    assert_eq!(story(&events), "AL BL Aw Bw Am Bm BL AL Bw Aw Bm Am Bc Ac Ac Bc Bc Ac");
    let log = world.log_without(&['?']);
    let round_of = |first: char, second: char| {
        let one = |side: char| format!("{side}( {side}b {side}4 {side}f {side})");
        format!("{} {}", one(first), one(second))
    };
    let closing = format!("{} {} {} -A1 -B1", round_of('B', 'A'), round_of('A', 'B'), round_of('B', 'A'));
    assert!(log.ends_with(&closing), "{log}");
    let n_before = |side| completed(&events, side).iter().map(|own| own.n_before).collect::<Vec<_>>();
    for side in Side::BOTH {
        assert_eq!(n_before(side), [0, 1, 0, 1, 2, 3, 4].map(Some));
    }
}

#[test]
fn closing_repetitions_end_with_the_round_that_will_do_and_all_may_be_doubted() {
    let stories = [1, 2, 4, 5].map(|enough| {
        let mut events = Vec::new();
        let mut looks = Vec::new();
        let mut sink = |side, event| -> Result<(), Infallible> {
            events.push((side, event));
            Ok(())
        };
        let mut decide = |look| {
            looks.push(look);
            let will_do = matches!(look, Look::Pairs(_)) || looks.len() > enough;
            if will_do { Decision::Stop } else { Decision::Continue }
        };
        let setup = Setup { closing: 4, ..Setup::default() };
        let Ok(status) = run_in(&World::default(), &setup, &mut sink, &mut decide);
        let expected = [Look::Pairs(1), Look::Closing, Look::Closing, Look::Closing, Look::Closed];
        assert_eq!(
            (status, looks.as_slice()),
            (SessionStatus::Completed, &expected[..expected.len().min(looks.len())])
        );
        check_indexes(&events);
        story(&events)
    });
    let one = "AL BL Aw Bw Am Bm Ac Bc".to_owned();
    let two = format!("{one} Bc Ac");
    let whole = format!("{two} Ac Bc Bc Ac");
    let again = format!("{whole} BL AL Bw Aw Bc Ac Ac Bc Bc Ac Ac Bc");
    assert_eq!(stories, [one, two, whole, again]);
}

#[test]
fn behind_every_pair_both_sides_may_run_undisturbed_and_the_last_pair_has_the_rest() {
    let world = World::default();
    let setup = Setup { looks: vec![2], each_pair: 1, closing: 2, ..Setup::default() };
    let (events, status) = carry_out(&world, &setup);
    assert_eq!(status, SessionStatus::Completed);
    assert_eq!(story(&events), "AL BL Aw Bw Am Bm Ac Bc BL AL Bw Aw Bm Am Bc Ac Ac Bc");
}

#[test]
fn the_rules_of_validity_judge_what_ran_alone() {
    let world = World { is_disturbed: true, ..World::default() };
    let (events, status) = carry_out(&world, &Setup { closing: 1, ..Setup::default() });
    assert_eq!((story(&events).as_str(), status), ("AL BL Aw Bw Am Bm Ai Bi", SessionStatus::Completed));
    let world = World { is_disturbed: true, ..World::default() };
    let (events, _) = carry_out(&world, &Setup { mode: Mode::Alone, ..Setup::default() });
    assert_eq!(story(&events), "AL Aw BL Bw Ai Bi");
}

#[test]
fn alternating_sides_never_live_at_the_same_time() {
    let world = World::default();
    let setup = Setup { mode: Mode::Alone, looks: vec![2], closing: 2, ..Setup::default() };
    let (events, status) = carry_out(&world, &setup);
    assert_eq!(status, SessionStatus::Completed);
    assert_eq!(story(&events), "AL Aw BL Bw Ac Bc BL Bw AL Aw Bc Ac");
    assert_eq!(world.most_alive.get(), 1);
    let launch = |side: char, pair: u32| {
        format!("+{side}{pair} {side}b {side}1 {side}f {side}b {side}4 {side}f -{side}{pair}")
    };
    let expected = [launch('A', 0), launch('B', 0), launch('B', 1), launch('A', 1)].join(" ");
    assert_eq!(world.log_without(&['(', ')', '?']), expected);
}

#[test]
fn a_sink_that_takes_no_more_ends_the_experiment() {
    for n_taken in 0..14 {
        let mut n_told = 0;
        let mut sink = |_, _| {
            n_told += 1;
            if n_told > n_taken { Err("full") } else { Ok(()) }
        };
        let setup = Setup { closing: 1, ..Setup::default() };
        let world = World::default();
        let result = run_in(&world, &setup, &mut sink, &mut |_| Decision::Continue);
        assert_eq!((result, n_told), (Err("full"), n_taken + 1));
    }
}
