//! The metrics documents of edge devices (contract `device.v1`), read without keeping an inference, or what is not known of a
//! summary: a file may be larger than memory. What counts is derived from the details; a summary that says otherwise is a
//! contradiction, not a figure.

mod inference;
mod loading;
mod name;
mod place;
mod stated;
mod summary;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{BufReader, Read};

use lab_core::device::{DeviceFigures, Inferences, Tally};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Deserializer, Value};

pub use inference::{Inference, QUANTITIES, TEXTS};
pub use loading::{LOADING_KEYS, LoadingFigure, LoadingKey, read_loading};
pub use name::{FileKind, is_same_device, kind_of};

use super::error::DocumentError;
use super::text::excerpt;
use inference::KeyAmong;
use place::Place;
use stated::Stated;
use summary::{Summary, is_finer};

/// What one document says.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceDocument {
    /// Its figures, derived from its details.
    pub figures: DeviceFigures,
    /// In what it contradicts itself: a sentence each, the id of a rule in front.
    pub contradictions: Vec<String>,
}

impl DeviceDocument {
    /// Holds the device that the file's name tells against the one of the document.
    pub fn hold_against_name(&mut self, device_id: &str) {
        let own = &self.figures.device_id;
        if !own.is_empty() && !is_same_device(own, device_id) {
            let sentence = format!("name: the file's name says `{device_id}`, the document `{own}`");
            self.contradictions.push(sentence);
        }
    }
}

/// Reads a document about inferences as it streams by.
///
/// # Errors
///
/// When the reader fails, the document is no JSON object with `detailed_metrics`, or a value is not what its key says.
pub fn read_inferences(reader: impl Read) -> Result<DeviceDocument, DocumentError> {
    fold(Deserializer::from_reader(BufReader::with_capacity(BUFFER_BYTES, reader)))
}

/// Reads a document about inferences that lies in memory: several times as fast.
///
/// # Errors
///
/// As [`read_inferences`].
pub fn read_inferences_slice(bytes: &[u8]) -> Result<DeviceDocument, DocumentError> {
    fold(Deserializer::from_slice(bytes))
}

/// Hands each inference of a document, with its position, to a sink.
///
/// # Errors
///
/// As [`read_inferences`].
pub fn for_each_inference(
    reader: impl Read,
    mut sink: impl FnMut(u64, &Inference),
) -> Result<(), DocumentError> {
    let json = Deserializer::from_reader(BufReader::with_capacity(BUFFER_BYTES, reader));
    visit(json, &mut sink).map(|_| ())
}

/// JSON is taken from a reader byte by byte.
const BUFFER_BYTES: usize = 1 << 16;

fn fold<'de, R: serde_json::de::Read<'de>>(json: Deserializer<R>) -> Result<DeviceDocument, DocumentError> {
    let mut details = Details::default();
    let parts = visit(json, &mut |_, inference: &Inference| details.add(inference))?;
    if !parts.has_details {
        return Err(DocumentError::wrong(
            "detailed_metrics",
            "it is missing, and an array of inferences was expected",
        ));
    }
    details.document(&parts.summary.unwrap_or_default())
}

/// What a document has besides its inferences.
#[derive(Default)]
struct Parts {
    summary: Option<Summary>,
    has_details: bool,
}

fn visit<'de, R, F>(mut json: Deserializer<R>, sink: &mut F) -> Result<Parts, DocumentError>
where
    R: serde_json::de::Read<'de>,
    F: FnMut(u64, &Inference),
{
    let place = Place::default();
    let parts = Document { place: &place, sink }.deserialize(&mut json);
    let parts = parts.and_then(|parts| {
        place.document("");
        json.end().map(|()| parts)
    });
    parts.map_err(|error| DocumentError::of(error, &place))
}

const SUMMARY: usize = 0;
const DETAILS: usize = 1;
const PARTS: [&str; 2] = ["summary", "detailed_metrics"];

struct Document<'a, F> {
    place: &'a Place,
    sink: &'a mut F,
}

impl<'de, F: FnMut(u64, &Inference)> DeserializeSeed<'de> for Document<'_, F> {
    type Value = Parts;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Parts, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(u64, &Inference)> Visitor<'de> for Document<'_, F> {
    type Value = Parts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `summary` and `detailed_metrics`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts, A::Error> {
        let Self { place, sink } = self;
        let mut parts = Parts::default();
        while let Some(key) = map.next_key_seed(KeyAmong(&PARTS))? {
            let Some(part) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            place.document(PARTS[part]);
            match part {
                SUMMARY if parts.summary.is_none() => {
                    parts.summary = Some(map.next_value_seed(Stated(place))?);
                }
                DETAILS if !parts.has_details => {
                    map.next_value_seed(inference::Inferences { place, sink: &mut *sink })?;
                    parts.has_details = true;
                }
                _ => return Err(A::Error::custom("the key is given twice")),
            }
            place.document("");
        }
        Ok(parts)
    }
}

