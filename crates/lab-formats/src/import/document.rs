//! Reading one JSON object from a stream.

use std::io::Read;

use lab_core::object::Object;
use serde::de::DeserializeOwned;

use super::error::{DocumentError, WHOLE};
use lab_core::excerpt::shown;

/// Reads one object and nothing behind it. What the type does not know is skipped, not held.
pub(super) fn read_object<T: DeserializeOwned>(reader: impl Read) -> Result<T, DocumentError> {
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let Object(document): Object<T> =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let place = place(&error.path().to_string());
            DocumentError::of(error.into_inner(), place)
        })?;
    deserializer.end().map_err(|error| DocumentError::of(error, WHOLE))?;
    Ok(document)
}

/// Names a key. The path of the document itself is `.`, as `serde_path_to_error` writes it.
fn place(path: &str) -> String {
    if path == "." { WHOLE.to_owned() } else { shown(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_as_a_line_can_show_it() {
        assert_eq!(place("llm.total_requests"), "llm.total_requests");
        assert_eq!(place("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(place("."), "the document");
    }
}
