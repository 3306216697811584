//! `lab launch-engine …`: set the conditions of an engine process and become it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use lab_core::experiment::Layout;
use lab_engine::launcher::{Conditions, become_engine};

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// What `lab launch-engine` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Process id of the harness, with which the engine is to die.
    #[arg(long)]
    harness: u32,
    /// CPU numbers the engine may run on.
    #[arg(long, value_delimiter = ',')]
    cores: Vec<u32>,
    /// Where the engine's memory is to begin, as JSON; absent leaves that to the kernel.
    #[arg(long, value_name = "JSON", value_parser = layout)]
    layout: Option<Layout>,
    /// The engine's program.
    program: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

fn layout(text: &str) -> std::result::Result<Layout, serde_json::Error> {
    serde_json::from_str(text)
}

pub(crate) fn carry_out(arguments: &Arguments) -> Result<Exit> {
    let Arguments { harness, cores, layout, program, arguments } = arguments;
    let conditions = Conditions {
        harness: *harness,
        cores: cores.clone(),
        layout: *layout,
        program: program.clone(),
        arguments: arguments.clone(),
    };
    let error = become_engine(&conditions);
    Err(error).with_context(|| format!("cannot start `{}`", program.display())).map_err(Failure::run)
}
