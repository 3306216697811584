//! The outcome of a comparison in its only public, versioned form. Every exporter reads this.

mod refusal;
mod reservation;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::experiment::{Noise, StoppingPlan};
use crate::fingerprint::{Difference, Mode, PartKind};
use crate::metric::{Direction, Reading};
use crate::record::ContractCoverage;
use crate::summary::Summary;
use crate::tolerance::{Tolerance, change_in_words};

pub use refusal::Refusal;
pub use reservation::Reservation;

/// Schema id of a report.
pub const REPORT_SCHEMA: &str = "lab.report.v2";

/// The outcome of a comparison of two sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always `lab.report.v2`.
    #[schemars(extend("const" = REPORT_SCHEMA))]
    pub schema: String,
    /// What kind of comparison it is: `contract comparison` between equals, `change experiment` where one part of the
    /// fingerprint is declared to differ.
    pub title: String,
    /// The part of the fingerprint that is declared to differ.
    pub vary: Option<PartKind>,
    /// The fields in which the declared part differs.
    pub varied: Vec<Difference>,
    /// The session compared with.
    pub baseline: Side,
    /// The session under judgement.
    pub candidate: Side,
    /// The rule that decided.
    pub rule: Rule,
    /// What follows from all metrics together.
    pub conclusion: Conclusion,
    /// Rules of validity whose suspicion does not keep from a verdict.
    pub admitted: Vec<String>,
    /// Rules of validity that keep from a verdict, each with the repetitions that they made suspect; empty for a verdict.
    pub suspicions: Vec<Suspicion>,
    /// What else keeps from a verdict, whatever the metrics say; empty for a verdict.
    pub reservations: Vec<Reservation>,
    /// The conclusion in one sentence.
    pub headline: String,
    /// What would decide, where the data cannot tell.
    pub advice: Option<String>,
    /// What the host supports, as far as `lab calibrate` knows it.
    pub support: Option<Support>,
    /// The paired experiment that both sides were measured in.
    pub paired: Option<Paired>,
    /// Launches that were slow from first to last token, where there are any.
    pub slow_launches: Option<SlowLaunches>,
    /// How far the two sessions together fulfil the official contract: what either lacks is missing.
    pub contract: ContractCoverage,
    /// Why the sessions may not be compared; empty when they may.
    pub refusals: Vec<Refusal>,
    /// One row a metric, `tokens_per_watt` first; empty when refused as a whole.
    pub metrics: Vec<MetricComparison>,
    /// Context fields that differ: shown, never judged.
    pub context_differences: Vec<Difference>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Session id.
    pub session: String,
    /// Plan name.
    pub plan: String,
    /// Model name.
    pub model: String,
    /// When it started (RFC 3339).
    pub started_at: String,
    /// How it ended.
    pub status: String,
    /// Completed measured repetitions.
    pub completed: usize,
    /// Measured repetitions asked for.
    pub asked: u32,
    /// Completed measured repetitions that something may have disturbed.
    pub suspect: usize,
    /// Completed measured repetitions that something made worthless: recorded, never counted.
    pub invalid: usize,
    /// What its energy was measured with; absent without a meter.
    pub energy_source: Option<String>,
    /// Version of the rules of validity it was judged by; absent for recordings of versions that had none.
    pub rules: Option<String>,
}

/// A rule of validity that made repetitions suspect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suspicion {
    /// The rule's id.
    pub rule: String,
    /// Repetitions of the baseline that it made suspect.
    pub baseline: usize,
    /// Repetitions of the candidate that it made suspect.
    pub candidate: usize,
    /// Whether it keeps the metrics of a meter from a verdict, and no others.
    #[serde(default)]
    pub energy_only: bool,
}

/// The rule that turns figures into a conclusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The confidence interval of the change lies inside the tolerance, beyond it, or over its end.
    Interval,
    /// The contract's point rule: the change of means lies within the tolerance.
    Contract,
}

