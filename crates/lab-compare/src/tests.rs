use lab_core::fixtures;
use lab_core::metric::{Metric, Reading};
use lab_core::record::{Completed, Outcome, RepetitionKind, Validity};
use lab_core::tolerance::Tolerance;
use lab_core::workload::Sampling;

use super::*;

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
fn other_tokens_from_the_same_engine_model_and_plan_are_refused_at_the_first() {
    let baseline = session(1, 100.0, None);
    for (edited, candidate_token) in [(vec![100, 101, 7, 8], Some(7)), (vec![100, 101], None)] {
        let mut candidate = session(2, 100.0, None);
        edit(&mut candidate, 0, |own| own.token_ids = edited.clone());
        let expected = Refusal::DifferentOutput { token: 2, baseline: Some(102), candidate: candidate_token };
        assert_eq!(compare(&baseline, &candidate).refusals, [expected]);
    }
}

#[test]
fn a_repetition_that_contradicts_its_sessions_first_is_refused() {
    let baseline = session(1, 100.0, None);
    let mut candidate = session(2, 100.0, None);
    edit(&mut candidate, 2, |own| own.token_ids[5] = 9);
    let report = compare(&baseline, &candidate);
    let expected = Refusal::UnstableOutput {
        session: candidate.header.id.to_string(),
        repetition: 5,
        token: 5,
        first: Some(105),
        other: Some(9),
    };
    assert_eq!(report.refusals, [expected]);
}

#[test]
fn drawn_tokens_may_differ_and_another_engines_tokens_are_not_held_against_it() {
    let baseline = session(1, 100.0, None);
    let mut candidate = session(2, 100.0, None);
    edit(&mut candidate, 0, |own| own.token_ids[0] = 9);
    let mut other_engine = candidate.clone();
    other_engine.header.fingerprint.engine.identity.insert("build".to_owned(), "other".into());
    assert_eq!(compare(&baseline, &other_engine).refusals.len(), 1, "the build alone");
    let mut drawn = baseline;
    for session in [&mut drawn, &mut candidate] {
        session.header.workload.sampling = Sampling::Temperature { temperature: 1.0, seed: 1 };
    }
    assert_eq!(compare(&drawn, &candidate).refusals, []);
}

#[test]
fn tokens_per_watt_heads_the_table_and_every_metric_has_one_row() {
    let report = compare(&session(1, 100.0, None), &session(2, 100.0, None));
    let rows: Vec<&str> = report.metrics.iter().map(|row| row.metric.as_str()).collect();
    let mut expected: Vec<String> =
        METRICS.iter().map(Metric::id).filter(|metric| metric != EFFICIENCY).collect();
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

#[test]
fn suspect_repetitions_are_counted_and_named() {
    let (baseline, mut candidate) =
        (fixtures::session(1, &[1_000, 1_000]), fixtures::session(2, &[1_000, 1_000]));
    for recorded in &mut candidate.repetitions {
        if let Outcome::Completed(completed) = &mut recorded.repetition.outcome {
            completed.validity = Validity::Suspect(vec!["clock: it lies".to_owned()]);
        }
    }
    let report = compare(&baseline, &candidate);
    assert_eq!((report.baseline.suspect, report.candidate.suspect), (0, 2));
    assert!(report.headline.ends_with("; 2 of 4 repetitions are suspect"), "{}", report.headline);
}
