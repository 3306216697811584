//! `lab calibrate`: what do this host and this engine vary by when nothing changes, and what can a comparison see here?
//!
//! Everything is measured by `lab run` and `lab ab` themselves, as a user would, so that what is learnt holds for them.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use jiff::Timestamp;
use lab_compare::foresee::Calibrations;
use lab_compare::rates::{self, Source};
use lab_compare::stopping;
use lab_compare::{Policy, noise, pairs::Pairs};
use lab_core::calibration::{CALIBRATION_SCHEMA, Calibration, Planted, Rate};
use lab_core::clock::Clock as _;
use lab_core::digest::Digest;
use lab_core::experiment::Noise;
use lab_core::fingerprint::{Isolation, PartKind};
use lab_core::metric::{Metric, find, speed};
use lab_core::plan::{GateSpec, Plan};
use lab_core::record::Session;
use lab_core::report::ChangeInterval;
use lab_core::tolerance::Tolerance;
use lab_formats::{calibration_json, page, table};
use lab_host::clock::Monotonic;
use lab_store::{CalibrationKind, CalibrationRow, Store};
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::terminal::{Format, print, say};
use crate::{itself, plan_file, store};

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
    #[arg(long, value_name = "N", default_value = "8", value_parser = RangedU64ValueParser::<u32>::new().range(2..))]
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

/// Losses that are planted, as shares: does what is found hold them?
const PLANTED: [f64; 4] = [0.01, 0.03, 0.06, 0.10];

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let plan = plan_file::load(&arguments.plan, global.color)?;
    // The official speed is what every session has.
    let tolerance = relative_tolerance(&plan, speed())?;
    if plan.run.isolation == Isolation::Session {
        return Err(Failure::usage(anyhow!(
            "the plan runs all repetitions in one launch, and launches are what varies"
        ))
        .hint("`isolation = \"launch\"` in `[run]` starts one for each repetition"));
    }
    let measured = measure(arguments, global)?;
    let (compare, ab) =
        (of_sessions(&measured, tolerance)?, of_experiments(&measured, tolerance, &plan.gate)?);
    let mut store = store::open_for_recording(&global.store)?;
    // Sessions and sides of experiments are two families, and either is told what both support.
    for family in [compare.family, ab.family] {
        record(&mut store, family, CalibrationKind::Compare, &compare)?;
        record(&mut store, family, CalibrationKind::Ab, &ab)?;
    }
    let calibrations = Calibrations { compare: Some(compare.clone()), ab: Some(ab.clone()) };
    let support = calibrations.support(arguments.repeat as usize);
    match arguments.format {
        Format::Json => print(&calibration_json::to_text(&compare, &ab))?,
        Format::Table => {
            print(&table::render(
                &page::calibrations(&compare, &ab, support.as_ref()),
                global.color.table_style(),
            ))?;
        }
    }
    Ok(Exit::Pass)
}

/// Rates are about shares; a tolerance in the metric's unit would need a value to be a share of.
fn relative_tolerance(plan: &Plan, metric: &Metric) -> Result<f64> {
    match plan.tolerance(metric) {
        Some(Tolerance::Relative(share)) => Ok(share),
        _ => {
            Err(Failure::usage(anyhow!("the plan gives `{}` a tolerance that is no percentage", metric.name))
                .hint("a calibration says what changes in percent can be seen"))
        }
    }
}

/// The sessions of a calibration.
#[derive(Default)]
struct Measured {
    sessions: Vec<Session>,
    /// A and B of each experiment.
    experiments: Vec<[Session; 2]>,
    /// Sessions of an engine that is slower by a known share.
    slower_sessions: Vec<(f64, Session)>,
    /// Experiments whose side B is slower by a known share.
    slower_experiments: Vec<(f64, [Session; 2])>,
    /// Wall time of all sessions, and of all experiments.
    seconds: [f64; 2],
}

