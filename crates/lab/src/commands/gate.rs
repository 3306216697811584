//! `lab gate`: may this candidate pass?

mod self_test;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use lab_compare::{Policy, gate};
use lab_core::fingerprint::PartKind;
use lab_core::gate::Gate;
use lab_core::plan::{GateSpec, PlanFile};
use lab_core::record::Session;
use lab_core::report::Conclusion;
use lab_formats::{gate_json, github, junit, markdown, page, table};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::store;
use crate::terminal::{print, say};

use super::compare::{self, DecidingRule};

const EXAMPLES: &str = "\
Examples:
  lab gate --baseline main --vary engine                 the newest session against a pinned one
  lab gate --baseline main --candidate 5f0c21aa --format junit > gate.xml
  lab gate --self-test                                   can this gate fire at all?

What passes is the baseline's plan to say (`[gate]`). Exit status: 0 passed, 1 regressed, 3 inconclusive, 4 refused, 70 the
gate could not fire.";

/// What `lab gate` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session compared with: the name of a baseline, `@latest~1`, or an id, at least the eight digits of a listing.
    #[arg(long, value_name = "NAME", required_unless_present = "self_test")]
    baseline: Option<String>,
    /// The session under judgement.
    #[arg(long, value_name = "SESSION", default_value = "@latest")]
    candidate: String,
    /// The part of the fingerprint that is meant to differ; all others must be equal.
    #[arg(long, value_name = "PART", value_parser = compare::part)]
    vary: Option<PartKind>,
    /// What decides: the interval of the change, or the contract's rule of means.
    #[arg(long, value_name = "RULE", default_value = "interval")]
    rule: DecidingRule,
    /// Plant a regression that must fail and a pair of equals that must pass, and see that they do.
    #[arg(long, conflicts_with_all = ["baseline", "candidate", "vary", "rule", "format"])]
    self_test: bool,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: GateFormat,
}

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GateFormat {
    /// A table to read.
    Table,
    /// A versioned JSON document.
    Json,
    /// Markdown, for a comment.
    Markdown,
    /// JUnit XML, for a CI server.
    Junit,
    /// Annotations of GitHub Actions, and the step's summary.
    Github,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let Some(baseline) = &arguments.baseline else {
        return self_test::carry_out(global);
    };
    let store = store::open(global)?;
    let baseline = store::load_baseline(&store, baseline)?;
    let candidate = store::load(&store, &arguments.candidate)?;
    if baseline.header.id == candidate.header.id {
        return Err(Failure::usage(anyhow!(
            "the candidate is the baseline itself: session {}",
            baseline.header.id
        ))
        .hint("`--candidate SESSION` names another; has the candidate's `lab run` failed?"));
    }
    let known = store::policy(&store, &baseline.header, Some(&candidate.header))?;
    let gate = judge(&baseline, &candidate, arguments.rule, arguments.vary, known);
    show(&gate, arguments.format, global)?;
    Ok(exit_of(&gate))
}

/// Judges a candidate by the policy of its baseline's plan: no candidate can loosen the gate it stands before. `known` is
/// what the store knows of noise.
fn judge(
    baseline: &Session,
    candidate: &Session,
    rule: DecidingRule,
    vary: Option<PartKind>,
    known: Policy,
) -> Gate {
    let spec = policy_of(baseline);
    let policy =
        Policy { rule: rule.into(), vary, admitted: spec.admit.clone(), gate: spec.clone(), ..known };
    gate::decide(lab_compare::compare(baseline, candidate, &policy), &spec)
}

/// A plan of another version of lab may not read today; the strict policy then stands in.
pub(crate) fn policy_of(baseline: &Session) -> GateSpec {
    let text = &baseline.header.plan_text;
    // Documents may be imported, and commands measured, without a plan.
    if text.is_empty() {
        return GateSpec::default();
    }
    PlanFile::parse(text).map(|plan| plan.gate().clone()).unwrap_or_else(|_| {
        say("note: the baseline's plan does not read in this version of lab; the strict policy holds");
        GateSpec::default()
    })
}

fn show(gate: &Gate, format: GateFormat, global: &Global) -> Result<()> {
    match format {
        GateFormat::Json => print(&gate_json::to_text(gate)),
        GateFormat::Table => print(&table::render(&page::gate(gate), global.color.table_style())),
        GateFormat::Markdown => print(&markdown::render(&page::gate(gate))),
        GateFormat::Junit => print(&junit::to_text(gate)),
        GateFormat::Github => {
            print(&github::to_text(gate))?;
            summarise(gate);
            Ok(())
        }
    }
}

/// Appends the report to the step's summary, where GitHub asks for one. Without it the verdict is still the verdict.
fn summarise(gate: &Gate) {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return };
    let path = PathBuf::from(path);
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    let written = opened.and_then(|mut file| file.write_all(markdown::render(&page::gate(gate)).as_bytes()));
    if let Err(error) = written {
        say(&format!("note: cannot write the step's summary to `{}`: {error}", path.display()));
    }
}

fn exit_of(gate: &Gate) -> Exit {
    match (gate.passed, gate.report.conclusion) {
        (true, _) => Exit::Pass,
        (false, Conclusion::Inconclusive) => Exit::Inconclusive,
        (false, Conclusion::Refused) => Exit::Refused,
        (false, _) => Exit::NotReproduced,
    }
}

/// A gate that cannot fire is a mistake of lab's own, or of whoever changed it.
fn cannot_fire(why: &str) -> Failure {
    Failure::with(Exit::Bug, anyhow!("the gate is broken: {why}"))
}
