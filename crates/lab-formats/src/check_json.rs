//! The outcome of a check as a JSON document, `lab.check.v1`: the [`SessionCheck`] itself, which carries its schema's name.

use lab_core::check::SessionCheck;

/// Returns the document's text.
pub fn to_text(check: &SessionCheck) -> String {
    crate::pretty(check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_check_is_written_whole_and_reads_back() {
        let check = samples::check();
        let text = to_text(&check);
        let read: SessionCheck = serde_json::from_str(&text).unwrap();
        assert_eq!(read, check);
        assert!(text.contains("\"schema\": \"lab.check.v1\"") && text.contains("\"below\": 10.0"), "{text}");
    }
}
