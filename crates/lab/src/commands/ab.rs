//! `lab ab`: the paired experiment. Two sides are measured pair by pair, engines at once and commands in turn, until it is
//! decided whether they differ.

mod command;
mod design;
mod progress;
mod sides;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use lab_compare::{Policy, stopping};
use lab_core::engine::EngineError;
use lab_core::experiment::{Layout, Layouts, Side, StoppingPlan};
use lab_core::fingerprint::Mode;
use lab_core::plan::{GateSpec, PlanFile};
use lab_core::record::{Outcome, RepetitionKind, Session, SessionHeader, SessionStatus};
use lab_engine::delayed::Delay;
use lab_host::clock::Monotonic;
use lab_runner::{Decision, Event, Look, PairOrder, run_pairs};
use lab_store::{Store, StoreError};

use crate::bench::Bench;
use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::recording::{self, Recording};
use crate::terminal::{Format, say};
use crate::{plan_file, store};

use super::compare::{self, DecidingRule};
use design::{Design, announce, headers, varied};
use progress::PairLine;
use sides::Sides;

const EXAMPLES: &str = "\
Examples:
  lab ab plans/smollm2-q8.toml --engine-b ../parent/target/release/lab
  lab ab plans/smollm2-q8.toml                          A against itself: what does this host call a change?
  lab ab plans/smollm2.toml plans/smollm2-q8.toml       two plans; they may differ in one part of the fingerprint
  lab ab plans/smoke.toml                               a command against itself
  lab ab old.toml new.toml                              two commands, such as two versions of a script
  lab ab train.toml --engine-b ../parent/train          another program in the place of the plan's

Engines run at once on the same cores and generate a few tokens in strict turn; each pair of launches has one memory layout,
drawn anew for the next. Commands run in pairs, one after the other, each from its start to its end. It stops when the interval
of the change lies inside the tolerance or beyond it, at most after `--pairs`. Exit status: 0 equivalent, or improved where
the sides differ, 1 regressed, or improved where nothing differs, 3 inconclusive, 4 refused, 5 the run failed.";

/// What `lab ab` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The plan of side A, and of side B unless another is given.
    plan: PathBuf,
    /// The plan of side B.
    plan_b: Option<PathBuf>,
    /// Side A's engine: another build of lab, or another engine that speaks the protocol. Of a command: its program.
    #[arg(long, value_name = "PATH")]
    engine_a: Option<PathBuf>,
    /// Side B's engine, or program.
    #[arg(long, value_name = "PATH")]
    engine_b: Option<PathBuf>,
    /// The most pairs of launches.
    #[arg(long, value_name = "N", default_value_t = stopping::DEFAULT_PAIRS, value_parser = RangedU64ValueParser::<u32>::new().range(stopping::LEAST_PAIRS as u64..=stopping::MOST_PAIRS as u64))]
    pairs: u32,
    /// Look at the data once, after all pairs.
    #[arg(long)]
    fixed: bool,
    /// Tokens a side generates in one turn [default: 2; 4 where engines have several threads].
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    tokens: Option<u32>,
    /// Milliseconds that a side works on its prompt before the other does; 0 takes it in at once [default: 40 where the engines
    /// can be paused].
    #[arg(long, value_name = "MS", value_parser = RangedU64ValueParser::<u32>::new().range(..=1_000))]
    slice: Option<u32>,
    /// Run the launches of a pair one after the other, each uninterrupted: as commands always do.
    #[arg(long)]
    alternate: bool,
    /// Seed of the order of launches and of their memory layouts [default: drawn].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=design::GREATEST_SEED))]
    seed: Option<u64>,
    /// Slow side B down by a known amount: `uniform:0.06`, `tenth:0.6`, `prefill:0.4`.
    #[arg(long, value_name = "DELAY", hide = true)]
    delay_b: Option<Delay>,
    /// Whose memory lies where [default: shared].
    #[arg(long, value_name = "LAYOUTS", hide = true)]
    layouts: Option<ChosenLayouts>,
    /// Most rounds of uninterrupted repetitions at the end, to check what turns found [default: 4].
    #[arg(long, value_name = "N", hide = true)]
    closing: Option<u32>,
    /// Rounds of uninterrupted repetitions behind every pair [default: 1 where a meter is judged, else 0].
    #[arg(long, value_name = "N", hide = true)]
    each_pair: Option<u32>,
    /// What decides: the interval of the change, or the contract's rule of means.
    #[arg(long, value_name = "RULE", default_value = "interval")]
    rule: DecidingRule,
    /// Give a verdict although this rule of validity made repetitions suspect; can be repeated.
    #[arg(long, value_name = "RULE", value_parser = compare::rule)]
    admit: Vec<String>,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl Arguments {
    fn layouts(&self) -> Layouts {
        self.layouts.map(Layouts::from).unwrap_or_default()
    }

    fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(design::drawn_seed)
    }

    fn stopping(&self) -> StoppingPlan {
        match self.fixed {
            true => stopping::fixed(self.pairs),
            false => stopping::plan(self.pairs),
        }
    }
}

