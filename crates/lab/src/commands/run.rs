//! `lab run`: carry out a plan and store the session.

mod command;
mod emission;
mod publish;
mod spool;
mod until;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use lab_core::clock::Clock as _;
use lab_core::engine::EngineError;
use lab_core::fingerprint::{Mode, PartKind};
use lab_core::metric::speed;
use lab_core::plan::{Plan, PlanFile};
use lab_core::record::{
    LaunchStart, Outcome, Repetition, RepetitionKind, Session, SessionHeader, SessionStatus,
};
use lab_core::tolerance::Tolerance;
use lab_engine::delayed::Delay;
use lab_host::clock::Monotonic;
use lab_runner::{Decision, Event, Order};
use lab_store::{Store, StoreError};

use crate::bench::{Bench, Host};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::launch::Instead;
use crate::progress::RunLine;
use crate::recording::{self, Recording};
use crate::terminal::{Format, print, say};
use crate::{plan_file, store};

use super::compare;
use emission::{Emission, Phases};
use publish::{Publication, PublishOptions};
use until::Target;

const EXAMPLES: &str = "\
Examples:
  lab run plans/quickstart.toml --repeat 5
  lab run plans/smollm2.toml --format json > session.json
  lab run plans/smollm2.toml --profile --replace-invalid
  lab run plans/smollm2.toml --until decided-against @main --vary engine
  lab run plans/quickstart.toml --emit-metrics metrics.json
  lab run plans/smollm2.toml --publish mqtt://broker
  lab run plans/smoke.toml

Every repetition is stored as soon as it ends; Ctrl-C keeps what has finished. With `--until decided-against SESSION` launches
are added until it is decided whether they change what that session measured, and the comparison is printed; it ends as
`lab compare` does: 0, 1, 3 or 4.";

/// What `lab run` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The plan.
    plan: PathBuf,
    /// Measured repetitions, in place of the plan's.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    repeat: Option<u32>,
    /// Measure another repetition in the place of an invalid one, at most as many as were asked for; all are kept.
    #[arg(long)]
    replace_invalid: bool,
    /// Learn where the time goes, in one more launch that is never counted as measured.
    #[arg(long)]
    profile: bool,
    /// Measure until it is decided against a session: launch by launch, at most as many as `--repeat` says (36).
    #[arg(long, num_args = 2, value_names = ["CONDITION", "SESSION"], conflicts_with_all = ["profile", "replace_invalid"])]
    until: Option<Vec<String>>,
    /// With `--until`: the part of the fingerprint that is meant to differ from that session's.
    #[arg(long, value_name = "PART", value_parser = compare::part, requires = "until")]
    vary: Option<PartKind>,
    /// Write the session as the metrics document of a workflow, too (docs/workflow.md).
    #[arg(long, value_name = "FILE")]
    emit_metrics: Option<PathBuf>,
    /// Slow the engine down by a known amount: `uniform:0.06`, `tenth:0.6`, `prefill:0.4`.
    #[arg(long, value_name = "DELAY", hide = true)]
    delay: Option<Delay>,
    /// What to print when the session has ended.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    #[command(flatten)]
    publish: PublishOptions,
}

impl Arguments {
    fn emission(&self, global: &Global) -> Result<Option<Emission>> {
        let needed = [self.plan.as_path(), global.store.as_path()];
        self.emit_metrics.as_deref().map(|path| Emission::prepare(path, needed)).transpose()
    }
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let begun_ns = Monotonic.now_ns();
    match plan_file::load_any(&arguments.plan, global.color)? {
        PlanFile::Engine(plan) => ask_engine(&plan, arguments, begun_ns, global),
        PlanFile::Command(plan) => command::carry_out(&plan, arguments, global),
        PlanFile::Contract(plan) => Err(plan_file::measures_nothing(&plan)),
    }
}

