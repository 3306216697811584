//! JSON objects that are objects: serde reads an array as a struct too, field by field, and a document of another tool in
//! which an array stands for an object is ill-typed.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// A value that is read from an object and from nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Reads a part of a document that may be `null`, which says as little as leaving it out. For `deserialize_with`.
///
/// # Errors
///
/// When it is neither an object nor `null`, or the object does not read.
pub fn object_or_nothing<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    deserializer.deserialize_any(PartVisitor(PhantomData))
}

struct PartVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for PartVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Inner {
        number: Option<u64>,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Outer {
        #[serde(deserialize_with = "object_or_nothing")]
        inner: Inner,
    }

    #[test]
    fn an_array_is_no_object_and_null_says_nothing() {
        let read = |text| serde_json::from_str::<Object<Outer>>(text).map(|own| own.0.inner.number);
        assert_eq!(read(r#"{"inner": {"number": 3, "unknown": [1, {}]}}"#).unwrap(), Some(3));
        for silent in ["{}", r#"{"inner": null}"#, r#"{"inner": {}}"#, r#"{"inner": {"number": null}}"#] {
            assert_eq!(read(silent).unwrap(), None, "{silent}");
        }
        for wrong in ["[]", "null", "3", r#"{"inner": [3]}"#, r#"{"inner": 3}"#] {
            let told = read(wrong).unwrap_err().to_string();
            assert!(told.contains("expected an object"), "{wrong}: {told}");
        }
    }
}
