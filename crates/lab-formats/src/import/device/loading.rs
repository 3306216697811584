//! `loading_metrics.json`: what loading a model took. Nobody wrote down its schema, so that several names are taken for each
//! figure.

use std::fmt;
use std::io::Read;

use lab_core::device::{DeviceFigures, Loading};
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Deserializer, Map, Value};

use super::super::error::DocumentError;
use super::super::text::check_name;
use super::name::check_device_id;
use super::place::Place;
use super::stated::refuse_twice;
use super::{DeviceDocument, json_excerpt};

/// The most that a document about loading may have: it is one small object.
const MOST_BYTES: u64 = 1 << 20;

/// A figure of loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadingFigure {
    /// Time to load, in milliseconds.
    LoadingTimeMs,
    /// What memory rose by, in MB.
    MemoryIncreaseMb,
}

/// A key that is taken for a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadingKey {
    /// The key.
    pub key: &'static str,
    /// What it is taken for.
    pub figure: LoadingFigure,
    /// What its value is multiplied by.
    pub factor: f64,
}

const fn time(key: &'static str, factor: f64) -> LoadingKey {
    LoadingKey { key, figure: LoadingFigure::LoadingTimeMs, factor }
}

const fn memory(key: &'static str) -> LoadingKey {
    LoadingKey { key, figure: LoadingFigure::MemoryIncreaseMb, factor: 1.0 }
}

/// Every key that is taken for a figure; the first of a document counts. `docs/devices.md` lists them.
pub static LOADING_KEYS: [LoadingKey; 18] = [
    time("loading_time_ms", 1.0),
    time("load_time_ms", 1.0),
    time("model_loading_time_ms", 1.0),
    time("model_load_time_ms", 1.0),
    time("loading_time_s", 1e3),
    time("load_time_s", 1e3),
    time("model_loading_time_s", 1e3),
    time("model_load_time_s", 1e3),
    time("loading_time_sec", 1e3),
    time("load_time_sec", 1e3),
    time("model_loading_time_sec", 1e3),
    time("model_load_time_sec", 1e3),
    time("loading_time_seconds", 1e3),
    time("load_time_seconds", 1e3),
    memory("memory_increase_mb"),
    memory("memory_delta_mb"),
    memory("memory_increase_during_load_mb"),
    memory("model_memory_increase_mb"),
];

/// Reads a document about loading. Keys that are not known stay where they are: in the bytes of the file.
///
/// # Errors
///
/// When the reader fails, the document is no JSON object, is larger than 1 MiB, a value is not what its key says, a known key
/// is given twice, or neither figure is there.
pub fn read_loading(reader: impl Read) -> Result<DeviceDocument, DocumentError> {
    let mut bytes = Vec::new();
    reader.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(DocumentError::Unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(DocumentError::wrong(
            "the document",
            format!("more than {MOST_BYTES} bytes, for one small object"),
        ));
    }
    let own = entries(&bytes)?;
    let mut contradictions = Vec::new();
    let loading = Loading {
        loading_time_ms: figure(&own, LoadingFigure::LoadingTimeMs, &mut contradictions)?,
        memory_increase_mb: figure(&own, LoadingFigure::MemoryIncreaseMb, &mut contradictions)?,
    };
    if loading == Loading::default() {
        let keys: Vec<String> = LOADING_KEYS.iter().map(|own| format!("`{}`", own.key)).collect();
        return Err(DocumentError::wrong(
            "the document",
            format!("none of the keys {} is there", keys.join(", ")),
        ));
    }
    let stamp = text(&own, "timestamp", check_name)?;
    let figures = DeviceFigures {
        device_id: text(&own, "device_id", check_device_id)?.unwrap_or_default(),
        model_name: text(&own, "model_name", check_name)?.unwrap_or_default(),
        compute_devices: text(&own, "compute_device", check_name)?.into_iter().collect(),
        first_timestamp: stamp.clone(),
        last_timestamp: stamp,
        inferences: None,
        loading: Some(loading),
    };
    Ok(DeviceDocument { figures, contradictions })
}

/// The texts that are read.
const TEXTS: [&str; 4] = ["timestamp", "device_id", "model_name", "compute_device"];

/// Returns what stands under the known keys.
fn entries(bytes: &[u8]) -> Result<Map<String, Value>, DocumentError> {
    let place = Place::default();
    let mut json = Deserializer::from_slice(bytes);
    let entries = json.deserialize_map(Entries(&place)).and_then(|entries| json.end().map(|()| entries));
    entries.map_err(|error| DocumentError::of(error, &place))
}

struct Entries<'a>(&'a Place);

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let known_keys = || LOADING_KEYS.iter().map(|known| known.key).chain(TEXTS);
        let mut entries = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Some(known) = known_keys().find(|known| *known == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.0.document(known);
            refuse_twice::<A::Error>(entries.contains_key(known))?;
            entries.insert(key, map.next_value()?);
            self.0.document("");
        }
        Ok(entries)
    }
}

/// Returns a figure by the first of its keys that is there. Others must say the same.
fn figure(
    own: &Map<String, Value>,
    figure: LoadingFigure,
    contradictions: &mut Vec<String>,
) -> Result<Option<f64>, DocumentError> {
    let mut found: Option<(&LoadingKey, f64)> = None;
    for known in LOADING_KEYS.iter().filter(|known| known.figure == figure) {
        let Some(value) = own.get(known.key).filter(|value| !value.is_null()) else { continue };
        let value = amount(known, value)?;
        match found {
            None => found = Some((known, value)),
            Some((first, other)) if (other - value).abs() > 1e-9 * other.abs() => contradictions
                .push(format!("loading: `{}` comes to {other}, `{}` to {value}", first.key, known.key)),
            Some(_) => {}
        }
    }
    Ok(found.map(|(_, value)| value))
}

/// Returns a value in the unit of its figure. Memory may fall; time does not run backwards.
fn amount(known: &LoadingKey, value: &Value) -> Result<f64, DocumentError> {
    let is_meant = |amount: &f64| known.figure == LoadingFigure::MemoryIncreaseMb || *amount >= 0.0;
    let expected = match known.figure {
        LoadingFigure::LoadingTimeMs => "a number of 0 or more",
        LoadingFigure::MemoryIncreaseMb => "a number",
    };
    let complaint =
        || DocumentError::wrong(known.key, format!("{} where {expected} was expected", json_excerpt(value)));
    let amount = value.as_f64().filter(is_meant).ok_or_else(complaint)? * known.factor;
    // A sum with zero has no sign of zero, which a store would lose.
    if amount.is_finite() {
        return Ok(amount + 0.0);
    }
    Err(DocumentError::wrong(known.key, format!("{} is too great for a number of ms", json_excerpt(value))))
}

fn text(
    own: &Map<String, Value>,
    key: &str,
    check: fn(&str) -> Result<(), String>,
) -> Result<Option<String>, DocumentError> {
    match own.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match check(text) {
            Ok(()) => Ok(Some(text.clone())),
            Err(sentence) => Err(DocumentError::wrong(key, sentence)),
        },
        Some(other) => {
            Err(DocumentError::wrong(key, format!("{} where a text was expected", json_excerpt(other))))
        }
    }
}
