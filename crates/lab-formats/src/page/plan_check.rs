//! What a plan would do.

use super::{Block, Page, Text, Tone};
use crate::plan_check::{EnergyCheck, MemoryBlock, PlanCheckDocument, TimeBlock};

/// Lays out what a plan would do; what keeps it from running comes last.
pub fn plan_check(document: &PlanCheckDocument) -> Page {
    let title = match document.description.as_str() {
        "" => document.plan.clone(),
        description => format!("{}: {description}", document.plan),
    };
    let mut blocks = vec![Block::Title(title), Block::Facts(facts(document))];
    let problems: Vec<Text> =
        document.problems.iter().map(|problem| Text::toned(problem, Tone::Bad)).collect();
    blocks.push(Block::Lines(match problems.is_empty() {
        true => vec![Text::toned("this plan can run here", Tone::Good)],
        false => problems,
    }));
    Page(blocks)
}

fn facts(document: &PlanCheckDocument) -> Vec<(String, Text)> {
    let PlanCheckDocument { model, workload, engine, run, memory, time, energy, tolerances, .. } = document;
    let prompt_tokens = workload.prompt_tokens.map(|n| format!(" = {n} tokens")).unwrap_or_default();
    let mut facts = vec![
        fact("model", format!("{}, {}", model.name, model.status)),
        fact("source", model.source.clone()),
        fact("digest", model.sha256.clone().unwrap_or_else(|| "not pinned".to_owned())),
        fact("kind", model.kind.clone().unwrap_or_else(|| "known when the file is here".to_owned())),
        fact("prompt", format!("{}{prompt_tokens}", workload.prompt)),
        fact("generate", format!("{} tokens, {}", workload.generate, workload.sampling)),
        fact(
            "engine",
            format!(
                "{} on {}, threads: {}, cores: {}",
                engine.name, engine.backend, engine.threads, engine.cores
            ),
        ),
        fact(
            "runs",
            format!(
                "launches: {}, warm-ups: {}, measured repetitions: {} (isolation: {})",
                run.launches, run.warmups, run.measured, run.isolation
            ),
        ),
        fact(
            "memory",
            memory.as_ref().map_or_else(|| "known when the file is here".to_owned(), memory_words),
        ),
        fact("time", time.as_ref().map_or_else(|| "known when the file is here".to_owned(), time_words)),
        fact("energy", energy_words(energy)),
    ];
    for row in tolerances {
        let remark = if row.unofficial { " (looser than the contract's: unofficial)" } else { "" };
        facts.push(fact("tolerance", format!("{} {}{remark}", row.metric, row.tolerance)));
    }
    facts
}

fn fact(name: &str, words: String) -> (String, Text) {
    (name.to_owned(), Text::plain(words))
}

fn energy_words(energy: &EnergyCheck) -> String {
    let required = if energy.required { " (required)" } else { "" };
    match (&energy.meters, &energy.unavailable) {
        (Some(meters), _) => format!("measured by {}{required}", meters.join(" + ")),
        (None, reason) => format!("not measured: {}{required}", reason.as_deref().unwrap_or("no meter")),
    }
}

fn memory_words(memory: &MemoryBlock) -> String {
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let available = memory
        .available
        .map(|bytes| format!("; {} MB may be used now", megabytes(bytes)))
        .unwrap_or_default();
    format!(
        "about {} MB (weights {}, repacked {}, token embedding {}, KV cache {}){available}",
        megabytes(memory.total),
        megabytes(memory.weights),
        megabytes(memory.repacked),
        megabytes(memory.token_embedding),
        megabytes(memory.kv_cache),
    )
}

fn time_words(time: &TimeBlock) -> String {
    let TimeBlock { seconds, basis } = time;
    if *seconds < 120.0 {
        return format!("about {seconds:.0} s ({basis})");
    }
    format!("about {:.0} min ({basis})", seconds / 60.0)
}
