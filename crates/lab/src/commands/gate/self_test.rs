//! `lab gate --self-test`: a regression is planted and must fail, equals must pass, all through the path that real
//! candidates take: engine processes, a store, the comparison, the gate.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use lab_compare::Policy;
use lab_core::fingerprint::PartKind;
use lab_core::gate::Gate;
use lab_store::Store;

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
    let (equal, regression) = (gate(&store, "@latest~1")?, gate(&store, "@latest")?);
    say(&format!("equals: {}", equal.reason));
    say(&format!("planted regression: {}", regression.reason));
    match (exit_of(&equal), exit_of(&regression)) {
        (Exit::Pass, Exit::NotReproduced) => {
            say("the gate fires when it must, and only then");
            Ok(Exit::Pass)
        }
        // A gate in doubt is no broken one: on a machine that is busy enough nothing can be told.
        (Exit::Pass | Exit::Inconclusive, Exit::NotReproduced | Exit::Inconclusive) => {
            say("this machine is too busy to tell; try again when it is quiet");
            Ok(Exit::Inconclusive)
        }
        (Exit::Pass | Exit::Inconclusive, _) => Err(cannot_fire("a regression of 13 % passed")),
        _ => Err(cannot_fire("equals did not pass")),
    }
}

fn gate(store: &Store, candidate: &str) -> Result<Gate> {
    let (baseline, candidate) = (store::load(store, "@latest~2")?, store::load(store, candidate)?);
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
        let own_store = Global { store: self.store(), ..self.global.clone() };
        let mut command = itself::command("run", &own_store)?;
        command.arg(&path);
        let output = command.output().context("cannot run lab").map_err(Failure::run)?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Failure::run(anyhow!(
                "the self-test's session failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ))),
        }
    }
}
