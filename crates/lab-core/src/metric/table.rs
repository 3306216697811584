//! The metric table. A new metric is one row here and one function in `derive`.

use super::derive;
use super::{Contract, Direction, Metric};
use crate::tolerance::Tolerance;

/// Name of the official contract.
pub const ENGINE_V0_1: &str = "engine.v0.1";
/// Name of lab's own contract.
pub const LAB_V1: &str = "lab.v1";

/// The one pair that reads alike in most rows.
const ENGINE: &str = "engine";

/// Every metric lab knows, official ones first. Contract `engine.v0.1` holds exactly the metrics of the founding
/// document, sections 4 and 5, with its formulas and the tolerances of its section 7.
pub static METRICS: &[Metric] = &[
    Metric {
        contract: Contract::EngineV0_1,
        name: "tokens_total",
        unit: "tokens",
        direction: Direction::Neutral,
        formula: "number of tokens generated",
        source: ENGINE,
        mandatory: true,
        tolerance: None,
        derive: derive::tokens_total,
    },
    Metric {
        contract: Contract::EngineV0_1,
        name: "tokens_per_sec",
        unit: "tokens/s",
        direction: Direction::Higher,
        formula: "tokens_total / total execution time (from the generate request to the last token)",
        source: ENGINE,
        mandatory: true,
        tolerance: Some(Tolerance::Relative(0.03)),
        derive: derive::tokens_per_sec,
    },
    Metric {
        contract: Contract::EngineV0_1,
        name: "latency_total_ms",
        unit: "ms",
        direction: Direction::Lower,
        formula: "total execution time (from the generate request to the last token)",
        source: ENGINE,
        mandatory: true,
        tolerance: None,
        derive: derive::latency_total_ms,
    },
    Metric {
        contract: Contract::EngineV0_1,
        name: "latency_p50_ms",
        unit: "ms",
        direction: Direction::Lower,
        formula: "50th percentile (type 7) of the N-1 gaps between the tokens of one repetition",
        source: ENGINE,
        mandatory: true,
        tolerance: None,
        derive: derive::latency_p50_ms,
    },
    Metric {
        contract: Contract::EngineV0_1,
        name: "latency_p95_ms",
        unit: "ms",
        direction: Direction::Lower,
        formula: "95th percentile (type 7) of the N-1 gaps between the tokens of one repetition",
        source: ENGINE,
        mandatory: true,
        tolerance: None,
        derive: derive::latency_p95_ms,
    },
    Metric {
        contract: Contract::EngineV0_1,
        name: "watts_avg",
        unit: "W",
        direction: Direction::Lower,
        formula: "energy during the total execution time / total execution time",
        source: "operating system (Linux)",
        mandatory: true,
        tolerance: Some(Tolerance::Relative(0.05)),
        derive: derive::watts_avg,
    },
    Metric {
        contract: Contract::EngineV0_1,
        name: "tokens_per_watt",
        unit: "tokens/watt",
        direction: Direction::Higher,
        formula: "tokens_per_sec / watts_avg",
        source: "derived",
        mandatory: true,
        tolerance: None,
        derive: derive::tokens_per_watt,
    },
    Metric {
        contract: Contract::EngineV0_1,
        name: "memory_peak_mb",
        unit: "MB",
        direction: Direction::Lower,
        formula: "peak resident memory of the engine process during the repetition (10^6 bytes)",
        source: "operating system (Linux)",
        mandatory: false,
        tolerance: None,
        derive: derive::memory_peak_mb,
    },
    Metric {
        contract: Contract::EngineV0_1,
        name: "op_time_ms",
        unit: "ms",
        direction: Direction::Lower,
        formula: "time per kind of operation (matmul, attention, ...)",
        source: "backend",
        mandatory: false,
        tolerance: None,
        derive: derive::op_time_ms,
    },
    Metric {
        contract: Contract::LabV1,
        name: "ttft_ms",
        unit: "ms",
        direction: Direction::Lower,
        formula: "time to first token: from the generate request to the first token",
        source: ENGINE,
        mandatory: false,
        tolerance: None,
        derive: derive::ttft_ms,
    },
    Metric {
        contract: Contract::LabV1,
        name: "prefill_tokens_per_sec",
        unit: "tokens/s",
        direction: Direction::Higher,
        formula: "prompt tokens / time to first token",
        source: ENGINE,
        mandatory: false,
        tolerance: None,
        derive: derive::prefill_tokens_per_sec,
    },
    Metric {
        contract: Contract::LabV1,
        name: "decode_tokens_per_sec",
        unit: "tokens/s",
        direction: Direction::Higher,
        formula: "(tokens_total - 1) / time from the first token to the last",
        source: ENGINE,
        mandatory: false,
        tolerance: None,
        derive: derive::decode_tokens_per_sec,
    },
    Metric {
        contract: Contract::LabV1,
        name: "load_ms",
        unit: "ms",
        direction: Direction::Lower,
        formula: "time the launch took to load the model, warm-up excluded",
        source: ENGINE,
        mandatory: false,
        tolerance: None,
        derive: derive::load_ms,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_official_contract_holds_exactly_the_metrics_of_its_document() {
        let official: Vec<&str> =
            METRICS.iter().filter(|metric| metric.contract.is_official()).map(|metric| metric.name).collect();
        let document = [
            "tokens_total",
            "tokens_per_sec",
            "latency_total_ms",
            "latency_p50_ms",
            "latency_p95_ms",
            "watts_avg",
            "tokens_per_watt",
            "memory_peak_mb",
            "op_time_ms",
        ];
        assert_eq!(official, document);
        let optional: Vec<&str> = METRICS
            .iter()
            .filter(|metric| metric.contract.is_official() && !metric.mandatory)
            .map(|metric| metric.name)
            .collect();
        assert_eq!(optional, ["memory_peak_mb", "op_time_ms"]);
    }

    #[test]
    fn only_the_two_gated_metrics_carry_a_contract_tolerance() {
        let gated: Vec<_> =
            METRICS.iter().filter_map(|metric| metric.tolerance.map(|own| (metric.name, own))).collect();
        let document =
            [("tokens_per_sec", Tolerance::Relative(0.03)), ("watts_avg", Tolerance::Relative(0.05))];
        assert_eq!(gated, document);
    }

    #[test]
    fn the_primary_measure_heads_the_order_and_nothing_is_lost() {
        let order: Vec<String> = crate::metric::primary_first().map(Metric::id).collect();
        assert_eq!(order[0], crate::metric::PRIMARY);
        assert_eq!(order.len(), METRICS.len());
        assert_eq!(order[1], "engine.v0.1/tokens_total");
    }

    #[test]
    fn ids_are_unique_and_found_by_name() {
        for metric in METRICS {
            assert!(std::ptr::eq(crate::metric::find(&metric.id()).unwrap(), metric));
            assert!(std::ptr::eq(crate::metric::find(metric.name).unwrap(), metric));
        }
        assert!(crate::metric::find("tokens").is_none());
    }
}
