//! The metrics document of a workflow runtime (contract `workflow.v1`): `apxm run --emit-metrics`, and what `lab run
//! --emit-metrics` writes.
//!
//! Every field may be missing or `null`: what a document does not say is unavailable, never 0. Fields that are not here are
//! kept with the document's bytes.

use schemars::JsonSchema;
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};

use crate::metric::Reading;
use crate::object::object_or_nothing;

/// What a document says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WorkflowFigures {
    /// The workflow that was run.
    pub input: Option<String>,
    /// How far it was optimised, such as `O1`.
    pub optimization_level: Option<String>,
    /// What wrote the document; only lab's own say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// What was executed.
    #[serde(deserialize_with = "object_or_nothing")]
    pub execution: Execution,
    /// What scheduling cost.
    #[serde(deserialize_with = "object_or_nothing")]
    pub scheduler: Scheduler,
    /// The requests to models.
    #[serde(deserialize_with = "object_or_nothing")]
    pub llm: Llm,
    /// Where the time of the whole command went.
    #[serde(deserialize_with = "object_or_nothing")]
    pub link_phases: LinkPhases,
}

impl WorkflowFigures {
    /// Returns whether the document tells nothing of what a workflow runtime measures.
    pub fn is_silent(&self) -> bool {
        let Self { execution, scheduler, llm, link_phases, .. } = self;
        *execution == Execution::default()
            && *scheduler == Scheduler::default()
            && *llm == Llm::default()
            && *link_phases == LinkPhases::default()
    }
}

/// What was executed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Execution {
    /// Nodes of the graph that succeeded.
    pub nodes_executed: Option<u64>,
    /// Nodes that failed.
    pub nodes_failed: Option<u64>,
    /// Total time, in milliseconds.
    #[serde(deserialize_with = "from_zero_up")]
    pub duration_ms: Option<f64>,
    /// `success` or `failed`.
    pub status: Option<String>,
}

/// What scheduling cost. Times are per operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Scheduler {
    /// Mean overhead of an operation, in microseconds.
    #[serde(deserialize_with = "from_zero_up")]
    pub per_op_overhead_us: Option<f64>,
    /// What it is made of.
    #[serde(deserialize_with = "object_or_nothing")]
    pub overhead_breakdown: OverheadBreakdown,
    /// The most operations that ran at once.
    #[serde(deserialize_with = "from_zero_up")]
    pub max_parallelism: Option<f64>,
    /// The mean number of operations that ran at once.
    #[serde(deserialize_with = "from_zero_up")]
    pub avg_parallelism: Option<f64>,
    /// Operations run.
    pub operations_executed: Option<u64>,
    /// Operations that failed.
    pub operations_failed: Option<u64>,
}

/// What the overhead of an operation is made of, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OverheadBreakdown {
    /// Updating which operations are ready.
    #[serde(deserialize_with = "from_zero_up")]
    pub ready_set_update_us: Option<f64>,
    /// Looking for work in other queues.
    #[serde(deserialize_with = "from_zero_up")]
    pub work_stealing_us: Option<f64>,
    /// Collecting the input of an operation.
    #[serde(deserialize_with = "from_zero_up")]
    pub input_collection_us: Option<f64>,
    /// Handing an operation to a worker.
    #[serde(deserialize_with = "from_zero_up")]
    pub operation_dispatch_us: Option<f64>,
    /// Handing its output on.
    #[serde(deserialize_with = "from_zero_up")]
    pub token_routing_us: Option<f64>,
}

impl OverheadBreakdown {
    /// Returns the fields by name, in the order of the document.
    pub fn fields(&self) -> [(&'static str, Option<f64>); 5] {
        [
            ("ready_set_update_us", self.ready_set_update_us),
            ("work_stealing_us", self.work_stealing_us),
            ("input_collection_us", self.input_collection_us),
            ("operation_dispatch_us", self.operation_dispatch_us),
            ("token_routing_us", self.token_routing_us),
        ]
    }
}

/// The requests to models. Times in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Llm {
    /// Requests made.
    pub total_requests: Option<u64>,
    /// Tokens sent, over all requests.
    pub total_input_tokens: Option<u64>,
    /// Tokens received, over all requests.
    pub total_output_tokens: Option<u64>,
    /// Mean time of a request.
    #[serde(deserialize_with = "from_zero_up")]
    pub avg_latency_ms: Option<f64>,
    /// Median time of a request.
    #[serde(deserialize_with = "from_zero_up")]
    pub p50_latency_ms: Option<f64>,
    /// 99th percentile of the time of a request.
    #[serde(deserialize_with = "from_zero_up")]
    pub p99_latency_ms: Option<f64>,
}

