//! SentencePiece vocabularies with scores (`tokenizer.ggml.model = "llama"`), as Llama 2 and Gemma use them.
//!
//! The algorithm is llama.cpp's `llm_tokenizer_spm_session`: neighbours whose concatenation is a token are merged, the highest
//! score first and the leftmost of equals; a character that is no token in the end is spelled in byte tokens. This is not what SentencePiece's unigram model does, and neither is llama.cpp.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::gguf::Gguf;

use super::TokenizerError;
use super::vocabulary::Vocabulary;

/// U+2581, which stands for a space inside tokens.
pub(super) const SPACE: char = '▁';

/// Scores by id.
#[derive(Debug)]
pub(super) struct SentencePiece {
    scores: Vec<f32>,
}

/// A stretch of the text that is still growing. Merged stretches become empty.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    length: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours whose concatenation is a token.
#[derive(Debug, PartialEq)]
struct Bigram {
    left: usize,
    right: usize,
    score: f32,
    length: usize,
}

impl Eq for Bigram {}

impl Ord for Bigram {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Bigram {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl SentencePiece {
    pub(super) fn build(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        const SCORES: &str = "tokenizer.ggml.scores";
        let scores = gguf.f32_array(SCORES)?.to_vec();
        if scores.len() != vocabulary.len() {
            let (found, expected) = (scores.len(), vocabulary.len());
            return Err(TokenizerError::Length { key: SCORES, found, expected });
        }
        match scores.iter().position(|score| score.is_nan()) {
            Some(id) => Err(TokenizerError::Score { id }),
            // 0 and -0 are equal to llama.cpp, but not to a total order.
            None => Ok(Self { scores: scores.into_iter().map(|score| score + 0.0).collect() }),
        }
    }

    /// Encodes a text whose spaces are already escaped.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let mut merging = Merging::new(self, vocabulary, text);
        merging.run();
        let mut at = (!merging.symbols.is_empty()).then_some(0);
        while let Some(index) = at {
            merging.emit(merging.text_of(index), ids)?;
            at = merging.symbols[index].next;
        }
        Ok(())
    }
}

struct Merging<'a> {
    pieces: &'a SentencePiece,
    vocabulary: &'a Vocabulary,
    text: &'a str,
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Bigram>,
}

impl<'a> Merging<'a> {
    fn new(pieces: &'a SentencePiece, vocabulary: &'a Vocabulary, text: &'a str) -> Self {
        let count = text.chars().count();
        let symbol = |(index, (start, one)): (usize, (usize, char))| Symbol {
            start,
            length: one.len_utf8(),
            previous: index.checked_sub(1),
            next: (index + 1 < count).then_some(index + 1),
        };
        let symbols = text.char_indices().enumerate().map(symbol).collect();
        Self { pieces, vocabulary, text, symbols, queue: BinaryHeap::new() }
    }

    fn text_of(&self, index: usize) -> &'a str {
        let symbol = self.symbols[index];
        &self.text[symbol.start..symbol.start + symbol.length]
    }

    fn run(&mut self) {
        for right in 1..self.symbols.len() {
            self.offer(right - 1, right);
        }
        while let Some(bigram) = self.queue.pop() {
            let (left, right) = (self.symbols[bigram.left], self.symbols[bigram.right]);
            // One of the two has been merged with something else since.
            if left.length == 0 || right.length == 0 || left.length + right.length != bigram.length {
                continue;
            }
            self.symbols[bigram.left].length = bigram.length;
            self.symbols[bigram.left].next = right.next;
            self.symbols[bigram.right].length = 0;
            if let Some(next) = right.next {
                self.symbols[next].previous = Some(bigram.left);
            }
            if let Some(previous) = left.previous {
                self.offer(previous, bigram.left);
            }
            if let Some(next) = right.next {
                self.offer(bigram.left, next);
            }
        }
    }

    /// Queues two neighbours if they make a token.
    fn offer(&mut self, left: usize, right: usize) {
        let (one, two) = (self.symbols[left], self.symbols[right]);
        let length = one.length + two.length;
        let text = &self.text[one.start..one.start + length];
        let Some(id) = self.vocabulary.id(text) else {
            return;
        };
        let score = self.pieces.scores[id as usize];
        self.queue.push(Bigram { left, right, score, length });
    }

    /// Appends the token of a symbol. What was merged is one; a single character may have to be spelled in bytes.
    fn emit(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        if let Some(id) = self.vocabulary.id(text) {
            ids.push(id);
            return Ok(());
        }
        for byte in text.bytes() {
            ids.push(self.byte_token(byte)?);
        }
        Ok(())
    }

    /// Returns the token `<0x..>` of a byte, or that of the character it is.
    fn byte_token(&self, byte: u8) -> Result<u32, TokenizerError> {
        let written = self.vocabulary.id(&format!("<0x{byte:02X}>"));
        let itself = || byte.is_ascii().then(|| self.vocabulary.id(&char::from(byte).to_string())).flatten();
        written.or_else(itself).ok_or(TokenizerError::NoToken { byte })
    }
}
