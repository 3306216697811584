//! The pairs of a paired experiment: how much each changed the official metric, and what was left out for outside
//! evidence.
//!
//! What is judged is the ratio of total execution times, prefill and decode as the workload weighs them: a change in one
//! of them, or in some tokens only, counts as much as it costs. A turn is left out on both sides when others used the
//! machine in it on either; never for the time it took.

use lab_core::experiment::{Evidence, Turn};
use lab_core::metric::Reading;
use lab_core::record::{Completed, Session};

use crate::location::location;

/// The share of a turn that others may take before the turn is left out.
const GREATEST_SHARE: f64 = 0.01;
/// The share of the turns after the prefill that must be left for a pair to count.
const LEAST_LEFT: f64 = 0.5;
/// How sure a contradiction must be.
const CONTRADICTION: f64 = 0.99;

/// What one pair of launches shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The pair's index: that of the launch on either side.
    pub index: u32,
    /// Natural logarithm of the candidate's tokens per second over the baseline's; none for a pair that is left out.
    pub log_ratio: Option<f64>,
    /// Time of the whole execution on each side, in nanoseconds, baseline first.
    pub total_ns: [f64; 2],
    /// Turns of one side.
    pub n_turns: usize,
    /// Turns left out, on both sides.
    pub n_left_out: usize,
}

/// The pairs of an experiment and the uninterrupted repetitions at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    /// Every pair that completed on both sides, in order.
    pub pairs: Vec<Pair>,
    /// Logarithm of the ratio of each uninterrupted round, in order.
    pub closing: Vec<f64>,
}

impl Pairs {
    /// Takes the pairs of an experiment from the sessions of its sides. Evidence of a kind whose rule of validity is
    /// admitted leaves nothing out.
    pub fn of(baseline: &Session, candidate: &Session, admitted: &[String]) -> Self {
        let pairs = matched(baseline, candidate, Session::usable_in);
        let threads = threads(baseline);
        let closing = matched(baseline, candidate, Session::uninterrupted_in);
        Self {
            pairs: pairs.map(|(index, ours, theirs)| pair(index, ours, theirs, threads, admitted)).collect(),
            closing: closing.map(|(_, ours, theirs)| log_speed(theirs) - log_speed(ours)).collect(),
        }
    }

    /// Returns the mean log-ratio of the uninterrupted repetitions at the end, if there are any.
    pub fn uninterrupted(&self) -> Option<f64> {
        let n = self.closing.len();
        (n > 0).then(|| self.closing.iter().sum::<f64>() / n as f64)
    }

    /// Returns whether the uninterrupted repetitions contradict the pairs: whether they lie where one pair more would lie
    /// in less than one experiment of a hundred (a prediction interval; Hahn and Meeker 1991, "Statistical Intervals",
    /// section 4.7.1), and as far away as matters. They come from one pair of launches, and vary at least as a pair does.
    ///
    /// `tolerance` is the smallest relative change that matters.
    pub fn is_contradicted(&self, tolerance: f64) -> bool {
        let log_ratios = self.log_ratios();
        let (Some(closing), Some(location)) = (self.uninterrupted(), location(&log_ratios)) else {
            return false;
        };
        let n = log_ratios.len() as f64;
        let one_more = location.widened((1.0 + n).sqrt());
        let (low, high) = one_more.interval(CONTRADICTION);
        let is_relevant = (closing - location.centre).abs() > tolerance.ln_1p();
        is_relevant && (closing < low || closing > high)
    }

    /// Returns the log-ratios of the pairs that count, in order.
    pub fn log_ratios(&self) -> Vec<f64> {
        self.pairs.iter().filter_map(|pair| pair.log_ratio).collect()
    }
}

