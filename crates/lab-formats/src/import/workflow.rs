//! The metrics document of a workflow runtime, contract `workflow.v1`.

use std::io::Read;

use lab_core::workflow::WorkflowFigures;

use super::document::read_object;
use super::error::{DocumentError, WHOLE};
use super::text::{self, NAME_BYTES};

/// Reads a document to its end, byte by byte: a reader with a buffer is much faster. Fields that the contract does not know
/// are passed over without being held in memory: they are kept with the document's bytes.
///
/// # Errors
///
/// When the reader fails, and when the document is no JSON object, has a value of a wrong type, a number below zero, a text
/// that is too long or cannot be shown, or none of the contract's sections, or goes on behind its end.
pub fn read(reader: impl Read) -> Result<WorkflowFigures, DocumentError> {
    let figures: WorkflowFigures = read_object(reader)?;
    if figures.is_silent() {
        let message = "it tells nothing of `execution`, `scheduler`, `llm` or `link_phases`, and so is no metrics \
                       document of a workflow";
        return Err(DocumentError::wrong(WHOLE, message));
    }
    refuse_unshowable(&figures)?;
    Ok(figures)
}

/// The longest path, in bytes: what Linux takes (`PATH_MAX`, limits.h).
const LONGEST_PATH: usize = 4096;

