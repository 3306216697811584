//! A gate as annotations of GitHub Actions, one command a line
//! (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).

use lab_core::gate::{Check, CheckOutcome, Gate};

use crate::page;

/// GitHub shows ten annotations of a kind a step and drops the others.
const MOST: usize = 10;

/// Returns the annotations: one a metric that did not pass, one that says what the gate decided, and one that says what the host
/// supports where that is known.
pub fn to_text(gate: &Gate) -> String {
    let failed = gate.checks.iter().filter(|check| check.outcome != CheckOutcome::Passed);
    let mut lines: Vec<String> = failed.take(MOST - 1).map(annotation).collect();
    let command = if gate.passed { "notice" } else { "error" };
    lines.push(line(command, "lab gate", &gate.reason));
    lines.extend(gate.report.support.as_ref().map(|own| line("notice", "this host", &page::support(own))));
    lines.concat()
}

fn annotation(check: &Check) -> String {
    let command = match check.outcome {
        CheckOutcome::Passed | CheckOutcome::Skipped => "warning",
        CheckOutcome::Failed | CheckOutcome::Error => "error",
    };
    line(command, &check.metric, &check.words)
}

fn line(command: &str, title: &str, message: &str) -> String {
    format!("::{command} title={}::{}\n", property(title), data(message))
}

/// Data escape what ends a line and the sign that escapes.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Properties escape what separates them, too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_gate_is_written_whole() {
        insta::assert_snapshot!("github", to_text(&samples::gate()));
    }

    #[test]
    fn what_would_end_a_command_is_escaped() {
        assert_eq!(
            line("error", "a:b,c", "50 %\nof it: yes, all"),
            "::error title=a%3Ab%2Cc::50 %25%0Aof it: yes, all\n"
        );
    }
}
