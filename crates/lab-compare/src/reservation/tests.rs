use lab_core::experiment::{Experiment, Noise, Side, Until};
use lab_core::fixtures::{self, quiet_turn};
use lab_core::gate::CheckOutcome;
use lab_core::plan::{GateSpec, InconclusiveGate};
use lab_core::record::{Completed, Outcome, RecordedRepetition, RepetitionKind};
use lab_core::report::{Conclusion, Report, Rule};
use lab_core::validity::Validity;

use super::*;
use crate::{Policy, compare, gate, stopping};

/// Ten launches that differ by 1 % of a gap, in an order of each session's own.
fn session(number: usize, gap_us: u64) -> Session {
    let mut gaps = [3, 7, 0, 9, 5, 1, 8, 2, 6, 4].map(|own| gap_us + own * 20);
    gaps.rotate_left(number);
    let number = number as u128;
    fixtures::session(number, &gaps)
}

fn ended(mut session: Session, status: SessionStatus) -> Session {
    session.end = session.end.map(|end| lab_core::record::SessionEnd { status, ..end });
    session
}

fn policy() -> Policy {
    Policy::default()
}

#[test]
fn what_did_not_end_as_planned_shows_a_loss_or_nothing() {
    let baseline = session(1, 20_000);
    for status in [SessionStatus::Interrupted, SessionStatus::Incomplete] {
        let equal = ended(session(2, 20_000), status);
        let report = compare(&baseline, &equal, &policy());
        assert_eq!(report.conclusion, Conclusion::Inconclusive, "{status}");
        assert!(
            report.headline.contains(&format!("is {status}, 10 of 10 repetitions completed")),
            "{}",
            report.headline
        );
        assert!(report.headline.contains("otherwise tokens_per_sec"), "{}", report.headline);
        let the_other_way = compare(&equal, &baseline, &policy());
        assert_eq!(the_other_way.conclusion, Conclusion::Inconclusive, "neither side may be cut");
        let slower = ended(session(2, 22_000), status);
        assert_eq!(compare(&baseline, &slower, &policy()).conclusion, Conclusion::Regressed, "{status}");
        let by_contract = Policy { rule: Rule::Contract, ..policy() };
        let by_contract =
            |gap_us| compare(&baseline, &ended(session(2, gap_us), status), &by_contract).conclusion;
        assert_eq!(by_contract(22_000), Conclusion::NotReproduced, "{status}");
        assert_eq!(by_contract(18_000), Conclusion::Inconclusive, "whoever stops early may look better");
    }
    let unfinished = Session { end: None, ..session(2, 20_000) };
    assert_eq!(compare(&baseline, &unfinished, &policy()).conclusion, Conclusion::Inconclusive);
    let at_look = Policy { at_look: true, ..policy() };
    assert_eq!(compare(&baseline, &unfinished, &at_look).conclusion, Conclusion::Equivalent);
}

fn width(report: &Report) -> f64 {
    let row = report.metrics.iter().find(|own| own.metric == speed().id()).unwrap();
    let interval = row.interval.value().unwrap();
    interval.high - interval.low
}

#[test]
fn a_session_that_was_looked_at_pays_for_it_in_every_comparison() {
    let (baseline, candidate) = (session(1, 20_000), session(2, 20_000));
    let once = width(&compare(&baseline, &candidate, &policy()));
    let mut looked = candidate;
    let stopping = stopping::until(36);
    looked.header.until = Some(Until { against: baseline.header.id, stopping });
    assert!(width(&compare(&baseline, &looked, &policy())) > 1.2 * once);
    assert!(width(&compare(&looked, &baseline, &policy())) > 1.2 * once);
}

/// Makes a session one side of an experiment in lock-step, in two turns a repetition.
fn side(mut session: Session, which: Side, closing: Option<u32>, noise: Noise) -> Session {
    session.header.experiment = Some(Experiment { noise, closing, ..fixtures::experiment(which) });
    for recorded in &mut session.repetitions {
        if let Some(completed) = measured(recorded) {
            completed.turns = Some([1, 7].map(quiet_turn).to_vec());
        }
    }
    session
}

fn measured(recorded: &mut RecordedRepetition) -> Option<&mut Completed> {
    match (recorded.repetition.kind, &mut recorded.repetition.outcome) {
        (RepetitionKind::Measured, Outcome::Completed(completed)) => Some(completed),
        _ => None,
    }
}

/// Appends two uninterrupted repetitions to the last launch: one alone has no spread.
fn close(session: Session, validity: Validity) -> Session {
    let last = session.repetitions.last().unwrap().clone();
    let once = close_with(session, &last, validity.clone());
    close_with(once, &last, validity)
}