/// Measures a session and an experiment in turn, spread over the time that is given; then, where a change is planted.
///
/// A session or an experiment that fails is told and left out: hours of others are not lost for it.
fn measure(arguments: &Arguments, global: &Global) -> Result<Measured> {
    let bench = Calibrating { arguments, global };
    let begun_ns = Monotonic.now_ns();
    let apart = arguments.over.unwrap_or_default() / arguments.sessions;
    let mut measured = Measured::default();
    for index in 0..arguments.sessions {
        Monotonic.wait_until_ns(begun_ns + nanos(apart * index));
        say(&format!("calibrating: {} of {}", index + 1, arguments.sessions));
        let before_ns = Monotonic.now_ns();
        measured.sessions.extend(bench.session(None)?);
        let between_ns = Monotonic.now_ns();
        measured.experiments.extend(bench.experiment(None)?);
        let times = [between_ns - before_ns, Monotonic.now_ns() - between_ns];
        for (sum, time) in measured.seconds.iter_mut().zip(times) {
            *sum += Duration::from_nanos(time).as_secs_f64();
        }
    }
    for share in PLANTED {
        say(&format!("planting a loss of {:.0} %", share * 100.0));
        measured.slower_sessions.extend(bench.session(Some(share))?.map(|own| (share, own)));
        measured.slower_experiments.extend(bench.experiment(Some(share))?.map(|own| (share, own)));
    }
    Ok(measured)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// Measures by lab's own commands.
struct Calibrating<'a> {
    arguments: &'a Arguments,
    global: &'a Global,
}

