//! The inferences of a document, one after the other into one record: a file may have millions.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::text::check_name;
use super::name::check_device_id;
use super::place::Place;

/// The texts of an inference, by their keys.
pub const TEXTS: [&str; 4] = ["timestamp", "device_id", "model_name", "compute_device"];

/// The quantities of an inference, by their keys.
pub const QUANTITIES: [&str; 4] =
    ["inference_time_ms", "memory_used_mb", "cpu_percent_avg", "energy_consumed_mj"];

/// All that is read of an inference: the texts, then the quantities.
const FIELDS: [&str; 8] = {
    let ([a, b, c, d], [e, f, g, h]) = (TEXTS, QUANTITIES);
    [a, b, c, d, e, f, g, h]
};

/// Position of `device_id` among the texts.
const DEVICE_ID: usize = 1;

/// One inference, as the device wrote it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inference {
    /// The texts last met; kept when an inference has none, so that what repeats is neither checked nor copied again.
    texts: [String; TEXTS.len()],
    has_text: [bool; TEXTS.len()],
    quantities: [Option<f64>; QUANTITIES.len()],
    has_field: [bool; FIELDS.len()],
}

impl Inference {
    /// Returns its texts, in the order of [`TEXTS`].
    pub fn texts(&self) -> [Option<&str>; TEXTS.len()] {
        std::array::from_fn(|index| self.has_text[index].then_some(self.texts[index].as_str()))
    }

    /// Returns its quantities, in the order of [`QUANTITIES`].
    pub fn quantities(&self) -> [Option<f64>; QUANTITIES.len()] {
        self.quantities
    }

    fn forget(&mut self) {
        self.has_text = [false; TEXTS.len()];
        self.quantities = [None; QUANTITIES.len()];
        self.has_field = [false; FIELDS.len()];
    }
}

/// Which of the known keys a key is; none of them for any other.
pub(super) struct KeyAmong(pub(super) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for KeyAmong {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeyAmong {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|known| *known == key))
    }
}

/// The array of inferences; each goes to the sink as soon as it is read.
pub(super) struct Inferences<'a, F> {
    pub(super) place: &'a Place,
    pub(super) sink: &'a mut F,
}

impl<'de, F: FnMut(u64, &Inference)> DeserializeSeed<'de> for Inferences<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(u64, &Inference)> Visitor<'de> for Inferences<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of inferences")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut inference = Inference::default();
        let mut index = 0;
        loop {
            self.place.inference(index, "");
            let seed = OneInference { inference: &mut inference, index, place: self.place };
            if elements.next_element_seed(seed)?.is_none() {
                return Ok(());
            }
            (self.sink)(index, &inference);
            index += 1;
        }
    }
}

struct OneInference<'a> {
    inference: &'a mut Inference,
    index: u64,
    place: &'a Place,
}

impl<'de> DeserializeSeed<'de> for OneInference<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneInference<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an inference: an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { inference, index, place } = self;
        inference.forget();
        while let Some(key) = map.next_key_seed(KeyAmong(&FIELDS))? {
            let Some(field) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            place.inference(index, FIELDS[field]);
            if std::mem::replace(&mut inference.has_field[field], true) {
                return Err(A::Error::custom("the key is given twice"));
            }
            match field.checked_sub(TEXTS.len()) {
                Some(quantity) => inference.quantities[quantity] = map.next_value_seed(Amount)?,
                None => {
                    let seed = Words { field, buffer: &mut inference.texts[field] };
                    inference.has_text[field] = map.next_value_seed(seed)?;
                }
            }
            place.inference(index, "");
        }
        Ok(())
    }
}

/// A text, kept in a buffer. Returns whether there is one: `null` is none.
struct Words<'a> {
    field: usize,
    buffer: &'a mut String,
}

impl<'de> DeserializeSeed<'de> for Words<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Words<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
        // The buffer holds what was checked before, or nothing.
        if text.is_empty() || text != self.buffer.as_str() {
            let check = if self.field == DEVICE_ID { check_device_id } else { check_name };
            check(text).map_err(E::custom)?;
            text.clone_into(self.buffer);
        }
        Ok(true)
    }
}

/// A number of 0 or more; `null` is none.
struct Amount;

impl<'de> DeserializeSeed<'de> for Amount {
    type Value = Option<f64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<f64>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Amount {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of 0 or more")
    }

    fn visit_unit<E>(self) -> Result<Option<f64>, E> {
        Ok(None)
    }

    #[expect(clippy::cast_precision_loss, reason = "a number in a document is a double")]
    fn visit_u64<E>(self, value: u64) -> Result<Option<f64>, E> {
        Ok(Some(value as f64))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Option<f64>, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::custom(negative(value))),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Option<f64>, E> {
        // Neither a NaN nor an infinity is a number of JSON. What is kept has no sign: a store would lose that of `-0.0`.
        if value >= 0.0 { Ok(Some(value.abs())) } else { Err(E::custom(negative(value))) }
    }
}

/// Returns the complaint about a number below zero.
pub(super) fn negative(value: impl fmt::Display) -> String {
    format!("{value} is less than 0, and a number of 0 or more was expected")
}