/// Appends an uninterrupted repetition, that of another session, to the last launch.
fn close_with(mut session: Session, repetition: &RecordedRepetition, validity: Validity) -> Session {
    let mut recorded = repetition.clone();
    recorded.repetition.index = session.repetitions.last().unwrap().repetition.index + 1;
    let completed = measured(&mut recorded).unwrap();
    (completed.turns, completed.validity) = (None, validity);
    session.repetitions.push(recorded);
    session
}

#[test]
fn a_check_that_was_planned_must_be_there() {
    let sides = |closing| {
        [(1, Side::A), (2, Side::B)]
            .map(|(number, which)| side(session(number, 20_000), which, closing, Noise::default()))
    };
    let conclude = |[a, b]: &[Session; 2]| compare(a, b, &policy());
    let missing = conclude(&sides(Some(2)));
    assert_eq!(
        (missing.conclusion, &missing.reservations[..]),
        (Conclusion::Inconclusive, &[Reservation::Unchecked][..])
    );
    assert_eq!(conclude(&sides(Some(0))).conclusion, Conclusion::Equivalent, "none was planned");
    let closed = sides(Some(2)).map(|own| close(own, Validity::Valid));
    assert_eq!(conclude(&closed).conclusion, Conclusion::Equivalent);
    let one_of_each = |gap_us| {
        let [a, b] = [(1, Side::A, 20_000), (2, Side::B, gap_us)].map(|(number, which, last_us)| {
            let side = side(session(number, 20_000), which, Some(4), Noise::default());
            close_with(side, session(number, last_us).repetitions.last().unwrap(), Validity::Valid)
        });
        compare(&a, &b, &policy()).conclusion
    };
    assert_eq!(one_of_each(20_200), Conclusion::Equivalent, "one that lies near is enough");
    assert_eq!(one_of_each(22_000), Conclusion::Inconclusive, "one that does not says too little");
    let disturbed = || Validity::Suspect(vec!["steal: the hypervisor took 9 %".to_owned()]);
    let closed = sides(Some(2)).map(|own| close(own, disturbed()));
    assert_eq!(conclude(&closed).conclusion, Conclusion::Equivalent, "what disturbed it disturbed no turn");
    let lying = || Validity::Suspect(vec!["clock: engine and harness disagree by 9 %".to_owned()]);
    let [a, b] = sides(Some(2));
    let report = conclude(&[close(a, Validity::Valid), close(b, lying())]);
    assert_eq!(report.conclusion, Conclusion::Inconclusive, "an engine's clock is the engine's own");
    assert_eq!(report.suspicions[0].rule, "clock");
}

#[test]
fn an_experiment_is_judged_by_the_noise_that_was_known_before_it() {
    let width_with = |noise| {
        let [a, b] = [(1, Side::A), (2, Side::B)]
            .map(|(number, which)| side(session(number, 20_000), which, Some(0), noise));
        width(&compare(&a, &b, &policy()))
    };
    let [alone, correlated, biased] = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.01)]
        .map(|(serial_correlation, bias)| width_with(Noise { serial_correlation, bias, experiments: 9 }));
    assert!((correlated / alone - 3.0_f64.sqrt()).abs() < 0.01, "{correlated} {alone}");
    assert!(biased > 0.04, "two quantiles of t on 8 degrees of freedom of 1 %: {biased}");
}

#[test]
fn a_gate_lets_no_metric_pass_alone_where_the_whole_is_in_doubt() {
    let baseline = session(1, 20_000);
    let outcome = |gap_us: u64, inconclusive: InconclusiveGate| {
        let mut candidate = session(2, gap_us);
        let suspect = candidate.repetitions.last_mut().and_then(measured).unwrap();
        suspect.validity = Validity::Suspect(vec!["steal: the hypervisor took 9 %".to_owned()]);
        let policy = GateSpec { inconclusive, ..GateSpec::default() };
        let gate = gate::decide(compare(&baseline, &candidate, &Policy::default()), &policy);
        let check = gate.checks.into_iter().find(|own| own.metric == speed().id()).unwrap();
        assert!(
            check.words.starts_with("inconclusive: the runs may have been disturbed (steal)"),
            "{}",
            check.words
        );
        (gate.passed, check.outcome)
    };
    for gap_us in [20_000, 22_000] {
        assert_eq!(outcome(gap_us, InconclusiveGate::Fail), (false, CheckOutcome::Failed));
        assert_eq!(outcome(gap_us, InconclusiveGate::Pass), (true, CheckOutcome::Skipped));
    }
}
