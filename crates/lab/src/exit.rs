//! The contract with scripts and CI. `docs/exit-codes.md` explains each; a test holds the two together.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; nothing to object to.
    Pass,
    /// A comparison came out beyond tolerance, or a verification found damage.
    NotReproduced,
    /// The command line, the plan, or something it names is wrong.
    Usage,
    /// The comparison may not be made.
    Refused,
    /// The run failed or is invalid, or this host cannot carry it out.
    RunFailed,
    /// A mistake of lab's own.
    Bug,
    /// The user stopped it (128 + SIGINT).
    Interrupted,
}

impl Exit {
    /// All of them, for the test that reads the documentation.
    #[cfg(test)]
    const ALL: [Self; 7] = [
        Self::Pass,
        Self::NotReproduced,
        Self::Usage,
        Self::Refused,
        Self::RunFailed,
        Self::Bug,
        Self::Interrupted,
    ];

    /// Returns the status the process ends with.
    pub(crate) const fn status(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::NotReproduced => 1,
            Self::Usage => 2,
            Self::Refused => 4,
            Self::RunFailed => 5,
            Self::Bug => 70,
            Self::Interrupted => 130,
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
        for exit in Exit::ALL {
            assert!(documented.contains(&exit.status()), "{exit:?} is not in docs/exit-codes.md");
        }
        // 3 is reserved for the verdict `inconclusive`, which no command of this version can reach.
        assert_eq!(documented, [0, 1, 2, 3, 4, 5, 70, 130]);
    }
}
