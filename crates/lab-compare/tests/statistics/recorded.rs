//! Pairs that were measured, to draw experiments from.

use std::path::Path;

use serde_json::Value;

use crate::simulation::{Draw, Source};

/// The pairs of real experiments on changes of known size (`results/trials-*.jsonl`): log-ratios, less that of the change.
/// What the machine, slow launches and the way of measuring added is left, a bias of it included.
pub(crate) struct Recorded {
    experiments: Vec<Vec<f64>>,
    by: Drawn,
}

/// What is drawn from recorded experiments.
#[derive(Clone, Copy)]
pub(crate) enum Drawn {
    /// One pair after the other, each from all of them.
    Pairs,
    /// Whole experiments, one behind the other, with their pairs in order: what neighbours share stays.
    Experiments,
}

impl Recorded {
    /// Reads a file of trials.
    pub(crate) fn read(file: &str, by: Drawn) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results").join(file);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("a line is a JSON document"));
        Self { experiments: lines.filter_map(|line: Value| noise_of(&line)).collect(), by }
    }

    pub(crate) fn n_pairs(&self) -> usize {
        self.experiments.iter().map(Vec::len).sum()
    }
}

/// Returns the log-ratios of an experiment, less that of the planted change; nothing of a line that is none, and of one whose
/// change is known as nearly as its planning said only (every tenth token, the prefill alone).
fn noise_of(line: &Value) -> Option<Vec<f64>> {
    line.get("row")?;
    let words: Vec<&str> = line["arguments"].as_array()?.iter().filter_map(Value::as_str).collect();
    let delay = match words.iter().position(|word| *word == "--delay-b") {
        None => 0.0,
        Some(at) => words[at + 1].strip_prefix("uniform:")?.parse().expect("a share"),
    };
    let changes = line["changes"].as_array()?.iter().filter_map(Value::as_f64);
    Some(changes.map(|change| change.ln_1p() - f64::ln_1p(-delay)).collect())
}

impl Source for Recorded {
    fn series<'a>(&'a self, draw: &'a mut Draw, change: f64) -> Box<dyn Iterator<Item = f64> + 'a> {
        let shift = change.ln_1p();
        let n = self.experiments.len();
        match self.by {
            Drawn::Experiments => {
                let experiments = std::iter::repeat_with(move || &self.experiments[draw.below(n)]);
                Box::new(experiments.flatten().map(move |noise| shift + noise))
            }
            Drawn::Pairs => {
                let pairs: Vec<f64> = self.experiments.iter().flatten().copied().collect();
                Box::new(std::iter::repeat_with(move || shift + pairs[draw.below(pairs.len())]))
            }
        }
    }
}
