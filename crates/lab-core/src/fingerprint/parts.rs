//! The typed fields of each part, every one declared identity or context.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{Isolation, Mode, PartKind, PartRecord};
use crate::command::RowsSource;
use crate::digest::Digest;
use crate::workload::{Sampling, Stop};

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

fn to_json<T: Serialize>(field: &T) -> Value {
    serde_json::to_value(field).expect("fingerprint fields serialise to JSON")
}
