//! `lab launch-engine …`: set the conditions of an engine process and become it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
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
    /// The engine's program.
    program: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn carry_out(arguments: &Arguments) -> Result<Exit> {
    let Arguments { harness, cores, program, arguments } = arguments;
    let conditions = Conditions {
        harness: *harness,
        cores: cores.clone(),
        program: program.clone(),
        arguments: arguments.clone(),
    };
    let error = become_engine(&conditions);
    Err(error).with_context(|| format!("cannot start `{}`", program.display())).map_err(Failure::run)
}
