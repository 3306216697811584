//! Identity: which runs may be compared at all.
//!
//! A fingerprint has five parts. Each part is a struct of typed fields, each field declared `identity` (a difference
//! refuses the comparison) or `context` (recorded and shown, never compared). A part's digest covers its identity
//! fields alone. What is stored is the typed part turned into a [`PartRecord`]: two records compare field by field even
//! when another version of lab wrote one of them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::command::RowsSource;
use crate::digest::Digest;
use crate::workload::{Sampling, Stop};

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

/// Declares a part: every field says whether it is identity or context, so that none can be forgotten. A field that is
/// `identity_where_given` is identity where it has a value and is not there where it has none, so that the digests of
/// recordings that lack it are those of before it existed.
macro_rules! fingerprint_part {
    ($(#[$meta:meta])* $name:ident is $kind:ident { $( $(#[$field_meta:meta])* $role:ident $field:ident: $type:ty, )* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }

        impl $name {
            /// Returns the part as it is stored and compared.
            pub fn record(&self) -> PartRecord {
                let mut record = PartRecord::empty(PartKind::$kind);
                $( record.$role(stringify!($field), to_json(&self.$field)); )*
                record
            }
        }
    };
}

fingerprint_part! {
    /// The model.
    ModelPart is Model {
        /// SHA-256 of the weights file the engine loads.
        identity weights_sha256: Digest,
        /// Architecture as the file names it.
        identity architecture: String,
        /// Quantisation label, such as `q4_k_m`.
        identity quantization: String,
        /// Digest of the tokenizer the file carries.
        identity tokenizer: Digest,
        /// Whether the weights are real or drawn from a seed, and by which generator.
        identity weights: String,
        /// The plan's name for it.
        context name: String,
        /// Size of the weights file.
        context bytes: u64,
    }
}

fingerprint_part! {
    /// The resolved workload and the measuring mode.
    PlanPart is Plan {
        /// Digest of the prompt's token ids.
        identity prompt: Digest,
        /// How many they are.
        identity prompt_tokens: u64,
        /// Digest of the token ids that are fed during decode; none where the engine is fed what it chose.
        identity_where_given forced: Option<Digest>,
        /// Tokens to generate.
        identity generate: u32,
        /// How the next token is chosen.
        identity sampling: Sampling,
        /// When generation ends.
        identity stop: Stop,
        /// Which repetitions share an engine process.
        identity isolation: Isolation,
        /// Warm-up repetitions in front of the measured ones of a launch.
        identity warmup: u32,
        /// Ticks a second of the sampling thread; 0 is off.
        identity sample_hz: f64,
        /// How an engine shares the machine while it is measured.
        identity mode: Mode,
        /// The plan's name.
        context name: String,
        /// Measured repetitions asked for.
        context repeat: u32,
    }
}

fingerprint_part! {
    /// What the harness permits the engine to use.
    BackendPart is Backend {
        /// The seed's word for it, such as `cpu_avx2`.
        identity kind: String,
        /// The device.
        identity device: String,
        /// Threads.
        identity threads: u32,
        /// Cores the process may run on, such as `0-3`.
        identity cores: String,
        /// Instruction sets the host offers.
        identity instruction_sets: Vec<String>,
        /// The whole environment the harness passed.
        identity environment: BTreeMap<String, String>,
        /// Nice level, -20 to 19; unknown refuses.
        identity nice: Option<i64>,
        /// How far addresses are shuffled: `full`, `without heap`, `off`, or `drawn for each pair` where lab decides where
        /// memory begins; unknown refuses.
        identity address_space_randomization: Option<String>,
        /// Where the kernel backs memory with huge pages; unknown refuses.
        identity transparent_hugepages: Option<String>,
    }
}

fingerprint_part! {
    /// The machine.
    HardwarePart is Hardware {
        /// CPU model name; unknown refuses.
        identity cpu_model: Option<String>,
        /// CPU vendor.
        identity cpu_vendor: String,
        /// CPU family, model and stepping.
        identity cpu_signature: String,
        /// Sockets.
        identity sockets: String,
        /// Physical cores online; unknown refuses.
        identity cores: Option<u32>,
        /// Hardware threads online; unknown refuses.
        identity threads: Option<u32>,
        /// Caches, one entry a level and type.
        identity caches: Vec<String>,
        /// Memory rounded to GiB; unknown refuses.
        identity memory_gib: Option<u64>,
        /// Accelerators by name; unknown refuses.
        identity accelerators: Option<Vec<String>>,
        /// Hypervisor, or `none`.
        identity virtualization: String,
        /// Where the machine was looked at: `this machine`, or the folders that stood in for it.
        identity observed_from: String,
        /// Kernel release.
        context kernel: String,
    }
}

fingerprint_part! {
    /// The engine.
    EnginePart is Engine {
        /// Its name.
        identity name: String,
        /// Its version.
        identity version: String,
        /// Digest of what was built.
        identity build: Digest,
        /// Settings it chose or was given, as it reports them.
        identity settings: BTreeMap<String, String>,
        /// SHA-256 of the executable.
        context executable: Digest,
        /// Version of the engine protocol spoken.
        identity protocol: u32,
        /// Arguments given to a foreign program; its build covers them.
        context arguments: Vec<String>,
    }
}

fingerprint_part! {
    /// The model of a session that ran a command: lab knows of none.
    CommandModelPart is Model {
        /// Always `none`.
        identity kind: String,
    }
}

fingerprint_part! {
    /// What is run, how often in front of the measured runs, and how it is watched.
    CommandPlanPart is Plan {
        /// The program and its arguments, paths as they were written.
        identity program: Vec<String>,
        /// Where the number of rows comes from, a path as it was written.
        identity rows: RowsSource,
        /// SHA-256 of the file whose rows were counted; none where none was.
        identity_where_given rows_digest: Option<Digest>,
        /// Runs in front of the measured ones.
        identity warmup: u32,
        /// Time between two looks at memory, in microseconds: shorter ones see higher peaks.
        identity interval_us: u64,
        /// The plan's name.
        context name: String,
        /// Measured repetitions asked for.
        context repeat: u32,
    }
}

fingerprint_part! {
    /// The program of a session that ran a command.
    CommandEnginePart is Engine {
        /// Its file name.
        identity name: String,
        /// SHA-256 of its file; unknown refuses.
        identity build: Option<Digest>,
        /// SHA-256 of the file that the first argument names which is no option: the script of an interpreter. None where
        /// there is no such file, or it is too large to be one.
        identity_where_given script: Option<Digest>,
        /// Where it was found.
        context path: String,
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
    },
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

fn to_json<T: Serialize>(field: &T) -> Value {
    serde_json::to_value(field).expect("fingerprint fields serialise to JSON")
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
mod tests {
    use super::*;

    fn plan(generate: u32, repeat: u32) -> PartRecord {
        forced_plan(generate, repeat, None)
    }

    fn forced_plan(generate: u32, repeat: u32, forced: Option<Digest>) -> PartRecord {
        let prompt = Digest::of(b"prompt");
        PlanPart {
            prompt,
            prompt_tokens: 4,
            forced,
            generate,
            sampling: Sampling::Greedy,
            stop: Stop::Length,
            isolation: Isolation::Launch,
            warmup: 1,
            sample_hz: 10.0,
            mode: Mode::Alone,
            name: "p".to_owned(),
            repeat,
        }
        .record()
    }

    #[test]
    fn context_does_not_reach_the_digest_and_identity_does() {
        assert_eq!(plan(8, 5).digest(), plan(8, 10).digest());
        assert_ne!(plan(8, 5).digest(), plan(9, 5).digest());
        assert!(part_differences(&plan(8, 5), &plan(8, 10)).is_empty());
    }

    #[test]
    fn a_difference_names_part_field_and_both_values() {
        let differences = part_differences(&plan(8, 5), &plan(9, 5));
        let expected = Difference {
            part: PartKind::Plan,
            field: "generate".to_owned(),
            baseline: Some(8.into()),
            candidate: Some(9.into()),
        };
        assert_eq!(differences, [expected]);
    }

    #[test]
    fn a_field_one_side_lacks_or_neither_knows_is_a_difference() {
        let (mut left, mut right) = (plan(8, 5), plan(8, 5));
        left.identity.insert("added_later".to_owned(), 1.into());
        assert_eq!(part_differences(&left, &right)[0].candidate, None);
        right.identity.insert("added_later".to_owned(), 1.into());
        assert!(part_differences(&left, &right).is_empty());
        left.identity.insert("unknown".to_owned(), Value::Null);
        right.identity.insert("unknown".to_owned(), Value::Null);
        assert_eq!(part_differences(&left, &right)[0].field, "unknown");
    }

    #[test]
    fn what_is_forced_is_identity_and_leaves_no_trace_where_nothing_is() {
        let (free, forced) = (plan(8, 5), forced_plan(8, 5, Some(Digest::of(b"forced"))));
        assert!(!free.identity.contains_key("forced"));
        assert_ne!(free.digest(), forced.digest());
        assert_ne!(forced.digest(), forced_plan(8, 5, Some(Digest::of(b"other"))).digest());
        let differences = part_differences(&free, &forced);
        let fields: Vec<&str> = differences.iter().map(|own| own.field.as_str()).collect();
        assert_eq!((fields, differences[0].is_unknown()), (vec!["forced"], false));
        assert!(part_differences(&forced, &forced).is_empty());
    }

    fn command(rows: RowsSource, rows_digest: Option<Digest>, repeat: u32) -> PartRecord {
        let program = vec!["wc".to_owned(), "rows.csv".to_owned()];
        let (warmup, interval_us, name) = (0, 100_000, "count".to_owned());
        CommandPlanPart { program, rows, rows_digest, warmup, interval_us, name, repeat }
            .record()
            .of_command()
    }

    #[test]
    fn the_rows_of_a_command_are_identity_and_the_file_that_was_counted_too() {
        let file = |digest| command(RowsSource::File("rows.csv".to_owned()), digest, 3);
        let counted = file(Some(Digest::of(b"a\n1\n")));
        assert_eq!(counted.domain, "lab.fingerprint.command.plan.v1");
        assert_eq!(counted.identity["rows"], serde_json::json!({"file": "rows.csv"}));
        assert!(part_differences(&counted, &counted).is_empty());
        assert_ne!(counted.digest(), file(Some(Digest::of(b"a\n2\n"))).digest());
        let given = |repeat| command(RowsSource::Given(1), None, repeat);
        assert!(!given(3).identity.contains_key("rows_digest"));
        assert_eq!(given(3).digest(), given(30).digest());
        assert_ne!(given(3).digest(), command(RowsSource::Reported, None, 3).digest());
    }

    #[test]
    fn a_part_of_a_command_differs_from_one_of_an_engine_whatever_its_fields() {
        let (engine, command) = (plan(8, 5), plan(8, 5).of_command());
        assert_ne!(engine.digest(), command.digest());
        assert_eq!(part_differences(&engine, &command)[0].field, "domain");
    }

    #[test]
    fn another_version_of_the_field_set_is_a_difference() {
        let mut newer = plan(8, 5);
        newer.domain = "lab.fingerprint.plan.v999".to_owned();
        assert_eq!(part_differences(&plan(8, 5), &newer)[0].field, "domain");
    }
}
