//! The summary of a document, held against its details.

use lab_core::device::{Inferences, Tally};

use super::Names;
use super::name::is_same_device;

/// The quantities, as a summary calls them: in the order of those of an inference.
pub(super) const QUANTITIES: [&str; 4] =
    ["inference_time_ms", "memory_usage_mb", "cpu_usage_percent", "energy_consumption_mj"];

/// The figures of a quantity.
pub(super) const FIGURES: [&str; 4] = ["min", "max", "avg", "total"];

/// What a summary says of one quantity, in the order of [`FIGURES`].
pub(super) type Figures = [Option<Written>; FIGURES.len()];

/// What a sum in another order, or by another program, may differ by: a million additions lose less.
const SUMMATION: f64 = 1e-9;

/// What a summary says.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) device_id: Option<String>,
    pub(super) model_name: Option<String>,
    pub(super) total_inferences: Option<Written>,
    pub(super) figures: [Figures; QUANTITIES.len()],
}

/// A number as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    value: f64,
    /// What rounding to its last decimal explains.
    slack: f64,
}

impl Written {
    /// Takes a number, and whether it was written with a point.
    pub(super) fn new(value: f64, has_point: bool) -> Self {
        Self { value, slack: slack(value, has_point) }
    }

    /// Whether a derived number, rounded as this one was, can be this one.
    fn is(self, derived: f64) -> bool {
        (self.value - derived).abs() <= self.slack + SUMMATION * derived.abs()
    }
}

impl Summary {
    /// Returns a sentence for each figure or name that the details contradict.
    pub(super) fn contradictions(
        &self,
        derived: &Inferences,
        devices: &Names,
        models: &Names,
    ) -> Vec<String> {
        let mut sentences = Vec::new();
        let is_model = |left: &str, right: &str| left == right;
        sentences.extend(of_name("device_id", self.device_id.as_deref(), devices, is_same_device));
        sentences.extend(of_name("model_name", self.model_name.as_deref(), models, is_model));
        if let Some(written) = self.total_inferences
            && written.value.to_string() != derived.n.to_string()
        {
            sentences.push(format!(
                "summary: total_inferences is {}, there are {} in detailed_metrics",
                written.value, derived.n
            ));
        }
        let spreads = [
            derived.inference_time_ms,
            derived.memory_usage_mb,
            derived.cpu_usage_percent,
            derived.energy_consumption_mj,
        ];
        for ((name, figures), spread) in QUANTITIES.iter().zip(&self.figures).zip(&spreads) {
            sentences.extend(of_quantity(name, figures, spread));
        }
        sentences
    }
}

fn of_name(key: &str, said: Option<&str>, found: &Names, is_same: fn(&str, &str) -> bool) -> Option<String> {
    let said = said?;
    let other = found.known().first()?;
    let is_found = found.known().iter().any(|own| is_same(own, said));
    (!is_found).then(|| format!("summary: {key} is `{said}`, that of the inferences `{other}`"))
}

fn of_quantity(name: &str, figures: &Figures, spread: &Tally) -> Vec<String> {
    let derived = [Some(spread.min), Some(spread.max), spread.mean(), Some(spread.sum)];
    let sentence = |((key, written), derived): ((&&str, &Option<Written>), Option<f64>)| {
        let written = (*written)?;
        match derived.filter(|_| spread.n > 0) {
            None => Some(format!("summary: {name}.{key} is {}, no inference tells one", written.value)),
            Some(derived) if written.is(derived) => None,
            Some(derived) => {
                Some(format!("summary: {name}.{key} is {}, that of the inferences {derived}", written.value))
            }
        }
    };
    FIGURES.iter().zip(figures).zip(derived).filter_map(sentence).collect()
}

/// Returns half of the last decimal of a number. JSON does not keep zeros at the end: a number that was written with a point
/// has one decimal at least.
fn slack(amount: f64, has_point: bool) -> f64 {
    let text = amount.to_string();
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let decimals = decimals.max(usize::from(has_point));
    0.5 * 10_f64.powi(-i32::try_from(decimals).expect("a double has some hundred decimals"))
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeSeed as _;

    use super::super::stated::Number;

    #[test]
    fn a_number_stands_for_all_that_round_to_it() {
        let written = |text: &str| {
            let mut json = serde_json::Deserializer::from_str(text);
            Number.deserialize(&mut json).unwrap().unwrap()
        };
        for (text, derived, expected) in [
            ("18.5", 18.549, true),
            ("18.5", 18.551, false),
            ("185.0", 185.04, true),
            ("185.0", 185.4, false),
            ("185", 185.4, true),
            ("1789.12", 1789.125, true),
            ("0.1", 0.1, true),
            ("1789.1234567890123", 1_789.123_456_789_1, true),
            ("0", 0.0, true),
        ] {
            assert_eq!(written(text).is(derived), expected, "{text} {derived}");
        }
    }
}
