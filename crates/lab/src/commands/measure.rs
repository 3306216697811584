//! `lab measure`: run any command once, and tell how long it took, how many rows it used and how much memory it needed.

mod recorder;
mod unmeasured;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use lab_core::command::{CommandFailure, CommandRun, RowsSource};
use lab_formats::page::{Block, Page, Text, Tone};
use lab_formats::table;
use lab_measure::Interval;
use lab_measure::command::{CommandError, Descendants, Finished, Redirect, RowsChannel, Run};
use lab_measure::inside::{SWITCH, Switch};
use lab_measure::summary::{Summary, SummaryDocument};
use uuid::Uuid;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::measured;
use crate::subject::Rows;
use crate::terminal::{Format, print, say};
use recorder::Recorder;

const EXAMPLES: &str = "\
Examples:
  lab measure --rows-from data.csv --format json -- python3 train.py data.csv
  lab measure --rows 100 --max-elapsed 60 --max-memory 2000 -- ./pipeline --fixture
  lab measure --rows-reported -- sh -c 'wc -l < data.csv > \"$LAB_ROWS_FILE\"'

The summary is all there is on standard output: what the command prints there goes to standard error. The exit status is the
command's own (128 and the signal's number when one ended it, 127 and 126 when it could not be started); 1 when it succeeded
and a limit is broken, 5 when it succeeded and its record could not be kept, 2 when the command line is wrong. LAB_MEASURE=off
runs the command and measures nothing.";

/// Canonical JSON (RFC 8785) writes numbers as doubles: beyond 2^53 two numbers of rows could share a fingerprint.
const MOST_ROWS: u64 = 1 << 53;

/// What `lab measure` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Rows of input that the command uses.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u64>::new().range(..=MOST_ROWS))]
    rows: Option<u64>,
    /// A file whose rows it uses, counted before it starts: CSV, JSON lines or Parquet.
    #[arg(long, value_name = "FILE")]
    rows_from: Option<PathBuf>,
    /// The command reports its rows: it writes their number to the file in `LAB_ROWS_FILE`, or the descriptor in `LAB_ROWS_FD`.
    #[arg(long)]
    rows_reported: bool,
    /// The run's own id, a UUID of version 4; drawn when absent.
    #[arg(long, value_name = "UUID", value_parser = run_id)]
    run_id: Option<Uuid>,
    /// The folder of the record.
    #[arg(long, value_name = "FOLDER", default_value = "results/model_runs")]
    output_dir: PathBuf,
    /// Write no record as a file.
    #[arg(long)]
    no_file: bool,
    /// Record no session in the store.
    #[arg(long)]
    no_store: bool,
    /// Seconds between two looks at its memory, 0.001 to 60.
    #[arg(long, value_name = "SECONDS", default_value = "0.1", value_parser = interval)]
    interval: Interval,
    /// End with 1 if it took longer, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = limit)]
    max_elapsed: Option<f64>,
    /// End with 1 if its peak was higher, in MB of 10^6 bytes.
    #[arg(long, value_name = "MB", value_parser = limit)]
    max_memory: Option<f64>,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// The program and its arguments. No shell is asked.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn run_id(text: &str) -> std::result::Result<Uuid, String> {
    let id: Uuid = text.parse().map_err(|error: uuid::Error| error.to_string())?;
    match id.get_version_num() {
        4 => Ok(id),
        other => Err(format!("it is a UUID of version {other}, expected version 4")),
    }
}

fn interval(text: &str) -> std::result::Result<Interval, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    let given = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    Interval::new(given).map_err(|error| error.to_string())
}

fn limit(text: &str) -> std::result::Result<f64, String> {
    let limit: Option<f64> = text.parse().ok();
    limit
        .filter(|limit| limit.is_finite() && *limit > 0.0)
        .ok_or_else(|| "expected a number above 0".to_owned())
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let source = arguments.rows_source()?;
    if switch()? == Switch::Off {
        return unmeasured::carry_out(&arguments.command, &source);
    }
    let rows = Rows::count(source, Path::new(""))?;
    let mut recorder = match arguments.no_store {
        true => None,
        false => Some(Recorder::ready(arguments, &rows, global)?),
    };
    let mut descendants = Descendants::from_now_on("/proc")
        .context("cannot keep track of what the command starts")
        .map_err(Failure::run)?;
    match arguments.run(&rows).carry_out() {
        Ok(finished) => {
            if let Some(recorder) = &mut recorder {
                recorder.has_ended(|| drop(descendants.living()));
            }
            let exit = arguments.conclude(&finished, &rows, recorder, global);
            tell_of_left(descendants.living().len());
            Ok(exit)
        }
        Err(error) => not_run(error),
    }
}

/// Says what the command left running. It stays, as a shell would leave it: a command that starts a service means it.
fn tell_of_left(n_left: usize) {
    match n_left {
        0 => {}
        1 => say("note: the command left 1 process running, which goes on unmeasured"),
        n => say(&format!("note: the command left {n} processes running, which go on unmeasured")),
    }
}

/// Decides whether to measure. Who asks for `lab measure` by name wants a figure: only the word `off` keeps it from one.
fn switch() -> Result<Switch> {
    let word = std::env::var_os(SWITCH).map(|word| word.to_string_lossy().into_owned());
    Switch::decide(word.as_deref(), Some("true")).map_err(Failure::usage)
}

/// A command that never ran leaves no record, and the statuses that shells give.
fn not_run(error: CommandError) -> Result<Exit> {
    let status = error.exit_code();
    let failure = Failure::run(error);
    match status {
        None => Err(failure),
        Some(status) => {
            say(&format!("error: {failure}"));
            say("note: it never ran, so no record of it is left");
            Ok(Exit::Command(status))
        }
    }
}

