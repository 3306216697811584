//! The table of rules as a Markdown document, `docs/validity.md`.

use std::fmt::Write as _;

use lab_core::validity::{Floor, INVALID_FLOORS, RULES, RULES_VERSION, Rule};

const INTRODUCTION: &str = "\
# Validity

Generated from the table of rules in `lab-core`, the only place where a threshold is written. Do not edit by hand.

Before and after every repetition lab looks at the machine and at the engine's process, and in between a sampling thread
ticks. Beside a run of a command it looks at the machine alone, and the rules that need an engine are blind. These rules, fixed
before any run, turn what was seen into `valid`, `suspect` or `invalid`, each with its reasons:

- A rule fires only when its signal is **above** its threshold, and above its floor where it has one: the kernel's counters
  are coarser than that.
- A rule whose signal cannot be seen on a machine is blind: it does not fire, and `lab show --format json` says `null`.
- Every repetition stays in the store, whatever it is. Invalid ones never enter a figure or a verdict; `lab run
  --replace-invalid` measures others in their place and keeps both.
- A suspect repetition keeps `lab compare` from a verdict (`inconclusive`, exit 3), unless the caller admits every rule that
  made it so: `lab compare --admit steal @latest~1 @latest`. The report names what was admitted.
";

/// Returns the document: an introduction, then one section a rule.
pub fn validity_markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    writeln!(text, "\nVersion of the rules: `{RULES_VERSION}`; every session records it.").expect(MEMORY);
    RULES.iter().for_each(|rule| push_rule(&mut text, rule));
    text
}

const MEMORY: &str = "a string takes every byte";

fn push_rule(text: &mut String, rule: &Rule) {
    let Rule { id, signal, unit, suspect_above, invalid_above, floor, why, .. } = rule;
    writeln!(text, "\n## `{id}`\n\n- Signal: {signal} (in {unit})\n- Suspect above: {suspect_above} {unit}")
        .expect(MEMORY);
    if let Some(limit) = invalid_above {
        writeln!(text, "- Invalid above: {limit} {unit}").expect(MEMORY);
    }
    if let Some(floor) = floor {
        let Floor { amount, unit } = floor;
        write!(text, "- Floor: nothing fires up to {amount} {unit}").expect(MEMORY);
        let least = INVALID_FLOORS * amount;
        let invalid =
            invalid_above.map_or(String::new(), |_| format!(", nothing is invalid up to {least} {unit}"));
        writeln!(text, "{invalid}").expect(MEMORY);
    }
    writeln!(text, "- Why: {why}").expect(MEMORY);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_lists_every_rule() {
        insta::assert_snapshot!(super::validity_markdown());
    }
}
