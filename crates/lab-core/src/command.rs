//! Running a command: the work, and the raw data of one run (contract `smoke.v1`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::metric::Reading;
use crate::number::exact;
use crate::observation::{Conditions, Observation, ProcessCounters, Span};
use crate::validity::Validity;

/// A program and where the number of its rows comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandWork {
    /// The program, then its arguments. No shell is asked.
    pub program: Vec<String>,
    /// Where the number of rows comes from.
    pub rows: RowsSource,
}

/// Where the number of rows that a command used comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowsSource {
    /// It was given.
    Given(u64),
    /// The rows of a file were counted.
    File(String),
    /// The command reports it.
    Reported,
}

/// The raw data of one run of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandRun {
    /// The run's own id (UUID version 4), as its summary has it.
    pub run_id: Uuid,
    /// From just before the program was started to its end, in nanoseconds.
    pub elapsed_ns: u64,
    /// Rows that it used; the reason where a run that failed told none.
    pub rows_used: Reading<u64>,
    /// Peak of resident memory over its whole process tree.
    pub memory: MemoryPeak,
    /// How it ended otherwise than well; none where it succeeded.
    pub failure: Option<CommandFailure>,
    /// What disturbed it.
    pub validity: Validity,
    /// What else the machine did meanwhile; none where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<Box<CommandObservation>>,
}

/// What the machine did while a command ran, and how much of it was the command's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandObservation {
    /// Version of the rules of validity that the run was judged by.
    pub rules: String,
    /// The machine, and the cores that the command may use.
    pub machine: Span<Conditions>,
    /// CPU time of the command, of all that it started and was waited for, and of its supervisor, in nanoseconds.
    pub command_cpu_ns: Reading<u64>,
    /// CPU time that lab itself took meanwhile, in nanoseconds.
    pub harness_cpu_ns: Reading<u64>,
}

impl CommandObservation {
    /// Returns it in the form that the rules of validity take.
    pub(crate) fn as_of_execution(&self) -> Observation {
        let of_process = |on_cpu_ns| ProcessCounters {
            user_jiffies: 0,
            system_jiffies: 0,
            on_cpu_ns: Reading::Value(on_cpu_ns),
            run_delay_ns: unseen(),
            voluntary_switches: unseen(),
            involuntary_switches: unseen(),
            minor_faults: 0,
            major_faults: 0,
            threads: 0,
            nice: 0,
        };
        Observation {
            machine: self.machine.clone(),
            process: Span {
                before: Reading::Value(of_process(0)),
                after: self.command_cpu_ns.clone().map(of_process),
            },
            harness_cpu_ns: self.harness_cpu_ns.clone(),
            ..Observation::unobserved(unseen())
        }
    }
}

fn unseen<T>() -> Reading<T> {
    Reading::Unavailable("nobody looks at the threads of a command".to_owned())
}

/// The peak of resident memory, in bytes, by two ways of looking: neither sees everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPeak {
    /// The greatest sum over the process tree that sampling met. Misses what rises and falls between two samples; counts
    /// pages that processes share once for each.
    pub sampled_bytes: Reading<u64>,
    /// The kernel's own peak of the one process that had the greatest. Misses that several live at once.
    pub kernel_bytes: Reading<u64>,
    /// Samples taken.
    pub samples: u32,
}

impl MemoryPeak {
    /// Returns the greater of the two; the reason why there is none.
    pub fn bytes(&self) -> Reading<u64> {
        match (&self.sampled_bytes, &self.kernel_bytes) {
            (Reading::Value(sampled), Reading::Value(kernel)) => Reading::Value(*sampled.max(kernel)),
            (Reading::Value(bytes), _) | (_, Reading::Value(bytes)) => Reading::Value(*bytes),
            (Reading::Unavailable(reason), _) => Reading::Unavailable(reason.clone()),
        }
    }
}

/// How a command ended otherwise than well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CommandFailure {
    /// It ended by itself with a status that is not 0.
    #[error("the command ended with status {0}")]
    Exited(i32),
    /// A signal ended it.
    #[error("the command was killed by signal {0}")]
    Killed(i32),
    /// It took longer than the plan allows and was stopped.
    #[error("the command did not end within {0} s and was stopped")]
    TimedOut(u64),
    /// It told no number of rows, or something that is none.
    #[error("the command succeeded and its rows are not known: {0}")]
    Rows(String),
}

const NANOS_PER_SECOND: f64 = 1e9;
/// MB is 10⁶ bytes, as the glossary says.
const BYTES_PER_MEGABYTE: f64 = 1e6;

pub(crate) fn elapsed_sec(run: &CommandRun) -> Reading<f64> {
    Reading::Value(exact(run.elapsed_ns) / NANOS_PER_SECOND)
}

pub(crate) fn rows_used(run: &CommandRun) -> Reading<f64> {
    run.rows_used.clone().map(exact)
}

pub(crate) fn peak_memory_mb(run: &CommandRun) -> Reading<f64> {
    run.memory.bytes().map(|bytes| exact(bytes) / BYTES_PER_MEGABYTE)
}
