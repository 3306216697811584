//! A gate as JUnit XML, as CI servers read it: one test case a gated metric.
//!
//! A regression is a failure, what could not be judged an error, and data that cannot tell are a failure or skipped, as the
//! policy says. Figures stand in properties, since JUnit has no place for them.

//!
//! Written here and not by a library: those at hand bring a calendar along, whose features are shared with the engine's
//! arithmetic, and the built-in engine then ran 4 % slower (`lab ab` of both builds).

use lab_core::gate::{Check, CheckOutcome, Gate};
use lab_core::report::Report;

use crate::page;

/// Returns the document's text.
pub fn to_text(gate: &Gate) -> String {
    let cases = cases(gate);
    let count = |kind: &str| {
        cases.iter().filter(|case| case.result.as_ref().is_some_and(|own| own.kind == kind)).count()
    };
    let counts = format!(
        r#"tests="{}" failures="{}" errors="{}" skipped="{}""#,
        cases.len(),
        count("failure"),
        count("error"),
        count("skipped")
    );
    let suite = escape(&gate.report.candidate.plan);
    let texts: String = cases.iter().map(|case| case.text(&suite)).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"lab gate\" {counts}>\n  \
         <testsuite name=\"{suite}\" {counts}>\n{}{texts}  </testsuite>\n</testsuites>\n",
        properties(&facts(&gate.report), 4)
    )
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("baseline", report.baseline.session.clone()),
        ("candidate", report.candidate.session.clone()),
        ("model", report.candidate.model.clone()),
        ("conclusion", report.conclusion.to_string()),
        ("headline", report.headline.clone()),
    ];
    facts.extend(report.support.as_ref().map(|own| ("support", page::support(own))));
    facts
}

/// One test case.
struct Case {
    name: String,
    figures: Vec<(&'static str, String)>,
    /// What came of it, unless it passed.
    result: Option<Unpassed>,
}

/// A result that is no pass: the element's name, and what it says.
struct Unpassed {
    kind: &'static str,
    message: String,
    conclusion: String,
}

impl Case {
    fn text(&self, suite: &str) -> String {
        let name = escape(&self.name);
        let result = self.result.as_ref().map_or_else(String::new, |own| {
            let (message, conclusion) = (escape(&own.message), escape(&own.conclusion));
            match own.kind {
                "skipped" => format!("      <skipped message=\"{message}\"/>\n"),
                kind => format!("      <{kind} message=\"{message}\" type=\"{conclusion}\"/>\n"),
            }
        });
        let inside = properties(&self.figures, 6) + &result;
        format!("    <testcase name=\"{name}\" classname=\"{suite}\">\n{inside}    </testcase>\n")
    }
}

/// Returns a case for every check and for every refusal. A gate without either still is one that somebody waits for.
fn cases(gate: &Gate) -> Vec<Case> {
    let conclusion = gate.report.conclusion.to_string();
    let error = |message: String| Case {
        name: "comparison".to_owned(),
        figures: Vec::new(),
        result: Some(Unpassed { kind: "error", message, conclusion: conclusion.clone() }),
    };
    let mut cases: Vec<Case> = gate.checks.iter().map(|check| case(check, &gate.report)).collect();
    cases.extend(gate.report.refusals.iter().map(|refusal| error(refusal.to_string())));
    if cases.is_empty() {
        let whole = error(gate.reason.clone());
        cases.push(if gate.passed { Case { result: None, ..whole } } else { whole });
    }
    cases
}

fn case(check: &Check, report: &Report) -> Case {
    let kind = match check.outcome {
        CheckOutcome::Passed => None,
        CheckOutcome::Skipped => Some("skipped"),
        CheckOutcome::Failed => Some("failure"),
        CheckOutcome::Error => Some("error"),
    };
    let metric = report.metrics.iter().find(|own| own.metric == check.metric);
    let figures = metric.and_then(|own| own.interval.value()).map_or_else(Vec::new, |interval| {
        vec![
            ("change", interval.estimate.to_string()),
            ("low", interval.low.to_string()),
            ("high", interval.high.to_string()),
        ]
    });
    let result = kind.map(|kind| Unpassed {
        kind,
        message: check.words.clone(),
        conclusion: report.conclusion.to_string(),
    });
    Case { name: check.metric.clone(), figures, result }
}

fn properties(properties: &[(&str, String)], indent: usize) -> String {
    if properties.is_empty() {
        return String::new();
    }
    let line = |(name, value): &(&str, String)| {
        format!("{:indent$}  <property name=\"{name}\" value=\"{}\"/>\n", "", escape(value))
    };
    let lines: String = properties.iter().map(line).collect();
    format!("{:indent$}<properties>\n{lines}{:indent$}</properties>\n", "", "")
}

/// Writes text as the value of an attribute. Control characters, U+FFFE and U+FFFF have no place in XML 1.0 (section 2.2) and
/// become spaces.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            own if own.is_control() => escaped.push(' '),
            own => escaped.push(own),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn what_xml_forbids_becomes_spaces() {
        assert_eq!(escape("a\u{1b}b\u{7f}c\u{fffe}d\u{ffff}e\u{fffd}f"), "a b c d e\u{fffd}f");
        assert_eq!(escape("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }

    #[test]
    fn a_gate_is_written_whole() {
        insta::assert_snapshot!("junit", to_text(&samples::gate()));
    }
}
