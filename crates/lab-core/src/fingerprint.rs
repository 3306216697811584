//! Identity: which runs may be compared at all.
//!
//! A fingerprint has five parts. Each part is a struct of typed fields, each field declared `identity` (a difference
//! refuses the comparison) or `context` (recorded and shown, never compared). A part's digest covers its identity
//! fields alone. What is stored is the typed part turned into a [`PartRecord`]: two records compare field by field even
//! when another version of lab wrote one of them.

mod parts;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;

pub use parts::{
    BackendPart, CommandEnginePart, CommandModelPart, CommandPlanPart, EnginePart, HardwarePart, ModelPart,
    PlanPart,
};

/// The five parts, in the order the founding document names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// The weights and how text becomes tokens.
    Model,
    /// The resolved workload and the measuring mode.
    Plan,
    /// Device, threads, instruction sets and environment the harness permits.
    Backend,
    /// The machine.
    Hardware,
    /// The engine's name, version and build.
    Engine,
}

impl PartKind {
    /// All five, in order.
    pub const ALL: [Self; 5] = [Self::Model, Self::Plan, Self::Backend, Self::Hardware, Self::Engine];

    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Plan => "plan",
            Self::Backend => "backend",
            Self::Hardware => "hardware",
            Self::Engine => "engine",
        }
    }

    /// Returns the domain its digest is taken under, which carries the version of its set of fields.
    pub const fn domain(self) -> &'static str {
        match self {
            Self::Model => "lab.fingerprint.model.v1",
            Self::Plan => "lab.fingerprint.plan.v3",
            Self::Backend => "lab.fingerprint.backend.v2",
            Self::Hardware => "lab.fingerprint.hardware.v2",
            Self::Engine => "lab.fingerprint.engine.v1",
        }
    }
}

impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How an engine shares the machine while it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Mode {
    /// Nothing else of the experiment runs.
    Alone,
    /// Another engine waits in memory, and both generate in turn.
    LockStep {
        /// Tokens generated in one turn.
        tokens: u32,
        /// How long a side works on its prompt at a time, in milliseconds; none where the prompt is taken in at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slice_ms: Option<u32>,
    },
}

impl fmt::Display for Mode {
    /// Says it as people read it: `lock-step, 4 tokens a turn, prompts in slices of 20 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone => f.write_str("launches alternating"),
            Self::LockStep { tokens, slice_ms: None } => write!(f, "lock-step, {tokens} tokens a turn"),
            Self::LockStep { tokens, slice_ms: Some(slice_ms) } => {
                write!(f, "lock-step, {tokens} tokens a turn, prompts in slices of {slice_ms} ms")
            }
        }
    }
}

/// Which repetitions share an engine process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Every measured repetition has its own launch, warm-up inside.
    Launch,
    /// All repetitions share one launch.
    Session,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Launch => "launch",
            Self::Session => "session",
        })
    }
}

/// A part as it is stored and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartRecord {
    /// Which of the five.
    pub kind: PartKind,
    /// The domain its digest is taken under; carries the version of its set of fields.
    pub domain: String,
    /// Fields that must agree.
    pub identity: Map<String, Value>,
    /// Fields that are shown only.
    pub context: Map<String, Value>,
}

impl PartRecord {
    fn empty(kind: PartKind) -> Self {
        Self { kind, domain: kind.domain().to_owned(), identity: Map::new(), context: Map::new() }
    }

    /// Returns a part of what documents of another tool say of themselves. Its domain is its own, so that it never equals a
    /// part of what lab measured.
    pub(crate) fn of_import(kind: PartKind) -> Self {
        Self { domain: format!("lab.import.{kind}.v1"), ..Self::empty(kind) }
    }

    /// Returns the part under the domain of sessions that ran a command, so that it never equals a part of one that asked an
    /// engine, whatever its fields.
    #[must_use]
    pub fn of_command(self) -> Self {
        Self { domain: format!("lab.fingerprint.command.{}.v1", self.kind), ..self }
    }

