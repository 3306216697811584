//! The report as a JSON document, `lab.report.v1`: the [`Report`] itself, which carries its schema's name.

use lab_core::report::Report;

/// Returns the document's text.
pub fn to_text(report: &Report) -> String {
    crate::pretty(report)
}
