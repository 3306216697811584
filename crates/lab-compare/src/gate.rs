//! The gate: a fold of verdicts under a policy that was written down before.

use lab_core::gate::{Check, CheckOutcome, GATE_SCHEMA, Gate};
use lab_core::plan::{GateSpec, InconclusiveGate};
use lab_core::report::{Conclusion, Judgement, MetricComparison, Report};

/// Decides whether a comparison may pass.
pub fn decide(report: Report, policy: &GateSpec) -> Gate {
    let passed = match report.conclusion {
        Conclusion::Equivalent | Conclusion::Improved | Conclusion::Reproduced => true,
        Conclusion::Inconclusive => policy.inconclusive == InconclusiveGate::Pass,
        Conclusion::Regressed | Conclusion::NotReproduced | Conclusion::Refused => false,
    };
    let gated = report.metrics.iter().filter(|metric| metric.tolerance.is_some());
    Gate {
        schema: GATE_SCHEMA.to_owned(),
        passed,
        reason: format!("{}: {}", if passed { "passed" } else { "failed" }, report.headline),
        policy: policy.clone(),
        checks: gated.map(|metric| check(metric, policy)).collect(),
        report,
    }
}

fn check(metric: &MetricComparison, policy: &GateSpec) -> Check {
    let outcome = match &metric.judgement {
        Judgement::Equivalent | Judgement::Improved | Judgement::Within => CheckOutcome::Passed,
        Judgement::Regressed | Judgement::BeyondBetter | Judgement::BeyondWorse => CheckOutcome::Failed,
        Judgement::Inconclusive { .. } => match policy.inconclusive {
            InconclusiveGate::Fail => CheckOutcome::Failed,
            InconclusiveGate::Pass => CheckOutcome::Skipped,
        },
        // A metric that neither side can have on this host stands in no one's way; the report says what is missing.
        Judgement::Shown | Judgement::NotJudged { .. } => CheckOutcome::Skipped,
        Judgement::Refused { .. } => CheckOutcome::Error,
    };
    Check { metric: metric.metric.clone(), outcome, words: crate::headline::change(metric) }
}
