//! A summary as it streams by: of the keys that are not known nothing is held, however much they have.

use std::fmt;
use std::mem;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::super::text::check_name;
use super::inference::{KeyAmong, negative};
use super::name::check_device_id;
use super::place::Place;
use super::summary::{FIGURES, Figures, QUANTITIES, Summary, Written};

/// All that is read of a summary: names and count, then the quantities.
const KEYS: [&str; 7] = {
    let [a, b, c, d] = QUANTITIES;
    ["device_id", "model_name", "total_inferences", a, b, c, d]
};
const DEVICE_ID: usize = 0;
const MODEL_NAME: usize = 1;
const TOTAL_INFERENCES: usize = 2;
/// Position of the first quantity among the keys.
const FIRST_QUANTITY: usize = 3;

/// Refuses a key that was there before.
pub(super) fn refuse_twice<E: Error>(was_there: bool) -> Result<(), E> {
    if was_there { Err(E::custom("the key is given twice")) } else { Ok(()) }
}

/// The summary of a document; `null` says as little as none.
pub(super) struct Stated<'a>(pub(super) &'a Place);

impl<'de> DeserializeSeed<'de> for Stated<'_> {
    type Value = Summary;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Summary, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Stated<'_> {
    type Value = Summary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Summary, E> {
        Ok(Summary::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Summary, A::Error> {
        let Self(place) = self;
        let mut summary = Summary::default();
        let mut has_key = [false; KEYS.len()];
        while let Some(key) = map.next_key_seed(KeyAmong(&KEYS))? {
            let Some(key) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            place.summary(KEYS[key], "");
            refuse_twice::<A::Error>(mem::replace(&mut has_key[key], true))?;
            match key {
                DEVICE_ID => summary.device_id = map.next_value_seed(Name(check_device_id))?,
                MODEL_NAME => summary.model_name = map.next_value_seed(Name(check_name))?,
                TOTAL_INFERENCES => summary.total_inferences = map.next_value_seed(Number)?,
                _ => {
                    let seed = Quantity { place, name: KEYS[key] };
                    summary.figures[key - FIRST_QUANTITY] = map.next_value_seed(seed)?;
                }
            }
            place.summary("", "");
        }
        Ok(summary)
    }
}

/// The figures of a quantity; `null` has none.
struct Quantity<'a> {
    place: &'a Place,
    name: &'static str,
}

impl<'de> DeserializeSeed<'de> for Quantity<'_> {
    type Value = Figures;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Figures, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Quantity<'_> {
    type Value = Figures;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Figures, E> {
        Ok(Figures::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Figures, A::Error> {
        let Self { place, name } = self;
        let mut figures = Figures::default();
        let mut has_key = [false; FIGURES.len()];
        while let Some(key) = map.next_key_seed(KeyAmong(&FIGURES))? {
            let Some(key) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            place.summary(name, FIGURES[key]);
            refuse_twice::<A::Error>(mem::replace(&mut has_key[key], true))?;
            figures[key] = map.next_value_seed(Number)?;
            place.summary(name, "");
        }
        Ok(figures)
    }
}

/// A text that passes a check; `null` is none.
struct Name(fn(&str) -> Result<(), String>);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_unit<E>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<String>, E> {
        (self.0)(text).map_err(E::custom)?;
        Ok(Some(text.to_owned()))
    }
}

/// A number of 0 or more as it was written; `null` is none.
pub(super) struct Number;

impl<'de> DeserializeSeed<'de> for Number {
    type Value = Option<Written>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Written>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Number {
    type Value = Option<Written>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of 0 or more")
    }

    fn visit_unit<E>(self) -> Result<Option<Written>, E> {
        Ok(None)
    }

    #[expect(clippy::cast_precision_loss, reason = "a number in a document is a double")]
    fn visit_u64<E>(self, value: u64) -> Result<Option<Written>, E> {
        Ok(Some(Written::new(value as f64, false)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<Written>, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::custom(negative(value))),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<Written>, E> {
        if value >= 0.0 { Ok(Some(Written::new(value.abs(), true))) } else { Err(E::custom(negative(value))) }
    }
}
