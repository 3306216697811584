//! Reports of comparisons, and the gate on one.

use lab_core::experiment::{Noise, StoppingPlan};
use lab_core::fingerprint::{Difference, Mode, PartKind};
use lab_core::gate::{Check, CheckOutcome, GATE_SCHEMA, Gate};
use lab_core::metric::{Contract, Reading};
use lab_core::plan::GateSpec;
use lab_core::record::{ContractCoverage, Session};
use lab_core::report::{
    ChangeInterval, Conclusion, Drift, Judgement, MetricComparison, Paired, PairedSupport, PointRule,
    REPORT_SCHEMA, Refusal, Report, Rule, Scale, Side, SlowLaunches, Support,
};
use lab_core::summary::{MetricSummary, Summary};
use lab_core::tolerance::Tolerance;

use super::{disturbed_session, figures, session};

fn side(session: &Session) -> Side {
    Side {
        session: session.header.id.to_string(),
        plan: session.header.plan_name.clone(),
        model: session.header.model_name.clone(),
        started_at: session.header.started_at.to_string(),
        status: session.status().to_string(),
        completed: session.completed().count(),
        asked: session.header.repeat,
        suspect: 0,
        invalid: 0,
        energy_source: None,
        rules: None,
    }
}

fn report(conclusion: Conclusion, headline: &str) -> Report {
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        title: "contract comparison".to_owned(),
        vary: None,
        varied: Vec::new(),
        baseline: side(&session()),
        candidate: side(&disturbed_session()),
        rule: Rule::Contract,
        conclusion,
        headline: headline.to_owned(),
        advice: None,
        support: None,
        paired: None,
        slow_launches: None,
        contract: ContractCoverage::missing(Contract::EngineV0_1, vec!["watts_avg", "tokens_per_watt"]),
        refusals: Vec::new(),
        admitted: Vec::new(),
        suspicions: Vec::new(),
        reservations: Vec::new(),
        metrics: Vec::new(),
        context_differences: Vec::new(),
    }
}

fn context(field: &str, baseline: &str, candidate: &str) -> Difference {
    difference(PartKind::Hardware, field, Some(baseline), Some(candidate))
}

fn difference(part: PartKind, field: &str, baseline: Option<&str>, candidate: Option<&str>) -> Difference {
    Difference {
        part,
        field: field.to_owned(),
        baseline: baseline.map(Into::into),
        candidate: candidate.map(Into::into),
    }
}

/// A report with every judgement.
pub(crate) fn judged_report() -> Report {
    let (ours, theirs) = (figures(&session()), figures(&disturbed_session()));
    let mut rows: Vec<MetricComparison> =
        ours.iter().zip(&theirs).map(|(ours, theirs)| comparison(ours, theirs)).collect();
    let primary = rows.iter().position(|row| row.metric.ends_with("/tokens_per_watt")).unwrap();
    rows[..=primary].rotate_right(1);
    let mut report = report(
        Conclusion::NotReproduced,
        "not reproduced: tokens_per_sec changed by -3.4 % for the worse (tolerance 3 %); \
         contract incomplete: watts_avg not judged, tokens_per_watt unavailable",
    );
    report.metrics = rows;
    report.context_differences = vec![context("kernel", "6.1.0", "6.2.0")];
    report
}

fn comparison(ours: &MetricSummary, theirs: &MetricSummary) -> MetricComparison {
    let metric = ours.metric;
    let (baseline, candidate) = (ours.figures.value().copied(), theirs.figures.value().copied());
    let judgement = match metric.name {
        "tokens_per_sec" => Judgement::BeyondWorse,
        "ttft_ms" => Judgement::Within,
        "load_ms" => Judgement::BeyondBetter,
        "memory_peak_mb" => Judgement::Refused { reason: "no value in the candidate: no /proc".to_owned() },
        _ => match ours.figures.reason() {
            Some(reason) => Judgement::NotJudged { reason: reason.to_owned() },
            None => Judgement::Shown,
        },
    };
    let shift = match metric.name {
        "tokens_per_sec" => -2.0,
        "load_ms" => -20.0,
        _ => 0.0,
    };
    let candidate = candidate.filter(|_| metric.name != "memory_peak_mb");
    let candidate = candidate.map(|own| Summary { mean: own.mean + shift, ..own });
    let is_own = ["ttft_ms", "load_ms"].contains(&metric.name);
    MetricComparison {
        metric: metric.id(),
        unit: metric.unit.to_owned(),
        direction: metric.direction,
        official: metric.contract.is_official(),
        relative_change: baseline.zip(candidate).map(|(ours, theirs)| theirs.mean / ours.mean - 1.0),
        baseline,
        candidate,
        tolerance: metric.tolerance.or(is_own.then_some(Tolerance::Absolute(10.0))),
        unofficial_tolerance: metric.name == "watts_avg",
        interval: match metric.name {
            "tokens_per_sec" => Reading::Value(ChangeInterval {
                scale: Scale::Relative,
                estimate: -0.034,
                low: -0.051,
                high: -0.017,
                confidence: 0.95,
                n_baseline: 2,
                n_candidate: 2,
                drift: Drift::Known { standard_deviation: 0.008, sessions: 12, serial_correlation: 0.15 },
                needed: Some(9),
            }),
            _ => Reading::Unavailable("there is a single launch, and one value has no spread".to_owned()),
        },
        point_rule: (metric.name == "tokens_per_sec").then_some(PointRule::BeyondWorse),
        judgement,
    }
}

