//! Generations in turn: order, time, evidence.

use lab_core::experiment::Turn;
use lab_core::metric::Reading;

use super::world::{GLANCE_NS, Moment, RUN_DELAY_NS, TRANSPORT_NS, WAITING_CPU_NS, World};
use super::*;

fn turns(completed: &Completed) -> &[Turn] {
    completed.turns.as_deref().expect("it was generated in turn")
}

#[test]
fn the_side_that_ends_a_turn_begins_the_next_and_pairs_take_turns_too() {
    let world = World::default();
    let setup = Setup { looks: vec![2], generate: 8, warmup_tokens: 0, ..Setup::default() };
    carry_out(&world, &setup);
    let pair_0 = "+A0 +B0 Ab Af Bb Bf Ab Bb B2 A2 A2 B2 B2 A2 A1 B1 Af Bf -A0 -B0";
    let pair_1 = "+B1 +A1 Bb Bf Ab Af Bb Ab A2 B2 B2 A2 A2 B2 B1 A1 Bf Af -B1 -A1";
    assert_eq!(world.log_without(&['(', ')', '?']), format!("{pair_0} {pair_1}"));
}

#[test]
fn counters_are_read_between_turns_and_instruments_watch_the_whole() {
    let world = World::default();
    carry_out(&world, &Setup { generate: 3, ..Setup::default() });
    let warm = "+A0 +B0 A( Ab A1 Af A) B( Bb B1 Bf B)";
    let in_turn = "A( B( A? B? Ab A? B? Bb A? B? B2 A? B? A2 A? B? A) B) Af Bf";
    assert_eq!(world.log_without(&[]), format!("{warm} {in_turn} -A0 -B0"));
}

#[test]
fn waiting_is_cut_out_of_the_timeline() {
    let (events, _) = carry_out(&World::default(), &Setup::default());
    let origin_ns = taken_in_turn(&events, Side::A)[0].request_ns;
    // Between the end of one turn and the beginning of the next.
    let between_ns = TRANSPORT_NS[0] + TRANSPORT_NS[1] + 2 * GLANCE_NS;
    // A: 10 µs, B: 10 µs, B: 2 µs, A: 2 µs, A: 2 µs, B: 2 µs.
    let begins = [0, 10_000, 20_000, 22_000, 24_000, 26_000];
    let begins: Vec<u64> = (0..).zip(begins).map(|(n, ns)| origin_ns + ns + n * between_ns).collect();
    for (side, own) in [(Side::A, [0, 3, 4]), (Side::B, [1, 2, 5])] {
        let [completed] = taken_in_turn(&events, side)[..] else {
            panic!("one pair, one generation of each side")
        };
        assert_eq!(completed.timeline.stamps_ns(), [10_000, 11_000, 12_000, 13_000, 14_000]);
        assert_eq!(completed.token_ids, [0, 1, 2, 3, 4]);
        assert_eq!(completed.margins.as_deref(), Some(&[0.5; 5][..]));
        assert_eq!(completed.outside_ns, 14_000 + 3 * (TRANSPORT_NS[0] + TRANSPORT_NS[1]));
        assert_eq!((completed.load_ns, completed.n_before), (5, Some(1)));
        let asked = own.map(|turn| begins[turn]);
        assert_eq!(turns(completed).iter().map(|turn| turn.request_ns).collect::<Vec<_>>(), asked);
        assert_eq!(turns(completed).iter().map(|turn| turn.n_tokens).collect::<Vec<_>>(), [1, 2, 2]);
        assert_eq!(completed.request_ns, asked[0]);
    }
}

#[test]
fn the_evidence_of_a_turn_is_what_rose_in_it_alone() {
    let (events, _) = carry_out(&World::default(), &Setup::default());
    // The machine steals 100 ns and one more for each request before; the warm-ups made four.
    for (side, stolen) in [(Side::A, [104, 107, 108]), (Side::B, [105, 106, 109])] {
        let turns = turns(taken_in_turn(&events, side)[0]);
        let steal: Vec<_> = turns.iter().map(|turn| turn.evidence.steal_ns.clone()).collect();
        assert_eq!(steal, stolen.map(Reading::Value));
        for Turn { evidence, .. } in turns {
            assert_eq!(evidence.run_delay_ns, Reading::Value(RUN_DELAY_NS));
            assert_eq!(evidence.waiting_cpu_ns, Reading::Value(WAITING_CPU_NS));
        }
    }
}

