//! Which rules of validity keep from a verdict.

use lab_core::record::Session;
use lab_core::report::{Rule, Suspicion};
use lab_core::validity::{RULES, Validity, find, rule_of};

use crate::Policy;
use crate::pairs::{are_sides, is_left_out_by};

/// Returns the rules that made repetitions of either side suspect and that the policy does not admit, in the order of
/// the table of rules; rules that this lab does not know come last. Those about energy alone stand apart.
pub(crate) fn of_sessions(
    baseline: &Session,
    candidate: &Session,
    policy: &Policy,
) -> (Vec<Suspicion>, Vec<Suspicion>) {
    // Only intervals of pairs leave pairs out.
    let in_pairs = policy.rule == Rule::Interval && are_sides(baseline, candidate);
    let (ours, theirs) = (fired(baseline, in_pairs), fired(candidate, in_pairs));
    let mut rules: Vec<&str> = ours.iter().chain(&theirs).copied().collect();
    rules.sort_by_key(|id| (RULES.iter().position(|rule| rule.id == *id).unwrap_or(RULES.len()), *id));
    rules.dedup();
    let suspicion = |rule: &str| Suspicion {
        rule: rule.to_owned(),
        baseline: count(&ours, rule),
        candidate: count(&theirs, rule),
    };
    let is_admitted = |rule: &&str| policy.admitted.iter().any(|own| own == rule);
    let suspicions = rules.into_iter().filter(|rule| !is_admitted(rule)).map(suspicion);
    suspicions.partition(|own| !find(&own.rule).is_some_and(|rule| rule.energy_only))
}

fn count(fired: &[&str], rule: &str) -> usize {
    fired.iter().filter(|own| **own == rule).count()
}

/// Returns the rules that made repetitions suspect, one entry for each repetition and rule. Of the uninterrupted repetitions
/// of a session in lock-step, only what is told of the engine's clock and of the meters counts: what disturbed them
/// disturbed no turn. What leaves a pair of runs of a command out is not counted `in_pairs`.
fn fired(session: &Session, in_pairs: bool) -> Vec<&str> {
    let is_lock_step = session.is_lock_step();
    let counting = session.succeeded().filter(move |recorded| recorded.counts(is_lock_step));
    let in_turn = counting.filter_map(|recorded| recorded.repetition.outcome.validity()).flat_map(rules);
    let launches = session.launches.iter().map(|launch| launch.index);
    let uninterrupted =
        launches.flat_map(|launch| session.uninterrupted_in(launch)).flat_map(|own| rules(&own.validity));
    let counts = |rule: &&str| *rule == "clock" || find(rule).is_some_and(|rule| rule.energy_only);
    let in_turn = in_turn.filter(|rule| !(in_pairs && is_left_out_by(session, rule)));
    in_turn.chain(uninterrupted.filter(counts)).collect()
}

fn rules(validity: &Validity) -> impl Iterator<Item = &str> {
    validity.reasons().iter().map(|reason| rule_of(reason))
}