impl Calibrating<'_> {
    /// Measures one session; nothing if it failed.
    fn session(&self, slower: Option<f64>) -> Result<Option<Session>> {
        let mut words = vec!["--repeat".to_owned(), self.arguments.repeat.to_string()];
        words.extend(slower.into_iter().flat_map(|share| ["--delay".to_owned(), format!("uniform:{share}")]));
        let Some(document) = self.lab("run", &words)? else { return Ok(None) };
        self.load(&document["session"]["id"]).map(Some)
    }

    /// Measures one experiment, A first; nothing if it failed.
    fn experiment(&self, slower: Option<f64>) -> Result<Option<[Session; 2]>> {
        let pairs = self.arguments.pairs.to_string();
        let mut words: Vec<String> =
            ["--pairs", &pairs, "--fixed", "--closing", "0"].map(str::to_owned).to_vec();
        words.extend(
            slower.into_iter().flat_map(|share| ["--delay-b".to_owned(), format!("uniform:{share}")]),
        );
        let Some(document) = self.lab("ab", &words)? else { return Ok(None) };
        let side = |name: &str| self.load(&document[name]["session"]);
        Ok(Some([side("baseline")?, side("candidate")?]))
    }

    fn load(&self, id: &Value) -> Result<Session> {
        let id = id.as_str().ok_or_else(|| Failure::run(anyhow!("lab printed no session's id")))?;
        store::load(&store::open(self.global)?, id)
    }

    /// Runs a command of lab's own and returns what it printed; nothing if it failed. A verdict is no failure here.
    fn lab(&self, command: &str, further: &[String]) -> Result<Option<Value>> {
        let output = itself::command(command, self.global)?
            .arg(&self.arguments.plan)
            .args(further)
            .args(["--format", "json"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .context("cannot run lab")
            .map_err(Failure::run)?;
        let talk = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code().and_then(|status| u8::try_from(status).ok()).and_then(Exit::of_status) {
            Some(Exit::Pass | Exit::NotReproduced | Exit::Inconclusive) => {
                Ok(Some(serde_json::from_slice(&output.stdout).map_err(Failure::run)?))
            }
            Some(Exit::RunFailed) => {
                say(&format!("left out: `lab {command}` failed: {talk}"));
                Ok(None)
            }
            Some(exit) => Err(Failure::with(exit, anyhow!("`lab {command}`: {talk}"))),
            None => Err(Failure::run(anyhow!("`lab {command}` ended with {}: {talk}", output.status))),
        }
    }
}

fn of_sessions(measured: &Measured, tolerance: f64) -> Result<Calibration> {
    let logs = |session: &Session| {
        let means = lab_compare::launches::launch_means(session, speed());
        means.iter().map(|own| own.mean.ln()).collect::<Vec<f64>>()
    };
    let groups: Vec<Vec<f64>> = measured.sessions.iter().map(logs).collect();
    let Some(last) = measured.sessions.last() else { return Err(too_few()) };
    let calibration = calibration(last, tolerance, groups, measured.seconds[0], |source, _| {
        rates::of_sessions(source, tolerance)
    })?;
    let drift = Calibrations { compare: Some(calibration.clone()), ab: None }.drift();
    let policy =
        Policy { vary: Some(PartKind::Engine), drifts: [(speed().id(), drift)].into(), ..Policy::default() };
    let found =
        measured.slower_sessions.iter().filter_map(|(share, own)| planted(*share, [last, own], &policy));
    Ok(Calibration { planted: found.collect(), ..calibration })
}

fn of_experiments(measured: &Measured, tolerance: f64, gate: &GateSpec) -> Result<Calibration> {
    let groups: Vec<Vec<f64>> =
        measured.experiments.iter().map(|[a, b]| Pairs::of(a, b, &gate.admit).log_ratios()).collect();
    let Some([last, _]) = measured.experiments.last() else { return Err(too_few()) };
    let calibration = calibration(last, tolerance, groups, measured.seconds[1], |source, noise| {
        let of_at_most = |pairs| rates::of_experiments(source, &stopping::plan(pairs), noise, tolerance);
        MAXIMA.into_iter().flat_map(of_at_most).collect()
    })?;
    let policy = Policy { vary: Some(PartKind::Engine), admitted: gate.admit.clone(), ..Policy::default() };
    let found =
        measured.slower_experiments.iter().filter_map(|(share, [a, b])| planted(*share, [a, b], &policy));
    Ok(Calibration { planted: found.collect(), closing_seconds: closing_seconds(last), ..calibration })
}

/// Most pairs of the experiments that rates are given for.
const MAXIMA: [u32; 5] = [4, 10, 20, stopping::DEFAULT_PAIRS, 52];

/// Returns how long two uninterrupted repetitions of either side take: about what an experiment of a user ends with, and those
/// measured here do not.
fn closing_seconds(of: &Session) -> Option<f64> {
    let speeds = lab_compare::launches::launch_means(of, find(TOTAL)?);
    let mean_ms = speeds.iter().map(|own| own.mean).sum::<f64>() / speeds.len() as f64;
    (!speeds.is_empty()).then_some(4.0 * mean_ms / 1e3)
}

const TOTAL: &str = "engine.v0.1/latency_total_ms";

/// Compares as a user would, where a loss of known size was planted.
fn planted(share: f64, [baseline, candidate]: [&Session; 2], policy: &Policy) -> Option<Planted> {
    let report = lab_compare::compare(baseline, candidate, policy);
    let row = report.metrics.iter().find(|own| own.metric == speed().id())?;
    let ChangeInterval { estimate, low, high, n_candidate, .. } = row.interval.value()?;
    Some(Planted {
        change: -share,
        estimate: *estimate,
        low: *low,
        high: *high,
        n: *n_candidate,
        conclusion: report.conclusion,
    })
}

fn too_few() -> Failure {
    Failure::run(anyhow!("too few launches completed to tell what they vary by"))
}

fn calibration(
    of: &Session,
    tolerance: f64,
    groups: Vec<Vec<f64>>,
    seconds: f64,
    rates: impl FnOnce(&Source, Noise) -> Vec<Rate>,
) -> Result<Calibration> {
    let noise = noise::components(&groups).ok_or_else(too_few)?;
    let rates = rates(&Source::new(&groups, &noise), noise.noise());
    let n_values: usize = groups.iter().map(Vec::len).sum();
    Ok(Calibration {
        schema: CALIBRATION_SCHEMA.to_owned(),
        lab_version: env!("CARGO_PKG_VERSION").to_owned(),
        plan: of.header.plan_name.clone(),
        family: of.header.fingerprint.family(),
        made_at: Timestamp::now().to_string(),
        metric: speed().id(),
        tolerance,
        seconds: Some(seconds / n_values as f64),
        closing_seconds: None,
        groups,
        noise,
        rates,
        planted: Vec::new(),
    })
}

fn record(store: &mut Store, family: Digest, kind: CalibrationKind, calibration: &Calibration) -> Result<()> {
    let body = serde_json::to_value(calibration).map_err(Failure::run)?;
    let row = CalibrationRow {
        id: uuid::Uuid::now_v7(),
        made_at: Timestamp::now(),
        fingerprint: family,
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
