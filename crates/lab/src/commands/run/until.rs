//! `lab run --until decided-against SESSION`: what a session is held against while it is measured.

use anyhow::anyhow;
use lab_compare::foresee::Undecidable;
use lab_compare::{Policy, foresee, stopping};
use lab_core::experiment::{StoppingPlan, Until};
use lab_core::fingerprint::{Isolation, PartKind};
use lab_core::nearest::nearest;
use lab_core::plan::Plan;
use lab_core::record::{Session, SessionHeader, SessionStatus};
use lab_core::report::Report;
use lab_runner::Decision;
use lab_store::Store;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::store;
use crate::terminal::say;

use super::{Arguments, compare};

/// The one condition there is.
const CONDITION: &str = "decided-against";

/// What a session is held against, and how.
pub(super) struct Target {
    baseline: Session,
    policy: Policy,
    pub(super) stopping: StoppingPlan,
}

impl Target {
    /// Reads what the user asks for; nothing where the number of repetitions is fixed.
    pub(super) fn of(arguments: &Arguments, plan: &Plan, store: &Store) -> Result<Option<Self>> {
        let Some([condition, baseline]) = arguments.until.as_deref() else { return Ok(None) };
        if condition != CONDITION {
            let meant = nearest(condition, [CONDITION].into_iter()).map_or("it is", |_| "did you mean");
            return Err(Failure::usage(anyhow!("`{condition}` is no condition to measure until"))
                .hint(format!("{meant} `--until {CONDITION} SESSION`")));
        }
        if plan.run.isolation == Isolation::Session {
            return Err(Failure::usage(anyhow!(
                "the plan runs all repetitions in one launch, and launches are what decides"
            ))
            .hint("`isolation = \"launch\"` in `[run]` starts one for each repetition"));
        }
        let baseline = store::load(store, baseline)?;
        let stopping = stopping::until(budget(arguments)?);
        let policy = Policy {
            vary: arguments.vary,
            admitted: plan.gate.admit.clone(),
            gate: plan.gate.clone(),
            ..store::policy(store, &baseline.header, None)?
        };
        Ok(Some(Self { baseline, policy, stopping }))
    }

    /// Returns the most launches there will be.
    pub(super) fn most(&self) -> u32 {
        self.stopping.most()
    }

    /// Returns what the session's header says of it.
    pub(super) fn until(&self) -> Until {
        Until { against: self.baseline.header.id, stopping: self.stopping.clone() }
    }

    /// Refuses what no launch could change: sessions that may not be compared, and a baseline that decides nothing.
    pub(super) fn check(&self, header: &SessionHeader) -> Result<()> {
        let differences = self.baseline.header.fingerprint.differences(&header.fingerprint);
        let mut parts: Vec<PartKind> = differences
            .iter()
            .filter(|own| own.is_unknown() || self.policy.vary != Some(own.part))
            .map(|own| own.part)
            .collect();
        parts.dedup();
        if !parts.is_empty() {
            let names: Vec<String> = parts.iter().map(ToString::to_string).collect();
            return Err(Failure::with(
                Exit::Refused,
                anyhow!(
                    "this session would differ from the baseline in {}; nothing was measured",
                    names.join(" and ")
                ),
            )
            .hint("`--vary PART` declares the one part that is meant to differ"));
        }
        if self.baseline.status() != SessionStatus::Completed {
            say(&format!(
                "note: the baseline is {}: only a loss can be shown against it",
                self.baseline.status()
            ));
        }
        match foresee::undecidable(&self.baseline, header, &self.policy, &self.stopping) {
            None => Ok(()),
            Some(why) => Err(Failure::with(
                Exit::Inconclusive,
                anyhow!("however many launches it had, it could not be called equivalent, so none was started: {why}"),
            )
            .hint(match why {
                Undecidable::NoTolerance { .. } => "`lab run PLAN --repeat N` records a baseline with this plan",
                Undecidable::Suspect { .. } | Undecidable::Metric { .. } => {
                    "give the baseline more launches (`lab run PLAN --repeat N`), or measure both sides at once: `lab ab PLAN`"
                }
            })),
        }
    }

    /// Holds the session against the baseline, once it has ended.
    pub(super) fn compare(&self, session: &Session) -> Report {
        lab_compare::compare(&self.baseline, session, &self.policy)
    }

    /// Returns whether the launches so far decide.
    pub(super) fn decide(&self, session: &Session) -> Decision {
        let policy = Policy { at_look: true, ..self.policy.clone() };
        compare::decision(&lab_compare::compare(&self.baseline, session, &policy))
    }
}

/// Returns the most launches that the user grants.
fn budget(arguments: &Arguments) -> Result<u32> {
    let most = arguments.repeat.unwrap_or(stopping::DEFAULT_PAIRS);
    let range = stopping::LEAST_PAIRS..=stopping::MOST_PAIRS;
    match range.contains(&most) {
        true => Ok(most),
        false => Err(Failure::usage(anyhow!("`--repeat {most}` is no budget to decide within"))
            .hint(format!("with `--until` it lies between {} and {}", range.start(), range.end()))),
    }
}
