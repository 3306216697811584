//! What lab asks of an engine, and the frames of the engine protocol.
//!
//! The same types serve on both sides of the process boundary: an engine inside the child implements [`Engine`], and so
//! does the harness's handle on that child. Stamps are nanoseconds of `CLOCK_MONOTONIC`, which both sides share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::number::exact;
use crate::workload::{Sampling, Stop, Workload};

/// Version of the engine protocol. A change that an older peer would misread raises it.
pub const PROTOCOL_VERSION: u32 = 1;

/// The feature of an engine that heeds [`BeginRequest::forced`] and [`Workload::forced`].
pub const FORCED: &str = "forced";

/// The feature of an engine whose work stands still while its process group is stopped (SIGSTOP): all of it is computed by
/// those processes, none by a device or a server.
pub const PAUSABLE: &str = "pausable";

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

    /// Begins as [`Engine::begin`] does, and pauses where that is not done after `slice_ns`. Returns nothing of an engine
    /// that is paused; the stamps of what is done leave the pauses out.
    ///
    /// An engine that cannot be paused takes as long as it takes.
    fn begin_sliced(
        &mut self,
        request: &BeginRequest,
        request_ns: u64,
        _slice_ns: u64,
    ) -> Result<Option<Tokens>, EngineError> {
        self.begin(request, request_ns).map(Some)
    }

    /// Lets a paused engine go on for `slice_ns`, and pauses it again where it is not done by then.
    fn go_on(&mut self, _slice_ns: u64) -> Result<Option<Tokens>, EngineError> {
        Err(EngineError::Failed { message: "this engine was not paused".to_owned() })
    }

    /// Generates up to `n` further tokens; fewer only when the stop rule ends the generation.
    fn step(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError>;

    /// Ends the generation begun.
    fn finish(&mut self) -> Result<(), EngineError>;

    /// Returns where the time of the last generation went. Only after a load that asked for it.
    fn profile(&mut self) -> Result<Profile, EngineError> {
        Err(EngineError::Failed { message: "this engine takes no profile".to_owned() })
    }

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

impl<E: Engine + ?Sized> Engine for Box<E> {
    fn hello(&mut self) -> Result<Hello, EngineError> {
        (**self).hello()
    }

    fn load(&mut self, request: &LoadRequest) -> Result<Loaded, EngineError> {
        (**self).load(request)
    }

    fn begin(&mut self, request: &BeginRequest, request_ns: u64) -> Result<Tokens, EngineError> {
        (**self).begin(request, request_ns)
    }

    fn begin_sliced(
        &mut self,
        request: &BeginRequest,
        request_ns: u64,
        slice_ns: u64,
    ) -> Result<Option<Tokens>, EngineError> {
        (**self).begin_sliced(request, request_ns, slice_ns)
    }

    fn go_on(&mut self, slice_ns: u64) -> Result<Option<Tokens>, EngineError> {
        (**self).go_on(slice_ns)
    }

    fn step(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError> {
        (**self).step(n, request_ns)
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        (**self).finish()
    }

    fn profile(&mut self) -> Result<Profile, EngineError> {
        (**self).profile()
    }

    fn generate(&mut self, workload: &Workload, request_ns: u64) -> Result<Tokens, EngineError> {
        (**self).generate(workload, request_ns)
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
    /// Where the time of the last generation went. Answered by `profile`.
    Profile,
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
    /// Where the time of the last generation went.
    Profile(Profile),
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
    /// What it can beyond the protocol's first version, such as `forced`: what an engine that does not know it would ignore
    /// without a word. No part of its identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

impl Hello {
    /// Returns whether the engine says that it has a feature.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|own| own == feature)
    }
}

/// What to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadRequest {
    /// Path of the model file. Empty for engines that need none.
    pub model: String,
    /// Positions of context the workload fills.
    pub positions: u64,
    /// Whether the engine shall take times per operation. It may slow the engine down; measured launches never ask.
    #[serde(default, skip_serializing_if = "is_false")]
    pub profile: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
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
    /// Bytes of weights, as they lie in memory, that one decoded token touches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_token: Option<u64>,
}

/// Where the time of a generation went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Kinds of operation, each with its self time; what has no name of its own is `unnamed`.
    pub operations: Vec<OperationTime>,
}

/// The time of one kind of operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationTime {
    /// The kind, such as `matmul`, `attention`, `norm`, `rope`, `sampling`, or `unnamed`.
    pub kind: String,
    /// Time inside it and not inside another, in nanoseconds.
    pub self_ns: u64,
    /// How often it was entered.
    pub calls: u64,
}

impl Profile {
    /// The kind under which time stands that no operation claimed.
    pub const UNNAMED: &str = "unnamed";

    /// Returns the time of all operations, in nanoseconds.
    pub fn total_ns(&self) -> u64 {
        self.operations.iter().fold(0, |total, operation| total.saturating_add(operation.self_ns))
    }

