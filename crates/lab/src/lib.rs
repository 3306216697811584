//! The `lab` command, all but the built-in engine: arguments, wiring, words for errors, exit status.
//!
//! It is a library so that the program can be linked with the engine's code in front of it (`main.rs`).

mod amount;
mod backend;
mod bench;
mod beside;
mod broker;
mod cli;
mod command_plan;
mod commands;
mod exit;
mod failure;
mod global;
mod identity;
mod imported;
mod instruments;
mod itself;
mod launch;
mod measured;
mod plan_file;
mod prepare;
mod progress;
mod recording;
mod store;
mod subject;
mod supervisor;
mod terminal;
mod whole_file;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use lab_core::clock::Clock;
use lab_core::engine::Engine;

use crate::cli::Cli;
use crate::commands::engine;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::say;

/// Makes the built-in engine, given the clock that it stamps tokens with and the resolution of that clock in nanoseconds.
pub type BuiltIn = fn(&'static dyn Clock, u64) -> Box<dyn Engine>;

/// Carries out what the arguments of this process ask for and returns its exit status. Without a built-in engine everything
/// else works.
pub fn main(built_in: Option<BuiltIn>) -> ExitCode {
    // The first thing of all: nothing may have been allocated and freed before.
    if let Err(failure) = engine::move_heap() {
        return tell(&failure).into();
    }
    // Not clap's `arg_required_else_help`: an option set in the environment counts as an argument there.
    if std::env::args_os().len() < 2 {
        say(&Cli::command().render_long_help().to_string());
        return Exit::Usage.into();
    }
    let Cli { global, ends_with, command } = Cli::parse();
    if let Some(failure) = ends_with.and_then(|starter| itself::end_with(starter).err()) {
        return tell(&failure).into();
    }
    // The panic's own message is already on standard error.
    let outcome = catch_unwind(AssertUnwindSafe(|| command.carry_out(&global, built_in)));
    let exit = match outcome {
        Ok(Ok(exit)) => exit,
        Ok(Err(failure)) => tell(&failure),
        Err(_) => {
            say("error: this is a bug in lab, not a mistake of yours; please report the lines above");
            Exit::Bug
        }
    };
    exit.into()
}

fn tell(failure: &Failure) -> Exit {
    say(&format!("error: {failure}"));
    failure.exit
}
