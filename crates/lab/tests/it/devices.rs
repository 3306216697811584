//! `lab import device` and `lab devices`: the metrics folders of edge devices.

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use lab_core::digest::Digest;
use lab_store::Store;

use crate::harness::Lab;
use crate::schema;

/// The example of the format's own description, byte for byte.
const EXAMPLE: &str = include_str!("../../../lab-formats/tests/data/device/inference_metrics_example.json");
const EXAMPLE_NAME: &str = "inference_metrics_00:0f:00:70:91:0a_20251007_103015.json";

/// Returns a document of `n` inferences of 10, 20, … ms, whose summary agrees.
fn document(device: &str, model: &str, n: u32) -> String {
    let inference = |index: u32| {
        format!(
            r#"{{"timestamp": "2025-10-07T10:{:02}:15", "device_id": "{device}", "model_name": "{model}",
                "inference_time_ms": {}.0, "memory_used_mb": 45.5, "cpu_percent_avg": 78.5,
                "energy_consumed_mj": 2.5, "compute_device": "cpu"}}"#,
            index % 60,
            10 * (index + 1),
        )
    };
    let inferences: Vec<String> = (0..n).map(inference).collect();
    format!(
        r#"{{"summary": {{"device_id": "{device}", "model_name": "{model}", "total_inferences": {n}}},
            "detailed_metrics": [{}]}}"#,
        inferences.join(",")
    )
}

fn name(device: &str, time: &str) -> String {
    format!("inference_metrics_{device}_20251007_{time}.json")
}

/// Writes a file into the folder of a device below `metrics`.
fn write(lab: &Lab, device: &str, name: &str, contents: &str) {
    std::fs::create_dir_all(lab.path("metrics").join(device)).unwrap();
    lab.write(&format!("metrics/{device}/{name}"), contents);
}