    fn identity(&mut self, field: &str, value: Value) {
        self.identity.insert(field.to_owned(), value);
    }

    fn identity_where_given(&mut self, field: &str, value: Value) {
        if !value.is_null() {
            self.identity(field, value);
        }
    }

    fn context(&mut self, field: &str, value: Value) {
        self.context.insert(field.to_owned(), value);
    }

    /// Returns the digest over the identity fields, under the part's domain.
    pub fn digest(&self) -> Digest {
        Digest::of_canonical(&self.domain, &self.identity)
    }
}

/// The identity of everything that produced a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fingerprint {
    /// The weights and how text becomes tokens.
    pub model: PartRecord,
    /// The resolved workload and the measuring mode.
    pub plan: PartRecord,
    /// What the harness permits the engine to use.
    pub backend: PartRecord,
    /// The machine.
    pub hardware: PartRecord,
    /// The engine.
    pub engine: PartRecord,
}

impl Fingerprint {
    /// Returns a part.
    pub fn part(&self, kind: PartKind) -> &PartRecord {
        match kind {
            PartKind::Model => &self.model,
            PartKind::Plan => &self.plan,
            PartKind::Backend => &self.backend,
            PartKind::Hardware => &self.hardware,
            PartKind::Engine => &self.engine,
        }
    }

    /// Returns the digest of the whole: over the digests of the five parts.
    pub fn digest(&self) -> Digest {
        let parts: Vec<Digest> = PartKind::ALL.iter().map(|kind| self.part(*kind).digest()).collect();
        Digest::of_canonical("lab.fingerprint.v1", &parts)
    }

    /// Returns the digest of everything but the engine: over the digests of model, plan, backend and hardware. Recordings
    /// of one family measured the same in the same way, whatever engine they measured.
    pub fn family(&self) -> Digest {
        let parts = [PartKind::Model, PartKind::Plan, PartKind::Backend, PartKind::Hardware];
        Digest::of_canonical("lab.family.v1", &parts.map(|kind| self.part(kind).digest()))
    }

    /// Returns every identity field in which two fingerprints differ, in order of parts and names.
    ///
    /// A field that one side lacks differs, and so does one that is null on both: unknown means refuse (invariant I7).
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        PartKind::ALL.iter().flat_map(|kind| part_differences(self.part(*kind), other.part(*kind))).collect()
    }
}

/// One identity field in which two fingerprints differ. `None` is a field that the side lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The part.
    pub part: PartKind,
    /// The field.
    pub field: String,
    /// The baseline's value.
    pub baseline: Option<Value>,
    /// The candidate's value.
    pub candidate: Option<Value>,
}

impl Difference {
    /// Returns whether the field is unknown on both sides, which refuses like a difference.
    pub fn is_unknown(&self) -> bool {
        let is_null = |value: &Option<Value>| value.as_ref().is_none_or(Value::is_null);
        is_null(&self.baseline) && is_null(&self.candidate)
    }
}

fn part_differences(baseline: &PartRecord, candidate: &PartRecord) -> Vec<Difference> {
    let mut names: Vec<&String> = baseline.identity.keys().chain(candidate.identity.keys()).collect();
    names.sort();
    names.dedup();
    let difference = |field: &str, ours: Option<&Value>, theirs: Option<&Value>| Difference {
        part: baseline.kind,
        field: field.to_owned(),
        baseline: ours.cloned(),
        candidate: theirs.cloned(),
    };
    let mut differences: Vec<Difference> = names
        .into_iter()
        .map(|name| (name, baseline.identity.get(name), candidate.identity.get(name)))
        .filter(|(_, ours, theirs)| ours != theirs || ours.is_none_or(Value::is_null))
        .map(|(name, ours, theirs)| difference(name, ours, theirs))
        .collect();
    if baseline.domain != candidate.domain {
        let domain = |part: &PartRecord| Value::String(part.domain.clone());
        differences.push(difference("domain", Some(&domain(baseline)), Some(&domain(candidate))));
    }
    differences
}

#[cfg(test)]
mod tests;
