//! The session loop.

use lab_core::clock::Clock;
use lab_core::engine::{Engine, EngineError, LoadRequest, Loaded, Tokens};
use lab_core::fingerprint::Isolation;
use lab_core::metric::Reading;
use lab_core::observation::{Instruments, Observation};
use lab_core::record::{
    Completed, Launch, LaunchStart, Outcome, ProfiledExecution, Repetition, RepetitionKind, SessionStatus,
};
use lab_core::validity::{self, Validity};
use lab_core::workload::Workload;

use crate::accept::{accept, accept_profile};

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
    /// Whether an invalid repetition is followed by another in its place. Both stay; at most `repeat` are added.
    pub replace_invalid: bool,
    /// Whether a launch of its own is started at the end to learn where the time goes.
    pub profile: bool,
}

/// A started engine process, greeted but without a model, and what watches it.
pub struct Launched<'a> {
    /// The engine.
    pub engine: Box<dyn Engine + 'a>,
    /// What watches its repetitions.
    pub instruments: Box<dyn Instruments + 'a>,
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
        has_completed: false,
        pending: order.repeat,
        replacements: if order.replace_invalid { order.repeat } else { 0 },
    };
    while session.pending > 0 {
        if session.launch(start)? == Next::Stop {
            return Ok(SessionStatus::Interrupted);
        }
    }
    if order.profile && session.n_completed > 0 && session.profile(start)? == Next::Stop {
        return Ok(SessionStatus::Interrupted);
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
    /// Whether any measured repetition ever completed, replaced or not.
    has_completed: bool,
    /// Measured repetitions still to come.
    pending: u32,
    /// Invalid repetitions that may still be replaced.
    replacements: u32,
}

