//! `lab calibrate`: what do this host and this engine vary by when nothing changes, and what can a comparison see here?
//!
//! Everything is measured by `lab run` and `lab ab` themselves, as a user would, so that what is learnt holds for them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use jiff::Timestamp;
use lab_compare::rates::{self, Source};
use lab_compare::stopping::{self, Noise};
use lab_compare::{noise, pairs::Pairs};
use lab_core::calibration::{CALIBRATION_SCHEMA, Calibration, Rate};
use lab_core::clock::Clock as _;
use lab_core::metric::{METRICS, Metric};
use lab_core::plan::Plan;
use lab_core::record::Session;
use lab_core::tolerance::Tolerance;
use lab_formats::{calibration_json, page, table};
use lab_host::clock::Monotonic;
use lab_store::{CalibrationKind, CalibrationRow, Store};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::terminal::{Format, print, say};
use crate::{plan_file, store};

const EXAMPLES: &str = "\
Examples:
  lab calibrate plans/smollm2-q8.toml
  lab calibrate plans/smollm2-q8.toml --sessions 12 --over 6h

Sessions and experiments of the plan against itself are measured and stored, in turn, spread over the time that is given: a
machine drifts over hours. What they vary by is stored too, and widens the intervals of later comparisons.";

/// What `lab calibrate` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The plan.
    plan: PathBuf,
    /// Sessions, and experiments of the plan against itself.
    #[arg(long, value_name = "N", default_value = "5", value_parser = RangedU64ValueParser::<u32>::new().range(2..))]
    sessions: u32,
    /// Launches a session.
    #[arg(long, value_name = "N", default_value = "5", value_parser = RangedU64ValueParser::<u32>::new().range(2..))]
    repeat: u32,
    /// Pairs an experiment.
    #[arg(long, value_name = "N", default_value = "8", value_parser = RangedU64ValueParser::<u32>::new().range(stopping::LEAST_PAIRS as u64..=stopping::MOST_PAIRS as u64))]
    pairs: u32,
    /// The time to spread them over, such as `90m` or `6h`; one after the other when absent.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    over: Option<Duration>,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// What is calibrated: the official speed, which every session has.
const METRIC: &str = "tokens_per_sec";

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let plan = plan_file::load(&arguments.plan, global.color)?;
    let metric = METRICS.iter().find(|metric| metric.name == METRIC).expect("the contract has a speed");
    let tolerance = relative_tolerance(&plan, metric)?;
    let measured = measure(arguments, global)?;
    let (compare, ab) = (
        of_sessions(&measured, metric, tolerance)?,
        of_experiments(&measured, metric, tolerance, &plan.gate.admit)?,
    );
    let mut store = store::open_for_recording(&global.store)?;
    for (kind, calibration) in [(CalibrationKind::Compare, &compare), (CalibrationKind::Ab, &ab)] {
        record(&mut store, kind, calibration)?;
    }
    match arguments.format {
        Format::Json => print(&calibration_json::to_text(&compare, &ab))?,
        Format::Table => {
            print(&table::render(&page::calibrations(&compare, &ab), global.color.table_style()))?;
        }
    }
    Ok(Exit::Pass)
}

/// Rates are about shares; a tolerance in the metric's unit would need a value to be a share of.
fn relative_tolerance(plan: &Plan, metric: &Metric) -> Result<f64> {
    match plan.tolerance(metric) {
        Some(Tolerance::Relative(share)) => Ok(share),
        _ => Err(Failure::usage(anyhow!("the plan gives `{METRIC}` a tolerance that is no percentage"))
            .hint("a calibration says what changes in percent can be seen")),
    }
}

/// The sessions of a calibration.
struct Measured {
    sessions: Vec<Session>,
    /// A and B of each experiment.
    experiments: Vec<[Session; 2]>,
}

