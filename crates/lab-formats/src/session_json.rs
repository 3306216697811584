//! A session as a JSON document, `lab.session.v1`.
//!
//! `executions` carries the founding document's object (its section 8) key for key, one for each completed measured
//! repetition, with all metrics of contract `engine.v0.1` in table order; what lab adds stands beside those keys, never
//! among the official metrics. Figures over repetitions stand apart, in `statistics`.

mod failures;
mod metrics;
mod observed;

use std::collections::BTreeMap;

use lab_core::digest::Digest;
use lab_core::experiment::{Experiment, Until};
use lab_core::fingerprint::{Fingerprint, PartRecord};
use lab_core::import::Source;
use lab_core::metric::{Measurement, Reading, find};
use lab_core::record::{
    Completed, ContractCoverage, InstrumentSet, Outcome, RecordedRepetition, Repetition, Session,
    SessionStatus,
};
use lab_core::summary::{MetricSummary, Summary};
use lab_core::tolerance::Tolerance;
use lab_core::validity::Validity;
use lab_core::work::Origin;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Recording;
pub use failures::Failure;
use failures::failures;
pub use metrics::OfficialMetrics;
use metrics::{MetricMaps, metric_maps};
pub use observed::{CoreBlock, EnergyBlock, ProfileBlock, ValidityBlock};
use observed::{core_blocks, energy_blocks, profile_block, validity_block};

/// Schema id of a session.
pub const SESSION_SCHEMA: &str = "lab.session.v1";

/// A session.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SessionDocument<'a> {
    /// Always `lab.session.v1`.
    #[schemars(extend("const" = SESSION_SCHEMA))]
    pub schema: &'static str,
    /// The session.
    pub session: SessionBlock<'a>,
    /// Identity of everything that produced it.
    pub fingerprint: FingerprintBlock<'a>,
    /// The completed measured repetitions in which an engine generated, in order.
    pub executions: Vec<Execution<'a>>,
    /// The completed measured repetitions of any other kind: runs of a command, imported documents.
    pub runs: Vec<Run<'a>>,
    /// Launches and repetitions that failed.
    pub failures: Vec<Failure<'a>>,
    /// Where the time of an execution goes, from a launch of its own that is never counted; null where none was taken.
    pub profile: Option<ProfileBlock>,
    /// Figures of the whole session, in table order.
    pub statistics: Vec<Statistics<'a>>,
}

/// What the session is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SessionBlock<'a> {
    /// Session id.
    pub id: String,
    /// When it started (RFC 3339, UTC).
    pub started_at: String,
    /// When it ended (RFC 3339, UTC); null when it never said so.
    pub ended_at: Option<String>,
    /// How it ended.
    pub status: SessionStatus,
    /// Plan name.
    pub plan: &'a str,
    /// Model name.
    pub model: &'a str,
    /// Version of lab that recorded it.
    pub lab_version: &'a str,
    /// Who measured: lab, or another tool whose documents were imported.
    pub origin: Origin,
    /// Measured repetitions asked for.
    pub repeat: u32,
    /// Measured repetitions that completed.
    pub completed: usize,
    /// How far it fulfils the official contract.
    pub contract: ContractCoverage,
    /// Tolerances that the plan loosened; empty for an official session.
    pub unofficial: Vec<LoosenedTolerance>,
    /// What it was measured with; null for recordings of versions that had no instruments.
    pub instruments: Option<&'a InstrumentSet>,
    /// The paired experiment that it is one side of; null for a session of its own.
    pub experiment: Option<&'a Experiment>,
    /// What it was to be decided against; null for a session whose length was fixed.
    pub until: Option<&'a Until>,
}

/// A tolerance that the plan loosened.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LoosenedTolerance {
    /// Full metric id.
    pub metric: String,
    /// The plan's tolerance.
    pub tolerance: Tolerance,
    /// The contract's tolerance.
    pub contract_tolerance: Tolerance,
}

/// The fingerprint.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FingerprintBlock<'a> {
    /// Digest of the whole: over the digests of the parts.
    pub digest: Digest,
    /// The weights and how text becomes tokens.
    pub model: PartBlock<'a>,
    /// The resolved workload and the measuring mode.
    pub plan: PartBlock<'a>,
    /// What the harness permits the engine to use.
    pub backend: PartBlock<'a>,
    /// The machine.
    pub hardware: PartBlock<'a>,
    /// The engine.
    pub engine: PartBlock<'a>,
}

/// A part of the fingerprint.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PartBlock<'a> {
    /// Digest of the identity fields under the domain.
    pub digest: Digest,
    /// The domain, which carries the version of the set of fields.
    pub domain: &'a str,
    /// Fields that must agree.
    pub identity: &'a Map<String, Value>,
    /// Fields that are shown only.
    pub context: &'a Map<String, Value>,
}

