//! `lab check`: does one session keep to its limits?

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use lab_core::limit::Limit;
use lab_core::metric::Contract;
use lab_core::plan::PlanFile;
use lab_core::record::Session;
use lab_formats::{check_json, page, table};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::terminal::{Format, print};
use crate::{plan_file, store};

const EXAMPLES: &str = "\
Examples:
  lab check @latest
  lab check 5f0c21aa --plan plans/workflow.toml

No baseline takes part: `[limits]` of a plan are demands on every repetition that counts, and the worst one decides. Exit
status: 0 every limit holds, 1 one is broken or has no value to be held against, 2 there is no limit.";

/// What `lab check` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session: an id, a part of one that is unique, `@latest`, `@latest~1`, `@NAME` of a baseline.
    session: String,
    /// The plan whose limits are asked about, in place of those that the session was recorded with.
    #[arg(long, value_name = "PLAN")]
    plan: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let plan = arguments.plan.as_deref().map(|path| plan_file::load_any(path, global.color)).transpose()?;
    let store = store::open(global)?;
    let session = store::load(&store, &arguments.session)?;
    let limits = match &plan {
        Some(plan) => limits_of(plan, &session)?,
        None => session.header.limits.clone(),
    };
    if limits.is_empty() {
        let whose = if plan.is_some() { "the plan" } else { "the session's plan" };
        // No other ready plan has limits, and this one is of one contract.
        let hint = match session.header.work.contract() {
            Contract::WorkflowV1 => {
                "add `[limits]` to a plan, or try `--plan plans/workflow.toml` (docs/plans.md)"
            }
            _ => "add `[limits]` to a plan, and name it with `--plan` (docs/plans.md)",
        };
        return Err(Failure::usage(anyhow!("{whose} sets no limit")).hint(hint));
    }
    let check = lab_compare::check::check(&session, &limits);
    match arguments.format {
        Format::Json => print(&check_json::to_text(&check))?,
        Format::Table => print(&table::render(&page::check(&check), global.color.table_style()))?,
    }
    Ok(if check.passed { Exit::Pass } else { Exit::NotReproduced })
}

/// A plan of another contract speaks of metrics that the session cannot have.
fn limits_of(plan: &PlanFile, session: &Session) -> Result<Vec<(String, Limit)>> {
    let (asked, own) = (plan.contract(), session.header.work.contract());
    if asked != own {
        return Err(Failure::usage(anyhow!("the plan is of contract {asked} and the session of {own}"))
            .hint("`--plan` takes a plan of the session's contract"));
    }
    Ok(plan.limits().clone().into_iter().collect())
}
