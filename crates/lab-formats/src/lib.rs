//! Recordings and reports in other formats; one module a format.
//!
//! Everything is a pure function from records to text or to a typed document. Nothing here reads, writes, computes a
//! statistic or judges: figures come in with the recording, judgements with the report. [`import`] goes the other way, from
//! documents of other tools to records. What people read is first laid out as a [`page::Page`], which [`table`] renders for a
//! terminal and [`markdown`] for a document.

pub mod baseline_json;
pub mod calibration_json;
pub mod check_json;
pub mod command_check;
pub mod csv;
pub mod device_files;
pub mod devices;
pub mod doctor;
pub mod gate_json;
pub mod github;
pub mod history;
pub mod import;
pub mod junit;
pub mod list_json;
pub mod markdown;
pub mod metrics_doc;
pub mod overhead;
pub mod page;
pub mod plan_check;
pub mod plot;
pub mod quantity;
pub mod report_json;
pub mod schemas;
pub mod session_json;
pub mod steps;
pub mod store_json;
pub mod table;
pub mod validity_doc;
pub mod workflow;

use lab_core::fingerprint::PartRecord;
use lab_core::record::Session;
use lab_core::summary::MetricSummary;
use serde::Serialize;
use serde_json::Value;

/// A session and its figures.
#[derive(Debug, Clone, Copy)]
pub struct Recording<'a> {
    /// The session.
    pub session: &'a Session,
    /// Every metric of the table over the session, in table order.
    pub figures: &'a [MetricSummary],
}

/// Returns a JSON document as text: indented by two spaces, with a line feed at its end.
fn pretty<T: Serialize>(document: &T) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("documents have string keys only");
    text.push('\n');
    text
}

#[expect(clippy::cast_precision_loss, reason = "no execution comes near 2^53 ns")]
fn milliseconds(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// Returns an identity field of a fingerprint part as text; nothing when the part lacks it.
fn identity_text(part: &PartRecord, field: &str) -> Option<String> {
    part.identity.get(field).filter(|value| !value.is_null()).map(value_text)
}

/// Returns a JSON value as people write it: strings bare, everything else as compact JSON.
fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod samples;
