//! `lab history`: one metric over the sessions of a family.

mod steps;

use std::path::Path;

use anyhow::anyhow;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use lab_compare::change_point::{
    ChangePoint, LEAST_SESSIONS, SIGNIFICANCE, change_points, change_since_first,
};
use lab_compare::history::{SessionMean, session_means};
use lab_core::fingerprint::{Difference, PartKind};
use lab_core::metric::{Metric, Reading, all_metrics, find};
use lab_core::nearest::nearest;
use lab_core::plan::PlanFile;
use lab_core::record::Session;
use lab_core::validity::Validity;
use lab_formats::history::{
    Change, HISTORY_SCHEMA, HistoryChange, HistoryDocument, HistoryEngine, HistorySession, to_text,
};
use lab_formats::{page, table};
use lab_store::{Family, Store};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::terminal::{Format, print, say};
use crate::{plan_file, store};

const EXAMPLES: &str = "\
Examples:
  lab history plans/smollm2.toml
  lab history smollm2 --metric ttft_ms --limit 50
  lab history smollm2 --family 3f2a9c1d --format json
  lab history plans/smoke.toml --metric elapsed_sec
  lab history plans/smollm2-q8.toml --experiments         what `lab ab` found from build to build, and what it adds up to

A family is the sessions that share model, plan, backend and hardware; the engine may differ from one to the next. Sides of
paired experiments are left out. Change points are no verdict: `lab compare` judges two sessions. Many changes, each of them
equivalent, may add up to one that is not: `--experiments` adds up those of experiments.";

/// What `lab history` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A plan file, or the name of a plan in the store.
    plan: String,
    /// The metric; `lab metrics` lists them.
    #[arg(long, value_name = "NAME", default_value = "tokens_per_sec", value_parser = metric)]
    metric: &'static Metric,
    /// Shows the paired experiments of the plan instead, and what their changes add up to: of speed, or of a command's elapsed time.
    #[arg(long, conflicts_with = "metric")]
    experiments: bool,
    /// The family whose digest begins so, where the plan has several; otherwise the one with the newest session.
    #[arg(long, value_name = "DIGEST")]
    family: Option<String>,
    /// Looks at so many sessions at most, the newest ones.
    #[arg(long, value_name = "N", default_value = "200", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    limit: u32,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

fn metric(name: &str) -> std::result::Result<&'static Metric, String> {
    find(name).ok_or_else(|| {
        let likely = nearest(name, all_metrics().map(|metric| metric.name));
        let meant = likely.map_or(String::new(), |known| format!("did you mean `{known}`? "));
        format!("no metric has this name; {meant}`lab metrics` lists them")
    })
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let store = store::open(global)?;
    let plan = plan_name(&arguments.plan, &store, global)?;
    if arguments.experiments {
        return steps::carry_out(arguments, &store, &plan, global);
    }
    let family = choose(store.families(&plan)?, &plan, arguments.family.as_deref())?;
    let older = family.sessions.len().saturating_sub(arguments.limit as usize);
    let loaded: std::result::Result<Vec<Session>, _> =
        family.sessions[older..].iter().map(|id| store.load(id)).collect();
    let sessions = loaded?;
    if older > 0 {
        say(&format!("the {} newest sessions; `--limit N` shows more", sessions.len()));
    }
    let document = document(&store, &family, &sessions, arguments.metric)?;
    match arguments.format {
        Format::Json => print(&to_text(&document))?,
        Format::Table => print(&table::render(&page::history(&document), global.color.table_style()))?,
    }
    Ok(Exit::Pass)
}

/// Returns the name of the plan that the user means, by name or by file.
fn plan_name(typed: &str, store: &Store, global: &Global) -> Result<String> {
    let names = store.plan_names()?;
    if names.iter().any(|name| name == typed) {
        return Ok(typed.to_owned());
    }
    if !Path::new(typed).is_file() {
        let failure =
            Failure::usage(anyhow!("`{typed}` is neither a plan file nor the name of a plan in the store"));
        return Err(match nearest(typed, names.iter().map(String::as_str)) {
            Some(likely) => failure.hint(format!("did you mean `{likely}`?")),
            None => failure.hint("`lab list` shows the plans in the store"),
        });
    }
    let plan = plan_file::load_any(Path::new(typed), global.color)?;
    if names.iter().any(|name| name == plan.name()) {
        return Ok(plan.name().to_owned());
    }
    let failure = Failure::usage(anyhow!("the store holds no session of plan `{}` (`{typed}`)", plan.name()));
    Err(failure.hint(match plan {
        PlanFile::Engine(_) | PlanFile::Command(_) => format!("`lab run {typed}` records one"),
        PlanFile::Contract(_) => format!("`lab import … --plan {typed}` records one"),
    }))
}

