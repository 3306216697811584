//! The files that an edge device writes: a session's executions in the form that `lab import device` reads.
//!
//! Times are in UTC and say no zone, as those of devices do. What was not measured is `null`, never 0.

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use lab_core::device::Tally;
use lab_core::metric::find;
use lab_core::record::{Completed, RecordedRepetition, Session};
use serde_json::{Value, json};

use crate::{identity_text, pretty};

/// Who executed, and when its clock began.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    /// The device's id, as documents and names of files have it.
    pub id: &'a str,
    /// When the machine's monotonic clock read 0: stamps of executions count from there.
    pub clock_began: Timestamp,
}

/// Returns the document about some of a session's executions that count, by their positions among those; nothing where there
/// are none.
pub fn inferences(session: &Session, device: Device<'_>, range: Range<usize>) -> Option<String> {
    let chosen = session.usable().skip(range.start).take(range.len());
    let details: Vec<Inference> =
        chosen.map(|(recorded, own)| Inference::of(recorded, own, device)).collect();
    if details.is_empty() {
        return None;
    }
    let spread = |quantity: fn(&Inference) -> Option<f64>| {
        let mut spread = Tally::default();
        details.iter().filter_map(quantity).for_each(|value| spread.add(value));
        spread
    };
    let energy = spread(|own| own.energy_mj);
    let mut energy_summary = summary(energy);
    energy_summary["total"] = told(energy, energy.sum).into();
    let model_name = &session.header.model_name;
    Some(pretty(&json!({
        "summary": {
            "device_id": device.id,
            "model_name": model_name,
            "total_inferences": details.len(),
            "inference_time_ms": summary(spread(|own| own.time_ms)),
            "memory_usage_mb": summary(spread(|own| own.memory_mb)),
            "cpu_usage_percent": summary(spread(|own| own.cpu_percent)),
            "energy_consumption_mj": energy_summary,
        },
        "detailed_metrics": details.iter().map(|own| own.document(session, device.id)).collect::<Vec<_>>(),
    })))
}

/// Returns the document about loading the model, as the first execution that counts had it; nothing where there is none.
pub fn loading(session: &Session, device: Device<'_>) -> Option<String> {
    let (recorded, completed) = session.usable().next()?;
    let before = value(recorded, "memory_before_load_mb");
    let after = value(recorded, "memory_after_load_mb");
    Some(pretty(&json!({
        "timestamp": timestamp(completed, device),
        "device_id": device.id,
        "model_name": session.header.model_name,
        "loading_time_ms": value(recorded, "load_ms"),
        "memory_increase_mb": after.zip(before).map(|(after, before)| after - before),
        "compute_device": compute_device(session),
    })))
}

/// The name of the file about loading.
pub const LOADING_FILE: &str = "loading_metrics.json";

/// Returns the name of a file about executions that was written at a time, in UTC to the second.
pub fn inferences_file(device_id: &str, at: Timestamp) -> String {
    format!("inference_metrics_{device_id}_{}.json", stamp(at))
}

/// Returns a time as names of files have it: `20251007_103015`.
pub fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%d_%H%M%S").to_string()
}

/// One execution, as a device tells it.
struct Inference {
    timestamp: String,
    time_ms: Option<f64>,
    memory_mb: Option<f64>,
    cpu_percent: Option<f64>,
    energy_mj: Option<f64>,
}

impl Inference {
    fn of(recorded: &RecordedRepetition, completed: &Completed, device: Device<'_>) -> Self {
        Self {
            timestamp: timestamp(completed, device),
            time_ms: value(recorded, "latency_total_ms"),
            memory_mb: value(recorded, "memory_peak_mb"),
            cpu_percent: value(recorded, "cpu_utilization_percent"),
            energy_mj: value(recorded, "energy_total_j").map(|joules| joules * 1e3),
        }
    }

    fn document(&self, session: &Session, device_id: &str) -> Value {
        json!({
            "timestamp": self.timestamp,
            "device_id": device_id,
            "model_name": session.header.model_name,
            "inference_time_ms": self.time_ms,
            "memory_used_mb": self.memory_mb,
            "cpu_percent_avg": self.cpu_percent,
            "energy_consumed_mj": self.energy_mj,
            "compute_device": compute_device(session),
        })
    }
}

/// Returns a published figure of an execution; nothing where it was not measured.
fn value(recorded: &RecordedRepetition, name: &str) -> Option<f64> {
    let id = find(name).expect("the metric table has it").id();
    let found = recorded.measurements.iter().find(|own| own.metric == id)?;
    found.reading.value().copied()
}

fn compute_device(session: &Session) -> Option<String> {
    identity_text(&session.header.fingerprint.backend, "device")
}

