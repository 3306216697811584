//! `lab import device`: the metrics folders of edge devices (contract `device.v1`), all of them or nothing.

mod files;
mod read;
pub(crate) mod sessions;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use lab_core::digest::Digest;
use lab_core::import::Source;
use lab_core::record::Session;
use lab_core::validity::Validity;
use lab_store::Store;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::imported::{failed_by, take_known};
use crate::store;
use crate::terminal::{print, say};

pub(crate) use sessions::device_of;

use super::tool_name;
use files::{DeviceFile, Found};
use sessions::Taken;
use watch::{Watch, Watched};

const EXAMPLES: &str = "\
Examples:
  lab import device metrics/                        a folder for each device, as they write it
  lab import device metrics/edge-device-01          the folder of one
  lab import device metrics/ --keep-going           pass over what cannot be read, and take the rest
  lab devices                                       what was imported

Files are known by the digest of their bytes: what the store has met is skipped, so that the same command takes in what is
new. A summary that its own details contradict is imported as suspect, with both numbers.
Exit status: 0 done, 2 something cannot be read; with `--keep-going` the rest is in the store all the same.";

/// What `lab import device` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Folders of devices, a folder of such folders, or files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The tool that measured. Sessions of different tools are never compared.
    #[arg(long, value_name = "NAME", default_value = TOOL, value_parser = tool_name)]
    tool: String,
    /// Passes over what cannot be read, and imports the rest.
    #[arg(long)]
    keep_going: bool,
}

/// What measured, where nobody says otherwise. Sessions of different tools are never compared.
pub(crate) const TOOL: &str = "edge-device";

const NAMES: &str = "files are called `inference_metrics_*.json` and `loading_metrics.json`, and lie in the folder that is \
                     given or in one below it";

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let Found { files, mut complaints, n_other, n_deeper } = files::find(&arguments.paths);
    if files.is_empty() && complaints.is_empty() {
        return Err(Failure::usage(anyhow!("there is no metrics file to import")).hint(NAMES));
    }
    let mut store = store::open_for_recording(&global.store)?;
    let mut reading = take(&files, &store.source_digests()?, &mut complaints);
    if !arguments.keep_going && !complaints.is_empty() {
        return Err(refusal(&complaints));
    }
    let recorded = append(&mut store, &mut reading, arguments, &mut complaints)?;
    complaints.iter().for_each(|complaint| say(&format!("passed over: {complaint}")));
    print(&report(&store, &recorded)?)?;
    remark(&reading, n_other, n_deeper);
    Ok(if complaints.is_empty() { Exit::Pass } else { Exit::Usage })
}

/// What came of reading.
#[derive(Default)]
struct Reading {
    taken: Vec<Taken>,
    /// Files that the store has met.
    n_known: usize,
    /// A sentence for each file whose bytes lie in another one too.
    twins: Vec<String>,
}

/// Reads every file that the store has not met.
fn take(files: &[DeviceFile], known: &BTreeSet<Digest>, complaints: &mut Vec<String>) -> Reading {
    let mut reading = Reading::default();
    let mut paths: BTreeMap<Digest, String> = BTreeMap::new();
    for outcome in read::all(files, known) {
        match outcome {
            Ok(Some(document)) => {
                let Source { path, sha256, .. } = document.imported.source.clone();
                if let Some(twin) = paths.get(&sha256) {
                    let sentence = format!("`{path}` has the bytes of `{twin}`, which are imported once");
                    reading.twins.push(sentence);
                    continue;
                }
                paths.insert(sha256, path);
                reading.taken.push(document);
            }
            Ok(None) => reading.n_known += 1,
            Err(complaint) => complaints.push(complaint),
        }
    }
    reading
}

/// What is said is read by people: some lines of it, not thousands.
const SHOWN: usize = 8;

fn refusal(complaints: &[String]) -> Failure {
    let shown: Vec<&str> = complaints.iter().take(SHOWN).map(String::as_str).collect();
    let more = match complaints.len() - shown.len() {
        0 => String::new(),
        n => format!("\n… and {n} more"),
    };
    let message = format!("{}{more}\nnothing was imported", shown.join("\n"));
    Failure::usage(anyhow!(message))
        .hint("`--keep-going` passes over what cannot be read, and imports the rest")
}

/// Records the documents in one transaction. A file that is another than a moment ago ends it, or is left out where the user
/// wants the rest; what another command recorded meanwhile is known.
fn append(
    store: &mut Store,
    reading: &mut Reading,
    arguments: &Arguments,
    complaints: &mut Vec<String>,
) -> Result<Vec<Session>> {
    while !reading.taken.is_empty() {
        let taken = &mut reading.taken;
        let sessions = sessions::of(taken, &arguments.tool);
        let watch = Watch::new("storing", taken.iter().map(|document| document.imported.source.bytes).sum());
        let mut open = |source: &Source| -> io::Result<Box<dyn Read>> {
            Ok(Box::new(Watched::new(File::open(&source.path)?, &watch)))
        };
        let Err(error) = store.append_imports(&sessions, &mut open) else { return Ok(sessions) };
        match failed_by(&error).filter(|_| arguments.keep_going) {
            Some(path) => {
                taken.retain(|document| document.imported.source.path != path);
                complaints.push(error.to_string());
            }
            None => {
                let known = take_known(error, taken, |document| document.imported.source.sha256, store)?;
                reading.n_known += known.len();
            }
        }
    }
    Ok(Vec::new())
}

/// Says what was imported, a line a session.
fn report(store: &Store, sessions: &[Session]) -> Result<String> {
    let n_files: usize = sessions.iter().map(|session| session.repetitions.len()).sum();
    let n_inferences: u64 = sessions.iter().map(sessions::inferences).sum();
    let n_sessions = sessions.len();
    let mut text =
        format!("imported {n_files} files with {n_inferences} inferences into {n_sessions} sessions\n");
    for session in sessions.iter().take(SESSIONS_SHOWN) {
        let header = &session.header;
        let line = format!(
            "{}  {}  {}  {} files, {} suspect\n",
            store.short_id(&header.id)?,
            device_of(header),
            header.model_name,
            session.repetitions.len(),
            suspect(session),
        );
        text.push_str(&line);
    }
    if n_sessions > SESSIONS_SHOWN {
        text.push_str(&format!("… and {} more: `lab devices` shows all\n", n_sessions - SESSIONS_SHOWN));
    }
    Ok(text)
}

const SESSIONS_SHOWN: usize = 20;

fn suspect(session: &Session) -> usize {
    let validities = session.repetitions.iter().filter_map(|own| own.repetition.outcome.validity());
    validities.filter(|validity| **validity != Validity::Valid).count()
}

/// Says what was left where it is.
fn remark(reading: &Reading, n_other: usize, n_deeper: usize) {
    let twins = &reading.twins;
    if reading.n_known > 0 {
        say(&format!("{} files were in the store already", reading.n_known));
    }
    twins.iter().take(SHOWN).for_each(|twin| say(&format!("note: {twin}")));
    if twins.len() > SHOWN {
        say(&format!("… and {} more files have the bytes of others", twins.len() - SHOWN));
    }
    if n_other > 0 {
        say(&format!("{n_other} files are no metrics files by their names and were left out"));
    }
    if n_deeper > 0 {
        say(&format!("{n_deeper} folders lie deeper than a device's and were left out"));
    }
}
