//! How often verdicts on sessions are wrong that were measured apart from each other.

use lab_compare::drift::Drifting;
use lab_compare::location::location;
use lab_compare::noise::{components, drift};
use lab_compare::number_line::{Verdict, place};
use lab_compare::stopping::until;
use lab_core::metric::Direction;
use lab_core::report::{Drift, Scale};

use super::{N_TRIALS, TOLERANCE};
use crate::simulation::{Draw, Tally};

/// `lab run --until decided-against`: a baseline that is there, and a candidate that is looked at launch after launch.
#[test]
fn a_session_measured_until_it_is_decided_is_wrong_no_more_often() {
    println!(
        "| launches of the baseline | true change | some look misses | regressed | equivalent | median launches |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let stopping = until(36);
    for n_baseline in [5, 12, 36] {
        for change in [0.0, -0.03, -0.06] {
            let (mut missed, mut red, mut green) = (0, 0, 0);
            let mut lengths = Vec::new();
            for trial in 0..N_TRIALS {
                let mut draw = Draw::new(8, trial);
                let launches = |draw: &mut Draw, n: u32, level: f64| {
                    (0..n).map(|_| level + 0.02 * draw.normal()).collect::<Vec<f64>>()
                };
                let ours = location(&launches(&mut draw, n_baseline, 0.0)).expect("five launches");
                let (mut theirs, mut is_decided, mut misses) = (Vec::new(), false, false);
                for look in &stopping.looks {
                    let n_more = look - u32::try_from(theirs.len()).expect("a small count");
                    theirs.extend(launches(&mut draw, n_more, f64::ln_1p(change)));
                    let change_found = ours.to(location(&theirs).expect("four launches"));
                    let (low, high) = change_found.interval(stopping.look_confidence);
                    misses |= low > f64::ln_1p(change) || high < f64::ln_1p(change);
                    let verdict = place(low.exp_m1(), high.exp_m1(), TOLERANCE, Direction::Higher);
                    if !is_decided && verdict != Verdict::Inconclusive {
                        is_decided = true;
                        red += u32::from(verdict == Verdict::Regressed);
                        green += u32::from(verdict == Verdict::Equivalent);
                        lengths.push(*look);
                    }
                }
                missed += u32::from(misses);
                lengths.extend((!is_decided).then_some(stopping.most()));
            }
            lengths.sort_unstable();
            let [missed, red, green] = [missed, red, green].map(|k| Tally { k, n: N_TRIALS });
            println!(
                "| {n_baseline} | {:.0} % | {missed} | {red} | {green} | {} |",
                change * 100.0,
                lengths[lengths.len() / 2]
            );
            assert!(missed.is_compatible_with_at_most(0.05), "{n_baseline} {change}: missed {missed}");
            assert!(change != 0.0 || red.is_compatible_with_at_most(0.01), "{n_baseline}: regressed {red}");
            assert!(
                change != -0.03 || green.is_compatible_with_at_most(0.05),
                "{n_baseline}: equivalent {green}"
            );
        }
    }
}

/// Equal sessions that are measured apart, and what is known of others like them.
#[derive(Clone, Copy)]
struct Apart {
    /// Launches of a session.
    n: u32,
    /// What launches vary by.
    spread: f64,
    /// Correlation of neighbouring launches.
    rho: f64,
    /// What sessions differ by.
    drifts: f64,
    /// Sessions that drift and correlation are known from.
    n_known: usize,
}

/// How often something became of two equal sessions.
#[derive(Default)]
struct Judged {
    missed: u32,
    different: u32,
    equivalent: u32,
    /// The naive rule: means that differ by 3 % or more, for the worse.
    naive: u32,
}

impl Apart {
    /// Draws a session: logarithms of what its launches took.
    fn session(&self, draw: &mut Draw) -> Vec<f64> {
        let level = self.drifts * draw.normal();
        let mut own = draw.normal();
        let next = |_| {
            let value = level + self.spread * own;
            own = self.rho * own + (1.0_f64 - self.rho * self.rho).sqrt() * draw.normal();
            value
        };
        (0..self.n).map(next).collect()
    }

    /// Returns what a store that holds so many sessions of them knows; the baseline is one.
    fn known(&self, baseline: &[f64], draw: &mut Draw) -> Drift {
        let others = (1..self.n_known).map(|_| self.session(draw));
        let sessions: Vec<Vec<f64>> = others.chain([baseline.to_vec()]).collect();
        if self.n_known == TOO_FEW {
            let own = components(&sessions).expect("three sessions");
            return Drift::Known {
                standard_deviation: own.between,
                sessions: own.n_groups,
                serial_correlation: own.serial_correlation,
            };
        }
        let speeds = |logs: &Vec<f64>| logs.iter().map(|own| own.exp()).collect::<Vec<f64>>();
        drift(&sessions.iter().map(speeds).collect::<Vec<_>>())
    }

    /// Compares two sessions as `lab compare` does.
    fn compare(&self, draw: &mut Draw, judged: &mut Judged) {
        let (ours, theirs) = (self.session(draw), self.session(draw));
        let of = |values: &[f64]| location(values).expect("five launches");
        let drifting = Drifting::new(self.known(&ours, draw), Scale::Relative, 0.0);
        let (low, high) = drifting.held_by(of(&ours).to(of(&theirs))).interval(0.95);
        let verdict = place(low.exp_m1(), high.exp_m1(), TOLERANCE, Direction::Higher);
        let mean = |values: &[f64]| values.iter().map(|own| own.exp()).sum::<f64>() / f64::from(self.n);
        judged.missed += u32::from(low > 0.0 || high < 0.0);
        judged.different += u32::from(matches!(verdict, Verdict::Regressed | Verdict::Improved));
        judged.equivalent += u32::from(verdict == Verdict::Equivalent);
        judged.naive += u32::from((mean(&theirs) / mean(&ours) - 1.0) < -TOLERANCE);
    }

    /// Whether nothing beyond the launches of both sides makes them differ, or it is known from as many sessions as lab asks for.
    fn is_known(&self) -> bool {
        (self.drifts == 0.0 && self.rho == 0.0) || self.n_known > TOO_FEW
    }
}

/// Sessions that lab calls too few to know a drift from. Their rows show why: they are judged as if it did not.
const TOO_FEW: usize = 3;

/// Two separate sessions, as `lab compare` judges them: five launches a side and more, with and without drift.
#[test]
fn separate_sessions_are_judged_by_launches_and_drift() {
    println!(
        "| launches a side | launch sd | correlation | session sd | sessions it is known from | misses | called different | equivalent | naive \
         rule: beyond 3 % |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (n, spread, rho, drifts) in [
        (5, 0.10, 0.0, 0.0),
        (5, 0.07, 0.0, 0.0),
        (5, 0.02, 0.0, 0.0),
        (50, 0.07, 0.0, 0.0),
        (5, 0.07, 0.0, 0.02),
        (50, 0.07, 0.0, 0.02),
        (400, 0.07, 0.0, 0.02),
        (5, 0.07, 0.2, 0.02),
        (50, 0.07, 0.2, 0.0),
        (50, 0.07, 0.2, 0.02),
    ] {
        for n_known in [0, TOO_FEW, 5, 12] {
            let sessions = Apart { n, spread, rho, drifts, n_known };
            if n_known == 0 || drifts > 0.0 || rho > 0.0 {
                check_apart(&sessions);
            }
        }
    }
}

/// Prints the row of equal sessions and holds it to what is said of them.
fn check_apart(sessions: &Apart) {
    let Apart { n, spread, rho, drifts, n_known } = *sessions;
    let mut judged = Judged::default();
    (0..N_TRIALS).for_each(|trial| sessions.compare(&mut Draw::new(7, trial), &mut judged));
    let [missed, different, equivalent, naive] =
        [judged.missed, judged.different, judged.equivalent, judged.naive].map(|k| Tally { k, n: N_TRIALS });
    let (spread, drifts) = (spread * 100.0, drifts * 100.0);
    println!(
        "| {n} | {spread:.0} % | {rho} | {drifts:.0} % | {n_known} | {missed} | {different} | {equivalent} | {naive} |"
    );
    let name =
        format!("{n} launches of sd {spread:.0} %, {rho}, sessions {drifts:.0} %, known from {n_known}");
    if sessions.is_known() {
        // Five sessions tell a little too little of what they differ by.
        assert!(missed.is_compatible_with_at_most(0.06), "{name}: missed in {missed}");
        assert!(different.is_at_most(0.025), "{name}: called different in {different}");
    } else if n_known == 0 || drifts > 0.0 && n >= 50 {
        assert!(missed.is_at_least(0.06), "{name}: what is not known is not held: {missed}");
    }
    assert!(spread < 10.0 || naive.is_at_least(0.29), "{name}: the naive rule is wrong in {naive}");
}
