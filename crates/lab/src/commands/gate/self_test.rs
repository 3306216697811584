//! `lab gate --self-test`: a regression is planted and must fail, equals must pass, all through the paths that real
//! candidates take: engine processes, sessions and paired experiments, a store, the comparison, the gate.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, anyhow};
use lab_core::gate::Gate;
use lab_core::metric::speed;
use lab_core::record::{Session, SessionStatus};
use lab_core::report::Report;
use lab_core::tolerance::Tolerance;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::itself;
use crate::store;
use crate::terminal::say;

use super::cannot_fire;

/// Takes milliseconds, and longer by a sixth where a regression is planted: far beyond what a busy machine adds to waits.
const PLAN: &str = include_str!("self_test.toml");
const PREFILL_US: u32 = 3_000;
const TOKEN_US: u32 = 3_000;
/// What a token takes where a regression is planted.
const SLOWER_TOKEN_US: u32 = 3_500;

/// What is measured for one answer.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    /// By how much waits are longer than the plan's.
    longer: u32,
    /// Pairs of each experiment.
    pairs: u32,
    /// What it takes on a machine with little else to do.
    seconds: u32,
}

/// What a busy machine adds to a wait does not grow with it: whoever is in doubt measures longer waits, which leaves a quarter of the
/// noise for four times as long, where as many more waits would leave half. Even longer ones would let the rules see a load that
/// leaves nothing valid. Turns have most waits: there are more pairs, too.
const IN_DOUBT: Attempt = Attempt { longer: 4, pairs: 10, seconds: 30 };
const ATTEMPTS: [Attempt; 3] = [Attempt { longer: 1, pairs: 6, seconds: 6 }, IN_DOUBT, IN_DOUBT];

pub(super) fn carry_out(global: &Global) -> Result<Exit> {
    for attempt in ATTEMPTS {
        let Attempt { pairs, seconds, .. } = attempt;
        say(&format!("measuring eight launches a session, {pairs} pairs an experiment: about {seconds} s"));
        if attempt.carry_out(global)? == Exit::Pass {
            say("the gate fires when it must, and only then");
            return Ok(Exit::Pass);
        }
    }
    say("this machine is too busy to tell; try again when it is quiet");
    Ok(Exit::Inconclusive)
}

impl Attempt {
    /// Measures, and says what the gate made of it.
    fn carry_out(self, global: &Global) -> Result<Exit> {
        let folder =
            tempfile::tempdir().context("cannot make a folder for the self-test").map_err(Failure::run)?;
        let plan = planted(PLAN, ("prefill_us", PREFILL_US), PREFILL_US * self.longer)?;
        let [regressed, plan] =
            [SLOWER_TOKEN_US, TOKEN_US].map(|us| planted(&plan, ("token_us", TOKEN_US), us * self.longer));
        let (regressed, plan) = (regressed?, plan?);
        let bench = Bench { folder: folder.path(), global };
        for (name, plan) in [("baseline", &plan), ("equal", &plan), ("regressed", &regressed)] {
            bench.run(name, plan)?;
        }
        let of_sessions = [bench.gate("@latest~2", "@latest~1")?, bench.gate("@latest~2", "@latest")?];
        let of_pairs = |candidate| {
            let [a, b] = bench.experiment(["baseline", candidate], self.pairs)?;
            bench.gate(&a, &b)
        };
        let of_pairs = [of_pairs("equal")?, of_pairs("regressed")?];
        let exits = [("sessions", of_sessions), ("pairs", of_pairs)].map(|(path, [equal, regression])| {
            say(&format!("equals, by {path}: {}", equal.reason));
            say(&format!("planted regression, by {path}: {}", regression.reason));
            conclude(&equal, &regression)
        });
        let [of_sessions, of_pairs] = exits;
        if of_sessions? == Exit::Pass { of_pairs } else { of_pairs.and(Ok(Exit::Inconclusive)) }
    }
}

/// Returns the plan with another value of a setting that it must have.
fn planted(plan: &str, (setting, value): (&str, u32), other: u32) -> Result<String> {
    let line = format!("{setting} = {value}");
    match plan.split_once(&line) {
        Some((before, behind)) => Ok(format!("{before}{setting} = {other}{behind}")),
        None => Err(cannot_fire(&format!("the plan has no `{line}`"))),
    }
}

/// What the gate did with a candidate.
#[derive(Debug, Clone)]
struct Judged {
    exit: Exit,
    reason: String,
    /// Whether the candidate is so plainly slower that no rule may be in doubt.
    is_plain: bool,
}

