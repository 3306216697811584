mod disturbed;
mod energy;
mod interval;
mod output;

use lab_core::energy::{EnergyTrace, MeterInfo, MeterKind};
use lab_core::fixtures;
use lab_core::metric::{Metric, Reading};
use lab_core::plan::{GateSpec, InconclusiveGate};
use lab_core::record::{Completed, Outcome, RepetitionKind};
use lab_core::report::ChangeInterval;
use lab_core::tolerance::Tolerance;
use lab_core::validity::Validity;
use lab_core::workload::Sampling;

use super::*;

/// Judges by the contract's rule under a policy that admits nothing.
fn compare(baseline: &Session, candidate: &Session) -> Report {
    super::compare(baseline, candidate, &contract())
}

/// Judges by the interval rule under the policy that is usual.
fn by_interval(baseline: &Session, candidate: &Session) -> Report {
    crate::compare(baseline, candidate, &Policy::default())
}

fn contract() -> Policy {
    Policy { rule: Rule::Contract, ..Policy::default() }
}

const SPEED: &str = "engine.v0.1/tokens_per_sec";

const POWER: &str = "engine.v0.1/watts_avg";

const EFFICIENCY: &str = "engine.v0.1/tokens_per_watt";

/// A session of three repetitions with these figures for the two gated metrics.
fn session(number: u128, speed: f64, power: Option<f64>) -> Session {
    let mut session = fixtures::session(number, &[10_000, 10_000, 10_000]);
    fixtures::set_values(&mut session, SPEED, &[speed; 3]);
    if let Some(power) = power {
        fixtures::set_values(&mut session, POWER, &[power; 3]);
        fixtures::set_values(&mut session, EFFICIENCY, &[speed / power; 3]);
    }
    session
}

/// A session of launches with these speeds.
fn launches(number: u128, speeds: &[f64]) -> Session {
    let mut session = fixtures::session(number, &vec![10_000; speeds.len()]);
    fixtures::set_values(&mut session, SPEED, speeds);
    session
}

/// A session whose repetitions from the `from`th on have this validity.
fn disturbed(number: u128, from: usize, validity: &Validity) -> Session {
    let mut session = fixtures::session(number, &[1_000, 1_000]);
    edit(&mut session, from, |completed| completed.validity = validity.clone());
    session
}

fn row<'a>(report: &'a Report, metric: &str) -> &'a MetricComparison {
    report.metrics.iter().find(|row| row.metric == metric).unwrap()
}

/// Applies an edit to the raw data of every completed measured repetition from the `from`th on.
fn edit(session: &mut Session, from: usize, edit: impl Fn(&mut Completed)) {
    let measured = |kind| kind == RepetitionKind::Measured;
    let repetitions = session.repetitions.iter_mut().map(|recorded| &mut recorded.repetition);
    for repetition in repetitions.filter(|own| measured(own.kind)).skip(from) {
        if let Outcome::Completed(completed) = &mut repetition.outcome {
            edit(completed);
        }
    }
}

#[test]
fn the_point_rule_holds_on_its_boundary_and_fails_beyond_it() {
    use Conclusion::{NotReproduced, Reproduced};
    use Judgement::{BeyondBetter, BeyondWorse, Within};
    for (speed, power, conclusion, speed_judgement, power_judgement) in [
        (100.0, 20.0, Reproduced, Within, Within),
        (103.0, 20.0, Reproduced, Within, Within),
        (97.0, 20.0, Reproduced, Within, Within),
        (102.999, 20.0, Reproduced, Within, Within),
        (97.001, 20.0, Reproduced, Within, Within),
        (103.001, 20.0, NotReproduced, BeyondBetter, Within),
        (96.999, 20.0, NotReproduced, BeyondWorse, Within),
        (100.0, 21.0, Reproduced, Within, Within),
        (100.0, 21.001, NotReproduced, Within, BeyondWorse),
        (100.0, 18.999, NotReproduced, Within, BeyondBetter),
        (90.0, 30.0, NotReproduced, BeyondWorse, BeyondWorse),
    ] {
        let report = compare(&session(1, 100.0, Some(20.0)), &session(2, speed, Some(power)));
        assert_eq!(report.conclusion, conclusion, "{speed} {power}: {}", report.headline);
        assert_eq!(row(&report, SPEED).judgement, speed_judgement, "{speed}");
        assert_eq!(row(&report, POWER).judgement, power_judgement, "{power}");
        assert!(report.contract.complete && report.refusals.is_empty());
    }
}

