//! `lab verify`: recompute every digest in the store.

use clap::Args;
use lab_core::digest::Digest;
use lab_store::{ArchiveCheck, Store, Verification};

use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::terminal::{print, say};

const EXAMPLES: &str = "\
Examples:
  lab verify
  lab verify --expect-head 4a7d1ed4…      also prove that nothing was cut off since that head was noted
  lab verify --require-archives           also that every archive is there

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
    /// Takes an archive that is not there for a finding, and not for a note.
    #[arg(long)]
    require_archives: bool,
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
    let n_missing = tell_archives(&verification, arguments.require_archives);
    let Verification { rows, rederived, head, .. } = &verification;
    print(&format!("rows {rows}\nrederived {rederived}\nhead {head}\n"))?;
    let n_required = if arguments.require_archives { n_missing } else { 0 };
    match verification.findings.len() + n_required {
        0 if n_missing == 0 => {
            say("sound: every row, digest, trigger and derived value agrees");
            Ok(Exit::Pass)
        }
        0 => {
            say(
                "sound: every row, digest, trigger and derived value agrees, as far as the raw data are here",
            );
            Ok(Exit::Pass)
        }
        n => {
            say(&format!("error: {n} findings in {}", store.path().display()));
            Ok(Exit::NotReproduced)
        }
    }
}

/// Tells of the archives, and returns how many are not there.
fn tell_archives(verification: &Verification, required: bool) -> usize {
    let Verification { archives, out_of_reach, .. } = verification;
    let missing: Vec<&ArchiveCheck> = archives.iter().filter(|own| !own.found).collect();
    let word = if required { "finding" } else { "note" };
    for ArchiveCheck { path, blobs, .. } in &missing {
        say(&format!("{word}: the archive `{}` is not there: {blobs} BLOBs were not read", path.display()));
    }
    if *out_of_reach > 0 {
        say(&format!(
            "note: the raw data of {out_of_reach} sessions or imported files lie there: their rows agree with the \
             chain, and nothing was derived from them again"
        ));
    }
    let n_found = archives.len() - missing.len();
    if n_found > 0 {
        say(&format!("note: looked into {n_found} archives"));
    }
    missing.len()
}
