//! A machine on a virtual clock, whose engines and instruments write down what they are asked.

use std::cell::{Cell, RefCell};

use lab_core::clock::Clock;
use lab_core::engine::{BeginRequest, Engine, EngineError, Hello, LoadRequest, Loaded, Tokens};
use lab_core::experiment::{Glance, Layout, Side};
use lab_core::metric::Reading;
use lab_core::observation::{CoreTime, Instruments, Observation};

use crate::launched::Launched;

/// From the harness's request to its arrival, and from the last token to the harness's having the answer.
pub(super) const TRANSPORT_NS: [u64; 2] = [200, 300];
/// What one glance at the counters of one side takes.
pub(super) const GLANCE_NS: u64 = 50;
/// What the waiting side burns in a turn of the other.
pub(super) const WAITING_CPU_NS: u64 = 7;
/// How long a side waits for its CPU in each of its turns.
pub(super) const RUN_DELAY_NS: u64 = 10;

/// A moment at which an engine may fail; generations are numbered within a launch, the warm-up is 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Start,
    Load,
    Begin(u32),
    GoOn(u32),
    Step(u32),
    Finish(u32),
}

/// How the machine behaves.
pub(super) struct World {
    /// Time of a token; the first takes ten times as long.
    pub(super) token_ns: u64,
    /// The time in which all work comes to take twice as long; none where speed stays.
    pub(super) slowing_ns: Option<u64>,
    /// Tokens after which a side's generation ends.
    pub(super) ends_after: [Option<u32>; 2],
    /// Which engine fails when.
    pub(super) fault: fn(Side, u32, Moment) -> Option<EngineError>,
    /// Whether a hypervisor takes half of the core whenever somebody observes it.
    pub(super) is_disturbed: bool,
    pub(super) log: RefCell<Vec<String>>,
    pub(super) layouts: RefCell<Vec<(Side, u32, Layout)>>,
    /// How long each request took by the engine's stamps.
    pub(super) work_ns: RefCell<Vec<u64>>,
    pub(super) most_alive: Cell<u32>,
    pub(super) n_alive: Cell<u32>,
    pub(super) now_ns: Cell<u64>,
    pub(super) steal_ns: Cell<u64>,
    pub(super) run_delay_ns: [Cell<u64>; 2],
    pub(super) cpu_ns: [Cell<u64>; 2],
}

impl Default for World {
    fn default() -> Self {
        Self {
            token_ns: 1_000,
            slowing_ns: None,
            ends_after: [None; 2],
            fault: |_, _, _| None,
            is_disturbed: false,
            log: RefCell::default(),
            layouts: RefCell::default(),
            work_ns: RefCell::default(),
            most_alive: Cell::new(0),
            n_alive: Cell::new(0),
            now_ns: Cell::new(1_000_000),
            steal_ns: Cell::new(0),
            run_delay_ns: Default::default(),
            cpu_ns: Default::default(),
        }
    }
}

impl Clock for World {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn wait_until_ns(&self, deadline_ns: u64) {
        self.now_ns.set(self.now_ns().max(deadline_ns));
    }
}

