//! Verdicts by the interval rule.

use super::*;

#[test]
fn the_interval_rule_places_a_change_on_the_number_line() {
    let base = launches(1, &[100.0, 101.0, 99.0, 100.5, 99.5]);
    for (speeds, conclusion) in [
        ([100.2, 101.1, 99.4, 100.3, 99.6], Conclusion::Equivalent),
        ([90.0, 91.0, 89.0, 90.5, 89.5], Conclusion::Regressed),
        ([110.0, 111.0, 109.0, 110.5, 109.5], Conclusion::Improved),
        ([97.0, 98.0, 96.0, 97.5, 96.5], Conclusion::Inconclusive),
        ([120.0, 80.0, 100.0, 90.0, 110.0], Conclusion::Inconclusive),
    ] {
        let report = by_interval(&base, &launches(2, &speeds));
        assert_eq!(report.conclusion, conclusion, "{}", report.headline);
        assert!(row(&report, SPEED).point_rule.is_some(), "the contract's rule stands beside it");
    }
}

#[test]
fn what_cannot_tell_says_how_many_launches_would() {
    let report = by_interval(&launches(1, &[100.0, 106.0, 94.0]), &launches(2, &[101.0, 95.0, 107.0]));
    assert_eq!(report.conclusion, Conclusion::Inconclusive);
    let Reading::Value(interval) = &row(&report, SPEED).interval else { panic!("there is an interval") };
    let needed = interval.needed.unwrap();
    assert!(needed > 3, "{needed}");
    let advice = report.advice.unwrap();
    assert!(advice.contains(&format!("about {needed} launches a side would decide")), "{advice}");
}

#[test]
fn what_cannot_tell_names_the_experiment_that_compares_what_differs() {
    let advice = |vary| {
        let policy = Policy { vary, ..Policy::default() };
        let (base, candidate) = (launches(1, &[100.0, 106.0, 94.0]), launches(2, &[101.0, 95.0, 107.0]));
        crate::compare(&base, &candidate, &policy).advice.unwrap()
    };
    assert!(advice(None).ends_with("; `lab ab PLAN` takes fewer, for it measures both sides at once"));
    let of_engines = advice(Some(PartKind::Engine));
    assert!(
        of_engines.contains("; `lab ab PLAN --engine-a BASELINE --engine-b CANDIDATE` takes"),
        "{of_engines}"
    );
    let of_plans = advice(Some(PartKind::Plan));
    assert!(of_plans.contains("; `lab ab PLAN-A PLAN-B` takes"), "{of_plans}");
    let of_hosts = advice(Some(PartKind::Hardware));
    assert!(of_hosts.contains("launches a side would decide") && !of_hosts.contains("lab ab"), "{of_hosts}");
}

#[test]
fn correlated_launches_widen_the_interval_and_take_more_to_decide() {
    let speeds = [100.0, 106.0, 94.0, 103.0, 97.0];
    let interval = |serial_correlation| {
        let known = Drift::Known { standard_deviation: 0.0, sessions: 10, serial_correlation };
        let drifts = BTreeMap::from([(SPEED.to_owned(), known)]);
        let policy = Policy { drifts, ..Policy::default() };
        *row(&crate::compare(&launches(1, &speeds), &launches(2, &speeds), &policy), SPEED)
            .interval
            .value()
            .unwrap()
    };
    let (plain, correlated) = (interval(0.0), interval(0.2));
    // (1 + 0.2) / (1 − 0.2) times the variance.
    let widened = correlated.high.ln_1p() / plain.high.ln_1p();
    assert!((widened - 1.5_f64.sqrt()).abs() < 1e-9, "{widened}");
    assert!(correlated.needed > plain.needed, "{correlated:?} {plain:?}");
    assert_eq!(interval(-0.3), ChangeInterval { drift: interval(-0.3).drift, ..plain });
}