/// What inferences come to.
#[derive(Default)]
struct Details {
    n: u64,
    spreads: [Tally; QUANTITIES.len()],
    /// Whether any value of the quantity is finer than a hundredth.
    has_finer: [bool; QUANTITIES.len()],
    devices: Names,
    models: Names,
    compute_devices: Names,
    first_timestamp: Option<String>,
    last_timestamp: Option<String>,
}

impl Details {
    fn add(&mut self, inference: &Inference) {
        self.n += 1;
        let tallies = self.spreads.iter_mut().zip(&mut self.has_finer);
        for ((spread, has_finer), value) in tallies.zip(inference.quantities()) {
            let Some(value) = value else { continue };
            spread.add(value);
            *has_finer = *has_finer || is_finer(value);
        }
        let [timestamp, device, model, compute_device] = inference.texts();
        self.devices.add(device);
        self.models.add(model);
        self.compute_devices.add(compute_device);
        if let Some(timestamp) = timestamp {
            keep(&mut self.first_timestamp, timestamp, |kept| timestamp < kept);
            keep(&mut self.last_timestamp, timestamp, |kept| timestamp > kept);
        }
    }

    fn document(self, summary: &Summary) -> Result<DeviceDocument, DocumentError> {
        for (spread, key) in self.spreads.iter().zip(QUANTITIES) {
            if !spread.sum.is_finite() {
                let message = format!("the values of `{key}` add up to no number");
                return Err(DocumentError::wrong("detailed_metrics", message));
            }
        }
        let [inference_time_ms, memory_usage_mb, cpu_usage_percent, energy_consumption_mj] = self.spreads;
        let inferences = Inferences {
            n: self.n,
            inference_time_ms,
            memory_usage_mb,
            cpu_usage_percent,
            energy_consumption_mj,
        };
        let mut contradictions =
            summary.contradictions(&inferences, self.has_finer, &self.devices, &self.models);
        contradictions.extend(self.devices.contradiction("devices"));
        contradictions.extend(self.models.contradiction("models"));
        let figures = DeviceFigures {
            device_id: name_of("device_id", &self.devices, summary.device_id.as_ref())?,
            model_name: name_of("model_name", &self.models, summary.model_name.as_ref())?,
            compute_devices: self.compute_devices.known,
            first_timestamp: self.first_timestamp,
            last_timestamp: self.last_timestamp,
            inferences: Some(inferences),
            loading: None,
        };
        Ok(DeviceDocument { figures, contradictions })
    }
}

/// Keeps a text in the place of another that it is before or behind.
fn keep(kept: &mut Option<String>, text: &str, is_beyond: impl Fn(&str) -> bool) {
    match kept {
        None => *kept = Some(text.to_owned()),
        Some(own) if is_beyond(own.as_str()) => text.clone_into(own),
        Some(_) => {}
    }
}

/// Returns a name by the details, or else by the summary.
fn name_of(key: &str, found: &Names, said: Option<&String>) -> Result<String, DocumentError> {
    let name = found.known.first().or(said);
    name.cloned().ok_or_else(|| DocumentError::wrong(key, "neither the summary nor an inference has it"))
}

/// The different names under one key, in the order in which they were met.
#[derive(Default)]
struct Names {
    known: Vec<String>,
    has_more: bool,
}

impl Names {
    /// A document is about one device and one model: what has more than this is a contradiction by the first of them.
    const MOST: usize = 16;

    fn add(&mut self, name: Option<&str>) {
        let Some(name) = name else { return };
        if self.known.iter().any(|known| known == name) {
            return;
        }
        if self.known.len() < Self::MOST {
            self.known.push(name.to_owned());
        } else {
            self.has_more = true;
        }
    }

    fn known(&self) -> &[String] {
        &self.known
    }

    fn contradiction(&self, what: &str) -> Option<String> {
        let more = if self.has_more { " and more" } else { "" };
        let names: Vec<String> = self.known.iter().map(|name| format!("`{name}`")).collect();
        (names.len() > 1)
            .then(|| format!("details: the inferences name several {what}: {}{more}", names.join(", ")))
    }
}

/// Returns the beginning of a JSON value, for an error.
fn json_excerpt(value: &Value) -> String {
    format!("`{}`", excerpt(&value.to_string()))
}
