//! Why two sessions may not be compared at all, and what differs between them without refusing.

use lab_core::fingerprint::{Difference, PartKind};
use lab_core::plan::DifferentOutputGate;
use lab_core::record::Session;
use lab_core::report::Refusal;
use lab_core::workload::Sampling;

use crate::Policy;

/// Returns every reason to refuse two sessions as a whole, and the differences in the part that is declared to differ; no
/// reasons when they may be compared. What neither side knows is refused even there.
pub(crate) fn of_sessions(
    baseline: &Session,
    candidate: &Session,
    policy: &Policy,
) -> (Vec<Refusal>, Vec<Difference>) {
    let differences = baseline.header.fingerprint.differences(&candidate.header.fingerprint);
    let same_work = [PartKind::Model, PartKind::Plan];
    let is_same_work = !differences.iter().any(|difference| same_work.contains(&difference.part));
    // Another engine, or the same on other instructions, may round otherwise. The same engine has no such excuse.
    let is_other = !differences.is_empty();
    let output_margin = if is_other { policy.gate.output_margin } else { 0.0 };
    let is_declared = |own: &Difference| policy.vary == Some(own.part) && !own.is_unknown();
    let (varied, differences): (Vec<Difference>, Vec<Difference>) =
        differences.into_iter().partition(is_declared);
    let mut refusals: Vec<Refusal> = of_another_kind(baseline, candidate).into_iter().collect();
    refusals.extend(differences.into_iter().map(Refusal::Fingerprint));
    let sides = [baseline, candidate];
    refusals.extend(sides.into_iter().filter(|side| !side.has_usable()).map(nothing_completed));
    refusals.extend(sides.into_iter().filter_map(unstable_output));
    // The same engine must say the same whatever a gate admits.
    let is_admitted = is_other && policy.gate.different_output == DifferentOutputGate::Admit;
    if is_same_work && !is_admitted {
        refusals.extend(different_output(baseline, candidate, output_margin));
    }
    (refusals, varied)
}

/// What no declared difference makes up for: other tools measure otherwise, and other contracts something else.
fn of_another_kind(baseline: &Session, candidate: &Session) -> Option<Refusal> {
    let [ours, theirs] = [baseline, candidate].map(|session| &session.header.work);
    let (baseline, candidate) = (ours.contract(), theirs.contract());
    if ours.origin() != theirs.origin() {
        return Some(Refusal::DifferentOrigin { baseline: ours.origin(), candidate: theirs.origin() });
    }
    if baseline != candidate {
        return Some(Refusal::DifferentContract { baseline, candidate });
    }
    let (baseline, candidate) = (ours.import()?.tool.clone(), theirs.import()?.tool.clone());
    (baseline != candidate).then_some(Refusal::DifferentTool { baseline, candidate })
}

fn nothing_completed(session: &Session) -> Refusal {
    Refusal::NothingCompleted { session: session.header.id.to_string() }
}

/// Greedy sampling leaves nothing to chance: every repetition of a session must say what its first said, forced or free.
fn unstable_output(session: &Session) -> Option<Refusal> {
    if !is_greedy(session) {
        return None;
    }
    // A disturbance may change times, never what a greedy engine says: invalid repetitions are asked too.
    let mut outputs =
        session.completed().map(|(recorded, completed)| (recorded, completed.token_ids.as_slice()));
    let (_, first) = outputs.next()?;
    outputs.find_map(|(recorded, output)| {
        let token = differences(first, output).next()?;
        Some(Refusal::UnstableOutput {
            session: session.header.id.to_string(),
            repetition: recorded.repetition.index,
            token,
            first: first.get(token).copied(),
            other: output.get(token).copied(),
        })
    })
}

/// Engines that do the same work on the same model must say the same, or part where two tokens were nearly equally likely:
/// at a margin of the baseline's logits below `output_margin`. What follows the first difference follows from it, unless
/// both were fed the same tokens whatever they chose: then every position stands for itself. The first repetition speaks
/// for each session.
fn different_output(baseline: &Session, candidate: &Session, output_margin: f64) -> Option<Refusal> {
    if !is_greedy(baseline) || !is_greedy(candidate) {
        return None;
    }
    let (_, ours) = baseline.completed().next()?;
    let (_, theirs) = candidate.completed().next()?;
    let margin_at = |token: usize| ours.margins.as_ref().and_then(|margins| margins.get(token)).copied();
    let is_near_tie = |token: usize| margin_at(token).is_some_and(|margin| f64::from(margin) < output_margin);
    let n_telling = if is_forced(baseline) && is_forced(candidate) { usize::MAX } else { 1 };
    let mut telling = differences(&ours.token_ids, &theirs.token_ids).take(n_telling);
    let token = telling.find(|token| !is_near_tie(*token))?;
    Some(Refusal::DifferentOutput {
        token,
        margin: margin_at(token),
        baseline: ours.token_ids.get(token).copied(),
        candidate: theirs.token_ids.get(token).copied(),
    })
}

fn is_greedy(session: &Session) -> bool {
    session.header.workload().is_some_and(|own| own.sampling == Sampling::Greedy)
}

fn is_forced(session: &Session) -> bool {
    session.header.workload().is_some_and(|own| own.forced.is_some())
}

/// Returns the positions at which two outputs differ, in order; an output that ends early differs from its end on.
fn differences(one: &[u32], other: &[u32]) -> impl Iterator<Item = usize> {
    (0..one.len().max(other.len())).filter(move |position| one.get(*position) != other.get(*position))
}

/// Returns the context fields in which two sessions differ, in order of parts and names: shown, never judged.
pub(crate) fn context_differences(baseline: &Session, candidate: &Session) -> Vec<Difference> {
    PartKind::ALL.iter().flat_map(|kind| part_context(*kind, baseline, candidate)).collect()
}

fn part_context(part: PartKind, baseline: &Session, candidate: &Session) -> Vec<Difference> {
    let ours = &baseline.header.fingerprint.part(part).context;
    let theirs = &candidate.header.fingerprint.part(part).context;
    let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    names.sort();
    names.dedup();
    let difference = |field: &String| Difference {
        part,
        field: field.clone(),
        baseline: ours.get(field).cloned(),
        candidate: theirs.get(field).cloned(),
    };
    names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).map(difference).collect()
}
