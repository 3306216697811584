//! Running lab's own commands, as a user would.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use lab_engine::launcher;

use crate::failure::{Failure, Result};
use crate::global::Global;

/// Returns a command of this very program, with the global options that this one was given. It is to be started by the main
/// thread, and ends in order when this lab ends.
///
/// Whatever ends this lab (SIGTERM, SIGINT, SIGKILL), the kernel then sends the command a SIGTERM, and it does what it does
/// when a user stops it: it takes its engine down and records that it was interrupted. It has a process group of its own, so
/// that Ctrl-C in a terminal reaches it by that way alone: a second signal would end it at once.
///
/// # Errors
///
/// When the program cannot be found.
pub(crate) fn command(name: &str, global: &Global) -> Result<Command> {
    let own = std::env::current_exe().context("cannot find lab itself").map_err(Failure::run)?;
    let mut command = Command::new(own);
    command.process_group(0).arg(name).arg("--ends-with").arg(std::process::id().to_string());
    command.arg("--store").arg(&global.store);
    command.args(global.cache.iter().flat_map(|cache| [Path::new("--cache"), cache]));
    command.arg("--sysfs-root").arg(&global.sysfs_root).arg("--procfs-root").arg(&global.procfs_root);
    Ok(command)
}

/// Lets this lab end with the one that started it.
///
/// # Errors
///
/// When that one is gone already.
pub(crate) fn end_with(starter: u32) -> Result<()> {
    launcher::end_with(starter).context("cannot end with the lab that started this one").map_err(Failure::run)
}