/// What a launch's loading left for its repetitions.
struct Load {
    load_ns: u64,
    bytes_per_token: Reading<u64>,
    /// Repetitions that have completed in the launch.
    n_completed: u32,
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
        match start(index).and_then(|launched| load(launched, self.order.load)) {
            Err(EngineError::Interrupted) => Ok(Next::Stop),
            Err(error) => self.lost_launch(index, error),
            Ok((mut launched, load)) => {
                let conditions = std::mem::take(&mut launched.conditions);
                let started = LaunchStart::Ready { load_ns: load.load_ns };
                (self.sink)(Event::Launch(Launch { index, start: started, conditions, profile: None }))?;
                self.repetitions(index, load, &mut launched)
            }
        }
    }

    /// Starts one more engine process to learn where the time of an execution goes. What it does is never counted as
    /// measured.
    fn profile<'a>(
        &mut self,
        start: &mut dyn FnMut(u32) -> Result<Launched<'a>, EngineError>,
    ) -> Result<Next, E> {
        let index = self.n_launches;
        self.n_launches += 1;
        let request = LoadRequest { profile: true, ..self.order.load.clone() };
        let launch = match start(index).and_then(|launched| load(launched, &request)) {
            Err(EngineError::Interrupted) => return Ok(Next::Stop),
            Err(error) => Launch {
                index,
                profile: Some(Reading::Unavailable(error.to_string())),
                start: LaunchStart::Failed(error),
                conditions: serde_json::Value::Null,
            },
            Ok((mut launched, Load { load_ns, .. })) => {
                let profile = match self.profiled(&mut *launched.engine) {
                    Err(EngineError::Interrupted) => return Ok(Next::Stop),
                    Err(error) => Reading::Unavailable(error.to_string()),
                    Ok(profile) => Reading::Value(profile),
                };
                let conditions = std::mem::take(&mut launched.conditions);
                Launch { index, start: LaunchStart::Ready { load_ns }, conditions, profile: Some(profile) }
            }
        };
        (self.sink)(Event::Launch(launch))?;
        Ok(Next::Continue)
    }

    /// Executes the plan's warm-ups and one execution more, and asks where the time of the last went.
    fn profiled(&self, engine: &mut dyn Engine) -> Result<ProfiledExecution, EngineError> {
        for _ in 0..self.order.warmup {
            engine.generate(self.order.workload, self.clock.now_ns())?;
        }
        let tokens = engine.generate(self.order.workload, self.clock.now_ns())?;
        let timeline = accept(&tokens, self.order.workload)?;
        let profile = accept_profile(engine.profile()?, timeline.total_ns())?;
        Ok(ProfiledExecution { profile, total_ns: timeline.total_ns(), n_tokens: timeline.n_tokens() as u64 })
    }

    /// Records a launch that never loaded, and the measured repetition it cost.
    fn lost_launch(&mut self, index: u32, error: EngineError) -> Result<Next, E> {
        let launch = Launch {
            index,
            start: LaunchStart::Failed(error.clone()),
            conditions: serde_json::Value::Null,
            profile: None,
        };
        (self.sink)(Event::Launch(launch))?;
        self.record(index, RepetitionKind::Measured, Outcome::Failed(error))?;
        if !self.has_completed {
            self.pending = 0;
        }
        Ok(Next::NewLaunch)
    }

    fn repetitions(&mut self, launch: u32, mut load: Load, launched: &mut Launched<'_>) -> Result<Next, E> {
        for _ in 0..self.order.warmup {
            match self.run_one(launch, RepetitionKind::Warmup, &mut load, launched)? {
                Next::Continue => {}
                next => return Ok(next),
            }
        }
        loop {
            let next = self.run_one(launch, RepetitionKind::Measured, &mut load, launched)?;
            let is_over = self.order.isolation == Isolation::Launch || self.pending == 0;
            if next != Next::Continue || is_over {
                return Ok(next);
            }
        }
    }

    /// Runs and records one repetition.
    fn run_one(
        &mut self,
        launch: u32,
        kind: RepetitionKind,
        load: &mut Load,
        launched: &mut Launched<'_>,
    ) -> Result<Next, E> {
        (self.sink)(Event::Begins(kind))?;
        let outcome = self.repetition(load, launched);
        load.n_completed += u32::from(matches!(outcome, Outcome::Completed(_)));
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
        if next == Next::NewLaunch && kind == RepetitionKind::Warmup {
            // A launch that fails warming up costs a measured repetition too, or a session could go on for ever.
            self.record(launch, RepetitionKind::Measured, outcome)?;
        }
        Ok(next)
    }

    /// Runs one repetition. Between the two readings of the clock stands the generation and nothing else.
    fn repetition(&self, load: &Load, launched: &mut Launched<'_>) -> Outcome {
        launched.instruments.begin();
        let sent_ns = self.clock.now_ns();
        let answer = launched.engine.generate(self.order.workload, sent_ns);
        let received_ns = self.clock.now_ns();
        let observation = launched.instruments.end();
        match answer.and_then(|tokens| answered_between(tokens, sent_ns, received_ns)) {
            Ok(tokens) => self.complete(tokens, load, received_ns - sent_ns, observation),
            Err(error) => Outcome::Failed(error),
        }
    }

    fn complete(&self, tokens: Tokens, load: &Load, outside_ns: u64, observation: Observation) -> Outcome {
        let timeline = match accept(&tokens, self.order.workload) {
            Ok(timeline) => timeline,
            Err(error) => return Outcome::Failed(error),
        };
        let mut completed = Completed {
            timeline,
            token_ids: tokens.ids,
            margins: tokens.margins,
            load_ns: load.load_ns,
            outside_ns,
            request_ns: tokens.request_ns,
            n_before: Some(load.n_completed),
            bytes_per_token: load.bytes_per_token.clone(),
            observation: Box::new(observation),
            validity: Validity::Valid,
        };
        completed.validity = validity::judge(&completed.inputs(self.order.workload.prompt.len()));
        Outcome::Completed(completed)
    }

    fn record(&mut self, launch: u32, kind: RepetitionKind, outcome: Outcome) -> Result<(), E> {
        let index = self.n_repetitions;
        self.n_repetitions += 1;
        if kind == RepetitionKind::Measured {
            self.count(&outcome);
        }
        (self.sink)(Event::Repetition(Repetition { index, launch, kind, outcome }))
    }

    /// Counts a measured repetition, unless it is invalid and another takes its place.
    fn count(&mut self, outcome: &Outcome) {
        self.has_completed |= matches!(outcome, Outcome::Completed(_));
        let is_invalid = matches!(outcome, Outcome::Completed(completed) if !completed.is_usable());
        if is_invalid && self.replacements > 0 {
            self.replacements -= 1;
            return;
        }
        self.pending -= 1;
        self.n_completed += u32::from(matches!(outcome, Outcome::Completed(_)));
    }

    fn status(&self) -> SessionStatus {
        match self.n_completed {
            0 => SessionStatus::Failed,
            n if n < self.order.repeat => SessionStatus::Incomplete,
            _ => SessionStatus::Completed,
        }
    }
}

/// Loads the model into a launched engine.
fn load<'a>(mut launched: Launched<'a>, request: &LoadRequest) -> Result<(Launched<'a>, Load), EngineError> {
    let loaded = launched.engine.load(request)?;
    let load_ns = load_time(&loaded)?;
    launched.instruments.loaded();
    let bytes_per_token = loaded
        .bytes_per_token
        .ok_or_else(|| "the engine does not tell what a token touches".to_owned())
        .into();
    Ok((launched, Load { load_ns, bytes_per_token, n_completed: 0 }))
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
