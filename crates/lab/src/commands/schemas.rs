//! `lab schemas`: writes what `schemas/` holds.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use lab_measure::summary::SummaryDocument;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::terminal::say;

/// What `lab schemas` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder to write to.
    #[arg(long, value_name = "FOLDER", default_value = "schemas")]
    output: PathBuf,
}

/// Returns the schema of a summary, which `lab-measure` defines: that crate stands apart from the formats.
fn summary() -> (String, String) {
    let name = "smoke.v1";
    let schema = SummaryDocument::schema();
    (format!("{name}.json"), lab_formats::schemas::text(name, "summary of a run, smoke.v1", schema))
}

pub(crate) fn carry_out(arguments: &Arguments) -> Result<Exit> {
    let folder = &arguments.output;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))
        .map_err(Failure::usage)?;
    for (name, text) in lab_formats::schemas::all().into_iter().chain([summary()]) {
        let path = folder.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("cannot write `{}`", path.display()))
            .map_err(Failure::usage)?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(Exit::Pass)
}
