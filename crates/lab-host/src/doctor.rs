//! What can be measured on this machine, what cannot, and what would help.
//!
//! One row of `QUESTIONS` a capability. A row says *available* only where lab gets the figure: a meter that is
//! there but that this version does not read is no capability, and the reason says both.

mod energy;
mod graphics;
mod memory;

mod timing;

use serde::Serialize;

use crate::{Roots, Unavailable};

/// Something that lab would like to be able to do on this machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capability {
    /// What it is called: `monotonic clock`.
    pub name: &'static str,
    /// What it serves.
    pub what_for: &'static str,
    /// The engine contract's metrics that suffer without it, by name; empty where it only guards against noise.
    pub metrics: &'static [&'static str],
    /// Whether it is there.
    #[serde(flatten)]
    pub status: Status,
}

/// Whether a capability is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Status {
    /// It is.
    Available {
        /// What was found, for people.
        detail: String,
    },
    /// It is not.
    Unavailable {
        /// Why.
        reason: String,
        /// What would change that, where something would.
        remedy: Option<String>,
    },
}

impl Status {
    /// Tells whether the capability is there.
    pub fn is_available(&self) -> bool {
        matches!(self, Self::Available { .. })
    }

    fn available(detail: impl Into<String>) -> Self {
        Self::Available { detail: detail.into() }
    }

    fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), remedy: None }
    }

    /// Adds what would help, where the capability is missing.
    fn or_remedy(self, advice: impl Into<String>) -> Self {
        match self {
            Self::Unavailable { reason, .. } => Self::Unavailable { reason, remedy: Some(advice.into()) },
            available @ Self::Available { .. } => available,
        }
    }
}

impl From<Result<String, Unavailable>> for Status {
    fn from(answer: Result<String, Unavailable>) -> Self {
        match answer {
            Ok(detail) => Self::available(detail),
            Err(reason) => Self::unavailable(reason.reason),
        }
    }
}

/// A row of the table: everything about a capability but its answer on this machine.
struct Question {
    name: &'static str,
    what_for: &'static str,
    metrics: &'static [&'static str],
    answer: fn(&Roots) -> Status,
}

const TIMES: &[&str] =
    &["tokens_per_sec", "latency_total_ms", "latency_p50_ms", "latency_p95_ms", "op_time_ms"];
const ENERGY: &[&str] = &["watts_avg", "tokens_per_watt"];

const QUESTIONS: &[Question] = &[
    Question {
        name: "monotonic clock",
        what_for: "every duration; the contract asks for steps of a microsecond or less",
        metrics: TIMES,
        answer: timing::monotonic_clock,
    },
    Question {
        name: "energy by RAPL",
        what_for: "the energy of processor packages and their memory",
        metrics: ENERGY,
        answer: energy::rapl,
    },
    Question {
        name: "energy by hwmon",
        what_for: "the energy of GPUs, boards and power supplies with a sensor",
        metrics: ENERGY,
        answer: energy::hwmon,
    },
    Question {
        name: "energy by battery",
        what_for: "the energy of a whole machine that runs on its battery",
        metrics: ENERGY,
        answer: energy::battery,
    },
    Question {
        name: "NVIDIA GPU",
        what_for: "engines that compute on an NVIDIA GPU, and its energy",
        metrics: &[],
        answer: graphics::nvidia,
    },
    Question {
        name: "AMD GPU",
        what_for: "engines that compute on an AMD GPU, and its energy",
        metrics: &[],
        answer: graphics::amd,
    },
    Question {
        name: "peak memory reset",
        what_for: "the peak memory of one repetition instead of the whole process",
        metrics: &["memory_peak_mb"],
        answer: memory::peak_memory_reset,
    },
    Question {
        name: "usable memory",
        what_for: "refusing a model that does not fit, before it is loaded",
        metrics: &[],
        answer: memory::usable_memory,
    },
    Question {
        name: "swap",
        what_for: "noticing runs that measured the disk",
        metrics: &[],
        answer: memory::swap,
    },
    Question {
        name: "affinity",
        what_for: "a core of its own for every engine thread",
        metrics: TIMES,
        answer: timing::affinity,
    },
    Question {
        name: "steal accounting",
        what_for: "noticing runs from which a hypervisor took time",
        metrics: TIMES,
        answer: timing::steal,
    },
    Question {
        name: "pressure (PSI)",
        what_for: "noticing runs that waited for a CPU",
        metrics: TIMES,
        answer: timing::pressure,
    },
    Question {
        name: "cpu frequency",
        what_for: "noticing runs at another frequency",
        metrics: TIMES,
        answer: timing::frequency,
    },
    Question {
        name: "throttle counters",
        what_for: "noticing runs on a processor slowed down for its heat",
        metrics: TIMES,
        answer: timing::throttling,
    },
    Question {
        name: "perf events",
        what_for: "counting instructions and cache misses",
        metrics: &[],
        answer: timing::perf_events,
    },
    Question {
        name: "huge pages",
        what_for: "knowing whether memory came in large pages, which changes speed",
        metrics: &[],
        answer: memory::huge_pages,
    },
    Question {
        name: "address-space randomisation",
        what_for: "knowing whether the layout of memory differs from launch to launch, which changes speed",
        metrics: &[],
        answer: memory::address_space_randomisation,
    },
];

