//! GPUs and neural processors, as their drivers announce them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::roots::{entries, file_name, read_text};
use crate::text::field;
use crate::{Roots, Unavailable};

/// PCI vendors whose devices compute. Others on the graphics bus (ASPEED, Matrox, virtio) only draw.
/// Source: the PCI ID repository.
const VENDORS: &[(&str, &str)] =
    &[("0x1002", "AMD"), ("0x10de", "NVIDIA"), ("0x8086", "Intel"), ("0x1da3", "Habana"), ("0x1022", "AMD")];

/// A GPU or a neural processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accelerator {
    /// Who made it: `NVIDIA`, `AMD`, `Intel`, `Habana`.
    pub vendor: String,
    /// What its driver calls it, or its PCI device number where the driver names none.
    pub name: String,
    /// Where it was found, relative to its root: `driver/nvidia/gpus/0000:41:00.0`, `class/drm/card0`.
    pub found_at: String,
}

/// Returns the machine's GPUs and neural processors; empty where it has none.
///
/// # Errors
///
/// When the list of device classes cannot be read at all.
pub fn accelerators(roots: &Roots) -> Result<Vec<Accelerator>, Unavailable> {
    entries(&roots.sys.join("class"), "")?;
    let mut found = nvidia_gpus(roots);
    let nvidia_known = !found.is_empty();
    for (class, prefix) in [("drm", "card"), ("accel", "accel")] {
        let devices = class_devices(roots, class, prefix);
        // NVIDIA's own driver shows each GPU a second time on the graphics bus, without its name.
        found.extend(devices.into_iter().filter(|device| !(nvidia_known && device.vendor == "NVIDIA")));
    }
    Ok(found)
}

/// Returns the GPUs that NVIDIA's own driver lists.
fn nvidia_gpus(roots: &Roots) -> Vec<Accelerator> {
    const GPUS: &str = "driver/nvidia/gpus";
    let directories = entries(&roots.proc.join(GPUS), "").unwrap_or_default();
    let describe = |directory: &Path| {
        let information = read_text(&directory.join("information")).ok()?;
        let name = field(&information, "Model").filter(|name| !name.is_empty())?.to_owned();
        let found_at = format!("{GPUS}/{}", file_name(directory));
        Some(Accelerator { vendor: "NVIDIA".to_owned(), name, found_at })
    };
    directories.iter().filter_map(|directory| describe(directory)).collect()
}

fn class_devices(roots: &Roots, class: &str, prefix: &str) -> Vec<Accelerator> {
    let cards = entries(&roots.sys.join("class").join(class), prefix).unwrap_or_default();
    // `card0-HDMI-A-1` is a socket of `card0`.
    let whole =
        |card: &&std::path::PathBuf| file_name(card)[prefix.len()..].bytes().all(|b| b.is_ascii_digit());
    cards.iter().filter(whole).filter_map(|card| describe_device(class, card)).collect()
}

fn describe_device(class: &str, card: &Path) -> Option<Accelerator> {
    let vendor_number = read_text(&card.join("device/vendor")).ok()?;
    let (_, vendor) = VENDORS.iter().find(|(number, _)| *number == vendor_number)?;
    // amdgpu names professional cards; for others the device number is the only name.
    let name = read_text(&card.join("device/product_name"))
        .or_else(|_| read_text(&card.join("device/device")).map(|number| format!("{vendor} device {number}")))
        .unwrap_or_else(|_| format!("{vendor} device of unknown number"));
    let found_at = format!("class/{class}/{}", file_name(card));
    Some(Accelerator { vendor: (*vendor).to_owned(), name, found_at })
}
