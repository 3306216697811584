use lab_core::digest::Digest;
use lab_core::fixtures;
use lab_core::metric::speed;
use lab_core::report::Drift;

use super::*;
use crate::draw::Draw;
use crate::rates::{self, Source};

/// A baseline whose launches have these speeds.
fn baseline(speeds: &[f64]) -> Session {
    let mut session = fixtures::session(1, &vec![10_000; speeds.len()]);
    fixtures::set_values(&mut session, &speed().id(), speeds);
    session
}

fn only_speed(drifts: &[(String, Drift)]) -> Policy {
    let mut policy = Policy { drifts: drifts.iter().cloned().collect(), ..Policy::default() };
    policy.gate.metrics = Some(vec![speed().id()]);
    policy
}

#[test]
fn a_baseline_that_varies_too_much_for_its_launches_decides_nothing() {
    let stopping = stopping::plan(36);
    let why = |speeds: &[f64]| {
        undecidable(&baseline(speeds), &baseline(speeds).header, &only_speed(&[]), &stopping)
            .map(|own| own.to_string())
    };
    assert_eq!(why(&[50.0, 50.2, 49.8, 50.1, 49.9, 50.0, 50.1, 49.9]), None);
    let said = why(&[50.0, 52.0, 48.0, 51.0, 49.0]).unwrap();
    assert!(said.starts_with("tokens_per_sec: the baseline has 5 launches: the interval"), "{said}");
    assert!(said.ends_with("after 36 launches (tolerance 3 %)"), "{said}");
    let [even, mut tighter] = [[50.0, 50.2, 49.8, 50.1, 49.9, 50.0, 50.1, 49.9]; 2].map(|own| baseline(&own));
    tighter.header.tolerances.push((speed().id(), Tolerance::Relative(0.001)));
    let said = undecidable(&even, &tighter.header, &only_speed(&[]), &stopping).unwrap().to_string();
    assert!(said.ends_with("(tolerance 0.1 %)"), "the tighter tolerance of both holds: {said}");
    let said = why(&[50.0]).unwrap();
    assert_eq!(said, "tokens_per_sec: there is a single launch, and one value has no spread of the baseline");
}

#[test]
fn a_gated_metric_that_the_baseline_has_no_tolerance_of_is_never_judged() {
    let even = baseline(&[50.0, 50.2, 49.8, 50.1, 49.9, 50.0, 50.1, 49.9]);
    let mut candidate = even.header.clone();
    let mut policy = only_speed(&[]);
    let ttft = "lab.v1/ttft_ms".to_owned();
    candidate.tolerances.push((ttft.clone(), Tolerance::Relative(0.1)));
    policy.gate.metrics.as_mut().unwrap().push(ttft);
    let said = undecidable(&even, &candidate, &policy, &stopping::plan(36)).unwrap().to_string();
    assert_eq!(
        said,
        "lab.v1/ttft_ms: the gate names it, and the baseline was measured without a tolerance of it"
    );
}

#[test]
fn drift_alone_can_keep_from_a_decision() {
    let quiet = baseline(&[50.0, 50.2, 49.8, 50.1, 49.9, 50.0, 50.1, 49.9]);
    let drift = Drift::Known { standard_deviation: 0.02, sessions: 5, serial_correlation: 0.0 };
    let why = undecidable(&quiet, &quiet.header, &only_speed(&[(speed().id(), drift)]), &stopping::plan(36))
        .unwrap();
    assert!(why.to_string().contains("8 launches, sessions drift: "), "{why}");
    let drift = Drift::Known { standard_deviation: 0.02, sessions: 5, serial_correlation: 0.2 };
    let why = undecidable(&quiet, &quiet.header, &only_speed(&[(speed().id(), drift)]), &stopping::plan(36))
        .unwrap();
    assert!(
        why.to_string().contains("8 launches, neighbouring launches correlate, sessions drift: "),
        "{why}"
    );
}

