//! `lab gate --self-test`: a regression is planted and must fail, equals must pass, all through the paths that real
//! candidates take: engine processes, sessions and paired experiments, a store, the comparison, the gate.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, anyhow};
use lab_compare::Policy;
use lab_core::fingerprint::PartKind;
use lab_core::gate::Gate;
use lab_store::Store;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::terminal::say;
use crate::{itself, store};

use super::{DecidingRule, cannot_fire, exit_of, judge};

/// Takes milliseconds, and longer by a sixth where a regression is planted: far beyond what a busy machine adds to waits.
const PLAN: &str = include_str!("self_test.toml");
const TOKEN_US: &str = "token_us = 3000";
const SLOWER_TOKEN_US: &str = "token_us = 3500";

pub(super) fn carry_out(global: &Global) -> Result<Exit> {
    let folder =
        tempfile::tempdir().context("cannot make a folder for the self-test").map_err(Failure::run)?;
    let regressed = PLAN.replace(TOKEN_US, SLOWER_TOKEN_US);
    if regressed == PLAN {
        return Err(cannot_fire("no regression could be planted"));
    }
    let bench = SelfTest { folder: folder.path(), global };
    for (name, plan) in [("baseline", PLAN), ("equal", PLAN), ("regressed", regressed.as_str())] {
        bench.run(name, plan)?;
    }
    let store = store::open_for_recording(&bench.store())?;
    let of_sessions = [gate(&store, "@latest~2", "@latest~1")?, gate(&store, "@latest~2", "@latest")?];
    let of_pairs = |candidate| {
        let [a, b] = bench.experiment(["baseline", candidate])?;
        gate(&store, &a, &b)
    };
    let of_pairs = [of_pairs("equal")?, of_pairs("regressed")?];
    let exits = [("sessions", of_sessions), ("pairs", of_pairs)].map(|(path, [equal, regression])| {
        say(&format!("equals, by {path}: {}", equal.reason));
        say(&format!("planted regression, by {path}: {}", regression.reason));
        conclude((exit_of(&equal), &equal.reason), (exit_of(&regression), &regression.reason))
    });
    let [of_sessions, of_pairs] = exits;
    let exit = if of_sessions? == Exit::Pass { of_pairs? } else { of_pairs.and(Ok(Exit::Inconclusive))? };
    say(match exit {
        Exit::Pass => "the gate fires when it must, and only then",
        _ => "this machine is too busy to tell; try again when it is quiet",
    });
    Ok(exit)
}

/// Says what the self-test comes to, by what became of the equals and of the planted regression, each with its reason.
fn conclude(equal: (Exit, &str), regression: (Exit, &str)) -> Result<Exit> {
    match (equal.0, regression.0) {
        (Exit::Pass, Exit::NotReproduced) => Ok(Exit::Pass),
        // A gate in doubt is no broken one: on a machine that is busy enough nothing can be told.
        (Exit::Pass | Exit::Inconclusive, Exit::NotReproduced | Exit::Inconclusive) => Ok(Exit::Inconclusive),
        (Exit::Pass | Exit::Inconclusive, _) => {
            Err(cannot_fire(&format!("a planted regression of 13 % was not called one; {}", regression.1)))
        }
        _ => Err(cannot_fire(&format!("equals did not pass; {}", equal.1))),
    }
}

fn gate(store: &Store, baseline: &str, candidate: &str) -> Result<Gate> {
    let (baseline, candidate) = (store::load(store, baseline)?, store::load(store, candidate)?);
    Ok(judge(&baseline, &candidate, DecidingRule::Interval, Some(PartKind::Engine), Policy::default()))
}

struct SelfTest<'a> {
    folder: &'a Path,
    global: &'a Global,
}

impl SelfTest<'_> {
    fn store(&self) -> PathBuf {
        self.folder.join("lab.sqlite")
    }

    /// Runs a plan as a user would.
    fn run(&self, name: &str, plan: &str) -> Result<()> {
        let path = self.folder.join(format!("{name}.toml"));
        std::fs::write(&path, plan).context("cannot write the self-test's plan").map_err(Failure::run)?;
        let output = self.lab("run", &[&path], &[])?;
        match output.status.success() {
            true => Ok(()),
            false => Err(failed("session", &output)),
        }
    }

    /// Measures two of the plans in pairs as a user would, and returns the ids of both sides. What `ab` itself concludes is not
    /// asked here.
    fn experiment(&self, plans: [&str; 2]) -> Result<[String; 2]> {
        let paths = plans.map(|name| self.folder.join(format!("{name}.toml")));
        let output = self.lab("ab", &paths.each_ref(), &["--pairs", "6", "--fixed", "--format", "json"])?;
        let document: Value =
            serde_json::from_slice(&output.stdout).map_err(|_| failed("experiment", &output))?;
        let side = |name: &str| document[name]["session"].as_str().map(str::to_owned);
        let [a, b] = ["baseline", "candidate"].map(side);
        a.zip(b).map(<[String; 2]>::from).ok_or_else(|| failed("experiment", &output))
    }

    fn lab(&self, command: &str, plans: &[&PathBuf], further: &[&str]) -> Result<Output> {
        let own_store = Global { store: self.store(), ..self.global.clone() };
        let mut command = itself::command(command, &own_store)?;
        command.args(plans).args(further).output().context("cannot run lab").map_err(Failure::run)
    }
}

fn failed(what: &str, output: &Output) -> Failure {
    Failure::run(anyhow!("the self-test's {what} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_cannot_fire_is_told_with_what_it_did_instead() {
        let equal = (Exit::Pass, "passed: equivalent");
        let said = |equal, regression| conclude(equal, regression).unwrap_err().to_string();
        let refused = said(equal, (Exit::Refused, "failed: refused: plan differs in mode"));
        assert!(refused.ends_with("was not called one; failed: refused: plan differs in mode"), "{refused}");
        let passed = said(equal, (Exit::Pass, "passed: equivalent: tokens_per_sec"));
        assert!(passed.ends_with("was not called one; passed: equivalent: tokens_per_sec"), "{passed}");
        let regressed = (Exit::NotReproduced, "failed: regressed");
        let unequal = said((Exit::Refused, "failed: refused: plan differs in mode"), regressed);
        assert!(unequal.ends_with("equals did not pass; failed: refused: plan differs in mode"), "{unequal}");
    }

    #[test]
    fn a_gate_in_doubt_is_no_broken_one() {
        let [pass, fails, doubt] = [Exit::Pass, Exit::NotReproduced, Exit::Inconclusive].map(|own| (own, ""));
        for (equal, regression, expected) in [
            (pass, fails, Exit::Pass),
            (doubt, fails, Exit::Inconclusive),
            (pass, doubt, Exit::Inconclusive),
            (doubt, doubt, Exit::Inconclusive),
        ] {
            assert_eq!(conclude(equal, regression).unwrap(), expected);
        }
    }
}
