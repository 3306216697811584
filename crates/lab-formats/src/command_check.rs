//! What a plan of a command would do, as the document `lab.command-check.v1`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::plan_check::ToleranceRow;

/// Schema id of the document.
pub const COMMAND_CHECK_SCHEMA: &str = "lab.command-check.v1";

/// What a plan of a command would do.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CommandCheckDocument {
    /// Always `lab.command-check.v1`.
    #[schemars(extend("const" = COMMAND_CHECK_SCHEMA))]
    pub schema: &'static str,
    /// The plan's name.
    pub plan: String,
    /// The plan's sentence for people.
    pub description: String,
    /// Whether it could run here and now.
    pub runnable: bool,
    /// What keeps it from running.
    pub problems: Vec<String>,
    /// What is run.
    pub command: CommandBlock,
    /// Where the number of its rows comes from.
    pub rows: RowsBlock,
    /// How often it is run, and under which limits.
    pub run: CommandRunBlock,
    /// Tolerances that a comparison will apply.
    pub tolerances: Vec<ToleranceRow>,
}

/// What is run, and on what.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CommandBlock {
    /// The program and its arguments, as they were written.
    pub words: Vec<String>,
    /// Where it works.
    pub folder: String,
    /// Where the program was found; null where it was not.
    pub path: Option<String>,
    /// SHA-256 of the program; null where it cannot be read.
    pub build: Option<String>,
    /// SHA-256 of the script among its arguments; null where there is none.
    pub script: Option<String>,
    /// Cores it may run on; null where they are not to be had.
    pub cores: Option<String>,
    /// Names of the variables that it gets.
    pub environment: Vec<String>,
}

/// Where the number of rows comes from.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RowsBlock {
    /// In words.
    pub source: String,
    /// Their number; null where it is not known before the command ran.
    pub known: Option<u64>,
}

/// How often a command is run, and under which limits.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CommandRunBlock {
    /// Runs in front of the measured ones.
    pub warmups: u32,
    /// Measured repetitions, each in a process of its own.
    pub measured: u32,
    /// Seconds that one may take.
    pub timeout_s: u64,
    /// Seconds between two looks at its memory.
    pub interval_s: f64,
}

/// Returns the document's text.
pub fn to_text(document: &CommandCheckDocument) -> String {
    crate::pretty(document)
}
