//! An engine that works at drawn places of the stack: the prompt at one, and each token at ever another.
//!
//! Where its stack stands within a page can cost an engine a third of its speed: probably because what it spills there shares
//! the low twelve bits of its address with what it reads, and loads wait for stores that they only seem to follow. A memory
//! layout puts the stack of a launch at one place, and a few of a page's places are such ones. Tokens that wander through the
//! whole page make every launch meet all of them, as often as the other side of its pair (decision 22). A prompt is one piece of
//! work and cannot wander; it is taken in where the layout says, to the byte, whatever calls lie above it on either side.
//!
//! ```text
//!   page   ┌────────────────────────────────────────┐
//!   prompt │                           P            │   where the layout's padding puts it
//!   tokens │  0     3     6   1    4     7   2     5│   each 0.618 of a page below the one before
//!          └────────────────────────────────────────┘
//! ```

use std::mem::MaybeUninit;

use lab_core::engine::{BeginRequest, Engine, EngineError, Hello, LoadRequest, Loaded, Profile, Tokens};

use crate::singly::singly;

/// What lies whole pages apart lies alike for a core that compares the low twelve bits of addresses.
const PAGE_BYTES: usize = 4096;
/// From one token to the next: odd, so that none of a page's places is met twice before all are, and the page times the golden
/// section, so that any few tokens in a row are spread over all of it.
const STEP_BYTES: usize = 2531;
/// What calls align the stack to (System V ABI for x86-64, Procedure Call Standard for ARM64).
const ALIGNMENT_BYTES: usize = 16;
/// How much further a coarse step goes than a call: [`N_FRAMES`] fine ones.
const COARSE_BYTES: usize = 256;
/// Steps of either kind: so many coarse ones are a page.
const N_FRAMES: usize = 16;
/// What a frame holds that takes no step.
const NARROW_BYTES: usize = 16;

/// An engine that computes each token at another place of the stack.
pub struct Wandering<E> {
    engine: E,
    /// Where in its page the stack stands for the prompt.
    home: usize,
    /// Tokens of the generation begun.
    n_tokens: usize,
}

impl<E: Engine> Wandering<E> {
    /// Lets an engine wander, from where a layout of so many bytes of padding puts its stack.
    pub fn new(engine: E, padding_bytes: usize) -> Self {
        Self { engine, home: below(0, padding_bytes), n_tokens: 0 }
    }

    /// Asks for the next token, as far down the page as its turn is.
    fn next(&mut self, request_ns: u64) -> Result<Tokens, EngineError> {
        self.n_tokens += 1;
        let place = below(self.home, self.n_tokens * STEP_BYTES);
        let engine = &mut self.engine;
        at(place, &mut || engine.step(1, request_ns))
    }
}

/// Returns the place of a page so many bytes below another one, from its end on again.
fn below(place: usize, n_bytes: usize) -> usize {
    (PAGE_BYTES + place - n_bytes % PAGE_BYTES) % PAGE_BYTES
}

/// Does a piece of work with the stack at this place of a page, up to a distance that is the same for all places. Inlined, it would be
/// another one for each caller.
#[inline(never)]
fn at<T>(place: usize, work: &mut dyn FnMut() -> T) -> T {
    let here = 0_u8;
    let n_bytes = below(address(&here) % PAGE_BYTES, place);
    let (n_coarse, n_fine) = (n_bytes / COARSE_BYTES, n_bytes % COARSE_BYTES / ALIGNMENT_BYTES);
    descend::<{ NARROW_BYTES + COARSE_BYTES }, T>(n_coarse, N_FRAMES, &mut || {
        descend::<{ NARROW_BYTES + ALIGNMENT_BYTES }, T>(n_fine, N_FRAMES, work)
    })
}

/// Does a piece of work below so many frames, of which the first `n_wide` are wider. As many frames for every place: how large they
/// are beside what they hold is up to the compiler, and then does not matter.
fn descend<const WIDE_BYTES: usize, T>(n_wide: usize, n_frames: usize, work: &mut dyn FnMut() -> T) -> T {
    if n_frames == 0 {
        return work();
    }
    let next = &mut || descend::<WIDE_BYTES, T>(n_wide.saturating_sub(1), n_frames - 1, work);
    match n_wide {
        0 => framed::<NARROW_BYTES, T>(next),
        _ => framed::<WIDE_BYTES, T>(next),
    }
}

/// Does a piece of work below so many bytes of the stack more than a call takes.
#[inline(never)]
fn framed<const BYTES: usize, T>(work: &mut dyn FnMut() -> T) -> T {
    // Left as it is: what writes to it could be a call, for which large frames save registers that small ones do not.
    let held = MaybeUninit::<[u8; BYTES]>::uninit();
    // A call that the compiler cannot look into: what it knew of the work would become a part of the frame.
    let answer = std::hint::black_box(work)();
    // Read behind the work, so that the frame is held until it is done and the call is no jump.
    std::hint::black_box(&held);
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
        let engine = &mut self.engine;
        at(self.home, &mut || engine.begin(request, request_ns))
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
        let mut wandering = Wandering::new(Scripted::new(script(), 0, &far, Box::new(io::sink())), 32);
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
        let mut engine = Wandering::new(Noting { places: Vec::new(), ends_after: usize::MAX }, 0);
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

    /// Notes where the prompt is taken in, asked for from so many calls further down.
    fn place_of_prompt(engine: &mut Wandering<Noting>, n_calls: usize) -> usize {
        let here = std::hint::black_box([0_u8; 24]);
        if n_calls > 0 {
            return std::hint::black_box(place_of_prompt(engine, n_calls - 1) + usize::from(here[0]));
        }
        engine.generate(&workload(1), 1_000).unwrap();
        engine.engine.places[0]
    }

    #[test]
    fn a_prompt_is_taken_in_where_the_layout_says_whatever_lies_above() {
        let engine = |padding| Wandering::new(Noting { places: Vec::new(), ends_after: usize::MAX }, padding);
        let places = |padding| -> Vec<usize> {
            (0..60).map(|n_calls| place_of_prompt(&mut engine(padding), n_calls)).collect()
        };
        let unpadded = places(0);
        assert!(unpadded.iter().all(|place| *place == unpadded[0]), "{unpadded:?}");
        for padding in [16, 496, 2_832, 4_080] {
            let lower = (PAGE_BYTES + unpadded[0] - padding) % PAGE_BYTES;
            assert_eq!(places(padding), vec![lower; 60], "{padding}");
        }
    }

    #[test]
    fn a_generation_ends_where_its_engine_ends_it() {
        let mut engine = Wandering::new(Noting { places: Vec::new(), ends_after: 4 }, 16);
        let tokens = engine.generate(&workload(9), 1_000).unwrap();
        assert_eq!((tokens.ids.len(), tokens.ended, tokens.margins), (4, true, None));
    }
}
