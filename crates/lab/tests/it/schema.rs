//! Just enough of JSON Schema (draft 2020-12) to hold lab's documents against `schemas/`. A keyword that is not known
//! here fails, so that nothing is waved through.

use std::path::Path;

use serde_json::{Map, Value};

/// Asserts that a document fits the schema of this name in `schemas/`, such as `session.v1`.
#[track_caller]
pub(crate) fn assert_fits(document: &Value, name: &str) {
    let schema = load(name);
    let complaints = Validator { root: &schema }.complaints(document, &schema, "");
    assert!(complaints.is_empty(), "against {name}: {complaints:#?}\n{document:#}");
}

fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../schemas/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

struct Validator<'a> {
    root: &'a Value,
}

impl Validator<'_> {
    fn complaints(&self, value: &Value, schema: &Value, at: &str) -> Vec<String> {
        let keywords = match schema {
            Value::Bool(true) => return Vec::new(),
            Value::Object(keywords) => keywords,
            other => return vec![format!("{at}: the schema {other} lets nothing pass")],
        };
        let each = keywords
            .iter()
            .flat_map(|(keyword, expected)| self.keyword(value, keyword, expected, keywords, at).into_iter());
        each.collect()
    }

    fn keyword(
        &self,
        value: &Value,
        keyword: &str,
        expected: &Value,
        all: &Map<String, Value>,
        at: &str,
    ) -> Vec<String> {
        let unless = |fits: bool| {
            if fits { Vec::new() } else { vec![format!("{at}: {value} does not fit {keyword} {expected}")] }
        };
        match keyword {
            "$schema" | "$id" | "$defs" | "title" | "description" | "default" | "format" | "pattern" => {
                Vec::new()
            }
            "$ref" => self.complaints(value, self.referenced(expected), at),
            "type" => unless(has_type(value, expected)),
            "const" => unless(value == expected),
            "enum" => unless(expected.as_array().unwrap().contains(value)),
            "minimum" => unless(value.as_f64().is_none_or(|number| number >= expected.as_f64().unwrap())),
            "maximum" => unless(value.as_f64().is_none_or(|number| number <= expected.as_f64().unwrap())),
            "minItems" | "maxItems" => {
                let n_expected = expected.as_u64().unwrap();
                unless(value.as_array().is_none_or(|items| match keyword {
                    "minItems" => items.len() as u64 >= n_expected,
                    _ => items.len() as u64 <= n_expected,
                }))
            }
            "required" => unless(value.as_object().is_none_or(|object| {
                expected.as_array().unwrap().iter().all(|key| object.contains_key(key.as_str().unwrap()))
            })),
            "properties" => self.properties(value, expected, at),
            "additionalProperties" => self.others(value, expected, all, at),
            "items" => self.items(value, expected, at),
            "anyOf" | "oneOf" | "allOf" => {
                let branches = expected.as_array().unwrap();
                let n_fit = branches.iter().filter(|own| self.complaints(value, own, at).is_empty()).count();
                unless(match keyword {
                    "anyOf" => n_fit > 0,
                    "oneOf" => n_fit == 1,
                    _ => n_fit == branches.len(),
                })
            }
            other => vec![format!("{at}: this test does not know the keyword {other}")],
        }
    }

    fn referenced(&self, reference: &Value) -> &Value {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        self.root.pointer(pointer).unwrap()
    }

    fn properties(&self, value: &Value, expected: &Value, at: &str) -> Vec<String> {
        let present =
            expected.as_object().unwrap().iter().filter_map(|(key, own)| Some((key, own, value.get(key)?)));
        present.flat_map(|(key, own, value)| self.complaints(value, own, &format!("{at}/{key}"))).collect()
    }

    fn others(&self, value: &Value, expected: &Value, all: &Map<String, Value>, at: &str) -> Vec<String> {
        let declared = |key: &String| all.get("properties").is_some_and(|own| own.get(key).is_some());
        let others = value.as_object().into_iter().flatten().filter(|(key, _)| !declared(key));
        others.flat_map(|(key, value)| self.complaints(value, expected, &format!("{at}/{key}"))).collect()
    }

    fn items(&self, value: &Value, expected: &Value, at: &str) -> Vec<String> {
        let items = value.as_array().into_iter().flatten().enumerate();
        items.flat_map(|(index, value)| self.complaints(value, expected, &format!("{at}/{index}"))).collect()
    }
}

fn has_type(value: &Value, expected: &Value) -> bool {
    match expected {
        Value::Array(types) => types.iter().any(|own| has_type(value, own)),
        own => match own.as_str().unwrap() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("no JSON type {other}"),
        },
    }
}

#[test]
fn the_validator_itself_refuses_what_does_not_fit() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"$ref": "#/$defs/small"}, "b": {"items": {"type": ["string", "null"]}}},
        "$defs": {"small": {"type": "integer", "maximum": 3}},
    });
    let check = |document: Value| Validator { root: &schema }.complaints(&document, &schema, "").len();
    assert_eq!(check(serde_json::json!({"a": 3, "b": ["x", null]})), 0);
    for wrong in [
        serde_json::json!({}),
        serde_json::json!({"a": 4}),
        serde_json::json!({"a": 1.5}),
        serde_json::json!({"a": 1, "c": 1}),
        serde_json::json!({"a": 1, "b": ["x", 2]}),
        serde_json::json!([]),
    ] {
        assert!(check(wrong.clone()) > 0, "{wrong}");
    }
}
