//! The pairs of a paired experiment: how much each changed the official metric, and what was left out for outside
//! evidence.
//!
//! What is judged is the ratio of total execution times, prefill and decode as the workload weighs them: a change in one
//! of them, or in some tokens only, counts as much as it costs. A turn is left out on both sides when others used the
//! machine in it on either; never for the time it took.
//!
//! A pair of runs of a command is the ratio of their elapsed times. It has no turns: where others used the machine beside
//! either run, the pair is left out.

use lab_core::command::CommandRun;
use lab_core::experiment::{Evidence, Turn};
use lab_core::metric::Reading;
use lab_core::record::{Completed, Outcome, Session};
use lab_core::validity::{Validity, others_share, rule_of};
use lab_core::work::Work;

use crate::location::{Location, location, location_of};

/// The share of a turn that others may take before the turn is left out; the prefill, which is left out only with its pair, may lose that
/// share of the whole execution.
pub(crate) const GREATEST_SHARE: f64 = 0.01;
/// The share of all cores' time that others may take over a pair whose engines have several threads: that of the rule
/// `other-load`.
pub(crate) const GREATEST_SHARE_OF_PAIR: f64 = 0.05;
/// The share of the turns after the prefill that must be left for a pair to count.
pub(crate) const LEAST_LEFT: f64 = 0.5;
/// How sure a contradiction must be.
const CONTRADICTION: f64 = 0.99;
/// How sure uninterrupted repetitions must be that they lie apart from the pairs, to ask for more of them.
const DOUBT: f64 = 0.80;
/// So many tolerances away, more of them are asked for however unsure these are.
const FAR: f64 = 2.0;
/// So many tolerances away, one of each side is enough.
const NEAR: f64 = 0.75;
/// And so far away, as a share of what the pairs found, but never further than the tolerance.
const NEAR_SHARE: f64 = 0.4;

/// What one pair of launches shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The pair's index: that of the launch on either side.
    pub index: u32,
    /// Natural logarithm of the candidate's speed over the baseline's, in tokens per second or in runs of a command per second;
    /// none for a pair that is left out.
    pub log_ratio: Option<f64>,
    /// Time of the whole execution on each side, in nanoseconds, baseline first.
    pub total_ns: [f64; 2],
    /// Turns of one side; 0 of a command.
    pub n_turns: usize,
    /// Turns left out, on both sides.
    pub n_left_out: usize,
}

/// The pairs of an experiment and the uninterrupted repetitions at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    /// Every pair that completed on both sides, in order.
    pub pairs: Vec<Pair>,
    /// Logarithm of the ratio of the uninterrupted repetitions in each pair that has some on both sides, in order.
    pub closing: Vec<f64>,
    /// What they say, and how sure that is: those of each launch by themselves, or all together where many launches have one of
    /// either side. Of two launches, one that has a single one is no witness: two values hardly tell a spread. None where nothing
    /// tells it.
    pub(crate) checks: Vec<Location>,
    /// What they say where there is one of either side, which nothing disturbed.
    pub(crate) single: Option<f64>,
}

impl Pairs {
    /// Takes the pairs of an experiment from the sessions of its sides. Evidence of a kind whose rule of validity is
    /// admitted leaves nothing out.
    pub fn of(baseline: &Session, candidate: &Session, admitted: &[String]) -> Self {
        let sides = [baseline, candidate];
        let threads = sides.map(threads);
        let pairs = launches_of(baseline).filter_map(|launch| {
            match sides.map(|side| side.usable_in(launch).into_iter().next()) {
                [Some(ours), Some(theirs)] => Some(pair(launch, [ours, theirs], threads, admitted)),
                _ => pair_of_runs(launch, sides, admitted),
            }
        });
        let closing = launches_of(baseline).filter_map(|launch| {
            let [ours, theirs] = sides.map(|side| mean_log_speed(&undisturbed(side, launch)));
            Some(theirs? - ours?)
        });
        let closing: Vec<f64> = closing.collect();
        let of_launches = launches_of(baseline).filter_map(|launch| of_one_launch(sides, launch));
        let of_launches: Vec<Location> = of_launches.collect();
        let checks = match of_launches.len() == closing.len() || !of_launches.is_empty() && closing.len() < 3
        {
            true => of_launches,
            false => location_of(&closing, 0).into_iter().collect(),
        };
        Self { pairs: pairs.collect(), closing, checks, single: single(sides) }
    }

    /// Returns the mean log-ratio of the uninterrupted repetitions at the end, if there are any.
    pub fn uninterrupted(&self) -> Option<f64> {
        let n = self.closing.len();
        (n > 0).then(|| self.closing.iter().sum::<f64>() / n as f64)
    }

