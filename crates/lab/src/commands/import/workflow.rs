//! `lab import workflow`: metrics documents of a workflow runtime.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use lab_core::fingerprint::PartKind;
use lab_core::import::Figures;
use lab_core::metric::Contract;
use lab_core::record::Session;
use lab_core::workflow::contradictions;
use lab_formats::import::{DocumentError, workflow};
use lab_store::Store;

use crate::commands::run;
use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::imported::{Content, Identity, Terms, plan_name};
use crate::plan_file;
use crate::recording;
use crate::store;
use crate::terminal::{Format, say};

use super::intake::{self, Found, Taken};
use super::read::{Bytes, Parsed, SourceFile};
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
    /// Passes over what cannot be read, and imports the rest; the exit status is 2 all the same.
    #[arg(long)]
    keep_going: bool,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let load = |path| plan_file::load_contract(path, Contract::WorkflowV1, global.color);
    let plan = arguments.plan.as_deref().map(load).transpose()?;
    let terms =
        Terms { contract: Contract::WorkflowV1, plan: plan.as_ref(), keep_going: arguments.keep_going };
    let tool = arguments.tool.as_deref().unwrap_or(DEFAULT_TOOL);
    let mut store = store::open_for_recording(&global.store)?;
    let found = find(&arguments.files);
    let Taken { sessions, exit } = intake::take(&terms, found, |_, bytes| content(bytes, tool), &mut store)?;
    for session in &sessions {
        show(session, arguments.format, &store, global)?;
    }
    Ok(exit)
}

fn find(paths: &[PathBuf]) -> Found<()> {
    let mut found = Found::default();
    for path in paths {
        match file(path) {
            Ok(file) => found.files.push(file),
            Err(sentence) => found.complaints.push(format!("`{}`: {sentence}", path.display())),
        }
    }
    found
}

fn file(path: &Path) -> std::result::Result<SourceFile<()>, String> {
    match fs::metadata(path) {
        _ if path == Path::new("-") => Err(format!("standard input {READ_TWICE}")),
        Ok(metadata) if metadata.is_file() => SourceFile::new(path, metadata.len(), ()),
        Ok(metadata) if metadata.is_dir() => Err("it is a folder".to_owned()),
        Ok(_) => Err(format!("it is no regular file, and {READ_TWICE}")),
        Err(error) => Err(DocumentError::Unreadable(error).to_string()),
    }
}

const READ_TWICE: &str = "cannot be imported: a document is read twice; save it to a file first";

fn content(bytes: Bytes<'_>, tool: &str) -> Parsed {
    let figures = workflow::read(bytes)?;
    let told = [("input", &figures.input), ("optimization_level", &figures.optimization_level)];
    let told = told.into_iter().filter_map(|(field, value)| Some((PartKind::Plan, field, value.clone()?)));
    let identity = Identity {
        tool: figures.tool.clone().unwrap_or_else(|| tool.to_owned()),
        told: told.collect(),
        name: figures.input.as_deref().and_then(name_of).unwrap_or_else(|| "workflow".to_owned()),
        model_name: "unknown".to_owned(),
    };
    let contradictions = contradictions(&figures);
    Ok(Content { figures: Figures::Workflow(Box::new(figures)), contradictions, identity })
}

/// Makes a plan's name of the file name of a workflow, without its ending.
fn name_of(input: &str) -> Option<String> {
    plan_name(Path::new(input).file_stem()?.to_str()?)
}

fn show(session: &Session, format: Format, store: &Store, global: &Global) -> Result<()> {
    for trouble in session.repetitions.iter().filter_map(|own| recording::trouble(session, &own.repetition)) {
        say(&trouble);
    }
    run::show(session, format, global)?;
    let short = store.short_id(&session.header.id)?;
    say(&format!("stored as {short} in {}", store.path().display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_is_called_as_its_file_is() {
        for (input, expected) in [
            ("/path/to/workflow.ais", Some("workflow")),
            ("..hidden.tar.gz", Some("hidden.tar")),
            ("日本.ais", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(name_of(input).as_deref(), expected, "{input}");
        }
    }
}
