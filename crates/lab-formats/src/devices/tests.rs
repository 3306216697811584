//! Sums over hand-made documents.

use lab_core::device::{Inferences, Loading, Tally};
use lab_core::digest::Digest;

use super::*;
use crate::import::device::for_each_inference;

fn spread(values: &[f64]) -> Tally {
    let mut spread = Tally::default();
    values.iter().for_each(|value| spread.add(*value));
    spread
}

fn figures(device_id: &str, model: &str, times: &[f64]) -> DeviceFigures {
    let inferences = Inferences {
        n: times.len() as u64,
        inference_time_ms: spread(times),
        energy_consumption_mj: spread(&[2.0, 4.0]),
        ..Inferences::default()
    };
    DeviceFigures {
        device_id: device_id.to_owned(),
        model_name: model.to_owned(),
        compute_devices: vec!["cpu".to_owned()],
        first_timestamp: Some("2025-10-07T10:30:15".to_owned()),
        last_timestamp: Some(format!("2025-10-07T10:31:{:02}", times.len())),
        inferences: Some(inferences),
        loading: None,
    }
}

fn loading(milliseconds: f64) -> DeviceFigures {
    DeviceFigures {
        inferences: None,
        loading: Some(Loading { loading_time_ms: Some(milliseconds), memory_increase_mb: None }),
        device_id: String::new(),
        first_timestamp: None,
        last_timestamp: None,
        ..figures("", "", &[])
    }
}

fn source(path: &str) -> Source {
    Source { path: path.to_owned(), sha256: Digest::of(path.as_bytes()), bytes: 1 }
}

