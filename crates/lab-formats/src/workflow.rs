//! A session as the metrics document of a workflow runtime, contract `workflow.v1`: repetitions are nodes, generated tokens
//! are operations.
//!
//! Everything is derived from what is stored, but for what the command alone knows. What has no counterpart is `null`:
//! lab schedules nothing, so its overhead has no breakdown.

use lab_core::metric::percentile_type_7;
use lab_core::record::{Completed, LaunchStart, Session, SessionStatus};
use lab_core::workflow::{Execution, LinkPhases, Llm, Scheduler, WorkflowFigures};

use crate::milliseconds;

/// What the command knows and the session does not record. Times in milliseconds, by the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Invocation<'a> {
    /// What was carried out: the plan's path, or its name where the path is not known.
    pub input: &'a str,
    /// Reading and checking the plan.
    pub compile_ms: Option<f64>,
    /// Checks in front of the first launch, where they can be told from obtaining the model.
    pub validation_ms: Option<f64>,
    /// The session from its begin to its end. The time stamps of the session stand in where it is unknown.
    pub runtime_ms: Option<f64>,
}

/// Returns the document's text.
pub fn to_text(figures: &WorkflowFigures) -> String {
    crate::pretty(figures)
}

/// Returns a session of executions as a workflow's document. What it measures is measured repetitions alone; warm-ups are
/// no part of it.
pub fn of_session(session: &Session, invocation: Invocation<'_>) -> WorkflowFigures {
    let completed: Vec<&Completed> = session.completed().map(|(_, completed)| completed).collect();
    let duration_ms = wall_ms(session);
    WorkflowFigures {
        input: Some(invocation.input.to_owned()),
        optimization_level: None,
        tool: Some(format!("lab {}", session.header.lab_version)),
        execution: execution(session, &completed, duration_ms),
        scheduler: scheduler(&completed),
        llm: llm(session, &completed),
        link_phases: LinkPhases {
            compile_ms: invocation.compile_ms,
            artifact_ms: load_ms(session),
            validation_ms: invocation.validation_ms,
            runtime_ms: invocation.runtime_ms.or(duration_ms),
        },
    }
}

fn execution(session: &Session, completed: &[&Completed], duration_ms: Option<f64>) -> Execution {
    let n_measured = session.measured().count();
    let is_whole = session.status() == SessionStatus::Completed && completed.len() == n_measured;
    Execution {
        nodes_executed: Some(completed.len() as u64),
        nodes_failed: Some((n_measured - completed.len()) as u64),
        duration_ms,
        status: Some(if is_whole { "success" } else { "failed" }.to_owned()),
    }
}

const NANOS_PER_MICROSECOND: f64 = 1e3;

/// One generation at a time, one token after the other.
fn scheduler(completed: &[&Completed]) -> Scheduler {
    let n_tokens = tokens(completed);
    Scheduler {
        per_op_overhead_us: overhead_ns(completed)
            .filter(|_| n_tokens > 0)
            .map(|nanos| exact(nanos) / NANOS_PER_MICROSECOND / exact(n_tokens)),
        max_parallelism: Some(1.0),
        avg_parallelism: Some(1.0),
        operations_executed: Some(n_tokens),
        operations_failed: Some(0),
        ..Scheduler::default()
    }
}

/// Returns what asking and recording add to the executions, by the harness's own clock: the time from sending the request to
/// having the answer, without the time from the request's arrival to the last token. Between turns with another engine the
/// harness waits, and that is no overhead: such sessions have none.
fn overhead_ns(completed: &[&Completed]) -> Option<u64> {
    let is_in_turn = completed.iter().any(|own| own.turns.is_some());
    let around = |own: &&Completed| own.outside_ns.saturating_sub(own.timeline.total_ns());
    (!is_in_turn).then(|| completed.iter().map(around).sum())
}

fn tokens(completed: &[&Completed]) -> u64 {
    completed.iter().map(|own| own.timeline.n_tokens() as u64).sum()
}

/// A request is an execution as a whole, from the request to the last token.
fn llm(session: &Session, completed: &[&Completed]) -> Llm {
    let mut latencies: Vec<f64> = completed.iter().map(|own| milliseconds(own.timeline.total_ns())).collect();
    latencies.sort_by(f64::total_cmp);
    let n_requests = completed.len() as u64;
    let mean = latencies.iter().sum::<f64>() / exact(n_requests);
    Llm {
        total_requests: Some(n_requests),
        total_input_tokens: Some(n_requests * session.header.n_prompt() as u64),
        total_output_tokens: Some(tokens(completed)),
        avg_latency_ms: (n_requests > 0).then_some(mean),
        p50_latency_ms: percentile_type_7(&latencies, 0.50),
        p99_latency_ms: percentile_type_7(&latencies, 0.99),
    }
}

