//! Text to token ids and back, from a file's own metadata, exactly as llama.cpp does it.
//!
//! The ids are those of llama.cpp's server for a prompt given as text (`add_special` and `parse_special`, which is what its
//! `/completion` does and what `/tokenize` does with `add_special`): BOS and EOS are added where the file asks for
//! them, and special tokens that are written out in the text are recognised. Not supported are the per-model
//! rules by which llama.cpp strips white space beside special tokens (Phi 3, Jina), and its second thoughts about
//! token types: which tokens are special is what the file says.

mod bpe;
mod error;
mod special;
mod spm;
mod vocabulary;

use lab_core::digest::Digest;

use crate::gguf::{Gguf, Value, encode_entry};

pub use error::TokenizerError;

use bpe::{BytePair, PreTokenizer};
use special::{Piece, SpecialTokens};
use spm::SentencePiece;
use vocabulary::{TokenType, Vocabulary};

/// The domain of tokenizer digests.
const DIGEST_DOMAIN: &[u8] = b"lab.tokenizer.v1\n";

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    special: SpecialTokens,
    algorithm: Algorithm,
    bos: Option<u32>,
    eos: Option<u32>,
}

#[derive(Debug)]
enum Algorithm {
    BytePair(Box<BytePair>),
    SentencePiece { pieces: SentencePiece, space_prefix: bool },
}

impl Tokenizer {
    /// Builds the tokenizer that a file describes.
    ///
    /// # Errors
    ///
    /// When metadata is absent, contradictory, or names an algorithm that is not implemented.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::read(gguf)?;
        let (algorithm, add_bos) = match gguf.str("tokenizer.ggml.model")? {
            "gpt2" => {
                let pre = PreTokenizer::read(gguf)?;
                let pair = BytePair::build(gguf, &vocabulary, pre)?;
                (Algorithm::BytePair(Box::new(pair)), pre.add_bos)
            }
            "llama" => {
                let pieces = SentencePiece::build(gguf, &vocabulary)?;
                let space_prefix = flag(gguf, "tokenizer.ggml.add_space_prefix", true)?;
                (Algorithm::SentencePiece { pieces, space_prefix }, true)
            }
            other => return Err(TokenizerError::Model { found: other.to_owned() }),
        };
        let add_bos = flag(gguf, "tokenizer.ggml.add_bos_token", add_bos)?;
        let add_eos = flag(gguf, "tokenizer.ggml.add_eos_token", false)?;
        Ok(Self {
            special: SpecialTokens::of(&vocabulary),
            algorithm,
            bos: special_id(gguf, &vocabulary, "tokenizer.ggml.bos_token_id", add_bos)?,
            eos: special_id(gguf, &vocabulary, "tokenizer.ggml.eos_token_id", add_eos)?,
            vocabulary,
        })
    }

    /// Returns the ids of a text, with BOS and EOS where the file asks for them. Special tokens written out in
    /// the text are recognised.
    ///
    /// A byte-pair vocabulary may lack tokens for some bytes (SmolLM2's lacks a few control characters); like
    /// llama.cpp, this drops them.
    ///
    /// # Errors
    ///
    /// When a SentencePiece vocabulary has no token for a byte of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids: Vec<u32> = self.bos.into_iter().collect();
        let mut after_special = true;
        for piece in self.special.partition(text) {
            match piece {
                Piece::Token(id) => ids.push(id),
                Piece::Raw(text) => self.encode_raw(text, after_special, &mut ids)?,
            }
            after_special = matches!(piece, Piece::Token(_));
        }
        ids.extend(self.eos);
        Ok(ids)
    }

    fn encode_raw(&self, text: &str, after_special: bool, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        match &self.algorithm {
            Algorithm::BytePair(pair) => pair.encode(text, ids),
            Algorithm::SentencePiece { pieces, space_prefix } => {
                let prefix = if *space_prefix && after_special { " " } else { "" };
                let escaped = format!("{prefix}{text}").replace(' ', spm::SPACE.encode_utf8(&mut [0; 4]));
                pieces.encode(&self.vocabulary, &escaped, ids)
            }
        }
    }

    /// Returns the text of ids. Special tokens are written out; bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    ///
    /// When an id is outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let mut bytes = Vec::new();
        for id in ids {
            let (text, kind) = self.vocabulary.token(*id)?;
            match (&self.algorithm, kind) {
                (_, TokenType::Control | TokenType::UserDefined | TokenType::Unknown) => {
                    bytes.extend(text.as_bytes());
                }
                (Algorithm::BytePair(_), _) => bytes.extend(text.chars().filter_map(bpe::byte_of)),
                (_, TokenType::Byte) => bytes.extend(byte_token(text)),
                _ => bytes.extend(text.replace(spm::SPACE, " ").bytes()),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary.len()
    }
}

fn flag(gguf: &Gguf, key: &str, default: bool) -> Result<bool, TokenizerError> {
    Ok(Gguf::optional(gguf.bool(key))?.unwrap_or(default))
}

/// Returns the id to add, which must exist if it is wanted.
fn special_id(
    gguf: &Gguf,
    vocabulary: &Vocabulary,
    key: &'static str,
    wanted: bool,
) -> Result<Option<u32>, TokenizerError> {
    if !wanted {
        return Ok(None);
    }
    let id = gguf.u32(key)?;
    if id as usize >= vocabulary.len() {
        return Err(TokenizerError::SpecialId { key, id, vocabulary: vocabulary.len() });
    }
    Ok(Some(id))
}

/// Returns the byte of a token such as `<0x0A>`, or nothing for another text.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}

/// Returns the digest of the metadata that decide about ids: every `tokenizer.ggml.` key with its value, in the order of
/// keys. The chat template is not among them. A file whose tokenizer lab cannot build has a digest all the same.
pub fn digest(gguf: &Gguf) -> Digest {
    let mut entries: Vec<(&str, &Value)> =
        gguf.metadata().iter().filter(|(key, _)| key.starts_with("tokenizer.ggml.")).collect();
    entries.sort_by_key(|(key, _)| *key);
    let mut bytes = DIGEST_DOMAIN.to_vec();
    entries.iter().for_each(|(key, value)| encode_entry(&mut bytes, key, value));
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests;