impl World {
    /// Starts an engine.
    pub(super) fn start(
        &self,
        side: Side,
        pair: u32,
        layout: Option<&Layout>,
    ) -> Result<Launched<'_>, EngineError> {
        self.layouts.borrow_mut().push((side, pair, *layout.expect("layouts are drawn")));
        self.check(side, pair, Moment::Start)?;
        self.note(format!("+{side:?}{pair}"));
        self.n_alive.set(self.n_alive.get() + 1);
        self.most_alive.set(self.most_alive.get().max(self.n_alive.get()));
        Ok(Launched {
            engine: Box::new(Fake { world: self, side, pair, n_begun: 0, n_tokens: 0, paused: None }),
            instruments: Box::new(Watch { world: self, side }),
            conditions: serde_json::json!({ "pair": pair }),
        })
    }

    /// Returns what happened, without what ends in one of these.
    pub(super) fn log_without(&self, ends: &[char]) -> String {
        let log = self.log.borrow();
        let kept: Vec<&str> = log.iter().map(String::as_str).filter(|entry| !entry.ends_with(ends)).collect();
        kept.join(" ")
    }

    fn check(&self, side: Side, pair: u32, moment: Moment) -> Result<(), EngineError> {
        (self.fault)(side, pair, moment).map_or(Ok(()), Err)
    }

    fn note(&self, entry: String) {
        self.log.borrow_mut().push(entry);
    }

    fn pass(&self, nanos: u64) {
        self.now_ns.set(self.now_ns() + nanos);
    }

    /// Lets work pass that takes so long while the machine is fresh.
    fn work(&self, nanos: u64) {
        let added_ns = self.slowing_ns.map_or(0, |slowing_ns| nanos * self.now_ns() / slowing_ns);
        self.pass(nanos + added_ns);
    }

    /// Counts what went on while one side answered a request: what is stolen tells the number of the request.
    fn count(&self, side: Side, work_ns: u64, waiting_cpu_ns: u64) {
        let add = |cell: &Cell<u64>, amount| cell.set(cell.get() + amount);
        let n_before = self.work_ns.borrow().len() as u64;
        self.work_ns.borrow_mut().push(work_ns);
        add(&self.steal_ns, 100 + n_before);
        add(&self.run_delay_ns[side.index()], RUN_DELAY_NS);
        add(&self.cpu_ns[side.index()], work_ns);
        add(&self.cpu_ns[side.other().index()], waiting_cpu_ns);
    }
}

struct Fake<'w> {
    world: &'w World,
    side: Side,
    pair: u32,
    n_begun: u32,
    /// Tokens of the generation begun.
    n_tokens: u32,
    paused: Option<Paused>,
}

/// A prompt that is not taken in yet.
struct Paused {
    request_ns: u64,
    /// Work that is left, on a fresh machine.
    left_ns: u64,
    /// How long it was worked on.
    worked_ns: u64,
}

impl Fake<'_> {
    fn note(&self, what: &str) {
        self.world.note(format!("{:?}{what}", self.side));
    }

    fn check(&self, moment: impl FnOnce(u32) -> Moment) -> Result<(), EngineError> {
        self.world.check(self.side, self.pair, moment(self.n_begun.saturating_sub(1)))
    }

    /// Works on the prompt until it is taken in or the slice is over.
    fn slice(&mut self, paused: Paused, slice_ns: u64) -> Option<Tokens> {
        let world = self.world;
        let Paused { request_ns, left_ns, worked_ns } = paused;
        let began_ns = world.now_ns();
        world.work(left_ns.min(slice_ns));
        let took_ns = world.now_ns() - began_ns;
        // A side that is paused burns nothing.
        world.count(self.side, took_ns, 0);
        world.pass(TRANSPORT_NS[1]);
        let (left_ns, worked_ns) = (left_ns.saturating_sub(slice_ns), worked_ns + took_ns);
        if left_ns > 0 {
            self.paused = Some(Paused { request_ns, left_ns, worked_ns });
            return None;
        }
        self.n_tokens = 1;
        let mut tokens = Tokens::none(request_ns);
        tokens.record(0, request_ns + worked_ns, Some(0.5));
        Some(tokens)
    }

    fn answer(&mut self, asked: u32) -> Tokens {
        let world = self.world;
        world.pass(TRANSPORT_NS[0]);
        let mut tokens = Tokens::none(world.now_ns());
        while tokens.ids.len() < asked as usize && !tokens.ended {
            world.work(if self.n_tokens == 0 { 10 * world.token_ns } else { world.token_ns });
            tokens.record(self.n_tokens, world.now_ns(), Some(0.5));
            self.n_tokens += 1;
            tokens.ended = world.ends_after[self.side.index()] == Some(self.n_tokens);
        }
        world.count(self.side, world.now_ns() - tokens.request_ns, WAITING_CPU_NS);
        world.pass(TRANSPORT_NS[1]);
        tokens
    }
}