#[test]
fn a_percentile_of_few_samples_gets_no_verdict_by_either_rule() {
    const P95: &str = "engine.v0.1/latency_p95_ms";
    let sides = [1, 2].map(|number| {
        let mut session = launches(number, &[100.0; 5]);
        session.header.tolerances = vec![(P95.to_owned(), Tolerance::Relative(0.05))];
        session
    });
    for rule in [Rule::Interval, Rule::Contract] {
        let report = crate::compare(&sides[0], &sides[1], &Policy { rule, ..Policy::default() });
        let Judgement::Inconclusive { reason } = &row(&report, P95).judgement else { panic!("{report:#?}") };
        assert_eq!(reason, "it rests on 35 independent samples, and 130 are needed");
        assert_eq!(report.conclusion, Conclusion::Inconclusive);
    }
}

#[test]
fn known_drift_widens_the_interval_and_unknown_drift_is_said() {
    let (base, candidate) =
        (launches(1, &[100.0, 100.1, 99.9, 100.0]), launches(2, &[100.2, 100.1, 100.0, 100.1]));
    let plain = by_interval(&base, &candidate);
    let drift = |report: &Report| row(report, SPEED).interval.value().unwrap().drift;
    assert_eq!((plain.conclusion, drift(&plain)), (Conclusion::Equivalent, Drift::Unknown));
    let known = Drift::Known { standard_deviation: 0.02, sessions: 10, serial_correlation: 0.0 };
    let drifts = BTreeMap::from([(SPEED.to_owned(), known)]);
    let widened = crate::compare(&base, &candidate, &Policy { drifts, ..Policy::default() });
    assert_eq!(drift(&widened), known);
    assert_eq!(widened.conclusion, Conclusion::Inconclusive, "{}", widened.headline);
    assert_eq!(row(&widened, SPEED).interval.value().unwrap().needed, None, "launches do not cure drift");
}

#[test]
fn several_gated_metrics_share_the_confidence() {
    let speeds = [100.0, 102.0, 98.0, 101.0, 99.0];
    let alone = by_interval(&launches(1, &speeds), &launches(2, &speeds));
    let powered = |number| {
        let mut session = launches(number, &speeds);
        fixtures::set_values(&mut session, POWER, &[20.0, 20.1, 19.9, 20.0, 20.0]);
        session
    };
    let both = by_interval(&powered(1), &powered(2));
    let width = |report: &Report| {
        let interval = *row(report, SPEED).interval.value().unwrap();
        interval.high - interval.low
    };
    assert!(width(&both) > width(&alone) * 1.1, "{} {}", width(&both), width(&alone));
}

#[test]
fn a_candidate_with_more_slow_launches_is_told_so() {
    let gaps = |n_slow: usize| -> Vec<u64> {
        (0..10).map(|launch| if launch < n_slow { 40_000 } else { 20_000 + launch as u64 }).collect()
    };
    let report = by_interval(&fixtures::session(1, &gaps(0)), &fixtures::session(2, &gaps(3)));
    let slow = report.slow_launches.unwrap();
    assert_eq!((slow.baseline, slow.candidate, slow.of_candidate), (0, 3, 10));
    assert!(report.headline.contains("3 of 10 launches of the candidate were slow"), "{}", report.headline);
}

#[test]
fn nothing_against_nothing_is_no_change() {
    let idle = |number| {
        let mut session = launches(number, &[100.0, 101.0, 99.0]);
        fixtures::set_values(&mut session, POWER, &[0.0; 3]);
        session
    };
    let report = by_interval(&idle(1), &idle(2));
    assert_eq!(row(&report, POWER).judgement, Judgement::Equivalent, "{}", report.headline);
}

#[test]
fn what_an_interval_decides_needs_no_more_launches_and_gets_no_advice() {
    let report = by_interval(
        &fixtures::session(1, &[20_000, 20_060, 19_980]),
        &fixtures::session(2, &[20_010, 20_050, 19_990]),
    );
    let speed = report.metrics.iter().find(|own| own.metric == SPEED).unwrap();
    assert_eq!((report.conclusion, speed.interval.value().unwrap().needed), (Conclusion::Equivalent, None));
    // Whatever else keeps it from a verdict is not cured by launches.
    let mut doubted = Report { conclusion: Conclusion::Inconclusive, ..report };
    let speed = doubted.metrics.iter_mut().find(|own| own.metric == SPEED).unwrap();
    speed.judgement = Judgement::Inconclusive { reason: "suspect by meter".to_owned() };
    assert_eq!(headline::advice(&doubted), None);
}
