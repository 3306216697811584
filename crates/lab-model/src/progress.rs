//! How far a long piece of work has come.

use std::fmt;

/// One report of progress. Reports of a stage come in order; `done` never falls within a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
}

/// What is being done with a model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Another lab works on the same model; this one waits for it.
    Waiting,
    /// Bytes come from elsewhere.
    Downloading,
    /// A file that exists is being hashed.
    Hashing,
    /// A member is taken out of an archive.
    Extracting,
    /// Synthetic weights are drawn and written.
    Writing,
    /// Weights are rewritten in another tensor type.
    Requantizing,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting for another lab",
            Self::Downloading => "downloading",
            Self::Hashing => "hashing",
            Self::Extracting => "extracting",
            Self::Writing => "writing",
            Self::Requantizing => "requantizing",
        })
    }
}