/// Where the time of the whole command went, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LinkPhases {
    /// Reading and optimising the source.
    #[serde(deserialize_with = "from_zero_up")]
    pub compile_ms: Option<f64>,
    /// Making the artefact that is executed.
    #[serde(deserialize_with = "from_zero_up")]
    pub artifact_ms: Option<f64>,
    /// Checking it.
    #[serde(deserialize_with = "from_zero_up")]
    pub validation_ms: Option<f64>,
    /// Executing it.
    #[serde(deserialize_with = "from_zero_up")]
    pub runtime_ms: Option<f64>,
}

/// Reads a number that may be missing and is never below zero, not even as a zero with a sign: the store would give that back
/// without it.
fn from_zero_up<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let value = Option::<f64>::deserialize(deserializer)?;
    match value.filter(|value| value.is_sign_negative()) {
        Some(value) => Err(D::Error::invalid_value(Unexpected::Float(value), &"a number from 0 up")),
        None => Ok(value),
    }
}

/// The sum of the breakdown may differ from the whole by so much, in microseconds: six figures of two decimals, each rounded
/// to the nearest hundredth, are off by 0.03 at most.
const BREAKDOWN_SLACK_US: f64 = 0.03;
/// What the sum of five binary fractions is off by, and far more.
const ROUNDING_US: f64 = 1e-9;

/// Returns in what a document contradicts itself, one sentence each, the id of its rule in front.
pub fn contradictions(figures: &WorkflowFigures) -> Vec<String> {
    let rules: [fn(&WorkflowFigures) -> Option<String>; 5] =
        [breakdown, failed, status, percentiles, parallelism];
    rules.iter().filter_map(|rule| rule(figures)).collect()
}

/// The fields of the breakdown are per operation, as the founding document's example has them: its line that divides their
/// sum by the operations once more contradicts that example.
/// Fields that are not told can only add: those that are told must not exceed the whole.
fn breakdown(figures: &WorkflowFigures) -> Option<String> {
    let whole = figures.scheduler.per_op_overhead_us?;
    let fields = figures.scheduler.overhead_breakdown.fields();
    let told: Vec<f64> = fields.iter().filter_map(|(_, value)| *value).collect();
    let (sum, has_all) = (told.iter().sum::<f64>(), told.len() == fields.len());
    let slack = BREAKDOWN_SLACK_US + ROUNDING_US;
    let is_off = sum - whole > slack || (has_all && whole - sum > slack);
    let which = if has_all { "its fields".to_owned() } else { format!("{} of its fields", told.len()) };
    is_off.then(|| {
        format!("breakdown: {which} add up to {} us and `per_op_overhead_us` is {whole} us", round(sum))
    })
}

fn failed(figures: &WorkflowFigures) -> Option<String> {
    let (executed, failed) = (figures.scheduler.operations_executed?, figures.scheduler.operations_failed?);
    (failed > executed).then(|| format!("failed: {failed} operations failed and {executed} were executed"))
}

fn status(figures: &WorkflowFigures) -> Option<String> {
    let own = figures.execution.status.as_deref()?;
    if !["success", "failed"].contains(&own) {
        return Some(format!("status: `{own}` is neither `success` nor `failed`"));
    }
    let nodes = figures.execution.nodes_failed.unwrap_or(0);
    let operations = figures.scheduler.operations_failed.unwrap_or(0);
    (own == "success" && (nodes > 0 || operations > 0))
        .then(|| format!("status: `success`, and {nodes} nodes and {operations} operations failed"))
}

fn percentiles(figures: &WorkflowFigures) -> Option<String> {
    let (p50, p99) = (figures.llm.p50_latency_ms?, figures.llm.p99_latency_ms?);
    (p50 > p99).then(|| format!("percentiles: `p50_latency_ms` is {p50} and `p99_latency_ms` is {p99}"))
}

