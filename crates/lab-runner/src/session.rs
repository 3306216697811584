//! The session loop.

use lab_core::clock::Clock;
use lab_core::engine::{Engine, EngineError, LoadRequest, Loaded, Tokens};
use lab_core::fingerprint::Isolation;
use lab_core::metric::Reading;
use lab_core::record::{Completed, Launch, LaunchStart, Outcome, Repetition, RepetitionKind, SessionStatus};
use lab_core::workload::Workload;

use crate::accept::{accept, judge_clock};

/// What to carry out.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The work of one repetition.
    pub workload: &'a Workload,
    /// What each launch loads.
    pub load: &'a LoadRequest,
    /// Measured repetitions.
    pub repeat: u32,
    /// Warm-ups in front of the measured repetitions of each launch.
    pub warmup: u32,
    /// Which repetitions share a launch.
    pub isolation: Isolation,
}

/// A started engine process, greeted but without a model, and the questions only the machine answers about it.
pub struct Launched<'a> {
    /// The engine.
    pub engine: Box<dyn Engine + 'a>,
    /// Sets the process's peak memory back to what it holds now.
    pub reset_peak_memory: Box<dyn FnMut() -> Result<(), String> + 'a>,
    /// Returns the process's peak memory since the last reset, in bytes.
    pub peak_memory: Box<dyn FnMut() -> Reading<u64> + 'a>,
    /// Conditions of the host just before the start.
    pub conditions: serde_json::Value,
}

/// What leaves the runner, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A repetition is about to run; nothing may disturb the machine until its record comes.
    Begins(RepetitionKind),
    /// A launch was started, or failed to.
    Launch(Launch),
    /// A repetition ended.
    Repetition(Repetition),
}

/// Carries out an order and returns how it ended.
///
/// A repetition whose engine dies is recorded with its cause, and the rest goes on in a new launch. Only when a launch
/// cannot load before anything ever completed does the session end early: nothing suggests that the next would.
///
/// # Errors
///
/// Those of the sink.
pub fn run<'a, E>(
    order: &Order<'_>,
    start: &mut dyn FnMut(u32) -> Result<Launched<'a>, EngineError>,
    clock: &dyn Clock,
    sink: &mut dyn FnMut(Event) -> Result<(), E>,
) -> Result<SessionStatus, E> {
    let mut session = Session {
        order,
        clock,
        sink,
        n_launches: 0,
        n_repetitions: 0,
        n_completed: 0,
        pending: order.repeat,
    };
    while session.pending > 0 {
        if session.launch(start)? == Next::Stop {
            return Ok(SessionStatus::Interrupted);
        }
    }
    Ok(session.status())
}

struct Session<'s, 'o, E> {
    order: &'s Order<'o>,
    clock: &'s dyn Clock,
    sink: &'s mut dyn FnMut(Event) -> Result<(), E>,
    n_launches: u32,
    n_repetitions: u32,
    n_completed: u32,
    /// Measured repetitions still to come.
    pending: u32,
}

/// What follows a launch or a repetition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Continue,
    NewLaunch,
    Stop,
}

