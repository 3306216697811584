//! What a host can and cannot measure.

use super::{Block, Grid, Page, Row, Text, Tone, words};
use crate::doctor::{CapabilityRow, DoctorDocument};

/// Lays out what a host can and cannot measure; remedies and metrics without a value come last.
pub fn doctor(document: &DoctorDocument) -> Page {
    let facts = document.host.iter().map(|fact| (fact.name.clone(), Text::plain(&fact.value))).collect();
    let columns = vec![words("what"), words("found"), words("usable")];
    let rows = document.capabilities.iter().map(row).collect();
    let mut blocks = vec![Block::Facts(facts), Block::Grid(Grid { columns, rows })];
    let remedies: Vec<Text> = document.capabilities.iter().filter_map(remedy).collect();
    if !remedies.is_empty() {
        blocks.push(Block::Lines(remedies));
    }
    blocks.push(Block::Lines(vec![missing_metrics(document)]));
    Page(blocks)
}

fn row(capability: &CapabilityRow) -> Row {
    let (word, tone) = if capability.available { ("yes", Tone::Good) } else { ("no", Tone::Doubtful) };
    Row { cells: vec![capability.name.clone(), capability.detail.clone(), word.to_owned()], tone }
}

fn remedy(capability: &CapabilityRow) -> Option<Text> {
    let remedy = capability.remedy.as_ref()?;
    Some(Text::plain(format!("{}: {remedy}", capability.name)))
}

/// Names the metrics that no available capability serves.
fn missing_metrics(document: &DoctorDocument) -> Text {
    let served = |metric: &&String| {
        document.capabilities.iter().any(|own| own.available && own.metrics.contains(metric))
    };
    let all = document.capabilities.iter().flat_map(|capability| &capability.metrics);
    let mut missing: Vec<&str> = all.filter(|metric| !served(metric)).map(String::as_str).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Text::toned("every metric of the contract can be measured here", Tone::Good);
    }
    Text::toned(format!("no value on this host: {}", missing.join(", ")), Tone::Doubtful)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::DOCTOR_SCHEMA;

    fn capability(name: &str, metrics: &[&str], available: bool) -> CapabilityRow {
        CapabilityRow {
            name: name.to_owned(),
            what_for: "anything".to_owned(),
            metrics: metrics.iter().map(ToString::to_string).collect(),
            available,
            detail: "detail".to_owned(),
            remedy: None,
        }
    }

    fn last_words(capabilities: Vec<CapabilityRow>) -> String {
        let document = DoctorDocument { schema: DOCTOR_SCHEMA, host: vec![], capabilities };
        missing_metrics(&document).words
    }

    #[test]
    fn metrics_that_nothing_available_serves_are_named() {
        let clock = |available| capability("clock", &["tokens_per_sec", "latency_p50_ms"], available);
        let steal = capability("steal", &[], true);
        let profile = capability("profile", &["op_time_ms"], false);
        let words = last_words(vec![clock(false), steal.clone(), profile.clone()]);
        assert_eq!(words, "no value on this host: latency_p50_ms, op_time_ms, tokens_per_sec");
        let words = last_words(vec![clock(true), steal.clone(), profile]);
        assert_eq!(words, "no value on this host: op_time_ms");
        assert_eq!(last_words(vec![clock(true), steal]), "every metric of the contract can be measured here");
    }

    #[test]
    fn one_of_several_meters_is_enough() {
        let meter = |available| capability("meter", &["watts_avg"], available);
        assert!(last_words(vec![meter(false), meter(true)]).starts_with("every metric"));
        assert_eq!(last_words(vec![meter(false), meter(false)]), "no value on this host: watts_avg");
    }
}
