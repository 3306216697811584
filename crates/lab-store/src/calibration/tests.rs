//! Documents in and out.

use serde_json::json;

use super::*;
use crate::fixture::{Scratch, calibration, scratch};

/// A store with calibrations 1 and 2, the newer first, and one of another kind.
fn three() -> Scratch {
    let mut scratch = scratch();
    let other_kind = CalibrationRow { kind: CalibrationKind::Ab, ..calibration(3) };
    for row in [&calibration(2), &calibration(1), &other_kind] {
        scratch.store.append_calibration(row).unwrap();
    }
    scratch
}

#[test]
fn calibrations_of_a_kind_and_digest_read_back_newest_first() {
    let scratch = three();
    let found = |digest: &Digest, kind| scratch.store.calibrations(digest, kind).unwrap();
    let fingerprint = calibration(1).fingerprint;
    assert_eq!(found(&fingerprint, CalibrationKind::Compare), [calibration(2), calibration(1)]);
    let of_pairs = found(&fingerprint, CalibrationKind::Ab);
    assert_eq!(of_pairs.iter().map(|row| row.id).collect::<Vec<_>>(), [calibration(3).id]);
    assert_eq!(found(&Digest::of(b"other"), CalibrationKind::Compare), []);
    assert!(scratch.store.verify(None).unwrap().is_sound());
}

#[test]
fn documents_read_back_exactly() {
    let mut scratch = scratch();
    let body = json!({"z": 0.1 + 0.2, "a": [u64::MAX, i64::MIN, 1.0, 1e300], "ü\u{0}": null});
    let row = CalibrationRow { body, ..calibration(1) };
    scratch.store.append_calibration(&row).unwrap();
    let found = scratch.store.calibrations(&row.fingerprint, row.kind).unwrap();
    assert_eq!(found[0].body.to_string(), row.body.to_string());
}

#[test]
fn a_calibration_is_not_recorded_twice() {
    let mut scratch = three();
    let row = CalibrationRow { body: json!({}), ..calibration(1) };
    let before = scratch.store.head().unwrap();
    let sentence = format!(
        "`calibration:{}` is already recorded, and recorded rows are never replaced (invariant I4)",
        row.id
    );
    assert_eq!(scratch.store.append_calibration(&row).unwrap_err().to_string(), sentence);
    assert_eq!(scratch.store.head().unwrap(), before);
}

#[test]
fn every_kind_is_stored_as_its_word() {
    for kind in [CalibrationKind::Compare, CalibrationKind::Ab] {
        assert_eq!(parse_word::<CalibrationKind>("row", kind.name()).unwrap(), kind);
        assert_eq!(kind.to_string(), kind.name());
    }
}
