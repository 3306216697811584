//! Plans that run a command: what is run, how often, and what is demanded of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use schemars::Schema;
use toml::Spanned;

use super::check::{
    Complaints, GREATEST_SEED, at_least_one, check_cores, check_name, check_timeout, check_tolerances,
    check_version, complaint,
};
use super::gate::check_gate;
use super::limit::check_limits;
use super::{GateSpec, PlanError, PlanErrors, raw};
use crate::command::RowsSource;
use crate::limit::Limit;
use crate::metric::{Contract, Metric};
use crate::tolerance::Tolerance;

/// Measured repetitions when the plan names none: as many as of an engine.
const DEFAULT_REPEAT: u32 = 5;
/// A tenth of a second: what contract `smoke.v1` has where nothing else is said.
const DEFAULT_INTERVAL_S: f64 = 0.1;
/// More often, and looking takes a share of the time that shows; more seldom, and nothing is looked at in the runs that this
/// is for.
const INTERVALS_S: std::ops::RangeInclusive<f64> = 0.001..=60.0;
/// How a command finds where to report its rows: lab sets them.
const RESERVED: [&str; 2] = ["LAB_ROWS_FILE", "LAB_ROWS_FD"];

/// What is run, how often, and what is demanded of it.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandPlan {
    /// Short name, shown everywhere.
    pub name: String,
    /// A sentence for people; empty when absent.
    pub description: String,
    /// What is run.
    pub command: CommandSpec,
    /// How often and under which limits.
    pub run: CommandLimits,
    /// Tolerances, by full metric id.
    pub tolerances: BTreeMap<String, Tolerance>,
    /// Limits, by full metric id.
    pub limits: BTreeMap<String, Limit>,
    /// What a gate demands.
    pub gate: GateSpec,
    /// The file's text, byte for byte.
    pub text: String,
}

/// What is run, and how it is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandSpec {
    /// The program, then its arguments; at least the program.
    pub program: Vec<String>,
    /// Where its number of rows comes from.
    pub rows: RowsSource,
    /// CPU numbers it may run on; all of the harness's own when absent.
    pub cores: Option<Vec<u32>>,
    /// What its environment has besides what every command gets.
    pub environment: BTreeMap<String, String>,
    /// Time between two looks at its memory.
    pub interval: Duration,
}

/// How often a command is run, and under which limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLimits {
    /// Measured repetitions, at least one.
    pub repeat: u32,
    /// Runs in front of the measured ones.
    pub warmup: u32,
    /// How long one run may take.
    pub timeout: Duration,
}

impl CommandPlan {
    /// Parses a plan that runs a command.
    ///
    /// # Errors
    ///
    /// Everything wrong that can be told at once, each complaint with the bytes it is about.
    pub fn parse(text: &str) -> Result<Self, PlanErrors> {
        let raw: raw::CommandPlan = toml::from_str(text).map_err(|error| PlanErrors::from_toml(&error))?;
        check(raw, text)
    }

    /// Returns the tolerance that applies to a metric: the plan's, or else the metric table's.
    pub fn tolerance(&self, metric: &Metric) -> Option<Tolerance> {
        self.tolerances.get(&metric.id()).copied().or(metric.tolerance)
    }

    /// Returns the JSON Schema of the plan file.
    pub fn schema() -> Schema {
        schemars::schema_for!(raw::CommandPlan)
    }
}

fn check(raw: raw::CommandPlan, text: &str) -> Result<CommandPlan, PlanErrors> {
    let raw::CommandPlan { version, name, description, command, run, tolerances, limits, gate } = raw;
    let mut complaints = Complaints::default();
    complaints.keep(check_version(&version));
    let name = complaints.keep(check_name(&name, "plan name"));
    let command = check_command(command, &mut complaints);
    let run = check_run(run, &mut complaints);
    let tolerances = check_tolerances(tolerances, Contract::SmokeV1, &mut complaints);
    let limits = check_limits(limits, Contract::SmokeV1, &mut complaints);
    let gate = complaints.keep(check_gate(gate, Contract::SmokeV1, &tolerances));
    let parts = || {
        let (name, command, run, gate) = (name?, command?, run?, gate?);
        Some(CommandPlan { name, description, command, run, tolerances, limits, gate, text: text.to_owned() })
    };
    match parts() {
        Some(plan) if complaints.0.is_empty() => Ok(plan),
        _ => Err(PlanErrors(complaints.0)),
    }
}

fn check_command(command: raw::Command, complaints: &mut Complaints) -> Option<CommandSpec> {
    let raw::Command { run, rows, rows_from, rows_reported, cores, environment, interval_s } = command;
    let at = run.span();
    let program = complaints.keep(check_program(run));
    let rows = complaints.keep(check_rows(rows, rows_from, rows_reported, at));
    let cores = cores.map(|cores| complaints.keep(check_cores(cores)));
    let environment = check_environment(environment, complaints);
    let interval = complaints.keep(check_interval(interval_s));
    Some(CommandSpec {
        program: program?,
        rows: rows?,
        cores: cores.flatten(),
        environment,
        interval: interval?,
    })
}

