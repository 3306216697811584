//! The documents of the founding example and of nobody's making.

use std::io;

use lab_core::import::{Figures, Imported, Source};
use lab_core::metric::Reading;
use lab_core::validity::Validity;

use super::*;

/// The example of the format's own description, byte for byte.
const EXAMPLE: &str = include_str!("../../../tests/data/device/inference_metrics_example.json");

#[track_caller]
fn read(text: &str) -> DeviceDocument {
    let document = read_inferences_slice(text.as_bytes()).unwrap();
    assert_eq!(read_inferences(text.as_bytes()).unwrap(), document, "streaming reads something else");
    document
}

/// A document of three inferences whose summary agrees.
fn agreeing() -> String {
    let inference = |second: u32, ms: f64, mb: f64, percent: f64, mj: f64| {
        format!(
            r#"{{"timestamp": "2025-10-07T10:30:{second:02}", "device_id": "edge-01", "model_name": "m",
                "inference_time_ms": {ms}, "memory_used_mb": {mb}, "cpu_percent_avg": {percent},
                "energy_consumed_mj": {mj}, "compute_device": "cpu", "unknown": {{"kept": [1, null]}}}}"#
        )
    };
    let inferences = [
        inference(17, 10.0, 40.5, 70.0, 1.25),
        inference(15, 20.0, 41.5, 80.0, 1.5),
        inference(16, 25.0, 44.0, 81.0, 2.0),
    ];
    format!(
        r#"{{"version": 7, "detailed_metrics": [{}],
            "summary": {{"device_id": "edge-01", "model_name": "m", "total_inferences": 3,
            "inference_time_ms": {{"min": 10.0, "max": 25.0, "avg": 18.33}},
            "memory_usage_mb": {{"min": 40.5, "max": 44.0, "avg": 42.0}},
            "cpu_usage_percent": {{"min": 70.0, "max": 81.0, "avg": 77.0}},
            "energy_consumption_mj": {{"min": 1.25, "max": 2.0, "avg": 1.58, "total": 4.75}}}}}}"#,
        inferences.join(",")
    )
}

#[test]
fn the_founding_example_contradicts_itself_and_is_told_with_both_numbers() {
    let document = read(EXAMPLE);
    let figures = &document.figures;
    assert_eq!(figures.device_id, "00:0f:00:70:91:0a");
    assert_eq!(figures.model_name, "microsoft/Phi-3.5-mini-instruct");
    assert_eq!(figures.compute_devices, ["cpu"]);
    assert_eq!(figures.first_timestamp.as_deref(), Some("2025-10-07T10:30:15.123456"));
    assert_eq!(figures.inferences.as_ref().unwrap().n, 1);
    let expected = [
        "summary: total_inferences is 10, there are 1 in detailed_metrics",
        "summary: inference_time_ms.max is 2345.67, that of the inferences 1234.56",
        "summary: inference_time_ms.avg is 1789.12, that of the inferences 1234.56",
        "summary: memory_usage_mb.min is 42.5, that of the inferences 45.67",
        "summary: memory_usage_mb.max is 48.2, that of the inferences 45.67",
        "summary: memory_usage_mb.avg is 45.3, that of the inferences 45.67",
        "summary: cpu_usage_percent.min is 72.1, that of the inferences 78.5",
        "summary: cpu_usage_percent.max is 85.4, that of the inferences 78.5",
        "summary: energy_consumption_mj.min is 17.2, that of the inferences 18.75",
        "summary: energy_consumption_mj.max is 20.8, that of the inferences 18.75",
        "summary: energy_consumption_mj.avg is 18.5, that of the inferences 18.75",
        "summary: energy_consumption_mj.total is 185, that of the inferences 18.75",
    ];
    assert_eq!(document.contradictions, expected);
}

