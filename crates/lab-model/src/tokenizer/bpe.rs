//! Byte-pair encoding over bytes (`tokenizer.ggml.model = "gpt2"`), as GPT-2, Llama 3, Qwen 2 and SmolLM use it.
//!
//! The regular expressions are llama.cpp's (`llm_tokenizer_bpe` in llama-vocab.cpp); the merging is the
//! `tokenizers` crate's.

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    Model as _, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _, PreTokenizerWrapper,
    SplitDelimiterBehavior,
};

use crate::gguf::Gguf;

use super::TokenizerError;
use super::vocabulary::Vocabulary;

const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA_3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A way to split text before pairs are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PreTokenizer {
    name: &'static str,
    /// Applied in turn: each splits what the one before it left.
    expressions: &'static [&'static str],
    /// Whether a word that is a token as a whole is not merged at all.
    whole_words_first: bool,
    /// Whether a sequence starts with BOS where the file is silent.
    pub(super) add_bos: bool,
}

impl PreTokenizer {
    const fn new(name: &'static str, expressions: &'static [&'static str]) -> Self {
        Self { name, expressions, whole_words_first: false, add_bos: false }
    }

    const fn llama_3(name: &'static str) -> Self {
        Self { name, expressions: &[LLAMA_3], whole_words_first: true, add_bos: true }
    }

    pub(super) fn names() -> String {
        let names: Vec<_> = KNOWN.iter().map(|one| format!("`{}`", one.name)).collect();
        names.join(", ")
    }

    /// Reads `tokenizer.ggml.pre`; llama.cpp takes `default` where it is absent.
    pub(super) fn read(gguf: &Gguf) -> Result<Self, TokenizerError> {
        let name = Gguf::optional(gguf.str("tokenizer.ggml.pre"))?.unwrap_or("default");
        let known = KNOWN.iter().find(|one| one.name == name).copied();
        known.ok_or_else(|| TokenizerError::PreTokenizer { found: name.to_owned() })
    }
}

const KNOWN: &[PreTokenizer] = &[
    PreTokenizer::new("default", &[r"[\p{P}\$\+<=>\^~\|]+", GPT_2, r"\p{N}+", r"[0-9][0-9][0-9]"]),
    PreTokenizer::new("gpt-2", &[GPT_2]),
    PreTokenizer::llama_3("llama-bpe"),
    PreTokenizer::llama_3("llama-v3"),
    PreTokenizer::llama_3("llama3"),
    PreTokenizer::new("qwen2", &[QWEN_2]),
    PreTokenizer::new("smollm", &[r"\p{N}", GPT_2]),
];

/// A byte-pair tokenizer.
#[derive(Debug)]
pub(super) struct BytePair {
    model: BPE,
    split: Sequence,
    /// The bytes, as characters, for which the vocabulary has no token.
    without_token: Vec<char>,
}

impl BytePair {
    pub(super) fn build(
        gguf: &Gguf,
        vocabulary: &Vocabulary,
        pre: PreTokenizer,
    ) -> Result<Self, TokenizerError> {
        let merges = gguf.strings("tokenizer.ggml.merges")?.iter().enumerate().map(merge);
        let ids: Vocab = vocabulary.ids().iter().map(|(text, id)| (text.clone(), *id)).collect();
        let model = BPE::builder()
            .vocab_and_merges(ids, merges.collect::<Result<_, _>>()?)
            .ignore_merges(pre.whole_words_first)
            .build()
            .map_err(failed)?;
        let lacks_token = |one: &char| vocabulary.id(one.encode_utf8(&mut [0; 4])).is_none();
        let without_token = ByteLevel::alphabet().into_iter().filter(lacks_token).collect();
        Ok(Self { model, split: sequence(pre)?, without_token })
    }

    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let mut words = PreTokenizedString::from(text);
        self.split.pre_tokenize(&mut words).map_err(failed)?;
        for (word, ..) in words.get_splits(OffsetReferential::Original, OffsetType::None) {
            // llama.cpp drops a byte without a token, but never merges across it, as the crate would.
            for part in word.split(|one| self.without_token.contains(&one)) {
                let tokens = self.model.tokenize(part).map_err(failed)?;
                ids.extend(tokens.iter().map(|token| token.id));
            }
        }
        Ok(())
    }
}

fn merge((index, text): (usize, &String)) -> Result<(String, String), TokenizerError> {
    // A part is never empty, but it may start with a space in files that do not escape it.
    let split = text.char_indices().skip(1).find(|(_, one)| *one == ' ').map(|(at, _)| text.split_at(at));
    match split {
        Some((left, right)) => Ok((left.to_owned(), right[1..].to_owned())),
        None => Err(TokenizerError::Merge { index, found: text.clone() }),
    }
}

fn sequence(pre: PreTokenizer) -> Result<Sequence, TokenizerError> {
    let mut steps = Vec::new();
    for expression in pre.expressions {
        let pattern = SplitPattern::Regex((*expression).to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?;
        steps.push(PreTokenizerWrapper::Split(split));
    }
    // No prefix space, and no regular expression of its own: the steps above are complete.
    steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)));
    Ok(Sequence::new(steps))
}

fn failed(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::BytePair { message: error.to_string() }
}

/// Returns the byte a character of a token stands for: GPT-2 writes printable Latin-1 bytes as themselves and
/// the others as the characters from U+0100 on (`bytes_to_unicode` of its encoder.py).
pub(super) fn byte_of(one: char) -> Option<u8> {
    let code = u32::from(one);
    if code < 256 {
        return u8::try_from(code).ok().filter(|byte| is_itself(*byte));
    }
    let moved = (0..=u8::MAX).filter(|byte| !is_itself(*byte));
    moved.zip(256..).find(|(_, moved_to)| *moved_to == code).map(|(byte, _)| byte)
}

fn is_itself(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_the_crate_s() {
        let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
        let mut bytes: Vec<u8> = alphabet.iter().map(|one| byte_of(*one).expect("a byte")).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        alphabet.sort_unstable();
        assert_eq!((byte_of('Ġ'), byte_of('Ċ'), byte_of('a')), (Some(b' '), Some(b'\n'), Some(b'a')));
        assert_eq!((byte_of(' '), byte_of('中'), byte_of('\u{144}')), (None, None, None));
    }
}
