use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;

use lab_core::engine::{BeginRequest, Hello, Loaded, Tokens};
use lab_core::experiment::Glance;
use lab_core::observation::{CoreTime, Instruments, Observation};
use lab_core::workload::{Sampling, Stop};

use super::*;

/// A clock that moves one microsecond a reading.
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get() + 1_000);
        self.0.get()
    }

    fn wait_until_ns(&self, deadline_ns: u64) {
        self.0.set(self.0.get().max(deadline_ns));
    }
}

/// Instruments that see nothing but, in the first so many repetitions, a hypervisor that takes half of a core.
struct Disturbed(Rc<Cell<u32>>);

impl Instruments for Disturbed {
    fn loaded(&mut self) {}

    fn begin(&mut self) {}

    fn end(&mut self) -> Observation {
        let mut seen = Observation::unobserved(Reading::Value(1));
        if let Some(left) = self.0.get().checked_sub(1) {
            self.0.set(left);
            let core = |busy, steal| Reading::Value(vec![CoreTime { core: 0, busy, idle: 0, steal }]);
            seen.machine.before.cores = core(0, 0);
            seen.machine.after.cores = core(50, 50);
        }
        seen
    }

    fn glance(&mut self) -> Glance {
        let unseen = || Reading::Unavailable("nobody asks here".to_owned());
        Glance { steal_ns: unseen(), busy_ns: unseen(), run_delay_ns: unseen(), cpu_ns: unseen() }
    }
}

/// Answers each generation with the next entry of a list shared by all launches; `None` is a good answer.
type Answers = Rc<std::cell::RefCell<VecDeque<Option<EngineError>>>>;

struct Listed(Answers);

impl Engine for Listed {
    fn hello(&mut self) -> Result<Hello, EngineError> {
        Err(dead())
    }

    fn load(&mut self, _: &LoadRequest) -> Result<Loaded, EngineError> {
        match self.0.borrow().front() {
            Some(Some(EngineError::Start { message })) => {
                Err(EngineError::Start { message: message.clone() })
            }
            _ => Ok(Loaded { request_ns: 10, ready_ns: 15, vocabulary: 9, bytes_per_token: None }),
        }
    }

    fn begin(&mut self, _: &BeginRequest, request_ns: u64) -> Result<Tokens, EngineError> {
        match self.0.borrow_mut().pop_front().flatten() {
            Some(error) => Err(error),
            None => Ok(tokens(request_ns)),
        }
    }