fn check_program(run: Spanned<Vec<String>>) -> Result<Vec<String>, PlanError> {
    if run.get_ref().first().is_none_or(String::is_empty) {
        return Err(complaint(run.span(), "`run` names no program", None));
    }
    if run.get_ref().iter().any(|word| word.contains('\0')) {
        return Err(complaint(
            run.span(),
            "a word of `run` has a NUL in it, which no program can be given",
            None,
        ));
    }
    Ok(run.into_inner())
}

/// `rows_reported = false` says nothing.
fn check_rows(
    rows: Option<Spanned<u64>>,
    from: Option<Spanned<String>>,
    reported: Option<Spanned<bool>>,
    at: Range<usize>,
) -> Result<RowsSource, PlanError> {
    let is_reported = reported.as_ref().is_some_and(|own| *own.get_ref());
    let help = "`rows = N`, `rows_from = \"FILE\"` (CSV, JSON lines, Parquet) or `rows_reported = true`";
    match (rows, from, is_reported) {
        (Some(rows), None, false) if *rows.get_ref() > GREATEST_SEED => {
            Err(complaint(rows.span(), format!("`rows` is above 2^53 = {GREATEST_SEED}"), None))
        }
        (Some(rows), None, false) => Ok(RowsSource::Given(rows.into_inner())),
        (None, Some(file), false) if file.get_ref().is_empty() => {
            Err(complaint(file.span(), "`rows_from` names no file", None))
        }
        (None, Some(file), false) => Ok(RowsSource::File(file.into_inner())),
        (None, None, true) => Ok(RowsSource::Reported),
        (None, None, false) => Err(complaint(at, "nothing says how many rows the command uses", Some(help))),
        _ => Err(complaint(at, "the rows of the command come from exactly one source", Some(help))),
    }
}

fn check_environment(
    environment: BTreeMap<Spanned<String>, Spanned<String>>,
    complaints: &mut Complaints,
) -> BTreeMap<String, String> {
    let mut checked = BTreeMap::new();
    for (name, value) in environment {
        if let Some((name, value)) = complaints.keep(check_variable(name, value)) {
            checked.insert(name, value);
        }
    }
    checked
}

fn check_variable(name: Spanned<String>, value: Spanned<String>) -> Result<(String, String), PlanError> {
    let text = name.get_ref();
    if text.is_empty() || text.contains(['=', '\0']) {
        return Err(complaint(
            name.span(),
            format!("`{}` is no name of a variable", text.escape_debug()),
            None,
        ));
    }
    if RESERVED.contains(&text.as_str()) {
        let message = format!("`{text}` is lab's to set");
        return Err(complaint(name.span(), message, Some("`rows_reported = true` has it set")));
    }
    if value.get_ref().contains('\0') {
        let message = format!("the value of `{text}` has a NUL in it, which no program can be given");
        return Err(complaint(value.span(), message, None));
    }
    Ok((name.into_inner(), value.into_inner()))
}

fn check_interval(seconds: Option<Spanned<f64>>) -> Result<Duration, PlanError> {
    match seconds {
        None => Ok(Duration::from_secs_f64(DEFAULT_INTERVAL_S)),
        Some(own) if INTERVALS_S.contains(own.get_ref()) => Ok(Duration::from_secs_f64(own.into_inner())),
        Some(own) => {
            let message = format!("`interval_s` is {}, and lies between 0.001 and 60", own.get_ref());
            Err(complaint(own.span(), message, None))
        }
    }
}