/// Returns a word or a path as a record has it. What is no text is refused: with its bytes replaced it would be another.
fn text_of(given: &OsStr, what_names_it: &str, hint: &str) -> Result<String> {
    let refusal = || {
        Failure::usage(anyhow!(
            "{what_names_it} {given:?}, which is not UTF-8; the record of a run has it as text, and the command was not started"
        ))
        .hint(hint)
    };
    given.to_str().map(str::to_owned).ok_or_else(refusal)
}

/// Returns the path of a file of rows.
fn rows_file(path: &Path) -> Result<String> {
    text_of(path.as_os_str(), "`--rows-from` names", "rename the file, or link to it under a name in UTF-8")
}

impl Arguments {
    /// Returns where the number of rows comes from: nobody assumes one.
    fn rows_source(&self) -> Result<RowsSource> {
        let hint = "`--rows N` gives their number, `--rows-from FILE` counts those of a file, and with `--rows-reported` the \
                    command tells it";
        match (self.rows, &self.rows_from, self.rows_reported) {
            (Some(rows), None, false) => Ok(RowsSource::Given(rows)),
            (None, Some(file), false) => Ok(RowsSource::File(rows_file(file)?)),
            (None, None, true) => Ok(RowsSource::Reported),
            (None, None, false) => Err(Failure::usage(anyhow!(
                "nothing says how many rows the command uses; it was not started"
            ))
            .hint(hint)),
            _ => {
                Err(Failure::usage(anyhow!("the rows of a command come from exactly one source")).hint(hint))
            }
        }
    }

    fn run(&self, rows: &Rows) -> Run {
        Run {
            stdout: Redirect::ToStderr,
            rows: if rows.known.is_none() { RowsChannel::Offered } else { RowsChannel::Closed },
            interval: self.interval,
            adopts: true,
            ..Run::new(&self.command)
        }
    }

    /// Tells, writes and records what was measured, and decides the exit status. What cannot be delivered keeps nothing else
    /// from being delivered.
    fn conclude(
        &self,
        finished: &Finished,
        rows: &Rows,
        recorder: Option<Recorder>,
        global: &Global,
    ) -> Exit {
        let id = self.run_id.unwrap_or_else(Uuid::new_v4);
        let run = measured::command_run(finished, id, rows.known, None);
        let summary = measured::summary(&run, &finished.peak);
        let mut failures: Vec<Failure> = Vec::new();
        match &summary {
            None => failures.push(Failure::run(anyhow!(
                "the memory of the command is not known, so there is no summary"
            ))),
            Some(summary) => {
                failures.extend(self.show(summary, global).err());
                failures.extend(self.write(summary).err());
            }
        }
        failures.extend(recorder.and_then(|recorder| recorder.record(&run, &finished.passed_on).err()));
        for failure in &failures {
            say(&format!("error: {failure}"));
        }
        if let Some(failure) = &run.failure {
            say(&format!("error: {failure}"));
        }
        self.exit_of(&run, finished, summary.filter(|_| failures.is_empty()))
    }

    fn show(&self, summary: &Summary, global: &Global) -> Result<()> {
        match self.format {
            Format::Json => print(&summary.to_json()),
            Format::Table => print(&table::render(&page(&summary.document()), global.color.table_style())),
        }
    }

    fn write(&self, summary: &Summary) -> Result<()> {
        if self.no_file {
            return Ok(());
        }
        let path = summary.write(&self.output_dir).map_err(Failure::run)?;
        say(&format!("wrote {}", path.display()));
        Ok(())
    }

    /// Lets the command's own failure pass through. `delivered` is the summary of a run of which everything was kept.
    fn exit_of(&self, run: &CommandRun, finished: &Finished, delivered: Option<Summary>) -> Exit {
        match (&run.failure, delivered) {
            (None, Some(summary)) => {
                let broken = self.broken_limits(&summary.document());
                broken.iter().for_each(|limit| say(&format!("error: {limit}")));
                if broken.is_empty() { Exit::Pass } else { Exit::NotReproduced }
            }
            (None | Some(CommandFailure::Rows(_)), _) => Exit::RunFailed,
            (Some(_), _) => Exit::Command(finished.exit_code()),
        }
    }

    /// Says which limits the figures are over, as they are published.
    fn broken_limits(&self, document: &SummaryDocument) -> Vec<String> {
        [
            ("elapsed_sec", document.elapsed_sec, "s", "--max-elapsed", self.max_elapsed),
            ("peak_memory_mb", document.peak_memory_mb, "MB", "--max-memory", self.max_memory),
        ]
        .into_iter()
        .filter_map(|(key, figure, unit, option, limit)| {
            let limit = limit.filter(|limit| figure > *limit)?;
            Some(format!("{key} is {figure} {unit}, and `{option}` permits {limit} {unit}"))
        })
        .collect()
    }
}

fn page(document: &SummaryDocument) -> Page {
    let SummaryDocument { run_id, elapsed_sec, rows_used, peak_memory_mb } = document;
    let rows = rows_used.map_or_else(|| "not known".to_owned(), |rows| rows.to_string());
    let facts = [
        ("run_id", run_id.clone()),
        ("elapsed_sec", format!("{elapsed_sec:.3} s")),
        ("rows_used", rows),
        ("peak_memory_mb", format!("{peak_memory_mb:.1} MB")),
    ];
    let fact = |(name, words): (&str, String)| (name.to_owned(), Text { words, tone: Tone::Plain });
    Page(vec![Block::Facts(facts.into_iter().map(fact).collect())])
}
