//! Contract `smoke.v1`: a run of a command.

use super::{Contract, Derive, Direction, Metric};
use crate::command;

const OS: &str = "operating system (Linux)";

/// The metrics of a run of a command.
pub static SMOKE_METRICS: &[Metric] = &[
    Metric {
        contract: Contract::SmokeV1,
        name: "elapsed_sec",
        unit: "s",
        direction: Direction::Lower,
        formula: "from just before the program is started to its end",
        source: OS,
        mandatory: true,
        tolerance: None,
        meter: None,
        detail: false,
        derive: Derive::Command(command::elapsed_sec),
    },
    Metric {
        contract: Contract::SmokeV1,
        name: "rows_used",
        unit: "rows",
        direction: Direction::Neutral,
        formula: "rows of input that the command used: given, counted, or reported by it",
        source: OS,
        mandatory: true,
        tolerance: None,
        meter: None,
        detail: false,
        derive: Derive::Command(command::rows_used),
    },
    Metric {
        contract: Contract::SmokeV1,
        name: "peak_memory_mb",
        unit: "MB",
        direction: Direction::Lower,
        formula: "greatest sum of resident memory over the process tree, or the kernel's own peak of one process of it where that is greater (10^6 bytes)",
        source: OS,
        mandatory: true,
        tolerance: None,
        meter: None,
        detail: false,
        derive: Derive::Command(command::peak_memory_mb),
    },
];