    /// Returns whether the uninterrupted repetitions contradict the pairs: whether the interval of the difference between what
    /// the two say leaves out 0, and they lie as far apart as matters. Seconds lie between a repetition and that of the other
    /// side, so that they vary by much more than pairs do: their own spread tells by how much. It does not tell what launches
    /// vary by: now and then one is slow throughout. Where both sides were launched once more for it, both launches must say so.
    ///
    /// `tolerance` is the smallest relative change that matters.
    pub fn is_contradicted(&self, tolerance: f64) -> bool {
        let Some(pairs) = location(&self.log_ratios()) else { return false };
        !self.checks.is_empty() && self.checks.iter().all(|check| contradicts(pairs, *check, tolerance))
    }

    /// Returns whether the uninterrupted repetitions so far lie so near to the pairs that more of them could hardly contradict
    /// these. Where several tell their spread: within the tolerance, or within twice the tolerance with an 80 % interval of the
    /// difference that holds 0. One of each side that nothing disturbed: within three quarters of the tolerance, or within the
    /// tolerance and two fifths of the change that the pairs found. Simulated, this spares most of the others and misses at most 9
    /// in 100 more of what turns bend (`docs/comparison.md`).
    ///
    /// `tolerance` is the smallest relative change that matters.
    pub fn is_confirmed(&self, tolerance: f64) -> bool {
        let Some(pairs) = location(&self.log_ratios()) else { return false };
        self.single.is_some_and(|single| is_near(pairs, single, tolerance))
            || self.checks.iter().any(|check| confirms(pairs, *check, tolerance))
    }

    /// Returns whether the pair of a launch counts.
    pub(crate) fn counts(&self, launch: u32) -> bool {
        self.pairs.iter().any(|pair| pair.index == launch && pair.log_ratio.is_some())
    }

    /// Returns the log-ratios of the pairs that count, in order.
    pub fn log_ratios(&self) -> Vec<f64> {
        self.pairs.iter().filter_map(|pair| pair.log_ratio).collect()
    }
}

fn contradicts(pairs: Location, check: Location, tolerance: f64) -> bool {
    let difference = pairs.to(check);
    matters(difference, tolerance) && is_apart(difference, CONTRADICTION)
}

fn is_near(pairs: Location, single: f64, tolerance: f64) -> bool {
    let tolerance = tolerance.ln_1p();
    let enough = (NEAR_SHARE * pairs.centre.abs()).clamp(NEAR * tolerance, tolerance);
    (single - pairs.centre).abs() <= enough
}

fn confirms(pairs: Location, check: Location, tolerance: f64) -> bool {
    let difference = pairs.to(check);
    let is_far = difference.centre.abs() > FAR * tolerance.ln_1p();
    !matters(difference, tolerance) || !is_far && !is_apart(difference, DOUBT)
}

fn is_apart(difference: Location, confidence: f64) -> bool {
    let (low, high) = difference.interval(confidence);
    low > 0.0 || high < 0.0
}

fn matters(difference: Location, tolerance: f64) -> bool {
    difference.centre.abs() > tolerance.ln_1p()
}

/// Returns what the uninterrupted repetitions of one launch of either side say: the difference of their means.
fn of_one_launch(sides: [&Session; 2], launch: u32) -> Option<Location> {
    let [ours, theirs] = sides.map(|side| {
        let speeds: Vec<f64> = undisturbed(side, launch).into_iter().map(log_speed).collect();
        location_of(&speeds, 0)
    });
    Some(ours?.to(theirs?))
}

/// Returns the log-ratio of the uninterrupted repetitions where there is one of either side, which nothing disturbed.
fn single(sides: [&Session; 2]) -> Option<f64> {
    let [ours, theirs] = sides.map(|side| {
        let all: Vec<&Completed> =
            launches_of(side).flat_map(|launch| side.uninterrupted_in(launch)).collect();
        match all[..] {
            [own] if own.validity == Validity::Valid => Some(log_speed(own)),
            _ => None,
        }
    });
    Some(theirs? - ours?)
}

/// Returns the launches of an experiment: its pairs, lost ones included.
fn launches_of(session: &Session) -> impl Iterator<Item = u32> {
    session.launches.iter().map(|launch| launch.index)
}

/// Returns the uninterrupted repetitions of a launch that nothing disturbed; where fewer than two are such, all that are not
/// invalid: a single one has no spread.
fn undisturbed(session: &Session, launch: u32) -> Vec<&Completed> {
    let all = session.uninterrupted_in(launch);
    let valid: Vec<&Completed> = all.iter().copied().filter(|own| own.validity == Validity::Valid).collect();
    if valid.len() < 2 { all } else { valid }
}

