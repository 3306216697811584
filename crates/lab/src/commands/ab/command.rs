//! `lab ab` with plans that run commands: pairs of launches, one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use lab_core::engine::EngineError;
use lab_core::experiment::{Layouts, Noise, Side};
use lab_core::fingerprint::Mode;
use lab_core::plan::{CommandPlan, PlanFile};
use lab_core::record::{Outcome, SessionHeader};
use lab_measure::command::NotEnded;
use lab_runner::{CommandLaunch, CommandOrder, Event, Look, run_command_pairs};
use rustix::fs::{Access, access};

use super::design::{Design, paired};
use super::{Arguments, Ready};
use crate::command_plan::{Prepared, Run, descendants, words_of_left};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::launch::{absolute, check_text};
use crate::{plan_file, recording, store};

pub(super) fn carry_out(plan: CommandPlan, arguments: &Arguments, global: &Global) -> Result<Exit> {
    refuse_options(arguments)?;
    let sides = Sides::load(plan, arguments, global)?;
    let prepared = sides.prepare(global)?;
    let mut store = store::open_for_recording(&global.store)?;
    let mut descendants = descendants()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    recording::listen_for_interruption(&interrupted)?;
    let design = design(arguments);
    let headers = paired(sides.headers(&prepared, &design), &design, Noise::default());
    let order = CommandOrder {
        warmup: sides.plans.each_ref().map(|plan| plan.run.warmup),
        seed: design.seed,
        stopping: &design.stopping,
    };
    let experiment = Ready { headers, gate: &sides.plans[0].gate, design: &design, arguments };
    experiment.carry_out(&mut store, global, |running| {
        let mut run = |side: Side| {
            let Run { launched, left } = prepared[side.index()].launch(&interrupted, &mut descendants);
            if let Some(words) = words_of_left(&format!("a run of side {side:?}"), &left) {
                running.borrow().line.say(&words);
            }
            launched.map(|launched| without_company(launched, left))
        };
        let mut sink = |side: Side, event: Event| running.borrow_mut().take(side, event);
        let mut decide = |look: Look| running.borrow_mut().decide(look);
        Ok(run_command_pairs(&order, &mut run, &mut sink, &mut decide)?)
    })
}

