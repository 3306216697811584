//! A plan of any kind, and what tells the kinds apart.

use std::collections::BTreeMap;

use super::{CommandPlan, ContractPlan, GateSpec, Plan, PlanError, PlanErrors, raw};
use crate::limit::Limit;
use crate::metric::Contract;

/// A plan of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum PlanFile {
    /// Asks an engine to generate.
    Engine(Box<Plan>),
    /// Runs a command.
    Command(Box<CommandPlan>),
    /// Measures nothing: judges what other tools measured.
    Contract(Box<ContractPlan>),
}

impl PlanFile {
    /// Parses a plan of any kind. A plan with the key `contract` at its top measures nothing, one with `command` runs a
    /// command; any other asks an engine.
    ///
    /// # Errors
    ///
    /// Everything wrong that can be told at once, each complaint with the bytes it is about.
    pub fn parse(text: &str) -> Result<Self, PlanErrors> {
        let raw::Kind { contract, command } = kind(text);
        match (contract, command) {
            (Some(_), _) => ContractPlan::parse(text).map(Box::new).map(Self::Contract),
            (None, Some(_)) => CommandPlan::parse(text).map(Box::new).map(Self::Command),
            (None, None) => Plan::parse_engine(text).map(Box::new).map(Self::Engine),
        }
    }

    /// Returns the plan's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Engine(plan) => &plan.name,
            Self::Command(plan) => &plan.name,
            Self::Contract(plan) => &plan.name,
        }
    }

    /// Returns the contract that a session of the plan owes.
    pub fn contract(&self) -> Contract {
        match self {
            Self::Engine(_) => Contract::EngineV0_1,
            Self::Command(_) => Contract::SmokeV1,
            Self::Contract(plan) => plan.contract,
        }
    }

    /// Returns what a gate demands.
    pub fn gate(&self) -> &GateSpec {
        match self {
            Self::Engine(plan) => &plan.gate,
            Self::Command(plan) => &plan.gate,
            Self::Contract(plan) => &plan.gate,
        }
    }

    /// Returns the plan's limits, by full metric id.
    pub fn limits(&self) -> &BTreeMap<String, Limit> {
        match self {
            Self::Engine(plan) => &plan.limits,
            Self::Command(plan) => &plan.limits,
            Self::Contract(plan) => &plan.limits,
        }
    }
}

/// Refuses a plan of a command where an engine is wanted.
pub(super) fn asks_no_engine(text: &str) -> PlanErrors {
    PlanErrors(vec![PlanError {
        message: "this plan runs a command and asks no engine".to_owned(),
        span: kind(text).command.map(|key| key.span()),
        help: Some("`lab run` carries it out, and `lab ab` sets two of them against each other".to_owned()),
    }])
}

/// Refuses a plan of a contract where an engine is wanted.
pub(super) fn measures_nothing(contract: Contract, text: &str) -> PlanErrors {
    let help = match contract {
        Contract::WorkflowV1 => Some("`lab import workflow --plan` takes it"),
        Contract::DeviceV1 => Some("`lab import device --plan` takes it"),
        Contract::EngineV0_1 | Contract::LabV1 | Contract::SmokeV1 => None,
    };
    let message = format!("this plan is of contract {contract} and measures nothing");
    PlanErrors(vec![PlanError {
        message,
        span: kind(text).contract.map(|key| key.span()),
        help: help.map(str::to_owned),
    }])
}

/// Returns the keys that tell the kinds of plans apart. A text that is no TOML has none: its reader says why.
fn kind(text: &str) -> raw::Kind {
    toml::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &str = "version = 1\nname = \"p\"\nmodel = { name = \"m\", source = { path = \"m.gguf\" } }\n\
                          workload = { prompt = { random = 8 }, generate = 4 }\n";
    const COMMAND: &str = "version = 1\nname = \"c\"\ncommand = { run = [\"true\"], rows = 3 }\n";

    #[test]
    fn the_keys_at_the_top_say_what_kind_of_plan_it_is() {
        let (engine, command) = (PlanFile::parse(ENGINE).unwrap(), PlanFile::parse(COMMAND).unwrap());
        assert!(matches!(engine, PlanFile::Engine(_)), "{engine:?}");
        assert!(matches!(command, PlanFile::Command(_)), "{command:?}");
        assert_eq!((engine.name(), engine.contract()), ("p", Contract::EngineV0_1));
        assert_eq!((command.name(), command.contract()), ("c", Contract::SmokeV1));
        assert_eq!(command.gate(), &GateSpec::default());
        assert!(PlanFile::parse("command = [").is_err(), "what is no TOML is no plan of any kind");
    }

    #[test]
    fn a_plan_of_a_command_is_refused_where_an_engine_is_wanted() {
        let PlanErrors(errors) = Plan::parse(COMMAND).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].message, "this plan runs a command and asks no engine");
        assert!(errors[0].help.as_ref().unwrap().contains("`lab run`"), "{errors:?}");
        assert_eq!(&COMMAND[errors[0].span.clone().unwrap()], "{ run = [\"true\"], rows = 3 }");
    }
}
