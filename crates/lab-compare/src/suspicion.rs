//! Which rules of validity keep from a verdict.

use lab_core::energy::MeterKind;
use lab_core::record::Session;
use lab_core::report::{Rule, Suspicion};
use lab_core::validity::{RULES, Validity, find, rule_of};

use crate::Policy;
use crate::pairs::{are_sides, is_left_out_by};

/// Returns the rules that made repetitions of either side suspect and that the policy does not admit, in the order of
/// the table of rules; rules that this lab does not know come last. Those that doubt energy alone stand apart.
pub(crate) fn of_sessions(
    baseline: &Session,
    candidate: &Session,
    policy: &Policy,
) -> (Vec<Suspicion>, Vec<Suspicion>) {
    // Only intervals of pairs leave pairs out.
    let in_pairs = policy.rule == Rule::Interval && are_sides(baseline, candidate);
    let sides = [baseline, candidate].map(|session| Fired::of(session, in_pairs));
    let suspicions = [false, true].map(|energy_only| {
        let [ours, theirs] = sides.each_ref().map(|side| side.rules(energy_only));
        let mut rules: Vec<&str> = ours.iter().chain(theirs).copied().collect();
        rules.sort_by_key(|id| (RULES.iter().position(|rule| rule.id == *id).unwrap_or(RULES.len()), *id));
        rules.dedup();
        let is_admitted = |rule: &&str| policy.admitted.iter().any(|own| own == rule);
        let suspicion = |rule: &str| Suspicion {
            rule: rule.to_owned(),
            baseline: count(ours, rule),
            candidate: count(theirs, rule),
            energy_only,
        };
        rules.into_iter().filter(|rule| !is_admitted(rule)).map(suspicion).collect()
    });
    suspicions.into()
}

fn count(fired: &[&str], rule: &str) -> usize {
    fired.iter().filter(|own| **own == rule).count()
}

/// The rules that made repetitions of a session suspect, one entry for each repetition and rule.
struct Fired<'a> {
    /// Those that doubt every figure.
    all: Vec<&'a str>,
    /// Those that doubt what meters said.
    energy: Vec<&'a str>,
}

impl<'a> Fired<'a> {
    /// Of the uninterrupted repetitions of a session in lock-step only what is told of the engine's clock is held against speed:
    /// what disturbed them disturbed no turn. The energy of such a session is theirs, and everything is held against it. What
    /// leaves a pair of runs of a command out is not counted `in_pairs`.
    fn of(session: &'a Session, in_pairs: bool) -> Self {
        let is_lock_step = session.is_lock_step();
        let counting = session.succeeded().filter(move |recorded| recorded.counts(is_lock_step));
        let in_turn = counting.filter_map(|recorded| recorded.repetition.outcome.validity()).flat_map(rules);
        let in_turn = in_turn.filter(|rule| !(in_pairs && is_left_out_by(session, rule)));
        let launches = session.launches.iter().map(|launch| launch.index);
        let uninterrupted =
            launches.flat_map(|launch| session.uninterrupted_in(launch)).flat_map(|own| rules(&own.validity));
        let has_energy = session.energy_source(MeterKind::Measured).is_some();
        let is_of_energy = |rule: &str| find(rule).is_some_and(|rule| rule.energy_only);
        let mut fired = Self { all: Vec::new(), energy: Vec::new() };
        for rule in in_turn {
            if is_of_energy(rule) { fired.energy.push(rule) } else { fired.all.push(rule) }
        }
        for rule in uninterrupted {
            match rule {
                "clock" => fired.all.push(rule),
                other if has_energy || is_of_energy(other) => fired.energy.push(other),
                _ => {}
            }
        }
        fired
    }

    fn rules(&self, energy_only: bool) -> &[&'a str] {
        if energy_only { &self.energy } else { &self.all }
    }
}

fn rules(validity: &Validity) -> impl Iterator<Item = &str> {
    validity.reasons().iter().map(|reason| rule_of(reason))
}