/// Returns every capability with its status on this machine, in a fixed order.
///
/// Has one side effect, where the roots are this machine's: the peak memory of this process is reset, since nothing
/// less shows that it can be.
pub fn examine(roots: &Roots) -> Vec<Capability> {
    let examined = QUESTIONS.iter().map(|question| Capability {
        name: question.name,
        what_for: question.what_for,
        metrics: question.metrics,
        status: (question.answer)(roots),
    });
    examined.collect()
}

/// Returns the number of this process in the name space that the procfs root shows.
fn own_pid(roots: &Roots) -> Result<u32, Unavailable> {
    let stat = roots.proc_text("self/stat")?;
    let first = stat.split_whitespace().next().and_then(|word| word.parse().ok());
    first.ok_or_else(|| Unavailable::content(&roots.proc.join("self/stat"), "the number of a process"))
}

/// Returns bytes as people read them: `23.5 GiB`.
fn human_bytes(bytes: u64) -> String {
    const UNITS: &[(u32, &str)] = &[(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fitting = UNITS.iter().find(|(shift, _)| bytes >> shift > 0);
    fitting.map_or_else(
        || format!("{bytes} B"),
        |(shift, unit)| format!("{:.1} {unit}", bytes as f64 / f64::from(1_u32 << shift)),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_capability_is_named_once_and_explained() {
        let names: BTreeSet<_> = QUESTIONS.iter().map(|question| question.name).collect();
        assert_eq!(names.len(), QUESTIONS.len());
        assert!(QUESTIONS.iter().all(|question| !question.what_for.is_empty()));
    }

    #[test]
    fn bytes_are_written_in_the_largest_unit_that_fits() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (64 << 20, "64.0 MiB"), (25 << 29, "12.5 GiB")]
        {
            assert_eq!(human_bytes(bytes), text);
        }
    }

    #[test]
    fn a_remedy_goes_to_what_is_missing_only() {
        assert_eq!(Status::available("x").or_remedy("y"), Status::available("x"));
        let expected = Status::Unavailable { reason: "x".to_owned(), remedy: Some("y".to_owned()) };
        assert_eq!(Status::unavailable("x").or_remedy("y"), expected);
    }

    #[test]
    fn a_capability_is_one_flat_object_in_json() {
        let capability =
            Capability { name: "n", what_for: "w", metrics: &["m"], status: Status::unavailable("r") };
        assert_eq!(
            serde_json::to_string(&capability).unwrap(),
            r#"{"name":"n","what_for":"w","metrics":["m"],"status":"unavailable","reason":"r","remedy":null}"#
        );
    }
}
