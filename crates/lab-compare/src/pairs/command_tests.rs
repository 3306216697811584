//! Pairs of runs of a command, and what is concluded from them.

use lab_core::command::CommandFailure;
use lab_core::experiment::{Experiment, Layouts, Side};
use lab_core::fingerprint::Mode;
use lab_core::fixtures;
use lab_core::record::{SessionEnd, SessionStatus};
use lab_core::report::{Conclusion, Drift, Report, Rule};

use super::*;
use crate::{Policy, compare};

/// A side whose runs took these times, in milliseconds.
fn side(which: Side, elapsed_ms: &[u64]) -> Session {
    let mut session = fixtures::command_session(1 + which as u128, elapsed_ms);
    let (mode, layouts) = (Mode::Alone, Layouts::Kernel);
    session.header.experiment = Some(Experiment { mode, layouts, ..fixtures::experiment(which) });
    session
}

fn judged(ours: &[u64], theirs: &[u64]) -> Report {
    compare(&side(Side::A, ours), &side(Side::B, theirs), &Policy::default())
}

/// Lets the run of a launch fail, and the session end as one that lost a pair does.
fn fail(session: &mut Session, launch: usize) {
    let recorded = &mut session.repetitions[launch];
    let Outcome::Ran(run) = &mut recorded.repetition.outcome else { panic!("a command was run") };
    run.failure = Some(CommandFailure::Exited(1));
    recorded.measurements.clear();
    session.end = session.end.map(|end| SessionEnd { status: SessionStatus::Incomplete, ..end });
}

/// A machine that drifts by far more than anything is changed by.
const DRIFTING: [u64; 8] = [1_000, 1_300, 1_700, 900, 1_100, 1_400, 1_200, 1_600];
/// The same within half a percent.
const THE_SAME: [u64; 8] = [1_005, 1_293, 1_707, 897, 1_103, 1_396, 1_203, 1_596];

#[test]
fn a_pair_of_runs_is_the_ratio_of_their_times_without_turns() {
    let (a, b) = (side(Side::A, &[200, 200]), side(Side::B, &[220, 180]));
    let pairs = Pairs::of(&a, &b, &[]);
    for (pair, expected) in pairs.pairs.iter().zip([200.0_f64 / 220.0, 200.0 / 180.0]) {
        assert!((pair.log_ratio.unwrap() - expected.ln()).abs() < 1e-12, "{pair:?}");
        assert_eq!((pair.n_turns, pair.n_left_out), (0, 0));
    }
    assert_eq!((pairs.pairs.len(), pairs.closing.len()), (2, 0));
    assert!(!pairs.is_contradicted(0.0) && !pairs.is_confirmed(1.0), "nothing is planned behind them");
}

#[test]
fn a_run_that_failed_takes_its_pair_with_it() {
    let (a, mut b) = (side(Side::A, &[200, 200, 200]), side(Side::B, &[200, 200, 200]));
    fail(&mut b, 1);
    for pairs in [Pairs::of(&a, &b, &[]), Pairs::of(&b, &a, &[])] {
        let indices: Vec<u32> = pairs.pairs.iter().map(|pair| pair.index).collect();
        assert_eq!(indices, [0, 2]);
    }
}

#[test]
fn an_unchanged_command_is_equivalent_however_the_machine_drifts() {
    let report = judged(&DRIFTING, &THE_SAME);
    assert_eq!(report.conclusion, Conclusion::Equivalent, "{}", report.headline);
    let paired = report.paired.as_ref().unwrap();
    assert_eq!((paired.pairs, paired.turns, paired.uninterrupted), (8, 0, None));
    let row = report.metrics.iter().find(|own| own.metric == "smoke.v1/elapsed_sec").unwrap();
    assert_eq!(row.interval.value().unwrap().drift, Drift::Paired);
    let mut alone = [side(Side::A, &DRIFTING), side(Side::B, &THE_SAME)];
    alone.iter_mut().for_each(|own| own.header.experiment = None);
    let report = compare(&alone[0], &alone[1], &Policy::default());
    assert_eq!(report.conclusion, Conclusion::Inconclusive, "two sessions cannot tell: {}", report.headline);
    assert!(report.advice.as_ref().is_some_and(|own| own.contains("`lab ab PLAN`")), "{:?}", report.advice);
}

#[test]
fn a_command_that_takes_twice_as_long_has_regressed_and_one_that_takes_half_as_long_improved() {
    let slower = THE_SAME.map(|own| 2 * own);
    let report = judged(&DRIFTING, &slower);
    assert_eq!(report.conclusion, Conclusion::Regressed, "{}", report.headline);
    assert!(report.headline.contains("elapsed_sec changed by +100"), "{}", report.headline);
    let change = report.paired.unwrap().changes[0];
    assert!(change < -0.4, "half as many runs a second: {change}");
    assert_eq!(judged(&slower, &DRIFTING).conclusion, Conclusion::Improved);
}

#[test]
fn a_lost_pair_leaves_a_loss_and_takes_every_other_verdict() {
    let lost = |elapsed_ms: &[u64]| {
        let mut candidate = side(Side::B, elapsed_ms);
        fail(&mut candidate, 3);
        compare(&side(Side::A, &DRIFTING), &candidate, &Policy::default()).conclusion
    };
    assert_eq!(lost(&THE_SAME), Conclusion::Inconclusive);
    assert_eq!(lost(&THE_SAME.map(|own| 2 * own)), Conclusion::Regressed);
}

#[test]
fn pairs_that_cannot_tell_say_how_many_would() {
    let report = judged(&[1_000; 4], &[1_010, 990, 1_040, 1_020]);
    assert_eq!(report.conclusion, Conclusion::Inconclusive, "{}", report.headline);
    let advice = report.advice.unwrap();
    assert!(advice.contains("pairs would decide: `lab ab PLAN --pairs "), "{advice}");
}

/// Makes the run of a launch suspect by a rule.
fn suspect(session: &mut Session, launch: usize, reason: &str) {
    let Outcome::Ran(run) = &mut session.repetitions[launch].repetition.outcome else {
        panic!("a command was run")
    };
    run.validity = Validity::Suspect(vec![reason.to_owned()]);
}

#[test]
fn a_pair_beside_which_others_used_the_machine_is_left_out_whole_and_keeps_no_verdict_back() {
    for (reason, leaves_out) in [
        ("steal: 4 %", true),
        ("other-load: 30 %", true),
        ("swap: 12 pages", false),
        ("throttling: 3 times", false),
    ] {
        let (a, mut b) = (side(Side::A, &DRIFTING), side(Side::B, &THE_SAME));
        suspect(&mut b, 2, reason);
        let n_counting = |admitted: &[String]| Pairs::of(&a, &b, admitted).log_ratios().len();
        assert_eq!(n_counting(&[]), if leaves_out { 7 } else { 8 }, "{reason}");
        assert_eq!(n_counting(&[rule_of(reason).to_owned()]), 8, "{reason}");
        let report = compare(&a, &b, &Policy::default());
        assert_eq!(report.suspicions.is_empty(), leaves_out, "{reason}");
        assert_eq!(report.conclusion == Conclusion::Equivalent, leaves_out, "{reason}");
        let by_means = Policy { rule: Rule::Contract, ..Policy::default() };
        assert_eq!(compare(&a, &b, &by_means).suspicions.len(), 1, "{reason}: means leave nothing out");
        let plain = fixtures::command_session(9, &DRIFTING);
        assert_eq!(
            compare(&b, &plain, &Policy::default()).suspicions.len(),
            1,
            "{reason}: no pairs, nothing left out"
        );
    }
}
