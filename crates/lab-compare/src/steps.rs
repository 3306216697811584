//! What one paired experiment after the other found, and what that comes to: a drift of many small steps, each of them
//! equivalent.

use lab_core::experiment::{Noise, StoppingPlan};
use lab_core::metric::Reading;
use lab_core::record::Session;
use lab_core::work::Work;

use crate::change::few;
use crate::location::Location;
use crate::pairs::Pairs;
use crate::reservation::speed_tolerance;
use crate::stopping::{CONFIDENCE, Look, effect};

/// What one experiment found: of speed, or of the elapsed time of a command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Pairs that count.
    pub n_pairs: usize,
    /// Its change, with the interval that its stopping plan grants.
    pub change: Look,
    /// The change from the first step's A to this one's B, as if each step began where the one before it ended: log-ratios add up,
    /// and so do the squares of their standard errors, of the pairs that [`unstopped`] takes. With an interval at 95 %.
    pub sum: Look,
    /// Whether it began with the very engine that the step before it ended with.
    pub is_linked: bool,
}

/// Returns the step of each experiment (A and B), in the order given, or why it shows none: too few pairs, or uninterrupted repetitions
/// that contradict them. Pairs are left out for outside evidence but for the rules that are admitted.
pub fn steps(experiments: &[[Session; 2]], admitted: &[String]) -> Vec<Reading<Step>> {
    let mut sum: Option<Location> = None;
    let mut last = None;
    let step = |[a, b]: &[Session; 2]| -> Result<Step, String> {
        let experiment = a.header.experiment.as_ref().ok_or("it is no experiment")?;
        let pairs = Pairs::of(a, b, admitted);
        if pairs.is_contradicted(speed_tolerance(a, b)) {
            return Err("uninterrupted repetitions contradict the pairs".to_owned());
        }
        let sign = sign(&a.header.work);
        let log_ratios: Vec<f64> = pairs.log_ratios().iter().map(|own| sign * own).collect();
        let n_pairs = log_ratios.len();
        let own = effect(&log_ratios, experiment.noise).ok_or_else(|| few(n_pairs, "pair"))?;
        let complete: Vec<Option<f64>> = complete([a, b], &pairs).map(|own| Some(sign * own?)).collect();
        let unstopped = unstopped(&complete, &experiment.stopping, experiment.noise);
        let unstopped = unstopped.ok_or("too few of the pairs up to the first look count")?;
        let total = sum.map_or(unstopped, |sum| sum.plus(unstopped));
        sum = Some(total);
        let began_with = Some(a.header.fingerprint.engine.digest());
        let is_linked = last.is_none() || last == began_with;
        last = Some(b.header.fingerprint.engine.digest());
        Ok(Step {
            n_pairs,
            change: look(own, experiment.stopping.look_confidence),
            sum: look(total, CONFIDENCE),
            is_linked,
        })
    };
    experiments.iter().map(step).map(Reading::from).collect()
}

/// Returns what the pairs up to the first look say, which no look decided on; nothing where fewer than two of them count. Pairs that
/// are left out have none, and looks count them.
///
/// An experiment that ends as soon as it is decided ends early where chance led it to a decision: its last estimate leans towards what
/// was decided, little by itself, and as many times as much in a sum (`docs/history.md`).
pub fn unstopped(pairs: &[Option<f64>], stopping: &StoppingPlan, noise: Noise) -> Option<Location> {
    let first = stopping.looks.first().map_or(pairs.len(), |look| *look as usize);
    let log_ratios: Vec<f64> = pairs.iter().take(first).filter_map(|own| *own).collect();
    effect(&log_ratios, noise)
}

/// Returns the log-ratio of each pair that is complete, in order; none for one that is left out or invalid.
fn complete(sides: [&Session; 2], pairs: &Pairs) -> impl Iterator<Item = Option<f64>> {
    let is_complete = move |launch: &u32| {
        sides.iter().all(|side| side.succeeded().any(|own| own.repetition.launch == *launch))
    };
    let launches = sides[0].launches.iter().map(|launch| launch.index).filter(is_complete);
    launches.map(|launch| pairs.pairs.iter().find(|own| own.index == launch)?.log_ratio)
}

/// Returns the sign of a session's metric in log-ratios of pairs: those are of speed, and a command has an elapsed time.
const fn sign(work: &Work) -> f64 {
    if matches!(work, Work::Command(_)) { -1.0 } else { 1.0 }
}

fn look(location: Location, confidence: f64) -> Look {
    let (low, high) = location.interval(confidence);
    Look { change: location.centre.exp_m1(), low: low.exp_m1(), high: high.exp_m1() }
}

#[cfg(test)]
mod tests {
    use lab_core::experiment::Side;
    use lab_core::fixtures;
    use lab_core::record::Outcome;

    use super::*;

