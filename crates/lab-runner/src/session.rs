//! The session loop.

use lab_core::clock::Clock;
use lab_core::engine::{Engine, EngineError, LoadRequest};
use lab_core::experiment::StoppingPlan;
use lab_core::fingerprint::Isolation;
use lab_core::metric::Reading;
use lab_core::record::{
    Launch, LaunchStart, Outcome, ProfiledExecution, Repetition, RepetitionKind, SessionStatus,
};
use lab_core::workload::Workload;

use crate::accept::{accept, accept_profile};
use crate::event::Event;
use crate::launched::{Launched, Running, load};
use crate::pairs::Decision;
use crate::repetition::{Next, follows, outcome_of, repetition};

/// What to carry out.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The work of one repetition.
    pub workload: &'a Workload,
    /// What each launch loads.
    pub load: &'a LoadRequest,
    /// Measured repetitions; at most so many if a stopping plan may end them sooner.
    pub repeat: u32,
    /// After how many completed repetitions it is asked whether they will do; none where their number is fixed.
    pub stopping: Option<&'a StoppingPlan>,
    /// Warm-ups in front of the measured repetitions of each launch.
    pub warmup: u32,
    /// Which repetitions share a launch.
    pub isolation: Isolation,
    /// Whether an invalid repetition is followed by another in its place. Both stay; at most `repeat` are added.
    pub replace_invalid: bool,
    /// Whether a launch of its own is started at the end to learn where the time goes.
    pub profile: bool,
}

/// Carries out an order and returns how it ended.
///
/// `decide` is asked after each of the stopping plan's looks, told how many repetitions have completed.
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
    decide: &mut dyn FnMut(u32) -> Decision,
) -> Result<SessionStatus, E> {
    let mut session = Session {
        order,
        clock,
        sink,
        decide,
        n_launches: 0,
        n_repetitions: 0,
        n_counted: 0,
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
    decide: &'s mut dyn FnMut(u32) -> Decision,
    n_launches: u32,
    n_repetitions: u32,
    /// Measured repetitions so far, those that others replaced left out.
    n_counted: u32,
    n_completed: u32,
    /// Whether any measured repetition ever completed, replaced or not.
    has_completed: bool,
    /// Measured repetitions still to come.
    pending: u32,
    /// Invalid repetitions that may still be replaced.
    replacements: u32,
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
            Ok((mut running, conditions)) => {
                let started = LaunchStart::Ready { load_ns: running.load_ns };
                (self.sink)(Event::Launch(Launch {
                    index,
                    start: started,
                    conditions,
                    profile: None,
                    layout: None,
                }))?;
                self.repetitions(index, &mut running)
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
                layout: None,
                start: LaunchStart::Failed(error),
                conditions: serde_json::Value::Null,
            },
            Ok((mut running, conditions)) => {
                let profile = match self.profiled(&mut *running.engine) {
                    Err(EngineError::Interrupted) => return Ok(Next::Stop),
                    Err(error) => Reading::Unavailable(error.to_string()),
                    Ok(profile) => Reading::Value(profile),
                };
                let start = LaunchStart::Ready { load_ns: running.load_ns };
                Launch { index, start, conditions, profile: Some(profile), layout: None }
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
            layout: None,
        };
        (self.sink)(Event::Launch(launch))?;
        self.record(index, RepetitionKind::Measured, Outcome::Failed(error))?;
        if !self.has_completed {
            self.pending = 0;
        }
        Ok(Next::NewLaunch)
    }

    fn repetitions(&mut self, launch: u32, running: &mut Running<'_>) -> Result<Next, E> {
        for _ in 0..self.order.warmup {
            match self.run_one(launch, RepetitionKind::Warmup, running)? {
                Next::Continue => {}
                next => return Ok(next),
            }
        }
        loop {
            let next = self.run_one(launch, RepetitionKind::Measured, running)?;
            let is_over = self.order.isolation == Isolation::Launch || self.pending == 0;
            if next != Next::Continue || is_over {
                return Ok(next);
            }
        }
    }

    /// Runs and records one repetition.
    fn run_one(&mut self, launch: u32, kind: RepetitionKind, running: &mut Running<'_>) -> Result<Next, E> {
        (self.sink)(Event::Begins(kind))?;
        let workload = self.order.workload;
        let generate = |engine: &mut dyn Engine, sent_ns| engine.generate(workload, sent_ns);
        let generated = repetition(running, workload, self.clock, generate);
        // What a plan warms up must be warm: a launch whose warm-up failed measures nothing.
        let is_cold = kind == RepetitionKind::Warmup && generated.is_err();
        let next = match follows(&generated) {
            Next::Continue if is_cold => Next::NewLaunch,
            next => next,
        };
        if next == Next::Stop {
            return Ok(Next::Stop);
        }
        let outcome = outcome_of(generated);
        self.record(launch, kind, outcome.clone())?;
        if next == Next::NewLaunch && kind == RepetitionKind::Warmup {
            // A launch that fails warming up costs a measured repetition too, or a session could go on for ever.
            self.record(launch, RepetitionKind::Measured, outcome)?;
        }
        Ok(next)
    }

    fn record(&mut self, launch: u32, kind: RepetitionKind, outcome: Outcome) -> Result<(), E> {
        let index = self.n_repetitions;
        self.n_repetitions += 1;
        let is_measured = kind == RepetitionKind::Measured;
        let n_before = self.n_completed;
        if is_measured {
            self.count(&outcome);
        }
        (self.sink)(Event::Repetition(Repetition { index, launch, kind, outcome }))?;
        if is_measured && self.n_completed > n_before {
            self.look();
        }
        Ok(())
    }

    /// Asks whether the repetitions so far will do, where the plan says that it is asked.
    fn look(&mut self) {
        let is_due = self.order.stopping.is_some_and(|stopping| stopping.looks_after(self.n_completed));
        if is_due && (self.decide)(self.n_completed) == Decision::Stop {
            self.pending = 0;
        }
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
        self.n_counted += 1;
        self.n_completed += u32::from(matches!(outcome, Outcome::Completed(_)));
    }

    fn status(&self) -> SessionStatus {
        match self.n_completed {
            0 => SessionStatus::Failed,
            n if n < self.n_counted => SessionStatus::Incomplete,
            _ => SessionStatus::Completed,
        }
    }
}

#[cfg(test)]
mod tests;
