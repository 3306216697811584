//! Documents out of files, on two threads: reading is where an import takes its time.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lab_core::digest::Digest;
use lab_core::import::{Figures, Imported, Source};
use lab_formats::import::{DocumentError, HashingReader};
use lab_formats::import::device::{
    DeviceDocument, FileKind, read_inferences, read_inferences_slice, read_loading,
};

use crate::imported::validity;

use super::files::DeviceFile;
use super::sessions::Taken;
use super::watch::{Watch, Watched};

/// Files up to this size are read whole, which is several times as fast; of larger ones nothing is kept but figures. Two
/// threads may hold one each.
const WHOLE_BYTES: u64 = 32 << 20;

/// A document; nothing for a file whose bytes are known; or what is wrong with it, the file named.
pub(super) type Outcome = Result<Option<Taken>, String>;

/// Reads files, and returns what came of each, in their order.
pub(super) fn all(files: &[DeviceFile], known: &BTreeSet<Digest>) -> Vec<Outcome> {
    let watch = Watch::new("reading", files.iter().map(|file| file.bytes).sum());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut outcomes: Vec<(usize, Outcome)> = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else { return outcomes };
            outcomes.push((index, one(file, known, &watch)));
        }
    };
    let mut outcomes = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut outcomes = work();
        outcomes.extend(other.join().expect("what a file holds is refused, never panicked on"));
        outcomes
    });
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn one(file: &DeviceFile, known: &BTreeSet<Digest>, watch: &Arc<Watch>) -> Outcome {
    let about_file = |error: &dyn Display| format!("`{}`: {error}", file.path);
    let opened = File::open(&file.path).map_err(|error| about_file(&DocumentError::Unreadable(error)))?;
    let reader = Watched::new(opened, watch);
    let read =
        if file.bytes <= WHOLE_BYTES { whole(reader, file, known) } else { streamed(reader, file, known) };
    let Some((mut document, source)) = read.map_err(|error| about_file(&error))? else { return Ok(None) };
    if let FileKind::Inferences { device_id: Some(id) } = &file.kind {
        document.hold_against_name(id);
    }
    let DeviceDocument { figures, contradictions } = document;
    let imported =
        Imported { source, figures: Figures::Device(Box::new(figures)), validity: validity(contradictions) };
    Ok(Some(Taken { device: file.device.clone(), imported }))
}

type Document = Result<Option<(DeviceDocument, Source)>, DocumentError>;

fn whole(reader: impl Read, file: &DeviceFile, known: &BTreeSet<Digest>) -> Document {
    let mut bytes = Vec::with_capacity(usize::try_from(file.bytes).unwrap_or_default() + 1);
    // A file that grows meanwhile is read no further; the second reading finds it changed.
    reader.take(WHOLE_BYTES + 1).read_to_end(&mut bytes).map_err(DocumentError::Unreadable)?;
    let sha256 = Digest::of(&bytes);
    if known.contains(&sha256) {
        return Ok(None);
    }
    let document = match &file.kind {
        FileKind::Inferences { .. } => read_inferences_slice(&bytes)?,
        FileKind::Loading => read_loading(bytes.as_slice())?,
    };
    Ok(Some((document, Source { path: file.path.clone(), sha256, bytes: bytes.len() as u64 })))
}

fn streamed(reader: impl Read, file: &DeviceFile, known: &BTreeSet<Digest>) -> Document {
    let mut hashing = HashingReader::new(reader);
    let document = match &file.kind {
        FileKind::Inferences { .. } => read_inferences(&mut hashing)?,
        FileKind::Loading => read_loading(&mut hashing)?,
    };
    let (sha256, bytes) = hashing.finish().map_err(DocumentError::Unreadable)?;
    let source = Source { path: file.path.clone(), sha256, bytes };
    Ok((!known.contains(&sha256)).then_some((document, source)))
}
