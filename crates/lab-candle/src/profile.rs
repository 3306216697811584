//! Times per kind of operation, from the spans that candle's Llama enters.
//!
//! candle-transformers gives most of its operations a `tracing` span, made when the model is loaded and entered at each
//! call. A subscriber that is in place while the model is loaded hears of every call from then on; one that comes later
//! hears of none. So a launch is either profiled or measured, never both: without a [`Profiler`] there is no subscriber
//! in the process at all, and every span stays the disabled one that candle pays for anyway.
//!
//! What is counted is self time: the time inside a span and not inside one of its children. What the recorder itself
//! costs falls outside the span it records and so to the span around it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Instant;

use lab_core::engine::{OperationTime, Profile};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Span, Subscriber, dispatcher, trace_span};

/// Spans that are heard, and the kind of operation their self time counts for. From the source of candle-transformers
/// 0.11.1 (`models/quantized_llama.rs`, `quantized_nn.rs`), but for `forward` and `sampling`, which are this crate's.
///
/// `model` is left out on purpose: what it does itself (the embedding, the sum after attention) has no name, and falls
/// to `forward` around it.
const KIND_OF_SPAN: [(&str, &str); 8] = [
    ("qmatmul", "matmul"),
    // Scores, softmax, weighted sum and the KV cache: its products with weights and its rotations are its children.
    ("attn", "attention"),
    ("attn-rot", "rope"),
    ("rms-norm", "norm"),
    // The MLP without its norm and its products with weights: SiLU, gate, and the sum after it.
    ("attn-mlp", "activation"),
    // The last product is a child; what is left is making the logits readable.
    (Spans::OUTPUT, "output"),
    (Spans::SAMPLING, "sampling"),
    (Spans::FORWARD, Profile::UNNAMED),
];

/// The spans of this crate. Disabled ones unless a [`Profiler`] watches while they are made.
pub(crate) struct Spans {
    /// Around a whole forward pass.
    pub(crate) forward: Span,
    /// Around copying the logits out of the tensor.
    pub(crate) output: Span,
    /// Around choosing a token.
    pub(crate) sampling: Span,
}

impl Spans {
    const FORWARD: &str = "forward";
    const OUTPUT: &str = "output";
    const SAMPLING: &str = "sampling";

    pub(crate) fn new() -> Self {
        Self {
            forward: trace_span!(Spans::FORWARD),
            output: trace_span!(Spans::OUTPUT),
            sampling: trace_span!(Spans::SAMPLING),
        }
    }
}

/// Takes the time of every span made while it watches.
pub(crate) struct Profiler {
    dispatch: Dispatch,
    recorder: Arc<Recorder>,
}

impl Profiler {
    pub(crate) fn new() -> Self {
        let recorder = Arc::new(Recorder::new());
        Self { dispatch: Dispatch::new(Arc::clone(&recorder)), recorder }
    }

    /// Makes the spans of `load` report here for as long as they live. Nothing global is set: any number of profilers
    /// may follow one another in a process, as an engine loads one model after the other.
    ///
    /// They may not load side by side: `tracing` remembers of each place that makes spans whether anybody listens, and
    /// asks the thread that comes by first (`callsite.rs` of tracing-core 0.1.36).
    pub(crate) fn watch<T>(&self, load: impl FnOnce() -> T) -> T {
        dispatcher::with_default(&self.dispatch, load)
    }

    /// Forgets the times taken so far.
    pub(crate) fn restart(&self) {
        self.recorder.ledger().taken = Default::default();
    }

    /// Returns the times taken since the last restart, or nothing when no span was left since.
    pub(crate) fn profile(&self) -> Option<Profile> {
        let operations = self.recorder.ledger().operations();
        (!operations.is_empty()).then_some(Profile { operations })
    }
}

/// The subscriber.
struct Recorder {
    origin: Instant,
    ledger: Mutex<Ledger>,
}

impl Recorder {
    #[expect(
        clippy::disallowed_methods,
        reason = "lab's clock is borrowed, and a subscriber must own what it uses"
    )]
    fn new() -> Self {
        Self { origin: Instant::now(), ledger: Mutex::default() }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && position(metadata.name()).is_some()
    }

    /// All spans of a name share an id: only the sum over them is wanted.
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let position = position(span.metadata().name()).expect("only spans of the table are enabled");
        Id::from_u64(position as u64 + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        let mut ledger = self.ledger();
        let position = usize::try_from(span.into_u64() - 1).expect("ids are positions in the table");
        let now_ns = self.now_ns();
        ledger.enter(thread::current().id(), position, now_ns);
    }

    fn exit(&self, _: &Id) {
        let now_ns = self.now_ns();
        self.ledger().exit(thread::current().id(), now_ns);
    }
}

fn position(span: &str) -> Option<usize> {
    KIND_OF_SPAN.iter().position(|(name, _)| *name == span)
}

/// Which spans are entered, and what those left have taken.
#[derive(Default)]
struct Ledger {
    /// The spans entered on each thread, the innermost last.
    entered: HashMap<ThreadId, Vec<Entered>>,
    /// What each span of the table has taken.
    taken: [Taken; KIND_OF_SPAN.len()],
}

