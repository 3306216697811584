//! Which files are meant: a walk of two levels, in order of names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lab_formats::import::device::{FileKind, kind_of};

use super::super::intake::Found;
use super::super::read::{SourceFile, shown};

/// What a file is taken for.
#[derive(Debug)]
pub(super) struct DeviceFile {
    pub(super) kind: FileKind,
    /// The name of its folder: the device's.
    pub(super) device: String,
}

/// What lies where the user pointed.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) found: Found<DeviceFile>,
    /// Files of other names.
    pub(super) n_other: usize,
    /// Folders below a device's.
    pub(super) n_deeper: usize,
}

/// Looks through folders and files. What was named is followed where it is a link; what lies inside a folder is not.
pub(super) fn find(paths: &[PathBuf]) -> Walked {
    let mut walked = Walked::default();
    for path in paths {
        let looked = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => walked.folder(path, Level::Named),
            Ok(metadata) if metadata.is_file() => walked.named_file(path, metadata.len()),
            Ok(_) => Err("it is neither a file nor a folder".to_owned()),
            Err(error) => Err(unreadable(&error)),
        };
        walked.note(path, looked);
    }
    walked
}

/// How deep a folder lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The user named it.
    Named,
    /// It lies in one that the user named.
    Below,
}

impl Walked {
    fn note(&mut self, path: &Path, looked: Result<(), String>) {
        if let Err(sentence) = looked {
            self.found.complaints.push(format!("`{}`: {sentence}", path.display()));
        }
    }

    fn named_file(&mut self, path: &Path, bytes: u64) -> Result<(), String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kind = kind_of(&name).ok_or(
            "the name is neither `inference_metrics_*.json` nor `loading_metrics.json`, so it is not known what it holds",
        )?;
        let folder = path.parent().unwrap_or(Path::new(""));
        self.add(path, folder, kind, bytes)
    }

    fn add(&mut self, path: &Path, folder: &Path, kind: FileKind, bytes: u64) -> Result<(), String> {
        let device = device_of(folder)?;
        self.found.files.push(SourceFile::new(path, bytes, DeviceFile { kind, device })?);
        Ok(())
    }

    fn folder(&mut self, folder: &Path, level: Level) -> Result<(), String> {
        for path in entries(folder).map_err(|error| unreadable(&error))? {
            let looked = self.entry(&path, folder, level);
            self.note(&path, looked);
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, folder: &Path, level: Level) -> Result<(), String> {
        let metadata = fs::symlink_metadata(path).map_err(|error| unreadable(&error))?;
        let kind = kind_of(&path.file_name().unwrap_or_default().to_string_lossy());
        match kind {
            _ if metadata.is_symlink() => {
                Err("it is a symbolic link, and those in folders are not followed; name what it leads to"
                    .to_owned())
            }
            _ if metadata.is_dir() && level == Level::Named => self.folder(path, Level::Below),
            _ if metadata.is_dir() => {
                self.n_deeper += 1;
                Ok(())
            }
            Some(kind) if metadata.is_file() => self.add(path, folder, kind, metadata.len()),
            Some(_) => Err("it is no regular file, and its name is that of one with metrics".to_owned()),
            None => {
                self.n_other += 1;
                Ok(())
            }
        }
    }
}

/// Returns what a folder holds, in order of names.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Returns the name of a device's folder, whichever way it was pointed at.
fn device_of(folder: &Path) -> Result<String, String> {
    if let Some(name) = folder.file_name() {
        return shown(Path::new(name));
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let whole = fs::canonicalize(folder).map_err(|error| unreadable(&error))?;
    let name = whole.file_name().ok_or("the root of the file system is no device's folder")?;
    shown(Path::new(name))
}

fn unreadable(error: &io::Error) -> String {
    format!("it cannot be read: {error}")
}