#[test]
fn every_formula_of_the_format_comes_out_of_the_details() {
    let DeviceDocument { figures, contradictions } = read(&agreeing());
    assert_eq!(contradictions, Vec::<String>::new());
    assert_eq!(figures.first_timestamp.as_deref(), Some("2025-10-07T10:30:15"));
    assert_eq!(figures.last_timestamp.as_deref(), Some("2025-10-07T10:30:17"));
    let imported = Imported {
        source: Source { path: "a.json".to_owned(), sha256: lab_core::digest::Digest::of(b""), bytes: 0 },
        figures: Figures::Device(Box::new(figures)),
        validity: Validity::Valid,
    };
    let measurements = imported.measurements();
    for (metric, expected) in [
        ("total_inferences", 3.0),
        ("inference_time_ms_min", 10.0),
        ("inference_time_ms_max", 25.0),
        ("inference_time_ms_avg", 55.0 / 3.0),
        ("memory_usage_mb_min", 40.5),
        ("memory_usage_mb_max", 44.0),
        ("memory_usage_mb_avg", 42.0),
        ("cpu_usage_percent_min", 70.0),
        ("cpu_usage_percent_max", 81.0),
        ("cpu_usage_percent_avg", 77.0),
        ("energy_consumption_mj_min", 1.25),
        ("energy_consumption_mj_max", 2.0),
        ("energy_consumption_mj_avg", 4.75 / 3.0),
        ("energy_consumption_mj_total", 4.75),
    ] {
        let own = measurements.iter().find(|own| own.metric == format!("device.v1/{metric}")).unwrap();
        assert_eq!(own.reading, Reading::Value(expected), "{metric}");
    }
}

