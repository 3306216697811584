//! Special tokens written out in a text.
//!
//! llama.cpp cuts a text at them before anything else (`tokenizer_st_partition` with `parse_special`): the
//! longest special text first, each over what the longer ones have left.

use super::vocabulary::{TokenType, Vocabulary};

/// A piece of a text: raw, or a special token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Raw(&'a str),
    Token(u32),
}

/// The texts that are special, longest first.
#[derive(Debug)]
pub(super) struct SpecialTokens(Vec<(String, u32)>);

impl SpecialTokens {
    pub(super) fn of(vocabulary: &Vocabulary) -> Self {
        let special = |kind| matches!(kind, TokenType::Control | TokenType::UserDefined | TokenType::Unknown);
        let mut tokens: Vec<_> = vocabulary
            .iter()
            .filter(|(_, text, kind)| special(*kind) && !text.is_empty())
            .map(|(id, text, _)| (text.to_owned(), id))
            .collect();
        tokens.sort_by_key(|(text, id)| (std::cmp::Reverse(text.len()), *id));
        Self(tokens)
    }

    /// Cuts a text at every special token.
    pub(super) fn partition<'a>(&self, text: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = if text.is_empty() { Vec::new() } else { vec![Piece::Raw(text)] };
        for (special, id) in self.0.iter().filter(|(special, _)| text.contains(special.as_str())) {
            pieces = pieces.into_iter().flat_map(|piece| cut(piece, special, *id)).collect();
        }
        pieces
    }
}

fn cut<'a>(piece: Piece<'a>, special: &str, id: u32) -> Vec<Piece<'a>> {
    let Piece::Raw(text) = piece else {
        return vec![piece];
    };
    let mut pieces = Vec::new();
    for (index, part) in text.split(special).enumerate() {
        if index > 0 {
            pieces.push(Piece::Token(id));
        }
        if !part.is_empty() {
            pieces.push(Piece::Raw(part));
        }
    }
    pieces
}
