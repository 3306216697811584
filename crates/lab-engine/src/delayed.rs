//! An engine made slower by a known amount, to learn what a comparison can see.
//!
//! The delay is an engine setting and stands in its `hello`, so it is part of the fingerprint: a run with one never passes
//! for another. It is spent computing nothing on the engine's own core, so that frequency and scheduler see no pause.
//!
//! A share of a time needs a clock that stands still while the engine is paused. Of an engine with one thread that is the CPU time
//! of its process; with several none is, and a delayed engine then does not say that it can be paused.

use std::fmt;
use std::str::FromStr;

use lab_core::clock::Clock;
use lab_core::engine::{
    BeginRequest, Engine, EngineError, Hello, LoadRequest, Loaded, PAUSABLE, Profile, Tokens,
};

use crate::singly::singly;

/// How much slower, and where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Delay {
    /// Prefill and every token: `tokens_per_sec` falls by this share.
    Uniform(f64),
    /// Every tenth token takes this share longer.
    Tenth(f64),
    /// The prefill takes this share longer.
    Prefill(f64),
}

/// Why a delay was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no delay; expected `uniform:SHARE` (SHARE from 0, below 1), `tenth:SHARE` or `prefill:SHARE` (from 0)"
)]
pub struct InvalidDelay(String);

impl FromStr for Delay {
    type Err = InvalidDelay;

    fn from_str(text: &str) -> Result<Self, InvalidDelay> {
        let parsed = text.split_once(':').and_then(|(kind, share)| Some((kind, share.parse::<f64>().ok()?)));
        match parsed {
            Some(("uniform", share)) if (0.0..1.0).contains(&share) => Ok(Self::Uniform(share)),
            Some(("tenth", share)) if (0.0..=100.0).contains(&share) => Ok(Self::Tenth(share)),
            Some(("prefill", share)) if (0.0..=100.0).contains(&share) => Ok(Self::Prefill(share)),
            _ => Err(InvalidDelay(text.to_owned())),
        }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform(share) => write!(f, "uniform:{share}"),
            Self::Tenth(share) => write!(f, "tenth:{share}"),
            Self::Prefill(share) => write!(f, "prefill:{share}"),
        }
    }
}

impl Delay {
    /// Returns how much longer a piece of work takes, as a share of its own time. `position` counts the generated tokens
    /// from 0; the first comes with the prefill.
    ///
    /// A speed lower by δ is a time longer by δ/(1 − δ).
    fn share(self, position: u32) -> f64 {
        match self {
            Self::Uniform(share) => share / (1.0 - share),
            Self::Tenth(share) if position > 0 && position.is_multiple_of(10) => share,
            Self::Prefill(share) if position == 0 => share,
            Self::Tenth(_) | Self::Prefill(_) => 0.0,
        }
    }
}

/// An engine with a delay.
pub struct Delayed<'a, E> {
    engine: E,
    delay: Delay,
    clock: &'a dyn Clock,
    /// Counts the time that the engine works and stands still while it is paused, if there is such a clock.
    pausing: Option<&'a dyn Clock>,
    /// Tokens of the generation begun.
    position: u32,
    /// When the last of them became visible.
    last_ns: u64,
    /// When work on the next of them began, as work is counted.
    began_ns: u64,
}

impl<'a, E: Engine> Delayed<'a, E> {
    /// Slows an engine down, whose work is counted by a clock that stands still while the engine is paused, if there is one.
    pub fn new(engine: E, delay: Delay, clock: &'a dyn Clock, pausing: Option<&'a dyn Clock>) -> Self {
        Self { engine, delay, clock, pausing, position: 0, last_ns: 0, began_ns: 0 }
    }

    /// Returns the time as work is counted.
    fn worked_ns(&self) -> u64 {
        self.pausing.unwrap_or(self.clock).now_ns()
    }

    /// Holds an answer of one token back until it has taken as much longer as it should.
    fn hold(&mut self, mut tokens: Tokens) -> Tokens {
        let Some(stamp_ns) = tokens.stamps_ns.last_mut() else { return tokens };
        let now_ns = self.worked_ns();
        let until_ns = now_ns + longer(now_ns - self.began_ns, self.delay.share(self.position));
        while self.worked_ns() < until_ns {
            // Asleep, a core would change its frequency and the scheduler its mind.
            std::hint::spin_loop();
        }
        self.began_ns = self.worked_ns();
        self.last_ns = self.clock.now_ns();
        *stamp_ns = self.last_ns;
        self.position += 1;
        tokens
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a token takes far less than 2^53 ns, and a share is not negative"
)]
fn longer(took_ns: u64, share: f64) -> u64 {
    (took_ns as f64 * share) as u64
}

