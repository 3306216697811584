//! What can be wrong with a GGUF file.

use std::io;
use std::path::PathBuf;

/// A GGUF file that could not be read or written, or that lacks what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The operating system refused.
    #[error("cannot {action} `{path}`", path = path.display())]
    Io {
        /// What was tried: `open`, `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The bytes are not a GGUF header that can be trusted.
    #[error("`{path}` is no readable GGUF file: at byte {offset}, {fault}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the fault starts, in bytes from the start of the file.
        offset: u64,
        /// What is wrong there.
        fault: Fault,
    },
    /// A key that is needed is absent.
    #[error("`{path}` lacks the metadata key `{key}`", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A key is present with another type or range than is needed.
    #[error("metadata key `{key}` of `{path}` is {found}, expected {expected}", path = path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What the file holds.
        found: String,
        /// What is needed.
        expected: &'static str,
    },
}

/// What is wrong at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file does not start with `GGUF`.
    #[error("expected the magic `GGUF`, found the bytes {found}")]
    Magic {
        /// The four bytes, in hexadecimal.
        found: String,
    },
    /// The version is not 2 or 3.
    #[error("format version {version} is not supported (2 and 3 are)")]
    Version {
        /// The version in the file.
        version: u32,
    },
    /// The header is written in big-endian order.
    #[error("the header is big-endian; convert the file to little-endian")]
    BigEndian,
    /// The file ends inside something.
    #[error("{what} needs {needed} bytes, but the file has only {left} left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes it takes.
        needed: u64,
        /// Bytes from here to the end of the file.
        left: u64,
    },
    /// A text is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// Which text.
        what: &'static str,
    },
    /// A metadata value has a type that GGUF does not define.
    #[error("the value of `{key}` has type {id}, expected 0 to 12")]
    ValueType {
        /// The key.
        key: String,
        /// The type in the file.
        id: u32,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean is {found}, expected 0 or 1")]
    Boolean {
        /// The byte in the file.
        found: u8,
    },
    /// Arrays in arrays, deeper than any model needs.
    #[error("the value of `{key}` nests arrays more than {limit} deep")]
    Nesting {
        /// The key.
        key: String,
        /// The deepest nesting that is read.
        limit: u32,
    },
    /// The same key twice.
    #[error("the metadata key `{key}` stands twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The same tensor name twice.
    #[error("the tensor `{tensor}` stands twice")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
    },
    /// `general.alignment` is no usable alignment.
    #[error("`general.alignment` is {found}, expected a power of two of at least 8")]
    Alignment {
        /// What the file holds.
        found: String,
    },
    /// A tensor type ggml does not define.
    #[error("tensor `{tensor}` has type {id}, which ggml does not define")]
    TensorType {
        /// The tensor.
        tensor: String,
        /// The type in the file.
        id: u32,
    },
    /// A tensor with no dimension, too many, or an empty one.
    #[error("tensor `{tensor}` has the dimensions {found}, expected 1 to 4 of at least 1")]
    Dimensions {
        /// The tensor.
        tensor: String,
        /// The dimensions, or their number.
        found: String,
    },
    /// A row that does not consist of whole blocks.
    #[error(
        "rows of tensor `{tensor}` have {row} elements, expected a multiple of {block} for {tensor_type}"
    )]
    PartialBlock {
        /// The tensor.
        tensor: String,
        /// Elements of a row.
        row: u64,
        /// Elements of a block.
        block: u64,
        /// The tensor's type.
        tensor_type: &'static str,
    },
    /// A tensor whose data starts off the alignment.
    #[error("the data of tensor `{tensor}` starts at {start}, expected a multiple of {alignment}")]
    Misaligned {
        /// The tensor.
        tensor: String,
        /// Offset in the data section.
        start: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// A tensor whose data lies outside the file.
    #[error("the data of tensor `{tensor}` would end at byte {end}, but the file has {file_bytes} bytes")]
    OutsideFile {
        /// The tensor.
        tensor: String,
        /// Where the data ends, in bytes from the start of the file; saturated.
        end: u64,
        /// Length of the file.
        file_bytes: u64,
    },
}