/// The layout of the format's own description: two devices, three files of inferences and one about loading.
fn founding_layout() -> Lab {
    let lab = Lab::new();
    write(&lab, "edge-device-01", EXAMPLE_NAME, EXAMPLE);
    let later = document("00:0f:00:70:91:0a", "microsoft/Phi-3.5-mini-instruct", 3);
    write(&lab, "edge-device-01", &name("00:0f:00:70:91:0a", "110530"), &later);
    write(&lab, "edge-device-01", "loading_metrics.json", r#"{"load_time_s": 1.5, "memory_delta_mb": 900}"#);
    let other = document("1c:bf:ce:15:ec:4d", "gemma", 2);
    write(&lab, "edge-device-02", &name("1c:bf:ce:15:ec:4d", "103020"), &other);
    lab
}

const IMPORT: [&str; 3] = ["import", "device", "metrics/"];

#[test]
fn the_founding_layout_is_imported_shown_and_verified() {
    let lab = founding_layout();
    lab.run(&IMPORT)
        .exits(0)
        .prints("imported 4 files with 6 inferences into 3 sessions")
        .prints("edge-device-01 microsoft/Phi-3.5-mini-instruct 2 files, 1 suspect");
    lab.run(&["verify"]).exits(0).says("sound");
    lab.run(&["devices"])
        .exits(0)
        .prints("edge-device-02")
        .prints("energy is what the devices report")
        .prints("files that contradict themselves: 1");
    let document = lab.run(&["devices", "--format", "json"]).exits(0).json();
    schema::assert_fits(&document, "devices.v1");
    let device = &document["devices"][0];
    assert_eq!(device["device"], "edge-device-01");
    assert_eq!(device["device_id"], "00:0f:00:70:91:0a", "the file about loading goes with it");
    assert_eq!((&device["files"], &device["suspect"]), (&3.into(), &1.into()));
    assert_eq!(device["totals"]["inferences"], 4);
    assert_eq!(device["totals"]["loading_time_ms"]["mean"], 1500.0);
    assert_eq!(device["totals"]["energy_consumption_mj"]["sum"], 18.75 + 3.0 * 2.5);
}

#[test]
fn one_device_is_shown_by_name_or_id_with_what_its_files_contradict() {
    let lab = founding_layout();
    lab.run(&IMPORT).exits(0);
    for typed in ["edge-device-01", "00-0F-00-70-91-0A"] {
        lab.run(&["devices", "--device", typed])
            .exits(0)
            .prints("total_inferences is 10, there are 1 in detailed_metrics");
        let document = lab.run(&["devices", "--device", typed, "--format", "json"]).exits(0).json();
        schema::assert_fits(&document, "devices.v1");
        assert_eq!(document["devices"].as_array().unwrap().len(), 1);
        assert_eq!(document["files"].as_array().unwrap().len(), 3);
    }
    lab.run(&["devices", "--device", "edge-device-03"])
        .exits(2)
        .says("no device `edge-device-03` was imported")
        .says("nearest: `edge-device-0");
}

#[test]
fn models_stand_side_by_side_without_a_verdict() {
    let lab = founding_layout();
    lab.run(&IMPORT).exits(0);
    lab.run(&["devices", "--compare"]).exits(0).prints("a description, no verdict");
    let document = lab.run(&["devices", "--compare", "--format", "json"]).exits(0).json();
    schema::assert_fits(&document, "devices.v1");
    let models = document["models"].as_array().unwrap();
    let phi = models.iter().find(|row| row["model"] == "microsoft/Phi-3.5-mini-instruct").unwrap();
    assert_eq!(phi["totals"]["inference_time_ms"]["n"], 4);
    let expected = (1234.56 + 10.0 + 20.0 + 30.0) / 4.0;
    let mean = phi["totals"]["inference_time_ms"]["mean"].as_f64().unwrap();
    assert!((mean - expected).abs() < 1e-9, "every inference counts alike: {mean}");
}

#[test]
fn what_the_store_has_met_is_skipped_and_what_is_new_is_taken() {
    let lab = founding_layout();
    lab.run(&IMPORT).exits(0);
    let before = lab.run(&["verify"]).exits(0).stdout;
    lab.run(&IMPORT).exits(0).prints("imported 0 files").says("is imported already, as part of session");
    assert_eq!(lab.run(&["verify"]).exits(0).stdout, before, "something was recorded");
    // The same bytes under other names, in one command and from before: still the same file.
    let third = document("edge-03", "gemma", 5);
    for name in [name("edge-03", "120000"), name("edge-03", "120001")] {
        write(&lab, "edge-device-03", &name, &third);
    }
    lab.run(&IMPORT)
        .exits(0)
        .prints("imported 1 files with 5 inferences")
        .says("loading_metrics.json` is imported already, as part of session")
        .says(&format!(
            "`metrics/edge-device-03/{}` has the bytes of `metrics/edge-device-03/{}`, which are imported once",
            name("edge-03", "120001"),
            name("edge-03", "120000"),
        ));
    lab.run(&["verify"]).exits(0);
    lab.run(&IMPORT).exits(0).prints("imported 0 files").says("is imported already, as part of session");
    for n in 0..3 {
        write(
            &lab,
            "edge-device-04",
            &name("edge-04", &format!("12000{n}")),
            &document("edge-04", "gemma", n + 6),
        );
    }
    lab.run(&IMPORT).exits(0).prints("imported 3 files");
    lab.run(&IMPORT).exits(0).prints("imported 0 files").says("9 files were in the store already");
}

#[test]
fn the_example_comes_out_again_without_loss() {
    let lab = founding_layout();
    lab.run(&IMPORT).exits(0);
    let store = Store::open_read_only(&lab.store()).unwrap();
    let mut bytes = Vec::new();
    store.source(&Digest::of(EXAMPLE.as_bytes())).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, EXAMPLE.as_bytes());
    lab.run(&["devices", "--device", "edge-device-01", "--export-csv", "out.csv"])
        .exits(0)
        .says("4 inferences")
        .prints_nothing();
    let text = std::fs::read_to_string(lab.path("out.csv")).unwrap();
    let row = format!(
        "edge-device-01,{},0,2025-10-07T10:30:15.123456,00:0f:00:70:91:0a,microsoft/Phi-3.5-mini-instruct,\
         1234.56,45.67,78.5,18.75,cpu",
        Digest::of(EXAMPLE.as_bytes())
    );
    assert!(text.lines().any(|line| line == row), "{text}");
    assert_eq!(text.lines().count(), 5);
}

