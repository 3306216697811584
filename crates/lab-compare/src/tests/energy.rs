//! Metrics of meters.

use lab_core::experiment;

use super::*;

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
    let admitted = crate::compare(&with(1, &[1_000]), &with(2, &[1_000]), &policy);
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
fn what_disturbed_the_repetitions_that_energy_is_of_keeps_energy_from_a_verdict_and_not_speed() {
    let load = Validity::Suspect(vec!["other-load: 20 %".to_owned()]);
    let side = |own: experiment::Side, validity: &Validity| {
        let mut side = fixtures::session(1 + own as u128, &[20_000; 6]);
        side.header.experiment = Some(fixtures::experiment(own));
        // Behind every pair one uninterrupted repetition, and meters beside all.
        let mut behind = side.repetitions.clone();
        edit(&mut side, 0, |completed| {
            completed.turns = Some([1, 4, 3].map(fixtures::quiet_turn).to_vec());
        });
        for recorded in &mut behind {
            recorded.repetition.index += 100;
            if let Outcome::Completed(completed) = &mut recorded.repetition.outcome {
                completed.validity = validity.clone();
            }
        }
        side.repetitions.extend(behind);
        metered(side, "rapl package-0", MeterKind::Measured)
    };
    let of = |validity: &Validity, admitted: &[&str]| {
        let admitted = admitted.iter().map(|own| (*own).to_owned()).collect();
        let policy = Policy { admitted, ..Policy::default() };
        crate::compare(
            &side(experiment::Side::A, &Validity::Valid),
            &side(experiment::Side::B, validity),
            &policy,
        )
    };
    let quiet = of(&Validity::Valid, &[]);
    assert_eq!(row(&quiet, POWER).judgement, Judgement::Equivalent, "{}", quiet.headline);
    let disturbed = of(&load, &[]);
    assert!(matches!(row(&disturbed, POWER).judgement, Judgement::Inconclusive { .. }), "{disturbed:?}");
    assert_eq!(row(&disturbed, SPEED).judgement, row(&quiet, SPEED).judgement);
    assert!(disturbed.suspicions.iter().all(|own| own.energy_only && own.candidate == 6));
    let admitted = of(&load, &["other-load"]);
    assert_eq!(row(&admitted, POWER).judgement, Judgement::Equivalent, "{}", admitted.headline);
}