/// A completed measured repetition. The first five keys are the founding document's.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Execution<'a> {
    /// Version of the engine; null when the fingerprint lacks it.
    pub engine_version: Option<String>,
    /// Model name.
    pub model: &'a str,
    /// Backend, such as `cpu_avx2`; null when the fingerprint lacks it.
    pub backend: Option<String>,
    /// Quantisation label, such as `q4_k_m`; null when the fingerprint lacks it.
    pub quantization: Option<String>,
    /// The metrics of contract `engine.v0.1`.
    pub metrics: OfficialMetrics,
    /// Why a metric is null: official ones by name, others by full id.
    #[schemars(with = "BTreeMap<String, String>")]
    pub unavailable: Map<String, Value>,
    /// Metrics of other contracts, by contract and name. Not official.
    #[schemars(with = "BTreeMap<String, BTreeMap<String, Option<f64>>>")]
    pub unofficial: Map<String, Value>,
    /// Gaps between tokens that the latency percentiles are taken over.
    pub n_token_gaps: usize,
    /// Index of the repetition, warm-ups included.
    pub repetition: u32,
    /// Index of the launch it ran in.
    pub launch: u32,
    /// What its energy was measured with, one entry a kind; empty without a meter.
    pub energy: Vec<EnergyBlock>,
    /// How the cores that the engine may use were used; null where the kernel does not tell.
    pub cores: Option<Vec<CoreBlock>>,
    /// What disturbed it. Invalid repetitions are left out of the statistics.
    pub validity: ValidityBlock<'a>,
}

/// A completed measured repetition in which no engine of lab's generated.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Run<'a> {
    /// Index of the repetition.
    pub repetition: u32,
    /// The metrics of the session's contract, each a number or null.
    #[schemars(with = "BTreeMap<String, Option<f64>>")]
    pub metrics: Map<String, Value>,
    /// Why a metric is null.
    #[schemars(with = "BTreeMap<String, String>")]
    pub unavailable: Map<String, Value>,
    /// What disturbed it, or in what the document contradicts itself.
    pub validity: &'a Validity,
    /// The id that the summary of a run of a command has; null for an imported document.
    pub run_id: Option<String>,
    /// The file that an imported document came from; null for a run of a command.
    pub source: Option<&'a Source>,
}

/// One metric over the whole session.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Statistics<'a> {
    /// Full metric id.
    pub metric: String,
    /// Unit of the figures.
    pub unit: &'static str,
    /// Whether the official contract defines it.
    pub official: bool,
    /// The figures over the repetitions that count; null when there are none.
    pub summary: Option<&'a Summary>,
    /// Why there are none; null when there are.
    pub unavailable: Option<&'a str>,
}

/// Returns the document's text.
pub fn to_text(recording: Recording<'_>) -> String {
    crate::pretty(&document(recording))
}

/// Returns the document.
pub fn document(recording: Recording<'_>) -> SessionDocument<'_> {
    let session = recording.session;
    SessionDocument {
        schema: SESSION_SCHEMA,
        session: session_block(session),
        fingerprint: fingerprint_block(&session.header.fingerprint),
        executions: session.completed().map(|(own, completed)| execution(session, own, completed)).collect(),
        runs: session.succeeded().filter_map(run).collect(),
        failures: failures(session),
        profile: session.profile().map(|profile| profile_block(session, profile)),
        statistics: recording.figures.iter().map(statistics).collect(),
    }
}

fn session_block(session: &Session) -> SessionBlock<'_> {
    let header = &session.header;
    let loosened = header.loosened().into_iter().map(|(metric, tolerance, contract_tolerance)| {
        LoosenedTolerance { metric: metric.id(), tolerance, contract_tolerance }
    });
    SessionBlock {
        id: header.id.to_string(),
        started_at: header.started_at.to_string(),
        ended_at: session.end.map(|end| end.ended_at.to_string()),
        status: session.status(),
        plan: &header.plan_name,
        model: &header.model_name,
        lab_version: &header.lab_version,
        repeat: header.repeat,
        origin: header.origin(),
        completed: session.succeeded().count(),
        contract: session.contract(),
        unofficial: loosened.collect(),
        instruments: header.instruments.as_ref(),
        experiment: header.experiment.as_ref(),
        until: header.until.as_ref(),
    }
}

fn fingerprint_block(fingerprint: &Fingerprint) -> FingerprintBlock<'_> {
    FingerprintBlock {
        digest: fingerprint.digest(),
        model: part_block(&fingerprint.model),
        plan: part_block(&fingerprint.plan),
        backend: part_block(&fingerprint.backend),
        hardware: part_block(&fingerprint.hardware),
        engine: part_block(&fingerprint.engine),
    }
}