fn parallelism(figures: &WorkflowFigures) -> Option<String> {
    let (mean, most) = (figures.scheduler.avg_parallelism?, figures.scheduler.max_parallelism?);
    (mean > most).then(|| format!("parallelism: `avg_parallelism` is {mean} and `max_parallelism` is {most}"))
}

/// Rounds to thousandths, for sentences: 4.739999999999999 reads 4.74.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The founding document's formula ("Overhead Ratio Calculation"): `(per_op_overhead_us × operations_executed) /
/// (avg_latency_ms × total_requests × 1000) × 100`.
pub(crate) fn overhead_ratio_pct(figures: &WorkflowFigures) -> Reading<f64> {
    let (scheduler, llm) = (&figures.scheduler, &figures.llm);
    let ratio = || -> Result<f64, String> {
        let per_op = told(scheduler.per_op_overhead_us, "per_op_overhead_us")?;
        let operations = told(count(scheduler.operations_executed), "operations_executed")?;
        let latency = told(llm.avg_latency_ms, "avg_latency_ms")?;
        let requests = told(count(llm.total_requests), "total_requests")?;
        let of_requests = latency * requests * 1000.0;
        if of_requests == 0.0 {
            return Err("no time was spent in requests".to_owned());
        }
        let ratio = per_op * operations / of_requests * 100.0;
        if ratio.is_finite() { Ok(ratio) } else { Err("it is beyond every number".to_owned()) }
    };
    ratio().into()
}

/// Returns a field's value, or that the document does not tell it.
pub(crate) fn told(value: Option<f64>, field: &str) -> Result<f64, String> {
    value.ok_or_else(|| format!("the document does not tell `{field}`"))
}

