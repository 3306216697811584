//! Repetitions that something disturbed.

use super::*;

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
        crate::compare(&baseline, &candidate, &policy)
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

#[test]
fn what_is_invalid_is_left_out_and_said_so_but_must_have_said_the_same() {
    let mut invalid = disturbed(2, 1, &Validity::Invalid(vec!["steal: most".to_owned()]));
    let report = compare(&fixtures::session(1, &[1_000, 1_000]), &invalid);
    assert!(report.headline.ends_with("; 1 of 4 are invalid and left out"), "{}", report.headline);
    edit(&mut invalid, 1, |completed| completed.token_ids[2] += 1);
    let report = compare(&fixtures::session(1, &[1_000, 1_000]), &invalid);
    assert!(matches!(report.refusals[..], [Refusal::UnstableOutput { .. }]), "{:?}", report.refusals);
}
