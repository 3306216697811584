//! What a session did, laid out: the facts and columns that depend on whether an engine was asked, a command was run, or
//! documents were taken in.

use lab_core::command::{CommandWork, RowsSource};
use lab_core::fingerprint::Fingerprint;
use lab_core::import::Import;
use lab_core::metric::Contract;
use lab_core::record::{Outcome, Session};
use lab_core::work::Work;
use lab_core::workload::Workload;

use super::Text;

type Fact = (String, Text);

fn fact(name: &str, words: String) -> Fact {
    (name.to_owned(), Text::plain(words))
}

/// Returns what was done, by what, and where.
pub(super) fn facts(session: &Session) -> Vec<Fact> {
    let header = &session.header;
    let plan = fact("plan", header.plan_name.clone());
    match &header.work {
        Work::Workload(workload) => {
            let model = fact("model", header.model_name.clone());
            [model, plan].into_iter().chain(of_workload(session, workload)).collect()
        }
        Work::Command(command) => [plan].into_iter().chain(of_command(session, command)).collect(),
        Work::Import(import) => of_import(session, import),
    }
}

fn of_workload(session: &Session, own: &Workload) -> [Fact; 5] {
    let fingerprint = &session.header.fingerprint;
    let backend = &fingerprint.backend;
    let identity = |part, field| crate::identity_text(part, field).unwrap_or_else(|| "unknown".to_owned());
    [
        fact("workload", workload(session, own)),
        fact("backend", format!("{}, threads: {}", identity(backend, "kind"), identity(backend, "threads"))),
        fact("quantization", identity(&fingerprint.model, "quantization")),
        fact("engine", engine(fingerprint)),
        fact("hardware", hardware(fingerprint)),
    ]
}

/// Says what a repetition does, and how many gaps its latency percentiles stand on.
fn workload(session: &Session, workload: &Workload) -> String {
    let gaps: Vec<usize> =
        session.completed().map(|(_, completed)| completed.timeline.n_tokens() - 1).collect();
    let percentiles = match (gaps.iter().min(), gaps.iter().max()) {
        (Some(least), Some(most)) if least == most => format!("; percentiles over {least} token gaps each"),
        (Some(least), Some(most)) => format!("; percentiles over {least} to {most} token gaps each"),
        _ => String::new(),
    };
    let fed = if workload.forced.is_some() { ", fed drawn tokens" } else { "" };
    format!("{} prompt tokens, {} to generate{fed}{percentiles}", workload.prompt.len(), workload.generate)
}

fn engine(fingerprint: &Fingerprint) -> String {
    let identity = |field| crate::identity_text(&fingerprint.engine, field).unwrap_or_default();
    let build: String = identity("build").chars().take(12).collect();
    format!("{} {} (build {build})", identity("name"), identity("version"))
}

fn hardware(fingerprint: &Fingerprint) -> String {
    let unknown = || "unknown".to_owned();
    let identity = |field| crate::identity_text(&fingerprint.hardware, field).unwrap_or_else(unknown);
    format!(
        "{}, cores: {}, threads: {}, {} GiB",
        identity("cpu_model"),
        identity("cores"),
        identity("threads"),
        identity("memory_gib")
    )
}

fn of_command(session: &Session, own: &CommandWork) -> [Fact; 4] {
    let rows = match &own.rows {
        RowsSource::Given(rows) => format!("{rows}, as given"),
        RowsSource::File(path) => format!("counted in {path}"),
        RowsSource::Reported => "reported by the command".to_owned(),
    };
    let fingerprint = &session.header.fingerprint;
    let digest: String = crate::identity_text(&fingerprint.engine, "build").unwrap_or_default();
    let digest: String = digest.chars().take(12).collect();
    [
        fact("command", own.program.join(" ")),
        fact("rows", rows),
        fact("program", format!("build {digest}")),
        fact("hardware", hardware(fingerprint)),
    ]
}

/// What documents tell of themselves, and that nobody here measured it.
fn of_import(session: &Session, import: &Import) -> Vec<Fact> {
    let header = &session.header;
    let mut facts = vec![
        fact("origin", format!("imported: measured by `{}`, not by lab", import.tool)),
        fact("contract", import.contract.to_string()),
    ];
    let parts = &header.fingerprint;
    for part in [&parts.plan, &parts.model, &parts.backend, &parts.hardware] {
        let told = part.identity.iter().filter(|(field, _)| *field != "contract");
        facts.extend(told.map(|(field, value)| match value.as_str() {
            Some(words) => fact(field, words.to_owned()),
            None => fact(field, value.to_string()),
        }));
    }
    facts
}

/// Returns the metrics that the table of repetitions shows, by name.
pub(super) const fn repetition_metrics(contract: Contract) -> &'static [&'static str] {
    match contract {
        Contract::EngineV0_1 | Contract::LabV1 => {
            &["tokens_per_sec", "latency_p50_ms", "latency_p95_ms", "ttft_ms", "memory_peak_mb"]
        }
        Contract::SmokeV1 => &["elapsed_sec", "rows_used", "peak_memory_mb"],
        Contract::WorkflowV1 => {
            &["duration_ms", "per_op_overhead_us", "overhead_ratio_pct", "avg_latency_ms", "runtime_ms"]
        }
        Contract::DeviceV1 => &[
            "total_inferences",
            "inference_time_ms_avg",
            "memory_usage_mb_avg",
            "energy_consumption_mj_avg",
            "loading_time_ms",
        ],
    }
}

/// Names what a repetition came from, where that is a file.
pub(super) fn source(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Imported(imported) => Some(imported.source.path.clone()),
        Outcome::Completed(_) | Outcome::Ran(_) | Outcome::Failed(_) => None,
    }
}
