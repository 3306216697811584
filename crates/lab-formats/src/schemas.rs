//! JSON Schemas of every serialised format, generated from the types (invariant I9). The files in `schemas/` are these
//! texts.

use lab_core::check::SessionCheck;
use lab_core::engine::{Answer, PROTOCOL_VERSION, Request};
use lab_core::gate::Gate;
use lab_core::plan::{CommandPlan, ContractPlan, Plan};
use lab_core::report::Report;
use lab_core::workflow::WorkflowFigures;
use schemars::{Schema, schema_for};
use serde_json::{Map, Value};

use crate::baseline_json::{BaselineDocument, BaselinesDocument};
use crate::calibration_json::CalibrationDocument;
use crate::command_check::CommandCheckDocument;
use crate::devices::DevicesDocument;
use crate::doctor::DoctorDocument;
use crate::history::HistoryDocument;
use crate::list_json::ListDocument;
use crate::overhead::OverheadDocument;
use crate::plan_check::PlanCheckDocument;
use crate::session_json::SessionDocument;
use crate::steps::StepsDocument;
use crate::store_json::StoreDocument;

/// Returns every schema of this crate's documents as file name and text.
pub fn all() -> Vec<(String, String)> {
    [
        ("plan.v1".to_owned(), "lab plan, version 1", Plan::schema()),
        ("session.v1".to_owned(), "lab session, version 1", schema_for!(SessionDocument<'_>)),
        ("report.v2".to_owned(), "lab report, version 2", schema_for!(Report)),
        ("calibration.v1".to_owned(), "lab calibration, version 1", schema_for!(CalibrationDocument<'_>)),
        ("gate.v1".to_owned(), "lab gate, version 1", schema_for!(Gate)),
        ("list.v1".to_owned(), "lab list of sessions, version 1", schema_for!(ListDocument<'_>)),
        ("baselines.v1".to_owned(), "lab list of baselines, version 1", schema_for!(BaselinesDocument<'_>)),
        ("baseline.v1".to_owned(), "lab baseline, version 1", schema_for!(BaselineDocument<'_>)),
        ("doctor.v1".to_owned(), "lab doctor, version 1", schema_for!(DoctorDocument)),
        ("plan-check.v1".to_owned(), "lab plan check, version 1", schema_for!(PlanCheckDocument)),
        ("overhead.v1".to_owned(), "lab overhead, version 1", schema_for!(OverheadDocument)),
        ("history.v1".to_owned(), "lab history, version 1", schema_for!(HistoryDocument)),
        ("steps.v1".to_owned(), "lab history of experiments, version 1", schema_for!(StepsDocument)),
        ("contract-plan.v1".to_owned(), "lab contract plan, version 1", ContractPlan::schema()),
        ("check.v1".to_owned(), "lab check of limits, version 1", schema_for!(SessionCheck)),
        ("workflow.v1".to_owned(), "metrics document of a workflow, version 1", schema_for!(WorkflowFigures)),
        ("store.v1".to_owned(), "lab store, version 1", schema_for!(StoreDocument)),
        ("devices.v1".to_owned(), "lab devices, version 1", schema_for!(DevicesDocument)),
        ("command-plan.v1".to_owned(), "lab command plan, version 1", CommandPlan::schema()),
        (
            "command-check.v1".to_owned(),
            "lab check of a command plan, version 1",
            schema_for!(CommandCheckDocument),
        ),
        (protocol("request"), "lab engine protocol, request frame", schema_for!(Request)),
        (protocol("answer"), "lab engine protocol, answer frame", schema_for!(Answer)),
    ]
    .into_iter()
    .map(|(name, title, schema)| (format!("{name}.json"), text(&name, title, schema)))
    .collect()
}

fn protocol(frame: &str) -> String {
    format!("engine-{frame}.v{PROTOCOL_VERSION}")
}

/// Returns a schema's text, its dialect, id and title in front. `name` is that of the document with its version.
pub fn text(name: &str, title: &str, schema: Schema) -> String {
    let Value::Object(mut body) = schema.to_value() else { unreachable!("schemas of types are objects") };
    let mut document = Map::new();
    document.extend(body.shift_remove_entry("$schema"));
    document.insert("$id".to_owned(), format!("urn:lab:schema:{name}").into());
    document.insert("title".to_owned(), title.into());
    body.shift_remove("title");
    document.append(&mut body);
    crate::pretty(&document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_names_itself_and_its_dialect() {
        let schemas = all();
        let names: Vec<&str> = schemas.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "plan.v1.json",
            "session.v1.json",
            "report.v2.json",
            "calibration.v1.json",
            "gate.v1.json",
            "list.v1.json",
            "baselines.v1.json",
            "baseline.v1.json",
            "doctor.v1.json",
            "plan-check.v1.json",
            "overhead.v1.json",
            "history.v1.json",
            "steps.v1.json",
            "contract-plan.v1.json",
            "check.v1.json",
            "workflow.v1.json",
            "store.v1.json",
            "devices.v1.json",
            "command-plan.v1.json",
            "command-check.v1.json",
            "engine-request.v1.json",
            "engine-answer.v1.json",
        ];
        assert_eq!(names, expected);
        for (name, text) in &schemas {
            let schema: Value = serde_json::from_str(text).unwrap();
            let id = format!("urn:lab:schema:{}", name.trim_end_matches(".json"));
            assert_eq!(schema["$id"], id.as_str());
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
            assert!(schema["title"].is_string() && text.ends_with("}\n"), "{name}");
        }
    }

    #[test]
    fn versioned_documents_pin_their_schema_field() {
        const VERSIONED: [&str; 15] = [
            "session.v1",
            "report.v2",
            "calibration.v1",
            "gate.v1",
            "list.v1",
            "baselines.v1",
            "baseline.v1",
            "doctor.v1",
            "plan-check.v1",
            "history.v1",
            "steps.v1",
            "check.v1",
            "store.v1",
            "devices.v1",
            "command-check.v1",
        ];
        for (name, text) in all() {
            let schema: Value = serde_json::from_str(&text).unwrap();
            let document = name.trim_end_matches(".json");
            if VERSIONED.contains(&document) {
                assert_eq!(schema["properties"]["schema"]["const"], format!("lab.{document}").as_str());
            }
        }
    }

    #[test]
    fn the_session_schema_is_pinned() {
        let (_, text) = all().swap_remove(1);
        insta::assert_snapshot!(text);
    }
}
