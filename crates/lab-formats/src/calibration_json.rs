//! Calibrations as a JSON document, `lab.calibration.v1`.

use lab_core::calibration::{CALIBRATION_SCHEMA, Calibration};
use schemars::JsonSchema;
use serde::Serialize;

/// What one run of `lab calibrate` learnt.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CalibrationDocument<'a> {
    /// Always `lab.calibration.v1`.
    #[schemars(extend("const" = CALIBRATION_SCHEMA))]
    pub schema: &'static str,
    /// Of separate sessions, as `lab compare` judges them.
    pub compare: &'a Calibration,
    /// Of paired experiments, as `lab ab` judges them.
    pub ab: &'a Calibration,
}

/// Returns the document's text.
pub fn to_text(compare: &Calibration, ab: &Calibration) -> String {
    crate::pretty(&CalibrationDocument { schema: CALIBRATION_SCHEMA, compare, ab })
}
