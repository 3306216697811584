//! The scripted engine: set latencies, failures and lies.
//!
//! A real, selectable engine (`engine = { name = "scripted" }`) that executes no model. lab's own tests stand on it: in
//! process on a virtual clock, and as a child process where what breaks is the process itself.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use lab_core::clock::Clock;
use lab_core::digest::Digest;
use lab_core::engine::{
    BeginRequest, Engine, EngineError, FORCED, Feed, Hello, LoadRequest, Loaded, OperationTime,
    PROTOCOL_VERSION, Profile, Tokens,
};
use lab_core::plan::{Fault, Script};
use rustix::process::{Signal, getpid, kill_process};

/// Ids repeat after this many; a vocabulary as large as Llama 2's.
const VOCABULARY: u32 = 32_000;
const NANOS_PER_MICROSECOND: u64 = 1_000;
/// The margin at every token, in logits: far from a near-tie.
const MARGIN: f32 = 1.0;
/// What a profile says each kind of operation took, in percent of a generation. The rest is unnamed.
const NAMED_PERCENT: [(&str, u64); 5] =
    [("matmul", 70), ("attention", 15), ("norm", 5), ("rope", 3), ("sampling", 5)];

/// Executes a script instead of a model.
pub struct Scripted<'a> {
    script: Script,
    fault: Option<Fault>,
    clock: &'a dyn Clock,
    /// Where a fault writes what is no frame.
    answers: Box<dyn Write>,
    n_begun: u32,
    generation: Option<Generation>,
    /// Whether the last load asked for a profile.
    profiles: bool,
    /// How long the last generation took so far.
    spent: Option<Spent>,
}

/// What a generation took.
#[derive(Clone, Copy)]
struct Spent {
    nanos: u64,
    n_tokens: u64,
}

struct Generation {
    prompt_sum: u64,
    n_generated: u64,
    last_ns: u64,
    request_ns: u64,
    /// Nanoseconds from one token to the next in this generation.
    token_ns: u64,
    /// The token chosen last.
    last: u32,
    feed: Feed,
}

impl<'a> Scripted<'a> {
    /// Readies a script for one launch of a session. `answers` is written to only by the fault `garbage`.
    pub fn new(script: Script, launch: u32, clock: &'a dyn Clock, answers: Box<dyn Write>) -> Self {
        let strikes = script.fault_launch.is_none_or(|struck| struck == launch);
        let fault = script.fault.filter(|_| strikes);
        Self { script, fault, clock, answers, n_begun: 0, generation: None, profiles: false, spent: None }
    }

    /// Waits until a time, stretched for the first generation of a launch.
    fn stretch(&self, micros: u64) -> u64 {
        let nanos = micros.saturating_mul(NANOS_PER_MICROSECOND);
        if self.n_begun > 1 {
            return nanos;
        }
        stretch_by(nanos, self.script.cold_factor)
    }

    /// Returns what the world outside the script adds to every token, in microseconds.
    fn slowdown_us(&self) -> u64 {
        let length = |path: &PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
        self.script.slowdown_file.as_ref().map_or(0, length)
    }