/// Carries out a plan that asks an engine.
fn ask_engine(plan: &Plan, arguments: &Arguments, begun_ns: u64, global: &Global) -> Result<Exit> {
    let planned_ns = Monotonic.now_ns();
    let emission = arguments.emission(global)?;
    let publication = Publication::of(&arguments.publish, global)?;
    let instead = Instead { program: None, delay: arguments.delay };
    let host = Host::resolve(plan, global)?.with(instead, &plan.engine.kind)?;
    let mut store = store::open_for_recording(&global.store)?;
    let target = Target::of(arguments, plan, &store)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut bench = Bench::ready(plan, &arguments.plan, &host, &interrupted, global)?;
    let ready_ns = Monotonic.now_ns();
    bench.calibrate(plan, global)?;
    // Only from here on is there something that Ctrl-C must end in order.
    recording::listen_for_interruption(&interrupted)?;
    let repeat = target.as_ref().map(Target::most).or(arguments.repeat).unwrap_or(plan.run.repeat);
    let mut header = recording::header(plan, repeat, Mode::Alone, &bench)?;
    header.until = target.as_ref().map(Target::until);
    if let Some(target) = &target {
        target.check(&header)?;
    }
    announce(plan, &header);
    warn(&arguments.plan, &header, &store)?;
    let order = Order {
        workload: &bench.workload,
        load: &bench.load_request(),
        repeat,
        stopping: target.as_ref().map(|target| &target.stopping),
        warmup: plan.run.warmup,
        isolation: plan.run.isolation,
        replace_invalid: arguments.replace_invalid,
        profile: arguments.profile,
    };
    let recording_ns = Monotonic.now_ns();
    let session = record(&order, &bench, header, target.as_ref(), publication, &mut store)?;
    if let Some(emission) = emission {
        let phases = Phases {
            plan_ns: planned_ns - begun_ns,
            validation_ns: (ready_ns - planned_ns).saturating_sub(bench.obtaining_ns),
            runtime_ns: Monotonic.now_ns() - recording_ns,
        };
        emission.write(&session, &arguments.plan, phases)?;
    }
    tell(&session, target.as_ref(), arguments.format, &store, global)
}

/// Prints the session, or the comparison that it was measured for, and returns how the command ends.
fn tell(
    session: &Session,
    target: Option<&Target>,
    format: Format,
    store: &Store,
    global: &Global,
) -> Result<Exit> {
    let Some(target) = target else {
        show(session, format, global)?;
        return Ok(conclude(session, store)?);
    };
    let report = target.compare(session);
    compare::show(&report, format, global)?;
    Ok(match conclude(session, store)? {
        Exit::Pass => compare::exit_of_report(&report),
        other => other,
    })
}

fn announce(plan: &Plan, header: &SessionHeader) {
    let SessionHeader { model_name, repeat, .. } = header;
    let n_prompt = header.n_prompt();
    let n_generate = header.workload().map_or(0, |workload| workload.generate);
    say(&format!(
        "{}: {model_name}, {n_prompt} prompt tokens, {n_generate} to generate, repetitions: {repeat}",
        plan.name
    ));
    let loosened: Vec<&str> = plan.loosened().iter().map(|metric| metric.name).collect();
    if !loosened.is_empty() {
        say(&format!(
            "note: unofficial: the plan loosens the contract's tolerance of {}",
            loosened.join(", ")
        ));
    }
}

/// Says before anything runs that so few launches cannot tell, where that is known.
fn warn(plan: &Path, header: &SessionHeader, store: &Store) -> Result<()> {
    let Some(Tolerance::Relative(tolerance)) = header.tolerance(speed()) else { return Ok(()) };
    let calibrations = store::calibrations(store, &header.fingerprint.family(), None)?;
    if let Some(reach) = calibrations.too_few(header.repeat, tolerance) {
        say(&format!(
            "note: by calibration, sessions of {} launches with nothing changed differ by up to {:.1} % here; the tolerance \
             of {:.1} % needs more launches, or `lab ab {}`",
            header.repeat,
            reach * 100.0,
            tolerance * 100.0,
            plan.display()
        ));
    }
    Ok(())
}

/// Carries the order out and returns the session; every event is in the store before the next begins.
fn record(
    order: &Order<'_>,
    bench: &Bench<'_>,
    header: SessionHeader,
    target: Option<&Target>,
    publication: Option<Publication>,
    store: &mut Store,
) -> Result<Session> {
    let recording = Recording::begin(header, store)?;
    let running = RefCell::new(Running { publication, ..Running::new(order, recording, store) });
    let mut start = |index| bench.launcher.launch(index, &bench.hello, &bench.instruments, None);
    let mut sink = |event: Event| running.borrow_mut().take(event);
    let mut decide = |_| {
        let running = running.borrow();
        target.map_or(Decision::Continue, |own| own.decide(&running.recording.session))
    };
    let status = lab_runner::run(order, &mut start, &Monotonic, &mut sink, &mut decide)?;
    let Running { mut recording, publication, store, line, .. } = running.into_inner();
    recording.end(status, store)?;
    drop(line);
    if let Some(publication) = publication {
        say(&publication.finish(&recording.session));
    }
    Ok(recording.session)
}

