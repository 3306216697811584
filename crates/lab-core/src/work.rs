//! What a session did: a workload put to an engine, a command run, or documents of another tool taken in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::CommandWork;
use crate::engine::EngineError;
use crate::import::Import;
use crate::metric::{Contract, Metric};
use crate::workload::Workload;

/// What a session did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// An engine was asked to generate.
    Workload(Workload),
    /// A program was run.
    Command(CommandWork),
    /// Nothing was measured here: documents of another tool were taken in.
    Import(Import),
}

impl Work {
    /// Returns the contract whose mandatory metrics a session owes.
    pub fn contract(&self) -> Contract {
        match self {
            Self::Workload(_) => Contract::EngineV0_1,
            Self::Command(_) => Contract::SmokeV1,
            Self::Import(import) => import.contract,
        }
    }

    /// Returns the metrics that such a session can have, in table order.
    pub fn metrics(&self) -> impl Iterator<Item = &'static Metric> + use<> {
        self.contract().metrics()
    }

    /// Returns whether lab measured the session itself.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Workload(_) | Self::Command(_) => Origin::Measured,
            Self::Import(_) => Origin::Imported,
        }
    }

    /// Says why what was launched failed: a command is no engine.
    pub fn words_of(&self, error: &EngineError) -> String {
        let words = error.to_string();
        match self {
            Self::Command(_) => words.replacen("the engine", "the command", 1),
            Self::Workload(_) | Self::Import(_) => words,
        }
    }

    /// Returns the workload, where an engine was asked to generate.
    pub fn workload(&self) -> Option<&Workload> {
        match self {
            Self::Workload(workload) => Some(workload),
            Self::Command(_) | Self::Import(_) => None,
        }
    }

    /// Returns what was imported, where nothing was measured here.
    pub fn import(&self) -> Option<&Import> {
        match self {
            Self::Import(import) => Some(import),
            Self::Workload(_) | Self::Command(_) => None,
        }
    }
}

/// Who measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// lab itself.
    Measured,
    /// Another tool, whose documents were taken in.
    Imported,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Measured => "measured",
            Self::Imported => "imported",
        })
    }
}