    fn strike(&mut self) -> Result<(), EngineError> {
        match self.fault {
            Some(Fault::GenerateFails) => Err(failed("the script says so")),
            Some(Fault::GenerateHangs) => self.hang(),
            Some(Fault::Killed) => {
                kill_process(getpid(), Signal::KILL).map_err(|error| failed(&error.to_string()))?;
                self.hang()
            }
            Some(Fault::Exits) =>
            {
                #[expect(clippy::disallowed_methods, reason = "the fault is that the process ends")]
                std::process::exit(3)
            }
            Some(Fault::Garbage) => {
                self.answers.write_all(b"token token token\n").map_err(|error| failed(&error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Waits for ever; the harness has to end this process.
    fn hang(&self) -> ! {
        loop {
            self.clock.wait_until_ns(self.clock.now_ns().saturating_add(1_000_000_000));
        }
    }

    /// Waits for the next token and stamps it.
    fn next(&mut self, deadline_ns: u64) -> Result<(u32, u64), EngineError> {
        self.clock.wait_until_ns(deadline_ns);
        let now_ns = self.clock.now_ns();
        let generation = self.generation.as_mut().ok_or_else(no_generation)?;
        let id = (generation.prompt_sum + 7_919 * generation.n_generated) % u64::from(VOCABULARY);
        let id = u32::try_from(id).expect("ids lie below the vocabulary");
        generation.n_generated += 1;
        generation.last = id;
        // The schedule counts from the plan and not from when this process woke up: delays do not add up.
        generation.last_ns = deadline_ns;
        let elapsed_ns = now_ns.saturating_sub(generation.request_ns);
        self.spent = Some(Spent { nanos: elapsed_ns, n_tokens: generation.n_generated });
        let told_ns = match self.fault {
            Some(Fault::LyingClock) => generation.request_ns + elapsed_ns / 3 * 2,
            Some(Fault::Backwards) if generation.n_generated == 2 => generation.request_ns,
            _ => now_ns,
        };
        Ok((id, told_ns))
    }

    fn tokens(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError> {
        self.generation.as_ref().ok_or_else(no_generation)?.feed.check(n)?;
        let n = n - u32::from(self.fault == Some(Fault::TooFewTokens) && n > 1);
        let mut tokens = Tokens::none(request_ns);
        for _ in 0..n {
            let generation = self.generation.as_mut().ok_or_else(no_generation)?;
            let margin = generation.take_in()?;
            // A step asked for after a pause begins when it is asked for.
            let deadline_ns = request_ns.max(generation.last_ns).saturating_add(generation.token_ns);
            let (id, stamp_ns) = self.next(deadline_ns)?;
            tokens.record(id, stamp_ns, Some(margin));
        }
        Ok(tokens)
    }
}

impl Generation {
    /// Takes in the token that it is fed, and returns the margin at the next. Without a model no choice follows from what is
    /// fed; the margin tells what was forced, so that lab's tests see it: greater by its id.
    fn take_in(&mut self) -> Result<f32, EngineError> {
        let fed = self.feed.next(self.last)?;
        let told = if self.feed.is_forced() { u16::try_from(fed).unwrap_or(u16::MAX) } else { 0 };
        Ok(MARGIN + f32::from(told))
    }
}

impl Engine for Scripted<'_> {
    fn hello(&mut self) -> Result<Hello, EngineError> {
        Ok(Hello {
            protocol: if self.fault == Some(Fault::WrongProtocol) { 999 } else { PROTOCOL_VERSION },
            name: "scripted".to_owned(),
            version: self.script.version.clone(),
            build: Digest::of_canonical("lab.scripted.v1", &self.script),
            device: "cpu".to_owned(),
            settings: BTreeMap::new(),
            clock_resolution_ns: if self.fault == Some(Fault::CoarseClock) { 1_000_000 } else { 1 },
            features: vec![FORCED.to_owned()],
        })
    }

    fn load(&mut self, request: &LoadRequest) -> Result<Loaded, EngineError> {
        match self.fault {
            Some(Fault::LoadFails) => return Err(failed("the script says so")),
            Some(Fault::LoadHangs) => self.hang(),
            _ => {}
        }
        let request_ns = self.clock.now_ns();
        let load_ns = self.script.load_us.saturating_mul(NANOS_PER_MICROSECOND);
        self.clock.wait_until_ns(request_ns.saturating_add(load_ns));
        self.profiles = request.profile;
        Ok(Loaded {
            request_ns,
            ready_ns: self.clock.now_ns(),
            vocabulary: VOCABULARY,
            bytes_per_token: self.script.bytes_per_token,
        })
    }

    fn begin(&mut self, request: &BeginRequest, request_ns: u64) -> Result<Tokens, EngineError> {
        self.n_begun += 1;
        self.spent = None;
        let prefill_ns = self.stretch(self.script.prefill_us);
        let token_us = self.script.token_us.saturating_add(self.slowdown_us());
        let token_ns = self.stretch(token_us);
        let prompt_sum = request.prompt.iter().map(|id| u64::from(*id)).sum();
        self.generation = Some(Generation {
            prompt_sum,
            n_generated: 0,
            last_ns: request_ns,
            request_ns,
            token_ns,
            last: 0,
            feed: Feed::of(request),
        });
        self.strike()?;
        let (id, stamp_ns) = self.next(request_ns.saturating_add(prefill_ns))?;
        Ok(Tokens {
            request_ns,
            ids: vec![id],
            stamps_ns: vec![stamp_ns],
            margins: Some(vec![MARGIN]),
            ended: false,
        })
    }

    fn step(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError> {
        self.tokens(n, request_ns)
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        self.generation.take().map(|_| ()).ok_or_else(no_generation)
    }

    fn profile(&mut self) -> Result<Profile, EngineError> {
        if self.fault == Some(Fault::NoProfile) {
            return Err(failed("this engine takes no profile"));
        }
        if !self.profiles {
            return Err(failed("the model was loaded without `profile`"));
        }
        self.spent.map(divide).ok_or_else(|| failed("nothing was generated since the model was loaded"))
    }
}

/// Divides the time of a generation among its operations: the parts sum up to the time exactly.
fn divide(spent: Spent) -> Profile {
    let operation =
        |kind: &str, self_ns| OperationTime { kind: kind.to_owned(), self_ns, calls: spent.n_tokens };
    let mut operations: Vec<OperationTime> =
        NAMED_PERCENT.iter().map(|(kind, percent)| operation(kind, spent.nanos / 100 * percent)).collect();
    let named_ns: u64 = operations.iter().map(|operation| operation.self_ns).sum();
    operations.push(operation(Profile::UNNAMED, spent.nanos - named_ns));
    Profile { operations }
}

fn failed(message: &str) -> EngineError {
    EngineError::Failed { message: message.to_owned() }
}

fn no_generation() -> EngineError {
    failed("no generation was begun")
}

#[expect(clippy::cast_precision_loss, reason = "a latency lies far below 2^53 ns")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which will do here"
)]
fn stretch_by(nanos: u64, factor: f64) -> u64 {
    (nanos as f64 * factor) as u64
}

#[cfg(test)]
mod tests {
    use lab_core::workload::{Sampling, Stop, Workload};

    use super::*;
    use crate::virtual_clock::Virtual;

    fn workload(generate: u32) -> Workload {
        let (prompt, sampling) = (vec![1, 2, 3], Sampling::Greedy);
        Workload { prompt, generate, sampling, stop: Stop::Length, forced: None }
    }

    fn generate(script: Script, generate: u32, n_times: usize) -> Result<Tokens, EngineError> {
        let clock = Virtual::at(1_000);
        let mut engine = Scripted::new(script, 0, &clock, Box::new(std::io::sink()));
        let mut last = Err(failed("never generated"));
        for _ in 0..n_times {
            let request_ns = clock.now_ns();
            last = engine.generate(&workload(generate), request_ns);
        }
        last
    }

    #[test]
    fn latencies_are_exactly_those_of_the_script() {
        let script = Script { prefill_us: 3, token_us: 2, ..Script::default() };
        let tokens = generate(script, 3, 1).unwrap();
        assert_eq!(tokens.ids, [6, 7_925, 15_844]);
        assert_eq!(tokens.stamps_ns, [4_000, 6_000, 8_000]);
    }

    /// Generates under forced tokens and returns the answer.
    fn fed(engine: &mut dyn Engine, generate: u32, forced: &[u32]) -> Result<Tokens, EngineError> {
        engine.generate(&Workload { forced: Some(forced.to_vec()), ..workload(generate) }, 1_000)
    }

    #[test]
    fn what_is_forced_shows_in_the_margins_and_in_no_id() {
        let clock = Virtual::at(1_000);
        let mut engine = Scripted::new(Script::default(), 0, &clock, Box::new(std::io::sink()));
        assert!(engine.hello().unwrap().has(FORCED));
        let free = engine.generate(&workload(3), 1_000).unwrap();
        assert_eq!(free.margins, Some(vec![1.0, 1.0, 1.0]));
        let tokens = fed(&mut engine, 3, &[40, 5]).unwrap();
        assert_eq!((&tokens.ids, tokens.margins), (&free.ids, Some(vec![1.0, 41.0, 6.0])));
        // A warm-up generates fewer tokens than are forced.
        assert_eq!(fed(&mut engine, 2, &[40, 5, 6]).unwrap().margins, Some(vec![1.0, 41.0]));
        let refusal = failed("asked for 3 further tokens, and 2 are left of those it is to be fed");
        assert_eq!(fed(&mut engine, 4, &[40, 5]), Err(refusal));
        assert_eq!(fed(&mut engine, 1, &[]).unwrap().margins, Some(vec![1.0]));
    }

    #[test]
    fn the_first_generation_of_a_launch_is_cold_and_the_next_is_not() {
        let script = || Script { prefill_us: 1, token_us: 1, cold_factor: 3.0, ..Script::default() };
        let duration = |tokens: Tokens| tokens.stamps_ns[1] - tokens.request_ns;
        assert_eq!(duration(generate(script(), 2, 1).unwrap()), 6_000);
        assert_eq!(duration(generate(script(), 2, 2).unwrap()), 2_000);
    }

    #[test]
    fn a_fault_strikes_only_in_its_launch() {
        let script = Script { fault: Some(Fault::GenerateFails), fault_launch: Some(1), ..Script::default() };
        assert!(generate(script.clone(), 2, 1).is_ok());
        let everywhere = Script { fault_launch: None, ..script };
        assert_eq!(generate(everywhere, 2, 1), Err(failed("the script says so")));
    }

    #[test]
    fn a_latency_beyond_all_clocks_saturates() {
        let script = Script { prefill_us: u64::MAX, token_us: u64::MAX, ..Script::default() };
        let tokens = generate(script, 3, 1).unwrap();
        assert_eq!(tokens.stamps_ns, [u64::MAX; 3]);
    }

    #[test]
    fn each_byte_of_the_slowdown_file_delays_each_token_by_a_microsecond() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(5).unwrap();
        let slowdown_file = Some(file.path().to_owned());
        let script = Script { prefill_us: 3, token_us: 2, slowdown_file, ..Script::default() };
        assert_eq!(generate(script.clone(), 3, 1).unwrap().stamps_ns, [4_000, 11_000, 18_000]);
        drop(file);
        assert_eq!(generate(script, 3, 1).unwrap().stamps_ns, [4_000, 6_000, 8_000]);
    }

    /// Loads, with or without a profile, and generates each workload in turn.
    fn profiled(script: Script, profile: bool, generate: &[u32]) -> Result<Profile, EngineError> {
        let clock = Virtual::at(1_000);
        let mut engine = Scripted::new(script, 0, &clock, Box::new(std::io::sink()));
        engine.load(&LoadRequest { model: String::new(), positions: 8, profile }).unwrap();
        for n in generate {
            let request_ns = clock.now_ns();
            engine.generate(&workload(*n), request_ns).unwrap();
        }
        engine.profile()
    }

    #[test]
    fn a_profile_divides_the_time_of_the_last_generation_without_a_remainder() {
        let script = Script { prefill_us: 3, token_us: 2, ..Script::default() };
        // The first generation takes 21 µs, the last 3 + 2 × 2 = 7 µs.
        let profile = profiled(script, true, &[10, 3]).unwrap();
        let parts: Vec<_> =
            profile.operations.iter().map(|part| (part.kind.as_str(), part.self_ns)).collect();
        let expected = [
            ("matmul", 4_900),
            ("attention", 1_050),
            ("norm", 350),
            ("rope", 210),
            ("sampling", 350),
            ("unnamed", 140),
        ];
        assert_eq!(parts, expected);
        assert!(profile.operations.iter().all(|part| part.calls == 3));
        let odd = divide(Spent { nanos: 199, n_tokens: 1 });
        assert_eq!(odd.total_ns(), 199);
    }

    #[test]
    fn a_profile_that_cannot_be_had_is_refused_with_the_reason() {
        let refused = |script, profile, generate: &[u32]| profiled(script, profile, generate).unwrap_err();
        let script = Script::default;
        assert_eq!(refused(script(), false, &[2]), failed("the model was loaded without `profile`"));
        let unbegun = failed("nothing was generated since the model was loaded");
        assert_eq!(refused(script(), true, &[]), unbegun);
        let faulty = Script { fault: Some(Fault::NoProfile), ..script() };
        assert_eq!(refused(faulty, true, &[2]), failed("this engine takes no profile"));
    }

    #[test]
    fn bytes_per_token_are_those_of_the_script_and_unknown_without() {
        for bytes_per_token in [None, Some(138_000_000)] {
            let clock = Virtual::at(0);
            let script = Script { bytes_per_token, ..Script::default() };
            let mut engine = Scripted::new(script, 0, &clock, Box::new(std::io::sink()));
            let request = LoadRequest { model: String::new(), positions: 8, profile: false };
            assert_eq!(engine.load(&request).unwrap().bytes_per_token, bytes_per_token);
        }
    }

    #[test]
    fn a_script_without_bytes_per_token_is_the_engine_it_was_before_the_key_existed() {
        let text = serde_json::to_string(&Script::default()).unwrap();
        assert!(!text.contains("bytes_per_token"), "{text}");
    }

    #[test]
    fn a_step_without_a_beginning_is_refused() {
        let clock = Virtual::at(0);
        let mut engine = Scripted::new(Script::default(), 0, &clock, Box::new(std::io::sink()));
        assert_eq!(engine.step(1, 0), Err(no_generation()));
        assert_eq!(engine.finish(), Err(no_generation()));
    }
}