/// Says what the self-test comes to, by what became of the equals and of the planted regression.
fn conclude(equal: &Judged, regression: &Judged) -> Result<Exit> {
    match (equal.exit, regression.exit) {
        (Exit::Pass, Exit::NotReproduced) => Ok(Exit::Pass),
        (Exit::Pass | Exit::Inconclusive, Exit::Inconclusive) if regression.is_plain => Err(cannot_fire(
            &format!("a regression that every launch shows was not called one; {}", regression.reason),
        )),
        // A gate in doubt is no broken one: on a machine that is busy enough nothing can be told.
        (Exit::Pass | Exit::Inconclusive, Exit::NotReproduced | Exit::Inconclusive) => Ok(Exit::Inconclusive),
        (Exit::Pass | Exit::Inconclusive, _) => Err(cannot_fire(&format!(
            "a planted regression of 13 % was not called one; {}",
            regression.reason
        ))),
        _ => Err(cannot_fire(&format!("equals did not pass; {}", equal.reason))),
    }
}

/// Returns whether nothing was disturbed and the candidate's figures lie beyond the tolerance by so much more than they vary that no
/// rule may be in doubt. That is seen in the figures alone, whatever intervals say.
fn is_plain(report: &Report) -> bool {
    let speed = report.metrics.iter().find(|row| row.metric == speed().id());
    let figures =
        speed.and_then(|row| Some((row.baseline.as_ref()?, row.candidate.as_ref()?, row.tolerance?)));
    let Some((ours, theirs, Tolerance::Relative(width))) = figures else { return false };
    let range = (ours.max - ours.min).max(theirs.max - theirs.min);
    report.suspicions.is_empty()
        && report.reservations.is_empty()
        && theirs.max + PLAIN_RANGES * range < ours.min * (1.0 - width)
}

/// Half an interval of six pairs or eight launches, or of more, is less than two and a half times their range, whatever they are: at most
/// 3.18 · √(1.5 / 12) · 2 for pairs, whose ratios may vary by what both sides do.
const PLAIN_RANGES: f64 = 3.0;

struct Bench<'a> {
    folder: &'a Path,
    global: &'a Global,
}

impl Bench<'_> {
    /// The settings of whoever asks, with a store of its own.
    fn own(&self) -> Global {
        Global { store: self.folder.join("lab.sqlite"), ..self.global.clone() }
    }

    /// Runs a plan as a user would. A machine that is busy enough leaves nothing that counts of a session that is complete: that is no
    /// failure of it.
    fn run(&self, name: &str, plan: &str) -> Result<()> {
        let path = self.folder.join(format!("{name}.toml"));
        std::fs::write(&path, plan).context("cannot write the self-test's plan").map_err(Failure::run)?;
        let output = self.lab("run", &[&path], &[])?;
        let is_invalid = |own: Session| own.status() == SessionStatus::Completed && !own.has_usable();
        match output.status.success() || self.session("@latest").is_ok_and(is_invalid) {
            true => Ok(()),
            false => Err(failed("session", &output)),
        }
    }

    fn session(&self, typed: &str) -> Result<Session> {
        store::load(&store::open(&self.own())?, typed)
    }

    /// Measures two of the plans in pairs as a user would, and returns the ids of both sides. What `ab` itself concludes is not
    /// asked here.
    fn experiment(&self, plans: [&str; 2], pairs: u32) -> Result<[String; 2]> {
        let paths = plans.map(|name| self.folder.join(format!("{name}.toml")));
        let words = ["--pairs", &pairs.to_string(), "--fixed", "--format", "json"];
        let output = self.lab("ab", &paths.each_ref(), &words)?;
        let document: Value =
            serde_json::from_slice(&output.stdout).map_err(|_| failed("experiment", &output))?;
        let side = |name: &str| document[name]["session"].as_str().map(str::to_owned);
        let [a, b] = ["baseline", "candidate"].map(side);
        a.zip(b).map(<[String; 2]>::from).ok_or_else(|| failed("experiment", &output))
    }

    /// Asks the gate as a user would, unless the machine left nothing to ask about.
    fn gate(&self, baseline: &str, candidate: &str) -> Result<Judged> {
        if !(self.session(baseline)?.has_usable() && self.session(candidate)?.has_usable()) {
            let reason = "not asked: every repetition of a side is invalid".to_owned();
            return Ok(Judged { exit: Exit::Inconclusive, reason, is_plain: false });
        }
        let words =
            ["--baseline", baseline, "--candidate", candidate, "--vary", "engine", "--format", "json"];
        let output = self.lab("gate", &[], &words)?;
        let gate: Gate = serde_json::from_slice(&output.stdout).map_err(|_| failed("gate", &output))?;
        let status = output.status.code().and_then(|status| u8::try_from(status).ok());
        let exit = status.and_then(Exit::of_status).ok_or_else(|| failed("gate", &output))?;
        Ok(Judged { exit, is_plain: is_plain(&gate.report), reason: gate.reason })
    }

    fn lab(&self, command: &str, plans: &[&PathBuf], further: &[&str]) -> Result<Output> {
        let mut command = itself::command(command, &self.own())?;
        command.args(plans).args(further).output().context("cannot run lab").map_err(Failure::run)
    }
}