/// Returns the time that loading the model took, over all launches that became ready.
fn load_ms(session: &Session) -> Option<f64> {
    let loads = session.launches.iter().filter_map(|launch| match launch.start {
        LaunchStart::Ready { load_ns } => Some(load_ns),
        LaunchStart::Started | LaunchStart::Failed(_) => None,
    });
    let loads: Vec<u64> = loads.collect();
    (!loads.is_empty()).then(|| milliseconds(loads.iter().sum()))
}

/// Returns the session's wall time, of one that ended. Its time stamps may run backwards where somebody set the clock.
fn wall_ms(session: &Session) -> Option<f64> {
    let ended_at = session.end?.ended_at;
    let seconds = ended_at.duration_since(session.header.started_at).as_secs_f64();
    (seconds >= 0.0).then_some(seconds * 1e3)
}

#[expect(clippy::cast_precision_loss, reason = "neither tokens nor nanoseconds of a session come near 2^53")]
fn exact(integer: u64) -> f64 {
    integer as f64
}

#[cfg(test)]
mod tests {
    use lab_core::fixtures::{self, FIRST_TOKEN_US, N_TOKENS};
    use lab_core::workflow::{OverheadBreakdown, contradictions};

    use super::*;
    use crate::samples;

    const STORED: Invocation<'_> =
        Invocation { input: "plans/quick.toml", compile_ms: None, validation_ms: None, runtime_ms: None };

    #[test]
    fn repetitions_are_nodes_and_tokens_are_operations() {
        let session = fixtures::session(1, &[10_000, 10_000, 20_000]);
        let invocation = Invocation { compile_ms: Some(0.25), runtime_ms: Some(1234.5), ..STORED };
        let figures = of_session(&session, invocation);
        let n = u64::from(N_TOKENS);
        assert_eq!(figures.input.as_deref(), Some("plans/quick.toml"));
        assert_eq!(figures.tool.as_deref(), Some("lab 0.1.0"));
        assert_eq!((figures.execution.nodes_executed, figures.execution.nodes_failed), (Some(3), Some(0)));
        assert_eq!(figures.execution.duration_ms, Some(60_000.0));
        assert_eq!(figures.execution.status.as_deref(), Some("success"));
        assert_eq!(figures.scheduler.operations_executed, Some(3 * n));
        // 100 us around each of the three executions of eight tokens.
        assert_eq!(figures.scheduler.per_op_overhead_us, Some(12.5));
        assert_eq!(figures.scheduler.overhead_breakdown, OverheadBreakdown::default());
        let total_ms = |gap_us: u64| milliseconds((FIRST_TOKEN_US + (n - 1) * gap_us) * 1000);
        assert_eq!(figures.llm.p50_latency_ms, Some(total_ms(10_000)));
        assert_eq!(figures.llm.total_input_tokens, Some(15));
        assert_eq!(figures.llm.total_output_tokens, Some(3 * n));
        let phases = figures.link_phases;
        assert_eq!((phases.compile_ms, phases.artifact_ms), (Some(0.25), Some(750.0)));
        assert_eq!((phases.validation_ms, phases.runtime_ms), (None, Some(1234.5)));
    }

    #[test]
    fn the_document_reads_back_and_does_not_contradict_itself() {
        let figures = of_session(&fixtures::session(1, &[10_000, 10_100]), STORED);
        assert_eq!(figures.link_phases.runtime_ms, Some(60_000.0), "the stored time stamps stand in");
        let text = to_text(&figures);
        assert_eq!(crate::import::workflow::read(text.as_bytes()).unwrap(), figures);
        assert_eq!(contradictions(&figures), Vec::<String>::new());
        assert!(text.contains("\"work_stealing_us\": null"), "{text}");
    }

    #[test]
    fn a_session_that_failed_in_part_says_so() {
        let session = samples::disturbed_session();
        let figures = of_session(&session, STORED);
        let n_completed = session.completed().count() as u64;
        let n_measured = session.measured().count() as u64;
        assert!(n_completed < n_measured, "the sample has a failure");
        assert_eq!(figures.execution.status.as_deref(), Some("failed"));
        assert_eq!(figures.execution.nodes_executed, Some(n_completed));
        assert_eq!(figures.execution.nodes_failed, Some(n_measured - n_completed));
        assert_eq!(contradictions(&figures), Vec::<String>::new());
    }

    #[test]
    fn a_session_in_which_nothing_completed_has_no_times() {
        let mut session = fixtures::session(1, &[10_000]);
        session.repetitions.clear();
        session.launches.clear();
        session.end = None;
        let figures = of_session(&session, STORED);
        assert_eq!(figures.llm.avg_latency_ms, None);
        assert_eq!(figures.llm.p99_latency_ms, None);
        assert_eq!(figures.scheduler.per_op_overhead_us, None);
        assert_eq!(figures.link_phases, LinkPhases::default());
    }
}