    /// An experiment whose B takes these gaps where A takes 20 ms, in microseconds, and the versions of both engines.
    fn experiment(gaps_us: &[u64], versions: [&str; 2]) -> [Session; 2] {
        let side = |which: Side, gaps_us: &[u64]| {
            let mut session = fixtures::session(1 + which as u128, gaps_us);
            session.header.experiment = Some(fixtures::experiment(which));
            for recorded in &mut session.repetitions {
                if let Outcome::Completed(completed) = &mut recorded.repetition.outcome {
                    completed.turns = Some([1, 4, 3].map(fixtures::quiet_turn).to_vec());
                }
            }
            let identity = &mut session.header.fingerprint.engine.identity;
            identity.insert("version".to_owned(), versions[which.index()].into());
            session
        };
        [side(Side::A, &vec![20_000; gaps_us.len()]), side(Side::B, gaps_us)]
    }

    #[test]
    fn steps_add_up_on_the_scale_of_logarithms() {
        let slower = [20_400, 20_500, 20_300, 20_400];
        let experiments = [
            experiment(&slower, ["1", "2"]),
            experiment(&slower, ["2", "3"]),
            experiment(&slower, ["4", "5"]),
        ];
        let found = steps(&experiments, &[]);
        let found: Vec<Step> = found.iter().map(|own| *own.value().unwrap()).collect();
        let one = found[0].change.change;
        assert!((-0.016..-0.013).contains(&one), "{one}");
        assert!((found[2].sum.change - (one.ln_1p() * 3.0).exp_m1()).abs() < 1e-12, "{found:?}");
        let width = |look: Look| look.high - look.low;
        assert!(width(found[2].sum) > width(found[1].sum) && width(found[1].sum) > 0.0, "{found:?}");
        assert_eq!(found.iter().map(|own| own.is_linked).collect::<Vec<_>>(), [true, true, false]);
        assert!(found.iter().all(|own| own.n_pairs == 4));
    }

    #[test]
    fn what_looks_decided_on_is_no_part_of_the_sum() {
        let mut sides = experiment(&[20_400, 20_500, 20_300, 20_400, 20_000, 20_010], ["1", "2"]);
        for side in &mut sides {
            side.header.experiment.as_mut().unwrap().stopping.looks = vec![4, 6];
        }
        let [all, first] = [6, 4].map(|n| [20_400, 20_500, 20_300, 20_400, 20_000, 20_010][..n].to_vec());
        let change =
            |gaps: &[u64]| steps(&[experiment(gaps, ["1", "2"])], &[])[0].value().unwrap().change.change;
        let step = *steps(&[sides], &[])[0].value().unwrap();
        assert!((step.sum.change - change(&first)).abs() < 1e-12, "{step:?}");
        assert!((step.change.change - change(&all)).abs() < 1e-12, "{step:?}");
    }

    #[test]
    fn a_pair_that_is_left_out_stands_in_the_way_of_no_look() {
        let mut sides = experiment(&[20_400, 20_500, 20_300, 20_400, 20_000, 20_010], ["1", "2"]);
        for side in &mut sides {
            side.header.experiment.as_mut().unwrap().stopping.looks = vec![4, 6];
        }
        let Outcome::Completed(completed) = &mut sides[0].repetitions[3].repetition.outcome else {
            panic!("completed")
        };
        completed.turns.as_mut().unwrap()[0].evidence.steal_ns = Reading::Value(1_000_000_000);
        let step = *steps(&[sides], &[])[0].value().unwrap();
        let rest = [20_400, 20_300, 20_400];
        let of_rest = steps(&[experiment(&rest, ["1", "2"])], &[])[0].value().unwrap().change.change;
        assert_eq!(step.n_pairs, 5);
        assert!(
            (step.sum.change - of_rest).abs() < 1e-12,
            "the fifth pair is there for what a look said: {step:?}"
        );
    }

    #[test]
    fn a_command_that_takes_longer_has_a_longer_elapsed_time() {
        let side = |which: Side, elapsed_ms: &[u64]| {
            let mut session = fixtures::command_session(1 + which as u128, elapsed_ms);
            session.header.experiment = Some(fixtures::experiment(which));
            session
        };
        let sides = [side(Side::A, &[100; 4]), side(Side::B, &[110, 111, 109, 110])];
        let change = steps(&[sides], &[])[0].value().unwrap().change.change;
        assert!((0.09..0.11).contains(&change), "{change}");
    }

    #[test]
    fn an_experiment_without_pairs_is_no_step_and_the_sum_goes_on() {
        let slower = [20_400, 20_500, 20_300, 20_400];
        let experiments = [
            experiment(&slower, ["1", "2"]),
            experiment(&[20_400], ["2", "3"]),
            experiment(&slower, ["2", "3"]),
        ];
        let found = steps(&experiments, &[]);
        assert_eq!(found[1].reason(), Some("there is a single pair, and one value has no spread"));
        let sum = found[2].value().unwrap();
        assert!(sum.sum.change < 1.9 * found[0].value().unwrap().change.change && sum.is_linked, "{sum:?}");
    }
}
