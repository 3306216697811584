//! A failure on its way to the user: what happened, what to do about it, and the exit status.
//!
//! Libraries return errors as data. They get their words, hints and status here, where `From` reads as policy.

use std::fmt;

use crate::exit::Exit;

/// A failure on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
    pub(crate) hints: Vec<String>,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// The command line, the plan, or something they name is wrong.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::with(Exit::Usage, error)
    }

    /// The run failed, or this host cannot carry it out.
    pub(crate) fn run(error: impl Into<anyhow::Error>) -> Self {
        Self::with(Exit::RunFailed, error)
    }

    pub(crate) fn with(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hints: Vec::new() }
    }

    /// Returns what happened, without what to do about it.
    pub(crate) fn sentence(&self) -> String {
        ErrorChain(&self.error).to_string()
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", ErrorChain(&self.error))?;
        self.hints.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

/// Writes an error and its causes, leaving out a cause that the error in front of it already quotes.
struct ErrorChain<'a>(&'a anyhow::Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = String::new();
        for cause in self.0.chain() {
            let sentence = cause.to_string();
            if said.contains(&sentence) {
                continue;
            }
            if !said.is_empty() {
                said.push_str(": ");
            }
            said.push_str(&sentence);
        }
        f.write_str(&said)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn causes_follow_the_error_and_none_is_said_twice() {
        let error = Err::<(), _>(anyhow!("disk is full")).context("cannot write: disk is full").unwrap_err();
        let error = error.context("cannot run");
        let failure = Failure::run(error).hint("free some room");
        assert_eq!(failure.to_string(), "cannot run: cannot write: disk is full\nhint: free some room");
    }
}
