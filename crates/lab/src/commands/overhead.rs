//! `lab overhead`: what measuring itself costs, on this machine, with this plan's model.
//!
//! One engine process, pinned like any other, generates a few tokens at a time; every other block has all instruments
//! on. Between launches a machine varies by several percent, so launches cannot show half a percent; neighbouring blocks
//! of one process can.

mod judged;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use lab_compare::paired::{Arm, Block, LEAST_BLOCKS, Outside};
use lab_core::clock::Clock as _;
use lab_core::engine::{BeginRequest, Tokens};
use lab_core::metric::Reading;
use lab_core::plan::Plan;
use lab_core::workload::{Stop, Workload};
use lab_formats::overhead::{OVERHEAD_SCHEMA, OverheadConclusion, OverheadDocument};
use lab_formats::{overhead, page, table};
use lab_host::clock::{Monotonic, process_cpu_ns};
use lab_runner::Launched;

use crate::bench::{Bench, Host};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::instruments::Instruments;
use crate::plan_file;
use crate::progress::RunLine;
use crate::terminal::{Format, print};
use judged::{Judged, Toggled};

const EXAMPLES: &str = "\
Examples:
  lab overhead plans/smollm2-q8.toml
  lab overhead plans/smollm2-q8.toml --blocks 2401 --tokens 8 --format json

Blocks in which others used the machine are left out, never slow ones; rules that the plan's `[gate]` admits leave none out.
Nothing is stored. Exit status: 0 the instruments change the time of a token by no more than the margin, 1 they change it by
more, either way, 3 the blocks cannot tell (ask for more, on a quiet machine), or others used the machine in too many of them.";

/// What `lab overhead` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The plan whose engine and model are measured.
    plan: PathBuf,
    /// Blocks, every other one with instruments.
    #[arg(long, value_name = "N", default_value = "401", value_parser = RangedU64ValueParser::<u32>::new().range(LEAST_BLOCKS as u64..))]
    blocks: u32,
    /// Tokens a block: enough for the sampling thread to tick in it.
    #[arg(long, value_name = "N", default_value = "16", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    tokens: u32,
    /// Equivalence margin: the greatest change of a token's time that does not matter, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "0.5", value_parser = margin)]
    margin: f64,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

fn margin(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(percent),
        _ => Err("a margin is a number of percent above 0 and below 100".to_owned()),
    }
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let plan = plan_file::load(&arguments.plan, global.color)?;
    let host = Host::resolve(&plan, global)?;
    let mut bench = Bench::ready(&plan, &arguments.plan, &host, &Arc::default(), global)?;
    refuse_without_instruments(&plan, &bench)?;
    bench.calibrate(&plan, global)?;
    let toggled = measure(&plan, arguments, &bench)?;
    let judged = Judged::of(&toggled).map_err(|error| Failure::run(anyhow!(error)))?;
    let document = document(&plan, arguments, &bench.instruments, &toggled, &judged);
    match arguments.format {
        Format::Json => print(&overhead::to_text(&document))?,
        Format::Table => print(&table::render(&page::overhead(&document), global.color.table_style()))?,
    }
    Ok(match document.conclusion {
        OverheadConclusion::Equivalent => Exit::Pass,
        OverheadConclusion::Beyond => Exit::NotReproduced,
        OverheadConclusion::Inconclusive => Exit::Inconclusive,
    })
}

/// Blocks that differ in nothing say nothing.
fn refuse_without_instruments(plan: &Plan, bench: &Bench<'_>) -> Result<()> {
    if plan.instruments.sample_hz > 0.0 || bench.instruments.set.meters.value().is_some() {
        return Ok(());
    }
    Err(Failure::usage(anyhow!("the plan turns every instrument off that runs beside the engine"))
        .hint("raise `sample_hz` in `[instruments]`, or name an energy source"))
}

/// Starts one engine, warms it up, and toggles the instruments.
fn measure(plan: &Plan, arguments: &Arguments, bench: &Bench<'_>) -> Result<Toggled> {
    let mut launched = bench.launcher.launch(0, &bench.hello, &bench.instruments, None)?;
    launched.engine.load(&bench.load_request())?;
    launched.instruments.loaded();
    for _ in 0..plan.run.warmup {
        launched.engine.generate(&bench.workload, Monotonic.now_ns())?;
    }
    // A block is so many tokens, whatever they say.
    let workload = Workload { stop: Stop::Length, ..bench.workload.clone() };
    let mut toggle = Toggle {
        launched: &mut launched,
        workload: &workload,
        threads: bench.launcher.backend.threads,
        n_cores: bench.launcher.backend.cores.len(),
        admitted: &plan.gate.admit,
        generated: 0,
        toggled: Toggled::default(),
    };
    toggle.blocks(arguments.blocks, arguments.tokens)?;
    let toggled = toggle.toggled;
    let n_on = toggled.blocks.iter().filter(|block| block.arm == Arm::On).count();
    if plan.instruments.sample_hz > 0.0 && toggled.n_ticks < n_on {
        let (ticks, tokens) = (toggled.n_ticks, arguments.tokens);
        return Err(Failure::usage(anyhow!(
            "the sampling thread ticked {ticks} times in {n_on} blocks of {tokens} tokens: they say nothing of what it costs"
        ))
        .hint("raise `--tokens` until a block takes two ticks (200 ms at 10 Hz)"));
    }
    Ok(toggled)
}

/// One live engine whose blocks of tokens run with instruments and without, in turn.
struct Toggle<'t, 'a> {
    launched: &'t mut Launched<'a>,
    workload: &'t Workload,
    /// Threads that the engine computes with.
    threads: u32,
    /// Cores that it may use.
    n_cores: usize,
    /// Rules of validity that leave no block out.
    admitted: &'t [String],
    /// Tokens of the generation begun; 0 before the first.
    generated: u32,
    toggled: Toggled,
}