#[test]
fn a_metric_that_neither_side_has_leaves_the_contract_incomplete_and_never_a_plain_pass() {
    let report = compare(&session(1, 100.0, None), &session(2, 99.6, None));
    assert_eq!(report.conclusion, Conclusion::Reproduced);
    assert_eq!(
        report.headline,
        "reproduced: tokens_per_sec changed by -0.4 % (tolerance 3 %); \
         contract incomplete: watts_avg not judged, tokens_per_watt unavailable"
    );
    assert_eq!(report.contract.missing, ["watts_avg", "tokens_per_watt"]);
    assert!(matches!(row(&report, POWER).judgement, Judgement::NotJudged { .. }));
    let report = compare(&session(1, 100.0, None), &session(2, 90.0, None));
    assert_eq!(
        report.headline,
        "not reproduced: tokens_per_sec changed by -10.0 % for the worse (tolerance 3 %); \
         contract incomplete: watts_avg not judged, tokens_per_watt unavailable"
    );
}

#[test]
fn a_gated_metric_on_one_side_alone_is_refused_unless_another_is_beyond() {
    let (with, without) = (session(1, 100.0, Some(20.0)), session(2, 100.0, None));
    for (baseline, candidate) in [(&with, &without), (&without, &with)] {
        let report = compare(baseline, candidate);
        assert_eq!(report.conclusion, Conclusion::Refused);
        let expected = Refusal::OneSided {
            metric: POWER.to_owned(),
            session: without.header.id.to_string(),
            reason: "this version of lab reads no energy meter".to_owned(),
        };
        assert_eq!(report.refusals, [expected], "tokens_per_watt has no tolerance and refuses nothing");
        assert!(matches!(row(&report, EFFICIENCY).judgement, Judgement::Refused { .. }));
        assert_eq!(report.contract.missing, ["watts_avg", "tokens_per_watt"]);
        assert_eq!(row(&report, SPEED).judgement, Judgement::Within, "the rest is still shown");
    }
    let report = compare(&with, &session(2, 90.0, None));
    assert_eq!((report.conclusion, report.refusals.len()), (Conclusion::NotReproduced, 1));
}

#[test]
fn a_gate_that_lets_doubt_pass_lets_nothing_pass_that_may_not_be_compared() {
    let spec = GateSpec { inconclusive: InconclusiveGate::Pass, ..GateSpec::default() };
    let steal = Validity::Suspect(vec!["steal: some".to_owned()]);
    let suspect = |mut session: Session| {
        edit(&mut session, 0, |completed| completed.validity = steal.clone());
        session
    };
    let decided = |candidate: &Session| {
        let report = crate::compare(&session(1, 100.0, Some(20.0)), candidate, &Policy::default());
        (report.conclusion, gate::decide(report, &spec).passed)
    };
    assert_eq!(decided(&suspect(session(2, 100.0, Some(20.0)))), (Conclusion::Inconclusive, true));
    assert_eq!(decided(&session(2, 100.0, None)), (Conclusion::Refused, false));
    assert_eq!(decided(&suspect(session(2, 100.0, None))), (Conclusion::Inconclusive, false));
}

#[test]
fn a_metric_that_the_gate_names_must_have_a_value() {
    let named = |metrics: &[&str]| {
        let metrics = Some(metrics.iter().map(|own| (*own).to_owned()).collect());
        let policy = Policy { gate: GateSpec { metrics, ..GateSpec::default() }, ..Policy::default() };
        crate::compare(&session(1, 100.0, None), &session(2, 100.0, None), &policy)
    };
    assert_eq!(named(&[SPEED]).conclusion, Conclusion::Equivalent);
    let both = named(&[SPEED, POWER]);
    assert_eq!(both.conclusion, Conclusion::Inconclusive, "{}", both.headline);
    let Judgement::Inconclusive { reason } = &row(&both, POWER).judgement else { panic!("{both:?}") };
    assert!(reason.starts_with("the gate names it, and neither side has a value: "), "{reason}");
}

#[test]
fn what_an_interval_cannot_tell_comes_before_a_metric_that_one_side_lacks() {
    let mut noisy = session(2, 100.0, None);
    fixtures::set_values(&mut noisy, SPEED, &[90.0, 110.0, 100.0]);
    let report = crate::compare(&session(1, 100.0, Some(20.0)), &noisy, &Policy::default());
    assert_eq!(
        (report.conclusion, report.refusals.len()),
        (Conclusion::Inconclusive, 1),
        "{}",
        report.headline
    );
}

