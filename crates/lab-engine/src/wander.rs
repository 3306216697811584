//! An engine whose tokens are computed at ever other places of the stack.
//!
//! Where its stack stands within a page can cost an engine a third of its speed: probably because what it spills there shares
//! the low twelve bits of its address with what it reads, and loads wait for stores that they only seem to follow. A memory
//! layout puts the stack of a launch at one place, and a few of a page's places are such ones. Tokens that wander through the
//! whole page make every launch meet all of them, as often as the other side of its pair (decision 22).
//!
//! ```text
//!   page   ┌────────────────────────────────────────┐
//!   tokens │ 0      5  2      7  4   1      6  3    │   each 0.618 of a page behind the one before
//!          └────────────────────────────────────────┘
//! ```

use lab_core::engine::{BeginRequest, Engine, EngineError, Hello, LoadRequest, Loaded, Profile, Tokens};

use crate::singly::singly;

/// What lies whole pages apart lies alike for a core that compares the low twelve bits of addresses.
const PAGE_BYTES: usize = 4096;
/// From one token to the next: odd, so that none of a page's places is met twice before all are, and the page times the golden
/// section, so that any few tokens in a row are spread over all of it.
const STEP_BYTES: usize = 2531;

/// An engine that computes each token at another place of the stack.
pub struct Wandering<E> {
    engine: E,
    /// Tokens of the generation begun.
    n_tokens: usize,
}

impl<E: Engine> Wandering<E> {
    /// Lets an engine wander.
    pub fn new(engine: E) -> Self {
        Self { engine, n_tokens: 0 }
    }

    /// Asks for the next token, as far down the page as its turn is.
    fn next(&mut self, request_ns: u64) -> Result<Tokens, EngineError> {
        let n_bytes = self.n_tokens * STEP_BYTES % PAGE_BYTES;
        let engine = &mut self.engine;
        let tokens = further_down(n_bytes, &mut || engine.step(1, request_ns))?;
        self.n_tokens += 1;
        Ok(tokens)
    }
}

/// Does a piece of work with the stack so many bytes lower, to the next frame.
fn further_down<T>(n_bytes: usize, work: &mut dyn FnMut() -> T) -> T {
    let here = 0_u8;
    descend(address(&here), n_bytes, work)
}

#[inline(never)]
fn descend<T>(from: usize, n_bytes: usize, work: &mut dyn FnMut() -> T) -> T {
    let here = 0_u8;
    // Read behind the work, so that the frame is held until it is done and the call is no jump.
    let answer = match from.abs_diff(address(&here)) >= n_bytes {
        true => work(),
        false => descend(from, n_bytes, work),
    };
    std::hint::black_box(&here);
    answer
}

fn address(of: &u8) -> usize {
    std::ptr::from_ref(std::hint::black_box(of)).addr()
}

impl<E: Engine> Engine for Wandering<E> {
    fn hello(&mut self) -> Result<Hello, EngineError> {
        self.engine.hello()
    }

    fn load(&mut self, request: &LoadRequest) -> Result<Loaded, EngineError> {
        self.engine.load(request)
    }

    fn begin(&mut self, request: &BeginRequest, request_ns: u64) -> Result<Tokens, EngineError> {
        self.n_tokens = 0;
        self.engine.begin(request, request_ns)
    }

    fn step(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError> {
        singly(n, request_ns, || self.next(request_ns))
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
    use std::collections::BTreeSet;
    use std::io;

    use lab_core::plan::Script;
    use lab_core::workload::{Sampling, Stop, Workload};

    use super::*;
    use crate::scripted::Scripted;
    use crate::virtual_clock::Virtual;

    fn workload(generate: u32) -> Workload {
        Workload { prompt: vec![1], generate, sampling: Sampling::Greedy, stop: Stop::Length, forced: None }
    }

    #[test]
    fn a_wandering_engine_says_what_it_says_at_home() {
        let script = || Script { prefill_us: 1_000, token_us: 100, ..Script::default() };
        let (near, far) = (Virtual::at(1_000), Virtual::at(1_000));
        let mut at_home = Scripted::new(script(), 0, &near, Box::new(io::sink()));
        let mut wandering = Wandering::new(Scripted::new(script(), 0, &far, Box::new(io::sink())));
        assert_eq!(wandering.generate(&workload(20), 1_000), at_home.generate(&workload(20), 1_000));
        assert_eq!(wandering.step(0, 7).map(|tokens| tokens.ids), Ok(Vec::new()));
    }

    /// An engine that notes where in its page the stack stands, and ends a generation after so many tokens.
    struct Noting {
        places: Vec<usize>,
        ends_after: usize,
    }

    impl Noting {
        fn tokens(&mut self, request_ns: u64) -> Tokens {
            let here = 0_u8;
            self.places.push(address(&here) % PAGE_BYTES);
            let mut tokens = Tokens::none(request_ns);
            tokens.record(1, request_ns, None);
            tokens.ended = self.places.len() >= self.ends_after;
            tokens
        }
    }

    impl Engine for Noting {
        fn hello(&mut self) -> Result<Hello, EngineError> {
            Err(EngineError::Interrupted)
        }
        fn load(&mut self, _: &LoadRequest) -> Result<Loaded, EngineError> {
            Err(EngineError::Interrupted)
        }
        fn begin(&mut self, _: &BeginRequest, request_ns: u64) -> Result<Tokens, EngineError> {
            self.places.clear();
            Ok(self.tokens(request_ns))
        }
        fn step(&mut self, n: u32, request_ns: u64) -> Result<Tokens, EngineError> {
            assert_eq!(n, 1, "each token has a place of its own");
            Ok(self.tokens(request_ns))
        }
        fn finish(&mut self) -> Result<(), EngineError> {
            Ok(())
        }
        fn profile(&mut self) -> Result<Profile, EngineError> {
            Err(EngineError::Interrupted)
        }
    }

    #[test]
    fn the_tokens_of_a_generation_are_spread_over_a_page_and_those_of_the_next_lie_there_too() {
        let mut engine = Wandering::new(Noting { places: Vec::new(), ends_after: usize::MAX });
        let mut generate = || {
            engine.generate(&workload(65), 1_000).unwrap();
            engine.engine.places.split_off(1)
        };
        let (first, second) = (generate(), generate());
        assert_eq!(first, second);
        let eighths: BTreeSet<usize> = first.iter().map(|place| place * 8 / PAGE_BYTES).collect();
        assert_eq!(eighths.len(), 8, "{first:?}");
        let any_six: BTreeSet<usize> = first[20..26].iter().map(|place| place * 4 / PAGE_BYTES).collect();
        assert!(any_six.len() >= 3, "{first:?}");
    }

    #[test]
    fn a_generation_ends_where_its_engine_ends_it() {
        let mut engine = Wandering::new(Noting { places: Vec::new(), ends_after: 4 });
        let tokens = engine.generate(&workload(9), 1_000).unwrap();
        assert_eq!((tokens.ids.len(), tokens.ended, tokens.margins), (4, true, None));
    }
}
