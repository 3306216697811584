//! The paired experiments of a plan, one after the other.

use lab_core::metric::short_name;

use super::history::FAMILY_DIGITS;
use super::{ABSENT, Block, Grid, Page, Row, Text, Tone, minutes, numbers, words};
use crate::steps::{ChangeBounds, StepBlock, StepsDocument};

/// Lays out the steps: what they are about, each of them, and what they come to.
pub fn steps(document: &StepsDocument) -> Page {
    let StepsDocument { plan, metric, .. } = document;
    Page(vec![
        Block::Title(format!("experiments on {}, plan {plan}", short_name(metric))),
        Block::Facts(facts(document)),
        Block::Grid(grid(document)),
        Block::Lines(vec![conclusion(document)]),
    ])
}

fn facts(document: &StepsDocument) -> Vec<(String, Text)> {
    let StepsDocument { metric, model, family, older, steps, .. } = document;
    let fact = |name: &str, words: String| (name.to_owned(), Text::plain(words));
    let older = if *older > 0 { format!(", {older} older ones left out") } else { String::new() };
    vec![
        fact("metric", metric.clone()),
        fact("model", model.clone()),
        fact("family", family.chars().take(FAMILY_DIGITS).collect()),
        fact("experiments", format!("{}{older}; n is their pairs", steps.len())),
    ]
}

fn grid(document: &StepsDocument) -> Grid {
    let columns = vec![
        numbers("no."),
        words("session B"),
        words("started UTC"),
        words("from"),
        words("to"),
        numbers("n"),
        numbers("change"),
        numbers("since the first"),
        words("note"),
    ];
    Grid { columns, rows: document.steps.iter().enumerate().map(row).collect() }
}

fn row((index, step): (usize, &StepBlock)) -> Row {
    let cells = vec![
        (index + 1).to_string(),
        step.short_id.clone(),
        minutes(&step.started_at),
        step.from.short(),
        step.to.short(),
        step.pairs.to_string(),
        bounds(step.change),
        bounds(step.sum),
        step.unavailable.clone().unwrap_or_else(|| unlinked(step).to_owned()),
    ];
    Row { cells, tone: if step.unavailable.is_some() { Tone::Doubtful } else { Tone::Plain } }
}

fn unlinked(step: &StepBlock) -> &'static str {
    if step.linked { "" } else { "another build" }
}

/// Words a change and its interval: `-1.2 % (-2.0 to -0.4)`.
fn bounds(change: Option<ChangeBounds>) -> String {
    let percent = |share: f64| format!("{:+.1}", share * 100.0);
    change.map_or_else(
        || ABSENT.to_owned(),
        |ChangeBounds { estimate, low, high }| {
            format!("{} % ({} to {})", percent(estimate), percent(low), percent(high))
        },
    )
}

fn conclusion(document: &StepsDocument) -> Text {
    let mut known = document.steps.iter().filter(|step| step.sum.is_some());
    let n_unlinked = known.clone().filter(|step| !step.linked).count();
    let Some(last) = known.next_back() else {
        return Text::toned("no experiment shows a change".to_owned(), Tone::Doubtful);
    };
    let doubt = match n_unlinked {
        0 => String::new(),
        n => {
            format!("; {n} began with another build than the one before ended with, as if that were as fast")
        }
    };
    Text::plain(format!("from the first engine to the last: {}{doubt}", bounds(last.sum)))
}
