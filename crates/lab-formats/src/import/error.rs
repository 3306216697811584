//! What is wrong with a document of another tool, and where.

use std::io;

use serde_json::error::Category;

/// What is wrong with a document, as the rest of a sentence that begins with its name: its reader knows no file.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Its bytes cannot be had.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is no JSON, or ends before the JSON does.
    #[error("is no JSON: {message}{}", place(.key, .line, .column))]
    NotJson {
        /// The key inside which the reader was; empty outside of any.
        key: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What the reader says.
        message: String,
    },
    /// A value is of another type than its key demands, or a key stands there twice.
    #[error("does not fit its contract: {message}{}", place(.key, .line, .column))]
    IllTyped {
        /// The key; empty for the document as a whole.
        key: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What was found and what was expected.
        message: String,
    },
    /// A time or a number of things is below zero, or no number.
    #[error("does not fit its contract: `{key}` is {value}, and must be a number from 0 up")]
    OutOfRange {
        /// The key.
        key: String,
        /// Its value.
        value: f64,
    },
    /// A text is too long or too short to name something, or cannot be shown.
    #[error(
        "does not fit its contract: `{key}` is `{}`, and must have {least} to {most} bytes without control characters",
        escaped(.value)
    )]
    Unshowable {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The fewest bytes that it may have.
        least: usize,
        /// The most.
        most: usize,
    },
    /// It is JSON, and tells nothing of what it should.
    #[error("is no {what}: it tells nothing of {sections}")]
    Silent {
        /// What it should be.
        what: &'static str,
        /// What it should tell of.
        sections: &'static str,
    },
}

/// Says where, as far as that is known.
fn place(key: &str, line: &usize, column: &usize) -> String {
    let key = if key.is_empty() { String::new() } else { format!(" at `{key}`") };
    match *line {
        0 => key,
        _ => format!("{key}, line {line}, column {column}"),
    }
}

/// The path of the document itself, as `serde_path_to_error` writes it.
const WHOLE: &str = ".";

impl DocumentError {
    /// Gives the JSON reader's complaint the key that it is about.
    pub(super) fn from_json(path: &str, error: serde_json::Error) -> Self {
        let key = if path == WHOLE { String::new() } else { escaped(path) };
        let (line, column, message) = (error.line(), error.column(), words(&error));
        match error.classify() {
            Category::Io => Self::Unreadable(error.into()),
            Category::Syntax | Category::Eof => Self::NotJson { key, line, column, message },
            Category::Data => Self::IllTyped { key, line, column, message },
        }
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

/// Returns the beginning of a text: a value in a file may be as long as the file.
pub(super) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 200;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns the beginning of a text as a line can show it.
fn escaped(text: &str) -> String {
    let visible = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    excerpt(text).chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_named_once_and_only_as_far_as_it_is_known() {
        assert_eq!(place("llm.total_requests", &3, &7), " at `llm.total_requests`, line 3, column 7");
        assert_eq!(place("", &3, &7), ", line 3, column 7");
        assert_eq!(place("input", &0, &0), " at `input`");
    }

    #[test]
    fn what_is_quoted_is_cut_and_can_be_shown() {
        let error = serde_json::from_str::<u64>(&format!("\"{}\"", "x".repeat(1 << 16))).unwrap_err();
        let told = words(&error);
        assert!(told.starts_with("invalid type: string \"xxx") && told.ends_with('…'), "{told}");
        assert_eq!(told.chars().count(), 201);
        let error = serde_json::from_str::<u64>("x").unwrap_err();
        let told = DocumentError::from_json("a\u{1b}[2J", error).to_string();
        assert!(told.contains("at `a\\u{1b}[2J`"), "{told}");
    }

    #[test]
    fn types_are_called_as_people_call_them() {
        let error = serde_json::from_str::<u64>("\n -1").unwrap_err();
        assert_eq!(words(&error), "invalid value: integer `-1`, expected a whole number from 0 up");
        let error = serde_json::from_str::<f64>("{}").unwrap_err();
        assert_eq!(words(&error), "invalid type: map, expected a number");
    }
}
