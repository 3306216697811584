//! Texts of documents: which of them can be shown, and as much of a sentence as an error shows.

use std::ops::RangeInclusive;

use lab_core::excerpt::shown;

/// Bytes of a name: names stand in tables.
pub(super) const NAME_BYTES: RangeInclusive<usize> = 1..=200;

/// Refuses what no output could show.
pub(super) fn check(text: &str, bytes: RangeInclusive<usize>) -> Result<(), String> {
    if bytes.contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "`{}` cannot be shown: {} to {} bytes without control characters were expected",
        shown(text),
        bytes.start(),
        bytes.end()
    ))
}

/// Refuses what is no name.
pub(super) fn check_name(text: &str) -> Result<(), String> {
    check(text, NAME_BYTES)
}

/// Returns the beginning of a sentence: a value in a file may be as long as the file.
pub(super) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 200;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