fn pair(index: u32, baseline: &Completed, candidate: &Completed, threads: f64, admitted: &[String]) -> Pair {
    let totals = [baseline, candidate].map(|own| own.timeline.total_ns() as f64);
    let alone = Pair {
        index,
        log_ratio: Some(log_speed(candidate) - log_speed(baseline)),
        total_ns: totals,
        n_turns: 1,
        n_left_out: 0,
    };
    let (Some(ours), Some(theirs)) = (&baseline.turns, &candidate.turns) else { return alone };
    let sides = [Turns::of(baseline, ours, threads), Turns::of(candidate, theirs, threads)];
    let n_turns = ours.len().min(theirs.len());
    let is_kept: Vec<bool> =
        (0..n_turns).map(|turn| sides.iter().all(|side| side.is_quiet(turn, admitted))).collect();
    let n_left_out = is_kept.iter().filter(|kept| !**kept).count();
    let speeds = sides.map(|side| side.log_speed(&is_kept));
    let log_ratio = match speeds {
        [Some(ours), Some(theirs)] => Some(theirs - ours),
        _ => None,
    };
    Pair { log_ratio, n_turns, n_left_out, ..alone }
}

/// The turns of one side of a pair: how many tokens, how long, beside what.
struct Turns<'a> {
    turns: &'a [Turn],
    /// Nanoseconds of each.
    times: Vec<f64>,
    /// CPUs that the engine can use at once.
    threads: f64,
}

/// Returns how many threads the engine computes with; one where the fingerprint does not tell.
fn threads(session: &Session) -> f64 {
    session.header.fingerprint.backend.identity.get("threads").and_then(|own| own.as_f64()).unwrap_or(1.0)
}

impl<'a> Turns<'a> {
    fn of(completed: &Completed, turns: &'a [Turn], threads: f64) -> Self {
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
        Self { turns, times, threads }
    }

    fn is_quiet(&self, turn: usize, admitted: &[String]) -> bool {
        is_quiet(&self.turns[turn].evidence, self.times[turn], self.threads, admitted)
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

/// Returns whether others took no more than their share of a turn. What the kernel does not tell is not held against it.
fn is_quiet(evidence: &Evidence, time_ns: f64, threads: f64, admitted: &[String]) -> bool {
    let Evidence { steal_ns, run_delay_ns, own_cpu_ns, waiting_cpu_ns, involuntary_switches: _ } = evidence;
    let taken = |reading: &Reading<u64>| reading.value().map_or(0.0, |nanos| *nanos as f64);
    // Threads of one engine wait for each other, too, and that is the engine's own affair (decision 12): others had no
    // more than the CPU time that the engine went without.
    let went_without = own_cpu_ns.value().map_or(0.0, |own| threads * time_ns - *own as f64);
    let waited_for_others = taken(run_delay_ns).min(went_without.max(0.0));
    // Each kind under the rule of validity that looks at the same in repetitions that run alone.
    let kinds =
        [("steal", taken(steal_ns)), ("run-queue", waited_for_others), ("other-load", taken(waiting_cpu_ns))];
    let is_admitted = |rule: &str| admitted.iter().any(|own| own == rule);
    kinds.iter().all(|(rule, taken)| is_admitted(rule) || *taken <= GREATEST_SHARE * time_ns)
}

/// Logarithm of tokens per nanosecond over the whole execution.
fn log_speed(completed: &Completed) -> f64 {
    (completed.timeline.n_tokens() as f64 / completed.timeline.total_ns() as f64).ln()
}

/// Joins what both sides did in the same launch, in order.
fn matched<'a>(
    baseline: &'a Session,
    candidate: &'a Session,
    of: fn(&Session, u32) -> Vec<&Completed>,
) -> impl Iterator<Item = (u32, &'a Completed, &'a Completed)> {
    let last = baseline.launches.iter().map(|launch| launch.index).max();
    let launches = 0..last.map_or(0, |last| last + 1);
    launches.flat_map(move |launch| {
        let (ours, theirs) = (of(baseline, launch), of(candidate, launch));
        ours.into_iter().zip(theirs).map(move |(ours, theirs)| (launch, ours, theirs))
    })
}

/// Returns whether two sessions are the two sides of one experiment.
pub fn are_sides(one: &Session, other: &Session) -> bool {
    match (&one.header.experiment, &other.header.experiment) {
        (Some(ours), Some(theirs)) => ours.id == theirs.id && ours.side != theirs.side,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