/// The session as it goes, and the line that says so.
struct Running<'a> {
    order: &'a Order<'a>,
    recording: Recording,
    publication: Option<Publication>,
    store: &'a mut Store,
    line: RunLine,
    begun_ns: u64,
    n_done: u32,
    n_replaced: u32,
}

impl<'a> Running<'a> {
    fn new(order: &'a Order<'a>, recording: Recording, store: &'a mut Store) -> Self {
        let line = RunLine::new(order.repeat);
        let begun_ns = Monotonic.now_ns();
        let running =
            Self { order, recording, publication: None, store, line, begun_ns, n_done: 0, n_replaced: 0 };
        running.show("loading");
        running
    }

    fn show(&self, doing: &str) {
        let elapsed = Duration::from_nanos(Monotonic.now_ns() - self.begun_ns);
        self.line.show(self.n_done, doing, elapsed);
    }

    fn take(&mut self, event: Event) -> std::result::Result<(), StoreError> {
        match event {
            Event::Begins(_) => Ok(()),
            Event::Launch(launch) => {
                if let LaunchStart::Failed(error) = &launch.start {
                    self.line.say(&format!("launch {} failed: {error}", launch.index));
                }
                self.recording.launch(launch, self.store)
            }
            Event::Repetition(repetition) => self.repetition(repetition),
        }
    }

    fn repetition(&mut self, repetition: Repetition) -> std::result::Result<(), StoreError> {
        if repetition.kind == RepetitionKind::Measured {
            match is_invalid(&repetition) && self.n_replaced < most_replaced(self.order) {
                true => self.n_replaced += 1,
                false => self.n_done += 1,
            }
        }
        if let Some(trouble) = recording::trouble(&self.recording.session, &repetition) {
            self.line.say(&trouble);
        }
        self.recording.repetition(repetition, self.store)?;
        let publication = self.publication.as_mut();
        if let Some(trouble) = publication.and_then(|own| own.between(&self.recording.session)) {
            self.line.say(&format!("note: {trouble}"));
        }
        self.show(match (self.n_done < self.order.repeat, self.order.profile) {
            (true, _) => "measuring",
            (false, true) => "profiling",
            (false, false) => "done",
        });
        Ok(())
    }
}

fn is_invalid(repetition: &Repetition) -> bool {
    matches!(&repetition.outcome, Outcome::Completed(completed) if !completed.is_usable())
}

/// Invalid repetitions that others are measured for are no progress.
fn most_replaced(order: &Order<'_>) -> u32 {
    if order.replace_invalid { order.repeat } else { 0 }
}

/// Prints a session.
pub(crate) fn show(session: &Session, format: Format, global: &Global) -> Result<()> {
    let figures = lab_compare::summarize_session(session);
    let recording = lab_formats::Recording { session, figures: &figures };
    match format {
        Format::Json => print(&lab_formats::session_json::to_text(recording)),
        Format::Table => {
            let page = lab_formats::page::session(recording);
            print(&lab_formats::table::render(&page, global.color.table_style()))
        }
    }
}

fn conclude(session: &Session, store: &Store) -> std::result::Result<Exit, StoreError> {
    let short = store.short_id(&session.header.id)?;
    let stored = format!("stored as {short} in {}", store.path().display());
    Ok(match session.status() {
        SessionStatus::Completed if !session.has_usable() => {
            say(&format!("error: every repetition is invalid (`lab rules` explains the rules); {stored}"));
            Exit::RunFailed
        }
        SessionStatus::Completed => {
            say(&stored);
            Exit::Pass
        }
        SessionStatus::Interrupted => {
            say(&format!("interrupted; what had finished is {stored}"));
            Exit::Interrupted
        }
        SessionStatus::Incomplete | SessionStatus::Failed | SessionStatus::Unfinished => {
            say(&format!("error: the session is {}; {stored}", session.status()));
            Exit::RunFailed
        }
    })
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::run(error)
    }
}