/// Refuses what only makes sense where engines are asked.
fn refuse_options(arguments: &Arguments) -> Result<()> {
    let given = [
        ("--tokens", arguments.tokens.is_some()),
        ("--slice", arguments.slice.is_some()),
        ("--layouts", arguments.layouts.is_some()),
        ("--delay-b", arguments.delay_b.is_some()),
        ("--closing", arguments.closing.is_some()),
        ("--each-pair", arguments.each_pair.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((option, _)) => {
            let refusal = anyhow!("`{option}` is about engines, and the plan runs a command");
            Err(Failure::usage(refusal).hint(
                "commands run in pairs, one after the other, each to its end; `--engine-a`, `--engine-b`, `--pairs`, `--fixed`, \
                 `--seed`, `--rule` and `--format` go with them",
            ))
        }
    }
}

/// A run that left what cannot be ended has failed, and so does every one beside that: after three of them the experiment ends.
fn without_company(launched: CommandLaunch, left: std::result::Result<usize, NotEnded>) -> CommandLaunch {
    match left {
        Ok(_) => launched,
        Err(error) => {
            let outcome = Outcome::Failed(EngineError::Failed { message: error.to_string() });
            CommandLaunch { outcome, ..launched }
        }
    }
}

/// Returns what is decided before the first launch. Where memory lies is left to the kernel, and nothing is run behind the pairs.
fn design(arguments: &Arguments) -> Design {
    Design {
        mode: Mode::Alone,
        layouts: Layouts::Kernel,
        seed: arguments.seed(),
        stopping: arguments.stopping(),
        each_pair: 0,
        closing: 0,
    }
}

/// The two commands, A first.
struct Sides {
    /// The plans, with the programs that were named in the place of their own.
    plans: [CommandPlan; 2],
    /// The words of each command as its plan has them.
    written: [Vec<String>; 2],
    folders: [PathBuf; 2],
}

impl Sides {
    fn load(plan: CommandPlan, arguments: &Arguments, global: &Global) -> Result<Self> {
        refuse_unjudged(&plan)?;
        let other = match &arguments.plan_b {
            None => plan.clone(),
            Some(path) => load_other(path, global)?,
        };
        let written = [plan.command.program.clone(), other.command.program.clone()];
        let plans = [
            with_program(plan, arguments.engine_a.as_deref())?,
            with_program(other, arguments.engine_b.as_deref())?,
        ];
        let paths = [&arguments.plan, arguments.plan_b.as_ref().unwrap_or(&arguments.plan)];
        Ok(Self { plans, written, folders: paths.map(|path| plan_file::folder(path)) })
    }

    /// Makes both commands ready to be run.
    fn prepare(&self, global: &Global) -> Result<[Prepared<'_>; 2]> {
        let prepare = |side: usize| Prepared::of(&self.plans[side], &self.folders[side], global);
        Ok([prepare(0)?, prepare(1)?])
    }

    fn headers(&self, prepared: &[Prepared<'_>; 2], design: &Design) -> [SessionHeader; 2] {
        let mut headers = prepared.each_ref().map(|own| own.header(design.stopping.most()));
        for (header, words) in headers.iter_mut().zip(self.words(prepared)) {
            header.fingerprint.plan.identity.insert("program".to_owned(), words.into());
        }
        headers
    }

    /// Returns the words that the plan's part of either fingerprint has: those of its plan, but that B's program and script go by
    /// the names of A's where the engine's part tells them apart, as though they had been put in their place. Another script
    /// under another name would otherwise be a difference in two parts.
    fn words(&self, prepared: &[Prepared<'_>; 2]) -> [Vec<String>; 2] {
        let [a, b] = prepared.each_ref().map(|own| &own.subject.program);
        let [ours, mut theirs] = self.written.clone();
        if (&a.name, &a.build) != (&b.name, &b.build) {
            theirs[0].clone_from(&ours[0]);
        }
        if let (Some(at), true) = (a.script_at, a.script_at == b.script_at && a.script != b.script) {
            theirs[at].clone_from(&ours[at]);
        }
        [ours, theirs]
    }
}

/// Reads the plan of side B, where that is another one.
fn load_other(path: &Path, global: &Global) -> Result<CommandPlan> {
    match plan_file::load_any(path, global.color)? {
        PlanFile::Command(plan) => Ok(*plan),
        PlanFile::Engine(_) | PlanFile::Contract(_) => Err(Failure::usage(anyhow!(
            "the plan of side A runs a command, and `{}` runs none",
            path.display()
        ))
        .hint("both plans run a command, or both ask an engine")),
    }
}

/// Puts a program in the place of a plan's own.
fn with_program(mut plan: CommandPlan, program: Option<&Path>) -> Result<CommandPlan> {
    let Some(path) = program else { return Ok(plan) };
    if !path.is_file() {
        return Err(Failure::usage(anyhow!("`{}` is no program", path.display()))
            .hint("name the executable that takes the place of the plan's program"));
    }
    if access(path, Access::EXEC_OK).is_err() {
        return Err(Failure::usage(anyhow!("`{}` may not be executed", path.display()))
            .hint("name the executable that takes the place of the plan's program, or let it be one with `chmod +x`"));
    }
    check_text(path)?;
    plan.command.program[0] = absolute(path);
    Ok(plan)
}

/// The contract has no tolerances of its own, and without any nothing is judged. B's plan cannot add one.
fn refuse_unjudged(plan: &CommandPlan) -> Result<()> {
    if plan.tolerances.is_empty() {
        return Err(Failure::usage(anyhow!(
            "plan `{}` has no tolerance, and without one nothing is judged",
            plan.name
        ))
        .hint("`elapsed_sec = { percent = 5 }` in `[tolerances]` says which change matters"));
    }
    Ok(())
}
