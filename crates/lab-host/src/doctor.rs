//! What can be measured on this machine, what cannot, and what would help.
//!
//! One row of `QUESTIONS` a capability. A row says *available* only where lab gets the figure: a meter that is
//! there but that this version does not read is no capability, and the reason says both.

mod energy;
mod graphics;
mod memory;
mod timing;

use std::path::Path;

use serde::Serialize;

use crate::{Roots, Unavailable};

/// Something that lab would like to be able to do on this machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capability {
    /// What it is called: `monotonic clock`.
    pub name: &'static str,
    /// What it serves.
    pub what_for: &'static str,
    /// The engine contract's metrics that have no value without it, by name; where several capabilities name one, any of
    /// them gives it a value. Empty where metrics keep their value and only lose some of what explains it.
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
    /// Takes the roots, and the library that NVIDIA's meters are read through where one is named.
    answer: fn(&Roots, Option<&Path>) -> Status,
}

const TIMES: &[&str] = &["tokens_per_sec", "latency_total_ms", "latency_p50_ms", "latency_p95_ms"];
const ENERGY: &[&str] = &["watts_avg", "tokens_per_watt"];

/// Conditions are recorded around each repetition; the rules of validity judge it by them.
const QUESTIONS: &[Question] = &[
    Question {
        name: "monotonic clock",
        what_for: "every duration; the contract asks for steps of a microsecond or less",
        metrics: TIMES,
        answer: |roots, _| timing::monotonic_clock(roots),
    },
    Question {
        name: "profile per operation",
        what_for: "the time that each kind of operation takes",
        metrics: &["op_time_ms"],
        answer: |_, _| Status::available("by the engine, in a launch of its own (`lab run --profile`)"),
    },
    Question {
        name: "energy by RAPL",
        what_for: "the energy of processor packages and their memory",
        metrics: ENERGY,
        answer: |roots, _| energy::rapl(roots),
    },
    Question {
        name: "energy by hwmon",
        what_for: "the energy of boards and power supplies with a sensor",
        metrics: ENERGY,
        answer: |roots, _| energy::hwmon(roots),
    },
    Question {
        name: "energy by battery",
        what_for: "the energy of a whole machine that runs on its battery",
        metrics: ENERGY,
        answer: |roots, _| energy::battery(roots),
    },
    Question {
        name: "NVIDIA GPU",
        what_for: "the energy of engines that compute on an NVIDIA GPU",
        metrics: &[],
        answer: graphics::nvidia,
    },
    Question {
        name: "AMD GPU",
        what_for: "the energy of engines that compute on an AMD GPU",
        metrics: &[],
        answer: |roots, _| graphics::amd(roots),
    },
    Question {
        name: "peak memory reset",
        what_for: "the peak memory of one repetition instead of the whole process",
        metrics: &["memory_peak_mb"],
        answer: |roots, _| memory::peak_memory_reset(roots),
    },
    Question {
        name: "usable memory",
        what_for: "refusing a model that does not fit, before it is loaded",
        metrics: &[],
        answer: |roots, _| memory::usable_memory(roots),
    },
    Question {
        name: "swap",
        what_for: "pages swapped, by which repetitions are judged",
        metrics: &[],
        answer: |roots, _| memory::swap(roots),
    },
    Question {
        name: "affinity",
        what_for: "a core of its own for every engine thread",
        metrics: &[],
        answer: |roots, _| timing::affinity(roots),
    },
    Question {
        name: "steal accounting",
        what_for: "the time a hypervisor took, by which repetitions are judged",
        metrics: &[],
        answer: |roots, _| timing::steal(roots),
    },
    Question {
        name: "pressure (PSI)",
        what_for: "how long tasks waited for a CPU, for memory or a disk, by which repetitions are judged",
        metrics: &[],
        answer: |roots, _| timing::pressure(roots),
    },
    Question {
        name: "cpu frequency",
        what_for: "governor and frequency, by which repetitions are judged",
        metrics: &[],
        answer: |roots, _| timing::frequency(roots),
    },
    Question {
        name: "throttle counters",
        what_for: "slowdowns for heat, by which repetitions are judged",
        metrics: &[],
        answer: |roots, _| timing::throttling(roots),
    },
    Question {
        name: "perf events",
        what_for: "counting instructions and cache misses",
        metrics: &[],
        answer: |roots, _| timing::perf_events(roots),
    },
    Question {
        name: "huge pages",
        what_for: "how the kernel gives large pages, recorded around each repetition",
        metrics: &[],
        answer: |roots, _| memory::huge_pages(roots),
    },
    Question {
        name: "address-space randomisation",
        what_for: "how far addresses are shuffled, recorded around each repetition",
        metrics: &[],
        answer: |roots, _| memory::address_space_randomisation(roots),
    },
];

/// Returns every capability with its status on this machine, in a fixed order.
///
/// `nvml_library` is NVIDIA's management library, where it is not the one of the system.
///
/// Has one side effect, where the roots are this machine's: the peak memory of this process is reset, since nothing
/// less shows that it can be.
pub fn examine(roots: &Roots, nvml_library: Option<&Path>) -> Vec<Capability> {
    let examined = QUESTIONS.iter().map(|question| Capability {
        name: question.name,
        what_for: question.what_for,
        metrics: question.metrics,
        status: (question.answer)(roots, nvml_library),
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
    fn a_metric_is_named_only_where_it_has_no_value_without_the_capability() {
        let naming = |metric: &str| -> Vec<&str> {
            let questions = QUESTIONS.iter().filter(|question| question.metrics.contains(&metric));
            questions.map(|question| question.name).collect()
        };
        for metric in TIMES {
            assert_eq!(naming(metric), ["monotonic clock"], "{metric}");
        }
        assert_eq!(naming("op_time_ms"), ["profile per operation"]);
        assert_eq!(naming("memory_peak_mb"), ["peak memory reset"]);
        assert_eq!(naming("watts_avg"), ["energy by RAPL", "energy by hwmon", "energy by battery"]);
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
