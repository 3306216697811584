use std::convert::Infallible;

use lab_core::command::{CommandFailure, CommandRun, MemoryPeak};
use lab_core::engine::EngineError;
use lab_core::metric::Reading;
use lab_core::validity::Validity;

use super::*;

/// What becomes of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    EndsWell,
    Fails,
    CannotStart,
    Interrupted,
}

use Fate::{CannotStart, EndsWell, Fails, Interrupted};

fn launched(fate: Fate) -> Option<CommandLaunch> {
    let conditions = Value::Null;
    let failure = match fate {
        Interrupted => return None,
        CannotStart => {
            let error = EngineError::Start { message: "there is no such program".to_owned() };
            let start = LaunchStart::Failed(error.clone());
            return Some(CommandLaunch { start, conditions, outcome: Outcome::Failed(error) });
        }
        Fails => Some(CommandFailure::Exited(1)),
        EndsWell => None,
    };
    let bytes = || Reading::Value(1);
    let run = CommandRun {
        run_id: Default::default(),
        elapsed_ns: 1,
        rows_used: Reading::Value(1),
        memory: MemoryPeak { sampled_bytes: bytes(), kernel_bytes: bytes(), samples: 1 },
        failure,
        validity: Validity::Valid,
        observation: None,
    };
    Some(CommandLaunch { start: LaunchStart::Started, conditions, outcome: Outcome::Ran(Box::new(run)) })
}

/// Tells an event in a word: `A1L` is launch 1 of A, `w`, `m` and `f` a warm-up, a measured run and a failure in it.
fn word(side: Side, event: &Event) -> String {
    let (launch, what) = match event {
        Event::Begins(_) => panic!("a command is not told to begin"),
        Event::Launch(launch) => (launch.index, 'L'),
        Event::Repetition(own) if !own.outcome.is_completed() => (own.launch, 'f'),
        Event::Repetition(own) if own.kind == RepetitionKind::Warmup => (own.launch, 'w'),
        Event::Repetition(own) => (own.launch, 'm'),
    };
    format!("{side:?}{launch}{what}")
}

/// Carries out an experiment in which the runs, in order, have these fates, and end well from then on. Returns the order in
/// which the sides ran, what was recorded, and how it ended.
fn carry_out(warmup: [u32; 2], looks: &[u32], fates: &[Fate]) -> (String, String, SessionStatus) {
    let stopping = StoppingPlan { looks: looks.to_vec(), confidence: 0.95, look_confidence: 0.95 };
    let order = CommandOrder { warmup, seed: 1, stopping: &stopping };
    let mut fates = fates.iter().copied();
    let (mut ran, mut recorded) = (String::new(), Vec::new());
    let mut run = |side: Side| {
        ran.push_str(&format!("{side:?}"));
        launched(fates.next().unwrap_or(EndsWell))
    };
    let mut sink = |side: Side, event: Event| -> Result<(), Infallible> {
        recorded.push(word(side, &event));
        Ok(())
    };
    let Ok(status) = run_command_pairs(&order, &mut run, &mut sink, &mut |_| Decision::Continue);
    (ran, recorded.join(" "), status)
}

/// Names the sides in the order in which a pair runs them.
fn sides(n_complete: u32) -> [Side; 2] {
    let first = first_side(1, n_complete);
    [first, first.other()]
}

/// Tells what is recorded of a complete pair.
fn whole(launch: u32, n_complete: u32) -> String {
    sides(n_complete).map(|side| format!("{side:?}{launch}L {side:?}{launch}m")).join(" ")
}

#[test]
fn sides_run_one_after_the_other_and_each_goes_first_equally_often() {
    let (ran, recorded, status) = carry_out([0, 0], &[4], &[]);
    let expected: String = (0..4).flat_map(sides).map(|side| format!("{side:?}")).collect();
    assert_eq!((ran, status), (expected, SessionStatus::Completed));
    assert_eq!(recorded, [0, 1, 2, 3].map(|pair| whole(pair, pair)).join(" "));
}

#[test]
fn warm_ups_run_in_turn_before_the_first_pair_and_cost_nothing_where_they_fail() {
    let (ran, recorded, status) = carry_out([1, 2], &[1], &[EndsWell, Fails]);
    assert!(ran.starts_with("ABB"), "{ran}");
    assert_eq!(recorded, format!("A0L A0w B0L B0f B1L B1w {}", whole(2, 0)));
    assert_eq!(status, SessionStatus::Completed);
}