/// What a paired experiment adds to a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Paired {
    /// The experiment's id.
    pub experiment: String,
    /// How the launches of a pair shared the machine.
    pub mode: Mode,
    /// Pairs of launches that count.
    pub pairs: usize,
    /// Pairs left out, because others used the machine in most of their turns, or in the prefill.
    pub pairs_left_out: usize,
    /// Turns of the pairs that count.
    pub turns: usize,
    /// Turns among them left out on both sides, because others used the machine in them.
    pub turns_left_out: usize,
    /// Relative change of speed in each pair, in order, as a share: of `tokens_per_sec`; of a command, of runs a second, which
    /// is the inverse of `elapsed_sec`.
    pub changes: Vec<f64>,
    /// When it was to stop.
    pub stopping: StoppingPlan,
    /// What a calibration knew of its pairs when it began: held by the interval of speed.
    #[serde(default)]
    pub noise: Noise,
    /// Relative change of `tokens_per_sec` in the uninterrupted repetitions, as a share.
    pub uninterrupted: Option<f64>,
    /// The same in each pair that has some on both sides, in order.
    pub uninterrupted_changes: Vec<f64>,
    /// Whether the uninterrupted repetitions contradict the pairs.
    pub contradicted: bool,
}

/// What comparisons on a host can see, by its calibration: losses of speed that are called regressed in four of five
/// comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Support {
    /// Launches a side.
    pub launches: u32,
    /// The smallest loss that two sessions of so many launches show, as a share.
    pub detects: f64,
    /// What a paired experiment shows; absent where that is not calibrated.
    pub paired: Option<PairedSupport>,
    /// How often the contract's rule of means calls two equal sessions of so many launches (`contract_launches`) different, as a
    /// share; absent where the calibration does not tell.
    #[serde(default)]
    pub contract_wrong: Option<f64>,
    /// Launches a side that `contract_wrong` is about: the most that the calibration has rates of and that the sessions have.
    #[serde(default)]
    pub contract_launches: Option<u32>,
}

/// What paired experiments on a host can see.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairedSupport {
    /// Pairs in which half of all experiments with identical engines are decided.
    pub pairs: u32,
    /// The smallest loss that so many pairs show, as a share.
    pub detects: f64,
    /// How long they take, in seconds, with the uninterrupted repetitions behind them; absent where that was not recorded.
    pub seconds: Option<f64>,
}

/// Launches that were slow from their first token to their last.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowLaunches {
    /// Slow launches of the baseline.
    pub baseline: usize,
    /// Launches of the baseline.
    pub of_baseline: usize,
    /// Slow launches of the candidate.
    pub candidate: usize,
    /// Launches of the candidate.
    pub of_candidate: usize,
    /// How likely the candidate would have at least so many of them by chance (Fisher's exact test).
    pub chance: f64,
}

/// How much sessions differ from each other, beyond what their launches vary by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Drift {
    /// Neither calibration nor history tells: intervals lack it.
    #[default]
    Unknown,
    /// Both sides were measured at once, pair by pair: there is none between them.
    Paired,
    /// The standard deviation between sessions, as a share.
    Known {
        /// As a share of the value.
        standard_deviation: f64,
        /// Sessions that it is known from.
        sessions: usize,
        /// Correlation of neighbouring launches inside a session.
        #[serde(default)]
        serial_correlation: f64,
    },
}

/// What follows from all metrics together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// By intervals: every judged metric is within its tolerance.
    Equivalent,
    /// By intervals: some judged metric is beyond its tolerance on the better side, and all others are within theirs.
    Improved,
    /// By intervals: some judged metric is beyond its tolerance on the worse side.
    Regressed,
    /// By the contract's rule: every judged metric is within its tolerance.
    Reproduced,
    /// By the contract's rule: some judged metric is beyond its tolerance.
    NotReproduced,
    /// The data cannot tell, or something may have disturbed them and the policy does not admit it: no verdict.
    Inconclusive,
    /// The sessions, or a gated metric of theirs, may not be compared.
    Refused,
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equivalent => "equivalent",
            Self::Improved => "improved",
            Self::Regressed => "regressed",
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::Inconclusive => "inconclusive",
            Self::Refused => "refused",
        })
    }
}

