//! `lab list`: what is in the store.

use clap::Args;
use lab_core::metric::Contract;
use lab_formats::list_json::{self, ListRow, ListedFigure};
use lab_formats::{page, table};
use lab_store::{ListFilter, SessionRow};

use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::store;
use crate::terminal::{Format, print, say};

/// What `lab list` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lab list\n  lab list --limit 100 --format json")]
pub(crate) struct Arguments {
    /// Shows at most this many sessions, the newest ones.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let store = store::open(global)?;
    // One more than is shown tells whether there are more.
    let mut rows = store.list(&ListFilter { limit: Some(arguments.limit.saturating_add(1)) })?;
    let shown = arguments.limit as usize;
    if rows.len() > shown {
        rows.truncate(shown);
        say(&format!("the {shown} newest sessions; `--limit N` shows more"));
    }
    let rows: Vec<ListRow> = rows.into_iter().map(row).collect();
    match arguments.format {
        Format::Json => print(&list_json::to_text(&rows))?,
        Format::Table => print(&table::render(&page::sessions(&rows), global.color.table_style()))?,
    }
    Ok(Exit::Pass)
}

/// Returns what a list shows of a session.
pub(crate) fn row(row: SessionRow) -> ListRow {
    let SessionRow {
        id,
        short_id,
        started_at,
        plan_name,
        model_name,
        status,
        completed,
        invalid,
        repeat,
        listed,
        fingerprint,
    } = row;
    let listed = listed.map(|own| ListedFigure { metric: own.metric, mean: own.mean });
    let speed = listed.as_ref().filter(|own| own.metric == Contract::EngineV0_1.listed_metric());
    ListRow {
        id: id.to_string(),
        short_id,
        started_at: started_at.to_string(),
        plan: plan_name,
        model: model_name,
        status,
        completed: completed as usize,
        invalid: invalid as usize,
        asked: repeat,
        tokens_per_sec_mean: speed.and_then(|own| own.mean),
        listed,
        fingerprint,
    }
}
