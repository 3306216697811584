//! `lab completions …`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::Result;
use crate::terminal::print;

/// What `lab completions` takes.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lab completions bash > ~/.local/share/bash-completion/completions/lab")]
pub(crate) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(crate) fn carry_out(arguments: &Arguments) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "lab", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Pass)
}
