//! Sessions of documents: one for each device, model and what computed, so that a session has one identity.

use std::collections::BTreeMap;

use lab_core::fingerprint::PartKind;
use lab_core::import::{Figures, Import, Imported};
use lab_core::metric::Contract;
use lab_core::record::{Outcome, RecordedRepetition, Session, SessionHeader};

use crate::imported;

/// A document, and the device that it is of: the name of its folder, or what its topic says.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) device: String,
    pub(crate) imported: Imported,
}

/// What a session's documents have in common. Documents about loading have no metric in common with those about inferences,
/// and so have a session of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    device: String,
    device_id: String,
    model_name: String,
    compute_devices: String,
    is_loading: bool,
}

impl Common {
    fn of(Taken { device, imported }: &Taken) -> Self {
        let Figures::Device(figures) = &imported.figures else { unreachable!("it was read as a device's") };
        let mut compute_devices = figures.compute_devices.clone();
        compute_devices.sort();
        Self {
            device: device.clone(),
            device_id: figures.device_id.clone(),
            model_name: figures.model_name.clone(),
            compute_devices: compute_devices.join(", "),
            is_loading: figures.loading.is_some(),
        }
    }

    fn session(&self, documents: Vec<Imported>, tool: &str) -> Session {
        let told = [
            (PartKind::Model, "name", &self.model_name),
            (PartKind::Hardware, "device", &self.device),
            (PartKind::Hardware, "device_id", &self.device_id),
            (PartKind::Backend, "compute_device", &self.compute_devices),
        ];
        let told = told.into_iter().filter(|(.., value)| !value.is_empty());
        let common = imported::Common {
            import: Import { contract: Contract::DeviceV1, tool: tool.to_owned() },
            told: &told.map(|(part, field, value)| (part, field, value.clone())).collect(),
            name: plan_name(&self.device),
            model_name: if self.model_name.is_empty() { NO_MODEL } else { &self.model_name },
            plan: None,
        };
        common.session(documents)
    }
}

/// Returns the sessions of documents, in the order of their first ones.
pub(crate) fn of(taken: &[Taken], tool: &str) -> Vec<Session> {
    let mut positions: BTreeMap<Common, usize> = BTreeMap::new();
    let mut groups: Vec<(Common, Vec<Imported>)> = Vec::new();
    for document in taken {
        let common = Common::of(document);
        let position = *positions.entry(common.clone()).or_insert(groups.len());
        if position == groups.len() {
            groups.push((common, Vec::new()));
        }
        groups[position].1.push(document.imported.clone());
    }
    groups.into_iter().map(|(common, documents)| common.session(documents, tool)).collect()
}

/// Stands for the model of documents that name none.
const NO_MODEL: &str = "not told";

/// The longest name of a plan.
const LONGEST_NAME: usize = 64;

/// Returns the name of a device's folder in the alphabet of plan names: what listings and histories call its sessions.
fn plan_name(device: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let letter = |c: char| if is_allowed(c) { c } else { '-' };
    let name: String = device.to_lowercase().chars().map(letter).take(LONGEST_NAME).collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    if name.is_empty() { "device".to_owned() } else { name.to_owned() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_any_name_gives_a_legal_plan_name() {
        let (long, cut) = ("x".repeat(90), "x".repeat(64));
        for (folder, expected) in [
            ("edge-device-01", "edge-device-01"),
            ("Edge Device", "edge-device"),
            ("..hidden", "hidden"),
            ("ü", "device"),
            ("00:0f", "00-0f"),
            (long.as_str(), cut.as_str()),
        ] {
            assert_eq!(plan_name(folder), expected, "{folder}");
        }
    }
}
