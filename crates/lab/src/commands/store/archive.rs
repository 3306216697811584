//! `lab store archive`: move the raw data of old sessions into a file of their own.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use lab_host::disk::free_bytes;
use lab_store::{
    Archivable, ArchiveContents, ArchiveOrder, ArchiveRow, SMALLEST_ARCHIVED_BYTES, Store, StoreError,
};

use crate::amount::{Age, age};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::store;
use crate::terminal::{print, say};

const EXAMPLES: &str = "\
Examples:
  lab store archive --older-than 7d --dry-run
  lab store archive --older-than 4w --to results/2026-02.archive

Timelines and the bytes of imported files leave; everything else stays, the digests of what left among it. `lab verify`
proves the chain without the archive, and reads the archive where it is there. lab looks for it where it was written, and
beside the store: until it is back there, what needs raw data of those sessions says so with status 2.";

/// What `lab store archive` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Moves raw data of sessions that ended longer ago than this: a number and h, d or w, such as 12h, 7d, 4w.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Age,
    /// The file to make. Nothing is ever written over.
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    to: Option<PathBuf>,
    /// Says what would leave, and moves nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let now = Timestamp::now();
    let older_than = time_before(now, &arguments.older_than)?;
    match &arguments.to {
        Some(to) if !arguments.dry_run => {
            let mut store = store::open_existing_for_recording(&global.store)?;
            move_out(&mut store, &arguments.older_than, &ArchiveOrder { older_than, to, now })
        }
        _ => {
            let found = store::open(global)?.archivable(older_than)?;
            tell_what_stays(&found, &arguments.older_than);
            print(&contents_lines(&found.contents))?;
            Ok(Exit::Pass)
        }
    }
}

fn time_before(now: Timestamp, age: &Age) -> Result<Timestamp> {
    let before = i64::try_from(age.seconds)
        .ok()
        .and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    before
        .ok_or_else(|| Failure::usage(anyhow!("`--older-than {}` lies before the calendar begins", age.text)))
}

fn move_out(store: &mut Store, age: &Age, order: &ArchiveOrder<'_>) -> Result<Exit> {
    tell_what_stays(&store.archivable(order.older_than)?, age);
    let was_there = order.to.symlink_metadata().is_ok();
    let row = match store.archive(order) {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(Exit::Pass),
        Err(error) if was_there => return Err(error.into()),
        Err(error) => return Err(with_leftover(error, order.to, store)),
    };
    // The move is done: what it came to is said before anything else can fail.
    let ArchiveRow { path, bytes, digest, contents, .. } = row;
    print(&format!(
        "archive {}\ndigest {digest}\n{}archive_bytes {bytes}\n",
        path.display(),
        contents_lines(&contents)
    ))?;
    print(&format!("head {}\n", store.head()?))?;
    say("the archive is all that is left of these bytes: keep it as you keep the store");
    print(&format!("freed_bytes {}\n", give_room_back(store)))?;
    Ok(Exit::Pass)
}

/// Adds what is to be done with a file that was finished before the move failed: it keeps the same command from being given
/// again.
fn with_leftover(error: StoreError, to: &Path, store: &Store) -> Failure {
    // A commit that the device or a full disk refused may be on the disk all the same.
    let is_of_disk = matches!(error, StoreError::Device { .. } | StoreError::DiskFull { .. });
    let may_be_named = is_of_disk || !is_unnamed(to, store);
    let failure = Failure::from(error);
    match (to.is_file(), may_be_named) {
        (false, _) => failure,
        (true, false) => failure.hint(format!(
            "`{}` was finished and no row names it: delete it, then run this again",
            to.display()
        )),
        (true, true) => failure.hint(format!(
            "`{}` was finished: keep it if `lab store` lists it, and delete it otherwise",
            to.display()
        )),
    }
}

/// Returns whether the store can be read and has no row about the file.
fn is_unnamed(to: &Path, store: &Store) -> bool {
    match (std::path::absolute(to), store.archives()) {
        (Ok(path), Ok(archives)) => archives.iter().all(|archive| archive.path != path),
        _ => false,
    }
}

fn contents_lines(contents: &ArchiveContents) -> String {
    let ArchiveContents { sessions, timelines, pieces, blob_bytes } = contents;
    format!("sessions {sessions}\ntimelines {timelines}\npieces {pieces}\nraw_bytes {blob_bytes}\n")
}

fn tell_what_stays(found: &Archivable, age: &Age) {
    let Archivable { contents, small, baselines } = found;
    if contents.sessions == 0 {
        say(&format!("no session that ended more than {} ago has raw data that can leave", age.text));
    }
    if *small > 0 {
        say(&format!(
            "note: {small} timelines or pieces stay, each shorter than {SMALLEST_ARCHIVED_BYTES} bytes: the row that \
             says where it went would take as much"
        ));
    }
    if *baselines > 0 {
        say(&format!("note: {baselines} sessions stay whole because a baseline stands for them"));
    }
}

/// Makes the store's file smaller by what left it, and returns by how many bytes. The move is done by then: whatever keeps the
/// room in the file is a note.
fn give_room_back(store: &mut Store) -> u64 {
    let given_back = match lacks_room(store.path()) {
        Some(why) => Err(why),
        None => store.compact().map_err(|error| why_it_stays(&error)),
    };
    given_back.unwrap_or_else(|why| {
        say(&format!("note: the room stays in the file: {why}; lab uses it first"));
        0
    })
}

fn why_it_stays(error: &StoreError) -> String {
    match error {
        StoreError::DiskFull { .. } => "there is no room for a temporary copy of the store".to_owned(),
        other => other.to_string(),
    }
}

/// Says why the file cannot be written anew beside itself. SQLite writes it into a temporary file, and from there into the
/// write-ahead log.
fn lacks_room(store: &Path) -> Option<String> {
    let needed = std::fs::metadata(store).ok()?.len().saturating_mul(2);
    match free_bytes(store) {
        Ok(free) if free < needed => {
            Some(format!("that takes {needed} bytes for a while, and {free} are free"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_for_a_copy_is_not_said_to_take_no_recordings() {
        let path = PathBuf::from("lab.sqlite");
        let full = why_it_stays(&StoreError::DiskFull { path: path.clone() });
        assert_eq!(full, "there is no room for a temporary copy of the store");
        let busy = why_it_stays(&StoreError::Busy { path, seconds: 10 });
        assert!(busy.contains("in use by another process"), "{busy}");
    }
}
