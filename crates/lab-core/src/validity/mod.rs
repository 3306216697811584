//! Validity: the written rules that decide whether something disturbed a repetition.
//!
//! Every rule looks at one signal and has its thresholds here, fixed before any run. A rule whose signal cannot be seen
//! on a machine does not fire, and says that it was blind; none fires while its signal is below its threshold.

mod signal;
mod table;
mod trend;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use signal::others_share;
pub use table::RULES;
pub use trend::{MannKendall, mann_kendall};

use crate::command::CommandRun;
use crate::metric::{Inputs, Reading};
use crate::timeline::Timeline;

/// Version of the rules. A change of a rule or a threshold raises it; sessions record it.
pub const RULES_VERSION: &str = "lab.validity.v1";

/// What disturbed a repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// Nothing that lab looks for.
    Valid,
    /// Something that may have bent the numbers, one sentence a reason. Each begins with the id of its rule.
    Suspect(Vec<String>),
    /// Something that makes them worthless, one sentence a reason. Each begins with the id of its rule.
    Invalid(Vec<String>),
}

impl Validity {
    /// Returns the reasons; none for a valid repetition.
    pub fn reasons(&self) -> &[String] {
        match self {
            Self::Valid => &[],
            Self::Suspect(reasons) | Self::Invalid(reasons) => reasons,
        }
    }

    /// Returns the word for it, without reasons.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Suspect(_) => "suspect",
            Self::Invalid(_) => "invalid",
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reasons() {
            [] => f.write_str(self.word()),
            reasons => write!(f, "{} ({})", self.word(), reasons.join("; ")),
        }
    }
}

/// Returns the id of the rule that gave a reason.
pub fn rule_of(reason: &str) -> &str {
    reason.split_once(':').map_or(reason, |(rule, _)| rule)
}

/// Finds a rule by its id.
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// One row of the table of rules.
#[derive(Debug)]
pub struct Rule {
    /// Its id, which reasons begin with and policies admit.
    pub id: &'static str,
    /// What is looked at, in words.
    pub signal: &'static str,
    /// The unit of the signal.
    pub unit: &'static str,
    /// Above this, a repetition is suspect.
    pub suspect_above: f64,
    /// Above this, it is invalid.
    pub invalid_above: Option<f64>,
    /// Whatever its share, an amount up to this fires nothing: the kernel's counters are coarser than that. What makes a
    /// repetition invalid must be [`INVALID_FLOORS`] times as much.
    pub floor: Option<Floor>,
    /// Whether it is about energy alone: then it keeps no other metric from a verdict.
    pub energy_only: bool,
    /// Why the thresholds are where they are.
    pub why: &'static str,
    /// Takes the signal from the raw data of a repetition.
    pub measure: fn(&Inputs<'_>) -> Result<Signal, String>,
}

/// The least amount that a rule heeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// The amount.
    pub amount: f64,
    /// Its unit.
    pub unit: &'static str,
}

/// To throw a repetition away takes more than to doubt it: this many floors.
pub const INVALID_FLOORS: f64 = 10.0;

/// What a rule saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signal {
    /// The signal in the rule's unit: what the thresholds are about.
    pub value: f64,
    /// The amount behind it, in the unit of the rule's floor; the value itself where a rule has no floor.
    pub amount: f64,
}

impl From<f64> for Signal {
    fn from(value: f64) -> Self {
        Self { value, amount: value }
    }
}

impl Rule {
    /// Returns whether a signal makes a repetition invalid, suspect, or neither.
    fn effect(&self, signal: Signal) -> Option<Effect> {
        let is_above = |times: f64| self.floor.is_none_or(|floor| signal.amount > times * floor.amount);
        match self.invalid_above {
            Some(limit) if signal.value > limit && is_above(INVALID_FLOORS) => Some(Effect::Invalid),
            _ if signal.value > self.suspect_above && is_above(1.0) => Some(Effect::Suspect),
            _ => None,
        }
    }

    fn reason(&self, signal: Signal, effect: Effect) -> String {
        let limit = match effect {
            Effect::Suspect => self.suspect_above,
            Effect::Invalid => self.invalid_above.unwrap_or(self.suspect_above),
        };
        let Self { id, signal: words, unit, .. } = self;
        format!("{id}: {words} {} {unit} (more than {limit} {unit})", rounded(signal.value))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Suspect,
    Invalid,
}

/// Rounds to three significant digits, for sentences.
fn rounded(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        middling if middling >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Takes every signal from the raw data of a repetition, in table order.
pub fn signals(inputs: &Inputs<'_>) -> Vec<(&'static Rule, Reading<Signal>)> {
    RULES.iter().map(|rule| (rule, (rule.measure)(inputs).into())).collect()
}

/// Judges a repetition by every rule.
pub fn judge(inputs: &Inputs<'_>) -> Validity {
    verdict(signals(inputs).into_iter().filter_map(|(rule, signal)| {
        let signal = *signal.value()?;
        let effect = rule.effect(signal)?;
        Some((effect, rule.reason(signal, effect)))
    }))
}

/// Rules whose signals can be seen without an engine.
const OF_COMMANDS: [&str; 8] =
    [STEAL, "other-load", "memory-pressure", "swap", "throttling", "quota", "settings", "clock-source"];
const STEAL: &str = "steal";

/// Judges a run of a command by the rules whose signals can be seen without an engine.
///
/// All but steal make it suspect and no more: what a command lets services do is its own work and looks like the load of others,
/// and quota and memory that others seem to take, it may take itself. A plan can admit what makes a run suspect.
pub fn judge_command(run: &CommandRun) -> Validity {
    let Some(seen) = &run.observation else { return Validity::Valid };
    let observation = seen.as_of_execution();
    // None of the rules looks at it.
    let timeline = Timeline::new(vec![run.elapsed_ns.max(1)]).expect("one stamp above 0 is a timeline");
    let inputs = Inputs {
        timeline: &timeline,
        n_prompt: 0,
        load_ns: 0,
        request_ns: 0,
        outside_ns: run.elapsed_ns,
        n_before: None,
        bytes_per_token: &Reading::Unavailable("a command reads no weights".to_owned()),
        observation: &observation,
        is_in_turn: false,
    };
    verdict(RULES.iter().filter(|rule| OF_COMMANDS.contains(&rule.id)).filter_map(|rule| {
        let signal = (rule.measure)(&inputs).ok()?;
        let effect = rule.effect(signal)?;
        let effect = if rule.id == STEAL { effect } else { Effect::Suspect };
        Some((effect, rule.reason(signal, effect).replace("engine's", "command's")))
    }))
}

/// Puts together what fired, each with its reason.
fn verdict(fired: impl Iterator<Item = (Effect, String)>) -> Validity {
    let (mut suspect, mut invalid) = (Vec::new(), Vec::new());
    for (effect, reason) in fired {
        match effect {
            Effect::Suspect => suspect.push(reason),
            Effect::Invalid => invalid.push(reason),
        }
    }
    match (invalid.is_empty(), suspect.is_empty()) {
        (true, true) => Validity::Valid,
        (true, false) => Validity::Suspect(suspect),
        (false, _) => Validity::Invalid([invalid, suspect].concat()),
    }
}

#[cfg(test)]
mod tests;
