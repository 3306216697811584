//! What a host can and cannot measure, as the document `lab.doctor.v1`.

use schemars::JsonSchema;
use serde::Serialize;

/// Schema id of the document.
pub const DOCTOR_SCHEMA: &str = "lab.doctor.v1";

/// What a host can and cannot measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DoctorDocument {
    /// Always `lab.doctor.v1`.
    #[schemars(extend("const" = DOCTOR_SCHEMA))]
    pub schema: &'static str,
    /// Facts about the host, name and value.
    pub host: Vec<HostFact>,
    /// One entry a thing that can be measured or set.
    pub capabilities: Vec<CapabilityRow>,
}

/// A fact about the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HostFact {
    /// What it is about.
    pub name: String,
    /// The value, or why it is unknown.
    pub value: String,
}

/// One thing that can be measured or set, or cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CapabilityRow {
    /// Its name.
    pub name: String,
    /// What lab needs it for.
    pub what_for: String,
    /// Metrics that have no value without it.
    pub metrics: Vec<String>,
    /// Whether it is there.
    pub available: bool,
    /// What was found, or why it is not there.
    pub detail: String,
    /// What the user can do about it, where there is something.
    pub remedy: Option<String>,
}

/// Returns the document's text.
pub fn to_text(document: &DoctorDocument) -> String {
    crate::pretty(document)
}