/// Refuses texts that no output could show, by their keys.
fn refuse_unshowable(figures: &WorkflowFigures) -> Result<(), DocumentError> {
    let texts = [
        ("tool", &figures.tool, NAME_BYTES),
        ("input", &figures.input, 0..=LONGEST_PATH),
        ("optimization_level", &figures.optimization_level, 0..=*NAME_BYTES.end()),
        ("execution.status", &figures.execution.status, 0..=*NAME_BYTES.end()),
    ];
    for (key, own, bytes) in texts {
        let Some(own) = own else { continue };
        text::check(own, bytes).map_err(|sentence| DocumentError::wrong(key, sentence))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::Value;

    use super::*;

    /// The example of the founding document, byte for byte.
    const SEED: &str = include_str!("../../tests/data/workflow-seed.json");

    /// Numbers as doubles: 780 and 780.0 are one number in JSON.
    fn as_doubles(value: Value) -> Value {
        match value {
            Value::Number(number) => number.as_f64().into(),
            Value::Array(values) => values.into_iter().map(as_doubles).collect(),
            Value::Object(map) => map.into_iter().map(|(key, value)| (key, as_doubles(value))).collect(),
            other => other,
        }
    }

    #[track_caller]
    fn refused(text: &str) -> String {
        read(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn the_founding_documents_example_is_read_and_written_without_loss() {
        let figures = read(SEED.as_bytes()).unwrap();
        let written = serde_json::to_value(&figures).unwrap();
        let original: Value = serde_json::from_str(SEED).unwrap();
        assert_eq!(as_doubles(written), as_doubles(original));
        assert_eq!(lab_core::workflow::contradictions(&figures), Vec::<String>::new());
    }

    #[test]
    fn what_a_document_does_not_say_is_unknown_and_what_is_not_known_is_passed_over() {
        let text = r#"{"future": {"deep": [[{}], "x", 1e300]}, "llm": {"total_requests": 2, "new": null}, "input": null}"#;
        let figures = read(text.as_bytes()).unwrap();
        assert_eq!(figures.llm.total_requests, Some(2));
        assert_eq!((figures.input, figures.scheduler.per_op_overhead_us), (None, None));
    }

    #[test]
    fn ill_typed_values_are_told_with_key_and_place() {
        for (text, key, expected) in [
            (
                "{\"scheduler\":\n {\"per_op_overhead_us\": \"4.73\"}}",
                "scheduler.per_op_overhead_us: ",
                "invalid type: string \"4.73\", expected a number (line 2, column ",
            ),
            (
                r#"{"execution": {"nodes_executed": 3.5}}"#,
                "execution.nodes_executed: ",
                "expected a whole number from 0 up (line 1, column ",
            ),
            (r#"{"llm": {"total_requests": -1}}"#, "llm.total_requests: ", "integer `-1`"),
            (r#"{"scheduler": [4.73]}"#, "scheduler: ", "invalid type: sequence, expected an object"),
            (
                r#"{"scheduler": {"overhead_breakdown": 3}}"#,
                "scheduler.overhead_breakdown: ",
                "expected an object",
            ),
            (r#"{"execution": {"status": 1}}"#, "execution.status: ", "expected a string"),
            (r#"{"execution": {}, "execution": {}}"#, "", "duplicate field `execution`"),
        ] {
            let told = refused(text);
            assert!(told.starts_with(key) && told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        for (text, expected) in [
            ("", "the document: EOF while parsing a value"),
            ("{\"llm\": {\"total_requests\": 1", "EOF while parsing an object"),
            ("{\"llm\": {\"avg_latency_ms\": NaN}}", "llm.avg_latency_ms: expected value (line 1, column "),
            ("{\"llm\": {\"avg_latency_ms\": 1e999}}", "number out of range"),
            ("{\"llm\": {\"total_requests\": 1}} {}", "the document: trailing characters"),
            ("{\"llm\": {\"total_requests\": 1},}", "line 1"),
        ] {
            let told = refused(text);
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn a_number_below_zero_is_refused_by_its_key_and_place() {
        for (text, key, value) in [
            (r#"{"execution": {"duration_ms": -780}}"#, "execution.duration_ms", "-780.0"),
            (
                r#"{"scheduler": {"overhead_breakdown": {"token_routing_us": -0.54}}}"#,
                "scheduler.overhead_breakdown.token_routing_us",
                "-0.54",
            ),
            (r#"{"link_phases": {"compile_ms": -0.0}}"#, "link_phases.compile_ms", "-0.0"),
        ] {
            let expected = format!(
                "{key}: invalid value: floating point `{value}`, expected a number from 0 up (line 1, column "
            );
            let told = refused(text);
            assert!(told.starts_with(&expected), "{told}");
        }
    }

    #[test]
    fn a_text_that_cannot_be_shown_is_refused_by_its_key() {
        let told = |key: &str, value: &str| {
            let text = format!(r#"{{"{key}": "{value}", "llm": {{"total_requests": 1}}}}"#);
            read(text.as_bytes()).err().map(|error| error.to_string())
        };
        let of = |n: usize| "x".repeat(n);
        for (key, value, expected) in [
            (
                "tool",
                String::new(),
                "`` cannot be shown: 1 to 200 bytes without control characters were expected",
            ),
            ("tool", of(201), "…` cannot be shown: 1 to 200 bytes"),
            ("optimization_level", "O1\\n".to_owned(), "`O1\\n` cannot be shown: 0 to 200 bytes"),
            ("input", of(4097), "cannot be shown: 0 to 4096 bytes"),
            ("input", "\\u001b[2J".to_owned(), "`\\u{1b}[2J` cannot be shown"),
        ] {
            let told = told(key, &value).unwrap();
            assert!(told.starts_with(&format!("{key}: ")) && told.contains(expected), "{told}");
            assert!(told.chars().count() < 400, "{told}");
        }
        for (key, value) in [("tool", of(200)), ("input", of(4096)), ("input", String::new())] {
            assert_eq!(told(key, &value), None, "{key}");
        }
        let status = format!(r#"{{"execution": {{"status": "{}"}}}}"#, of(201));
        assert!(refused(&status).starts_with("execution.status: `xxx"), "{status}");
    }

    #[test]
    fn what_tells_nothing_of_a_workflow_is_no_document_of_one() {
        for text in
            ["{}", r#"{"schema": "lab.session.v1", "input": "x"}"#, r#"{"llm": null, "execution": {}}"#]
        {
            assert!(refused(text).ends_with("is no metrics document of a workflow"), "{text}");
        }
        for text in ["[]", "null", "3"] {
            assert!(refused(text).contains("expected an object"), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_skipped_as_it_comes_however_long() {
        const LENGTH: u64 = 16 << 20;
        let filler = io::repeat(b'x').take(LENGTH);
        let text =
            (&b"{\"future\": [\""[..]).chain(filler).chain(&b"\"], \"llm\": {\"total_requests\": 7}}"[..]);
        assert_eq!(read(io::BufReader::new(text)).unwrap().llm.total_requests, Some(7));
    }

    #[test]
    fn a_reader_that_fails_is_no_mistake_of_the_documents() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let error = read(Failing).unwrap_err();
        assert!(matches!(error, DocumentError::Unreadable(_)), "{error:?}");
        assert!(error.to_string().contains("the disk is gone"), "{error}");
    }
}
