//! Documents of other tools: where they came from, and the figures taken from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::DeviceFigures;
use crate::digest::Digest;
use crate::fingerprint::{Fingerprint, PartKind, PartRecord};
use crate::metric::{Contract, Measurement, derive_device, derive_workflow};
use crate::validity::Validity;
use crate::workflow::WorkflowFigures;

/// What a session of imported documents is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Import {
    /// The contract that defines its metrics.
    pub contract: Contract,
    /// The tool that measured. Sessions of different tools are never compared.
    pub tool: String,
}

/// The raw data of one imported document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Imported {
    /// The file. Its bytes lie in the store, under its digest.
    pub source: Source,
    /// What the document says, as far as metrics are derived from it.
    pub figures: Figures,
    /// In what it contradicts itself.
    pub validity: Validity,
}

impl Imported {
    /// Derives every metric of the document's contract, in table order.
    pub fn measurements(&self) -> Vec<Measurement> {
        match &self.figures {
            Figures::Workflow(figures) => derive_workflow(figures),
            Figures::Device(figures) => derive_device(figures),
        }
    }
}

/// A file that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Where it lay, as it was named.
    pub path: String,
    /// SHA-256 of its bytes: what it is known by.
    pub sha256: Digest,
    /// Its size.
    pub bytes: u64,
}

/// What a document says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figures {
    /// Of contract `workflow.v1`.
    Workflow(Box<WorkflowFigures>),
    /// Of contract `device.v1`.
    Device(Box<DeviceFigures>),
}

/// What a document says of the identity of what it measured, by part and field. What it does not say is not there: documents
/// are compared by what they tell.
pub type Told<'a> = &'a [(PartKind, &'a str, &'a str)];

/// Returns the fingerprint of imported documents. The engine's part is the tool.
pub fn fingerprint(import: &Import, told: Told<'_>) -> Fingerprint {
    let part = |kind: PartKind| {
        let mut part = PartRecord::of_import(kind);
        for (_, field, value) in told.iter().filter(|(own, ..)| *own == kind) {
            part.identity.insert((*field).to_owned(), (*value).into());
        }
        part
    };
    let mut engine = part(PartKind::Engine);
    engine.identity.insert("tool".to_owned(), import.tool.clone().into());
    let mut plan = part(PartKind::Plan);
    plan.identity.insert("contract".to_owned(), import.contract.to_string().into());
    Fingerprint {
        model: part(PartKind::Model),
        plan,
        backend: part(PartKind::Backend),
        hardware: part(PartKind::Hardware),
        engine,
    }
}
