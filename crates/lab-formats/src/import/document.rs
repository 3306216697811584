//! Reading one JSON object from a stream.

use std::io::Read;

use lab_core::object::Object;
use serde::de::DeserializeOwned;

use super::error::DocumentError;

/// Reads one object and nothing behind it. What the type does not know is skipped, not held.
pub(super) fn read_object<T: DeserializeOwned>(reader: impl Read) -> Result<T, DocumentError> {
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let Object(document): Object<T> =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            DocumentError::from_json(&path, error.into_inner())
        })?;
    deserializer.end().map_err(|error| DocumentError::from_json("", error))?;
    Ok(document)
}
