//! What is wrong with a document of another tool, and where.

use std::fmt;
use std::io;

use super::text::excerpt;

/// Why a document says nothing. Its reader knows no file: whoever does puts the name in front.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Its bytes cannot be had.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is no JSON, or not the JSON that was expected.
    #[error("{place}: {message} (line {line}, column {column})")]
    Malformed {
        /// The key that was read, with what it belongs to.
        place: String,
        /// What is wrong.
        message: String,
        /// Where, from 1.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// A value is not what its key says, or is not there.
    #[error("{place}: {message}")]
    Wrong {
        /// The key.
        place: String,
        /// What is wrong.
        message: String,
    },
}

/// Stands for the key where the document as a whole is meant.
pub(super) const WHOLE: &str = "the document";

impl DocumentError {
    /// Gives the JSON reader's complaint the key that it is about.
    pub(super) fn of(error: serde_json::Error, place: impl fmt::Display) -> Self {
        if error.is_io() {
            return Self::Unreadable(error.into());
        }
        let (line, column, message) = (error.line(), error.column(), words(&error));
        Self::Malformed { place: place.to_string(), message, line, column }
    }

    /// Complains about the value of a key.
    pub(super) fn wrong(place: &str, message: impl Into<String>) -> Self {
        Self::Wrong { place: place.to_owned(), message: message.into() }
    }
}

/// Rust's names of types, and what people call them.
const TYPES: [(&str, &str); 2] =
    [("expected u64", "expected a whole number from 0 up"), ("expected f64", "expected a number")];

/// Returns the complaint without the place, which stands beside it, and in words of JSON.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    excerpt(&TYPES.iter().fold(text.to_owned(), |text, (rust, people)| text.replace(rust, people)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_cut() {
        let error = serde_json::from_str::<u64>(&format!("\"{}\"", "x".repeat(1 << 16))).unwrap_err();
        let told = words(&error);
        assert!(told.starts_with("invalid type: string \"xxx") && told.ends_with('…'), "{told}");
        assert_eq!(told.chars().count(), 201);
    }

    #[test]
    fn types_are_called_as_people_call_them() {
        let error = serde_json::from_str::<u64>("\n -1").unwrap_err();
        assert_eq!(words(&error), "invalid value: integer `-1`, expected a whole number from 0 up");
        let error = serde_json::from_str::<f64>("{}").unwrap_err();
        assert_eq!(words(&error), "invalid type: map, expected a number");
    }
}
