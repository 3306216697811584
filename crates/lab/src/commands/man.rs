//! `lab man`

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::terminal::{print, say};

/// What `lab man` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lab man | man -l -\n  lab man --output ~/.local/share/man/man1")]
pub(crate) struct Arguments {
    /// Writes a page for every command into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

pub(crate) fn carry_out(arguments: &Arguments) -> Result<Exit> {
    match &arguments.output {
        None => print_main_page()?,
        Some(folder) => write_all(folder)?,
    }
    Ok(Exit::Pass)
}

fn print_main_page() -> Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(Failure::run)?;
    print(&String::from_utf8_lossy(&page))
}

fn write_all(folder: &Path) -> Result<()> {
    let write =
        || std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    write().with_context(|| format!("cannot write to `{}`", folder.display())).map_err(Failure::usage)?;
    say(&format!("wrote the manual pages to {}", folder.display()));
    Ok(())
}
