//! Sessions of documents: one for each device, model and what computed, so that a session has one identity.

use lab_core::fingerprint::PartKind;
use lab_core::import::Figures;
use lab_core::record::{Outcome, RecordedRepetition, Session, SessionHeader};
use lab_formats::import::device::DeviceDocument;

use crate::imported::{Content, Identity, plan_name};

/// Stands for the model of documents that name none.
const NO_MODEL: &str = "not told";

/// Returns what a document says, with what its session is known by. The device is the name of its folder, or what its topic
/// says.
pub(crate) fn content(device: &str, document: DeviceDocument, tool: &str) -> Content {
    let DeviceDocument { figures, contradictions } = document;
    let mut compute_devices = figures.compute_devices.clone();
    compute_devices.sort();
    let told = [
        (PartKind::Model, "name", figures.model_name.clone()),
        (PartKind::Hardware, "device", device.to_owned()),
        (PartKind::Hardware, "device_id", figures.device_id.clone()),
        (PartKind::Backend, "compute_device", compute_devices.join(", ")),
    ];
    let model_name = if figures.model_name.is_empty() { NO_MODEL } else { &figures.model_name };
    let identity = Identity {
        tool: tool.to_owned(),
        told: told.into_iter().filter(|(.., value)| !value.is_empty()).collect(),
        name: plan_name(device).unwrap_or_else(|| "device".to_owned()),
        model_name: model_name.to_owned(),
    };
    Content { figures: Figures::Device(Box::new(figures)), contradictions, identity }
}

/// Returns the inferences of a session's documents.
pub(super) fn inferences(session: &Session) -> u64 {
    let of = |recorded: &RecordedRepetition| match &recorded.repetition.outcome {
        Outcome::Imported(imported) => match &imported.figures {
            Figures::Device(figures) => figures.inferences.as_ref().map_or(0, |own| own.n),
            Figures::Workflow(_) => 0,
        },
        _ => 0,
    };
    session.repetitions.iter().map(of).sum()
}

/// Returns the device's name, as its part of the fingerprint has it.
pub(crate) fn device_of(header: &SessionHeader) -> &str {
    let device = header.fingerprint.hardware.identity.get("device");
    device.and_then(serde_json::Value::as_str).unwrap_or("not told")
}
