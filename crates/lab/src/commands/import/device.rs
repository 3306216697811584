//! `lab import device`: the metrics folders of edge devices (contract `device.v1`), all of them or nothing.

mod files;
pub(crate) mod sessions;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use lab_core::metric::Contract;
use lab_core::record::Session;
use lab_core::validity::Validity;
use lab_formats::import::device::{FileKind, read_inferences, read_inferences_slice, read_loading};
use lab_store::Store;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::imported::Terms;
use crate::store;
use crate::terminal::{print, say};

pub(crate) use sessions::device_of;

use super::intake::{self, Taken};
use super::read::{Bytes, Parsed};
use super::tool_name;
use files::{DeviceFile, Walked};

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
    let Walked { found, n_other, n_deeper } = files::find(&arguments.paths);
    if found.files.is_empty() && found.complaints.is_empty() {
        return Err(Failure::usage(anyhow!("there is no metrics file to import")).hint(NAMES));
    }
    let mut store = store::open_for_recording(&global.store)?;
    let terms = Terms { contract: Contract::DeviceV1, plan: None, keep_going: arguments.keep_going };
    let tool = &arguments.tool;
    let Taken { sessions, exit } =
        intake::take(&terms, found, |file, bytes| content(file, bytes, tool), &mut store)?;
    print(&report(&store, &sessions)?)?;
    remark(n_other, n_deeper);
    Ok(exit)
}

fn content(file: &DeviceFile, bytes: Bytes<'_>, tool: &str) -> Parsed {
    let mut document = match (&file.kind, bytes) {
        (FileKind::Inferences { .. }, Bytes::Whole(bytes)) => read_inferences_slice(bytes)?,
        (FileKind::Inferences { .. }, Bytes::Stream(reader)) => read_inferences(reader)?,
        (FileKind::Loading, bytes) => read_loading(bytes)?,
    };
    if let FileKind::Inferences { device_id: Some(id) } = &file.kind {
        document.hold_against_name(id);
    }
    Ok(sessions::content(&file.device, document, tool))
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
fn remark(n_other: usize, n_deeper: usize) {
    if n_other > 0 {
        say(&format!("{n_other} files are no metrics files by their names and were left out"));
    }
    if n_deeper > 0 {
        say(&format!(
            "{n_deeper} folders lie deeper than a device's and were left out; name the folders above them to import what \
             they hold"
        ));
    }
}