/// A machine that is a tenth slower when a pair is done than when it began.
fn slowing() -> World {
    World { token_ns: 1_000_000, slowing_ns: Some(1_800_000_000), ..World::default() }
}

/// Turn 0, and twenty turns of four tokens.
fn long(n_pairs: u32) -> Setup {
    let mode = Mode::LockStep { tokens: 4, slice_ms: None };
    Setup { generate: 81, mode, looks: vec![n_pairs], ..Setup::default() }
}

#[test]
fn a_steady_drift_costs_both_sides_the_same_and_in_another_order_would_not() {
    let world = slowing();
    let (events, _) = carry_out(&world, &long(1));
    let decode_ns = |side| {
        let timeline = &taken_in_turn(&events, side)[0].timeline;
        timeline.total_ns() - timeline.first_ns()
    };
    let bias_ns = decode_ns(Side::A).abs_diff(decode_ns(Side::B));
    // The machine's speed depends on time alone, so the same turns would have taken as long in the order A B, A B.
    let work_ns = world.work_ns.borrow();
    let decoding = &work_ns[work_ns.len() - 40..];
    let plain_bias_ns: u64 = decoding.chunks(2).map(|turn| turn[1] - turn[0]).sum();
    assert!(plain_bias_ns > decode_ns(Side::A) / 1_000, "{plain_bias_ns}");
    assert!(bias_ns < plain_bias_ns / 100, "{bias_ns} of {plain_bias_ns}");
}

#[test]
fn a_steady_drift_between_the_first_turns_cancels_over_two_pairs() {
    let (events, _) = carry_out(&slowing(), &long(2));
    let first_ns = |side, pair: usize| taken_in_turn(&events, side)[pair].timeline.first_ns();
    let later_by = |pair| first_ns(Side::B, pair).abs_diff(first_ns(Side::A, pair));
    assert!(first_ns(Side::A, 0) < first_ns(Side::B, 0) && first_ns(Side::B, 1) < first_ns(Side::A, 1));
    let sum_ns = |side| taken_in_turn(&events, side).iter().map(|own| own.timeline.total_ns()).sum::<u64>();
    let bias_ns = sum_ns(Side::A).abs_diff(sum_ns(Side::B));
    assert!(bias_ns < (later_by(0) + later_by(1)) / 3, "{bias_ns}");
    assert!(bias_ns < sum_ns(Side::A) / 5_000, "{bias_ns}");
}

#[test]
fn a_side_that_ends_early_waits_until_the_other_has_ended() {
    let world = World { ends_after: [Some(3), None], ..World::default() };
    let setup = Setup { stop: Stop::Eos, generate: 9, warmup_tokens: 0, ..Setup::default() };
    let (events, status) = carry_out(&world, &setup);
    assert_eq!(status, SessionStatus::Completed);
    let expected = "+A0 +B0 Ab Af Bb Bf Ab Bb B2 A2 B2 B2 B2 Af Bf -A0 -B0";
    assert_eq!(world.log_without(&['(', ')', '?']), expected);
    let n_tokens = |side| taken_in_turn(&events, side)[0].timeline.n_tokens();
    assert_eq!(Side::BOTH.map(n_tokens), [3, 9]);
}

#[test]
fn a_generation_that_ends_where_it_may_not_is_refused() {
    let world = World { ends_after: [Some(3), None], ..World::default() };
    let (events, _) = carry_out(&world, &Setup::default());
    let expected = "AL BL Aw Bw AX AL BL Aw Bw AX AL BL Aw Bw AX";
    assert_eq!(story(&events), expected);
}

