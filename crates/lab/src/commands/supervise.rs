//! `lab supervise`: run a command once, watch it, and answer what was measured; started by lab itself.

use anyhow::Context as _;
use clap::Args;
use lab_engine::launcher;
use lab_measure::command::Descendants;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::measured;
use crate::supervisor::{Answer, Request};
use crate::terminal::print;

/// What `lab supervise` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to run, as JSON.
    request: String,
}

pub(crate) fn carry_out(arguments: &Arguments) -> Result<Exit> {
    let request: Request = serde_json::from_str(&arguments.request)
        .context("cannot read the request")
        .map_err(Failure::usage)?;
    launcher::pin_to(&request.cores).context("cannot keep to the plan's cores").map_err(Failure::run)?;
    // Orphans of the command stay here while it runs, and go on to the process that started this one.
    let _adopted = Descendants::from_now_on("/proc")
        .context("cannot keep track of what the command starts")
        .map_err(Failure::run)?;
    let answer = match request.run().carry_out() {
        Ok(finished) => {
            let limit = Some(request.timeout());
            Answer::Ran(Box::new(measured::command_run(&finished, request.run_id, request.rows, limit)))
        }
        Err(error) => Answer::NotRun(Failure::run(error).sentence()),
    };
    print(&(serde_json::to_string(&answer).expect("an answer serialises to JSON") + "\n"))?;
    Ok(Exit::Pass)
}
