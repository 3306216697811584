//! `lab compare`: does one session reproduce another?

use clap::Args;
use lab_compare::Policy;
use lab_core::report::Conclusion;
use lab_core::validity::{RULES, find};
use lab_formats::{page, report_json, table};

use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::store;
use crate::terminal::{Format, print};

const EXAMPLES: &str = "\
Examples:
  lab compare @latest~1 @latest
  lab compare 5f0c21aa 9b3e77d0 --format json
  lab compare @latest~1 @latest --admit steal

Sessions whose model, plan, backend, hardware or engine differ in any identity field are refused; there is no way
around it. Repetitions that something may have disturbed keep from a verdict (`lab rules` explains the rules). Exit status:
0 reproduced, 1 not reproduced, 3 inconclusive, 4 refused.";

/// What `lab compare` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session compared with: an id, a part of one that is unique, `@latest`, `@latest~1`, …
    baseline: String,
    /// The session under judgement.
    candidate: String,
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
    let report = lab_compare::compare(&baseline, &candidate, &Policy { admitted: arguments.admit.clone() });
    match arguments.format {
        Format::Json => print(&report_json::to_text(&report))?,
        Format::Table => print(&table::render(&page::report(&report), global.color.table_style()))?,
    }
    Ok(match report.conclusion {
        Conclusion::Reproduced => Exit::Pass,
        Conclusion::NotReproduced => Exit::NotReproduced,
        Conclusion::Inconclusive => Exit::Inconclusive,
        Conclusion::Refused => Exit::Refused,
    })
}

fn rule(id: &str) -> std::result::Result<String, String> {
    match find(id) {
        Some(rule) => Ok(rule.id.to_owned()),
        None => Err(format!(
            "known rules are {}",
            RULES.iter().map(|rule| rule.id).collect::<Vec<_>>().join(", ")
        )),
    }
}
