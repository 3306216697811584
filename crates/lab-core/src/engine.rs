//! What lab asks of an engine, and the frames of the engine protocol.
//!
//! The same types serve on both sides of the process boundary: an engine inside the child implements [`Engine`], and so
//! does the harness's handle on that child. Stamps are nanoseconds of `CLOCK_MONOTONIC`, which both sides share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::workload::{Sampling, Stop, Workload};

/// Version of the engine protocol. A change that an older peer would misread raises it.
pub const PROTOCOL_VERSION: u32 = 1;

/// A program that executes a model.
pub trait Engine {
    /// Introduces itself.
    fn hello(&mut self) -> Result<Hello, EngineError>;

    /// Loads the model.
    fn load(&mut self, request: &LoadRequest) -> Result<Loaded, EngineError>;

    /// Takes the prompt in (prefill) and yields the first token. Forgets everything generated before.
    ///
    /// `request_ns` is when the request arrived: the origin of the repetition's timeline.
    fn begin(&mut self, request: &BeginRequest, request_ns: u64) -> Result<Tokens, EngineError>;

    /// Generates up to `n` further tokens; fewer only when the stop rule ends the generation.
    fn step(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError>;

    /// Ends the generation begun.
    fn finish(&mut self) -> Result<(), EngineError>;

    /// Generates the whole workload at once.
    fn generate(&mut self, workload: &Workload, request_ns: u64) -> Result<Tokens, EngineError> {
        let mut tokens = self.begin(&BeginRequest::from(workload), request_ns)?;
        if !tokens.ended && workload.generate > 1 {
            tokens.append(self.step(workload.generate - 1, request_ns)?);
        }
        self.finish()?;
        Ok(tokens)
    }
}

/// A request frame: one JSON object on one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Opens the conversation. Answered by `hello`.
    Hello {
        /// The protocol version the harness speaks.
        protocol: u32,
    },
    /// Loads a model. Answered by `loaded`.
    Load(LoadRequest),
    /// Prefill and first token. Answered by `tokens`.
    Begin(BeginRequest),
    /// Further tokens. Answered by `tokens`.
    Step {
        /// How many.
        n: u32,
    },
    /// Ends a generation begun. Answered by `finished`.
    Finish,
    /// A whole workload at once. Answered by `tokens`.
    Generate(Workload),
    /// Ends the process. Answered by `bye`.
    Exit,
}

/// An answer frame: one JSON object on one line, sent after its last token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The engine introduces itself.
    Hello(Hello),
    /// The model is ready.
    Loaded(Loaded),
    /// Generated tokens.
    Tokens(Tokens),
    /// The generation is ended.
    Finished {},
    /// The process ends.
    Bye {},
    /// The request failed; the engine lives on.
    Error {
        /// What went wrong, as a lower-case fragment.
        message: String,
    },
}

/// How an engine introduces itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// The protocol version it speaks.
    pub protocol: u32,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of what was built: sources, dependencies, compiler, target features, profile.
    pub build: Digest,
    /// The device it computes on, such as `cpu`.
    pub device: String,
    /// Settings it runs with, as it sees them.
    pub settings: BTreeMap<String, String>,
    /// Resolution of its clock, in nanoseconds. Above 1000 it is refused.
    pub clock_resolution_ns: u64,
}

/// What to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadRequest {
    /// Path of the model file. Empty for engines that need none.
    pub model: String,
    /// Positions of context the workload fills.
    pub positions: u64,
}

/// A loaded model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loaded {
    /// When the request arrived (monotonic nanoseconds).
    pub request_ns: u64,
    /// When the model was ready (monotonic nanoseconds).
    pub ready_ns: u64,
    /// Vocabulary size, in tokens.
    pub vocabulary: u32,
}

/// What a generation begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BeginRequest {
    /// Token ids of the prompt.
    pub prompt: Vec<u32>,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// When generation ends.
    pub stop: Stop,
}

impl From<&Workload> for BeginRequest {
    fn from(workload: &Workload) -> Self {
        Self { prompt: workload.prompt.clone(), sampling: workload.sampling, stop: workload.stop }
    }
}

/// Generated tokens and when each became visible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tokens {
    /// When the request arrived (monotonic nanoseconds).
    pub request_ns: u64,
    /// Token ids, in order.
    pub ids: Vec<u32>,
    /// When each became visible (monotonic nanoseconds), as many as ids.
    pub stamps_ns: Vec<u64>,
    /// The margin between the two greatest logits at each token, as many as ids, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margins: Option<Vec<f32>>,
    /// Whether the stop rule ended the generation.
    #[serde(default)]
    pub ended: bool,
}

impl Tokens {
    /// Appends what a later step of the same generation yielded. Margins stay only when both sides have them.
    pub fn append(&mut self, later: Self) {
        let Self { request_ns: _, ids, stamps_ns, margins, ended } = later;
        self.ids.extend(ids);
        self.stamps_ns.extend(stamps_ns);
        self.margins = self.margins.take().zip(margins).map(|(earlier, later)| [earlier, later].concat());
        self.ended = ended;
    }
}

/// Why an engine gave no answer, or none that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EngineError {
    /// The program could not be started.
    #[error("the engine could not be started: {message}")]
    Start {
        /// What the system said.
        message: String,
    },
    /// The process ended by a signal.
    #[error("the engine was killed by signal {signal} ({name}){log}")]
    Killed {
        /// The signal's number.
        signal: i32,
        /// Its name, such as `SIGKILL`.
        name: String,
        /// The last lines of its log, introduced, or nothing.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        log: String,
    },
    /// The process ended by itself.
    #[error("the engine ended with status {status} before it answered{log}")]
    Exited {
        /// Its exit status.
        status: i32,
        /// The last lines of its log, introduced, or nothing.
        log: String,
    },
    /// No answer came in time; the harness killed the process.
    #[error("the engine gave no answer to `{request}` within {seconds} s and was stopped")]
    TimedOut {
        /// The request that stayed unanswered.
        request: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// The engine answered that it failed.
    #[error("the engine failed: {message}")]
    Failed {
        /// What it said.
        message: String,
    },
    /// The engine's answer breaks the protocol.
    #[error("the engine broke the protocol: {message}")]
    Protocol {
        /// What was expected and what came.
        message: String,
    },
    /// The user interrupted the session.
    #[error("interrupted")]
    Interrupted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_flat_objects_that_name_themselves() {
        let request = serde_json::to_string(&Request::Step { n: 4 }).unwrap();
        assert_eq!(request, r#"{"request":"step","n":4}"#);
        let load = Request::Load(LoadRequest { model: "m.gguf".to_owned(), positions: 8 });
        let text = serde_json::to_string(&load).unwrap();
        assert_eq!(text, r#"{"request":"load","model":"m.gguf","positions":8}"#);
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), load);
        assert!(serde_json::from_str::<Answer>(r#"{"answer":"sing"}"#).is_err());
    }

    #[test]
    fn margins_survive_an_append_only_when_both_sides_have_them() {
        let part =
            |margins| Tokens { request_ns: 0, ids: vec![1], stamps_ns: vec![1], margins, ended: false };
        let mut both = part(Some(vec![0.5]));
        both.append(part(Some(vec![0.25])));
        assert_eq!(both.margins, Some(vec![0.5, 0.25]));
        let mut one = part(Some(vec![0.5]));
        one.append(part(None));
        assert_eq!((one.margins, one.ids), (None, vec![1, 1]));
    }
}
