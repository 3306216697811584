//! What goes where: data to standard output, talk to standard error, colour only to people.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Read, Write as _};

use clap::ValueEnum;
use lab_formats::table::Style;

use crate::failure::{Failure, Result};
use crate::store;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Data for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table to read.
    Table,
    /// A versioned JSON document.
    Json,
}

impl Colour {
    fn is_on(self, is_terminal: bool) -> bool {
        // https://no-color.org: set and not empty.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self {
            Self::Auto => is_terminal && !refused,
            Self::Always => true,
            Self::Never => false,
        }
    }

    /// Returns the style of tables on standard output.
    pub(crate) fn table_style(self) -> Style {
        Style { colour: self.is_on(io::stdout().is_terminal()), width: terminal_width() }
    }

    /// Returns whether standard error takes colour.
    pub(crate) fn on_stderr(self) -> bool {
        self.is_on(io::stderr().is_terminal())
    }
}

/// Returns the width of the terminal behind standard output, in columns.
fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// Writes data to standard output. A reader that hangs up early (`lab list | head`) is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::run(anyhow::Error::new(error).context("cannot write to standard output")))
        }
        _ => Ok(()),
    }
}

/// Writes data to standard output as it comes, without holding it.
pub(crate) fn print_from(reader: &mut dyn Read) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match io::copy(reader, &mut stdout).and_then(|_| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let otherwise =
                |error| Failure::run(anyhow::Error::new(error).context("cannot write to standard output"));
            Err(store::failure_of(error, otherwise))
        }
        _ => Ok(()),
    }
}

/// Writes a line of talk to standard error.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell when standard error is gone.
    drop(writeln!(io::stderr().lock(), "{}", harmless(line)));
}

/// Returns a text as a terminal may be given it: names of files and words of documents come from anywhere, and a control
/// character in them moves the cursor, or worse.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if is_harmful(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}
