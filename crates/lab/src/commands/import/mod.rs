//! `lab import`: documents of other tools, taken into the store as they are. Nothing is measured. One file a contract.

pub(crate) mod device;
mod intake;
mod read;
mod watch;
pub(crate) mod workflow;

use clap::Subcommand;

use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;

/// What `lab import` takes in, one contract each.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take in metrics documents of a workflow runtime (contract `workflow.v1`).
    Workflow(workflow::Arguments),
    /// Take in the metrics folders of edge devices (contract `device.v1`).
    Device(device::Arguments),
}

pub(crate) fn carry_out(command: &Command, global: &Global) -> Result<Exit> {
    match command {
        Command::Workflow(arguments) => workflow::carry_out(arguments, global),
        Command::Device(arguments) => device::carry_out(arguments, global),
    }
}

/// Reads the name of a tool from the command line, for every contract. One portable alphabet, as that of plans: the name is
/// part of the identity.
fn tool_name(text: &str) -> std::result::Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if starts_well && text.len() <= 64 && text.chars().all(is_allowed) {
        return Ok(text.to_owned());
    }
    Err("1 to 64 lower-case letters, digits, `-`, `_` and `.` were expected, a letter or digit first"
        .to_owned())
}