pub(crate) fn count(value: Option<u64>) -> Option<f64> {
    value.map(crate::number::exact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validity::rule_of;

    /// The founding document's example.
    fn example() -> WorkflowFigures {
        WorkflowFigures {
            execution: Execution {
                nodes_executed: Some(3),
                nodes_failed: Some(0),
                duration_ms: Some(780.0),
                status: Some("success".to_owned()),
            },
            scheduler: Scheduler {
                per_op_overhead_us: Some(4.73),
                overhead_breakdown: OverheadBreakdown {
                    ready_set_update_us: Some(0.0),
                    work_stealing_us: Some(3.71),
                    input_collection_us: Some(0.49),
                    operation_dispatch_us: Some(0.0),
                    token_routing_us: Some(0.54),
                },
                max_parallelism: Some(2.0),
                avg_parallelism: Some(2.0),
                operations_executed: Some(3),
                operations_failed: Some(0),
            },
            llm: Llm {
                total_requests: Some(1),
                avg_latency_ms: Some(778.0),
                p50_latency_ms: Some(778.0),
                p99_latency_ms: Some(778.0),
                ..Llm::default()
            },
            ..WorkflowFigures::default()
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut WorkflowFigures), expected: &[&str]) {
        let mut figures = example();
        change(&mut figures);
        assert_eq!(contradictions(&figures), expected);
    }

    #[test]
    fn the_founding_documents_example_does_not_contradict_itself() {
        check(|_| {}, &[]);
        assert!(
            contradictions(&WorkflowFigures::default()).is_empty(),
            "what says nothing contradicts nothing"
        );
    }

    #[test]
    fn the_overhead_ratio_is_the_founding_documents() {
        // 4.73 × 3 / (778 × 1 × 1000) × 100; the document prints 0.0018 %.
        let Reading::Value(ratio) = overhead_ratio_pct(&example()) else { panic!("a ratio") };
        assert!((ratio - 14.19 / 778_000.0 * 100.0).abs() < 1e-15, "{ratio}");
        assert_eq!(format!("{ratio:.4}"), "0.0018");
    }

    #[test]
    fn a_ratio_without_its_terms_says_which_is_missing() {
        let mut figures = example();
        figures.llm.total_requests = Some(0);
        assert_eq!(overhead_ratio_pct(&figures).reason(), Some("no time was spent in requests"));
        figures.llm.total_requests = None;
        assert_eq!(
            overhead_ratio_pct(&figures).reason(),
            Some("the document does not tell `total_requests`")
        );
    }

    #[test]
    fn a_ratio_beyond_every_number_is_none() {
        let mut figures = example();
        figures.scheduler.per_op_overhead_us = Some(f64::MAX);
        assert_eq!(overhead_ratio_pct(&figures).reason(), Some("it is beyond every number"));
    }

    #[test]
    fn a_breakdown_may_be_off_by_what_rounding_makes_of_it() {
        let of = |whole: f64| move |own: &mut WorkflowFigures| own.scheduler.per_op_overhead_us = Some(whole);
        check(of(4.77), &[]);
        check(of(4.71), &[]);
        check(of(4.78), &["breakdown: its fields add up to 4.74 us and `per_op_overhead_us` is 4.78 us"]);
        check(of(1.58), &["breakdown: its fields add up to 4.74 us and `per_op_overhead_us` is 1.58 us"]);
    }

    #[test]
    fn a_breakdown_with_a_field_missing_may_be_less_than_the_whole_and_not_more() {
        let of = |whole: f64| {
            move |own: &mut WorkflowFigures| {
                own.scheduler.overhead_breakdown.work_stealing_us = None;
                own.scheduler.per_op_overhead_us = Some(whole);
            }
        };
        check(of(4.73), &[]);
        check(of(1.0), &[]);
        check(of(0.9), &["breakdown: 4 of its fields add up to 1.03 us and `per_op_overhead_us` is 0.9 us"]);
        check(|own| own.scheduler.overhead_breakdown = OverheadBreakdown::default(), &[]);
    }

    #[test]
    fn every_contradiction_names_both_numbers() {
        check(
            |own| own.scheduler.operations_failed = Some(4),
            &[
                "failed: 4 operations failed and 3 were executed",
                "status: `success`, and 0 nodes and 4 operations failed",
            ],
        );
        check(
            |own| own.execution.status = Some("done".to_owned()),
            &["status: `done` is neither `success` nor `failed`"],
        );
        check(
            |own| own.llm.p99_latency_ms = Some(700.5),
            &["percentiles: `p50_latency_ms` is 778 and `p99_latency_ms` is 700.5"],
        );
        check(
            |own| own.scheduler.avg_parallelism = Some(2.5),
            &["parallelism: `avg_parallelism` is 2.5 and `max_parallelism` is 2"],
        );
    }

    #[test]
    fn more_nodes_may_fail_than_succeed() {
        check(
            |own| {
                own.execution.nodes_failed = Some(9);
                own.execution.status = Some("failed".to_owned());
            },
            &[],
        );
    }

    #[test]
    fn a_contradiction_begins_with_its_rule() {
        let mut figures = example();
        figures.scheduler.operations_failed = Some(4);
        let reasons = contradictions(&figures);
        let rules: Vec<&str> = reasons.iter().map(|reason| rule_of(reason)).collect();
        assert_eq!(rules, ["failed", "status"]);
    }

    #[test]
    fn no_number_is_below_zero() {
        let document = serde_json::to_value(example()).unwrap();
        let numbers = paths_of_numbers(&document, "");
        assert_eq!(numbers.len(), 17, "every quantity, and a count");
        for path in numbers {
            for wrong in [-1.0, -0.0] {
                let mut document = document.clone();
                *document.pointer_mut(&path).unwrap() = serde_json::json!(wrong);
                let told = serde_json::from_value::<WorkflowFigures>(document).unwrap_err().to_string();
                assert!(told.starts_with("invalid "), "{path} {wrong}: {told}");
            }
        }
    }

    fn paths_of_numbers(value: &serde_json::Value, path: &str) -> Vec<String> {
        match value {
            serde_json::Value::Number(_) => vec![path.to_owned()],
            serde_json::Value::Object(map) => {
                map.iter().flat_map(|(key, own)| paths_of_numbers(own, &format!("{path}/{key}"))).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_section_that_is_null_says_as_little_as_one_that_is_missing() {
        let text =
            r#"{"execution": null, "scheduler": {"overhead_breakdown": null}, "llm": {}, "more": [1]}"#;
        let figures: WorkflowFigures = serde_json::from_str(text).unwrap();
        assert_eq!(figures, WorkflowFigures::default());
        assert!(figures.is_silent() && !example().is_silent());
    }
}
