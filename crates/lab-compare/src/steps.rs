//! What one paired experiment after the other found, and what that comes to: a drift of many small steps, each of them
//! equivalent.

use lab_core::metric::Reading;
use lab_core::record::Session;

use crate::change::few;
use crate::location::Location;
use crate::pairs::Pairs;
use crate::stopping::{CONFIDENCE, Look, effect};

/// What one experiment found of speed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Pairs that count.
    pub n_pairs: usize,
    /// Its change, with the interval that its stopping plan grants.
    pub change: Look,
    /// The change from the first step's A to this one's B, as if each step began where the one before it ended: log-ratios add up,
    /// and so do the squares of their standard errors. With an interval at 95 %.
    pub sum: Look,
    /// Whether it began with the very engine that the step before it ended with.
    pub is_linked: bool,
}

/// Returns the step of each experiment (A and B), in the order given, or why it shows none. Pairs are left out for outside evidence
/// but for the rules that are admitted.
pub fn steps(experiments: &[[Session; 2]], admitted: &[String]) -> Vec<Reading<Step>> {
    let mut sum: Option<Location> = None;
    let mut last = None;
    let step = |[a, b]: &[Session; 2]| -> Result<Step, String> {
        let experiment = a.header.experiment.as_ref().ok_or("it is no experiment")?;
        let log_ratios = Pairs::of(a, b, admitted).log_ratios();
        let n_pairs = log_ratios.len();
        let own = effect(&log_ratios, experiment.noise).ok_or_else(|| few(n_pairs, "pair"))?;
        let total = sum.map_or(own, |sum| sum.plus(own));
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
