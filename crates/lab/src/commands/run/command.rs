//! `lab run` with a plan of a command: each repetition is a launch, a process of its own.

use std::iter::repeat_n;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use lab_core::clock::Clock as _;
use lab_core::plan::CommandPlan;
use lab_core::record::{Launch, LaunchStart, Repetition, RepetitionKind, Session, SessionStatus};
use lab_host::clock::Monotonic;
use lab_measure::command::{Descendants, NotEnded};
use lab_runner::CommandLaunch;
use lab_store::{Store, StoreError};

use super::Arguments;
use crate::command_plan::{Prepared, Run, descendants, words_of_left};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::progress::RunLine;
use crate::recording::{self, Recording};
use crate::terminal::say;
use crate::{plan_file, store};

pub(super) fn carry_out(plan: &CommandPlan, arguments: &Arguments, global: &Global) -> Result<Exit> {
    refuse_options(arguments)?;
    let prepared = Prepared::of(plan, &plan_file::folder(&arguments.plan), global)?;
    let mut store = store::open_for_recording(&global.store)?;
    let descendants = descendants()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    recording::listen_for_interruption(&interrupted)?;
    let repeat = arguments.repeat.unwrap_or(plan.run.repeat);
    say(&format!("{}: `{}`, repetitions: {repeat}", plan.name, plan.command.program.join(" ")));
    let recording = Recording::begin(prepared.header(repeat), &mut store)?;
    let course = Course {
        prepared: &prepared,
        interrupted: &interrupted,
        descendants,
        recording,
        store: &mut store,
        line: RunLine::new(repeat),
        begun_ns: Monotonic.now_ns(),
        n_done: 0,
        n_completed: 0,
    };
    let session = course.run(plan.run.warmup, repeat)?;
    super::show(&session, arguments.format, global)?;
    Ok(super::conclude(&session, &store)?)
}

/// Refuses what only makes sense where an engine is asked.
fn refuse_options(arguments: &Arguments) -> Result<()> {
    let given = [
        ("--replace-invalid", arguments.replace_invalid),
        ("--profile", arguments.profile),
        ("--until", arguments.until.is_some()),
        ("--vary", arguments.vary.is_some()),
        ("--delay", arguments.delay.is_some()),
        ("--emit-metrics", arguments.emit_metrics.is_some()),
        ("--publish", arguments.publish.is_given()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((option, _)) => Err(Failure::usage(anyhow!(
            "`{option}` is about engines, and the plan runs a command"
        ))
        .hint("`--repeat N` and `--format` go with a plan that runs a command; `lab compare` compares its sessions")),
    }
}

/// A session as it goes.
struct Course<'a> {
    prepared: &'a Prepared<'a>,
    interrupted: &'a AtomicBool,
    /// What a run leaves: the command itself, too, where its supervisor was killed.
    descendants: Descendants,
    recording: Recording,
    store: &'a mut Store,
    line: RunLine,
    begun_ns: u64,
    /// Measured repetitions, whatever became of them.
    n_done: u32,
    /// Those that succeeded.
    n_completed: u32,
}

/// What follows a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Continue,
    /// Nothing can be run, or nothing is to be.
    Stop,
}

impl Course<'_> {
    /// Runs everything; each run is in the store before the next begins.
    fn run(mut self, warmup: u32, repeat: u32) -> std::result::Result<Session, StoreError> {
        let warmups = repeat_n(RepetitionKind::Warmup, warmup as usize);
        let kinds = warmups.chain(repeat_n(RepetitionKind::Measured, repeat as usize));
        let mut next = Next::Continue;
        for (index, kind) in (0..).zip(kinds) {
            self.show(if kind == RepetitionKind::Warmup { "warming up" } else { "measuring" });
            next = self.launch(index, kind)?;
            if next == Next::Stop {
                break;
            }
        }
        let is_stopped = next == Next::Stop && self.interrupted.load(Ordering::Relaxed);
        let status = match (is_stopped, self.n_completed) {
            (true, _) => SessionStatus::Interrupted,
            (false, 0) => SessionStatus::Failed,
            (false, n) if n < repeat => SessionStatus::Incomplete,
            (false, _) => SessionStatus::Completed,
        };
        let Self { mut recording, store, .. } = self;
        recording.end(status, store)?;
        Ok(recording.session)
    }

    fn show(&self, doing: &str) {
        let elapsed = Duration::from_nanos(Monotonic.now_ns() - self.begun_ns);
        self.line.show(self.n_done, doing, elapsed);
    }

    /// Runs the command once, in a launch of its own. Nothing of it is left for the next one to share the machine with.
    fn launch(&mut self, index: u32, kind: RepetitionKind) -> std::result::Result<Next, StoreError> {
        let Run { launched, left } = self.prepared.launch(self.interrupted, &mut self.descendants);
        let Some(CommandLaunch { start, conditions, outcome }) = launched else {
            self.tell_of_left("the run that was interrupted", &left);
            return Ok(Next::Stop);
        };
        let is_lost = matches!(start, LaunchStart::Failed(_));
        let launch = Launch { index, start, conditions, profile: None, layout: None };
        self.recording.launch(launch, self.store)?;
        let repetition = Repetition { index, launch: index, kind, outcome };
        self.tell_of_left(&self.recording.session.name_of(&repetition), &left);
        self.repetition(repetition)?;
        // What cannot be started the first time cannot be started at all.
        let is_over = left.is_err() || (is_lost && self.n_completed == 0);
        Ok(if is_over { Next::Stop } else { Next::Continue })
    }

    fn tell_of_left(&self, run: &str, left: &std::result::Result<usize, NotEnded>) {
        if let Some(words) = words_of_left(run, left) {
            self.line.say(&words);
        }
    }

    fn repetition(&mut self, repetition: Repetition) -> std::result::Result<(), StoreError> {
        if repetition.kind == RepetitionKind::Measured {
            self.n_done += 1;
            self.n_completed += u32::from(repetition.outcome.is_completed());
        }
        if let Some(trouble) = recording::trouble(&self.recording.session, &repetition) {
            self.line.say(&trouble);
        }
        self.recording.repetition(repetition, self.store)
    }
}
