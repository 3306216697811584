//! What failures and interruptions cost.

use lab_core::engine::EngineError;

use super::world::{Moment, World};
use super::*;

fn dead() -> EngineError {
    EngineError::Killed { signal: 9, name: "SIGKILL".to_owned(), log: String::new() }
}

fn sick() -> EngineError {
    EngineError::Failed { message: "no".to_owned() }
}

type Fault = fn(Side, u32, Moment) -> Option<EngineError>;

#[track_caller]
fn check(setup: &Setup, fault: Fault, expected: &str, status: SessionStatus) {
    let world = World { fault, ..World::default() };
    let (events, ended) = carry_out(&world, setup);
    assert_eq!((story(&events).as_str(), ended), (expected, status));
}

/// Two pairs.
fn two() -> Setup {
    Setup { looks: vec![2], ..Setup::default() }
}

#[test]
fn an_engine_that_fails_in_a_turn_costs_its_pair_and_another_follows() {
    let expected = "AL BL Aw Bw BX AL BL Aw Bw Am Bm BL AL Bw Aw Bm Am";
    let faults: [Fault; 4] = [
        |side, pair, moment| (side == Side::B && pair == 0 && moment == Moment::Begin(1)).then(dead),
        |side, pair, moment| (side == Side::B && pair == 0 && moment == Moment::Step(1)).then(dead),
        |side, pair, moment| (side == Side::B && pair == 0 && moment == Moment::Step(1)).then(sick),
        |side, pair, moment| (side == Side::B && pair == 0 && moment == Moment::Finish(1)).then(sick),
    ];
    for fault in faults {
        check(&two(), fault, expected, SessionStatus::Incomplete);
    }
}

#[test]
fn a_failed_warm_up_costs_the_pair() {
    let expected = "AL BL Aw Bw Am Bm BL AL Bw Ax AX BL AL Bw Aw Bm Am";
    let fault: Fault =
        |side, pair, moment| (side == Side::A && pair == 1 && moment == Moment::Step(0)).then(sick);
    check(&two(), fault, expected, SessionStatus::Incomplete);
}

#[test]
fn a_launch_that_fails_later_costs_the_pair_and_the_other_side_is_launched_all_the_same() {
    let fault: Fault =
        |side, pair, moment| (side == Side::A && pair == 1 && moment == Moment::Load).then(dead);
    let expected = "AL BL Aw Bw Am Bm BL Al AX BL AL Bw Aw Bm Am";
    check(&two(), fault, expected, SessionStatus::Incomplete);
    let fault: Fault =
        |side, pair, moment| (side == Side::B && pair == 1 && moment == Moment::Start).then(dead);
    let expected = "AL BL Aw Bw Am Bm Bl BX AL BL AL Bw Aw Bm Am";
    check(&two(), fault, expected, SessionStatus::Incomplete);
}

#[test]
fn an_experiment_that_cannot_load_at_all_ends_at_once() {
    let failed = SessionStatus::Failed;
    check(&two(), |side, _, at| (side == Side::B && at == Moment::Load).then(dead), "AL Bl BX", failed);
    check(&two(), |side, _, at| (side == Side::A && at == Moment::Start).then(dead), "Al AX BL", failed);
    check(&two(), |_, _, at| (at == Moment::Load).then(dead), "Al AX Bl BX", failed);
    let alone = || Setup { mode: Mode::Alone, ..two() };
    check(&alone(), |side, _, at| (side == Side::B && at == Moment::Load).then(dead), "AL Aw Bl BX", failed);
}

#[test]
fn three_lost_pairs_in_a_row_end_the_experiment() {
    let nine = || Setup { looks: vec![9], ..Setup::default() };
    let from_pair_1: Fault =
        |side, pair, at| (side == Side::B && pair > 0 && at == Moment::Step(1)).then(dead);
    let expected = "AL BL Aw Bw Am Bm BL AL Bw Aw BX BL AL Bw Aw BX BL AL Bw Aw BX";
    check(&nine(), from_pair_1, expected, SessionStatus::Incomplete);
    let always: Fault = |side, _, at| (side == Side::B && at == Moment::Step(1)).then(dead);
    check(&nine(), always, "AL BL Aw Bw BX AL BL Aw Bw BX AL BL Aw Bw BX", SessionStatus::Failed);
}

#[test]
fn lost_pairs_that_are_not_three_in_a_row_are_made_up_for() {
    let fault: Fault =
        |side, pair, at| (side == Side::B && pair % 3 != 2 && at == Moment::Begin(1)).then(dead);
    let world = World { fault, ..World::default() };
    let (events, status) = carry_out(&world, &two());
    assert_eq!(status, SessionStatus::Incomplete);
    let launches: Vec<u32> = events
        .iter()
        .filter_map(|(side, event)| match event {
            Event::Repetition(own) if story(&[(*side, event.clone())]) == "Am" => Some(own.launch),
            _ => None,
        })
        .collect();
    assert_eq!(launches, [2, 5]);
}