fn mean_log_speed(repetitions: &[&Completed]) -> Option<f64> {
    let n = repetitions.len();
    (n > 0).then(|| repetitions.iter().map(|own| log_speed(own)).sum::<f64>() / n as f64)
}

/// What the two repetitions of a pair show, baseline first; each side with its threads.
fn pair(index: u32, sides: [&Completed; 2], threads: [f64; 2], admitted: &[String]) -> Pair {
    let total_ns = sides.map(|own| own.timeline.total_ns() as f64);
    let [ours, theirs] = sides.map(log_speed);
    let alone = Pair { index, log_ratio: Some(theirs - ours), total_ns, n_turns: 1, n_left_out: 0 };
    let [Some(our_turns), Some(their_turns)] = sides.map(|own| own.turns.as_deref()) else { return alone };
    let turns = [Turns::of(sides[0], our_turns, threads[0]), Turns::of(sides[1], their_turns, threads[1])];
    let n_turns = our_turns.len().min(their_turns.len());
    let is_kept: Vec<bool> =
        (0..n_turns).map(|turn| turns.iter().all(|side| side.is_quiet(turn, admitted))).collect();
    let n_left_out = is_kept.iter().filter(|kept| !**kept).count();
    let n_tokens = |turns: &[Turn]| turns.iter().map(|own| own.n_tokens).collect::<Vec<u32>>();
    let log_ratio = if n_tokens(our_turns) == n_tokens(their_turns) {
        let [ours, theirs] = turns.each_ref().map(|side| side.log_speed(&is_kept));
        theirs.zip(ours).map(|(theirs, ours)| theirs - ours)
    } else {
        // Sides that did not do the same work have no turns to set against each other: the whole counts, or nothing.
        turns.iter().all(|side| side.all_quiet(admitted)).then_some(theirs - ours)
    };
    let is_shared = threads.iter().any(|own| *own > 1.0) && is_shared(sides, admitted);
    Pair { log_ratio: log_ratio.filter(|_| !is_shared), n_turns, n_left_out, ..alone }
}

/// What the two runs of a command show, baseline first; nothing where a side has none that counts.
fn pair_of_runs(index: u32, sides: [&Session; 2], admitted: &[String]) -> Option<Pair> {
    let [ours, theirs] = sides.map(|side| run_in(side, index));
    let runs = [ours?, theirs?];
    let total_ns = runs.map(|run| run.elapsed_ns as f64);
    let log_ratio = (total_ns[0] / total_ns[1]).ln();
    let counts = log_ratio.is_finite() && runs.iter().all(|run| is_alone(run, admitted));
    let log_ratio = counts.then_some(log_ratio);
    Some(Pair { index, log_ratio, total_ns, n_turns: 0, n_left_out: 0 })
}

/// The rules of validity whose evidence leaves a pair of runs out.
const OTHERS: [&str; 2] = ["steal", "other-load"];

/// Returns whether what a rule finds in a side of an experiment leaves the pair out, and so keeps no verdict back.
pub(crate) fn is_left_out_by(session: &Session, rule: &str) -> bool {
    matches!(session.header.work, Work::Command(_)) && OTHERS.contains(&rule)
}

/// Returns whether no others used the machine beside a run, as far as that is known.
fn is_alone(run: &CommandRun, admitted: &[String]) -> bool {
    let is_admitted = |rule: &str| admitted.iter().any(|own| own == rule);
    let mut rules = run.validity.reasons().iter().map(|reason| rule_of(reason));
    rules.all(|rule| !OTHERS.contains(&rule) || is_admitted(rule))
}

/// Returns the measured run of a command in one launch, if it ended well.
fn run_in(session: &Session, launch: u32) -> Option<&CommandRun> {
    let of_launch = session.succeeded().filter(|own| own.repetition.launch == launch && own.counts(false));
    let mut runs = of_launch.filter_map(|recorded| match &recorded.repetition.outcome {
        Outcome::Ran(run) => Some(run.as_ref()),
        Outcome::Completed(_) | Outcome::Imported(_) | Outcome::Failed(_) => None,
    });
    runs.next()
}

/// Returns how many threads the engine of a side computes with; one where the fingerprint does not tell.
fn threads(session: &Session) -> f64 {
    session.header.fingerprint.backend.identity.get("threads").and_then(|own| own.as_f64()).unwrap_or(1.0)
}

/// Returns whether others took so much of the cores over a whole pair that it shows nothing. Where a counter is missing, that
/// is not held against the pair.
fn is_shared(sides: [&Completed; 2], admitted: &[String]) -> bool {
    let [one, beside] = sides.map(|own| &*own.observation);
    let is_admitted = admitted.iter().any(|own| own == "other-load");
    !is_admitted && others_share(one, beside).is_ok_and(|share| share > GREATEST_SHARE_OF_PAIR)
}