impl Toggle<'_, '_> {
    fn blocks(&mut self, n_blocks: u32, n_tokens: u32) -> Result<()> {
        if n_tokens >= self.workload.generate {
            let most = self.workload.generate - 1;
            return Err(Failure::usage(anyhow!(
                "a block of {n_tokens} tokens is more than the plan's {most} after the first"
            ))
            .hint("lower `--tokens`, or raise `generate` in the plan"));
        }
        let line = RunLine::new(n_blocks);
        let begun_ns = Monotonic.now_ns();
        for n_done in 0..n_blocks {
            if n_done % 32 == 0 {
                // Between blocks: nothing is drawn while one runs.
                line.show(n_done, "toggling", Duration::from_nanos(Monotonic.now_ns() - begun_ns));
            }
            let arm = if n_done % 2 == 0 { Arm::Off } else { Arm::On };
            let block = self.block(arm, n_tokens)?;
            self.toggled.blocks.push(block);
        }
        line.show(n_blocks, "done", Duration::from_nanos(Monotonic.now_ns() - begun_ns));
        Ok(())
    }

    /// Generates the tokens of one block. The time is the engine's own: from the request to its last token.
    fn block(&mut self, arm: Arm, n_tokens: u32) -> Result<Block> {
        self.make_room(n_tokens)?;
        if arm == Arm::On {
            self.launched.instruments.begin();
        }
        // The glances cost both arms the same, and no block.
        let before = self.launched.instruments.glance();
        let cpu_ns = process_cpu_ns();
        let answer = self.launched.engine.step(n_tokens, Monotonic.now_ns());
        let harness_cpu_ns = process_cpu_ns().saturating_sub(cpu_ns);
        let after = self.launched.instruments.glance();
        if arm == Arm::On {
            let seen = self.launched.instruments.end();
            if let (Reading::Value(samples), Ok(tokens)) = (&seen.samples, &answer) {
                self.toggled.sampler.push(share_percent(samples.cpu_ns, time_ns(tokens)));
                self.toggled.n_ticks += samples.at_ns.len();
            }
        }
        let tokens = answer?;
        if tokens.ids.len() != n_tokens as usize {
            return Err(Failure::run(anyhow!(
                "asked for {n_tokens} tokens, the engine answered with {}",
                tokens.ids.len()
            )));
        }
        self.generated += n_tokens;
        let (time_ns, threads, n_cores) = (time_ns(&tokens), self.threads, self.n_cores);
        let (before, after) = (&before, &after);
        self.heed(&Outside { before, after, harness_cpu_ns, time_ns, threads, n_cores });
        Ok(Block { arm, tokens: n_tokens, time_ns })
    }

    /// Notes what others did to a block.
    fn heed(&mut self, outside: &Outside<'_>) {
        let is_admitted = |rule: &&str| self.admitted.iter().any(|own| own == rule);
        let rules = outside.disturbances().into_iter().filter(|rule| !is_admitted(rule));
        self.toggled.disturbances.push(rules.collect());
    }

    /// Begins a new generation where the one begun is full. Its first token belongs to no block.
    fn make_room(&mut self, n_tokens: u32) -> Result<()> {
        if self.generated > 0 && self.generated + n_tokens <= self.workload.generate {
            return Ok(());
        }
        if self.generated > 0 {
            self.launched.engine.finish()?;
        }
        self.launched.engine.begin(&BeginRequest::from(self.workload), Monotonic.now_ns())?;
        self.generated = 1;
        Ok(())
    }
}

fn time_ns(tokens: &Tokens) -> u64 {
    tokens.stamps_ns.last().map_or(0, |last_ns| last_ns.saturating_sub(tokens.request_ns))
}

#[expect(clippy::cast_precision_loss, reason = "a block takes far less than 2^53 ns")]
fn share_percent(part_ns: u64, whole_ns: u64) -> f64 {
    part_ns as f64 / whole_ns.max(1) as f64 * 100.0
}

#[expect(clippy::cast_precision_loss, reason = "a handful of blocks")]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn document(
    plan: &Plan,
    arguments: &Arguments,
    instruments: &Instruments,
    toggled: &Toggled,
    judged: &Judged,
) -> OverheadDocument {
    let (effect, margin) = (&judged.effect, arguments.margin / 100.0);
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    OverheadDocument {
        schema: OVERHEAD_SCHEMA,
        plan: plan.name.clone(),
        model: plan.model.name.clone(),
        sample_hz: instruments.set.sample_hz,
        meters: sources(instruments),
        blocks: toggled.blocks.len(),
        tokens_a_block: arguments.tokens,
        blocks_left_out: toggled.is_disturbed().into_iter().filter(|own| *own).count(),
        left_out_by: toggled.left_out_by(),
        comparisons: judged.n_comparisons,
        comparisons_left: judged.n_left,
        too_disturbed: judged.is_too_disturbed,
        token_ms_off: toggled.token_ms(Arm::Off, judged),
        token_ms_on: toggled.token_ms(Arm::On, judged),
        change_percent: percent(effect.ratio),
        low_percent: percent(effect.low),
        high_percent: percent(effect.high),
        margin_percent: arguments.margin,
        conclusion: judged.conclusion(margin),
        blocks_needed: judged.blocks_needed(margin),
        sampler_cpu_percent: mean(&toggled.sampler),
        sampler_ticks: toggled.n_ticks,
    }
}

/// Names the energy meters that are read.
fn sources(instruments: &Instruments) -> Reading<Vec<String>> {
    let meters = instruments.set.meters.clone();
    meters.map(|meters| meters.into_iter().map(|own| own.source).collect())
}