/// Measures a session and an experiment in turn, spread over the time that is given.
fn measure(arguments: &Arguments, global: &Global) -> Result<Measured> {
    let (repeat, pairs) = (arguments.repeat.to_string(), arguments.pairs.to_string());
    let plan = arguments.plan.as_path();
    let begun_ns = Monotonic.now_ns();
    let apart = arguments.over.unwrap_or_default() / arguments.sessions;
    let mut measured = Measured { sessions: Vec::new(), experiments: Vec::new() };
    for index in 0..arguments.sessions {
        Monotonic.wait_until_ns(begun_ns + nanos(apart * index));
        say(&format!("calibrating: {} of {}", index + 1, arguments.sessions));
        lab("run", plan, &["--repeat", &repeat], global)?;
        lab("ab", plan, &["--pairs", &pairs, "--fixed", "--closing", "0"], global)?;
        let store = store::open(global)?;
        // The experiment's two sessions are the newest, and the session is the one before them.
        let [b, a, session] = ["@latest", "@latest~1", "@latest~2"].map(|own| store::load(&store, own));
        let (one, other) = (a?, b?);
        let is_a = |own: &Session| {
            own.header.experiment.as_ref().is_some_and(|own| own.side == lab_core::experiment::Side::A)
        };
        measured.experiments.push(if is_a(&one) { [one, other] } else { [other, one] });
        measured.sessions.push(session?);
    }
    Ok(measured)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// Runs a command of lab's own. A verdict is no failure here.
fn lab(command: &str, plan: &Path, further: &[&str], global: &Global) -> Result<()> {
    let own = std::env::current_exe().context("cannot find lab itself").map_err(Failure::run)?;
    let mut lab = Command::new(own);
    lab.arg(command).arg(plan).args(further).arg("--store").arg(&global.store).arg("--format").arg("json");
    lab.args(global.cache.iter().flat_map(|cache| [Path::new("--cache"), cache]));
    lab.arg("--sysfs-root").arg(&global.sysfs_root).arg("--procfs-root").arg(&global.procfs_root);
    let output = lab.stdin(Stdio::null()).output().context("cannot run lab").map_err(Failure::run)?;
    match output.status.code() {
        Some(0 | 1 | 3) => Ok(()),
        status => Err(Failure::run(anyhow!(
            "`lab {command}` ended with {}: {}",
            status.map_or_else(|| "a signal".to_owned(), |status| format!("status {status}")),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

fn of_sessions(measured: &Measured, metric: &Metric, tolerance: f64) -> Result<Calibration> {
    let logs = |session: &Session| {
        let means = lab_compare::launches::launch_means(session, metric);
        means.iter().map(|own| own.mean.ln()).collect::<Vec<f64>>()
    };
    let groups: Vec<Vec<f64>> = measured.sessions.iter().map(logs).collect();
    calibration(&measured.sessions[0], metric, tolerance, groups, |source, _| {
        rates::of_sessions(source, tolerance)
    })
}

fn of_experiments(
    measured: &Measured,
    metric: &Metric,
    tolerance: f64,
    admitted: &[String],
) -> Result<Calibration> {
    let groups: Vec<Vec<f64>> =
        measured.experiments.iter().map(|[a, b]| Pairs::of(a, b, admitted).log_ratios()).collect();
    let plan = stopping::plan(stopping::DEFAULT_PAIRS);
    calibration(&measured.experiments[0][0], metric, tolerance, groups, |source, noise| {
        rates::of_experiments(source, &plan, noise, tolerance)
    })
}

fn calibration(
    of: &Session,
    metric: &Metric,
    tolerance: f64,
    groups: Vec<Vec<f64>>,
    rates: impl FnOnce(&Source, Noise) -> Vec<Rate>,
) -> Result<Calibration> {
    let too_few = || Failure::run(anyhow!("too few launches completed to tell what they vary by"));
    let noise = noise::components(&groups).ok_or_else(too_few)?;
    let known = Noise { serial_correlation: noise.serial_correlation.max(0.0), bias: noise.between };
    let rates = rates(&Source::new(&groups, &noise), known);
    Ok(Calibration {
        schema: CALIBRATION_SCHEMA.to_owned(),
        lab_version: env!("CARGO_PKG_VERSION").to_owned(),
        plan: of.header.plan_name.clone(),
        family: of.header.fingerprint.family(),
        made_at: Timestamp::now().to_string(),
        metric: metric.id(),
        tolerance,
        groups,
        noise,
        rates,
    })
}

fn record(store: &mut Store, kind: CalibrationKind, calibration: &Calibration) -> Result<()> {
    let body = serde_json::to_value(calibration).map_err(Failure::run)?;
    let row = CalibrationRow {
        id: uuid::Uuid::now_v7(),
        made_at: Timestamp::now(),
        fingerprint: calibration.family,
        kind,
        body,
    };
    Ok(store.append_calibration(&row)?)
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let unfit = || "a time is a number with `s`, `m` or `h`, such as `90m`".to_owned();
    let unit = text.chars().last().ok_or_else(unfit)?;
    let seconds: f64 = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3600.0,
        _ => return Err(unfit()),
    };
    let number: f64 = text[..text.len() - 1].parse().map_err(|_| unfit())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| unfit())
}
