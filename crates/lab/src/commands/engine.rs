//! `lab engine …`: be an engine process.

use std::fs::{File, OpenOptions};
use std::io;

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use lab_core::clock::Clock;
use lab_core::engine::Engine;
use lab_core::plan::Script;
use lab_engine::delayed::{Delay, Delayed};
use lab_engine::launcher::PROTOCOL_FD;
use lab_engine::layout;
use lab_engine::scripted::Scripted;
use lab_engine::serve::serve;
use lab_engine::wander::Wandering;
use lab_host::clock::{Monotonic, ProcessCpu};

use crate::BuiltIn;
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Which engine to be.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The built-in engine on candle.
    Candle {
        /// Be slower by a known amount.
        #[arg(long)]
        delay: Option<Delay>,
    },
    /// The scripted engine.
    Scripted {
        /// What to do, as JSON.
        #[arg(long)]
        script: String,
        /// Position of the launch in its session.
        #[arg(long)]
        launch: u32,
        /// Be slower by a known amount.
        #[arg(long)]
        delay: Option<Delay>,
    },
}

pub(crate) fn carry_out(command: &Command, built_in: Option<BuiltIn>) -> Result<Exit> {
    match command {
        Command::Candle { delay } => candle(built_in, *delay),
        Command::Scripted { script, launch, delay } => scripted(script, *launch, *delay),
    }
}

/// Leaves as much of the heap unused as the layout of the launch says: every later block lies that much further on. Only
/// on a heap that is still new: later, free blocks in between would take the bytes, and nothing would move.
pub(crate) fn move_heap() -> Result<()> {
    let Ok(text) = std::env::var(layout::HEAP) else {
        return Ok(());
    };
    let unfit = || format!("`{}` is `{text}`, not a number of bytes below 65536", layout::HEAP);
    let n_bytes: u16 = text.parse().with_context(unfit).map_err(Failure::usage)?;
    // Never given back, and never touched: it takes addresses and no memory.
    std::mem::forget(std::hint::black_box(Vec::<u8>::with_capacity(n_bytes.into())));
    Ok(())
}

fn candle(built_in: Option<BuiltIn>, delay: Option<Delay>) -> Result<Exit> {
    let Some(make) = built_in else {
        return Err(Failure::usage(anyhow!("this build of lab has no built-in engine"))
            .hint("build it with the default feature `candle`"));
    };
    let resolution_ns = lab_host::clock::resolution_ns().map_err(Failure::run)?;
    answer(make(&Monotonic, resolution_ns), delay, standing_still())
}

fn scripted(script: &str, launch: u32, delay: Option<Delay>) -> Result<Exit> {
    let script: Script =
        serde_json::from_str(script).context("cannot read the script").map_err(Failure::usage)?;
    answer(Scripted::new(script, launch, &Monotonic, Box::new(answers()?)), delay, None)
}

/// Returns a clock that counts the work of the built-in engine and stands still while it is paused: the CPU time of a single
/// thread. That of several counts them all at once.
fn standing_still() -> Option<&'static dyn Clock> {
    let has_one_thread = std::env::var("RAYON_NUM_THREADS").is_ok_and(|own| own == "1");
    has_one_thread.then_some(&ProcessCpu)
}

/// Serves an engine: one that wanders where a layout says where its memory lies, for one place says too little. `pausing` is the
/// clock of a delay, if there is one that stands still while the engine is paused.
fn answer(engine: impl Engine, delay: Option<Delay>, pausing: Option<&dyn Clock>) -> Result<Exit> {
    match std::env::var_os(layout::PADDING) {
        None => answer_delayed(engine, delay, pausing),
        Some(padding) => answer_delayed(Wandering::new(engine, padding.len()), delay, pausing),
    }
}

fn answer_delayed(
    mut engine: impl Engine,
    delay: Option<Delay>,
    pausing: Option<&dyn Clock>,
) -> Result<Exit> {
    match delay {
        None => converse(&mut engine),
        Some(delay) => converse(&mut Delayed::new(engine, delay, &Monotonic, pausing)),
    }
}

fn converse(engine: &mut dyn Engine) -> Result<Exit> {
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