    fn step(&mut self, _: u32, request_ns: u64) -> Result<Tokens, EngineError> {
        Ok(tokens(request_ns))
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

fn tokens(request_ns: u64) -> Tokens {
    Tokens { request_ns, ids: vec![3], stamps_ns: vec![request_ns + 500], margins: None, ended: false }
}

fn dead() -> EngineError {
    EngineError::Killed { signal: 9, name: "SIGKILL".to_owned(), log: String::new() }
}

fn sick() -> EngineError {
    EngineError::Failed { message: "no".to_owned() }
}

/// Runs three measured repetitions and tells the session in one line: `L` a launch, `l` a lost one, `P` a profile
/// launch, `w` and `m` completed repetitions, `i` an invalid one, `x` and `X` failed ones.
fn story(isolation: Isolation, warmup: u32, answers: Vec<Option<EngineError>>) -> (String, SessionStatus) {
    story_of(|order| (order.isolation, order.warmup) = (isolation, warmup), answers, 0)
}

fn story_of(
    change: impl FnOnce(&mut Order<'_>),
    answers: Vec<Option<EngineError>>,
    disturbed: u32,
) -> (String, SessionStatus) {
    let workload = Workload {
        prompt: vec![1],
        generate: 2,
        sampling: Sampling::Greedy,
        stop: Stop::Length,
        forced: None,
    };
    let load = LoadRequest { model: String::new(), positions: 3, profile: false };
    let mut order = Order {
        workload: &workload,
        load: &load,
        repeat: 3,
        stopping: None,
        warmup: 0,
        isolation: Isolation::Launch,
        replace_invalid: false,
        profile: false,
    };
    change(&mut order);
    let clock = Ticking(Cell::new(0));
    let answers: Answers = Rc::new(std::cell::RefCell::new(answers.into()));
    let disturbed = Rc::new(Cell::new(disturbed));
    let mut start = |_| {
        Ok(Launched {
            engine: Box::new(Listed(answers.clone())),
            instruments: Box::new(Disturbed(disturbed.clone())),
            conditions: serde_json::Value::Null,
        })
    };
    let mut told = String::new();
    let mut sink = |event| -> Result<(), Infallible> {
        told.push(match event {
            Event::Begins(_) => return Ok(()),
            Event::Launch(Launch { profile: Some(profile), .. }) => {
                assert!(profile.reason().is_some_and(|reason| reason.ends_with("takes no profile")));
                'P'
            }
            Event::Launch(Launch { start: LaunchStart::Ready { load_ns: 5 }, .. }) => 'L',
            Event::Launch(_) => 'l',
            Event::Repetition(repetition) => letter(&repetition),
        });
        Ok(())
    };
    let mut decide = |n| if n < 4 { Decision::Continue } else { Decision::Stop };
    let Ok(status) = run(&order, &mut start, &clock, &mut sink, &mut decide);
    (told, status)
}

fn letter(repetition: &Repetition) -> char {
    match (repetition.kind, &repetition.outcome) {
        (RepetitionKind::Warmup, Outcome::Completed(_)) => 'w',
        (RepetitionKind::Measured, Outcome::Completed(completed)) => {
            assert_eq!(completed.load_ns, 5);
            if completed.is_usable() { 'm' } else { 'i' }
        }
        (RepetitionKind::Warmup, Outcome::Failed(_)) => 'x',
        (RepetitionKind::Measured, Outcome::Failed(_)) => 'X',
        (_, Outcome::Ran(_) | Outcome::Imported(_)) => '?',
    }
}

#[track_caller]
fn check(
    isolation: Isolation,
    warmup: u32,
    answers: Vec<Option<EngineError>>,
    expected: &str,
    status: SessionStatus,
) {
    assert_eq!(story(isolation, warmup, answers), (expected.to_owned(), status));
}

#[test]
fn isolation_decides_what_shares_a_launch() {
    check(Isolation::Launch, 1, vec![], "LwmLwmLwm", SessionStatus::Completed);
    check(Isolation::Session, 2, vec![], "Lwwmmm", SessionStatus::Completed);
    check(Isolation::Launch, 0, vec![], "LmLmLm", SessionStatus::Completed);
}

#[test]
fn a_dead_engine_costs_one_repetition_and_the_session_goes_on() {
    let answers = || vec![None, Some(dead())];
    check(Isolation::Launch, 0, answers(), "LmLXLm", SessionStatus::Incomplete);
    check(Isolation::Session, 0, answers(), "LmXLm", SessionStatus::Incomplete);
}

#[test]
fn a_failed_answer_keeps_the_launch() {
    check(Isolation::Session, 0, vec![None, Some(sick())], "LmXm", SessionStatus::Incomplete);
}

#[test]
fn a_launch_whose_warm_up_failed_measures_nothing() {
    check(Isolation::Session, 1, vec![Some(sick())], "LxXLwmm", SessionStatus::Incomplete);
    check(Isolation::Launch, 1, vec![Some(sick())], "LxXLwmLwm", SessionStatus::Incomplete);
}

#[test]
fn an_invalid_repetition_is_kept_and_replaced_when_asked() {
    let replacing = |order: &mut Order<'_>| order.replace_invalid = true;
    let completed = SessionStatus::Completed;
    assert_eq!(story_of(|_| {}, vec![], 2), ("LiLiLm".to_owned(), completed));
    assert_eq!(story_of(replacing, vec![], 2), ("LiLiLmLmLm".to_owned(), completed));
    // A machine that never calms down ends the session all the same.
    assert_eq!(story_of(replacing, vec![], 99), ("LiLiLiLiLiLi".to_owned(), completed));
    let in_one_launch = |order: &mut Order<'_>| {
        (order.replace_invalid, order.isolation) = (true, Isolation::Session);
    };
    assert_eq!(story_of(in_one_launch, vec![], 1), ("Limmm".to_owned(), completed));
}

#[test]
fn a_profile_is_taken_in_a_launch_of_its_own_and_costs_no_repetition() {
    let profiled = |order: &mut Order<'_>| order.profile = true;
    assert_eq!(story_of(profiled, vec![], 0), ("LmLmLmP".to_owned(), SessionStatus::Completed));
}

#[test]
fn a_launch_that_dies_warming_up_costs_its_measured_repetition() {
    let answers = (0..9).map(|_| Some(dead())).collect();
    check(Isolation::Launch, 1, answers, "LxXLxXLxX", SessionStatus::Failed);
}

#[test]
fn a_session_that_cannot_load_at_all_ends_at_once() {
    let broken = || Some(EngineError::Start { message: "no".to_owned() });
    check(Isolation::Launch, 0, vec![broken()], "lX", SessionStatus::Failed);
}

#[test]
fn an_interruption_ends_the_session_and_records_nothing_for_the_repetition_in_flight() {
    check(
        Isolation::Launch,
        0,
        vec![None, Some(EngineError::Interrupted)],
        "LmL",
        SessionStatus::Interrupted,
    );
}

#[test]
fn a_session_ends_at_the_first_look_that_decides_and_not_between_looks() {
    let until = |looks: &[u32], answers: Vec<Option<EngineError>>| {
        let plan = StoppingPlan { looks: looks.to_vec(), confidence: 0.95, look_confidence: 0.99 };
        let plan: &StoppingPlan = Box::leak(Box::new(plan));
        story_of(|order| (order.repeat, order.stopping) = (plan.most(), Some(plan)), answers, 0)
    };
    assert_eq!(until(&[2, 4, 6], vec![]), ("LmLmLmLm".to_owned(), SessionStatus::Completed));
    assert_eq!(until(&[3, 5, 7], vec![]), ("LmLmLmLmLm".to_owned(), SessionStatus::Completed));
    assert_eq!(until(&[2, 3], vec![]), ("LmLmLm".to_owned(), SessionStatus::Completed), "the budget ended");
    let failing = until(&[2, 4, 6], vec![Some(sick())]);
    assert_eq!(failing, ("LXLmLmLmLm".to_owned(), SessionStatus::Incomplete), "a failure decides nothing");
}