impl<E: Engine> Engine for Delayed<'_, E> {
    fn hello(&mut self) -> Result<Hello, EngineError> {
        let mut hello = self.engine.hello()?;
        hello.settings.insert("delay".to_owned(), self.delay.to_string());
        hello.features.retain(|feature| feature != PAUSABLE || self.pausing.is_some());
        Ok(hello)
    }

    fn load(&mut self, request: &LoadRequest) -> Result<Loaded, EngineError> {
        self.engine.load(request)
    }

    fn begin(&mut self, request: &BeginRequest, request_ns: u64) -> Result<Tokens, EngineError> {
        (self.position, self.began_ns) = (0, self.worked_ns());
        let tokens = self.engine.begin(request, request_ns)?;
        Ok(self.hold(tokens))
    }

    fn step(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError> {
        self.began_ns = self.worked_ns();
        // Of a whole generation the request came before the tokens that are there already.
        let mut asked_ns = request_ns.max(self.last_ns);
        singly(n, request_ns, || {
            let one = self.engine.step(1, asked_ns)?;
            let one = self.hold(one);
            asked_ns = self.last_ns;
            Ok(one)
        })
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        self.engine.finish()
    }

    fn profile(&mut self) -> Result<Profile, EngineError> {
        self.engine.profile()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use lab_core::engine::FORCED;
    use lab_core::plan::Script;
    use lab_core::workload::{Sampling, Stop, Workload};

    use super::*;
    use crate::scripted::Scripted;
    use crate::virtual_clock::Virtual;

    /// Returns the time of 21 tokens under a delay, with a prefill of 1 ms and 100 us a token.
    fn total_ns(delay: &str) -> u64 {
        let clock = Virtual::stepping(1_000, 100);
        let script = Script { prefill_us: 1_000, token_us: 100, ..Script::default() };
        let engine = Scripted::new(script, 0, &clock, Box::new(io::sink()));
        let mut engine = Delayed::new(engine, delay.parse().unwrap(), &clock, None);
        let workload = Workload {
            prompt: vec![1],
            generate: 21,
            sampling: Sampling::Greedy,
            stop: Stop::Length,
            forced: None,
        };
        let tokens = engine.generate(&workload, 1_000).unwrap();
        assert_eq!((tokens.ids.len(), tokens.stamps_ns.len()), (21, 21));
        assert!(tokens.stamps_ns.is_sorted());
        tokens.stamps_ns[20] - 1_000
    }

    #[test]
    fn each_delay_lengthens_what_it_names_by_what_it_says() {
        let plain = total_ns("uniform:0");
        for (delay, expected) in
            [("uniform:0.06", 3_000_000.0 / 0.94), ("tenth:0.6", 3_120_000.0), ("prefill:0.4", 3_400_000.0)]
        {
            let found = total_ns(delay) as f64 * 3_000_000.0 / plain as f64;
            assert!((found / expected - 1.0).abs() < 0.005, "{delay}: {found} ns of {expected}");
        }
    }

    #[test]
    fn what_is_forced_passes_through_token_by_token() {
        let clock = Virtual::stepping(1_000, 100);
        let engine = Scripted::new(Script::default(), 0, &clock, Box::new(io::sink()));
        let mut engine = Delayed::new(engine, Delay::Uniform(0.06), &clock, None);
        assert!(engine.hello().unwrap().has(FORCED));
        let workload = Workload {
            prompt: vec![1],
            generate: 3,
            sampling: Sampling::Greedy,
            stop: Stop::Length,
            forced: Some(vec![40, 5]),
        };
        let tokens = engine.generate(&workload, 1_000).unwrap();
        assert_eq!(tokens.margins, Some(vec![1.0, 41.0, 6.0]));
    }

    #[test]
    fn a_delay_is_part_of_what_the_engine_says_it_is() {
        let clock = Virtual::at(0);
        let engine = Scripted::new(Script::default(), 0, &clock, Box::new(io::sink()));
        let hello = Delayed::new(engine, Delay::Uniform(0.06), &clock, None).hello().unwrap();
        assert_eq!(hello.settings["delay"], "uniform:0.06");
    }

    #[test]
    fn what_is_no_delay_is_refused_with_what_is() {
        for text in ["uniform:1", "uniform", "half:0.5", "tenth:-1", "prefill:much", "uniform:NaN"] {
            assert!(text.parse::<Delay>().unwrap_err().to_string().contains("`uniform:SHARE`"), "{text}");
        }
    }
}
