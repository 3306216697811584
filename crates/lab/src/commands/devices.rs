//! `lab devices`: what was imported of edge devices. Describes, and judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use lab_core::import::Figures;
use lab_core::metric::Contract;
use lab_core::nearest::nearest;
use lab_core::record::SessionId;
use lab_formats::devices::{self, DEVICES_SCHEMA, DevicesDocument, InferencesCsv, Stored};
use lab_formats::import::DocumentError;
use lab_formats::import::device::for_each_inference;
use lab_formats::{page, table};
use lab_store::{ImportedSession, ListFilter, Store};

use crate::commands::import::device::device_of;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::store;
use crate::terminal::{Format, print, say};
use crate::whole_file::Replacement;

const EXAMPLES: &str = "\
Examples:
  lab devices                                  a summary of all
  lab devices --device edge-device-01          one device, file by file, and in what its files contradict themselves
  lab devices --compare                        models side by side: a description, no verdict
  lab devices --export-csv inferences.csv      every inference, for spreadsheets and data frames";

/// What `lab devices` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Shows one device: the name of its folder, or its id.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Shows models side by side.
    #[arg(long)]
    compare: bool,
    /// Writes every inference to a file.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    export_csv: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let store = store::open(global)?;
    let sessions = store.imports(Contract::DeviceV1)?;
    let short_ids = match arguments.device {
        Some(_) => short_ids(&store)?,
        None => BTreeMap::new(),
    };
    let mut documents = documents(&sessions, &short_ids);
    devices::attribute(&mut documents);
    if let Some(typed) = &arguments.device {
        documents = of_device(documents, typed)?;
    }
    match &arguments.export_csv {
        Some(path) => export(&store, &documents, path)?,
        None => show(&documents, arguments, global)?,
    }
    Ok(Exit::Pass)
}

fn short_ids(store: &Store) -> Result<BTreeMap<SessionId, String>> {
    let rows = store.list(&ListFilter::default())?;
    Ok(rows.into_iter().map(|row| (row.id, row.short_id)).collect())
}

/// Returns every document of the sessions, in the order of import.
fn documents<'a>(
    sessions: &'a [ImportedSession],
    short_ids: &'a BTreeMap<SessionId, String>,
) -> Vec<Stored<'a>> {
    let mut documents = Vec::new();
    for ImportedSession { header, documents: own } in sessions {
        let session = short_ids.get(&header.id).map_or("", String::as_str);
        for imported in own {
            let Figures::Device(figures) = &imported.figures else { continue };
            documents.push(Stored {
                device: device_of(header),
                device_id: &figures.device_id,
                session,
                source: &imported.source,
                figures,
                validity: &imported.validity,
            });
        }
    }
    documents
}

fn of_device<'a>(documents: Vec<Stored<'a>>, typed: &str) -> Result<Vec<Stored<'a>>> {
    let names: BTreeSet<&str> = documents
        .iter()
        .flat_map(|own| [own.device, own.device_id])
        .filter(|name| !name.is_empty())
        .collect();
    let own: Vec<Stored<'a>> = documents.into_iter().filter(|document| document.is_of(typed)).collect();
    if !own.is_empty() {
        return Ok(own);
    }
    let known = names.iter().copied();
    let hint = match nearest(typed, known.clone()) {
        Some(name) => format!("nearest: `{name}`"),
        None if names.is_empty() => "`lab import device metrics/` imports some".to_owned(),
        None => format!(
            "known are {}",
            known.take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
    };
    Err(Failure::usage(anyhow!("no device `{typed}` was imported")).hint(hint))
}

fn show(documents: &[Stored<'_>], arguments: &Arguments, global: &Global) -> Result<()> {
    let document = DevicesDocument {
        schema: DEVICES_SCHEMA,
        devices: devices::devices(documents),
        models: arguments.compare.then(|| devices::models(documents)),
        files: arguments.device.is_some().then(|| devices::files(documents)),
    };
    match arguments.format {
        Format::Json => print(&devices::to_text(&document)),
        Format::Table => print(&table::render(&page::devices(&document), global.color.table_style())),
    }
}

/// Writes every inference of documents, from the bytes that the store keeps.
fn export(store: &Store, documents: &[Stored<'_>], path: &Path) -> Result<()> {
    let mut file = Replacement::prepare(path, &[store.path()])?;
    let n_inferences = write_inferences(store, documents, path, &mut file)?;
    file.finish()?;
    say(&format!("{n_inferences} inferences"));
    Ok(())
}

fn write_inferences(
    store: &Store,
    documents: &[Stored<'_>],
    path: &Path,
    file: &mut Replacement,
) -> Result<u64> {
    let unwritable = |error: io::Error| {
        let sentence = format!("cannot write `{}`", path.display());
        Failure::run(anyhow::Error::new(error).context(sentence))
    };
    let mut csv = InferencesCsv::new(BufWriter::new(file)).map_err(unwritable)?;
    let mut n_inferences: u64 = 0;
    for document in documents.iter().filter(|document| document.figures.inferences.is_some()) {
        let digest = document.source.sha256.to_string();
        let mut failed: Option<io::Error> = None;
        let read = for_each_inference(store.source(&document.source.sha256)?, |index, inference| {
            n_inferences += 1;
            if failed.is_none() {
                failed = csv.write(document.device, &digest, index, inference).err();
            }
        });
        read.map_err(|error| of_stored(error, &document.source.path))?;
        if let Some(error) = failed {
            return Err(unwritable(error));
        }
    }
    csv.finish().map_err(unwritable)?;
    Ok(n_inferences)
}

/// What the store itself cannot give is no fault of the document.
fn of_stored(error: DocumentError, path: &str) -> Failure {
    let otherwise =
        |error: &dyn std::fmt::Display| Failure::run(anyhow!("the stored bytes of `{path}`: {error}"));
    match error {
        DocumentError::Unreadable(error) => store::failure_of(error, |error| otherwise(&error)),
        other => otherwise(&other),
    }
}
