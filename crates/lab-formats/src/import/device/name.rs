//! Names: of files and of devices.

use lab_core::device::DeviceId;

/// What the documents of a device are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// `inference_metrics_*.json`.
    Inferences {
        /// The device, where the name is `inference_metrics_<device>_<YYYYMMDD>_<HHMMSS>.json`.
        device_id: Option<String>,
    },
    /// `loading_metrics.json`.
    Loading,
}

/// Returns what a file is by its name; nothing for any other name.
pub fn kind_of(name: &str) -> Option<FileKind> {
    if name == "loading_metrics.json" {
        return Some(FileKind::Loading);
    }
    let own = name.strip_prefix("inference_metrics_")?.strip_suffix(".json")?;
    let mut parts = own.rsplitn(3, '_');
    let (time, date, device) = (parts.next(), parts.next(), parts.next());
    let is_stamp = is_digits(date, 8) && is_digits(time, 6);
    let device_id = device.filter(|id| is_stamp && DeviceId::parse(id).is_ok()).map(str::to_owned);
    Some(FileKind::Inferences { device_id })
}

fn is_digits(text: Option<&str>, n: usize) -> bool {
    text.is_some_and(|text| text.len() == n && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Refuses what is no id of a device: the check of a field, as `check_name` is of others.
pub(super) fn check_device_id(text: &str) -> Result<(), String> {
    DeviceId::parse(text).map(drop).map_err(|error| error.to_string())
}

/// Returns whether two ids are of one device. MAC addresses are written with `:` or `-`, in either case.
pub fn is_same_device(left: &str, right: &str) -> bool {
    match (mac(left), mac(right)) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

/// Returns the digits of a MAC address: six pairs of hexadecimal digits; nothing for any other text.
fn mac(text: &str) -> Option<String> {
    let pairs: Vec<&str> = text.split([':', '-']).collect();
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    (pairs.len() == 6 && pairs.iter().all(is_pair)).then(|| pairs.concat().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        let inferences = |id: Option<&str>| Some(FileKind::Inferences { device_id: id.map(str::to_owned) });
        for (name, expected) in [
            ("loading_metrics.json", Some(FileKind::Loading)),
            (
                "inference_metrics_00:0f:00:70:91:0a_20251007_103015.json",
                inferences(Some("00:0f:00:70:91:0a")),
            ),
            (
                "inference_metrics_00-0f-00-70-91-0a_20251007_103015.json",
                inferences(Some("00-0f-00-70-91-0a")),
            ),
            ("inference_metrics_edge_01_20251007_103015.json", inferences(Some("edge_01"))),
            ("inference_metrics_.._20251007_103015.json", inferences(None)),
            ("inference_metrics_today.json", inferences(None)),
            ("inference_metrics_a_2025107_103015.json", inferences(None)),
            ("inference_metrics_a_20251007_103015.json.tmp", None),
            ("Loading_metrics.json", None),
            ("README.md", None),
        ] {
            assert_eq!(kind_of(name), expected, "{name}");
        }
    }

    #[test]
    fn an_address_is_the_same_in_either_notation() {
        assert!(is_same_device("00:0F:00:70:91:0a", "00-0f-00-70-91-0A"));
        assert!(!is_same_device("00:0f:00:70:91:0a", "00:0f:00:70:91:0b"));
        assert!(is_same_device("edge-01", "edge-01"));
        assert!(!is_same_device("edge-01", "EDGE-01"));
    }
}
