//! The metric table. A new metric is one row here and one function in `derive`.

use super::derive;
use super::{Contract, Derive, Direction, Metric};
use crate::energy::MeterKind;
use crate::tolerance::Tolerance;

/// Name of the official contract.
pub const ENGINE_V0_1: &str = "engine.v0.1";
/// Name of lab's own contract.
pub const LAB_V1: &str = "lab.v1";

/// The two that supply most rows.
const ENGINE: &str = "engine";
const OS: &str = "operating system (Linux)";

/// Every metric of an execution, official ones first. Contract `engine.v0.1` holds exactly the metrics of the founding
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
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::tokens_total),
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
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::tokens_per_sec),
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
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::latency_total_ms),
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
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::latency_p50_ms),
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
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::latency_p95_ms),
    },
    Metric {
        contract: Contract::EngineV0_1,
        name: "watts_avg",
        unit: "W",
        direction: Direction::Lower,
        formula: "energy during the total execution time / total execution time",
        source: OS,
        mandatory: true,
        tolerance: Some(Tolerance::Relative(0.05)),
        meter: Some(MeterKind::Measured),
        detail: false,
        derive: Derive::Execution(derive::watts_avg),
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
        meter: Some(MeterKind::Measured),
        detail: false,
        derive: Derive::Execution(derive::tokens_per_watt),
    },
    Metric {
        contract: Contract::EngineV0_1,
        name: "memory_peak_mb",
        unit: "MB",
        direction: Direction::Lower,
        formula: "peak resident memory of the engine process during the repetition (10^6 bytes)",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::memory_peak_mb),
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
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::op_time_ms),
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
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::ttft_ms),
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
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::prefill_tokens_per_sec),
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
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::decode_tokens_per_sec),
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
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::load_ms),
    },
    Metric {
        contract: Contract::LabV1,
        name: "energy_total_j",
        unit: "J",
        direction: Direction::Lower,
        formula: "energy of all meters from the generate request to the last token, interpolated between readings",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: Some(MeterKind::Measured),
        detail: false,
        derive: Derive::Execution(derive::energy_total_j),
    },
    Metric {
        contract: Contract::LabV1,
        name: "energy_per_token_mj",
        unit: "mJ",
        direction: Direction::Lower,
        formula: "energy_total_j * 1000 / tokens_total",
        source: "derived",
        mandatory: false,
        tolerance: None,
        meter: Some(MeterKind::Measured),
        detail: false,
        derive: Derive::Execution(derive::energy_per_token_mj),
    },
    Metric {
        contract: Contract::LabV1,
        name: "watts_plus_minus",
        unit: "W",
        direction: Direction::Neutral,
        formula: "how far off watts_avg may be: at each edge of the execution an update of the meter and the way to the nearest reading at mean power, and a step of the counter",
        source: "derived",
        mandatory: false,
        tolerance: None,
        meter: Some(MeterKind::Measured),
        detail: true,
        derive: Derive::Execution(derive::watts_plus_minus),
    },
    Metric {
        contract: Contract::LabV1,
        name: "watts_estimated",
        unit: "W",
        direction: Direction::Neutral,
        formula: "mean power by a model of the machine, not measured; never fills watts_avg",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: Some(MeterKind::Estimated),
        detail: true,
        derive: Derive::Execution(derive::watts_estimated),
    },
    Metric {
        contract: Contract::LabV1,
        name: "memory_launch_peak_mb",
        unit: "MB",
        direction: Direction::Lower,
        formula: "peak resident memory of the engine process since its start (10^6 bytes)",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::memory_launch_peak_mb),
    },
    Metric {
        contract: Contract::LabV1,
        name: "memory_before_load_mb",
        unit: "MB",
        direction: Direction::Neutral,
        formula: "resident memory of the engine process before it loaded the model",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::memory_before_load_mb),
    },
    Metric {
        contract: Contract::LabV1,
        name: "memory_after_load_mb",
        unit: "MB",
        direction: Direction::Neutral,
        formula: "resident memory of the engine process when the model was loaded",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::memory_after_load_mb),
    },
    Metric {
        contract: Contract::LabV1,
        name: "cpu_user_ms",
        unit: "ms",
        direction: Direction::Lower,
        formula: "CPU time of the engine process in user mode, all threads",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::cpu_user_ms),
    },
    Metric {
        contract: Contract::LabV1,
        name: "cpu_system_ms",
        unit: "ms",
        direction: Direction::Lower,
        formula: "CPU time of the engine process in the kernel, all threads",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::cpu_system_ms),
    },
    Metric {
        contract: Contract::LabV1,
        name: "cpu_utilization_percent",
        unit: "%",
        direction: Direction::Neutral,
        formula: "CPU time, all threads / time from request to answer; 100 is one core",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::cpu_utilization_percent),
    },
    Metric {
        contract: Contract::LabV1,
        name: "run_queue_wait_ms",
        unit: "ms",
        direction: Direction::Lower,
        formula: "time that the engine's threads were ready to run and waited for a CPU",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::run_queue_wait_ms),
    },
    Metric {
        contract: Contract::LabV1,
        name: "switches_voluntary",
        unit: "switches",
        direction: Direction::Neutral,
        formula: "times that a thread of the engine gave its CPU up",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::switches_voluntary),
    },
    Metric {
        contract: Contract::LabV1,
        name: "switches_involuntary",
        unit: "switches",
        direction: Direction::Lower,
        formula: "times that a thread of the engine was taken off its CPU",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::switches_involuntary),
    },
    Metric {
        contract: Contract::LabV1,
        name: "page_faults_minor",
        unit: "faults",
        direction: Direction::Neutral,
        formula: "page faults of the engine served without a disk",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::page_faults_minor),
    },
    Metric {
        contract: Contract::LabV1,
        name: "page_faults_major",
        unit: "faults",
        direction: Direction::Lower,
        formula: "page faults of the engine that waited for a disk",
        source: OS,
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::page_faults_major),
    },
    Metric {
        contract: Contract::LabV1,
        name: "memory_roofline_percent",
        unit: "%",
        direction: Direction::Neutral,
        formula: "decode_tokens_per_sec * bytes of weights a token touches / measured memory bandwidth; none for weights that fit into the caches",
        source: "derived",
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: false,
        derive: Derive::Execution(derive::memory_roofline_percent),
    },
    Metric {
        contract: Contract::LabV1,
        name: "sampler_cpu_percent",
        unit: "%",
        direction: Direction::Neutral,
        formula: "CPU time of lab's sampling thread / time from request to answer",
        source: "lab",
        mandatory: false,
        tolerance: None,
        meter: None,
        detail: true,
        derive: Derive::Execution(derive::sampler_cpu_percent),
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
    fn every_contract_is_listed_by_a_metric_that_it_has() {
        for contract in [
            Contract::EngineV0_1,
            Contract::LabV1,
            Contract::SmokeV1,
            Contract::WorkflowV1,
            Contract::DeviceV1,
        ] {
            let listed = contract.listed_metric();
            assert!(contract.metrics().any(|metric| metric.id() == listed), "{contract}: {listed}");
        }
    }

    #[test]
    fn the_primary_measure_heads_the_order_and_nothing_is_lost() {
        let order: Vec<String> = crate::metric::primary_first(METRICS.iter()).map(Metric::id).collect();
        assert_eq!(order[0], crate::metric::PRIMARY);
        assert_eq!(order.len(), METRICS.len());
        assert_eq!(order[1], "engine.v0.1/tokens_total");
    }

    #[test]
    fn ids_are_unique_and_found_by_name() {
        for metric in crate::metric::all_metrics() {
            assert!(std::ptr::eq(crate::metric::find(&metric.id()).unwrap(), metric));
            assert!(std::ptr::eq(crate::metric::find(metric.name).unwrap(), metric));
        }
        assert!(crate::metric::find("tokens").is_none());
    }
}
