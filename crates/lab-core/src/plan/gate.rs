//! What a plan says about the gate: what stands in CI's way and what does not.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::check::{check_metric, complaint};
use super::{PlanError, raw};
use crate::metric::Contract;
use crate::nearest::nearest;
use crate::tolerance::Tolerance;
use crate::validity::{RULES, find};

/// What a gate demands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateSpec {
    /// Full ids of the metrics that are judged; none for all that have a tolerance.
    pub metrics: Option<Vec<String>>,
    /// What data that cannot tell come to.
    pub inconclusive: InconclusiveGate,
    /// What an engine that says something else comes to.
    pub different_output: DifferentOutputGate,
    /// Engines may part where the two greatest logits are closer than this: that is rounding.
    pub output_margin: f64,
    /// Rules of validity whose suspicion does not keep from a verdict.
    pub admit: Vec<String>,
}

/// What data that cannot tell come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InconclusiveGate {
    /// The gate stays shut: only what is shown to be within tolerance passes.
    #[default]
    Fail,
    /// The gate opens: only what is shown to be worse fails.
    Pass,
}

/// What an engine that says something else comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferentOutputGate {
    /// The two are not compared.
    #[default]
    Refuse,
    /// The two are compared, and what they said is shown.
    Admit,
}

/// Half a logit: what rounding does to the best token is below it (the built-in engine against llama.cpp differs by 0.05
/// on average), and a wrong answer is rarely.
const DEFAULT_OUTPUT_MARGIN: f64 = 0.5;

impl Default for GateSpec {
    fn default() -> Self {
        Self {
            metrics: None,
            inconclusive: InconclusiveGate::default(),
            different_output: DifferentOutputGate::default(),
            output_margin: DEFAULT_OUTPUT_MARGIN,
            admit: Vec::new(),
        }
    }
}

pub(super) fn check_gate(
    raw: raw::Gate,
    contract: Contract,
    tolerances: &BTreeMap<String, Tolerance>,
) -> Result<GateSpec, PlanError> {
    let raw::Gate { metrics, inconclusive, different_output, output_margin, admit } = raw;
    let metrics = match metrics {
        None => None,
        Some(names) if names.get_ref().is_empty() => {
            return Err(complaint(names.span(), "a gate without a metric lets everything pass", None));
        }
        Some(names) => {
            let id = |name| gated_metric(name, contract, tolerances);
            Some(names.into_inner().iter().map(id).collect::<Result<Vec<_>, _>>()?)
        }
    };
    Ok(GateSpec {
        metrics,
        inconclusive: inconclusive.unwrap_or_default(),
        different_output: different_output.unwrap_or_default(),
        output_margin: output_margin.map_or(Ok(DEFAULT_OUTPUT_MARGIN), |own| check_margin(&own))?,
        admit: admit.iter().map(check_rule).collect::<Result<_, _>>()?,
    })
}

fn gated_metric(
    name: &Spanned<String>,
    contract: Contract,
    tolerances: &BTreeMap<String, Tolerance>,
) -> Result<String, PlanError> {
    let text = name.get_ref().as_str();
    let metric = check_metric(name, contract)?;
    let id = metric.id();
    if metric.tolerance.is_none() && !tolerances.contains_key(&id) {
        let help = format!("give it one: `[tolerances]`, then `{} = {{ percent = … }}`", metric.name);
        return Err(complaint(
            name.span(),
            format!("`{text}` has no tolerance to be judged by"),
            Some(&help),
        ));
    }
    Ok(id)
}

fn check_margin(margin: &Spanned<f64>) -> Result<f64, PlanError> {
    match *margin.get_ref() {
        own if own.is_finite() && own >= 0.0 => Ok(own),
        _ => Err(complaint(margin.span(), "`output_margin` is a number of logits from 0 up", None)),
    }
}

fn check_rule(rule: &Spanned<String>) -> Result<String, PlanError> {
    let text = rule.get_ref();
    find(text).map(|rule| rule.id.to_owned()).ok_or_else(|| {
        let near = nearest(text, RULES.iter().map(|rule| rule.id));
        let help = near.map(|near| format!("the nearest known rule is `{near}`"));
        let message = format!("`{text}` is no rule of validity");
        complaint(rule.span(), message, help.as_deref().or(Some("`lab rules` lists them")))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::*;

    const PLAN: &str = r#"
        version = 1
        name = "tiny"
        model = { name = "own", source = { path = "own.gguf" } }
        workload = { prompt = { random = 4 }, generate = 4, seed = 1 }
    "#;

    fn parse(gate: &str) -> Result<GateSpec, String> {
        let plan = Plan::parse(&format!("{PLAN}\n{gate}"));
        plan.map(|plan| plan.gate).map_err(|errors| format!("{:?}", errors.0))
    }

    #[test]
    fn a_plan_without_a_gate_has_the_strict_one() {
        let spec = parse("").unwrap();
        assert_eq!(spec, GateSpec::default());
        assert_eq!(spec.inconclusive, InconclusiveGate::Fail);
    }

    #[test]
    fn metrics_are_named_bare_or_in_full_and_need_a_tolerance() {
        let spec =
            parse("[gate]\nmetrics = [\"tokens_per_sec\", \"engine.v0.1/watts_avg\"]\nadmit = [\"steal\"]");
        let spec = spec.unwrap();
        assert_eq!(spec.metrics.unwrap(), ["engine.v0.1/tokens_per_sec", "engine.v0.1/watts_avg"]);
        assert_eq!(spec.admit, ["steal"]);
        let with = "[tolerances]\nttft_ms = { percent = 10 }\n[gate]\nmetrics = [\"ttft_ms\"]";
        assert!(parse(with).is_ok());
    }

    #[test]
    fn mistakes_are_told_with_what_is_near() {
        for (gate, expected) in [
            ("metrics = []", "lets everything pass"),
            ("metrics = [\"tokens_per_second\"]", "tokens_per_sec"),
            ("metrics = [\"ttft_ms\"]", "no tolerance"),
            ("inconclusive = \"perhaps\"", "perhaps"),
            ("output_margin = -1", "from 0 up"),
            ("admit = [\"steel\"]", "steal"),
            ("metric = []", "metric"),
        ] {
            let told = parse(&format!("[gate]\n{gate}")).unwrap_err();
            assert!(told.contains(expected), "{gate}: {told}");
        }
    }
}
