//! `lab measure` where measuring is switched off: this process becomes the command.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use lab_core::command::RowsSource;
use lab_measure::command::{NOT_FOUND, NOT_STARTED, ROWS_FD, ROWS_FILE};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::terminal::say;

/// Where rows go that nobody asks for.
const NOWHERE: &str = "/dev/null";

/// Becomes the command, and returns only where that fails. A command that reports its rows finds where to, as it does where
/// measuring is on.
pub(super) fn carry_out(words: &[OsString], rows: &RowsSource) -> Result<Exit> {
    say("note: `LAB_MEASURE` is `off`: the command runs, and nothing is measured");
    let (program, arguments) = words.split_first().expect("the command line demands a program");
    let mut command = Command::new(program);
    command.args(arguments).env_remove(ROWS_FILE).env_remove(ROWS_FD);
    let nowhere = (*rows == RowsSource::Reported).then(nowhere).transpose().map_err(Failure::run)?;
    if let Some(file) = &nowhere {
        command.env(ROWS_FILE, NOWHERE).env(ROWS_FD, file.as_raw_fd().to_string());
    }
    let error = command.exec();
    let status = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED };
    say(&format!("error: `{}` cannot be started: {error}", program.display()));
    Ok(Exit::Command(status))
}

/// Opens a descriptor that stays open in what this process becomes.
fn nowhere() -> io::Result<File> {
    let file = OpenOptions::new().append(true).open(NOWHERE)?;
    fcntl_setfd(&file, FdFlags::empty())?;
    Ok(file)
}
