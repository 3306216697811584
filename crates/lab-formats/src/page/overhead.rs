//! What measuring costs.

use lab_core::metric::Reading;

use super::{Block, Page, Text, Tone};
use crate::overhead::{LeftOutBlocks, OverheadConclusion, OverheadDocument};
use crate::quantity::format_quantity;

/// Lays out what measuring costs.
pub fn overhead(document: &OverheadDocument) -> Page {
    Page(vec![
        Block::Title(format!("cost of measuring, plan {}", document.plan)),
        Block::Facts(facts(document)),
        Block::Lines(vec![headline(document)]),
    ])
}

fn facts(document: &OverheadDocument) -> Vec<(String, Text)> {
    let fact = |name: &str, words: String| (name.to_owned(), Text::plain(words));
    let sampler = document.sampler_cpu_percent.map_or_else(String::new, |percent| {
        format!(
            ", {} ticks, the sampling thread taking {} % of a core",
            document.sampler_ticks,
            format_quantity(percent)
        )
    });
    let sampling =
        if document.sample_hz > 0.0 { format!("{} Hz", document.sample_hz) } else { "off".to_owned() };
    let meters = match &document.meters {
        Reading::Value(meters) => meters.join(" + "),
        Reading::Unavailable(reason) => format!("none: {reason}"),
    };
    vec![
        fact("model", document.model.clone()),
        fact("blocks", format!("{} of {} tokens", document.blocks, document.tokens_a_block)),
        fact("disturbed by others", disturbed(document)),
        fact("sampling", format!("{sampling}{sampler}")),
        fact("energy meters", meters),
        fact("token, instruments off", format!("{} ms", format_quantity(document.token_ms_off))),
        fact("token, instruments on", format!("{} ms", format_quantity(document.token_ms_on))),
    ]
}

/// Says what is left out and why: `3 blocks (run-queue 2, steal 1): 395 of 400 comparisons count`.
fn disturbed(document: &OverheadDocument) -> String {
    let OverheadDocument { blocks_left_out, left_out_by, comparisons, comparisons_left, .. } = document;
    if *blocks_left_out == 0 {
        return format!("no block: all {comparisons} comparisons count");
    }
    let by = |LeftOutBlocks { rule, blocks }: &LeftOutBlocks| format!("{rule} {blocks}");
    let by: Vec<String> = left_out_by.iter().map(by).collect();
    let left = format!("{comparisons_left} of {comparisons} comparisons");
    let end = if document.too_disturbed { "are left, too few" } else { "count" };
    format!("{blocks_left_out} blocks ({}): {left} {end}", by.join(", "))
}

/// Says that the figures say nothing, and what they are.
fn too_disturbed(document: &OverheadDocument) -> Text {
    let OverheadDocument { blocks_left_out, blocks, change_percent, low_percent, high_percent, .. } =
        document;
    Text::toned(
        format!(
            "inconclusive: others used the machine in {blocks_left_out} of {blocks} blocks. The {change_percent:+.2} % \
             ({low_percent:+.2} to {high_percent:+.2} %) between all blocks say nothing of the instruments; measure on a \
             quiet machine"
        ),
        Tone::Doubtful,
    )
}

fn headline(document: &OverheadDocument) -> Text {
    if document.too_disturbed {
        return too_disturbed(document);
    }
    let OverheadDocument { change_percent, low_percent, high_percent, margin_percent, .. } = document;
    let (word, tone) = match document.conclusion {
        OverheadConclusion::Equivalent => ("equivalent", Tone::Good),
        OverheadConclusion::Beyond => ("beyond the margin", Tone::Bad),
        OverheadConclusion::Inconclusive => ("inconclusive", Tone::Doubtful),
    };
    let needed = match (document.conclusion, document.blocks_needed) {
        (OverheadConclusion::Inconclusive, Some(blocks)) => format!("; about {blocks} blocks would decide"),
        _ => String::new(),
    };
    Text::toned(
        format!(
            "{word}: instruments change the time of a token by {change_percent:+.2} % \
             (95 % interval {low_percent:+.2} to {high_percent:+.2} %, margin {margin_percent} %){needed}"
        ),
        tone,
    )
}
