//! What the documents of devices say, as the document `lab.devices.v1`, and every inference as CSV. A description of what
//! other programs measured: nothing here judges.

mod rows;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use lab_core::device::DeviceFigures;
use lab_core::import::Source;
use lab_core::validity::Validity;
use schemars::JsonSchema;
use serde::Serialize;

pub use rows::{COLUMNS, InferencesCsv};
pub use sums::{Figures, Totals};

use sums::Sums;

use crate::import::device::is_same_device;

/// Schema id of the document.
pub const DEVICES_SCHEMA: &str = "lab.devices.v1";

/// What the documents of devices say.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DevicesDocument {
    /// Always `lab.devices.v1`.
    #[schemars(extend("const" = DEVICES_SCHEMA))]
    pub schema: &'static str,
    /// One row a device, by name and id.
    pub devices: Vec<DeviceRow>,
    /// One row a model, by name; null unless it was asked for. A description, no verdict.
    pub models: Option<Vec<ModelRow>>,
    /// One row a file, in the order of import; null unless one device was asked for.
    pub files: Option<Vec<FileRow>>,
}

/// What the documents of one device say.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DeviceRow {
    /// The name of its folder.
    pub device: String,
    /// Its id; null where no document tells it.
    pub device_id: Option<String>,
    /// The models, by name.
    pub models: Vec<String>,
    /// What computed, by name.
    pub compute_devices: Vec<String>,
    /// Files that were imported.
    pub files: u64,
    /// Those of them that contradict themselves.
    pub suspect: u64,
    /// The first time stamp, as devices write them: without a zone.
    pub first_timestamp: Option<String>,
    /// The last time stamp.
    pub last_timestamp: Option<String>,
    /// The figures over all inferences.
    pub totals: Totals,
}

/// What the documents about one model say.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModelRow {
    /// The model; null for documents that name none.
    pub model: Option<String>,
    /// The devices it ran on, by name.
    pub devices: Vec<String>,
    /// What computed, by name.
    pub compute_devices: Vec<String>,
    /// Files that were imported.
    pub files: u64,
    /// Those of them that contradict themselves.
    pub suspect: u64,
    /// The figures over all inferences: each inference counts alike.
    pub totals: Totals,
}

/// What one file says.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FileRow {
    /// Where it lay.
    pub path: String,
    /// SHA-256 of its bytes: what it is known by.
    pub sha256: String,
    /// The session that it was imported into, as listings show it.
    pub session: String,
    /// The model; null where it names none.
    pub model: Option<String>,
    /// The first time stamp.
    pub first_timestamp: Option<String>,
    /// The last time stamp.
    pub last_timestamp: Option<String>,
    /// In what it contradicts itself.
    pub validity: Validity,
    /// Its figures.
    pub totals: Totals,
}

/// One imported document, as the store has it.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The name of the device's folder.
    pub device: &'a str,
    /// The device's id; empty where the document does not tell it.
    pub device_id: &'a str,
    /// The session, as listings show it.
    pub session: &'a str,
    /// The file.
    pub source: &'a Source,
    /// What it says.
    pub figures: &'a DeviceFigures,
    /// In what it contradicts itself.
    pub validity: &'a Validity,
}

impl Stored<'_> {
    /// Returns whether the document is of the device with this name or id.
    pub fn is_of(&self, typed: &str) -> bool {
        self.device == typed || (!self.device_id.is_empty() && is_same_device(self.device_id, typed))
    }

    fn is_suspect(&self) -> bool {
        *self.validity != Validity::Valid
    }
}

/// Gives documents that tell no id the one of their folder, where all others in it have the same.
pub fn attribute(documents: &mut [Stored<'_>]) {
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for document in documents.iter().filter(|document| !document.device_id.is_empty()) {
        ids.entry(document.device).or_default().insert(document.device_id);
    }
    for document in documents.iter_mut().filter(|document| document.device_id.is_empty()) {
        let known = ids.get(document.device).filter(|known| known.len() == 1);
        if let Some(id) = known.and_then(BTreeSet::first) {
            document.device_id = *id;
        }
    }
}

/// Returns one row a device, by name and id.
pub fn devices(documents: &[Stored<'_>]) -> Vec<DeviceRow> {
    let mut groups: BTreeMap<(&str, &str), Sums<'_>> = BTreeMap::new();
    for document in documents {
        groups.entry((document.device, document.device_id)).or_default().add(document);
    }
    let row = |((device, device_id), sums): ((&str, &str), Sums<'_>)| DeviceRow {
        device: device.to_owned(),
        device_id: told(device_id),
        models: names(&sums.models),
        compute_devices: names(&sums.compute_devices),
        files: sums.files,
        suspect: sums.suspect,
        first_timestamp: sums.first_timestamp.map(str::to_owned),
        last_timestamp: sums.last_timestamp.map(str::to_owned),
        totals: sums.totals(),
    };
    groups.into_iter().map(row).collect()
}

/// Returns one row a model, by name.
pub fn models(documents: &[Stored<'_>]) -> Vec<ModelRow> {
    let mut groups: BTreeMap<&str, Sums<'_>> = BTreeMap::new();
    for document in documents {
        groups.entry(&document.figures.model_name).or_default().add(document);
    }
    let row = |(model, sums): (&str, Sums<'_>)| ModelRow {
        model: told(model),
        devices: names(&sums.devices),
        compute_devices: names(&sums.compute_devices),
        files: sums.files,
        suspect: sums.suspect,
        totals: sums.totals(),
    };
    groups.into_iter().map(row).collect()
}

/// Returns one row a file, in the order given.
pub fn files(documents: &[Stored<'_>]) -> Vec<FileRow> {
    let row = |document: &Stored<'_>| {
        let Stored { source, figures, .. } = *document;
        let mut sums = Sums::default();
        sums.add(document);
        FileRow {
            path: source.path.clone(),
            sha256: source.sha256.to_string(),
            session: document.session.to_owned(),
            model: told(&figures.model_name),
            first_timestamp: figures.first_timestamp.clone(),
            last_timestamp: figures.last_timestamp.clone(),
            validity: document.validity.clone(),
            totals: sums.totals(),
        }
    };
    documents.iter().map(row).collect()
}

fn told(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn names(set: &BTreeSet<&str>) -> Vec<String> {
    set.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the document's text.
pub fn to_text(document: &DevicesDocument) -> String {
    crate::pretty(document)
}
