//! `lab verify`: recompute every digest in the store.

use clap::Args;
use lab_core::digest::Digest;
use lab_store::{Store, Verification};

use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::terminal::{print, say};

const EXAMPLES: &str = "\
Examples:
  lab verify
  lab verify --expect-head 4a7d1ed4…      also prove that nothing was cut off since that head was noted

The chain shows every later change to what it covers. Whoever can write the file can also rebuild the whole chain: keep
the head that this command prints somewhere else, and `--expect-head` shows that too.
Reads only: a store of an older lab must first be migrated, which any other command that opens it does.
Exit status: 0 sound, 1 something does not agree.";

/// What `lab verify` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A head noted earlier: must be the head now, or an ancestor of it.
    #[arg(long, value_name = "DIGEST")]
    expect_head: Option<Digest>,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let store = Store::open_read_only(&global.store)?;
    let verification = store.verify(arguments.expect_head.as_ref())?;
    for finding in &verification.findings {
        say(&format!("finding: {finding}"));
    }
    if !verification.unknown_metrics.is_empty() {
        let names: Vec<&str> = verification.unknown_metrics.iter().map(String::as_str).collect();
        say(&format!("note: not derived again, unknown to this lab: {}", names.join(", ")));
    }
    let Verification { rows, rederived, head, .. } = &verification;
    print(&format!("rows {rows}\nrederived {rederived}\nhead {head}\n"))?;
    if verification.is_sound() {
        say("sound: every row, digest, trigger and derived value agrees");
        return Ok(Exit::Pass);
    }
    say(&format!("error: {} findings in {}", verification.findings.len(), store.path().display()));
    Ok(Exit::NotReproduced)
}
