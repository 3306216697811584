//! `lab history --experiments`: what one paired experiment after the other found, and what that adds up to.

use anyhow::anyhow;
use lab_compare::steps::{Step, steps};
use lab_compare::stopping::Look;
use lab_core::metric::Reading;
use lab_core::record::Session;
use lab_formats::history::HistoryEngine;
use lab_formats::steps::{ChangeBounds, STEPS_SCHEMA, StepBlock, StepsDocument, to_text};
use lab_formats::{page, table};
use lab_store::{Family, Store};

use crate::commands::gate::policy_of;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::terminal::{Format, print, say};

use super::{Arguments, choose, refuse_unknown};

pub(super) fn carry_out(arguments: &Arguments, store: &Store, plan: &str, global: &Global) -> Result<Exit> {
    let families = store.experiments(plan)?;
    if families.is_empty() {
        return Err(Failure::usage(anyhow!(
            "the store holds no paired experiment of plan `{plan}` on two different engines"
        ))
        .hint("`lab ab PLAN --engine-b PATH` measures one"));
    }
    let family = choose(families, plan, arguments.family.as_deref())?;
    let older = family.sessions.len().saturating_sub(arguments.limit as usize);
    let experiments: Vec<[Session; 2]> =
        family.sessions[older..].iter().map(|a| both_sides(store, a)).collect::<Result<_>>()?;
    if older > 0 {
        say(&format!("the {} newest experiments; `--limit N` shows more", experiments.len()));
    }
    let document = document(store, &family, older, &experiments)?;
    match arguments.format {
        Format::Json => print(&to_text(&document))?,
        Format::Table => print(&table::render(&page::steps(&document), global.color.table_style()))?,
    }
    Ok(Exit::Pass)
}

fn both_sides(store: &Store, a: &lab_core::record::SessionId) -> Result<[Session; 2]> {
    let a = store.load(a)?;
    let other = a.header.experiment.as_ref().map(|own| own.other);
    let other =
        other.ok_or_else(|| Failure::run(anyhow!("session {} is no side of an experiment", a.header.id)))?;
    let b = store.load(&other)?;
    Ok([a, b])
}

fn document(
    store: &Store,
    family: &Family,
    older: usize,
    experiments: &[[Session; 2]],
) -> Result<StepsDocument> {
    let [newest, _] = experiments.last().expect("a family has an experiment, and the limit is above 0");
    refuse_unknown(newest)?;
    let found = steps(experiments, &policy_of(newest).admit);
    let blocks = experiments.iter().zip(&found).map(|(sides, step)| block(store, sides, step));
    Ok(StepsDocument {
        schema: STEPS_SCHEMA,
        plan: newest.header.plan_name.clone(),
        model: newest.header.model_name.clone(),
        family: family.digest.to_string(),
        older,
        metric: newest.header.work.contract().listed_metric().to_owned(),
        steps: blocks.collect::<Result<_>>()?,
    })
}

fn block(store: &Store, [a, b]: &[Session; 2], step: &Reading<Step>) -> Result<StepBlock> {
    let known = step.value();
    let bounds = |look: Look| ChangeBounds { estimate: look.change, low: look.low, high: look.high };
    Ok(StepBlock {
        baseline: a.header.id.to_string(),
        candidate: b.header.id.to_string(),
        short_id: store.short_id(&b.header.id)?,
        started_at: a.header.started_at.to_string(),
        from: HistoryEngine::of(&a.header.fingerprint.engine),
        to: HistoryEngine::of(&b.header.fingerprint.engine),
        pairs: known.map_or(0, |own| own.n_pairs),
        change: known.map(|own| bounds(own.change)),
        sum: known.map(|own| bounds(own.sum)),
        linked: known.is_none_or(|own| own.is_linked),
        unavailable: step.reason().map(str::to_owned),
    })
}
