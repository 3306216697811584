//! The command line.

use clap::{Parser, Subcommand};

use crate::BuiltIn;
use crate::commands::{
    ab, baseline, calibrate, check, compare, completions, devices, doctor, engine, export, gate, history,
    import, launch_engine, list, man, measure, metrics, overhead, plan, rules, run, schemas, show, store,
    supervise, verify, watch,
};
use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;

const EXAMPLES: &str = "\
Examples:
  lab run plans/quickstart.toml --repeat 5     measure, and store the session
  lab list                                     what is in the store
  lab compare @latest~1 @latest                does the newest session differ from the one before?
  lab ab plans/quickstart.toml --engine-b PATH is another build of lab faster or slower?
  lab history quickstart                       one metric over all sessions of a plan
  lab show @latest                             one session in full
  lab baseline set main                        call the newest session `@main`, to compare others with
  lab import device metrics/                   take in what edge devices measured; `lab devices` shows it
  lab watch mqtt://broker                      take in what devices publish
  lab plan check plans/llama3.toml             what a plan would do, before it does it
  lab measure --rows 100 -- python3 train.py   time, rows and memory of any command
  lab doctor                                   what this host can and cannot measure

Exit status: 0 pass, 1 regressed, not reproduced or over a limit, 2 usage or plan error, 3 inconclusive, 4 refused, 5 the run failed, 70 a bug in lab.
`lab measure` ends as its command does.";

/// A reproducible benchmark laboratory for LLM inference.
///
/// lab measures a plan N times, records every raw sample with the identity of everything that produced it, judges two
/// recordings against tolerances, and refuses to judge what is not comparable.
#[derive(Debug, Parser)]
#[command(name = "lab", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    /// Ends with the process of this number, which must have started this one; given by lab itself.
    #[arg(long, global = true, hide = true, value_name = "PID")]
    pub(crate) ends_with: Option<u32>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Carry out a plan and store the session.
    Run(run::Arguments),
    /// Run any command once: how long it took, the rows it used, the memory it needed.
    Measure(measure::Arguments),
    /// Ask whether one session changes what another measured.
    Compare(compare::Arguments),
    /// Measure two sides together, pair by pair, until it is decided whether they differ.
    Ab(ab::Arguments),
    /// Learn what this host and engine vary by when nothing changes.
    Calibrate(calibrate::Arguments),
    /// Decide whether a candidate may pass, as CI asks.
    Gate(gate::Arguments),
    /// Ask whether one session keeps to its limits, without a baseline.
    Check(check::Arguments),
    /// Take in what another tool measured.
    #[command(
        subcommand,
        after_help = "Examples:\n  lab import workflow metrics.json --plan plans/workflow.toml\n  lab import device metrics/"
    )]
    Import(import::Command),
    /// List the sessions in the store.
    List(list::Arguments),
    /// Show one metric over the sessions of a plan, and where its level changes.
    History(history::Arguments),
    /// Show one session.
    Show(show::Arguments),
    /// Write one session in another format.
    Export(export::Arguments),
    /// Show what was imported of edge devices.
    Devices(devices::Arguments),
    /// Take in what devices publish at an MQTT broker.
    Watch(watch::Arguments),
    /// Give names to the sessions that others are compared with.
    #[command(subcommand, after_help = baseline::EXAMPLES)]
    Baseline(baseline::Command),
    /// Recompute every digest in the store.
    Verify(verify::Arguments),
    /// Say what fills the store, and move old raw data out of it.
    Store(store::Arguments),
    /// Work with plans.
    #[command(subcommand, after_help = "Example:\n  lab plan check plans/llama3.toml")]
    Plan(plan::Command),
    /// Say what this host can and cannot measure.
    Doctor(doctor::Arguments),
    /// Measure what measuring itself costs.
    Overhead(overhead::Arguments),
    /// Print the table of metrics.
    #[command(after_help = "Example:\n  lab metrics > docs/metrics.md")]
    Metrics,
    /// Print the rules of validity: what makes a repetition suspect or invalid.
    #[command(after_help = "Example:\n  lab rules > docs/validity.md")]
    Rules,
    /// Print a completion script for a shell.
    Completions(completions::Arguments),
    /// Print or write the manual pages.
    Man(man::Arguments),
    /// Write the JSON Schemas of every format.
    #[command(hide = true)]
    Schemas(schemas::Arguments),
    /// Be an engine process; started by lab itself.
    #[command(subcommand, hide = true)]
    Engine(engine::Command),
    /// Set the conditions of an engine process and become it; started by lab itself.
    #[command(hide = true)]
    LaunchEngine(launch_engine::Arguments),
    /// Run a command once and answer what was measured; started by lab itself.
    #[command(hide = true)]
    Supervise(supervise::Arguments),
}

impl Command {
    /// Carries the command out.
    pub(crate) fn carry_out(self, global: &Global, built_in: Option<BuiltIn>) -> Result<Exit> {
        match self {
            Self::Run(arguments) => run::carry_out(&arguments, global),
            Self::Measure(arguments) => measure::carry_out(&arguments, global),
            Self::Compare(arguments) => compare::carry_out(&arguments, global),
            Self::Ab(arguments) => ab::carry_out(&arguments, global),
            Self::Calibrate(arguments) => calibrate::carry_out(&arguments, global),
            Self::Gate(arguments) => gate::carry_out(&arguments, global),
            Self::Check(arguments) => check::carry_out(&arguments, global),
            Self::Import(command) => import::carry_out(&command, global),
            Self::List(arguments) => list::carry_out(&arguments, global),
            Self::History(arguments) => history::carry_out(&arguments, global),
            Self::Show(arguments) => show::carry_out(&arguments, global),
            Self::Export(arguments) => export::carry_out(&arguments, global),
            Self::Devices(arguments) => devices::carry_out(&arguments, global),
            Self::Watch(arguments) => watch::carry_out(&arguments, global),
            Self::Baseline(command) => baseline::carry_out(&command, global),
            Self::Verify(arguments) => verify::carry_out(&arguments, global),
            Self::Store(arguments) => store::carry_out(&arguments, global),
            Self::Plan(command) => plan::carry_out(&command, global),
            Self::Doctor(arguments) => doctor::carry_out(&arguments, global),
            Self::Overhead(arguments) => overhead::carry_out(&arguments, global),
            Self::Metrics => metrics::carry_out(),
            Self::Rules => rules::carry_out(),
            Self::Completions(arguments) => completions::carry_out(&arguments),
            Self::Man(arguments) => man::carry_out(&arguments),
            Self::Schemas(arguments) => schemas::carry_out(&arguments),
            Self::Engine(command) => engine::carry_out(&command, built_in),
            Self::LaunchEngine(arguments) => launch_engine::carry_out(&arguments),
            Self::Supervise(arguments) => supervise::carry_out(&arguments),
        }
    }
}