#[test]
fn each_contradiction_is_told() {
    let agreeing = agreeing();
    for (from, to, expected) in [
        (
            r#""avg": 18.33"#,
            r#""avg": 18.35"#,
            "summary: inference_time_ms.avg is 18.35, that of the inferences 18.333",
        ),
        (r#""total": 4.75"#, r#""total": 4.8"#, ""),
        // Three values that the device rounded to hundredths only when it wrote them.
        (r#""total": 4.75"#, r#""total": 4.76"#, ""),
        (r#""avg": 18.33"#, r#""avg": 18.34"#, ""),
        (
            r#""total": 4.75"#,
            r#""total": 4.78"#,
            "summary: energy_consumption_mj.total is 4.78, that of the inferences 4.75",
        ),
        (
            r#""total": 4.75"#,
            r#""total": 4.9"#,
            "summary: energy_consumption_mj.total is 4.9, that of the inferences 4.75",
        ),
        (
            r#""total_inferences": 3"#,
            r#""total_inferences": 4"#,
            "summary: total_inferences is 4, there are 3",
        ),
        (
            r#"{"device_id": "edge-01""#,
            r#"{"device_id": "edge-02""#,
            "summary: device_id is `edge-02`, that of the inferences `edge-01`",
        ),
        (
            r#""model_name": "m", "total"#,
            r#""model_name": "n", "total"#,
            "summary: model_name is `n`, that of the inferences `m`",
        ),
        (
            r#":16", "device_id": "edge-01""#,
            r#":16", "device_id": "edge-09""#,
            "details: the inferences name several devices: `edge-01`, `edge-09`",
        ),
    ] {
        let text = agreeing.replacen(from, to, 1);
        assert_ne!(text, agreeing, "{from}");
        let contradictions = read(&text).contradictions;
        match expected {
            "" => assert_eq!(contradictions, Vec::<String>::new(), "{to}"),
            expected => {
                assert_eq!(contradictions.len(), 1, "{to}: {contradictions:?}");
                assert!(contradictions[0].starts_with(expected), "{to}: {contradictions:?}");
            }
        }
    }
}

#[test]
fn details_that_were_not_rounded_allow_for_no_rounding() {
    let text = agreeing().replacen(r#""inference_time_ms": 25,"#, r#""inference_time_ms": 25.001,"#, 1);
    assert_eq!(read(&text).contradictions, Vec::<String>::new());
    let contradictions = read(&text.replacen(r#""avg": 18.33"#, r#""avg": 18.34"#, 1)).contradictions;
    assert!(contradictions[0].starts_with("summary: inference_time_ms.avg is 18.34"), "{contradictions:?}");
}

#[test]
fn a_name_of_another_device_is_a_contradiction_and_another_notation_is_none() {
    let mut document = read(EXAMPLE);
    let before = document.contradictions.len();
    document.hold_against_name("00-0F-00-70-91-0A");
    assert_eq!(document.contradictions.len(), before);
    document.hold_against_name("1c:bf:ce:15:ec:4d");
    assert_eq!(
        document.contradictions.last().unwrap(),
        "name: the file's name says `1c:bf:ce:15:ec:4d`, the document `00:0f:00:70:91:0a`"
    );
}

#[test]
fn what_an_inference_does_not_tell_is_a_sample_less() {
    let text = r#"{"detailed_metrics": [
        {"device_id": "a", "model_name": "m", "inference_time_ms": 5, "energy_consumed_mj": null},
        {"inference_time_ms": 7.5, "memory_used_mb": -0.0}, {}]}"#;
    let inferences = read(text).figures.inferences.unwrap();
    assert_eq!((inferences.n, inferences.inference_time_ms.n), (3, 2));
    assert_eq!(inferences.inference_time_ms.sum.to_bits(), 12.5_f64.to_bits());
    assert_eq!(inferences.memory_usage_mb.min.to_bits(), 0.0_f64.to_bits(), "the sign of zero is dropped");
    assert_eq!((inferences.cpu_usage_percent.n, inferences.energy_consumption_mj.n), (0, 0));
}

#[test]
fn names_come_from_the_summary_where_no_inference_has_them() {
    let text = r#"{"summary": {"device_id": "a", "model_name": "m", "total_inferences": 0}, "detailed_metrics": []}"#;
    let document = read(text);
    assert_eq!((document.figures.device_id.as_str(), document.figures.model_name.as_str()), ("a", "m"));
    assert_eq!(document.contradictions, Vec::<String>::new());
}

/// Both ways of reading refuse a text, with words that begin so.
#[track_caller]
fn check_refused(text: &str, expected: &str) {
    let errors = [read_inferences_slice(text.as_bytes()), read_inferences(text.as_bytes())];
    for error in errors.map(Result::unwrap_err) {
        assert!(error.to_string().starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn what_is_no_such_document_is_refused_with_its_key_and_place() {
    let cut_behind = |text: &str| EXAMPLE[..EXAMPLE.find(text).unwrap() + text.len()].to_owned();
    for (text, expected) in [
        (String::new(), "the document: EOF while parsing a value (line 1, column 0)"),
        ("[]".to_owned(), "the document: invalid type: sequence, expected an object with `summary`"),
        ("{}".to_owned(), "detailed_metrics: it is missing, and an array of inferences was expected"),
        (cut_behind("\"total_inferences\": "), "summary.total_inferences: EOF while parsing"),
        (
            cut_behind("\"energy_consumed_mj\": "),
            "detailed_metrics[0].energy_consumed_mj: EOF while parsing a value",
        ),
        (cut_behind("18.75,"), "detailed_metrics[0]: EOF while parsing"),
        (format!("{EXAMPLE}{EXAMPLE}"), "the document: trailing characters"),
        (
            r#"{"detailed_metrics": [1]}"#.to_owned(),
            "detailed_metrics[0]: invalid type: integer `1`, expected an inference: an object",
        ),
        (
            r#"{"detailed_metrics": {}}"#.to_owned(),
            "detailed_metrics: invalid type: map, expected an array of inferences",
        ),
        (
            r#"{"detailed_metrics": [], "detailed_metrics": []}"#.to_owned(),
            "detailed_metrics: the key is given twice",
        ),
        (
            r#"{"detailed_metrics": [{}]}"#.to_owned(),
            "device_id: neither the summary nor an inference has it",
        ),
    ] {
        check_refused(&text, expected);
    }
}

#[test]
fn what_is_no_inference_is_refused_with_its_key_and_place() {
    let with = |inference: &str| {
        format!(r#"{{"detailed_metrics": [{{"device_id": "a", "model_name": "m"}}, {{{inference}}}]}}"#)
    };
    for (text, expected) in [
        (
            with(r#""inference_time_ms": "fast""#),
            "detailed_metrics[1].inference_time_ms: invalid type: string \"fast\", expected a number of 0 or more (line 1, column ",
        ),
        (with(r#""inference_time_ms": NaN"#), "detailed_metrics[1].inference_time_ms: expected value"),
        (with(r#""inference_time_ms": Infinity"#), "detailed_metrics[1].inference_time_ms: expected value"),
        (with(r#""inference_time_ms": 1e999"#), "detailed_metrics[1].inference_time_ms: number out of range"),
        (
            with(r#""inference_time_ms": -1"#),
            "detailed_metrics[1].inference_time_ms: -1 is less than 0, and a number of 0 or more was expected",
        ),
        (with(r#""memory_used_mb": -0.5"#), "detailed_metrics[1].memory_used_mb: -0.5 is less than 0"),
        (with(r#""cpu_percent_avg": [1]"#), "detailed_metrics[1].cpu_percent_avg: invalid type: sequence"),
        (
            with(r#""energy_consumed_mj": 1, "energy_consumed_mj": 2"#),
            "detailed_metrics[1].energy_consumed_mj: the key is given twice",
        ),
        (
            with(r#""timestamp": 1759833015"#),
            "detailed_metrics[1].timestamp: invalid type: integer `1759833015`, expected a text",
        ),
        (with(r#""device_id": "../../x""#), "detailed_metrics[1].device_id: `../../x` is no id of a device"),
        (with(r#""model_name": """#), "detailed_metrics[1].model_name: `` cannot be shown"),
        (
            with(r#""compute_device": "a\u0007""#),
            "detailed_metrics[1].compute_device: `a\\u{7}` cannot be shown",
        ),
        (
            with(r#""inference_time_ms": 1e308}, {"inference_time_ms": 1e308"#),
            "detailed_metrics: the values of `inference_time_ms` add up to no number",
        ),
    ] {
        check_refused(&text, expected);
    }
}

#[test]
fn what_is_no_summary_is_refused_with_its_key_and_place() {
    for (text, expected) in [
        (
            r#"{"summary": 3, "detailed_metrics": []}"#,
            "summary: invalid type: integer `3`, expected an object (line 1, column ",
        ),
        (
            r#"{"summary": {"device_id": 3}, "detailed_metrics": []}"#,
            "summary.device_id: invalid type: integer `3`, expected a text (line 1, column ",
        ),
        (
            r#"{"summary": {"cpu_usage_percent": [1]}, "detailed_metrics": []}"#,
            "summary.cpu_usage_percent: invalid type: sequence, expected an object",
        ),
        (
            r#"{"summary": {"total_inferences": -1}, "detailed_metrics": []}"#,
            "summary.total_inferences: -1 is less than 0",
        ),
        (
            r#"{"summary": {"device_id": "a", "device_id": "a"}, "detailed_metrics": []}"#,
            "summary.device_id: the key is given twice (line 1, column ",
        ),
        (
            r#"{"summary": {"cpu_usage_percent": {"min": 1, "min": 1}}, "detailed_metrics": []}"#,
            "summary.cpu_usage_percent.min: the key is given twice",
        ),
        (r#"{"summary": null, "summary": {}}"#, "summary: the key is given twice"),
        (
            r#"{"summary": {"device_id": "/etc"}, "detailed_metrics": []}"#,
            "summary.device_id: `/etc` is no id",
        ),
        (
            r#"{"summary": {"energy_consumption_mj": {"avg": "x"}}, "detailed_metrics": []}"#,
            "summary.energy_consumption_mj.avg: invalid type: string \"x\", expected a number of 0 or more",
        ),
    ] {
        check_refused(text, expected);
    }
}

#[test]
fn what_is_not_known_of_a_summary_is_skipped_as_it_comes_however_long() {
    const LENGTH: u64 = 8 << 20;
    let head = &br#"{"summary": {"device_id": "a", "model_name": "m", "cpu_usage_percent": null, "x": ["#[..];
    let zeros = io::repeat(b' ').take(LENGTH);
    let tail = &br#"0, {"min": [1]}], "total_inferences": 0}, "detailed_metrics": []}"#[..];
    let document = read_inferences(head.chain(zeros).chain(tail)).unwrap();
    assert_eq!((document.figures.device_id.as_str(), document.contradictions.len()), ("a", 0));
}

#[test]
fn a_reader_that_fails_is_told_as_such() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the cable is out"))
        }
    }
    assert_eq!(read_inferences(Failing).unwrap_err().to_string(), "it cannot be read: the cable is out");
    assert_eq!(read_loading(Failing).unwrap_err().to_string(), "it cannot be read: the cable is out");
}

#[test]
fn each_inference_is_handed_on_as_it_was_written() {
    let mut rows = Vec::new();
    let sink = |index: u64, inference: &Inference| {
        let texts = inference.texts().map(|text| text.map(str::to_owned));
        rows.push((index, texts, inference.quantities()));
    };
    for_each_inference(EXAMPLE.as_bytes(), sink).unwrap();
    let text = |text: &str| Some(text.to_owned());
    let texts = [
        text("2025-10-07T10:30:15.123456"),
        text("00:0f:00:70:91:0a"),
        text("microsoft/Phi-3.5-mini-instruct"),
        text("cpu"),
    ];
    assert_eq!(rows, [(0, texts, [Some(1234.56), Some(45.67), Some(78.5), Some(18.75)])]);
}

#[test]
fn loading_is_read_by_any_of_its_names() {
    for known in &LOADING_KEYS {
        let text = format!(r#"{{"{}": 2.5, "device_id": "a", "model_name": "m", "note": [1]}}"#, known.key);
        let document = read_loading(text.as_bytes()).unwrap();
        let loading = document.figures.loading.unwrap();
        let value = match known.figure {
            LoadingFigure::LoadingTimeMs => loading.loading_time_ms,
            LoadingFigure::MemoryIncreaseMb => loading.memory_increase_mb,
        };
        assert_eq!(value, Some(2.5 * known.factor), "{}", known.key);
    }
}

#[test]
fn what_is_no_document_about_loading_is_refused_with_its_key() {
    for (text, expected) in [
        ("", "the document: EOF"),
        ("[]", "the document: invalid type"),
        (r#"{"loading": 3}"#, "the document: none of the keys `loading_time_ms`, `load_time_ms`"),
        (r#"{"loading_time_ms": "3"}"#, "loading_time_ms: `\"3\"` where a number of 0 or more was expected"),
        (r#"{"load_time_s": -3}"#, "load_time_s: `-3` where a number of 0 or more was expected"),
        (r#"{"load_time_s": 1e306}"#, "load_time_s: `1e+306` is too great for a number of ms"),
        (r#"{"load_time_s": 1, "device_id": "../x"}"#, "device_id: `../x` is no id of a device"),
        (r#"{"load_time_s": 1, "load_time_s": 2}"#, "load_time_s: the key is given twice (line 1, column "),
        (r#"{"load_time_s": 1, "device_id": "a", "device_id": "a"}"#, "device_id: the key is given twice"),
        (r#"{"load_time_s": 1} {}"#, "the document: trailing characters"),
        (r#"{"load_time_s": 1, "model_name": 3}"#, "model_name: `3` where a text was expected"),
    ] {
        let error = read_loading(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    let large = format!(r#"{{"load_time_s": 1, "note": "{}"}}"#, "x".repeat(1 << 20));
    assert!(read_loading(large.as_bytes()).unwrap_err().to_string().contains("more than 1048576 bytes"));
}

#[test]
fn two_names_of_one_figure_must_agree() {
    let read = |text: &str| read_loading(text.as_bytes()).unwrap();
    assert_eq!(read(r#"{"load_time_s": 1.5, "load_time_ms": 1500}"#).contradictions, Vec::<String>::new());
    let document = read(r#"{"load_time_s": 1.5, "load_time_ms": 1700, "memory_delta_mb": -0.0}"#);
    assert_eq!(document.contradictions, ["loading: `load_time_ms` comes to 1700, `load_time_s` to 1500"]);
    let loading = document.figures.loading.unwrap();
    assert_eq!(loading.loading_time_ms, Some(1700.0));
    assert_eq!(loading.memory_increase_mb.unwrap().to_bits(), 0.0_f64.to_bits());
}

#[test]
fn the_documentation_lists_every_key_of_loading() {
    let page = include_str!("../../../../../docs/devices.md");
    for known in &LOADING_KEYS {
        assert!(page.contains(&format!("`{}`", known.key)), "{}", known.key);
    }
}