#[test]
fn every_identity_field_that_differs_is_listed_and_no_metric_is() {
    let baseline = session(1, 100.0, None);
    let mut candidate = session(2, 100.0, None);
    let fingerprint = &mut candidate.header.fingerprint;
    fingerprint.engine.identity.insert("version".to_owned(), "0.2.0".into());
    fingerprint.engine.identity.insert("build".to_owned(), "other".into());
    fingerprint.backend.identity.remove("threads");
    let report = compare(&baseline, &candidate);
    assert_eq!(report.conclusion, Conclusion::Refused);
    let fields: Vec<&str> = report
        .refusals
        .iter()
        .map(|refusal| match refusal {
            Refusal::Fingerprint(difference) => difference.field.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(fields, ["threads", "build", "version"]);
    assert_eq!(report.headline, "refused: backend differs in threads, engine differs in build and version");
    assert!(report.metrics.is_empty());
}

#[test]
fn context_is_shown_and_refuses_nothing() {
    let baseline = session(1, 100.0, Some(20.0));
    let mut candidate = session(2, 100.0, Some(20.0));
    candidate.header.fingerprint.hardware.context.insert("kernel".to_owned(), "6.2.0".into());
    let report = compare(&baseline, &candidate);
    assert_eq!(report.conclusion, Conclusion::Reproduced);
    assert_eq!(report.context_differences[0].field, "kernel");
}

#[test]
fn a_side_without_a_repetition_that_counts_is_refused() {
    let baseline = session(1, 100.0, None);
    let mut empty = session(2, 100.0, None);
    empty.repetitions.clear();
    let mut worthless = session(3, 100.0, None);
    edit(&mut worthless, 0, |own| own.validity = Validity::Invalid(vec!["clock".to_owned()]));
    for candidate in [empty, worthless] {
        let report = compare(&baseline, &candidate);
        let session = candidate.header.id.to_string();
        assert_eq!(report.refusals, [Refusal::NothingCompleted { session }]);
        assert_eq!((report.conclusion, report.metrics.len()), (Conclusion::Refused, 0));
    }
}

#[test]
fn tokens_per_watt_heads_the_table_and_every_metric_has_one_row() {
    let report = compare(&session(1, 100.0, None), &session(2, 100.0, None));
    let rows: Vec<&str> = report.metrics.iter().map(|row| row.metric.as_str()).collect();
    let mut expected: Vec<String> =
        lab_core::metric::METRICS.iter().map(Metric::id).filter(|metric| metric != EFFICIENCY).collect();
    expected.insert(0, EFFICIENCY.to_owned());
    assert_eq!(rows, expected);
}

#[test]
fn a_loosened_tolerance_is_named_unofficial_only_where_it_is_used() {
    let loosen = |mut session: Session| {
        session.header.tolerances = vec![(SPEED.to_owned(), Tolerance::Relative(0.2))];
        session
    };
    let (baseline, candidate) = (session(1, 100.0, None), session(2, 90.0, None));
    let report = compare(&loosen(baseline.clone()), &loosen(candidate.clone()));
    assert!(row(&report, SPEED).unofficial_tolerance);
    assert!(
        report.headline.contains("changed by -10.0 % (unofficial tolerance 20 %)"),
        "{}",
        report.headline
    );
    let report = compare(&loosen(baseline), &candidate);
    assert_eq!(report.conclusion, Conclusion::NotReproduced, "the tighter side governs");
    assert!(!row(&report, SPEED).unofficial_tolerance);
}

#[test]
fn sessions_without_a_single_judged_metric_are_refused() {
    let unknown = [const { Reading::Unavailable(String::new()) }; 3];
    let sides = [1, 2].map(|number| {
        let mut session = session(number, 100.0, None);
        fixtures::set_readings(&mut session, SPEED, &unknown);
        session
    });
    let report = compare(&sides[0], &sides[1]);
    assert_eq!((report.conclusion, report.refusals), (Conclusion::Refused, vec![Refusal::NothingJudged]));
}

#[test]
fn the_same_recordings_give_the_same_report_byte_for_byte() {
    let (mut baseline, mut candidate) = (session(1, 1.0, None), session(2, 1.0, None));
    fixtures::set_values(&mut baseline, SPEED, &[74.3, 73.9, 75.1]);
    fixtures::set_values(&mut candidate, SPEED, &[74.0, 74.6, 73.7]);
    let text = || serde_json::to_string(&compare(&baseline, &candidate)).unwrap();
    assert_eq!(text(), text());
    // Welford's recurrence in the order of the samples; pinned, since every later release must repeat it.
    assert!(text().contains("\"mean\":74.43333333333332"), "{}", text());
    let round_trip: Report = serde_json::from_str(&text()).unwrap();
    assert_eq!(serde_json::to_string(&round_trip).unwrap(), text());
}
