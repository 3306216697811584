//! `lab plan check` of a plan that runs a command.

use std::path::Path;

use lab_core::command::RowsSource;
use lab_core::metric::{Contract, Metric};
use lab_core::plan::CommandPlan;
use lab_formats::command_check::{
    self, COMMAND_CHECK_SCHEMA, CommandBlock, CommandCheckDocument, CommandRunBlock, RowsBlock,
};
use lab_formats::plan_check::ToleranceRow;
use lab_formats::{page, table};
use lab_host::cpu;

use super::{CheckArguments, Obstacles};
use crate::backend::{self, Backend};
use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::subject::{Program, Rows};
use crate::terminal::{Format, print};
use crate::{command_plan, plan_file};

pub(super) fn carry_out(plan: &CommandPlan, arguments: &CheckArguments, global: &Global) -> Result<Exit> {
    let roots = global.roots()?;
    let folder = plan_file::folder(&arguments.plan);
    let mut obstacles = Obstacles { problems: Vec::new(), exit: Exit::Pass };
    let spec = &plan.command;
    let program = obstacles.keep(command_plan::find(plan, &folder));
    let rows = obstacles.keep(Rows::count(spec.rows.clone(), &folder));
    let cpu = cpu::probe(&roots);
    let backend = obstacles.keep(backend::of_command(spec.cores.as_deref(), &spec.environment, &roots, &cpu));
    let document = CommandCheckDocument {
        schema: COMMAND_CHECK_SCHEMA,
        plan: plan.name.clone(),
        description: plan.description.clone(),
        runnable: obstacles.problems.is_empty(),
        problems: obstacles.problems,
        command: command_block(plan, &folder, program.as_ref(), backend.as_ref()),
        rows: RowsBlock { source: source_words(&spec.rows), known: rows.and_then(|rows| rows.known) },
        run: CommandRunBlock {
            warmups: plan.run.warmup,
            measured: plan.run.repeat,
            timeout_s: plan.run.timeout.as_secs(),
            interval_s: spec.interval.as_secs_f64(),
        },
        tolerances: tolerance_rows(plan),
    };
    match arguments.format {
        Format::Json => print(&command_check::to_text(&document))?,
        Format::Table => print(&table::render(&page::command_check(&document), global.color.table_style()))?,
    }
    Ok(obstacles.exit)
}

fn command_block(
    plan: &CommandPlan,
    folder: &Path,
    program: Option<&Program>,
    backend: Option<&Backend>,
) -> CommandBlock {
    CommandBlock {
        words: plan.command.program.clone(),
        folder: folder.display().to_string(),
        path: program.map(|program| program.path.display().to_string()),
        build: program.and_then(|program| program.build).map(|digest| digest.to_string()),
        script: program.and_then(|program| program.script).map(|digest| digest.to_string()),
        cores: backend.map(|backend| backend.part.cores.clone()),
        environment: backend.map(|backend| backend.environment.keys().cloned().collect()).unwrap_or_default(),
    }
}

fn source_words(source: &RowsSource) -> String {
    match source {
        RowsSource::Given(_) => "given".to_owned(),
        RowsSource::File(file) => format!("counted in {file}"),
        RowsSource::Reported => "reported by the command".to_owned(),
    }
}

fn tolerance_rows(plan: &CommandPlan) -> Vec<ToleranceRow> {
    let row = |metric: &'static Metric| {
        let tolerance = plan.tolerance(metric)?.to_string();
        Some(ToleranceRow { metric: metric.id(), tolerance, unofficial: false })
    };
    Contract::SmokeV1.metrics().filter_map(row).collect()
}
