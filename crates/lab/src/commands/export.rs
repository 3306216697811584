//! `lab export`: one session in another format.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use lab_formats::table::Style;
use lab_formats::{Recording, csv, markdown, page, session_json, table};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::store;
use crate::terminal::{print, say};

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
}

/// What `lab export` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lab export @latest --format csv > session.csv\n  lab export @latest --format markdown --output results/today.md"
)]
pub(crate) struct Arguments {
    /// The session: an id, a part of one that is unique, `@latest`, `@latest~1`, `@NAME` of a baseline.
    session: String,
    /// The format.
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: ExportFormat,
    /// Writes to a file instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let store = store::open(global)?;
    let session = store::load(&store, &arguments.session)?;
    let figures = lab_compare::summarize_session(&session);
    let recording = Recording { session: &session, figures: &figures };
    let style = match arguments.output {
        Some(_) => Style { colour: false, width: None },
        None => global.color.table_style(),
    };
    let text = match arguments.format {
        ExportFormat::Json => session_json::to_text(recording),
        ExportFormat::Csv => csv::to_text([&session]),
        ExportFormat::Table => table::render(&page::session(recording), style),
        ExportFormat::Markdown => markdown::render(&page::session(recording)),
    };
    match &arguments.output {
        None => print(&text)?,
        Some(path) => {
            std::fs::write(path, text)
                .with_context(|| format!("cannot write `{}`", path.display()))
                .map_err(Failure::usage)?;
            say(&format!("wrote {}", path.display()));
        }
    }
    Ok(Exit::Pass)
}
