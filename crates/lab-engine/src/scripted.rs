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
    BeginRequest, Engine, EngineError, Hello, LoadRequest, Loaded, PROTOCOL_VERSION, Tokens,
};
use lab_core::plan::{Fault, Script};
use rustix::process::{Signal, getpid, kill_process};

/// Ids repeat after this many; a vocabulary as large as Llama 2's.
const VOCABULARY: u32 = 32_000;
const NANOS_PER_MICROSECOND: u64 = 1_000;

/// Executes a script instead of a model.
pub struct Scripted<'a> {
    script: Script,
    fault: Option<Fault>,
    clock: &'a dyn Clock,
    /// Where a fault writes what is no frame.
    answers: Box<dyn Write>,
    n_begun: u32,
    generation: Option<Generation>,
}

struct Generation {
    prompt_sum: u64,
    n_generated: u64,
    last_ns: u64,
    request_ns: u64,
    /// Nanoseconds from one token to the next in this generation.
    token_ns: u64,
}

impl<'a> Scripted<'a> {
    /// Readies a script for one launch of a session. `answers` is written to only by the fault `garbage`.
    pub fn new(script: Script, launch: u32, clock: &'a dyn Clock, answers: Box<dyn Write>) -> Self {
        let strikes = script.fault_launch.is_none_or(|struck| struck == launch);
        let fault = script.fault.filter(|_| strikes);
        Self { script, fault, clock, answers, n_begun: 0, generation: None }
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
        generation.n_generated += 1;
        // The schedule counts from the plan and not from when this process woke up: delays do not add up.
        generation.last_ns = deadline_ns;
        let elapsed_ns = now_ns.saturating_sub(generation.request_ns);
        let told_ns = match self.fault {
            Some(Fault::LyingClock) => generation.request_ns + elapsed_ns / 3 * 2,
            Some(Fault::Backwards) if generation.n_generated == 2 => generation.request_ns,
            _ => now_ns,
        };
        Ok((u32::try_from(id).expect("ids lie below the vocabulary"), told_ns))
    }

    fn tokens(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError> {
        let n = n - u32::from(self.fault == Some(Fault::TooFewTokens) && n > 1);
        let mut tokens = Tokens {
            request_ns,
            ids: Vec::new(),
            stamps_ns: Vec::new(),
            margins: Some(Vec::new()),
            ended: false,
        };
        for _ in 0..n {
            let Generation { last_ns, token_ns, .. } = self.generation.as_ref().ok_or_else(no_generation)?;
            // A step asked for after a pause begins when it is asked for.
            let (id, stamp_ns) = self.next(request_ns.max(*last_ns).saturating_add(*token_ns))?;
            tokens.ids.push(id);
            tokens.stamps_ns.push(stamp_ns);
            tokens.margins.get_or_insert_default().push(1.0);
        }
        Ok(tokens)
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
        })
    }

    fn load(&mut self, _: &LoadRequest) -> Result<Loaded, EngineError> {
        match self.fault {
            Some(Fault::LoadFails) => return Err(failed("the script says so")),
            Some(Fault::LoadHangs) => self.hang(),
            _ => {}
        }
        let request_ns = self.clock.now_ns();
        let load_ns = self.script.load_us.saturating_mul(NANOS_PER_MICROSECOND);
        self.clock.wait_until_ns(request_ns.saturating_add(load_ns));
        Ok(Loaded { request_ns, ready_ns: self.clock.now_ns(), vocabulary: VOCABULARY })
    }

    fn begin(&mut self, request: &BeginRequest, request_ns: u64) -> Result<Tokens, EngineError> {
        self.n_begun += 1;
        let prefill_ns = self.stretch(self.script.prefill_us);
        let token_us = self.script.token_us.saturating_add(self.slowdown_us());
        let token_ns = self.stretch(token_us);
        let prompt_sum = request.prompt.iter().map(|id| u64::from(*id)).sum();
        self.generation =
            Some(Generation { prompt_sum, n_generated: 0, last_ns: request_ns, request_ns, token_ns });
        self.strike()?;
        let (id, stamp_ns) = self.next(request_ns.saturating_add(prefill_ns))?;
        Ok(Tokens {
            request_ns,
            ids: vec![id],
            stamps_ns: vec![stamp_ns],
            margins: Some(vec![1.0]),
            ended: false,
        })
    }

    fn step(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError> {
        self.tokens(n, request_ns)
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        self.generation.take().map(|_| ()).ok_or_else(no_generation)
    }
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
        Workload { prompt: vec![1, 2, 3], generate, sampling: Sampling::Greedy, stop: Stop::Length }
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

    #[test]
    fn a_step_without_a_beginning_is_refused() {
        let clock = Virtual::at(0);
        let mut engine = Scripted::new(Script::default(), 0, &clock, Box::new(std::io::sink()));
        assert_eq!(engine.step(1, 0), Err(no_generation()));
        assert_eq!(engine.finish(), Err(no_generation()));
    }
}
