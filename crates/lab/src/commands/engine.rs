//! `lab engine …`: be an engine process.

use std::fs::{File, OpenOptions};
use std::io;

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use lab_core::engine::Engine;
use lab_core::plan::Script;
use lab_engine::launcher::PROTOCOL_FD;
use lab_engine::scripted::Scripted;
use lab_engine::serve::serve;
use lab_host::clock::Monotonic;

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Which engine to be.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The built-in engine on candle.
    Candle,
    /// The scripted engine.
    Scripted {
        /// What to do, as JSON.
        #[arg(long)]
        script: String,
        /// Position of the launch in its session.
        #[arg(long)]
        launch: u32,
    },
}

pub(crate) fn carry_out(command: &Command) -> Result<Exit> {
    match command {
        Command::Candle => candle(),
        Command::Scripted { script, launch } => scripted(script, *launch),
    }
}

#[cfg(feature = "candle")]
fn candle() -> Result<Exit> {
    let resolution_ns = lab_host::clock::resolution_ns().map_err(Failure::run)?;
    answer(&mut lab_candle::Candle::new(&Monotonic, resolution_ns))
}

#[cfg(not(feature = "candle"))]
fn candle() -> Result<Exit> {
    Err(Failure::usage(anyhow!("this build of lab has no built-in engine"))
        .hint("build it with the default feature `candle`"))
}

fn scripted(script: &str, launch: u32) -> Result<Exit> {
    let script: Script =
        serde_json::from_str(script).context("cannot read the script").map_err(Failure::usage)?;
    answer(&mut Scripted::new(script, launch, &Monotonic, Box::new(answers()?)))
}

fn answer(engine: &mut dyn Engine) -> Result<Exit> {
    let mut answers = answers()?;
    serve(engine, &Monotonic, &mut io::stdin().lock(), &mut answers).map_err(Failure::run)?;
    Ok(Exit::Pass)
}

/// Opens the private descriptor that the launcher left.
fn answers() -> Result<File> {
    let descriptor = std::env::var(PROTOCOL_FD)
        .map_err(|_| anyhow!("`{PROTOCOL_FD}` is not set: an engine is started by `lab run`"))
        .map_err(Failure::usage)?;
    let opened = OpenOptions::new().write(true).open(format!("/proc/self/fd/{descriptor}"));
    opened.with_context(|| format!("cannot open descriptor {descriptor}")).map_err(Failure::usage)
}
