//! `lab baseline`: names for the sessions that others are compared with.

use std::collections::BTreeMap;

use anyhow::anyhow;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use lab_core::record::{Session, SessionId, SessionStatus};
use lab_core::validity::Validity;
use lab_formats::baseline_json::{self, BaselineRow, ChangeBlock, ShownBaseline};
use lab_formats::list_json::ListRow;
use lab_formats::{page, table};
use lab_store::{BaselineChange, BaselineName, ListFilter, Store, StoreError};

use crate::commands::list::row;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::store;
use crate::terminal::{Format, print, say};

/// Stands below `lab baseline --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  lab baseline set main                 the newest session is called `@main` from now on
  lab compare @main @latest             does the newest session reproduce it?
  lab baseline list

Wherever a session is named, `@NAME` names the one that a baseline stands for.";

const SET_EXAMPLES: &str = "\
Examples:
  lab baseline set main
  lab baseline set release/1.4 5f0c21aa --note \"as shipped\"
  lab baseline set yesterday @latest~3

A name that is set again stands for the other session from then on; what it stood for before stays in its history.
A session that failed, that is unfinished, or that has no repetition that counts is refused with status 2.";

const LIST_EXAMPLES: &str = "\
Examples:
  lab baseline list
  lab baseline list --format json";

const SHOW_EXAMPLES: &str = "\
Examples:
  lab baseline show main
  lab baseline show main --format json
  lab show @main                        the whole session that it stands for";

const REMOVE_EXAMPLES: &str = "\
Example:
  lab baseline remove release/1.4

The session stays, and so does the history of the name.";

/// What `lab baseline` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let a name stand for a session.
    Set(SetArguments),
    /// List the names and their sessions.
    List(ListArguments),
    /// Show one name: its session, the session's main figures, and its history.
    Show(ShowArguments),
    /// Let a name stand for nothing any more.
    Remove(RemoveArguments),
}

/// What `lab baseline set` takes.
#[derive(Debug, Args)]
#[command(after_help = SET_EXAMPLES)]
pub(crate) struct SetArguments {
    /// The name: 1 to 64 of the characters a-z, 0-9, `.`, `_`, `/` and `-`.
    #[arg(value_name = "NAME")]
    name: BaselineName,
    /// The session: an id, a part of one that is unique, `@latest`, `@latest~1`, `@NAME` of a baseline.
    #[arg(default_value = "@latest")]
    session: String,
    /// What there is to say about it.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    note: Option<String>,
}

/// What `lab baseline list` takes.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArguments {
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// What `lab baseline show` takes.
#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub(crate) struct ShowArguments {
    /// The name.
    #[arg(value_name = "NAME")]
    name: BaselineName,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// What `lab baseline remove` takes.
#[derive(Debug, Args)]
#[command(after_help = REMOVE_EXAMPLES)]
pub(crate) struct RemoveArguments {
    /// The name.
    #[arg(value_name = "NAME")]
    name: BaselineName,
}

pub(crate) fn carry_out(command: &Command, global: &Global) -> Result<Exit> {
    match command {
        Command::Set(arguments) => set(arguments, global),
        Command::List(arguments) => list(arguments, global),
        Command::Show(arguments) => show(arguments, global),
        Command::Remove(arguments) => remove(arguments, global),
    }
}

fn set(arguments: &SetArguments, global: &Global) -> Result<Exit> {
    let SetArguments { name, session, note } = arguments;
    let mut store = store::open_existing_for_recording(&global.store)?;
    let session = store::load(&store, session)?;
    let id = session.header.id;
    let short = store.short_id(&id)?;
    if let Some(reason) = unfit(&session) {
        return Err(Failure::usage(anyhow!("session {short} cannot be a baseline: {reason}")));
    }
    let before = store.baseline(name.as_str())?.map(|own| store.short_id(&own.session)).transpose()?;
    store.set_baseline(name, Some(&id), Timestamp::now(), note.as_deref())?;
    let before = before.map(|short| format!(", before it was {short}")).unwrap_or_default();
    say(&format!("`@{name}` is session {short}{before}"));
    reservations(&session).iter().for_each(|note| say(&format!("note: {note}")));
    Ok(Exit::Pass)
}

/// Says why nothing can be compared with a session, if nothing can.
fn unfit(session: &Session) -> Option<&'static str> {
    if session.header.experiment.is_some() {
        return Some(
            "it is one side of an experiment, which compares with the other side alone; `lab run` makes one",
        );
    }
    match session.status() {
        SessionStatus::Failed => Some("it failed, no measured repetition completed"),
        SessionStatus::Unfinished => Some("it is unfinished: it still runs, or it was killed"),
        SessionStatus::Completed | SessionStatus::Incomplete | SessionStatus::Interrupted => {
            match (session.has_usable(), session.succeeded().next()) {
                (true, _) => None,
                (false, None) => Some("no measured repetition completed"),
                (false, Some(_)) => Some("no repetition of it counts, all that completed are invalid"),
            }
        }
    }
}