impl Engine for Fake<'_> {
    fn hello(&mut self) -> Result<Hello, EngineError> {
        Err(EngineError::Failed { message: "nobody greets here".to_owned() })
    }

    fn load(&mut self, request: &LoadRequest) -> Result<Loaded, EngineError> {
        assert_eq!(request.model, format!("{:?}", self.side), "each side loads its own model");
        self.check(|_| Moment::Load)?;
        let request_ns = self.world.now_ns();
        self.world.pass(5);
        let ready_ns = self.world.now_ns();
        Ok(Loaded { request_ns, ready_ns, vocabulary: 9, bytes_per_token: Some(8) })
    }

    fn begin(&mut self, request: &BeginRequest, _: u64) -> Result<Tokens, EngineError> {
        assert_eq!(request.prompt, [self.side as u32], "each side has its own workload");
        (self.n_begun, self.n_tokens) = (self.n_begun + 1, 0);
        self.note("b");
        self.check(Moment::Begin)?;
        Ok(self.answer(1))
    }

    fn begin_sliced(
        &mut self,
        request: &BeginRequest,
        _: u64,
        slice_ns: u64,
    ) -> Result<Option<Tokens>, EngineError> {
        assert_eq!(request.prompt, [self.side as u32], "each side has its own workload");
        (self.n_begun, self.n_tokens) = (self.n_begun + 1, 0);
        self.note("b");
        self.check(Moment::Begin)?;
        self.world.pass(TRANSPORT_NS[0]);
        let paused =
            Paused { request_ns: self.world.now_ns(), left_ns: 10 * self.world.token_ns, worked_ns: 0 };
        Ok(self.slice(paused, slice_ns))
    }

    fn go_on(&mut self, slice_ns: u64) -> Result<Option<Tokens>, EngineError> {
        self.note("g");
        self.check(Moment::GoOn)?;
        let paused = self.paused.take().expect("only a paused engine is asked to go on");
        self.world.pass(TRANSPORT_NS[0]);
        Ok(self.slice(paused, slice_ns))
    }

    fn step(&mut self, n: u32, _: u64) -> Result<Tokens, EngineError> {
        self.note(&n.to_string());
        self.check(Moment::Step)?;
        Ok(self.answer(n))
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        self.note("f");
        self.check(Moment::Finish)
    }
}

impl Drop for Fake<'_> {
    fn drop(&mut self) {
        self.world.n_alive.set(self.world.n_alive.get() - 1);
        self.world.note(format!("-{:?}{}", self.side, self.pair));
    }
}

struct Watch<'w> {
    world: &'w World,
    side: Side,
}

impl Instruments for Watch<'_> {
    fn loaded(&mut self) {}

    fn begin(&mut self) {
        self.world.note(format!("{:?}(", self.side));
    }

    fn end(&mut self) -> Observation {
        self.world.note(format!("{:?})", self.side));
        let mut seen = Observation::unobserved(Reading::Value(1));
        if self.world.is_disturbed {
            let core = |busy, steal| Reading::Value(vec![CoreTime { core: 0, busy, idle: 0, steal }]);
            seen.machine.before.cores = core(0, 0);
            seen.machine.after.cores = core(50, 50);
        }
        seen
    }

    fn glance(&mut self) -> Glance {
        self.world.note(format!("{:?}?", self.side));
        self.world.pass(GLANCE_NS);
        Glance {
            steal_ns: Reading::Value(self.world.steal_ns.get()),
            busy_ns: Reading::Unavailable("hidden".to_owned()),
            run_delay_ns: Reading::Value(self.world.run_delay_ns[self.side.index()].get()),
            cpu_ns: Reading::Value(self.world.cpu_ns[self.side.index()].get()),
        }
    }
}