fn failed(what: &str, output: &Output) -> Failure {
    Failure::run(anyhow!("the self-test's {what} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use lab_compare::Policy;
    use lab_core::fixtures;
    use lab_core::report::Suspicion;

    use super::*;

    fn judged(exit: Exit, reason: &str, is_plain: bool) -> Judged {
        Judged { exit, reason: reason.to_owned(), is_plain }
    }

    #[test]
    fn a_gate_that_cannot_fire_is_told_with_what_it_did_instead() {
        let equal = judged(Exit::Pass, "passed: equivalent", false);
        let said = |equal: &Judged, exit, reason| {
            conclude(equal, &judged(exit, reason, true)).unwrap_err().to_string()
        };
        let refused = said(&equal, Exit::Refused, "failed: refused: plan differs in mode");
        assert!(refused.ends_with("was not called one; failed: refused: plan differs in mode"), "{refused}");
        let passed = said(&equal, Exit::Pass, "passed: equivalent: tokens_per_sec");
        assert!(passed.ends_with("was not called one; passed: equivalent: tokens_per_sec"), "{passed}");
        let doubts = said(&judged(Exit::Inconclusive, "", false), Exit::Inconclusive, "failed: inconclusive");
        assert!(doubts.ends_with("every launch shows was not called one; failed: inconclusive"), "{doubts}");
        let unequal = judged(Exit::Refused, "failed: refused: plan differs in mode", false);
        let unequal = said(&unequal, Exit::NotReproduced, "failed: regressed");
        assert!(unequal.ends_with("equals did not pass; failed: refused: plan differs in mode"), "{unequal}");
    }

    #[test]
    fn a_regression_is_plain_where_its_figures_lie_far_beyond_what_they_vary_by() {
        let session = |number, speeds: &[f64]| {
            let mut session = fixtures::session(number, &vec![10_000; speeds.len()]);
            fixtures::set_values(&mut session, &speed().id(), speeds);
            session
        };
        let against = |speeds: &[f64]| {
            let baseline = session(1, &[100.0, 101.0, 99.0, 100.5, 99.5, 100.0]);
            lab_compare::compare(&baseline, &session(2, speeds), &Policy::default())
        };
        assert!(is_plain(&against(&[86.0, 87.0, 86.5, 86.0, 87.5, 86.2])));
        assert!(!is_plain(&against(&[100.0, 101.0, 99.5, 100.0, 99.0, 100.2])), "equal");
        assert!(!is_plain(&against(&[113.0, 114.0, 113.5, 113.0, 114.5, 113.2])), "better");
        assert!(
            !is_plain(&against(&[86.0, 60.0, 86.5, 40.0, 87.5, 86.2])),
            "varying by more than it lies off"
        );
        let steal = Suspicion { rule: "steal".to_owned(), baseline: 0, candidate: 1, energy_only: false };
        let doubted = Report { suspicions: vec![steal], ..against(&[86.0; 6]) };
        assert!(!is_plain(&doubted));
    }

    #[test]
    fn a_gate_in_doubt_is_no_broken_one() {
        let [pass, fails, doubt] =
            [Exit::Pass, Exit::NotReproduced, Exit::Inconclusive].map(|own| judged(own, "", false));
        for (equal, regression, expected) in [
            (&pass, &fails, Exit::Pass),
            (&doubt, &fails, Exit::Inconclusive),
            (&pass, &doubt, Exit::Inconclusive),
            (&doubt, &doubt, Exit::Inconclusive),
        ] {
            assert_eq!(conclude(equal, regression).unwrap(), expected);
        }
    }
}