#[test]
fn a_run_that_fails_costs_its_pair_and_another_follows_in_the_same_order() {
    let [first, second] = sides(0).map(|side| format!("{side:?}"));
    let (ran, recorded, status) = carry_out([0, 0], &[1], &[Fails]);
    assert_eq!(ran, format!("{first}{first}{second}"), "nothing is run for a pair that is lost");
    assert_eq!(recorded, format!("{first}0L {first}0f {}", whole(1, 0)));
    assert_eq!(status, SessionStatus::Incomplete);
    let (_, recorded, status) = carry_out([0, 0], &[1], &[EndsWell, Fails]);
    assert_eq!(recorded, format!("{first}0L {second}0L {second}0f {}", whole(1, 0)));
    assert_eq!(status, SessionStatus::Incomplete);
}

#[test]
fn three_pairs_lost_in_a_row_end_it_and_two_do_not() {
    let (_, recorded, status) = carry_out([0, 0], &[2], &[Fails, Fails, EndsWell, EndsWell, Fails, Fails]);
    assert!(recorded.ends_with(&whole(5, 1)), "{recorded}");
    assert_eq!(status, SessionStatus::Incomplete);
    let (ran, _, status) = carry_out([0, 0], &[2], &[Fails; 9]);
    assert_eq!((ran.len(), status), (3, SessionStatus::Failed));
    let (ran, _, status) = carry_out([0, 0], &[2], &[EndsWell, EndsWell, Fails, Fails, Fails]);
    assert_eq!((ran.len(), status), (5, SessionStatus::Incomplete));
}

#[test]
fn what_cannot_be_started_before_any_pair_is_complete_cannot_be_started_at_all() {
    let (ran, _, status) = carry_out([0, 0], &[2], &[CannotStart]);
    assert_eq!((ran.len(), status), (1, SessionStatus::Failed));
    let (ran, recorded, status) = carry_out([3, 3], &[2], &[CannotStart]);
    assert_eq!((ran.as_str(), recorded.as_str(), status), ("A", "A0L A0f", SessionStatus::Failed));
    let (ran, _, status) = carry_out([0, 0], &[2], &[EndsWell, EndsWell, CannotStart]);
    assert_eq!((ran.len(), status), (5, SessionStatus::Incomplete));
}

#[test]
fn an_interruption_keeps_the_pairs_that_are_complete() {
    let complete = whole(0, 0);
    for in_flight in [&[Interrupted][..], &[EndsWell, Interrupted]] {
        let fates = [&[EndsWell, EndsWell][..], in_flight].concat();
        let (_, recorded, status) = carry_out([0, 0], &[4], &fates);
        assert_eq!((&recorded, status), (&complete, SessionStatus::Interrupted));
    }
}

#[test]
fn the_data_are_looked_at_when_it_was_planned_and_may_end_it() {
    let stopping = StoppingPlan { looks: vec![2, 4, 6], confidence: 0.95, look_confidence: 0.95 };
    let order = CommandOrder { warmup: [0, 0], seed: 3, stopping: &stopping };
    let (mut n_ran, mut looked) = (0, Vec::new());
    let mut run = |_: Side| {
        n_ran += 1;
        launched(EndsWell)
    };
    let mut sink = |_, _| -> Result<(), Infallible> { Ok(()) };
    let mut decide = |look: Look| {
        looked.push(look);
        if look == Look::Pairs(4) { Decision::Stop } else { Decision::Continue }
    };
    let Ok(status) = run_command_pairs(&order, &mut run, &mut sink, &mut decide);
    assert_eq!((n_ran, status), (8, SessionStatus::Completed));
    assert_eq!(looked, [Look::Pairs(2), Look::Pairs(4)]);
}

#[test]
fn a_sink_that_takes_no_more_ends_the_experiment() {
    let stopping = StoppingPlan { looks: vec![2], confidence: 0.95, look_confidence: 0.95 };
    let order = CommandOrder { warmup: [1, 1], seed: 1, stopping: &stopping };
    for n_taken in 0..12 {
        let mut n_told = 0;
        let mut sink = |_, _| {
            n_told += 1;
            if n_told > n_taken { Err("full") } else { Ok(()) }
        };
        let result =
            run_command_pairs(&order, &mut |_| launched(EndsWell), &mut sink, &mut |_| Decision::Continue);
        assert_eq!((result, n_told), (Err("full"), n_taken + 1));
    }
}
