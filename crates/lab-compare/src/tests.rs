use lab_core::energy::{EnergyTrace, MeterInfo, MeterKind};
use lab_core::fixtures;
use lab_core::metric::{Metric, Reading};
use lab_core::record::{Completed, Outcome, RepetitionKind};
use lab_core::tolerance::Tolerance;
use lab_core::validity::Validity;
use lab_core::workload::Sampling;

use super::*;

/// Judges by the contract's rule under a policy that admits nothing.
fn compare(baseline: &Session, candidate: &Session) -> Report {
    super::compare(baseline, candidate, &contract())
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
        let expected = Refusal::DifferentOutput {
            token: 2,
            margin: None,
            baseline: Some(102),
            candidate: candidate_token,
        };
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
fn drawn_tokens_may_differ_and_another_engines_only_at_a_near_tie() {
    let baseline = session(1, 100.0, None);
    let mut candidate = session(2, 100.0, None);
    edit(&mut candidate, 0, |own| own.token_ids[0] = 9);
    let mut other_engine = candidate.clone();
    other_engine.header.fingerprint.engine.identity.insert("build".to_owned(), "other".into());
    assert_eq!(compare(&baseline, &other_engine).refusals.len(), 2, "the build, and its output");
    let mut drawn = baseline;
    for session in [&mut drawn, &mut candidate] {
        fixtures::workload_mut(&mut session.header).sampling =
            Sampling::Temperature { temperature: 1.0, seed: 1 };
    }
    assert_eq!(compare(&drawn, &candidate).refusals, []);
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

/// A session whose repetitions from the `from`th on have this validity.
fn disturbed(number: u128, from: usize, validity: &Validity) -> Session {
    let mut session = fixtures::session(number, &[1_000, 1_000]);
    edit(&mut session, from, |completed| completed.validity = validity.clone());
    session
}

#[test]
fn a_suspect_repetition_keeps_from_a_verdict_unless_the_policy_admits_its_rule() {
    let suspect = Validity::Suspect(vec!["steal: some".to_owned(), "swap: some".to_owned()]);
    let (baseline, candidate) = (disturbed(1, 2, &suspect), disturbed(2, 1, &suspect));
    let report = compare(&baseline, &candidate);
    assert_eq!(report.conclusion, Conclusion::Inconclusive);
    assert_eq!((report.baseline.suspect, report.candidate.suspect), (0, 1));
    let fired: Vec<(&str, usize, usize)> =
        report.suspicions.iter().map(|own| (own.rule.as_str(), own.baseline, own.candidate)).collect();
    assert_eq!(fired, [("steal", 0, 1), ("swap", 0, 1)]);
    assert_eq!(
        report.headline,
        "inconclusive: the runs may have been disturbed (steal, swap); \
         otherwise tokens_per_sec changed by 0.0 % (tolerance 3 %); \
         contract incomplete: watts_avg not judged, tokens_per_watt unavailable; \
         1 of 4 repetitions are suspect"
    );
    let admitting = |rules: &[&str]| {
        let policy = Policy { admitted: rules.iter().map(|rule| (*rule).to_owned()).collect(), ..contract() };
        super::compare(&baseline, &candidate, &policy)
    };
    assert_eq!(admitting(&["steal"]).conclusion, Conclusion::Inconclusive);
    assert_eq!(admitting(&["swap", "steal"]).conclusion, Conclusion::Reproduced);
    assert_eq!(admitting(&["swap", "steal"]).admitted, ["swap", "steal"]);
}

#[test]
fn a_change_beyond_the_tolerance_is_no_verdict_either_while_the_data_are_suspect() {
    let mut slow = fixtures::session(2, &[2_000, 2_000]);
    edit(&mut slow, 1, |completed| completed.validity = Validity::Suspect(vec!["clock: off".to_owned()]));
    let report = compare(&fixtures::session(1, &[1_000, 1_000]), &slow);
    assert_eq!(report.conclusion, Conclusion::Inconclusive, "{}", report.headline);
}

#[test]
fn an_invalid_repetition_is_counted_and_does_not_enter() {
    let invalid = disturbed(2, 1, &Validity::Invalid(vec!["steal: most".to_owned()]));
    let report = compare(&fixtures::session(1, &[1_000, 1_000]), &invalid);
    assert_eq!(report.conclusion, Conclusion::Reproduced);
    assert_eq!((report.candidate.invalid, row(&report, SPEED).candidate.unwrap().n), (1, 1));
}

/// Gives every repetition of a session the readings of one meter under constant power.
fn metered(mut session: Session, source: &str, kind: MeterKind) -> Session {
    let n_prompt = session.header.n_prompt();
    edit(&mut session, 0, |completed| {
        let meter = MeterInfo {
            source: source.to_owned(),
            kind,
            quantum_uj: 1,
            update_ns: 1_000,
            integrated: false,
            longest_gap_ns: None,
        };
        let end_ns = completed.request_ns + completed.timeline.total_ns();
        let at_ns = vec![completed.request_ns, end_ns];
        let total_uj = vec![0, completed.timeline.total_ns() / 50];
        let trace = EnergyTrace { meter, at_ns, total_uj, failure: None };
        completed.observation.energy = Reading::Value(vec![trace]);
    });
    for recorded in &mut session.repetitions {
        if let (Outcome::Completed(completed), RepetitionKind::Measured) =
            (&recorded.repetition.outcome, recorded.repetition.kind)
        {
            recorded.measurements = completed.measurements(n_prompt);
        }
    }
    session
}

#[test]
fn energy_of_different_meters_is_refused_and_of_the_same_is_judged() {
    let with = |number, source| metered(fixtures::session(number, &[1_000]), source, MeterKind::Measured);
    let report = compare(&with(1, "rapl package-0"), &with(2, "rapl package-0"));
    assert_eq!(report.conclusion, Conclusion::Reproduced, "{}", report.headline);
    assert!((row(&report, POWER).baseline.unwrap().mean - 20.0).abs() < 1e-3);
    assert!(report.contract.complete);
    let report = compare(&with(1, "rapl package-0"), &with(2, "plug"));
    assert_eq!(report.conclusion, Conclusion::Refused);
    assert_eq!(
        report.headline,
        "refused: watts_avg was measured with `rapl package-0` in the baseline and with `plug` in the candidate"
    );
    assert!(matches!(row(&report, EFFICIENCY).judgement, Judgement::Refused { .. }));
}

#[test]
fn estimated_power_never_fills_the_official_metric() {
    let estimated = metered(fixtures::session(1, &[1_000]), "tdp model", MeterKind::Estimated);
    let measured = metered(fixtures::session(2, &[1_000]), "rapl package-0", MeterKind::Measured);
    let report = compare(&estimated, &measured);
    assert_eq!(report.conclusion, Conclusion::Refused, "{}", report.headline);
    assert!(row(&report, POWER).baseline.is_none());
    assert!(row(&report, "lab.v1/watts_estimated").baseline.is_some());
}

#[test]
fn a_suspicion_about_energy_keeps_no_other_metric_from_its_verdict() {
    let coarse = Validity::Suspect(vec!["energy-resolution: coarse".to_owned()]);
    let with = |number, gaps: &[u64]| {
        let mut session = metered(fixtures::session(number, gaps), "battery", MeterKind::Measured);
        edit(&mut session, 0, |completed| completed.validity = coarse.clone());
        session
    };
    let report = compare(&with(1, &[1_000]), &with(2, &[1_000]));
    assert_eq!(report.conclusion, Conclusion::Inconclusive, "{}", report.headline);
    assert_eq!(row(&report, SPEED).judgement, Judgement::Within);
    assert!(matches!(row(&report, POWER).judgement, Judgement::Inconclusive { .. }));
    let slower = compare(&with(1, &[1_000]), &with(2, &[2_000]));
    assert_eq!(slower.conclusion, Conclusion::NotReproduced, "{}", slower.headline);
    let policy = Policy { admitted: vec!["energy-resolution".to_owned()], ..contract() };
    let admitted = super::compare(&with(1, &[1_000]), &with(2, &[1_000]), &policy);
    assert_eq!(admitted.conclusion, Conclusion::Reproduced, "{}", admitted.headline);
}

#[test]
fn suspect_data_come_before_a_metric_that_one_side_lacks() {
    let suspect = disturbed(2, 1, &Validity::Suspect(vec!["steal: some".to_owned()]));
    let metered = metered(fixtures::session(1, &[1_000, 1_000]), "rapl package-0", MeterKind::Measured);
    let report = compare(&metered, &suspect);
    assert_eq!(report.conclusion, Conclusion::Inconclusive, "{}", report.headline);
    assert!(report.refusals.iter().any(|refusal| matches!(refusal, Refusal::OneSided { .. })));
}

#[test]
fn what_is_invalid_is_left_out_and_said_so_but_must_have_said_the_same() {
    let mut invalid = disturbed(2, 1, &Validity::Invalid(vec!["steal: most".to_owned()]));
    let report = compare(&fixtures::session(1, &[1_000, 1_000]), &invalid);
    assert!(report.headline.ends_with("; 1 of 4 are invalid and left out"), "{}", report.headline);
    edit(&mut invalid, 1, |completed| completed.token_ids[2] += 1);
    let report = compare(&fixtures::session(1, &[1_000, 1_000]), &invalid);
    assert!(matches!(report.refusals[..], [Refusal::UnstableOutput { .. }]), "{:?}", report.refusals);
}

/// A session of launches with these speeds.
fn launches(number: u128, speeds: &[f64]) -> Session {
    let mut session = fixtures::session(number, &vec![10_000; speeds.len()]);
    fixtures::set_values(&mut session, SPEED, speeds);
    session
}

fn by_interval(baseline: &Session, candidate: &Session) -> Report {
    super::compare(baseline, candidate, &Policy::default())
}

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
fn known_drift_widens_the_interval_and_unknown_drift_is_said() {
    let (base, candidate) =
        (launches(1, &[100.0, 100.1, 99.9, 100.0]), launches(2, &[100.2, 100.1, 100.0, 100.1]));
    let plain = by_interval(&base, &candidate);
    let drift = |report: &Report| row(report, SPEED).interval.value().unwrap().drift;
    assert_eq!((plain.conclusion, drift(&plain)), (Conclusion::Equivalent, Drift::Unknown));
    let known = Drift::Known { standard_deviation: 0.02, sessions: 10 };
    let drifts = BTreeMap::from([(SPEED.to_owned(), known)]);
    let widened = super::compare(&base, &candidate, &Policy { drifts, ..Policy::default() });
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

/// Two sessions of engines that chose other tokens at positions 1, 3 and 5, where the baseline had these margins.
fn parted_thrice(margins: [f32; 3]) -> [Session; 2] {
    let mut base = launches(1, &[100.0, 100.1, 99.9]);
    let mut other = launches(2, &[100.0, 100.1, 99.9]);
    edit(&mut base, 0, |own| {
        let [first, second, third] = margins;
        own.margins = Some(vec![9.0, first, 9.0, second, 9.0, third, 9.0, 9.0]);
    });
    edit(&mut other, 0, |own| [1, 3, 5].into_iter().for_each(|position| own.token_ids[position] += 1));
    other.header.fingerprint.engine.identity.insert("version".to_owned(), "0.2.0".into());
    [base, other]
}

#[test]
fn fed_the_same_tokens_every_position_stands_for_itself() {
    let vary = Policy { vary: Some(PartKind::Engine), ..Policy::default() };
    for (is_forced, margins, refused_at) in [
        (false, [0.2, 9.0, 9.0], None),
        (true, [0.2, 0.3, 0.4], None),
        (true, [0.2, 9.0, 0.4], Some(3)),
        (true, [0.2, 0.3, 0.5], Some(5)),
        (true, [0.6, 9.0, 9.0], Some(1)),
        (true, [0.2, f32::NAN, 0.4], Some(3)),
    ] {
        let mut sessions = parted_thrice(margins);
        for session in sessions.iter_mut().filter(|_| is_forced) {
            fixtures::workload_mut(&mut session.header).forced = Some(vec![7; 7]);
        }
        let [base, other] = &sessions;
        let refusals = super::compare(base, other, &vary).refusals;
        let token = refusals.iter().find_map(|refusal| match refusal {
            Refusal::DifferentOutput { token, .. } => Some(*token),
            _ => None,
        });
        assert_eq!((token, refusals.len()), (refused_at, usize::from(refused_at.is_some())), "{margins:?}");
    }
}

#[test]
fn fed_the_same_tokens_a_difference_at_a_margin_not_known_is_refused_and_so_is_any_of_the_same_engine() {
    let forced = |mut session: Session| {
        fixtures::workload_mut(&mut session.header).forced = Some(vec![7; 7]);
        session
    };
    let vary = Policy { vary: Some(PartKind::Engine), ..Policy::default() };
    let [mut base, other] = parted_thrice([0.2, 0.3, 0.4]).map(forced);
    let same_engine = {
        let mut same = other.clone();
        same.header.fingerprint = base.header.fingerprint.clone();
        by_interval(&base, &same).refusals
    };
    assert!(matches!(same_engine[..], [Refusal::DifferentOutput { token: 1, .. }]), "{same_engine:?}");
    edit(&mut base, 0, |own| own.margins = None);
    let unknown = super::compare(&base, &other, &vary).refusals;
    assert!(matches!(unknown[..], [Refusal::DifferentOutput { token: 1, margin: None, .. }]), "{unknown:?}");
}

#[test]
fn a_declared_part_may_differ_and_its_output_only_at_a_near_tie() {
    let other_engine = |margin: f32| {
        let mut session = launches(2, &[100.0, 100.1, 99.9]);
        session.header.fingerprint.engine.identity.insert("version".to_owned(), "0.2.0".into());
        edit(&mut session, 0, |completed| completed.token_ids[3] += 1);
        let mut base = launches(1, &[100.0, 100.1, 99.9]);
        edit(&mut base, 0, |completed| {
            completed.margins = Some(vec![9.0, 9.0, 9.0, margin, 9.0, 9.0, 9.0, 9.0]);
        });
        (base, session)
    };
    let vary = Policy { vary: Some(PartKind::Engine), ..Policy::default() };
    let (base, near) = other_engine(0.2);
    let report = super::compare(&base, &near, &vary);
    assert_eq!((report.conclusion, report.varied.len()), (Conclusion::Equivalent, 1), "{}", report.headline);
    assert_eq!(report.title, "change experiment");
    let (base, far) = other_engine(0.6);
    let report = super::compare(&base, &far, &vary);
    assert_eq!(report.conclusion, Conclusion::Refused);
    assert!(report.headline.contains("from token 3 on, at a margin of 0.60 logits"), "{}", report.headline);
    let admits =
        GateSpec { different_output: lab_core::plan::DifferentOutputGate::Admit, ..GateSpec::default() };
    let report = super::compare(&base, &far, &Policy { gate: admits, ..vary });
    assert_eq!(report.conclusion, Conclusion::Equivalent);
}
