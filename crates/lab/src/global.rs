//! Options of every command.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use lab_host::Roots;

use crate::failure::{Failure, Result};
use crate::terminal::Colour;

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The store of sessions.
    #[arg(long, global = true, env = "LAB_STORE", value_name = "PATH", default_value = "results/lab.sqlite")]
    pub(crate) store: PathBuf,
    /// Where models are kept [default: `lab` in the user's cache folder].
    #[arg(long, global = true, env = "LAB_CACHE", value_name = "FOLDER")]
    pub(crate) cache: Option<PathBuf>,
    /// Where to read what the kernel tells of the hardware, in place of `/sys`: for testing without the hardware.
    #[arg(long, global = true, env = "LAB_SYSFS_ROOT", value_name = "FOLDER", default_value = "/sys")]
    pub(crate) sysfs_root: PathBuf,
    /// Where to read what the kernel tells of the machine, in place of `/proc`; processes are always looked up in `/proc`.
    #[arg(long, global = true, env = "LAB_PROCFS_ROOT", value_name = "FOLDER", default_value = "/proc")]
    pub(crate) procfs_root: PathBuf,
    /// When to colour.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Colour,
}

impl Global {
    /// Returns where the machine is looked at.
    pub(crate) fn roots(&self) -> Result<Roots> {
        for (flag, folder) in [("--procfs-root", &self.procfs_root), ("--sysfs-root", &self.sysfs_root)] {
            if !folder.is_dir() {
                return Err(Failure::usage(anyhow!("`{flag} {}` names no folder", folder.display())));
            }
        }
        Ok(Roots::new(&self.procfs_root, &self.sysfs_root))
    }
}
