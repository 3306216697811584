//! What can be wrong with a tokenizer's metadata, or with ids that are decoded.

use crate::gguf::GgufError;

use super::bpe::PreTokenizer;

/// A tokenizer that cannot be built, or ids it does not know.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A metadata key is absent or malformed.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// `tokenizer.ggml.model` names an algorithm that is not implemented.
    #[error("tokenizer model `{found}` is not supported (supported: `gpt2`, `llama`)")]
    Model {
        /// The file's model.
        found: String,
    },
    /// `tokenizer.ggml.pre` names a way to split text that is not implemented.
    #[error("pre-tokenizer `{found}` is not supported (supported: {})", PreTokenizer::names())]
    PreTokenizer {
        /// The file's pre-tokenizer.
        found: String,
    },
    /// An array with another length than the vocabulary.
    #[error("`{key}` has {found} elements, expected {expected}, one for each token")]
    Length {
        /// The metadata key.
        key: &'static str,
        /// Elements in the file.
        found: usize,
        /// Tokens in the file.
        expected: usize,
    },
    /// A vocabulary without tokens, or with more than ids can number.
    #[error("the vocabulary has {found} tokens, expected 1 to 2147483647")]
    VocabularySize {
        /// Tokens in the file.
        found: usize,
    },
    /// A token type that GGUF does not define.
    #[error("token {id} has type {found}, expected 1 to 6")]
    TokenType {
        /// The token.
        id: usize,
        /// Its type.
        found: i32,
    },
    /// A score that cannot be ordered.
    #[error("the score of token {id} is not a number")]
    Score {
        /// The token.
        id: usize,
    },
    /// A special token outside the vocabulary.
    #[error("`{key}` is {id}, but the vocabulary has {vocabulary} tokens")]
    SpecialId {
        /// The metadata key.
        key: &'static str,
        /// The id in the file.
        id: u32,
        /// Tokens in the file.
        vocabulary: usize,
    },
    /// A merge that does not consist of two parts.
    #[error("merge {index} is `{found}`, expected two parts with a space between them")]
    Merge {
        /// Position in `tokenizer.ggml.merges`.
        index: usize,
        /// The merge.
        found: String,
    },
    /// The BPE model refuses the vocabulary or a text.
    #[error("the byte-pair tokenizer failed: {message}")]
    BytePair {
        /// What the `tokenizers` crate said.
        message: String,
    },
    /// A text has a byte for which the vocabulary has no token.
    #[error("the vocabulary has no token for the byte 0x{byte:02X}")]
    NoToken {
        /// The byte.
        byte: u8,
    },
    /// An id outside the vocabulary.
    #[error("token {id} does not exist: the vocabulary has {vocabulary} tokens")]
    UnknownId {
        /// The id.
        id: u32,
        /// Tokens in the vocabulary.
        vocabulary: usize,
    },
}