#[test]
fn bad_files_are_refused_by_file_and_key_and_nothing_is_imported() {
    let inference = |value: &str| {
        format!(r#"{{"detailed_metrics": [{{"device_id": "a", "model_name": "m"}}, {{{value}}}]}}"#)
    };
    let cases = [
        (String::new(), "the document: EOF"),
        (EXAMPLE[..800].to_owned(), "EOF while parsing"),
        (inference(r#""inference_time_ms": "fast""#), "detailed_metrics[1].inference_time_ms: invalid type"),
        (inference(r#""inference_time_ms": NaN"#), "detailed_metrics[1].inference_time_ms: expected value"),
        (inference(r#""inference_time_ms": -5"#), "detailed_metrics[1].inference_time_ms: -5 is less than 0"),
        (
            inference(r#""device_id": "../../x""#),
            "detailed_metrics[1].device_id: `../../x` is no id of a device",
        ),
    ];
    for (text, expected) in cases {
        let lab = founding_layout();
        let bad = name("edge-02", "235959");
        write(&lab, "edge-device-02", &bad, &text);
        let file = format!("`metrics/edge-device-02/{bad}`");
        lab.run(&IMPORT)
            .exits(2)
            .says(&file)
            .says(expected)
            .says("nothing was imported")
            .says("--keep-going")
            .prints_nothing();
        let document = lab.run(&["devices", "--format", "json"]).exits(0).json();
        assert_eq!(document["devices"], serde_json::json!([]), "{expected}");
        lab.run(&[IMPORT.as_slice(), &["--keep-going"]].concat())
            .exits(2)
            .says(&format!("passed over: {file}"))
            .says(expected)
            .prints("imported 4 files");
        lab.run(&["verify"]).exits(0);
    }
}

#[test]
fn what_cannot_be_walked_is_told() {
    let lab = founding_layout();
    symlink(lab.path("metrics/edge-device-01"), lab.path("metrics/link")).unwrap();
    lab.run(&IMPORT).exits(2).says("`metrics/link`: it is a symbolic link").prints_nothing();
    std::fs::remove_file(lab.path("metrics/link")).unwrap();
    lab.run(&["import", "device", "absent"]).exits(2).says("`absent`: it cannot be read");
    lab.fifo("metrics/edge-device-01/inference_metrics_b.json");
    lab.run(&IMPORT).exits(2).says("inference_metrics_b.json`: it is no regular file").prints_nothing();
    std::fs::remove_file(lab.path("metrics/edge-device-01/inference_metrics_b.json")).unwrap();
    let locked = lab.path("metrics/edge-device-02");
    std::fs::set_permissions(&locked, Permissions::from_mode(0o000)).unwrap();
    // The superuser reads it all the same.
    let is_readable = std::fs::read_dir(&locked).is_ok();
    let ran = lab.run(&IMPORT);
    std::fs::set_permissions(&locked, Permissions::from_mode(0o755)).unwrap();
    if is_readable {
        ran.exits(0).prints("imported 4 files");
    } else {
        ran.exits(2).says("`metrics/edge-device-02`: it cannot be read");
    }
}

#[test]
fn files_of_other_names_are_left_out_in_folders_and_refused_by_themselves() {
    let lab = founding_layout();
    write(&lab, "edge-device-01", "README.md", "#");
    write(&lab, "edge-device-01/older", EXAMPLE_NAME, EXAMPLE);
    lab.run(&IMPORT)
        .exits(0)
        .prints("imported 4 files")
        .says("1 files are no metrics files by their names")
        .says("1 folders lie deeper than a device's and were left out; name the folders above them");
    lab.write("results.json", EXAMPLE);
    lab.run(&["import", "device", "results.json"]).exits(2).says("`results.json`: the name is neither");
    std::fs::create_dir(lab.path("empty")).unwrap();
    lab.run(&["import", "device", "empty"]).exits(2).says("there is no metrics file to import");
}

#[test]
fn a_folder_of_one_device_and_a_file_by_itself_have_the_same_name_as_below_metrics() {
    for paths in [
        &["metrics/edge-device-02"][..],
        &["metrics/edge-device-02/inference_metrics_1c:bf:ce:15:ec:4d_20251007_103020.json"],
    ] {
        let lab = founding_layout();
        lab.run(&[&["import", "device"][..], paths].concat())
            .exits(0)
            .prints("imported 1 files with 2 inferences");
        let document = lab.run(&["devices", "--format", "json"]).exits(0).json();
        assert_eq!(document["devices"][0]["device"], "edge-device-02");
    }
}

#[test]
fn a_name_of_another_device_makes_a_file_suspect() {
    let lab = Lab::new();
    write(
        &lab,
        "edge-device-02",
        &name("1c:bf:ce:15:ec:4d", "103020"),
        &document("00:0f:00:70:91:0a", "m", 1),
    );
    lab.run(&IMPORT).exits(0).prints("1 suspect");
    lab.run(&["devices", "--device", "edge-device-02"])
        .exits(0)
        .prints("name: the file's name says `1c:bf:ce:15:ec:4d`, the document `00:0f:00:70:91:0a`");
}

#[test]
fn a_file_too_large_to_be_read_whole_streams_by() {
    let lab = Lab::new();
    let padding = "x".repeat(33 << 20);
    let text = document("a", "m", 3).replacen('{', &format!(r#"{{"padding": "{padding}", "#), 1);
    write(&lab, "edge", &name("a", "103020"), &text);
    lab.run(&IMPORT).exits(0).prints("imported 1 files with 3 inferences");
    lab.run(&["verify"]).exits(0);
    lab.run(&IMPORT).exits(0).says("is imported already, as part of session");
}

#[test]
fn a_tool_has_a_name_of_the_usual_alphabet() {
    let lab = founding_layout();
    lab.run(&["import", "device", "metrics", "--tool", "Edge!"]).exits(2).says("lower-case letters");
    lab.run(&["import", "device", "metrics", "--tool", "edge-v2"]).exits(0);
    lab.run(&["import", "workflow", "absent.json", "--tool", "Edge!"]).exits(2).says("lower-case letters");
}