/// Three files of one device, one of another.
fn with_documents(look: impl FnOnce(&[Stored<'_>])) {
    let suspect = Validity::Suspect(vec!["summary: total_inferences is 10, there are 1".to_owned()]);
    let own = [
        ("edge-01", figures("00:0f", "phi", &[10.0, 20.0]), Validity::Valid),
        ("edge-01", figures("00:0f", "phi", &[60.0]), suspect),
        ("edge-01", loading(1500.0), Validity::Valid),
        ("edge-02", figures("1c:bf", "gemma", &[5.0]), Validity::Valid),
    ];
    let sources = ["a", "b", "c", "d"].map(source);
    let mut documents: Vec<Stored<'_>> = own
        .iter()
        .zip(&sources)
        .map(|((device, figures, validity), source)| Stored {
            device,
            device_id: &figures.device_id,
            session: "5f0c29d1",
            source,
            figures,
            validity,
        })
        .collect();
    attribute(&mut documents);
    look(&documents);
}

#[test]
fn every_inference_counts_alike_and_loadings_go_with_the_only_device_of_their_folder() {
    with_documents(|documents| {
        let rows = devices(documents);
        let ids: Vec<(&str, Option<&str>)> =
            rows.iter().map(|row| (row.device.as_str(), row.device_id.as_deref())).collect();
        assert_eq!(ids, [("edge-01", Some("00:0f")), ("edge-02", Some("1c:bf"))]);
        let first = &rows[0];
        assert_eq!((first.files, first.suspect, first.totals.inferences), (3, 1, 3));
        let time = Figures { n: 3, min: 10.0, max: 60.0, mean: 30.0, sum: 90.0 };
        assert_eq!(first.totals.inference_time_ms, Some(time));
        assert_eq!(first.totals.memory_usage_mb, None);
        assert_eq!(first.totals.loading_time_ms.map(|own| own.mean), Some(1500.0));
        assert_eq!(first.last_timestamp.as_deref(), Some("2025-10-07T10:31:02"));
    });
}

#[test]
fn a_sum_beyond_every_number_is_no_figure() {
    let figures = figures("a", "m", &[f64::MAX]);
    let (source, valid) = (source("x"), Validity::Valid);
    let stored = || Stored {
        device: "edge",
        device_id: "a",
        session: "s",
        source: &source,
        figures: &figures,
        validity: &valid,
    };
    let rows = devices(&[stored(), stored()]);
    assert_eq!((rows[0].totals.inferences, rows[0].totals.inference_time_ms), (2, None));
    assert_eq!(rows[0].totals.energy_consumption_mj.map(|own| own.n), Some(4));
}

#[test]
fn a_document_without_an_id_stays_without_where_a_folder_has_two() {
    let (first, second, load) = (figures("a", "m", &[1.0]), figures("b", "m", &[1.0]), loading(2.0));
    let (source, valid) = (source("x"), Validity::Valid);
    let stored = |figures| Stored {
        device: "edge",
        device_id: "",
        session: "s",
        source: &source,
        figures,
        validity: &valid,
    };
    let mut documents = [
        Stored { device_id: "a", ..stored(&first) },
        Stored { device_id: "b", ..stored(&second) },
        stored(&load),
    ];
    attribute(&mut documents);
    let ids: Vec<Option<String>> = devices(&documents).into_iter().map(|row| row.device_id).collect();
    assert_eq!(ids, [None, Some("a".to_owned()), Some("b".to_owned())]);
}

#[test]
fn models_and_files_have_rows_of_their_own() {
    with_documents(|documents| {
        let models = models(documents);
        let names: Vec<Option<&str>> = models.iter().map(|row| row.model.as_deref()).collect();
        assert_eq!(names, [None, Some("gemma"), Some("phi")]);
        assert_eq!(models[2].devices, ["edge-01"]);
        let files = files(documents);
        assert_eq!(files.len(), 4);
        assert_eq!(files[1].validity.reasons().len(), 1);
        assert_eq!(files[1].sha256, Digest::of(b"b").to_string());
    });
}

#[test]
fn a_device_is_asked_for_by_name_or_by_id_in_either_notation() {
    with_documents(|documents| {
        let n_of = |typed: &str| documents.iter().filter(|document| document.is_of(typed)).count();
        assert_eq!(
            [n_of("edge-01"), n_of("00:0f"), n_of("edge-02"), n_of("edge"), n_of("")],
            [3, 3, 1, 0, 0]
        );
    });
}

#[test]
fn every_value_of_an_inference_reads_back_from_its_row() {
    let text = r#"{"detailed_metrics": [{"timestamp": "2025-10-07T10:30:15.123456", "device_id": "a", "model_name": "m, \"q\"",
        "inference_time_ms": 1234.56, "memory_used_mb": 45.67, "cpu_percent_avg": 1e-7, "energy_consumed_mj": 18.75,
        "compute_device": "cpu"}, {"device_id": "a"}]}"#;
    let mut bytes = Vec::new();
    let mut csv = InferencesCsv::new(&mut bytes).unwrap();
    for_each_inference(text.as_bytes(), |index, own| csv.write("edge", "5f", index, own).unwrap()).unwrap();
    csv.finish().unwrap();
    let expected = "\
device,sha256,index,timestamp,device_id,model_name,inference_time_ms,memory_used_mb,cpu_percent_avg,energy_consumed_mj,compute_device
edge,5f,0,2025-10-07T10:30:15.123456,a,\"m, \"\"q\"\"\",1234.56,45.67,0.0000001,18.75,cpu
edge,5f,1,,a,,,,,,
";
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn the_document_is_versioned() {
    with_documents(|documents| {
        let document = DevicesDocument {
            schema: DEVICES_SCHEMA,
            devices: devices(documents),
            models: Some(models(documents)),
            files: None,
        };
        let value: serde_json::Value = serde_json::from_str(&to_text(&document)).unwrap();
        assert_eq!(value["schema"], "lab.devices.v1");
        assert_eq!(value["devices"][0]["totals"]["inference_time_ms"]["mean"], 30.0);
        assert_eq!(value["files"], serde_json::Value::Null);
    });
}
