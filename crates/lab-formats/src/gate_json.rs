//! The outcome of a gate as a JSON document, `lab.gate.v1`: the [`Gate`] itself, which carries its schema's name.

use lab_core::gate::Gate;

/// Returns the document's text.
pub fn to_text(gate: &Gate) -> String {
    crate::pretty(gate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_gate_is_written_whole() {
        insta::assert_snapshot!("gate", to_text(&samples::gate()));
    }
}