fn calibration(within: f64, between: f64, n_groups: usize) -> Calibration {
    let noise = Grouped { n_groups, n_values: 5 * n_groups, within, between, serial_correlation: 0.0 };
    Calibration {
        schema: String::new(),
        lab_version: String::new(),
        plan: String::new(),
        family: Digest::of(b""),
        made_at: String::new(),
        metric: speed().id(),
        tolerance: 0.03,
        seconds: Some(9.0),
        closing_seconds: Some(11.0),
        groups: Vec::new(),
        noise,
        rates: Vec::new(),
        planted: Vec::new(),
    }
}

#[test]
fn what_is_said_to_be_detected_is_detected_in_four_of_five_simulated_comparisons() {
    // Normal launches: what the formula assumes.
    let mut draw = Draw::new(5, 0);
    let groups: Vec<Vec<f64>> = (0..400).map(|_| (0..10).map(|_| 0.04 * draw.normal()).collect()).collect();
    let own = calibration(0.04, 0.0, 400);
    let source = Source::new(&groups, &own.noise);
    for launches in [5, 12, 30] {
        let calibrations = Calibrations { compare: Some(own.clone()), ab: None };
        let support = calibrations.support(launches).unwrap();
        let n = support.launches;
        let rate = rates::at(&source, 0.03, n, -support.detects, 2_000);
        let share = f64::from(rate.regressed) / f64::from(rate.trials);
        // A spread that is estimated makes the power of few launches a little less than that of a known one.
        assert!((0.74..0.84).contains(&share), "{launches}: {share} for {}", support.detects);
    }
}

#[test]
fn a_pair_says_what_it_detects_and_how_long_it_takes() {
    let mut ab = calibration(0.01, 0.0, 5);
    let rate = |change: f64, median_pairs: Option<u32>| Rate {
        n: 36,
        change,
        trials: 10,
        regressed: 0,
        improved: 0,
        equivalent: 10,
        median_pairs,
        beyond: None,
        intervals: None,
    };
    let of_few_pairs = Rate { n: 4, ..rate(0.0, Some(4)) };
    ab.rates = vec![of_few_pairs, rate(0.0, Some(8)), rate(-0.06, Some(4))];
    let calibrations = Calibrations { compare: Some(calibration(0.07, 0.0, 5)), ab: Some(ab) };
    let support = calibrations.support(5).unwrap();
    let paired = support.paired.unwrap();
    assert_eq!((paired.pairs, paired.seconds), (8, Some(83.0)));
    assert!(paired.detects > 0.03 && paired.detects < 0.06, "{paired:?}");
    assert!(support.detects > 0.12, "{support:?}");
    assert_eq!(calibrations.support(1), None, "one launch has no spread");
    let few = Calibrations { compare: Some(calibration(0.07, 0.0, 4)), ..calibrations.clone() };
    assert_eq!(few.support(5), None, "four sessions tell no drift");
    assert!(calibrations.too_few(5, 0.03).is_some_and(|reach| reach > 0.08));
    assert_eq!(calibrations.too_few(200, 0.03), None);
}

#[test]
fn an_experiment_may_have_too_few_pairs_for_its_tolerance() {
    let calibrations = Calibrations { compare: None, ab: Some(calibration(0.01, 0.0, 5)) };
    // t(0.975, 3) · 0.01 / √4
    let reach = calibrations.too_few_pairs(&stopping::plan(4), 0.01).unwrap();
    assert!((reach - 0.015_912_f64.exp_m1()).abs() < 1e-5, "{reach}");
    assert_eq!(calibrations.too_few_pairs(&stopping::plan(4), 0.03), None);
    assert_eq!(calibrations.too_few_pairs(&stopping::plan(36), 0.01), None);
    assert_eq!(Calibrations::default().too_few_pairs(&stopping::plan(4), 0.01), None, "not calibrated");
}
