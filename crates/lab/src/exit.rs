//! The contract with scripts and CI. `docs/exit-codes.md` explains each; a test holds the two together.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; nothing to object to.
    Pass,
    /// A comparison came out beyond tolerance, a limit is broken, a verification found damage, or measuring costs more than
    /// the margin.
    NotReproduced,
    /// The command line, the plan, or something it names is wrong.
    Usage,
    /// The data cannot tell: no verdict.
    Inconclusive,
    /// The comparison may not be made.
    Refused,
    /// The run failed or is invalid, or this host cannot carry it out.
    RunFailed,
    /// A mistake of lab's own.
    Bug,
    /// The user stopped it (128 + SIGINT).
    Interrupted,
    /// That of the command that `lab measure` ran, whatever it means there.
    Command(u8),
}

impl Exit {
    /// All that are lab's own.
    const ALL: [Self; 8] = [
        Self::Pass,
        Self::NotReproduced,
        Self::Usage,
        Self::Inconclusive,
        Self::Refused,
        Self::RunFailed,
        Self::Bug,
        Self::Interrupted,
    ];

    /// Returns what a status of one of lab's own commands means; nothing for a status that none of them ends with.
    pub(crate) fn of_status(status: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.status() == status)
    }

    /// Returns the status the process ends with.
    pub(crate) const fn status(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::NotReproduced => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Refused => 4,
            Self::RunFailed => 5,
            Self::Bug => 70,
            Self::Interrupted => 130,
            Self::Command(status) => status,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_stands_in_the_documentation() {
        let page = include_str!("../../../docs/exit-codes.md");
        let documented: Vec<u8> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"))
            .filter_map(|(status, _)| status.trim().parse().ok())
            .collect();
        let own = Exit::ALL.map(Exit::status);
        assert_eq!(documented, own);
    }
}