/// Says what makes a session a worse baseline than it could be.
fn reservations(session: &Session) -> Vec<String> {
    // One that stopped by its plan was asked for no more than it has.
    let is_fixed = session.header.until.is_none();
    let asked = if is_fixed { session.header.repeat as usize } else { session.succeeded().count() };
    let in_turn = session.is_lock_step();
    let counting = session.succeeded().filter(|own| own.counts(in_turn));
    let usable: Vec<&Validity> = counting.filter_map(|own| own.repetition.outcome.validity()).collect();
    let n_suspect = usable.iter().filter(|validity| matches!(validity, Validity::Suspect(_))).count();
    let mut notes = Vec::new();
    if usable.len() < asked {
        notes.push(format!("only {} of {asked} repetitions of it count", usable.len()));
    }
    if session.status() != SessionStatus::Completed {
        notes.push(format!("it is {}, and comparisons with it show a loss or nothing", session.status()));
    }
    if n_suspect > 0 {
        notes.push(format!(
            "{n_suspect} of its repetitions are suspect, which keeps comparisons from a verdict"
        ));
    }
    notes
}

fn list(arguments: &ListArguments, global: &Global) -> Result<Exit> {
    let store = store::open(global)?;
    // Before the sessions: a name that is set meanwhile may stand for one that is recorded meanwhile.
    let baselines = store.baselines()?;
    let sessions = session_rows(&store)?;
    let rows = baselines.into_iter().map(|own| -> Result<BaselineRow> {
        Ok(BaselineRow {
            name: own.name.to_string(),
            set_at: own.set_at.to_string(),
            note: own.note,
            session: row_of(&sessions, own.session)?,
        })
    });
    let rows = rows.collect::<Result<Vec<BaselineRow>>>()?;
    match arguments.format {
        Format::Json => print(&baseline_json::list_to_text(&rows))?,
        Format::Table => print(&table::render(&page::baselines(&rows), global.color.table_style()))?,
    }
    Ok(Exit::Pass)
}

fn show(arguments: &ShowArguments, global: &Global) -> Result<Exit> {
    let store = store::open(global)?;
    let history = store.baseline_history(arguments.name.as_str())?;
    let held = history.first().and_then(|newest| newest.session);
    let session = held.map(|id| store.load(&id)).transpose()?;
    let figures = session.as_ref().map(lab_compare::summarize_session).unwrap_or_default();
    let sessions = session_rows(&store)?;
    let session = held.map(|id| row_of(&sessions, id)).transpose()?;
    let history = history.into_iter().map(|change| change_block(&store, change));
    let history = history.collect::<Result<Vec<ChangeBlock>>>()?;
    let shown = ShownBaseline {
        name: arguments.name.as_str(),
        session: session.as_ref(),
        history: &history,
        figures: &figures,
    };
    match arguments.format {
        Format::Json => print(&baseline_json::to_text(shown))?,
        Format::Table => print(&table::render(&page::baseline(shown), global.color.table_style()))?,
    }
    Ok(Exit::Pass)
}

fn remove(arguments: &RemoveArguments, global: &Global) -> Result<Exit> {
    let name = &arguments.name;
    let mut store = store::open_existing_for_recording(&global.store)?;
    store.set_baseline(name, None, Timestamp::now(), None)?;
    say(&format!("`@{name}` is no session any more; `lab baseline show {name}` shows what it was"));
    Ok(Exit::Pass)
}

fn session_rows(store: &Store) -> Result<BTreeMap<SessionId, ListRow>> {
    let rows = store.list(&ListFilter::default())?;
    Ok(rows.into_iter().map(|own| (own.id, row(own))).collect())
}

/// Returns the row of a session. That it is there the references between rows promise, in a store that is sound.
fn row_of(rows: &BTreeMap<SessionId, ListRow>, session: SessionId) -> Result<ListRow> {
    Ok(rows.get(&session).cloned().ok_or(StoreError::UnknownSession { session })?)
}

fn change_block(store: &Store, change: BaselineChange) -> Result<ChangeBlock> {
    let BaselineChange { session, set_at, note } = change;
    Ok(ChangeBlock {
        set_at: set_at.to_string(),
        session: session.map(|id| id.to_string()),
        short_id: session.map(|id| store.short_id(&id)).transpose()?,
        note,
    })
}
