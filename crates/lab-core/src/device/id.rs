//! Ids of devices. An id comes from whoever may write a document or publish one. It ends up in names of files, on command lines
//! and in queries, so that only what is harmless in all of them is one.

use std::fmt;

use crate::excerpt::shown;

/// The id of a device: 1 to 64 of `[A-Za-z0-9._:-]`, not beginning with `.`. Safe in the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(String);

/// A text that is no id of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{start}` is no id of a device: an id has 1 to 64 letters, digits, `.`, `_`, `:` and `-`, and does not begin with `.`"
)]
pub struct InvalidDeviceId {
    /// The start of what was given, with escapes for what does not print.
    start: String,
}

impl DeviceId {
    /// The longest id, in bytes.
    pub const LONGEST: usize = 64;

    /// Reads an id.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidDeviceId> {
        let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let is_id = (1..=Self::LONGEST).contains(&text.len())
            && text.bytes().all(is_harmless)
            && !text.starts_with('.');
        match is_id {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidDeviceId { start: shown(text) }),
        }
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_leave_its_folder_or_its_column_is_none() {
        let (longest, longer) = ("x".repeat(DeviceId::LONGEST), "x".repeat(DeviceId::LONGEST + 1));
        for id in ["edge-device-01", "00:0f:00:70:91:0a", "a", "A.b_c", longest.as_str()] {
            assert_eq!(DeviceId::parse(id).unwrap().as_str(), id);
        }
        for id in [
            "",
            ".",
            "..",
            ".hidden",
            "../../x",
            "a/b",
            "a\\b",
            "a b",
            "a'b",
            "a'; DROP",
            "a\0b",
            "é",
            "a\nb",
            longer.as_str(),
        ] {
            let message = DeviceId::parse(id).unwrap_err().to_string();
            assert!(message.contains("is no id of a device"), "{id}: {message}");
            assert!(!message.contains(['\n', '\0']), "{message:?}");
        }
    }
}
