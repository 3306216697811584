//! What else the machine did while a command ran.

use lab_core::command::{CommandObservation, CommandRun};
use lab_core::metric::Reading;
use lab_core::observation::{Conditions, Span};
use lab_core::validity::{RULES_VERSION, judge_command};
use lab_host::clock::process_cpu_ns;
use lab_host::{Roots, conditions};
use lab_measure::command::waited_for_cpu_ns;

/// How the machine stood before a command was run.
pub(crate) struct Beside {
    roots: Roots,
    cores: Vec<u32>,
    machine: Conditions,
    waited_for_cpu_ns: Option<u64>,
    harness_cpu_ns: u64,
}

impl Beside {
    /// Looks at the machine and at the cores that the command may use.
    pub(crate) fn begin(roots: &Roots, cores: &[u32]) -> Self {
        Self {
            roots: roots.clone(),
            cores: cores.to_vec(),
            harness_cpu_ns: process_cpu_ns(),
            waited_for_cpu_ns: waited_for_cpu_ns(),
            machine: conditions::probe(roots, cores),
        }
    }

    /// Looks again when the command has just ended. `settle` then waits for what has ended of all that it started, so that what
    /// they took counts as the command's, and may take its time: the machine is not looked at again.
    pub(crate) fn end<T>(self, settle: impl FnOnce() -> T) -> (CommandObservation, T) {
        let harness_cpu_ns = process_cpu_ns().saturating_sub(self.harness_cpu_ns);
        let after = conditions::probe(&self.roots, &self.cores);
        let settled = settle();
        let command_cpu_ns = self
            .waited_for_cpu_ns
            .zip(waited_for_cpu_ns())
            .and_then(|(before_ns, after_ns)| after_ns.checked_sub(before_ns));
        let observation = CommandObservation {
            rules: RULES_VERSION.to_owned(),
            machine: Span { before: self.machine, after },
            command_cpu_ns: command_cpu_ns
                .ok_or_else(|| "the kernel does not tell what its children took".to_owned())
                .into(),
            harness_cpu_ns: Reading::Value(harness_cpu_ns),
        };
        (observation, settled)
    }
}

/// Keeps with a run what was seen beside it, and judges it by that.
pub(crate) fn judged(run: CommandRun, seen: CommandObservation) -> CommandRun {
    let run = CommandRun { observation: Some(Box::new(seen)), ..run };
    CommandRun { validity: judge_command(&run), ..run }
}
