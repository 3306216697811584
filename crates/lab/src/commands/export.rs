//! `lab export`: one session in another format.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use lab_core::import::Source;
use lab_core::record::{Outcome, Session};
use lab_core::work::Origin;
use lab_formats::table::Style;
use lab_formats::workflow::{self, Invocation};
use lab_formats::{Recording, csv, markdown, page, session_json, table};
use lab_store::Store;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::store;
use crate::terminal::{print, print_from};
use crate::whole_file::Replacement;

/// The formats of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// The versioned document, one object a measured repetition.
    Json,
    /// One row a measured repetition and metric.
    Csv,
    /// A table to read.
    Table,
    /// A table for documents.
    Markdown,
    /// The metrics document of a workflow, as `lab run --emit-metrics` writes it.
    Workflow,
    /// An imported document as it was, byte for byte.
    Source,
}

/// What `lab export` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lab export @latest --format csv > session.csv\n  lab export @latest --format markdown --output results/today.md\n  lab export @latest --format source --repetition 0 > metrics.json"
)]
pub(crate) struct Arguments {
    /// The session: an id, a part of one that is unique, `@latest`, `@latest~1`, `@NAME` of a baseline.
    session: String,
    /// The format.
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: ExportFormat,
    /// With `--format source`: the repetition whose document is meant.
    #[arg(long, value_name = "N")]
    repetition: Option<u32>,
    /// Writes to a file instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    if arguments.repetition.is_some() && arguments.format != ExportFormat::Source {
        return Err(Failure::usage(anyhow!("`--repetition` goes with `--format source` alone")));
    }
    let store = store::open(global)?;
    let session = store::load(&store, &arguments.session)?;
    if arguments.format == ExportFormat::Source {
        return export_source(arguments, &session, &store);
    }
    let text = text(&session, arguments, global)?;
    match &arguments.output {
        None => print(&text)?,
        Some(path) => {
            let mut file = Replacement::prepare(path, &[store.path()])?;
            file.write_all(text.as_bytes()).map_err(|error| file.failed(error))?;
            file.finish()?;
        }
    }
    Ok(Exit::Pass)
}

fn text(session: &Session, arguments: &Arguments, global: &Global) -> Result<String> {
    let figures = lab_compare::summarize_session(session);
    let recording = Recording { session, figures: &figures };
    let style = match arguments.output {
        Some(_) => Style { colour: false, width: None },
        None => global.color.table_style(),
    };
    Ok(match arguments.format {
        ExportFormat::Json | ExportFormat::Source => session_json::to_text(recording),
        ExportFormat::Csv => csv::to_text([session]),
        ExportFormat::Table => table::render(&page::session(recording), style),
        ExportFormat::Markdown => markdown::render(&page::session(recording)),
        ExportFormat::Workflow => workflow_text(session)?,
    })
}

/// What only the command knew when it ran is not in the store, and `null` here.
fn workflow_text(session: &Session) -> Result<String> {
    if session.header.workload().is_none() {
        let failure = Failure::usage(anyhow!(
            "session {} asked no engine to generate: it has no tokens to be operations",
            session.header.id
        ));
        return Err(match session.header.origin() {
            Origin::Imported => failure.hint("`--format source` gives the imported document back"),
            Origin::Measured => failure,
        });
    }
    let input = &session.header.plan_name;
    let invocation = Invocation { input, compile_ms: None, validation_ms: None, runtime_ms: None };
    Ok(workflow::to_text(&workflow::of_session(session, invocation)))
}

/// Copies an imported document out of the store, piece by piece.
fn export_source(arguments: &Arguments, session: &Session, store: &Store) -> Result<Exit> {
    let source = source(session, arguments.repetition)?;
    let mut reader = store.source(&source.sha256)?;
    let Some(path) = &arguments.output else {
        print_from(&mut reader)?;
        return Ok(Exit::Pass);
    };
    let mut file = Replacement::prepare(path, &[store.path()])?;
    io::copy(&mut reader, &mut file).map_err(|error| store::failure_of(error, |error| file.failed(error)))?;
    file.finish()?;
    Ok(Exit::Pass)
}

/// Finds the document that is meant: the only one, or that of a repetition.
fn source(session: &Session, repetition: Option<u32>) -> Result<&Source> {
    let sources: Vec<(u32, &Source)> = session
        .repetitions
        .iter()
        .filter_map(|recorded| match &recorded.repetition.outcome {
            Outcome::Imported(imported) => Some((recorded.repetition.index, &imported.source)),
            Outcome::Completed(_) | Outcome::Ran(_) | Outcome::Failed(_) => None,
        })
        .collect();
    let id = session.header.id;
    match (sources.as_slice(), repetition) {
        ([], _) => Err(Failure::usage(anyhow!("session {id} was measured here: no document was imported"))),
        ([(_, only)], None) => Ok(*only),
        (several, None) => Err(Failure::usage(anyhow!("session {id} has {} documents", several.len()))
            .hint(format!("`--repetition 0` to `--repetition {}` name one", several.len() - 1))),
        (known, Some(index)) => {
            let found = known.iter().find(|(own, _)| *own == index).map(|(_, source)| *source);
            found.ok_or_else(|| {
                Failure::usage(anyhow!("session {id} has no repetition {index}, but {} of them", known.len()))
            })
        }
    }
}