impl<E> Session<'_, '_, E> {
    /// Starts one engine process and runs what belongs in it.
    fn launch<'a>(
        &mut self,
        start: &mut dyn FnMut(u32) -> Result<Launched<'a>, EngineError>,
    ) -> Result<Next, E> {
        let index = self.n_launches;
        self.n_launches += 1;
        let started = start(index).and_then(|mut launched| {
            let load_ns = load_time(&launched.engine.load(self.order.load)?)?;
            Ok((launched, load_ns))
        });
        match started {
            Err(EngineError::Interrupted) => Ok(Next::Stop),
            Err(error) => self.lost_launch(index, error),
            Ok((mut launched, load_ns)) => {
                let conditions = std::mem::take(&mut launched.conditions);
                let started = LaunchStart::Ready { load_ns };
                (self.sink)(Event::Launch(Launch { index, start: started, conditions }))?;
                self.repetitions(index, load_ns, &mut launched)
            }
        }
    }

    /// Records a launch that never loaded, and the measured repetition it cost.
    fn lost_launch(&mut self, index: u32, error: EngineError) -> Result<Next, E> {
        let launch =
            Launch { index, start: LaunchStart::Failed(error.clone()), conditions: serde_json::Value::Null };
        (self.sink)(Event::Launch(launch))?;
        self.record(index, RepetitionKind::Measured, Outcome::Failed(error))?;
        if self.n_completed == 0 {
            self.pending = 0;
        }
        Ok(Next::NewLaunch)
    }

    fn repetitions(&mut self, launch: u32, load_ns: u64, launched: &mut Launched<'_>) -> Result<Next, E> {
        let n_measured = match self.order.isolation {
            Isolation::Launch => 1,
            Isolation::Session => self.pending,
        };
        let warmups = (0..self.order.warmup).map(|_| RepetitionKind::Warmup);
        let measured = (0..n_measured).map(|_| RepetitionKind::Measured);
        for kind in warmups.chain(measured) {
            (self.sink)(Event::Begins(kind))?;
            let outcome = self.repetition(load_ns, launched);
            // What a plan warms up must be warm: a launch whose warm-up failed measures nothing.
            let is_cold = kind == RepetitionKind::Warmup && matches!(outcome, Outcome::Failed(_));
            let next = match follows(&outcome) {
                Next::Continue if is_cold => Next::NewLaunch,
                next => next,
            };
            if next == Next::Stop {
                return Ok(Next::Stop);
            }
            self.record(launch, kind, outcome.clone())?;
            if next == Next::NewLaunch {
                // A launch that fails warming up costs a measured repetition too, or a session could go on for ever.
                if kind == RepetitionKind::Warmup {
                    self.record(launch, RepetitionKind::Measured, outcome)?;
                }
                return Ok(next);
            }
        }
        Ok(Next::Continue)
    }

    /// Runs one repetition. Between the two readings of the clock stands the generation and nothing else.
    fn repetition(&self, load_ns: u64, launched: &mut Launched<'_>) -> Outcome {
        let reset = (launched.reset_peak_memory)();
        let sent_ns = self.clock.now_ns();
        let answer = launched.engine.generate(self.order.workload, sent_ns);
        let received_ns = self.clock.now_ns();
        let outside_ns = received_ns - sent_ns;
        let tokens = match answer.and_then(|tokens| answered_between(tokens, sent_ns, received_ns)) {
            Ok(tokens) => tokens,
            Err(error) => return Outcome::Failed(error),
        };
        let peak_memory_bytes = match reset {
            Ok(()) => (launched.peak_memory)(),
            Err(reason) => Reading::Unavailable(reason),
        };
        self.complete(tokens, load_ns, outside_ns, peak_memory_bytes)
    }

    fn complete(
        &self,
        tokens: Tokens,
        load_ns: u64,
        outside_ns: u64,
        peak_memory_bytes: Reading<u64>,
    ) -> Outcome {
        match accept(&tokens, self.order.workload) {
            Err(error) => Outcome::Failed(error),
            Ok(timeline) => Outcome::Completed(Completed {
                validity: judge_clock(timeline.total_ns(), outside_ns),
                timeline,
                token_ids: tokens.ids,
                margins: tokens.margins,
                load_ns,
                outside_ns,
                peak_memory_bytes,
            }),
        }
    }

    fn record(&mut self, launch: u32, kind: RepetitionKind, outcome: Outcome) -> Result<(), E> {
        let index = self.n_repetitions;
        self.n_repetitions += 1;
        if kind == RepetitionKind::Measured {
            self.pending -= 1;
            self.n_completed += u32::from(matches!(outcome, Outcome::Completed(_)));
        }
        (self.sink)(Event::Repetition(Repetition { index, launch, kind, outcome }))
    }

    fn status(&self) -> SessionStatus {
        match self.n_completed {
            0 => SessionStatus::Failed,
            n if n < self.order.repeat => SessionStatus::Incomplete,
            _ => SessionStatus::Completed,
        }
    }
}

/// Returns how long loading took by the engine's own stamps, in nanoseconds.
fn load_time(loaded: &Loaded) -> Result<u64, EngineError> {
    let Loaded { request_ns, ready_ns, .. } = loaded;
    ready_ns.checked_sub(*request_ns).ok_or_else(|| {
        let message =
            format!("the model was ready at {ready_ns} ns, before it was asked for at {request_ns} ns");
        EngineError::Protocol { message }
    })
}

/// Both sides read the same clock: an answer whose stamps lie outside the time between question and answer is none to
/// this question.
fn answered_between(tokens: Tokens, sent_ns: u64, received_ns: u64) -> Result<Tokens, EngineError> {
    let last_ns = tokens.stamps_ns.last().copied().unwrap_or(received_ns);
    if tokens.request_ns >= sent_ns && last_ns <= received_ns {
        return Ok(tokens);
    }
    let message = "its stamps lie outside the time between question and answer".to_owned();
    Err(EngineError::Protocol { message })
}

/// An engine that answered that it failed lives on; any other error is the end of its process, or of trust in it.
fn follows(outcome: &Outcome) -> Next {
    match outcome {
        Outcome::Completed(_) | Outcome::Failed(EngineError::Failed { .. }) => Next::Continue,
        Outcome::Failed(EngineError::Interrupted) => Next::Stop,
        Outcome::Failed(_) => Next::NewLaunch,
    }
}

#[cfg(test)]
mod tests;