/// Returns how long each turn took, in nanoseconds.
fn times(completed: &Completed, turns: &[Turn]) -> Vec<f64> {
    let stamps = completed.timeline.stamps_ns();
    let mut n_before = 0_usize;
    let mut until = 0_u64;
    let mut times = Vec::with_capacity(turns.len());
    for turn in turns {
        n_before += turn.n_tokens as usize;
        let end = n_before.checked_sub(1).and_then(|last| stamps.get(last)).copied().unwrap_or(until);
        times.push(end.saturating_sub(until) as f64);
        until = end;
    }
    times
}

/// The turns of one side of a pair: how many tokens, how long, beside what.
struct Turns<'a> {
    turns: &'a [Turn],
    /// Nanoseconds of each.
    times: Vec<f64>,
    /// CPUs that the engine can use at once.
    threads: f64,
}

impl<'a> Turns<'a> {
    fn of(completed: &Completed, turns: &'a [Turn], threads: f64) -> Self {
        Self { turns, times: times(completed, turns), threads }
    }

    /// Returns whether others took no more than their share: of a turn, or, in a prefill, of the execution. What the kernel does
    /// not tell is not held against it.
    fn is_quiet(&self, turn: usize, admitted: &[String]) -> bool {
        let (evidence, time_ns) = (&self.turns[turn].evidence, self.times[turn]);
        let Evidence { steal_ns, run_delay_ns, own_cpu_ns, waiting_cpu_ns, .. } = evidence;
        let taken = |reading: &Reading<u64>| reading.value().map_or(0.0, |nanos| *nanos as f64);
        // Others had no more than the CPU time that the engine went without, where that is known. Several threads go without
        // some for each other, which is the engine's own affair (decision 12): there the whole pair is asked (`is_shared`).
        let waited = taken(run_delay_ns);
        let went_without = own_cpu_ns.value().map_or(waited, |own| time_ns - *own as f64);
        let waited_for_others = if self.threads > 1.0 { 0.0 } else { waited.min(went_without.max(0.0)) };
        let block_ns = if turn == 0 { self.times.iter().sum() } else { time_ns };
        // Each kind under the rule of validity that looks at the same in repetitions that run alone. What the waiting side takes is
        // no accident, and the same in every pair: it has no more room in a prefill.
        let kinds = [
            ("steal", taken(steal_ns), block_ns),
            ("run-queue", waited_for_others, block_ns),
            ("other-load", taken(waiting_cpu_ns), time_ns),
        ];
        let is_admitted = |rule: &str| admitted.iter().any(|own| own == rule);
        kinds.iter().all(|(rule, taken, of_ns)| is_admitted(rule) || *taken <= GREATEST_SHARE * of_ns)
    }

    fn all_quiet(&self, admitted: &[String]) -> bool {
        (0..self.turns.len()).all(|turn| self.is_quiet(turn, admitted))
    }

    /// Returns the logarithm of tokens per nanosecond, with the tokens of turns left out taking the mean of the others.
    /// The prefill has no others: without it there is no figure.
    fn log_speed(&self, is_kept: &[bool]) -> Option<f64> {
        let n_tokens: f64 = self.turns.iter().map(|turn| f64::from(turn.n_tokens)).sum();
        let decode = || self.turns.iter().zip(&self.times).zip(is_kept).skip(1);
        let kept = || decode().filter(|(_, kept)| **kept).map(|(turn, _)| turn);
        let n_decoded: f64 = decode().map(|((turn, _), _)| f64::from(turn.n_tokens)).sum();
        let n_kept: f64 = kept().map(|(turn, _)| f64::from(turn.n_tokens)).sum();
        if !*is_kept.first()? || n_kept < LEAST_LEFT * n_decoded {
            return None;
        }
        let time: f64 = kept().map(|(_, time)| *time).sum();
        let decode_ns = if n_kept > 0.0 { time * n_decoded / n_kept } else { 0.0 };
        Some((n_tokens / (self.times[0] + decode_ns)).ln())
    }
}

/// Logarithm of tokens per nanosecond over the whole execution.
fn log_speed(completed: &Completed) -> f64 {
    (completed.timeline.n_tokens() as f64 / completed.timeline.total_ns() as f64).ln()
}

/// Returns whether two sessions are the two sides of one experiment.
pub fn are_sides(one: &Session, other: &Session) -> bool {
    match (&one.header.experiment, &other.header.experiment) {
        (Some(ours), Some(theirs)) => ours.id == theirs.id && ours.side != theirs.side,
        _ => false,
    }
}

#[cfg(test)]
mod command_tests;
#[cfg(test)]
mod tests;
