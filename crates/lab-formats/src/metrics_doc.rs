//! The metric table as a Markdown document, `docs/metrics.md`.

use std::fmt::Write as _;

use lab_core::metric::{Contract, Metric, all_metrics};

const INTRODUCTION: &str = "\
# Metrics

Generated from the metric table in `lab-core`, the only place where a formula is written. Do not edit by hand.

- **Determinism**: the same conditions give comparable figures. Every formula is a pure function of the recorded raw
  data; the stored timeline gives the published number again, bit for bit.
- **Low overhead**: what is collected must not bend the result.
- **Explicit observation**: nothing is implied or inferred. A metric that could not be measured is `unavailable`, with
  the reason; it is never 0 and never an estimate.
- **Reproducibility**: every figure can be audited back to its samples.

A metric belongs to one execution: one repetition of one plan by one model, backend, hardware and engine version. Figures
over a session (mean, standard deviation with divisor n−1, median) always carry the name of their statistic and their n.

Ids carry their contract, as in `engine.v0.1/tokens_per_sec`; different ids never compare. MB is 10^6 bytes. A tolerance
is the greatest change of means that counts as reproduced; a plan may tighten it, and one that loosens it is marked
`unofficial` in every output of a session or a comparison. Metrics without a tolerance are shown and not judged, unless the plan gives them one.
";

/// The contracts of the systems around an engine, and what to say of each.
const OTHERS: [(Contract, &str); 3] = [
    (
        Contract::SmokeV1,
        "A run of a command: `lab measure`, plans with a `[command]`, and the functions for Rust and Python.",
    ),
    (
        Contract::WorkflowV1,
        "The metrics document of a workflow runtime (`lab import workflow`, `lab run --emit-metrics`). Times of the \
         breakdown are per operation.",
    ),
    (
        Contract::DeviceV1,
        "The metrics documents of edge devices (`lab import device`), derived again from their details. Energy is what \
         the device reports: lab did not measure it.",
    ),
];

/// Returns the document: an introduction, then one section a contract.
pub fn metrics_markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    push_section(
        &mut text,
        Contract::EngineV0_1,
        "The official metrics of a model execution engine. `tokens_per_watt` is the primary measure of success.",
    );
    push_section(
        &mut text,
        Contract::LabV1,
        "lab's own metrics. They are **not official**: no outside contract defines them, and they are judged only
\
         where a plan gives them a tolerance.",
    );
    for (contract, note) in OTHERS {
        push_section(&mut text, contract, note);
    }
    text
}

fn push_section(text: &mut String, contract: Contract, note: &str) {
    writeln!(text, "\n## Contract `{contract}`\n\n{note}").expect("a string takes every byte");
    let of_contract = |metric: &&Metric| metric.contract == contract;
    for metric in all_metrics().filter(of_contract) {
        push_metric(text, metric);
    }
}

fn push_metric(text: &mut String, metric: &Metric) {
    let mandatory = if metric.mandatory { "yes" } else { "no" };
    let tolerance = metric.tolerance.map_or("none".to_owned(), |own| own.in_unit(metric.unit));
    writeln!(
        text,
        "\n### `{name}`\n\n- Id: `{id}`\n- Unit: {unit}\n- Direction: {direction}\n- Formula: {formula}\n\
         - Source: {source}\n- Mandatory: {mandatory}\n- Tolerance: {tolerance}",
        name = metric.name,
        id = metric.id(),
        unit = metric.unit,
        direction = metric.direction,
        formula = metric.formula,
        source = metric.source,
    )
    .expect("a string takes every byte");
    if let Some(kind) = metric.meter {
        writeln!(text, "- Meter: {kind} energy; sessions with different meters are not compared by it")
            .expect("a string takes every byte");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_lists_the_whole_table() {
        insta::assert_snapshot!(super::metrics_markdown());
    }
}
