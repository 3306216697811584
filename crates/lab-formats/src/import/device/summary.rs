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

/// What rounding to hundredths, as the format's example has its details, may take from a value or add to it.
const DETAIL_SLACK: f64 = 0.005;

/// Returns whether a value of an inference has more than two decimals, and so was not rounded to hundredths.
pub(super) fn is_finer(value: f64) -> bool {
    let hundredths = value * 100.0;
    // Two decimals are no binary fraction: what they come to is off by some units in the last place.
    (hundredths - hundredths.round()).abs() > 4.0 * f64::EPSILON * hundredths
}

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

    /// Whether a derived number that is off by some slack, rounded as this one was, can be this one.
    fn is(self, derived: f64, slack: f64) -> bool {
        (self.value - derived).abs() <= self.slack + slack + SUMMATION * derived.abs()
    }
}

impl Summary {
    /// Returns a sentence for each figure or name that the details contradict. A device may sum up before it rounds: where no
    /// value of a quantity is finer than a hundredth, each may have been rounded.
    pub(super) fn contradictions(
        &self,
        derived: &Inferences,
        has_finer: [bool; QUANTITIES.len()],
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
        for (((name, figures), spread), has_finer) in
            QUANTITIES.iter().zip(&self.figures).zip(&spreads).zip(has_finer)
        {
            let slack = if has_finer { 0.0 } else { DETAIL_SLACK };
            sentences.extend(of_quantity(name, figures, spread, slack));
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

/// Holds the figures of a quantity against its values, each of which is off by some slack.
fn of_quantity(name: &str, figures: &Figures, spread: &Tally, slack: f64) -> Vec<String> {
    let of_sum = f64::from(u32::try_from(spread.n).unwrap_or(u32::MAX)) * slack;
    let derived = [
        (Some(spread.min), slack),
        (Some(spread.max), slack),
        (spread.mean(), slack),
        (Some(spread.sum), of_sum),
    ];
    let mut sentences = Vec::new();
    for ((key, written), (derived, slack)) in FIGURES.iter().zip(figures).zip(derived) {
        let Some(written) = written else { continue };
        let found = match derived.filter(|_| spread.n > 0) {
            None => "no inference tells one".to_owned(),
            Some(derived) if written.is(derived, slack) => continue,
            Some(derived) => format!("that of the inferences {derived}"),
        };
        sentences.push(format!("summary: {name}.{key} is {}, {found}", written.value));
    }
    sentences
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
            assert_eq!(written(text).is(derived, 0.0), expected, "{text} {derived}");
        }
    }

    #[test]
    fn a_value_with_more_than_two_decimals_is_finer_than_a_hundredth() {
        for value in [0.0, 10.0, 0.07, 1234.56, 45.67, 123_456_789.01, 1e300] {
            assert!(!super::is_finer(value), "{value}");
        }
        for value in [0.001, 45.675, 1_234.567_891, 123_456_789.012, 1e-300] {
            assert!(super::is_finer(value), "{value}");
        }
    }
}
