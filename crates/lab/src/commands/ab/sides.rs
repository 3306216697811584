//! The two sides of an experiment: their plans, their programs, what they run on.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, anyhow};
use lab_core::engine::PAUSABLE;
use lab_core::fingerprint::Mode;
use lab_core::metric::{METRICS, Metric};
use lab_core::plan::{EngineKind, Plan};
use tempfile::TempDir;

use crate::bench::{Bench, Host};
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::launch::{Instead, absolute, check_text, on_path};
use crate::terminal::say;
use crate::{plan_file, prepare};

use super::{Arguments, SLICE_MS, TURN_TOKENS, TURN_TOKENS_OF_THREADS, has_threads};

/// The two sides, A first.
pub(super) struct Sides {
    pub(super) plans: [Plan; 2],
    paths: [PathBuf; 2],
    hosts: [Host; 2],
    /// Holds the programs under names of equal length: a longer path lies on the stack and moves what lies below it.
    _programs: TempDir,
}

impl Sides {
    pub(super) fn load(arguments: &Arguments, global: &Global) -> Result<Self> {
        let second = arguments.plan_b.as_ref().unwrap_or(&arguments.plan);
        let paths = [arguments.plan.clone(), second.clone()];
        let load = |path: &PathBuf| plan_file::load(path, global.color);
        let plans = [load(&paths[0])?, load(&paths[1])?];
        let programs =
            tempfile::tempdir().context("cannot make a folder for the engines").map_err(Failure::run)?;
        let chosen = [(&arguments.engine_a, None), (&arguments.engine_b, arguments.delay_b)];
        let host = |side: usize| -> Result<Host> {
            let (engine, delay) = &chosen[side];
            let program = program(&plans[side].engine.kind, engine.as_deref())?;
            let link = programs.path().join(["a", "b"][side]);
            symlink(&program, &link).context("cannot link to the engine").map_err(Failure::run)?;
            let host = Host::resolve(&plans[side], global)?;
            let instead = Instead { program: Some(link), delay: *delay };
            Ok(host.with(instead, &plans[side].engine.kind)?.for_pairs(arguments.layouts()))
        };
        let hosts = [host(0)?, host(1)?];
        Ok(Self { plans, paths, hosts, _programs: programs })
    }

    /// Makes everything ready that both sides need.
    pub(super) fn benches(&self, interrupted: &Arc<AtomicBool>, global: &Global) -> Result<[Bench<'_>; 2]> {
        let bench = |side: usize| {
            Bench::ready(&self.plans[side], &self.paths[side], &self.hosts[side], interrupted, global)
        };
        let mut benches = [bench(0)?, bench(1)?];
        if !self.judge_energy(&benches) {
            // What a turn is disturbed by is read between turns; a thread that samples would disturb the other side.
            for bench in &mut benches {
                bench.instruments.set.sample_hz = 0.0;
            }
        }
        Ok(benches)
    }

    /// Chooses lock-step where both engines fit into memory.
    pub(super) fn mode(&self, arguments: &Arguments, benches: &[Bench<'_>; 2]) -> Mode {
        if arguments.alternate {
            return Mode::Alone;
        }
        let needed: u64 =
            benches.iter().zip(&self.plans).map(|(bench, plan)| needed_bytes(bench, plan)).sum();
        match prepare::available_memory(&self.hosts[0].roots) {
            Ok(available) if needed as f64 > available as f64 * LARGEST_SHARE => {
                let megabytes = |bytes: u64| bytes / 1_000_000;
                say(&format!(
                    "note: both engines together need about {} MB of the {} MB available: launches alternate",
                    megabytes(needed),
                    megabytes(available)
                ));
                Mode::Alone
            }
            _ => Mode::LockStep {
                tokens: arguments.tokens.unwrap_or_else(|| turn_tokens(benches)),
                slice_ms: slice_ms(arguments, benches),
            },
        }
    }
}

impl Sides {
    /// Returns whether energy is measured and judged.
    pub(super) fn judge_energy(&self, benches: &[Bench<'_>; 2]) -> bool {
        let [plan, _] = &self.plans;
        let gated = plan.gate.metrics.as_ref();
        let is_judged = |metric: &&Metric| {
            let is_gated = gated.is_none_or(|gated| gated.contains(&metric.id()));
            metric.meter.is_some() && plan.tolerance(metric).is_some() && is_gated
        };
        let is_measured = benches.iter().all(|bench| bench.instruments.set.meters.value().is_some());
        is_measured && METRICS.iter().any(|metric| is_judged(&metric))
    }
}

fn turn_tokens(benches: &[Bench<'_>; 2]) -> u32 {
    if has_threads(benches) { TURN_TOKENS_OF_THREADS } else { TURN_TOKENS }
}

/// Returns how long a side works on its prompt at a time; none where the prompt is taken in at once, as by engines that cannot be
/// paused.
fn slice_ms(arguments: &Arguments, benches: &[Bench<'_>; 2]) -> Option<u32> {
    let unable = benches.iter().find(|bench| !bench.hello.has(PAUSABLE));
    match (arguments.slice, unable) {
        (Some(0), _) | (None, Some(_)) => None,
        (Some(_), Some(bench)) => {
            let name = &bench.hello.name;
            say(&format!(
                "note: the engine `{name}` does not say that it can be paused: prompts are taken in at once"
            ));
            None
        }
        (asked, None) => Some(asked.unwrap_or(SLICE_MS)),
    }
}

/// The share of the available memory that two live engines may take.
const LARGEST_SHARE: f64 = 0.8;

/// Only what the built-in engine takes is known before it runs; of others, the weights.
fn needed_bytes(bench: &Bench<'_>, plan: &Plan) -> u64 {
    match plan.engine.kind {
        EngineKind::Candle => prepare::estimate(&bench.model.header, &bench.workload).total(),
        EngineKind::Scripted(_) => 0,
        EngineKind::Command(_) => bench.model.local.bytes,
    }
}

/// Returns the program of a side: the one that was named, or else the plan's own.
fn program(kind: &EngineKind, named: Option<&Path>) -> Result<PathBuf> {
    let program = match (named, kind) {
        (Some(path), _) if !path.is_file() => {
            return Err(Failure::usage(anyhow!("`{}` is no program", path.display()))
                .hint("name the executable: another build of lab, or an engine that speaks the protocol"));
        }
        (Some(path), _) => path.to_owned(),
        // The kernel holds this program open, whatever becomes of the file under its path.
        (None, EngineKind::Candle | EngineKind::Scripted(_)) => {
            return Ok(PathBuf::from(format!("/proc/{}/exe", std::process::id())));
        }
        (None, EngineKind::Command(words)) => on_path(&words[0]),
    };
    check_text(&program)?;
    Ok(PathBuf::from(absolute(&program)))
}
