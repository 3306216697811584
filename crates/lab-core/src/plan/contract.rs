//! Plans for what lab does not measure itself: which contract documents are of, and what is demanded of them.

use std::collections::BTreeMap;

use schemars::Schema;
use toml::Spanned;

use super::check::{Complaints, check_name, check_tolerances, check_version, complaint};
use super::gate::check_gate;
use super::limit::check_limits;
use super::{GateSpec, PlanError, PlanErrors, raw};
use crate::limit::Limit;
use crate::metric::Contract;
use crate::nearest::nearest;
use crate::tolerance::Tolerance;

/// What is demanded of documents of one contract. It names no model and no work: nothing is measured by it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContractPlan {
    /// Short name, shown everywhere.
    pub name: String,
    /// A sentence for people; empty when absent.
    pub description: String,
    /// The contract that defines the metrics.
    pub contract: Contract,
    /// Tolerances, by full metric id.
    pub tolerances: BTreeMap<String, Tolerance>,
    /// Limits, by full metric id.
    pub limits: BTreeMap<String, Limit>,
    /// What a gate demands.
    pub gate: GateSpec,
    /// The file's text, byte for byte.
    pub text: String,
}

/// Contracts whose metrics another program measures.
const CONTRACTS: [Contract; 3] = [Contract::SmokeV1, Contract::WorkflowV1, Contract::DeviceV1];

impl ContractPlan {
    /// Parses a plan of one contract.
    ///
    /// # Errors
    ///
    /// Everything wrong that can be told at once, each complaint with the bytes it is about.
    pub fn parse(text: &str) -> Result<Self, PlanErrors> {
        let raw: raw::ContractPlan = toml::from_str(text).map_err(|error| PlanErrors::from_toml(&error))?;
        check(raw, text)
    }

    /// Returns the JSON Schema of the plan file.
    pub fn schema() -> Schema {
        schemars::schema_for!(raw::ContractPlan)
    }
}

fn check(raw: raw::ContractPlan, text: &str) -> Result<ContractPlan, PlanErrors> {
    let raw::ContractPlan { version, name, description, contract, tolerances, limits, gate } = raw;
    let mut complaints = Complaints::default();
    complaints.keep(check_version(&version));
    let name = complaints.keep(check_name(&name, "plan name"));
    // What follows is about the metrics of the contract: without one there is nothing to hold them to.
    let Some(contract) = complaints.keep(check_contract(&contract)) else {
        return Err(PlanErrors(complaints.0));
    };
    let tolerances = check_tolerances(tolerances, contract, &mut complaints);
    let limits = check_limits(limits, contract, &mut complaints);
    let gate = complaints.keep(check_gate(gate, contract, &tolerances));
    match (name, gate) {
        (Some(name), Some(gate)) if complaints.0.is_empty() => {
            let text = text.to_owned();
            Ok(ContractPlan { name, description, contract, tolerances, limits, gate, text })
        }
        _ => Err(PlanErrors(complaints.0)),
    }
}

fn check_contract(contract: &Spanned<String>) -> Result<Contract, PlanError> {
    let text = contract.get_ref().as_str();
    if let Some(found) = CONTRACTS.into_iter().find(|own| own.to_string() == text) {
        return Ok(found);
    }
    if text == Contract::EngineV0_1.to_string() {
        let message = format!("a plan of contract `{text}` has no key `contract`: it measures");
        return Err(complaint(contract.span(), message, Some("give it [model] and [workload] instead")));
    }
    let names = CONTRACTS.map(|own| own.to_string());
    let likely = nearest(text, names.iter().map(String::as_str));
    let help = likely.map(|name| format!("did you mean `{name}`?"));
    let message = format!("unknown contract `{text}`; known are `{}`", names.join("`, `"));
    Err(complaint(contract.span(), message, help.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, PlanFile};
    use super::*;

    const WORKFLOW: &str = r#"
version = 1
name = "flow"
contract = "workflow.v1"
[limits]
per_op_overhead_us = { below = 10 }
[tolerances]
per_op_overhead_us = { percent = 5 }
[gate]
metrics = ["per_op_overhead_us"]
"#;

    fn complaint_about(from: &str, to: &str) -> String {
        assert!(WORKFLOW.contains(from), "the plan has no `{from}`");
        let errors = PlanFile::parse(&WORKFLOW.replacen(from, to, 1)).unwrap_err();
        format!("{:?}", errors.0)
    }

    #[test]
    fn the_top_level_keys_say_what_kind_of_plan_it_is() {
        let PlanFile::Contract(plan) = PlanFile::parse(WORKFLOW).unwrap() else { panic!("a contract plan") };
        let id = "workflow.v1/per_op_overhead_us".to_owned();
        assert_eq!((plan.name.as_str(), plan.contract), ("flow", Contract::WorkflowV1));
        assert_eq!(plan.limits, BTreeMap::from([(id.clone(), Limit::Below(10.0))]));
        assert_eq!(plan.tolerances, BTreeMap::from([(id.clone(), Tolerance::Relative(0.05))]));
        assert_eq!(plan.gate.metrics, Some(vec![id]));
        assert_eq!(plan.text, WORKFLOW);
        let engine = "version = 1\nname = \"p\"\nmodel = { name = \"m\", source = { path = \"m.gguf\" } }\n\
                      workload = { prompt = { random = 8 }, generate = 4 }\n";
        assert!(matches!(PlanFile::parse(engine), Ok(PlanFile::Engine(_))));
    }

    #[test]
    fn a_contract_plan_is_pointed_at_where_an_engine_is_wanted() {
        let PlanErrors(errors) = Plan::parse(WORKFLOW).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].message, "this plan is of contract workflow.v1 and measures nothing");
        assert_eq!(errors[0].help.as_deref(), Some("`lab import workflow --plan` takes it"));
        assert_eq!(&WORKFLOW[errors[0].span.clone().unwrap()], "\"workflow.v1\"");
    }

    #[test]
    fn mistakes_are_told_with_what_is_near() {
        for (from, to, expected) in [
            ("workflow.v1\"", "workflow.v2\"", "did you mean `workflow.v1`?"),
            ("workflow.v1\"", "engine.v0.1\"", "give it [model] and [workload] instead"),
            ("\"workflow.v1\"", "1", "invalid type: integer `1`"),
            ("workflow.v1\"", "device.v1\"", "a metric of contract workflow.v1, and the plan of device.v1"),
            ("[limits]", "[limit]", "unknown field `limit`"),
            ("[limits]", "model = 1\n[limits]", "unknown field `model`"),
            ("name = \"flow\"", "name = \"Flow\"", "no plan name"),
            ("version = 1", "version = 2", "version 2 is not known"),
        ] {
            let told = complaint_about(from, to);
            assert!(told.contains(expected), "{to}: {told}");
        }
        assert!(PlanFile::parse("contract = [").is_err(), "what is no TOML is no plan of any kind");
    }
}