/// Returns when an execution was asked for.
fn timestamp(completed: &Completed, device: Device<'_>) -> String {
    let since = Duration::from_nanos(completed.request_ns);
    // A stamp that no calendar has is a lie of the engine's; what else it said is judged elsewhere.
    let at = device.clock_began.checked_add(since).unwrap_or(device.clock_began);
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

fn summary(spread: Tally) -> Value {
    json!({
        "min": told(spread, spread.min),
        "max": told(spread, spread.max),
        "avg": spread.mean(),
    })
}

fn told(spread: Tally, value: f64) -> Option<Value> {
    (spread.n > 0).then(|| json!(value))
}

#[cfg(test)]
mod tests {
    use lab_core::fixtures;
    use lab_core::metric::Reading;

    use super::*;

    /// 2025-10-07T10:30:15 in seconds of Unix time.
    const BEGAN: i64 = 1_759_833_015;

    fn device() -> Device<'static> {
        Device { id: "00:0f:00:70:91:0a", clock_began: Timestamp::from_second(BEGAN).unwrap() }
    }

    fn parsed(text: Option<String>) -> Value {
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    #[test]
    fn a_document_has_the_executions_and_a_summary_of_them() {
        let mut session = fixtures::session(1, &[1_000, 2_000, 3_000]);
        fixtures::set_values(&mut session, "lab.v1/energy_total_j", &[0.25, 0.5, 0.125]);
        fixtures::set_values(&mut session, "engine.v0.1/latency_total_ms", &[10.0, 30.0, 20.0]);
        let document = parsed(inferences(&session, device(), 0..2));
        let summary = &document["summary"];
        assert_eq!(summary["device_id"], "00:0f:00:70:91:0a");
        assert_eq!(summary["model_name"], session.header.model_name);
        assert_eq!(summary["total_inferences"], 2);
        assert_eq!(summary["inference_time_ms"], json!({"min": 10.0, "max": 30.0, "avg": 20.0}));
        assert_eq!(
            summary["energy_consumption_mj"],
            json!({"min": 250.0, "max": 500.0, "avg": 375.0, "total": 750.0})
        );
        let details = document["detailed_metrics"].as_array().unwrap();
        assert_eq!(details.len(), 2);
        assert_eq!(details[1]["energy_consumed_mj"], 500.0);
        assert_eq!(details[1]["inference_time_ms"], 30.0);
        assert!(details[0]["compute_device"].is_string(), "{document:#}");
    }

    #[test]
    fn a_position_behind_the_last_execution_has_no_document() {
        let session = fixtures::session(1, &[1_000, 2_000]);
        let document = parsed(inferences(&session, device(), 1..7));
        assert_eq!(document["summary"]["total_inferences"], 1);
        assert_eq!(inferences(&session, device(), 2..7), None);
        assert_eq!(loading(&fixtures::session(1, &[]), device()), None);
    }

    #[test]
    fn what_was_not_measured_is_null_and_never_zero() {
        let mut session = fixtures::session(1, &[1_000]);
        let unmeasured = Reading::Unavailable("no meter".to_owned());
        fixtures::set_readings(&mut session, "lab.v1/energy_total_j", &[unmeasured]);
        let document = parsed(inferences(&session, device(), 0..1));
        assert_eq!(document["detailed_metrics"][0]["energy_consumed_mj"], Value::Null);
        let nothing = json!({"min": null, "max": null, "avg": null, "total": null});
        assert_eq!(document["summary"]["energy_consumption_mj"], nothing);
    }

    #[test]
    fn times_are_in_utc_with_six_digits_and_no_zone() {
        let mut session = fixtures::session(1, &[1_000]);
        for recorded in &mut session.repetitions {
            if let lab_core::record::Outcome::Completed(completed) = &mut recorded.repetition.outcome {
                completed.request_ns = 1_123_456_000;
            }
        }
        let document = parsed(inferences(&session, device(), 0..1));
        let timestamp = &document["detailed_metrics"][0]["timestamp"];
        assert_eq!(timestamp, "2025-10-07T10:30:16.123456");
        let at = Timestamp::from_second(BEGAN).unwrap();
        assert_eq!(inferences_file("edge-01", at), "inference_metrics_edge-01_20251007_103015.json");
    }

    #[test]
    fn loading_is_told_by_what_memory_rose_by() {
        let mut session = fixtures::session(1, &[1_000]);
        fixtures::set_values(&mut session, "lab.v1/memory_before_load_mb", &[10.0]);
        fixtures::set_values(&mut session, "lab.v1/memory_after_load_mb", &[42.5]);
        let document = parsed(loading(&session, device()));
        assert_eq!(document["memory_increase_mb"], 32.5);
        assert_eq!(document["loading_time_ms"], 250.0);
    }
}