/// A report of a paired experiment that could not tell.
pub(crate) fn experiment_report() -> Report {
    let mut report = judged_report();
    report.rule = Rule::Interval;
    report.title = "change experiment".to_owned();
    report.vary = Some(PartKind::Engine);
    report.varied = vec![difference(PartKind::Engine, "version", Some("0.1.0"), Some("0.2.0"))];
    report.conclusion = Conclusion::Inconclusive;
    report.headline = "inconclusive: tokens_per_sec changed by -3.4 % (95 % interval -5.1 % to -1.7 %, \
                       tolerance 3 %)"
        .to_owned();
    report.advice = Some("about 9 pairs would decide: `lab ab PLAN --pairs 10`".to_owned());
    report.support = Some(Support {
        launches: 4,
        detects: 0.081,
        paired: Some(PairedSupport { pairs: 8, detects: 0.04, seconds: Some(75.0) }),
        contract_wrong: Some(0.25),
        contract_launches: Some(5),
    });
    report.slow_launches =
        Some(SlowLaunches { baseline: 0, of_baseline: 4, candidate: 1, of_candidate: 4, chance: 0.5 });
    report.paired = Some(Paired {
        noise: Noise { serial_correlation: 0.12, bias: 0.004, experiments: 8 },
        experiment: "019b7a5c-0000-7000-8000-000000000007".to_owned(),
        mode: Mode::LockStep { tokens: 4, slice_ms: None },
        pairs: 4,
        pairs_left_out: 1,
        turns: 128,
        turns_left_out: 3,
        changes: vec![-0.03, -0.04, -0.031, -0.035],
        stopping: StoppingPlan { looks: vec![4], confidence: 0.95, look_confidence: 0.95 },
        uninterrupted: Some(-0.036),
        uninterrupted_changes: vec![-0.036],
        contradicted: false,
    });
    for metric in &mut report.metrics {
        metric.judgement = match metric.judgement {
            Judgement::BeyondWorse => Judgement::Inconclusive { reason: "over an end".to_owned() },
            Judgement::Within => Judgement::Equivalent,
            Judgement::BeyondBetter => Judgement::Improved,
            ref other => other.clone(),
        };
    }
    report
}

/// A gate that did not open.
pub(crate) fn gate() -> Gate {
    let report = experiment_report();
    let check = |metric: &str, outcome, words: &str| Check {
        metric: metric.to_owned(),
        outcome,
        words: words.to_owned(),
    };
    Gate {
        schema: GATE_SCHEMA.to_owned(),
        passed: false,
        reason: format!("failed: {}", report.headline),
        policy: GateSpec::default(),
        checks: vec![
            check("engine.v0.1/tokens_per_sec", CheckOutcome::Failed, "changed by -3.4 % <and> \"more\""),
            check("engine.v0.1/watts_avg", CheckOutcome::Skipped, "no energy meter"),
            check("lab.v1/ttft_ms", CheckOutcome::Passed, "changed by 0.0 %"),
            check("lab.v1/load_ms", CheckOutcome::Error, "no value in the candidate"),
        ],
        report,
    }
}

/// A report with every kind of refusal.
pub(crate) fn refused_report() -> Report {
    let digest = |text: &str| lab_core::digest::Digest::of(text.as_bytes()).to_string();
    let mut report = report(Conclusion::Refused, "refused: engine differs in build and version, and more");
    let session = report.candidate.session.clone();
    report.refusals = vec![
        Refusal::Fingerprint(difference(
            PartKind::Engine,
            "build",
            Some(&digest("build")),
            Some(&digest("other")),
        )),
        Refusal::Fingerprint(difference(PartKind::Engine, "version", Some("0.1.0|beta"), None)),
        Refusal::NothingCompleted { session: session.clone() },
        Refusal::UnstableOutput {
            session: session.clone(),
            repetition: 3,
            token: 5,
            first: Some(105),
            other: Some(9),
        },
        Refusal::DifferentOutput { token: 2, margin: Some(0.75), baseline: Some(102), candidate: None },
        Refusal::OneSided {
            metric: "engine.v0.1/watts_avg".to_owned(),
            session,
            reason: "no energy meter".to_owned(),
        },
        Refusal::NothingJudged,
    ];
    report
}