/// One metric, both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricComparison {
    /// Full metric id.
    pub metric: String,
    /// Unit of the values.
    pub unit: String,
    /// Which way is better.
    pub direction: Direction,
    /// Whether the official contract defines it.
    pub official: bool,
    /// The baseline's figures.
    pub baseline: Option<Summary>,
    /// The candidate's figures.
    pub candidate: Option<Summary>,
    /// (candidate mean − baseline mean) / |baseline mean|; absent when a side has no value or the baseline's mean is 0.
    pub relative_change: Option<f64>,
    /// The tolerance it is judged by; absent for metrics that are shown only.
    pub tolerance: Option<Tolerance>,
    /// Whether the plan loosened the contract's tolerance.
    pub unofficial_tolerance: bool,
    /// The change with its confidence interval, from launches; or why there is none.
    pub interval: Reading<ChangeInterval>,
    /// What the contract's point rule says, whatever rule decides; absent without a tolerance or without values.
    pub point_rule: Option<PointRule>,
    /// What the rule says.
    pub judgement: Judgement,
}

/// A change and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeInterval {
    /// Whether the figures are shares of the baseline (0.03 is 3 %) or in the metric's own unit.
    pub scale: Scale,
    /// The change.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How often such an interval holds the truth, over all metrics judged together and all looks.
    pub confidence: f64,
    /// Launches of the baseline that it rests on; of a paired experiment, pairs.
    pub n_baseline: usize,
    /// Launches of the candidate that it rests on; of a paired experiment, pairs.
    pub n_candidate: usize,
    /// How much sessions of this machine and engine differ from each other beyond their launches, as far as the interval
    /// holds it.
    pub drift: Drift,
    /// Launches a side, or pairs, that would decide if estimate and spread stayed as they are; absent where the interval
    /// decides already, and where no number would.
    pub needed: Option<u32>,
}

/// What a change is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Shares of the baseline.
    Relative,
    /// The metric's own unit.
    Absolute,
}

impl Scale {
    /// Writes a change: a share as per cent, on the side of the tolerance that it lies on, and any other in the metric's unit.
    pub fn in_words(self, change: f64, tolerance: Option<Tolerance>, unit: &str) -> String {
        match self {
            Self::Relative => change_in_words(change, tolerance),
            Self::Absolute => format!("{change:+.3} {unit}"),
        }
    }
}

/// What the contract's point rule says: does the change of means lie within the tolerance?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PointRule {
    /// Within tolerance.
    Within,
    /// Beyond tolerance, in the better direction.
    BeyondBetter,
    /// Beyond tolerance, in the worse direction.
    BeyondWorse,
}

/// What the rule says about one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Judgement {
    /// By the interval: within tolerance.
    Equivalent,
    /// By the interval: beyond tolerance, in the better direction.
    Improved,
    /// By the interval: beyond tolerance, in the worse direction.
    Regressed,
    /// By the contract's rule: within tolerance.
    Within,
    /// By the contract's rule: beyond tolerance, in the better direction.
    BeyondBetter,
    /// By the contract's rule: beyond tolerance, in the worse direction.
    BeyondWorse,
    /// Shown only: no tolerance applies.
    Shown,
    /// The interval reaches over an end of the tolerance, there is no interval, or something may have disturbed the data
    /// and the policy does not admit it.
    Inconclusive {
        /// Why.
        reason: String,
    },
    /// Neither side has a value.
    NotJudged {
        /// Why.
        reason: String,
    },
    /// One side has no value, or the two were measured with different meters.
    Refused {
        /// Why.
        reason: String,
    },
}
