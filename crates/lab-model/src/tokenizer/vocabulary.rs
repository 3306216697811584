//! The tokens of a file: texts and types.

use std::collections::HashMap;

use crate::gguf::Gguf;

use super::TokenizerError;

/// `llama_token_type` of llama.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenType {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// Texts and types, by id.
#[derive(Debug)]
pub(super) struct Vocabulary {
    texts: Vec<String>,
    types: Vec<TokenType>,
    ids: HashMap<String, u32>,
}

impl Vocabulary {
    pub(super) fn read(gguf: &Gguf) -> Result<Self, TokenizerError> {
        const TYPES: &str = "tokenizer.ggml.token_type";
        let texts = gguf.strings("tokenizer.ggml.tokens")?.to_vec();
        // llama.cpp's ids are i32.
        if texts.is_empty() || i32::try_from(texts.len()).is_err() {
            return Err(TokenizerError::VocabularySize { found: texts.len() });
        }
        let types = match Gguf::optional(gguf.i32_array(TYPES))? {
            Some(types) => types.iter().enumerate().map(token_type).collect::<Result<Vec<_>, _>>()?,
            None => vec![TokenType::Normal; texts.len()],
        };
        if types.len() != texts.len() {
            return Err(TokenizerError::Length { key: TYPES, found: types.len(), expected: texts.len() });
        }
        // Of equal texts the last one counts, as in llama.cpp.
        let ids = (0..).zip(&texts).map(|(id, text)| (text.clone(), id)).collect();
        Ok(Self { texts, types, ids })
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    pub(super) fn ids(&self) -> &HashMap<String, u32> {
        &self.ids
    }

    pub(super) fn token(&self, id: u32) -> Result<(&str, TokenType), TokenizerError> {
        let unknown = || TokenizerError::UnknownId { id, vocabulary: self.len() };
        let text = self.texts.get(id as usize).ok_or_else(unknown)?;
        Ok((text, self.types[id as usize]))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str, TokenType)> {
        (0..).zip(&self.texts).zip(&self.types).map(|((id, text), kind)| (id, text.as_str(), *kind))
    }
}

fn token_type((id, found): (usize, &i32)) -> Result<TokenType, TokenizerError> {
    Ok(match found {
        1 => TokenType::Normal,
        2 => TokenType::Unknown,
        3 => TokenType::Control,
        4 => TokenType::UserDefined,
        5 => TokenType::Unused,
        6 => TokenType::Byte,
        _ => return Err(TokenizerError::TokenType { id, found: *found }),
    })
}
