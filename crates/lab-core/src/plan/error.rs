//! Complaints about a plan, each with the bytes it is about.

use std::fmt;
use std::ops::Range;

use crate::nearest::nearest;

/// One complaint about a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// The bytes of the file it is about; the whole file when unknown.
    pub span: Option<Range<usize>>,
    /// What to do about it, where lab knows.
    pub help: Option<String>,
}

/// Everything wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanErrors(pub Vec<PlanError>);

impl PlanErrors {
    /// Turns the TOML reader's complaint into ours, and adds the nearest known key to an unknown one.
    pub(super) fn from_toml(error: &toml::de::Error) -> Self {
        let message = error.message().to_owned();
        Self(vec![PlanError { help: nearest_key(&message), message, span: error.span() }])
    }
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentences: Vec<&str> = self.0.iter().map(|error| error.message.as_str()).collect();
        f.write_str(&sentences.join("; "))
    }
}

impl std::error::Error for PlanErrors {}

/// Finds the known name nearest to the unknown one, out of serde's "unknown field `x`, expected one of `a`, `b`".
///
/// serde hands over this sentence and no structure; a test pins its form.
fn nearest_key(message: &str) -> Option<String> {
    let (problem, known) = message.split_once(", expected")?;
    if !problem.starts_with("unknown ") {
        return None;
    }
    let unknown = quoted(problem).next()?;
    nearest(unknown, quoted(known)).map(|name| format!("did you mean `{name}`?"))
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
