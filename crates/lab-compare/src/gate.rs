//! The gate: a fold of verdicts under a policy that was written down before.

use lab_core::gate::{Check, CheckOutcome, GATE_SCHEMA, Gate};
use lab_core::plan::{GateSpec, InconclusiveGate};
use lab_core::report::{Conclusion, Judgement, MetricComparison, Report};

use crate::headline;

/// Decides whether a comparison may pass.
pub fn decide(report: Report, policy: &GateSpec) -> Gate {
    let passed = match report.conclusion {
        Conclusion::Equivalent | Conclusion::Improved | Conclusion::Reproduced => true,
        // What may not be compared does not pass because something else is in doubt, too.
        Conclusion::Inconclusive => {
            policy.inconclusive == InconclusiveGate::Pass && report.refusals.is_empty()
        }
        Conclusion::Regressed | Conclusion::NotReproduced | Conclusion::Refused => false,
    };
    let gated = report.metrics.iter().filter(|metric| metric.tolerance.is_some());
    Gate {
        schema: GATE_SCHEMA.to_owned(),
        passed,
        reason: format!("{}: {}", if passed { "passed" } else { "failed" }, report.headline),
        policy: policy.clone(),
        checks: gated.map(|metric| check(metric, &report, policy)).collect(),
        report,
    }
}

/// Says what became of one metric. What keeps the whole from a verdict keeps each metric from one: a check that passed where
/// the gate is shut, or failed where it is open, would be read alone by somebody.
fn check(metric: &MetricComparison, report: &Report, policy: &GateSpec) -> Check {
    use Judgement::{BeyondBetter, BeyondWorse, Equivalent, Improved, Regressed, Within};
    let unsure = match policy.inconclusive {
        InconclusiveGate::Fail => CheckOutcome::Failed,
        InconclusiveGate::Pass => CheckOutcome::Skipped,
    };
    let doubt = headline::doubt(report);
    let outcome = match &metric.judgement {
        Equivalent | Improved | Within | Regressed | BeyondBetter | BeyondWorse if doubt.is_some() => unsure,
        Equivalent | Improved | Within => CheckOutcome::Passed,
        Regressed | BeyondBetter | BeyondWorse => CheckOutcome::Failed,
        Judgement::Inconclusive { .. } => unsure,
        // A metric that neither side can have on this host stands in no one's way; the report says what is missing.
        Judgement::Shown | Judgement::NotJudged { .. } => CheckOutcome::Skipped,
        Judgement::Refused { .. } => CheckOutcome::Error,
    };
    let doubt = doubt.filter(|_| outcome == unsure).map(|doubt| format!("inconclusive: {doubt}; otherwise "));
    let words = format!("{}{}", doubt.unwrap_or_default(), headline::change(metric));
    Check { metric: metric.metric.clone(), outcome, words }
}