    /// Returns the share of the time that has a name, from 0 to 1; 0 for no time at all.
    pub fn named_share(&self) -> f64 {
        let unnamed = self.operations.iter().filter(|operation| operation.kind == Self::UNNAMED);
        let unnamed_ns = unnamed.fold(0_u64, |total, operation| total.saturating_add(operation.self_ns));
        match self.total_ns() {
            0 => 0.0,
            total_ns => exact(total_ns.saturating_sub(unnamed_ns)) / exact(total_ns),
        }
    }
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
    /// Token ids that are fed during decode: the `k`th in place of the `k`th token chosen, both counted from 0. Absent
    /// where the engine is fed what it chose. Only for engines that have the feature `forced`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Vec<u32>>,
}

impl From<&Workload> for BeginRequest {
    fn from(workload: &Workload) -> Self {
        Self {
            prompt: workload.prompt.clone(),
            sampling: workload.sampling,
            stop: workload.stop,
            forced: workload.forced.clone(),
        }
    }
}

/// What is left of the tokens that a generation is to be fed: an engine's own bookkeeping of [`BeginRequest::forced`].
#[derive(Debug, Clone, Default)]
pub struct Feed {
    forced: Option<std::vec::IntoIter<u32>>,
}

impl Feed {
    /// Begins with what a request forces.
    pub fn of(request: &BeginRequest) -> Self {
        Self { forced: request.forced.clone().map(Vec::into_iter) }
    }

    /// Returns whether what is fed is forced. End-of-sequence then ends nothing.
    pub fn is_forced(&self) -> bool {
        self.forced.is_some()
    }

    /// Checks that `n` further tokens can be generated.
    ///
    /// # Errors
    ///
    /// [`EngineError::Failed`] when fewer tokens are left to be fed.
    pub fn check(&self, n: u32) -> Result<(), EngineError> {
        match self.forced.as_ref().map(ExactSizeIterator::len) {
            Some(n_left) if n_left < n as usize => Err(EngineError::Failed {
                message: format!(
                    "asked for {n} further tokens, and {n_left} are left of those it is to be fed"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the token to feed where this one was chosen.
    ///
    /// # Errors
    ///
    /// [`EngineError::Failed`] when no token is left to be fed.
    pub fn next(&mut self, chosen: u32) -> Result<u32, EngineError> {
        self.check(1)?;
        Ok(self.forced.as_mut().and_then(Iterator::next).unwrap_or(chosen))
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
    /// Returns an answer without tokens to a request that arrived at this time (monotonic nanoseconds).
    pub fn none(request_ns: u64) -> Self {
        Self { request_ns, ids: Vec::new(), stamps_ns: Vec::new(), margins: None, ended: false }
    }

    /// Records a token that became visible now: the whole of what recording costs an engine a token.
    pub fn record(&mut self, id: u32, stamp_ns: u64, margin: Option<f32>) {
        self.ids.push(id);
        self.stamps_ns.push(stamp_ns);
        match margin {
            Some(margin) => self.margins.get_or_insert_default().push(margin),
            None => self.margins = None,
        }
    }

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
        let load = Request::Load(LoadRequest { model: "m.gguf".to_owned(), positions: 8, profile: false });
        let text = serde_json::to_string(&load).unwrap();
        assert_eq!(text, r#"{"request":"load","model":"m.gguf","positions":8}"#);
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), load);
        assert!(serde_json::from_str::<Answer>(r#"{"answer":"sing"}"#).is_err());
    }

    const HELLO: &str = r#"{"answer":"hello","protocol":1,"name":"e","version":"1","build":"BUILD","device":"cpu","settings":{},"clock_resolution_ns":1}"#;

    /// Reads a greeting with something more in it.
    fn greeting(further: &str) -> Hello {
        let build = Digest::of(b"build").to_string();
        let text = HELLO.replace("BUILD", &build).replace("_ns\":1}", &format!("_ns\":1{further}}}"));
        match serde_json::from_str(&text).unwrap() {
            Answer::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_engine_without_features_says_nothing_of_them_and_fields_not_known_are_ignored() {
        let plain = greeting("");
        assert!(plain.features.is_empty() && !plain.has(FORCED));
        assert!(!serde_json::to_string(&plain).unwrap().contains("features"));
        assert!(greeting(r#","features":["forced","sing"]"#).has(FORCED));
        assert_eq!(greeting(r#","later":[1]"#), plain);
    }

    #[test]
    fn what_is_forced_is_fed_in_order_whatever_was_chosen() {
        let request =
            |forced| BeginRequest { prompt: vec![1], sampling: Sampling::Greedy, stop: Stop::Length, forced };
        let mut feed = Feed::of(&request(Some(vec![7, 8])));
        assert!(feed.is_forced() && feed.check(2).is_ok());
        let message = "asked for 3 further tokens, and 2 are left of those it is to be fed".to_owned();
        assert_eq!(feed.check(3), Err(EngineError::Failed { message }));
        assert_eq!([feed.next(1), feed.next(1)], [Ok(7), Ok(8)]);
        assert!(feed.next(1).is_err());
        let mut free = Feed::of(&request(None));
        assert!(!free.is_forced() && free.check(u32::MAX).is_ok());
        assert_eq!(free.next(5), Ok(5));
        assert!(!serde_json::to_string(&request(None)).unwrap().contains("forced"));
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
