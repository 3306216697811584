//! Options of every command.

use std::path::PathBuf;

use clap::Args;

use crate::terminal::Colour;

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The store of sessions.
    #[arg(long, global = true, env = "LAB_STORE", value_name = "PATH", default_value = "results/lab.sqlite")]
    pub(crate) store: PathBuf,
    /// Where models are kept [default: `lab` in the user's cache folder].
    #[arg(long, global = true, env = "LAB_CACHE", value_name = "FOLDER")]
    pub(crate) cache: Option<PathBuf>,
    /// When to colour.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Colour,
}
