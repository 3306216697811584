//! The metrics of one execution, by contract.

use std::borrow::Cow;

use lab_core::metric::{Contract, METRICS, Measurement, Metric, Reading};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

/// The metrics of contract `engine.v0.1`, each a number or null, in table order.
#[derive(Debug, Serialize)]
pub struct OfficialMetrics(pub(super) Map<String, Value>);

impl JsonSchema for OfficialMetrics {
    fn schema_name() -> Cow<'static, str> {
        "OfficialMetrics".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let official = || METRICS.iter().filter(|metric| metric.contract.is_official());
        let property = |metric: &Metric| {
            let description = format!("In {}: {}.", metric.unit, metric.formula);
            let property =
                serde_json::json!({"description": description, "type": [json_type(metric), "null"]});
            (metric.name.to_owned(), property)
        };
        let properties: Map<String, Value> = official().map(property).collect();
        let required: Vec<&str> = official().map(|metric| metric.name).collect();
        json_schema!({
            "description": "The metrics of contract `engine.v0.1`, each a number or null.",
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

#[derive(Default)]
pub(super) struct MetricMaps {
    pub(super) official: Map<String, Value>,
    pub(super) unofficial: Map<String, Value>,
    pub(super) unavailable: Map<String, Value>,
}

/// Sorts measurements by contract. Every metric of the table is there, so that readers need no schema to tell a metric
/// that was not measured from one that does not exist.
pub(super) fn metric_maps(measurements: &[Measurement]) -> MetricMaps {
    let mut maps = MetricMaps::default();
    for metric in METRICS {
        let id = metric.id();
        let found = measurements.iter().find(|own| own.metric == id).map(|own| &own.reading);
        let (value, reason) = match found {
            Some(Reading::Value(value)) => (number(metric, *value), None),
            Some(Reading::Unavailable(reason)) => (Value::Null, Some(reason.as_str())),
            None => (Value::Null, Some("not recorded in this session")),
        };
        if let Some(reason) = reason {
            maps.unavailable.insert(lab_core::metric::short_name(&id).to_owned(), reason.into());
        }
        let group = match metric.contract {
            Contract::EngineV0_1 => &mut maps.official,
            other => {
                let group = maps.unofficial.entry(other.to_string()).or_insert_with(|| Map::new().into());
                group.as_object_mut().expect("every contract's entry is made an object")
            }
        };
        group.insert(metric.name.to_owned(), value);
    }
    maps
}

/// Counts are integers in the founding document's example, everything else is a number with decimals.
fn json_type(metric: &Metric) -> &'static str {
    if metric.unit == "tokens" { "integer" } else { "number" }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of tokens, below 2^53")]
fn number(metric: &Metric, value: f64) -> Value {
    if json_type(metric) == "integer" && value.fract() == 0.0 && value >= 0.0 {
        return Value::from(value as u64);
    }
    Value::from(value)
}
