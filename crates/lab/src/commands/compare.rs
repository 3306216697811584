//! `lab compare`: does one session change what another measured?

use clap::{Args, ValueEnum};
use lab_compare::Policy;
use lab_compare::pairs::are_sides;
use lab_core::experiment::Side;
use lab_core::fingerprint::PartKind;
use lab_core::plan::GateSpec;
use lab_core::record::Session;
use lab_core::report::{Conclusion, Refusal, Report, Rule};
use lab_core::validity::{RULES, find};
use lab_formats::{page, report_json, table};
use lab_runner::Decision;

use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::store;
use crate::terminal::{Format, print};

use super::gate;

const EXAMPLES: &str = "\
Examples:
  lab compare @latest~1 @latest
  lab compare @main @latest                        with the session that `lab baseline set main` named
  lab compare 5f0c21aa 9b3e77d0 --format json
  lab compare @latest~1 @latest --vary engine
  lab compare @latest~1 @latest --rule contract --admit steal

Sessions whose model, plan, backend, hardware or engine differ in any identity field are refused, but for the one part that
`--vary` declares. Repetitions that something may have disturbed keep from a verdict (`lab rules` explains the rules). Exit
status: 0 equivalent (or improved, with `--vary`), 1 regressed or not reproduced, 3 inconclusive, 4 refused.";

/// What `lab compare` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session compared with: an id, a part of one that is unique, `@latest`, `@latest~1`, `@NAME` of a baseline.
    baseline: String,
    /// The session under judgement.
    candidate: String,
    /// The part of the fingerprint that is meant to differ; all others must be equal.
    #[arg(long, value_name = "PART", value_parser = part)]
    vary: Option<PartKind>,
    /// What decides: the interval of the change, or the contract's rule of means.
    #[arg(long, value_name = "RULE", default_value = "interval")]
    rule: DecidingRule,
    /// Give a verdict although this rule of validity made repetitions suspect; can be repeated.
    #[arg(long, value_name = "RULE", value_parser = rule)]
    admit: Vec<String>,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let store = store::open(global)?;
    let baseline = store::load(&store, &arguments.baseline)?;
    let candidate = store::load(&store, &arguments.candidate)?;
    let gate = gate_of(&baseline, &candidate);
    let policy = Policy {
        rule: arguments.rule.into(),
        vary: arguments.vary,
        admitted: admitted(&gate, &arguments.admit),
        gate,
        ..store::policy(&store, &baseline.header, Some(&candidate.header))?
    };
    let report = lab_compare::compare(&baseline, &candidate, &policy);
    show(&report, arguments.format, global)?;
    Ok(exit_of_report(&report))
}

/// Joins the rules that a plan admits with those that the user does.
pub(crate) fn admitted(plan: &GateSpec, further: &[String]) -> Vec<String> {
    let further = further.iter().filter(|rule| !plan.admit.contains(rule));
    plan.admit.iter().chain(further).cloned().collect()
}

/// Sides of one experiment were measured under the policy of A's plan, and are compared by it again; other sessions by none.
fn gate_of(baseline: &Session, candidate: &Session) -> GateSpec {
    let is_a = |own: &&Session| own.header.experiment.as_ref().is_some_and(|own| own.side == Side::A);
    let a = [baseline, candidate].into_iter().find(is_a);
    match a {
        Some(a) if are_sides(baseline, candidate) => gate::policy_of(a),
        _ => GateSpec::default(),
    }
}

/// Returns the status that a comparison of two sessions ends with.
pub(crate) fn exit_of_report(report: &Report) -> Exit {
    match report.conclusion {
        // Where nothing was to differ, better is not the same either.
        Conclusion::Improved if report.vary.is_none() => Exit::NotReproduced,
        conclusion => exit_of(conclusion),
    }
}

/// Prints a report.
pub(crate) fn show(report: &Report, format: Format, global: &Global) -> Result<()> {
    match format {
        Format::Json => print(&report_json::to_text(report)),
        Format::Table => print(&table::render(&page::report(report), global.color.table_style())),
    }
}

/// Returns the status that a conclusion ends a command with.
pub(crate) const fn exit_of(conclusion: Conclusion) -> Exit {
    match conclusion {
        Conclusion::Equivalent | Conclusion::Improved | Conclusion::Reproduced => Exit::Pass,
        Conclusion::Regressed | Conclusion::NotReproduced => Exit::NotReproduced,
        Conclusion::Inconclusive => Exit::Inconclusive,
        Conclusion::Refused => Exit::Refused,
    }
}

/// Returns whether more launches could change nothing about what is concluded: where it is decided or refused, and where suspect
/// repetitions keep from every verdict. Where none has counted yet, the next one may. What the contract's rule says is asked once, at the end: it has no interval that would
/// hold over several looks.
pub(crate) fn decision(report: &Report) -> Decision {
    let is_suspect = report.suspicions.iter().any(|own| !own.energy_only);
    let is_missing = |own: &Refusal| matches!(own, Refusal::NothingCompleted { .. });
    match report.conclusion {
        Conclusion::Refused if report.refusals.iter().all(is_missing) => Decision::Continue,
        Conclusion::Equivalent | Conclusion::Improved | Conclusion::Regressed | Conclusion::Refused => {
            Decision::Stop
        }
        Conclusion::Inconclusive if is_suspect => Decision::Stop,
        Conclusion::Inconclusive | Conclusion::Reproduced | Conclusion::NotReproduced => Decision::Continue,
    }
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecidingRule {
    /// The interval of the change.
    Interval,
    /// The contract's rule: the change of means lies within the tolerance.
    Contract,
}

impl From<DecidingRule> for Rule {
    fn from(rule: DecidingRule) -> Self {
        match rule {
            DecidingRule::Interval => Self::Interval,
            DecidingRule::Contract => Self::Contract,
        }
    }
}

pub(crate) fn part(name: &str) -> std::result::Result<PartKind, String> {
    let names = || PartKind::ALL.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let found = PartKind::ALL.iter().find(|part| part.to_string() == name);
    found.copied().ok_or_else(|| format!("the parts are {}", names()))
}

pub(crate) fn rule(id: &str) -> std::result::Result<String, String> {
    match find(id) {
        Some(rule) => Ok(rule.id.to_owned()),
        None => Err(format!(
            "known rules are {}",
            RULES.iter().map(|rule| rule.id).collect::<Vec<_>>().join(", ")
        )),
    }
}