#[test]
fn turns_of_no_tokens_are_turns_of_one() {
    let world = World::default();
    let setup = Setup { mode: Mode::LockStep { tokens: 0, slice_ms: None }, generate: 3, ..Setup::default() };
    let (events, status) = carry_out(&world, &setup);
    assert_eq!(status, SessionStatus::Completed);
    assert_eq!(turns(taken_in_turn(&events, Side::A)[0]).len(), 3);
}

/// Prompts that take 10 ms, in slices of so many.
fn sliced(slice_ms: u32) -> (World, Setup) {
    let mode = Mode::LockStep { tokens: 2, slice_ms: Some(slice_ms) };
    let setup = Setup { mode, generate: 3, warmup_tokens: 0, ..Setup::default() };
    (World { token_ns: 1_000_000, ..World::default() }, setup)
}

#[test]
fn prompts_are_taken_in_slice_by_slice_and_both_are_before_either_goes_on() {
    let (world, setup) = sliced(4);
    let (events, status) = carry_out(&world, &setup);
    assert_eq!(status, SessionStatus::Completed);
    let expected = "+A0 +B0 Ab Af Bb Bf Ab Bb Ag Bg Ag Bg B2 A2 Af Bf -A0 -B0";
    assert_eq!(world.log_without(&['(', ')', '?']), expected);
    for side in Side::BOTH {
        let [completed] = taken_in_turn(&events, side)[..] else {
            panic!("one pair, one generation of each side")
        };
        assert_eq!(completed.timeline.stamps_ns(), [10_000_000, 11_000_000, 12_000_000]);
        assert_eq!(completed.outside_ns, 12_000_000 + 4 * (TRANSPORT_NS[0] + TRANSPORT_NS[1]));
        let [first, second] = turns(completed) else { panic!("turns of one and of two tokens") };
        assert_eq!((first.n_tokens, second.n_tokens), (1, 2));
        assert_eq!(first.evidence.own_cpu_ns, Reading::Value(10_000_000));
        assert_eq!(first.evidence.run_delay_ns, Reading::Value(3 * RUN_DELAY_NS));
        assert!(first.evidence.waiting_cpu_ns.value().is_none(), "it was paused");
    }
}

#[test]
fn a_prompt_that_is_taken_in_within_a_slice_is_one_turn() {
    let (world, setup) = sliced(20);
    carry_out(&world, &setup);
    let expected = "+A0 +B0 Ab Af Bb Bf Ab Bb B2 A2 Af Bf -A0 -B0";
    assert_eq!(world.log_without(&['(', ')', '?']), expected);
}

#[test]
fn a_drift_within_a_prompt_is_shared_slice_by_slice() {
    let first_ns = |slice_ms| {
        let mode = Mode::LockStep { tokens: 4, slice_ms };
        let setup = Setup { generate: 5, mode, ..Setup::default() };
        let world = World { token_ns: 100_000_000, slowing_ns: Some(20_000_000_000), ..World::default() };
        let (events, _) = carry_out(&world, &setup);
        Side::BOTH.map(|side| taken_in_turn(&events, side)[0].timeline.first_ns())
    };
    let [apart, together] = [None, Some(20)].map(|slice_ms| {
        let [a, b] = first_ns(slice_ms);
        a.abs_diff(b)
    });
    assert!(apart > 20 * together.max(1), "{apart} ns, in slices {together} ns");
}

#[test]
fn an_engine_that_fails_while_it_is_paused_costs_the_pair() {
    let (world, setup) = sliced(4);
    let fault = |side, pair, moment| {
        let fails = side == Side::B && pair == 0 && moment == Moment::GoOn(1);
        fails.then(|| EngineError::Killed { signal: 9, name: "SIGKILL".to_owned(), log: String::new() })
    };
    let (events, status) = carry_out(&World { fault, ..world }, &setup);
    assert_eq!(
        (story(&events).as_str(), status),
        ("AL BL Aw Bw BX AL BL Aw Bw Am Bm", SessionStatus::Incomplete)
    );
}
