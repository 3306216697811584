//! The two shapes of an answer: a value, or the reason why there is none.

use std::io;
use std::path::Path;

use lab_core::metric;
use serde::{Deserialize, Serialize};

/// The reason why a probe has no answer. A fragment without a final period.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
#[serde(deny_unknown_fields)]
pub struct Unavailable {
    /// What was looked for, where, and what was found instead.
    #[serde(rename = "unavailable")]
    pub reason: String,
}

impl Unavailable {
    /// Wraps a reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// Returns the reason that fits a failed read of `path`.
    pub(crate) fn reading(path: &Path, error: &io::Error) -> Self {
        let path = path.display();
        Self::new(match error.kind() {
            io::ErrorKind::NotFound => format!("`{path}` does not exist"),
            io::ErrorKind::PermissionDenied => format!("`{path}` may not be read (permission denied)"),
            io::ErrorKind::IsADirectory => format!("`{path}` is a directory, not a file"),
            _ => format!("`{path}` cannot be read: {error}"),
        })
    }

    /// Returns the reason that fits a file that was read but does not hold what it should.
    pub(crate) fn content(path: &Path, expected: &str) -> Self {
        Self::new(format!("`{}` does not hold {expected}", path.display()))
    }
}

/// A fact to be recorded: the value, or the reason why it is missing.
///
/// Serialised as the value itself, or as `{"unavailable": "reason"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reading<T> {
    /// There is no value, for this reason.
    Unavailable(Unavailable),
    /// The value.
    Available(T),
}

impl<T> Reading<T> {
    /// Returns the value, where there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Available(value) => Some(value),
            Self::Unavailable(_) => None,
        }
    }

    /// Returns the value by reference, or the reason for its absence.
    ///
    /// # Errors
    ///
    /// The recorded reason.
    pub fn as_result(&self) -> Result<&T, &Unavailable> {
        match self {
            Self::Available(value) => Ok(value),
            Self::Unavailable(reason) => Err(reason),
        }
    }

    /// Returns the value, or the reason for its absence.
    ///
    /// # Errors
    ///
    /// The recorded reason.
    pub fn into_result(self) -> Result<T, Unavailable> {
        match self {
            Self::Available(value) => Ok(value),
            Self::Unavailable(reason) => Err(reason),
        }
    }
}

impl<T> From<Result<T, Unavailable>> for Reading<T> {
    fn from(result: Result<T, Unavailable>) -> Self {
        match result {
            Ok(value) => Self::Available(value),
            Err(reason) => Self::Unavailable(reason),
        }
    }
}

impl<T> From<Reading<T>> for metric::Reading<T> {
    fn from(reading: Reading<T>) -> Self {
        recorded(reading.into_result())
    }
}

/// Returns an answer as a session records it.
pub(crate) fn recorded<T>(answer: Result<T, impl Into<Unavailable>>) -> metric::Reading<T> {
    match answer {
        Ok(value) => metric::Reading::Value(value),
        Err(reason) => metric::Reading::Unavailable(reason.into().reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_its_value_or_its_reason_in_json() {
        let there = Reading::Available(4.5);
        let gone: Reading<f64> = Err(Unavailable::new("`x` does not exist")).into();
        assert_eq!(serde_json::to_string(&there).unwrap(), "4.5");
        assert_eq!(serde_json::to_string(&gone).unwrap(), r#"{"unavailable":"`x` does not exist"}"#);
        for reading in [there, gone] {
            let text = serde_json::to_string(&reading).unwrap();
            assert_eq!(serde_json::from_str::<Reading<f64>>(&text).unwrap(), reading);
        }
    }

    #[test]
    fn a_reading_is_recorded_with_its_value_or_its_reason() {
        assert_eq!(metric::Reading::from(Reading::Available(4)), metric::Reading::Value(4));
        let gone: Reading<u8> = Err(Unavailable::new("`x` is empty")).into();
        assert_eq!(metric::Reading::from(gone).reason(), Some("`x` is empty"));
    }

    #[test]
    fn a_failed_read_says_what_went_wrong_and_where() {
        let reason =
            |kind: io::ErrorKind| Unavailable::reading(Path::new("/sys/x"), &kind.into()).to_string();
        assert_eq!(reason(io::ErrorKind::NotFound), "`/sys/x` does not exist");
        assert_eq!(reason(io::ErrorKind::PermissionDenied), "`/sys/x` may not be read (permission denied)");
        assert_eq!(reason(io::ErrorKind::IsADirectory), "`/sys/x` is a directory, not a file");
        assert!(reason(io::ErrorKind::TimedOut).starts_with("`/sys/x` cannot be read: "));
    }
}