/// Whose memory lies where: the designs that were weighed (docs/comparison.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ChosenLayouts {
    /// Drawn for each pair, the same for both sides.
    Shared,
    /// Drawn for each launch.
    Each,
    /// One for the whole experiment.
    Fixed,
    /// Left to the kernel.
    Kernel,
}

impl From<ChosenLayouts> for Layouts {
    fn from(chosen: ChosenLayouts) -> Self {
        match chosen {
            ChosenLayouts::Shared => Self::Shared,
            ChosenLayouts::Each => Self::Each,
            ChosenLayouts::Fixed => Self::Fixed,
            ChosenLayouts::Kernel => Self::Kernel,
        }
    }
}

/// The pools of the built-in engine spin for up to 5 ms behind a turn; a single thread has none.
const SETTLE_NS: u64 = 8_000_000;

/// Tokens of the warm-up of each launch after its prefill: enough that weights are packed and caches filled.
const WARMUP_TOKENS: u32 = 8;

/// Tokens of a turn where nobody asks for a number.
const TURN_TOKENS: u32 = 2;
/// Those of engines with several threads, whose turns are shorter and last on in their pools: of two tokens, most pairs would be
/// left out for what the waiting side still took.
const TURN_TOKENS_OF_THREADS: u32 = 4;

/// How long a side works on its prompt before the other does, in milliseconds, where nobody says otherwise: about as long as a
/// turn. What other lengths would do is in decision 25.
const SLICE_MS: u32 = 40;

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    match plan_file::load_any(&arguments.plan, global.color)? {
        PlanFile::Command(plan) => command::carry_out(*plan, arguments, global),
        PlanFile::Engine(_) | PlanFile::Contract(_) => ask_engines(arguments, global),
    }
}

/// Carries out an experiment of two engines.
fn ask_engines(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let sides = Sides::load(arguments, global)?;
    let mut store = store::open_for_recording(&global.store)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut benches = sides.benches(&interrupted, global)?;
    for (bench, plan) in benches.iter_mut().zip(&sides.plans) {
        bench.calibrate(plan, global)?;
    }
    recording::listen_for_interruption(&interrupted)?;
    let design = Design::of(arguments, &sides, &benches);
    let headers = headers(&sides, &benches, &design, &store)?;
    let experiment = Ready { headers, gate: &sides.plans[0].gate, design: &design, arguments };
    experiment.carry_out(&mut store, global, |running| carry_out_pairs(running, &benches, &design))
}

/// Returns whether a side's engine answered that it failed when it was asked to warm up, the first time that it is asked for a turn.
fn refused_to_warm_up(side: &Session) -> bool {
    let mut repetitions = side.repetitions.iter().map(|recorded| &recorded.repetition);
    repetitions.any(|own| {
        let is_warmup = own.kind == RepetitionKind::Warmup;
        is_warmup && matches!(own.outcome, Outcome::Failed(EngineError::Failed { .. }))
    })
}

/// An experiment before its first launch.
struct Ready<'a> {
    headers: [SessionHeader; 2],
    /// What A's plan demands.
    gate: &'a GateSpec,
    design: &'a Design,
    arguments: &'a Arguments,
}

