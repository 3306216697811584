//! A gate as JUnit XML, as CI servers read it: one test case a gated metric.
//!
//! A regression is a failure, what could not be judged an error, and data that cannot tell are a failure or skipped, as the
//! policy says. Figures stand in properties, since JUnit has no place for them.

use lab_core::gate::{Check, CheckOutcome, Gate};
use lab_core::report::{Refusal, Report};
use quick_junit::{NonSuccessKind, Property, Report as JUnit, TestCase, TestCaseStatus, TestSuite};

/// Returns the document's text.
pub fn to_text(gate: &Gate) -> String {
    let mut suite = TestSuite::new(gate.report.candidate.plan.clone());
    for (name, value) in facts(&gate.report) {
        suite.add_property(Property::new(name, value));
    }
    suite.add_test_cases(gate.checks.iter().map(|check| case(check, gate)));
    suite.add_test_cases(gate.report.refusals.iter().map(|refusal| refused(refusal, gate)));
    if gate.checks.is_empty() && gate.report.refusals.is_empty() {
        suite.add_test_case(whole(gate));
    }
    let mut document = JUnit::new("lab gate");
    document.add_test_suite(suite);
    document.to_string().expect("text in, text out: XML of strings can be written")
}

fn facts(report: &Report) -> [(&'static str, String); 5] {
    [
        ("baseline", report.baseline.session.clone()),
        ("candidate", report.candidate.session.clone()),
        ("model", report.candidate.model.clone()),
        ("conclusion", report.conclusion.to_string()),
        ("headline", report.headline.clone()),
    ]
}

fn case(check: &Check, gate: &Gate) -> TestCase {
    let status = match check.outcome {
        CheckOutcome::Passed => TestCaseStatus::success(),
        CheckOutcome::Skipped => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(check.words.clone());
            skipped
        }
        CheckOutcome::Failed => not_passed(NonSuccessKind::Failure, &check.words, &gate.report),
        CheckOutcome::Error => not_passed(NonSuccessKind::Error, &check.words, &gate.report),
    };
    let mut case = TestCase::new(check.metric.clone(), status);
    case.set_classname(gate.report.candidate.plan.clone());
    let metric = gate.report.metrics.iter().find(|own| own.metric == check.metric);
    if let Some(interval) = metric.and_then(|own| own.interval.value()) {
        case.add_property(Property::new("change", interval.estimate.to_string()));
        case.add_property(Property::new("low", interval.low.to_string()));
        case.add_property(Property::new("high", interval.high.to_string()));
    }
    case
}

fn refused(refusal: &Refusal, gate: &Gate) -> TestCase {
    let status = not_passed(NonSuccessKind::Error, &refusal.to_string(), &gate.report);
    let mut case = TestCase::new("comparison", status);
    case.set_classname(gate.report.candidate.plan.clone());
    case
}

/// A gate without a single check still is one that somebody waits for.
fn whole(gate: &Gate) -> TestCase {
    let status = match gate.passed {
        true => TestCaseStatus::success(),
        false => not_passed(NonSuccessKind::Error, &gate.reason, &gate.report),
    };
    TestCase::new("comparison", status)
}

fn not_passed(kind: NonSuccessKind, message: &str, report: &Report) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(report.conclusion.to_string()).set_message(message);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_gate_is_written_whole() {
        insta::assert_snapshot!("junit", to_text(&samples::gate()));
    }
}
