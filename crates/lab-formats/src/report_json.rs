//! The report as a JSON document, `lab.report.v2`: the [`Report`] itself, which carries its schema's name.

use lab_core::report::Report;

/// Returns the document's text.
pub fn to_text(report: &Report) -> String {
    crate::pretty(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn reports_are_versioned_documents() {
        insta::assert_snapshot!("judged", to_text(&samples::judged_report()));
        insta::assert_snapshot!("refused", to_text(&samples::refused_report()));
        insta::assert_snapshot!("experiment", to_text(&samples::experiment_report()));
    }

    #[test]
    fn a_report_reads_back_whole() {
        for report in [samples::judged_report(), samples::refused_report(), samples::experiment_report()] {
            assert_eq!(serde_json::from_str::<Report>(&to_text(&report)).unwrap(), report);
        }
    }
}