/// Returns the family whose digest begins so, or else the one with the newest session, and a word about the others.
fn choose(families: Vec<Family>, plan: &str, beginning: Option<&str>) -> Result<Family> {
    let begins = |family: &Family| {
        beginning.is_none_or(|own| family.digest.to_string().starts_with(&own.to_ascii_lowercase()))
    };
    let known = listed(families.iter());
    let n_families = families.len();
    let mut meant: Vec<Family> = families.into_iter().filter(begins).collect();
    match (meant.len(), beginning) {
        (0, Some(own)) if n_families > 0 => {
            Err(Failure::usage(anyhow!("no family of plan `{plan}` begins with `{own}`"))
                .hint(format!("its families are {known}")))
        }
        (0, _) => {
            Err(Failure::usage(anyhow!("every session of plan `{plan}` is one side of a paired experiment"))
                .hint("`--experiments` shows what they found"))
        }
        (2.., Some(own)) => {
            Err(Failure::usage(anyhow!("{} families of plan `{plan}` begin with `{own}`", meant.len()))
                .hint(format!("type more of one: {}", listed(meant.iter()))))
        }
        (2.., None) => {
            let others = listed(meant[1..].iter());
            let n_others = meant.len() - 1;
            let families = if n_others == 1 { "family" } else { "families" };
            say(&format!(
                "note: the newest family; plan `{plan}` has {n_others} other {families}: {others}; \
                 `--family DIGEST` shows one"
            ));
            Ok(meant.remove(0))
        }
        (1, _) => Ok(meant.remove(0)),
    }
}

fn listed<'f>(families: impl Iterator<Item = &'f Family>) -> String {
    let word = |family: &Family| match family.sessions.len() {
        1 => format!("{} (1 session)", family.digest.short()),
        n => format!("{} ({n} sessions)", family.digest.short()),
    };
    families.map(word).collect::<Vec<_>>().join(", ")
}

fn document(
    store: &Store,
    family: &Family,
    sessions: &[Session],
    metric: &Metric,
) -> Result<HistoryDocument> {
    let newest = sessions.last().expect("a family has a session, and the limit is above 0");
    refuse_unknown(newest)?;
    let means = session_means(sessions, metric);
    let present = || means.iter().enumerate().filter_map(|(index, mean)| Some((index, mean.value()?.mean)));
    let logs: Vec<f64> = present().map(|(_, mean)| mean.ln()).collect();
    let positions: Vec<usize> = present().map(|(index, _)| index).collect();
    let points = change_points(&logs).expect("means of a history are above 0, and so have logarithms");
    let change = |relative| Change::of(relative, metric.direction);
    let first = present().next().map(|(_, mean)| mean);
    let row = |(index, mean): (usize, &Reading<SessionMean>)| row(store, sessions, index, mean, first);
    let rows: Vec<HistorySession> = means.iter().enumerate().map(row).collect::<Result<_>>()?;
    let to_change = |point: &ChangePoint| {
        let index = positions[point.index];
        HistoryChange { session: rows[index].id.clone(), index, change: change(point.change), p: point.p }
    };
    Ok(HistoryDocument {
        schema: HISTORY_SCHEMA,
        plan: newest.header.plan_name.clone(),
        model: newest.header.model_name.clone(),
        family: family.digest.to_string(),
        older: family.sessions.len() - sessions.len(),
        metric: metric.id(),
        unit: metric.unit.to_owned(),
        direction: metric.direction,
        significance: SIGNIFICANCE,
        least_sessions: LEAST_SESSIONS,
        change_points: points.iter().map(to_change).collect(),
        since_first: change_since_first(&logs, &points).map(change),
        sessions: rows,
    })
}

/// Refuses a family of which nobody can tell whether it is one (invariant I7).
fn refuse_unknown(session: &Session) -> Result<()> {
    let fingerprint = &session.header.fingerprint;
    let unknown = fingerprint.differences(fingerprint).into_iter().find(|own| own.part != PartKind::Engine);
    match unknown {
        Some(Difference { part, field, .. }) => Err(Failure::with(
            Exit::Refused,
            anyhow!("{part} does not know {field}: nobody can tell whether these sessions measured the same"),
        )),
        None => Ok(()),
    }
}

fn row(
    store: &Store,
    sessions: &[Session],
    index: usize,
    mean: &Reading<SessionMean>,
    first: Option<f64>,
) -> Result<HistorySession> {
    let session = &sessions[index];
    let header = &session.header;
    let engine = HistoryEngine::of(&header.fingerprint.engine);
    let before = index.checked_sub(1).map(|before| &sessions[before].header.fingerprint.engine);
    let in_turn = session.is_lock_step();
    let counting = session.succeeded().filter(|own| own.counts(in_turn));
    let validities = counting.filter_map(|own| own.repetition.outcome.validity());
    Ok(HistorySession {
        id: header.id.to_string(),
        short_id: store.short_id(&header.id)?,
        started_at: header.started_at.to_string(),
        engine_changed: before.is_some_and(|before| before.digest().to_string() != engine.digest),
        engine,
        launches: mean.value().map_or(0, |own| own.n_launches),
        suspect: validities.filter(|own| matches!(own, Validity::Suspect(_))).count(),
        mean: mean.value().map(|own| own.mean),
        unavailable: mean.reason().map(str::to_owned),
        relative_to_first: mean.value().zip(first).map(|(own, first)| own.mean / first - 1.0),
    })
}