fn check_run(run: raw::CommandRun, complaints: &mut Complaints) -> Option<CommandLimits> {
    let raw::CommandRun { repeat, warmup, timeout_s } = run;
    let repeat = match repeat {
        None => Some(DEFAULT_REPEAT),
        Some(repeat) => complaints.keep(at_least_one(&repeat, "repeat")),
    };
    let timeout = complaints.keep(check_timeout(timeout_s, "timeout_s"));
    Some(CommandLimits { repeat: repeat?, warmup, timeout: timeout? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::find;

    const PLAN: &str = r#"
version = 1
name = "train"
description = "trains on the fixture"

[command]
run = ["python3", "train.py", "--epochs", "1"]
rows_from = "data.csv"
cores = [1, 0]
interval_s = 0.05

[command.environment]
OMP_NUM_THREADS = "1"

[run]
repeat = 3
warmup = 1
timeout_s = 60

[tolerances]
elapsed_sec = { percent = 5 }
peak_memory_mb = { absolute = 10 }

[gate]
metrics = ["elapsed_sec"]
"#;

    fn complaint_about(from: &str, to: &str) -> String {
        assert!(PLAN.contains(from), "the plan has no `{from}`");
        let errors = CommandPlan::parse(&PLAN.replacen(from, to, 1)).unwrap_err();
        format!("{:?}", errors.0)
    }

    #[test]
    fn a_plan_says_what_is_run_how_often_and_what_is_demanded() {
        let plan = CommandPlan::parse(PLAN).unwrap();
        let CommandSpec { program, rows, cores, environment, interval } = &plan.command;
        assert_eq!((program.len(), program[0].as_str()), (4, "python3"));
        assert_eq!(rows, &RowsSource::File("data.csv".to_owned()));
        assert_eq!(cores, &Some(vec![0, 1]));
        assert_eq!(environment["OMP_NUM_THREADS"], "1");
        assert_eq!(*interval, Duration::from_millis(50));
        let limits = CommandLimits { repeat: 3, warmup: 1, timeout: Duration::from_secs(60) };
        assert_eq!(plan.run, limits);
        let tolerance = |name| plan.tolerance(find(name).unwrap());
        assert_eq!(tolerance("smoke.v1/elapsed_sec"), Some(Tolerance::Relative(0.05)));
        assert_eq!(tolerance("smoke.v1/peak_memory_mb"), Some(Tolerance::Absolute(10.0)));
        assert_eq!(tolerance("smoke.v1/rows_used"), None);
        assert_eq!(plan.gate.metrics, Some(vec!["smoke.v1/elapsed_sec".to_owned()]));
        assert_eq!(plan.text, PLAN);
    }

    #[test]
    fn what_is_left_out_is_as_the_contract_has_it() {
        let text = "version = 1\nname = \"c\"\n[command]\nrun = [\"true\"]\nrows = 0\n";
        let plan = CommandPlan::parse(text).unwrap();
        let limits = CommandLimits { repeat: 5, warmup: 0, timeout: Duration::from_secs(600) };
        assert_eq!(plan.run, limits);
        assert_eq!(plan.command.rows, RowsSource::Given(0));
        assert_eq!(plan.command.interval, Duration::from_millis(100));
        assert!(plan.command.cores.is_none() && plan.command.environment.is_empty());
        let reported = text.replace("rows = 0", "rows_reported = true");
        assert_eq!(CommandPlan::parse(&reported).unwrap().command.rows, RowsSource::Reported);
    }

    #[test]
    fn rows_come_from_exactly_one_source() {
        let nothing = "nothing says how many rows the command uses";
        let several = "come from exactly one source";
        for (to, expected) in [
            ("", nothing),
            ("rows_reported = false", nothing),
            ("rows = 1\nrows_reported = true", several),
            ("rows = 1\nrows_from = \"a.csv\"", several),
            ("rows_from = \"a.csv\"\nrows_reported = true", several),
            ("rows_from = \"\"", "names no file"),
            ("rows = -1", "-1"),
            ("rows = 9007199254740993", "above 2^53"),
        ] {
            let told = complaint_about("rows_from = \"data.csv\"", to);
            assert!(told.contains(expected), "{to}: {told}");
        }
    }

    #[test]
    fn mistakes_are_told_with_what_is_near() {
        for (from, to, expected) in [
            ("[\"python3\", \"train.py\", \"--epochs\", \"1\"]", "[]", "names no program"),
            ("\"python3\"", "\"\"", "names no program"),
            ("run = [", "runs = [", "did you mean `run`?"),
            ("cores = [1, 0]", "cores = []", "names no core"),
            ("interval_s = 0.05", "interval_s = 0", "lies between 0.001 and 60"),
            ("interval_s = 0.05", "interval_s = nan", "lies between 0.001 and 60"),
            ("OMP_NUM_THREADS", "\"A=B\"", "is no name of a variable"),
            ("OMP_NUM_THREADS", "LAB_ROWS_FD", "is lab's to set"),
            ("repeat = 3", "repeat = 0", "must be at least 1"),
            ("timeout_s = 60", "timeout_s = 0", "must be at least 1"),
            ("[run]", "[run]\nisolation = \"launch\"", "unknown field `isolation`"),
            (
                "elapsed_sec = {",
                "tokens_per_sec = {",
                "a metric of contract engine.v0.1, and the plan of smoke.v1",
            ),
            ("[\"elapsed_sec\"]", "[\"rows_used\"]", "no tolerance"),
            ("name = \"train\"", "name = \"Train\"", "no plan name"),
            ("[gate]", "[model]\nname = \"m\"\n[gate]", "unknown field `model`"),
        ] {
            let told = complaint_about(from, to);
            assert!(told.contains(expected), "{to}: {told}");
        }
    }
}