fn part_block(part: &PartRecord) -> PartBlock<'_> {
    PartBlock {
        digest: part.digest(),
        domain: &part.domain,
        identity: &part.identity,
        context: &part.context,
    }
}

fn execution<'a>(
    session: &'a Session,
    recorded: &'a RecordedRepetition,
    completed: &'a Completed,
) -> Execution<'a> {
    let fingerprint = &session.header.fingerprint;
    let Repetition { index, launch, .. } = recorded.repetition;
    let MetricMaps { official, unofficial, unavailable } = metric_maps(&recorded.measurements);
    Execution {
        engine_version: crate::identity_text(&fingerprint.engine, "version"),
        model: &session.header.model_name,
        backend: crate::identity_text(&fingerprint.backend, "kind"),
        quantization: crate::identity_text(&fingerprint.model, "quantization"),
        metrics: OfficialMetrics(official),
        unavailable,
        unofficial,
        n_token_gaps: completed.timeline.gaps_ns().len(),
        repetition: index,
        launch,
        energy: energy_blocks(completed),
        cores: core_blocks(completed),
        validity: validity_block(completed, session.header.n_prompt()),
    }
}

fn run(recorded: &RecordedRepetition) -> Option<Run<'_>> {
    let (run_id, source) = match &recorded.repetition.outcome {
        Outcome::Completed(_) | Outcome::Failed(_) => return None,
        Outcome::Ran(run) => (Some(run.run_id.to_string()), None),
        Outcome::Imported(imported) => (None, Some(&imported.source)),
    };
    let (mut metrics, mut unavailable) = (Map::new(), Map::new());
    for Measurement { metric, reading } in &recorded.measurements {
        let name = find(metric).map_or(metric.as_str(), |own| own.name).to_owned();
        match reading {
            Reading::Value(value) => metrics.insert(name, Value::from(*value)),
            Reading::Unavailable(reason) => {
                unavailable.insert(name.clone(), reason.as_str().into());
                metrics.insert(name, Value::Null)
            }
        };
    }
    let validity = recorded.repetition.outcome.validity()?;
    Some(Run { repetition: recorded.repetition.index, metrics, unavailable, validity, run_id, source })
}

pub(crate) fn statistics(summary: &MetricSummary) -> Statistics<'_> {
    Statistics {
        metric: summary.metric.id(),
        unit: summary.metric.unit,
        official: summary.metric.contract.is_official(),
        summary: summary.figures.value(),
        unavailable: summary.figures.reason(),
    }
}

#[cfg(test)]
mod tests {
    use lab_core::metric::METRICS;

    use super::*;
    use crate::samples;

    #[test]
    fn a_session_is_a_versioned_document() {
        let session = samples::session();
        let figures = samples::figures(&session);
        insta::assert_snapshot!(to_text(Recording { session: &session, figures: &figures }));
    }

    #[test]
    fn what_measured_what_stands_beside_the_figures() {
        let session = samples::observed_session();
        let figures = samples::figures(&session);
        let text = to_text(Recording { session: &session, figures: &figures });
        let document: Value = serde_json::from_str(&text).unwrap();
        insta::assert_json_snapshot!([
            &document["session"]["instruments"],
            &document["profile"],
            &document["executions"][0]["metrics"],
            &document["executions"][0]["energy"],
            &document["executions"][0]["validity"],
        ]);
    }

    #[test]
    fn failures_and_disturbances_are_recorded_beside_the_executions() {
        let session = samples::disturbed_session();
        let figures = samples::figures(&session);
        let text = to_text(Recording { session: &session, figures: &figures });
        let document: Value = serde_json::from_str(&text).unwrap();
        let shown = ["/session/status", "/session/unofficial", "/executions/1/validity", "/failures"];
        let shown = shown.map(|path| document.pointer(path).unwrap());
        insta::assert_snapshot!(crate::pretty(&shown));
    }

    #[test]
    fn an_execution_opens_with_the_founding_documents_object_key_for_key() {
        let session = samples::session();
        let figures = samples::figures(&session);
        let text = to_text(Recording { session: &session, figures: &figures });
        let document: Value = serde_json::from_str(&text).unwrap();
        let execution = document["executions"][0].as_object().unwrap();
        let keys: Vec<&String> = execution.keys().take(5).collect();
        assert_eq!(keys, ["engine_version", "model", "backend", "quantization", "metrics"]);
        let metrics: Vec<&String> = execution["metrics"].as_object().unwrap().keys().collect();
        let official: Vec<&str> =
            METRICS.iter().filter(|own| own.contract.is_official()).map(|own| own.name).collect();
        assert_eq!(metrics, official);
        assert!(text.contains("\"tokens_total\": 8,\n"), "counts are integers");
    }
}
