//! Running lab's own commands, as a user would.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::failure::{Failure, Result};
use crate::global::Global;

/// Returns a command of this very program, with the global options that this one was given.
///
/// # Errors
///
/// When the program cannot be found.
pub(crate) fn command(name: &str, global: &Global) -> Result<Command> {
    let own = std::env::current_exe().context("cannot find lab itself").map_err(Failure::run)?;
    let mut command = Command::new(own);
    command.arg(name).arg("--store").arg(&global.store);
    command.args(global.cache.iter().flat_map(|cache| [Path::new("--cache"), cache]));
    command.arg("--sysfs-root").arg(&global.sysfs_root).arg("--procfs-root").arg(&global.procfs_root);
    Ok(command)
}
