//! What a verification can find.

use std::fmt;
use std::path::PathBuf;

use lab_core::digest::Digest;
use lab_core::metric::Reading;
use lab_core::record::SessionId;

/// One thing that does not agree.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// SQLite's own check complains.
    Integrity {
        /// What it says.
        message: String,
    },
    /// An object that lab creates is not there.
    SchemaMissing {
        /// `table`, `index` or `trigger`.
        kind: String,
        /// Its name.
        name: String,
    },
    /// An object is there under the right name and with other SQL.
    SchemaChanged {
        /// `table`, `index` or `trigger`.
        kind: String,
        /// Its name.
        name: String,
    },
    /// An object that lab does not create.
    SchemaForeign {
        /// `table`, `index`, `trigger` or `view`.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A row refers to one that is not there.
    BrokenReference {
        /// The table of the row.
        table: String,
        /// The table of the row that is missing.
        parent: String,
    },
    /// A row is not what it was when it was recorded.
    RowChanged {
        /// The row.
        subject: String,
    },
    /// A row that no link of the chain is about.
    RowWithoutLink {
        /// The row.
        subject: String,
    },
    /// A link about a row that is gone.
    LinkWithoutRow {
        /// Position of the link.
        seq: i64,
        /// The row.
        subject: String,
    },
    /// A second link about the same row.
    LinkedTwice {
        /// Position of the second link.
        seq: i64,
        /// The row.
        subject: String,
    },
    /// Links are missing.
    ChainGap {
        /// Position of the last link before the gap; 0 when the chain does not begin at 1.
        after: i64,
        /// Position of the link after it.
        found: i64,
    },
    /// A link does not continue from the head before it.
    ChainBroken {
        /// Position of the link.
        seq: i64,
    },
    /// A link's head is not the digest of its content.
    HeadMismatch {
        /// Position of the link.
        seq: i64,
    },
    /// The head kept elsewhere is not among the heads of the chain.
    HeadUnknown {
        /// The head kept elsewhere.
        expected: Digest,
    },
    /// A fingerprint part is not what its digest says.
    PartMismatch {
        /// The digest it is stored under.
        digest: String,
        /// The digest of its content.
        actual: Digest,
    },
    /// A column disagrees with the body of its row.
    ColumnMismatch {
        /// The row.
        subject: String,
        /// The column.
        column: &'static str,
    },
    /// A published measurement is not what the raw data give.
    NotRederived {
        /// The session.
        session: SessionId,
        /// Position of the repetition in it.
        repetition: u32,
        /// The metric's full id.
        metric: String,
        /// What was published.
        stored: Reading<f64>,
        /// What the raw data give.
        derived: Reading<f64>,
    },
    /// The stored bytes of an imported file are not those that its digest is of.
    SourceDamaged {
        /// The digest of the file.
        digest: Digest,
        /// What is wrong.
        message: String,
    },
    /// A row says that raw data left, and they are still there, or no row is there that they could have left.
    ArchivedWithoutRow {
        /// What is said to have left, as the chain names it.
        subject: String,
    },
    /// An archive does not hold what left the store.
    ArchiveDamaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Measurements of a warm-up or a failure.
    UnexpectedMeasurements {
        /// The session.
        session: SessionId,
        /// Position of the repetition in it.
        repetition: u32,
    },
    /// Damage kept a check from being made.
    Unchecked {
        /// What was to be checked.
        what: &'static str,
        /// What stood in the way.
        message: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integrity { message } => write!(f, "SQLite's integrity check: {message}"),
            Self::SchemaMissing { kind, name } => write!(f, "the {kind} `{name}` is missing from the schema"),
            Self::SchemaChanged { kind, name } => write!(f, "the {kind} `{name}` is not as lab creates it"),
            Self::SchemaForeign { kind, name } => write!(f, "the {kind} `{name}` is not of lab's making"),
            Self::BrokenReference { table, parent } => {
                write!(f, "a row of `{table}` refers to a row of `{parent}` that is not there")
            }
            Self::RowChanged { subject } => write!(f, "`{subject}` is not what was recorded"),
            Self::RowWithoutLink { subject } => write!(f, "`{subject}` has no link in the chain"),
            Self::LinkWithoutRow { seq, subject } => {
                write!(f, "`{subject}`, recorded by link {seq}, is gone")
            }
            Self::LinkedTwice { seq, subject } => write!(f, "link {seq} records `{subject}` a second time"),
            Self::ChainGap { after, found } => write!(f, "the chain goes from link {after} to link {found}"),
            Self::ChainBroken { seq } => write!(f, "link {seq} does not continue from the head before it"),
            Self::HeadMismatch { seq } => {
                write!(f, "the head of link {seq} is not the digest of its content")
            }
            Self::HeadUnknown { expected } => write!(
                f,
                "the chain never had the expected head {expected}: rows were cut off its end, it was rebuilt, or \
                 the head is another store's"
            ),
            Self::PartMismatch { digest, actual } => {
                write!(f, "the fingerprint part stored under {digest} has the digest {actual}")
            }
            Self::ColumnMismatch { subject, column } => {
                write!(f, "column `{column}` of `{subject}` disagrees with the row's own body")
            }
            Self::NotRederived { session, repetition, metric, stored, derived } => write!(
                f,
                "`{metric}` of repetition {repetition} of session {session} was published as {}, and its raw data \
                 give {}",
                Shown(stored),
                Shown(derived)
            ),
            Self::UnexpectedMeasurements { session, repetition } => write!(
                f,
                "repetition {repetition} of session {session} is a warm-up or a failure and has measurements"
            ),
            Self::SourceDamaged { digest, message } => {
                write!(
                    f,
                    "the stored bytes of the imported file {digest} are not what was imported: {message}"
                )
            }
            Self::ArchivedWithoutRow { subject } => {
                write!(
                    f,
                    "the raw data of `{subject}` are said to have left, and no row is there that they left"
                )
            }
            Self::ArchiveDamaged { path, message } => {
                write!(f, "the archive `{}` does not hold what left the store: {message}", path.display())
            }
            Self::Unchecked { what, message } => write!(f, "{what} could not be checked: {message}"),
        }
    }
}

/// A reading in a sentence.
struct Shown<'a>(&'a Reading<f64>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reading::Value(value) => write!(f, "{value}"),
            Reading::Unavailable(reason) => write!(f, "unavailable ({reason})"),
        }
    }
}
