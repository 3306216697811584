//! GGUF files: the header of versions 2 and 3, read with suspicion and written as a stream.
//!
//! Only the header is held in memory; tensor data stays in the file. The format is described in ggml's
//! `docs/gguf.md`.

mod error;
mod file_type;
mod read;
mod tensor_type;
mod value;
mod write;

use std::path::{Path, PathBuf};

pub use error::{Fault, GgufError};
pub use tensor_type::TensorType;
pub use value::{Array, Metadata, Value};
pub use write::{HeaderLayout, TensorPlan, encode_entry, write_header};

/// The alignment of tensor data where `general.alignment` is absent, in bytes.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// The header of a GGUF file.
#[derive(Debug, Clone)]
pub struct Gguf {
    path: PathBuf,
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    alignment: u64,
    data_offset: u64,
    file_bytes: u64,
}

/// A tensor as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// How its elements are packed.
    pub tensor_type: TensorType,
    /// Sizes with the row length first, as ggml orders them. One to four, each at least 1.
    pub dimensions: Vec<u64>,
    /// Where its data starts, in bytes from the start of the data section.
    pub offset: u64,
}

impl TensorInfo {
    /// Returns the number of elements.
    pub fn elements(&self) -> u64 {
        self.dimensions.iter().product()
    }

    /// Returns the bytes its data takes, without padding.
    pub fn bytes(&self) -> u64 {
        self.elements() / self.tensor_type.block_elements() * self.tensor_type.block_bytes()
    }

    /// Returns the length of a row, in elements.
    pub fn row_elements(&self) -> u64 {
        self.dimensions[0]
    }

    /// Returns whether it has two dimensions or more: what is multiplied with, or looked up in.
    pub fn is_matrix(&self) -> bool {
        self.dimensions.len() > 1
    }
}

impl Gguf {
    /// Reads the header of a file. Never allocates more than a small multiple of the file's length.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or read, or when its header is not GGUF 2 or 3 that is whole and
    /// consistent with the file's length.
    pub fn read(path: &Path) -> Result<Self, GgufError> {
        read::read(path)
    }

    /// Returns the path the header was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns all metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns all tensors, in the file's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Returns the tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Returns the alignment of tensor data, in bytes.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Returns where tensor data starts, in bytes from the start of the file.
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// Returns the length of the file, in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Returns `general.architecture`, such as `llama`.
    ///
    /// # Errors
    ///
    /// When the key is absent or no string.
    pub fn architecture(&self) -> Result<&str, GgufError> {
        self.str("general.architecture")
    }

    /// Returns the name of the quantisation, such as `q4_k_m`: from `general.file_type` where it is present and
    /// known, otherwise the tensor type that takes the most bytes among the matrices.
    pub fn quantization(&self) -> String {
        let declared = self.metadata.value("general.file_type").and_then(Value::as_u32);
        match declared.and_then(file_type::name) {
            Some(name) => name.to_owned(),
            None => self.dominant_type().map_or_else(|| "none".to_owned(), |one| one.name().to_lowercase()),
        }
    }

    fn dominant_type(&self) -> Option<TensorType> {
        let bytes_of = |wanted: TensorType| -> u64 {
            self.matrices().filter(|tensor| tensor.tensor_type == wanted).map(TensorInfo::bytes).sum()
        };
        // The id settles a tie, so that the name does not depend on the order of tensors.
        self.matrices().map(|tensor| tensor.tensor_type).max_by_key(|one| (bytes_of(*one), one.id()))
    }

    fn matrices(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter().filter(|tensor| tensor.is_matrix())
    }

    /// Returns the text under a key.
    ///
    /// # Errors
    ///
    /// When the key is absent or no string. The other accessors fail alike.
    pub fn str(&self, key: &str) -> Result<&str, GgufError> {
        self.typed(key, "a string", Value::as_str)
    }

    /// Returns the number under a key: any integer type whose value fits.
    ///
    /// # Errors
    ///
    /// When the key is absent or holds something else.
    pub fn u32(&self, key: &str) -> Result<u32, GgufError> {
        self.typed(key, "an integer from 0 to 4294967295", Value::as_u32)
    }

    /// Returns the number under a key, which must be at least 1.
    ///
    /// # Errors
    ///
    /// When the key is absent or holds something else.
    pub fn positive_u32(&self, key: &str) -> Result<u32, GgufError> {
        let positive = |value: &Value| value.as_u32().filter(|number| *number > 0);
        self.typed(key, "an integer from 1 to 4294967295", positive)
    }

    /// Returns the `f32` under a key.
    ///
    /// # Errors
    ///
    /// When the key is absent or holds something else.
    pub fn f32(&self, key: &str) -> Result<f32, GgufError> {
        self.typed(key, "an f32", Value::as_f32)
    }

    /// Returns the boolean under a key.
    ///
    /// # Errors
    ///
    /// When the key is absent or holds something else.
    pub fn bool(&self, key: &str) -> Result<bool, GgufError> {
        self.typed(key, "a boolean", Value::as_bool)
    }

    /// Returns the array of texts under a key.
    ///
    /// # Errors
    ///
    /// When the key is absent or holds something else.
    pub fn strings(&self, key: &str) -> Result<&[String], GgufError> {
        self.typed(key, "an array of strings", Value::as_strings)
    }

    /// Returns the array of `f32` under a key.
    ///
    /// # Errors
    ///
    /// When the key is absent or holds something else.
    pub fn f32_array(&self, key: &str) -> Result<&[f32], GgufError> {
        self.typed(key, "an array of f32", Value::as_f32_array)
    }

    /// Returns the array of `i32` under a key.
    ///
    /// # Errors
    ///
    /// When the key is absent or holds something else.
    pub fn i32_array(&self, key: &str) -> Result<&[i32], GgufError> {
        self.typed(key, "an array of i32", Value::as_i32_array)
    }

    /// Returns what an accessor found, or `None` for a key that is absent.
    ///
    /// # Errors
    ///
    /// Whatever the accessor refused other than absence.
    pub fn optional<T>(found: Result<T, GgufError>) -> Result<Option<T>, GgufError> {
        match found {
            Ok(value) => Ok(Some(value)),
            Err(GgufError::Missing { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, GgufError> {
        let missing = || GgufError::Missing { path: self.path.clone(), key: key.to_owned() };
        let value = self.metadata.value(key).ok_or_else(missing)?;
        read(value).ok_or_else(|| GgufError::WrongType {
            path: self.path.clone(),
            key: key.to_owned(),
            found: value.describe(),
            expected,
        })
    }
}
