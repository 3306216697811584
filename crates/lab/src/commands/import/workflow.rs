//! `lab import workflow`: metrics documents of a workflow runtime.

use std::path::{Path, PathBuf};

use clap::Args;
use lab_core::fingerprint::PartKind;
use lab_core::import::{Figures, Imported};
use lab_core::metric::Contract;
use lab_formats::import::workflow;

use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::plan_file;
use crate::terminal::Format;

use super::intake::{self, Document, Intake};
use super::tool_name;

const EXAMPLES: &str = "\
Examples:
  lab import workflow metrics.json
  lab import workflow runs/*.json --plan plans/workflow.toml
  lab check @latest                  do its limits hold?

Each file is one repetition. Files of one tool, one `input` and one `optimization_level` become one session. A file that the
store has already is passed over. Every byte of a file is kept: `lab export SESSION --format source` gives it back.";

/// The tool whose documents these are, where neither the document nor the user says: `apxm run --emit-metrics`.
const DEFAULT_TOOL: &str = "apxm";

/// What `lab import workflow` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The documents.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// A plan of contract `workflow.v1`: the session's name, tolerances and limits.
    #[arg(long, value_name = "PLAN")]
    plan: Option<PathBuf>,
    /// The tool that measured, where a document does not say [default: apxm].
    #[arg(long, value_name = "NAME", value_parser = tool_name)]
    tool: Option<String>,
    /// Import what can be imported, whatever is wrong with the other files; the exit status is 2 all the same.
    #[arg(long)]
    keep_going: bool,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let load = |path| plan_file::load_contract(path, Contract::WorkflowV1, global.color);
    let plan = arguments.plan.as_deref().map(load).transpose()?;
    let intake = Intake {
        contract: Contract::WorkflowV1,
        plan: plan.as_ref(),
        keep_going: arguments.keep_going,
        format: arguments.format,
    };
    let tool = arguments.tool.as_deref().unwrap_or(DEFAULT_TOOL);
    intake.carry_out(&arguments.files, |path| document(path, tool), global)
}

fn document(path: &Path, tool: &str) -> Result<Document> {
    let (figures, source) = intake::read(path, |reader| workflow::read(reader))?;
    let told = [("input", &figures.input), ("optimization_level", &figures.optimization_level)];
    let told = told.into_iter().filter_map(|(field, value)| Some((PartKind::Plan, field, value.clone()?)));
    Ok(Document {
        path: path.to_owned(),
        tool: figures.tool.clone().unwrap_or_else(|| tool.to_owned()),
        told: told.collect(),
        name: figures.input.as_deref().and_then(name_of).unwrap_or_else(|| "workflow".to_owned()),
        model: "unknown".to_owned(),
        imported: Imported {
            source,
            validity: figures.validity(),
            figures: Figures::Workflow(Box::new(figures)),
        },
    })
}

/// Letters of a plan's name, at most.
const MOST_LETTERS: usize = 64;

/// Makes a plan's name of the file name of a workflow, without its ending; nothing where no letter of it is one.
fn name_of(input: &str) -> Option<String> {
    let stem = Path::new(input).file_stem()?.to_str()?.to_ascii_lowercase();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let letters = stem.chars().map(|c| if is_allowed(c) { c } else { '-' });
    let name: String = letters.skip_while(|c| !c.is_ascii_alphanumeric()).take(MOST_LETTERS).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_file_gives_a_name_that_a_plan_may_have() {
        for (input, expected) in [
            ("/path/to/workflow.ais", Some("workflow")),
            ("Fan Out (2).ais", Some("fan-out--2-")),
            ("..hidden.tar.gz", Some("hidden.tar")),
            ("ünïcödé.ais", Some("n-c-d-")),
            ("日本.ais", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(name_of(input).as_deref(), expected, "{input}");
        }
        assert_eq!(name_of(&"x".repeat(100)).map(|name| name.len()), Some(MOST_LETTERS));
    }
}