#[test]
fn a_lost_pair_is_not_looked_at() {
    let fault: Fault = |side, pair, at| (side == Side::A && pair == 2 && at == Moment::Step(1)).then(dead);
    let world = World { fault, ..World::default() };
    let mut asked = Vec::new();
    let mut decide = |look| {
        if let Look::Pairs(n_pairs) = look {
            asked.push((n_pairs, world.layouts.borrow().len() / 2));
        }
        Decision::Continue
    };
    let setup = Setup { looks: vec![2, 3], ..Setup::default() };
    let Ok(status) = run_in(&world, &setup, &mut |_, _| Ok::<(), Infallible>(()), &mut decide);
    assert_eq!(status, SessionStatus::Incomplete);
    assert_eq!(asked, [(2, 2), (3, 4)]);
}

#[test]
fn an_interruption_ends_the_experiment_and_the_pair_in_flight_leaves_nothing_measured() {
    let whole = "AL BL Aw Bw Am Bm";
    let cases: [(Fault, &str); 4] = [
        (|_, pair, at| (pair == 1 && at == Moment::Start).then_some(EngineError::Interrupted), ""),
        (
            |side, pair, at| {
                (side == Side::A && pair == 1 && at == Moment::Load).then_some(EngineError::Interrupted)
            },
            " BL",
        ),
        (|_, pair, at| (pair == 1 && at == Moment::Step(0)).then_some(EngineError::Interrupted), " BL AL"),
        (
            |side, pair, at| {
                (side == Side::A && pair == 1 && at == Moment::Step(1)).then_some(EngineError::Interrupted)
            },
            " BL AL Bw Aw",
        ),
    ];
    for (fault, rest) in cases {
        check(&two(), fault, &format!("{whole}{rest}"), SessionStatus::Interrupted);
    }
    let closing = Setup { closing: 1, ..Setup::default() };
    let fault: Fault =
        |side, _, at| (side == Side::B && at == Moment::Begin(2)).then_some(EngineError::Interrupted);
    check(&closing, fault, &format!("{whole} Ac"), SessionStatus::Interrupted);
}

#[test]
fn nothing_is_started_after_an_interruption() {
    let fault: Fault = |_, pair, at| (pair == 1 && at == Moment::Start).then_some(EngineError::Interrupted);
    let world = World { fault, ..World::default() };
    carry_out(&world, &two());
    let started: Vec<_> = world.layouts.borrow().iter().map(|(side, pair, _)| (*side, *pair)).collect();
    assert_eq!(started, [(Side::A, 0), (Side::B, 0), (Side::B, 1)]);
}

#[test]
fn an_alternating_pair_is_recorded_whole_or_not_at_all() {
    let alone = Setup { mode: Mode::Alone, ..Setup::default() };
    let second: Fault = |side, pair, at| (side == Side::B && pair == 0 && at == Moment::Step(1)).then(dead);
    check(&alone, second, "AL Aw BL Bw BX AL Aw BL Bw Ac Bc", SessionStatus::Incomplete);
    let first: Fault = |side, pair, at| (side == Side::A && pair == 0 && at == Moment::Step(1)).then(dead);
    check(&alone, first, "AL Aw AX BL AL Aw BL Bw Ac Bc", SessionStatus::Incomplete);
    let cold: Fault = |side, pair, at| (side == Side::A && pair == 0 && at == Moment::Begin(0)).then(dead);
    check(&alone, cold, "AL Ax AX BL AL Aw BL Bw Ac Bc", SessionStatus::Incomplete);
}

#[test]
fn an_engine_that_dies_in_a_closing_repetition_ends_the_closing_and_a_sick_one_does_not() {
    let closing = Setup { closing: 2, ..Setup::default() };
    let dies: Fault = |side, _, at| (side == Side::B && at == Moment::Step(2)).then(dead);
    check(&closing, dies, "AL BL Aw Bw Am Bm Ac BX", SessionStatus::Incomplete);
    let fails: Fault = |side, _, at| (side == Side::B && at == Moment::Step(2)).then(sick);
    check(&closing, fails, "AL BL Aw Bw Am Bm Ac BX Bc Ac", SessionStatus::Incomplete);
}

#[test]
fn an_engine_that_dies_in_an_undisturbed_repetition_behind_a_pair_costs_no_pair() {
    let setup = Setup { looks: vec![2], each_pair: 1, closing: 1, ..Setup::default() };
    let dies: Fault = |side, pair, at| (side == Side::B && pair == 0 && at == Moment::Step(2)).then(dead);
    check(&setup, dies, "AL BL Aw Bw Am Bm Ac BX BL AL Bw Aw Bm Am Bc Ac", SessionStatus::Incomplete);
}
