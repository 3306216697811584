//! `lab supervise`: run a command once, watch it, and answer what was measured; started by lab itself.

use std::fs::File;
use std::io;

use anyhow::Context as _;
use clap::Args;
use lab_engine::launcher;
use lab_measure::command::{Descendants, GRACE};
use rustix::process::getppid;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::measured;
use crate::supervisor::{Answer, Request};
use crate::terminal::print;

/// What `lab supervise` takes: nothing. What to run is on standard input, as JSON.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

pub(crate) fn carry_out(_arguments: &Arguments) -> Result<Exit> {
    let request = take_request()?;
    launcher::pin_to(&request.cores).context("cannot keep to the plan's cores").map_err(Failure::run)?;
    let starter = getppid();
    // Orphans of the command stay here while it runs, and go on to the process that started this one.
    let mut adopted = Descendants::from_now_on("/proc")
        .context("cannot keep track of what the command starts")
        .map_err(Failure::run)?;
    let answer = match request.run().carry_out() {
        Ok(finished) => {
            let limit = Some(request.timeout());
            Answer::Ran(Box::new(measured::command_run(&finished, request.run_id, request.rows, limit)))
        }
        Err(error) => Answer::NotRun(Failure::run(error).sentence()),
    };
    if getppid() != starter {
        // It is gone, and what the command left is nobody's to end.
        let _left = adopted.end(GRACE);
    }
    print(&(serde_json::to_string(&answer).expect("an answer serialises to JSON") + "\n"))?;
    Ok(Exit::Pass)
}

/// Reads standard input to its end, and leaves an empty one for the command.
fn take_request() -> Result<Request> {
    let text = io::read_to_string(io::stdin()).context("cannot read the request").map_err(Failure::usage)?;
    let request = serde_json::from_str(&text).context("cannot read the request").map_err(Failure::usage)?;
    let nothing = File::open("/dev/null").context("cannot open `/dev/null`").map_err(Failure::run)?;
    rustix::stdio::dup2_stdin(&nothing).context("cannot close standard input").map_err(Failure::run)?;
    Ok(request)
}
