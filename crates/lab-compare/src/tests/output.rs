//! What engines say, and where they may part.

use super::*;

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
        let refusals = crate::compare(base, other, &vary).refusals;
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
    let unknown = crate::compare(&base, &other, &vary).refusals;
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
    let report = crate::compare(&base, &near, &vary);
    assert_eq!((report.conclusion, report.varied.len()), (Conclusion::Equivalent, 1), "{}", report.headline);
    assert_eq!(report.title, "change experiment");
    let (base, far) = other_engine(0.6);
    let report = crate::compare(&base, &far, &vary);
    assert_eq!(report.conclusion, Conclusion::Refused);
    assert!(report.headline.contains("from token 3 on, at a margin of 0.60 logits"), "{}", report.headline);
    let admits =
        GateSpec { different_output: lab_core::plan::DifferentOutputGate::Admit, ..GateSpec::default() };
    let report = crate::compare(&base, &far, &Policy { gate: admits, ..vary });
    assert_eq!(report.conclusion, Conclusion::Equivalent);
}