struct Entered {
    position: usize,
    since_ns: u64,
    in_children_ns: u64,
}

#[derive(Clone, Copy, Default)]
struct Taken {
    self_ns: u64,
    calls: u64,
}

impl Ledger {
    fn enter(&mut self, thread: ThreadId, position: usize, now_ns: u64) {
        let entered = Entered { position, since_ns: now_ns, in_children_ns: 0 };
        self.entered.entry(thread).or_default().push(entered);
    }

    /// Leaves the innermost span of a thread: candle's guards are dropped in the reverse order of their making.
    fn exit(&mut self, thread: ThreadId, now_ns: u64) {
        let entered = self.entered.entry(thread).or_default();
        let Some(left) = entered.pop() else { return };
        let duration_ns = now_ns.saturating_sub(left.since_ns);
        if let Some(parent) = entered.last_mut() {
            parent.in_children_ns += duration_ns;
        }
        let taken = &mut self.taken[left.position];
        taken.self_ns += duration_ns.saturating_sub(left.in_children_ns);
        taken.calls += 1;
    }

    /// Lists the kinds that were called, in the order of the table.
    fn operations(&self) -> Vec<OperationTime> {
        let called = KIND_OF_SPAN.iter().zip(&self.taken).filter(|(_, taken)| taken.calls > 0);
        let operation = |((_, kind), taken): (&(&str, &str), &Taken)| OperationTime {
            kind: (*kind).to_owned(),
            self_ns: taken.self_ns,
            calls: taken.calls,
        };
        called.map(operation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tests that make spans at once would hide each other's.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spend(ledger: &mut Ledger, steps: &[(&str, u64)]) {
        let thread = thread::current().id();
        for (span, now_ns) in steps {
            match *span {
                "" => ledger.exit(thread, *now_ns),
                name => ledger.enter(thread, position(name).unwrap(), *now_ns),
            }
        }
    }

    fn times(operations: &[OperationTime]) -> Vec<(&str, u64, u64)> {
        operations.iter().map(|part| (part.kind.as_str(), part.self_ns, part.calls)).collect()
    }

    #[test]
    fn self_time_is_the_time_inside_and_not_in_a_child() {
        let mut ledger = Ledger::default();
        spend(
            &mut ledger,
            &[
                ("forward", 100),
                ("attn", 110),
                ("qmatmul", 120),
                ("", 150),
                ("attn-rot", 155),
                ("", 160),
                ("qmatmul", 161),
                ("", 171),
                ("", 180),
                ("", 200),
                ("sampling", 300),
                ("", 307),
            ],
        );
        let expected = [
            ("matmul", 30 + 10, 2),
            // 70 ns inside, of which 45 in children.
            ("attention", 25, 1),
            ("rope", 5, 1),
            ("sampling", 7, 1),
            // 100 ns inside, of which 70 in its child. What a grandchild took is not taken off twice.
            ("unnamed", 30, 1),
        ];
        assert_eq!(times(&ledger.operations()), expected);
    }

    #[test]
    fn threads_do_not_become_each_others_children() {
        let mut ledger = Ledger::default();
        let other = thread::spawn(|| thread::current().id()).join().unwrap();
        spend(&mut ledger, &[("attn", 0)]);
        ledger.enter(other, position("qmatmul").unwrap(), 10);
        ledger.exit(other, 20);
        spend(&mut ledger, &[("", 30)]);
        assert_eq!(times(&ledger.operations()), [("matmul", 10, 1), ("attention", 30, 1)]);
    }

    #[test]
    fn leaving_what_was_never_entered_changes_nothing() {
        let mut ledger = Ledger::default();
        spend(&mut ledger, &[("", 5)]);
        assert!(ledger.operations().is_empty());
    }

    #[test]
    fn spans_made_while_watched_are_heard_later_and_others_never() {
        let _alone = alone();
        let unwatched = Spans::new();
        let profiler = Profiler::new();
        let watched = profiler.watch(Spans::new);
        unwatched.sampling.in_scope(|| {});
        assert_eq!(profiler.profile(), None);
        watched.forward.in_scope(|| watched.sampling.in_scope(|| {}));
        let kinds: Vec<_> =
            profiler.profile().unwrap().operations.into_iter().map(|part| (part.kind, part.calls)).collect();
        assert_eq!(kinds, [("sampling".to_owned(), 1), ("unnamed".to_owned(), 1)]);
        profiler.restart();
        assert_eq!(profiler.profile(), None);
    }

    #[test]
    fn a_second_profiler_in_a_process_hears_its_own_spans_only() {
        let _alone = alone();
        let first = Profiler::new();
        let early = first.watch(Spans::new);
        let second = Profiler::new();
        let late = second.watch(Spans::new);
        late.sampling.in_scope(|| {});
        assert_eq!(first.profile(), None);
        assert!(second.profile().is_some());
        early.sampling.in_scope(|| {});
        assert!(first.profile().is_some());
    }
}