impl Ready<'_> {
    /// Records both sides while `pairs` carries the pairs out, and prints the report.
    fn carry_out(
        self,
        store: &mut Store,
        global: &Global,
        pairs: impl FnOnce(&RefCell<Running<'_>>) -> Result<SessionStatus>,
    ) -> Result<Exit> {
        let policy = self.policy(store)?;
        let Self { headers, design, arguments, .. } = self;
        announce(&headers, design, policy.vary);
        design::warn(&headers[0], &design.stopping, store)?;
        let ids = headers.each_ref().map(|header| header.id);
        let [a, b] = headers;
        let sides = [Recording::begin(a, store)?, Recording::begin(b, store)?];
        let at_looks = Policy { at_look: true, ..policy.clone() };
        let line = PairLine::new(&design.stopping);
        let running = RefCell::new(Running { store: &mut *store, sides, policy: at_looks, line });
        let status = pairs(&running)?;
        let mut sides = running.into_inner().sides;
        for side in &mut sides {
            side.end(status, store)?;
        }
        let [a, b] = sides.map(|side| side.session);
        let report = lab_compare::compare(&a, &b, &policy);
        compare::show(&report, arguments.format, global)?;
        say(&format!(
            "stored as {} (A) and {} (B) in {}",
            store.short_id(&ids[0])?,
            store.short_id(&ids[1])?,
            store.path().display()
        ));
        if matches!(design.mode, Mode::LockStep { .. }) && [&a, &b].into_iter().any(refused_to_warm_up) {
            say("hint: `lab ab --alternate` measures engines that cannot take turns");
        }
        Ok(match status {
            SessionStatus::Interrupted => Exit::Interrupted,
            SessionStatus::Failed => Exit::RunFailed,
            _ if ![&a, &b].into_iter().all(Session::has_usable) => {
                say("error: every repetition of a side is invalid (`lab rules` explains the rules)");
                Exit::RunFailed
            }
            _ => compare::exit_of_report(&report),
        })
    }

    fn policy(&self, store: &Store) -> Result<Policy> {
        Ok(Policy {
            rule: self.arguments.rule.into(),
            vary: varied(&self.headers)?,
            admitted: compare::admitted(self.gate, &self.arguments.admit),
            gate: self.gate.clone(),
            ..store::policy(store, &self.headers[0], None)?
        })
    }
}

fn carry_out_pairs(
    running: &RefCell<Running<'_>>,
    benches: &[Bench<'_>; 2],
    design: &Design,
) -> Result<SessionStatus> {
    let loads = benches.each_ref().map(Bench::load_request);
    let order = PairOrder {
        workload: benches.each_ref().map(|bench| &bench.workload),
        load: loads.each_ref(),
        mode: design.mode,
        layouts: design.layouts,
        seed: design.seed,
        stopping: &design.stopping,
        warmup_tokens: WARMUP_TOKENS,
        settle_ns: if has_threads(benches) { SETTLE_NS } else { 0 },
        each_pair: design.each_pair,
        closing: design.closing,
    };
    let mut start = |side: Side, pair: u32, layout: Option<&Layout>| {
        let bench = &benches[side.index()];
        bench.launcher.launch(pair, &bench.hello, &bench.instruments, layout)
    };
    let mut sink = |side: Side, event: Event| running.borrow_mut().take(side, event);
    let mut decide = |look: Look| running.borrow_mut().decide(look);
    Ok(run_pairs(&order, &mut start, &Monotonic, &mut sink, &mut decide)?)
}

/// Returns whether the engine of a side computes with several threads.
fn has_threads(benches: &[Bench<'_>; 2]) -> bool {
    benches.iter().any(|bench| bench.launcher.backend.threads > 1)
}

/// The experiment as it goes.
struct Running<'a> {
    store: &'a mut Store,
    sides: [Recording; 2],
    policy: Policy,
    line: PairLine,
}

impl Running<'_> {
    fn take(&mut self, side: Side, event: Event) -> std::result::Result<(), StoreError> {
        let recording = &mut self.sides[side.index()];
        match event {
            Event::Begins(_) => Ok(()),
            Event::Launch(launch) => recording.launch(launch, self.store),
            Event::Repetition(repetition) => {
                if let Some(trouble) = recording::trouble(&recording.session, &repetition) {
                    self.line.say(&format!("side {side:?}: {trouble}"));
                }
                recording.repetition(repetition, self.store)
            }
        }
    }

    /// Looks at the data, at one of the looks that were fixed before.
    fn decide(&mut self, look: Look) -> Decision {
        let [a, b] = self.sides.each_ref().map(|side| &side.session);
        match look {
            Look::Pairs(n_pairs) => {
                let report = lab_compare::compare(a, b, &self.policy);
                self.line.show(n_pairs, &report);
                compare::decision(&report)
            }
            Look::Closing if lab_compare::is_confirmed(a, b, &self.policy) => Decision::Stop,
            Look::Closed if !lab_compare::is_contradicted(a, b, &self.policy) => Decision::Stop,
            Look::Closing | Look::Closed => Decision::Continue,
        }
    }
}
