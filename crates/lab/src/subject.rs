//! What a session of a command is about: the program as it was found, the rows it uses, and what it may use.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use lab_core::command::{CommandWork, RowsSource};
use lab_core::digest::Digest;
use lab_core::fingerprint::{CommandEnginePart, CommandModelPart, CommandPlanPart, Fingerprint, PartRecord};
use lab_core::limit::Limit;
use lab_core::record::{SessionHeader, SessionId};
use lab_core::tolerance::Tolerance;
use lab_core::work::Work;
use lab_host::cpu::Cpu;
use lab_host::{Roots, conditions};
use lab_model::DigestWriter;

use crate::backend::Backend;
use crate::beside::Beside;
use crate::failure::{Failure, Result};
use crate::{identity, launch};

/// A script is smaller than this. What is larger is data, and takes longer to digest than most commands run.
const LARGEST_SCRIPT_BYTES: u64 = 16 << 20;

/// How a file stood when it was digested: what was written to it since, or put in its place, the digest knows nothing of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stood {
    path: PathBuf,
    device: u64,
    inode: u64,
    bytes: u64,
    /// When it was last written to: seconds, and nanoseconds.
    modified: (i64, i64),
}

impl Stood {
    /// Looks at a file; nothing where it is not there.
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }

    fn has_changed(&self) -> bool {
        Self::of(&self.path).as_ref() != Some(self)
    }
}

/// A program, as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Its file.
    pub(crate) path: PathBuf,
    /// The name of the file.
    pub(crate) name: String,
    /// SHA-256 of the file; none where it cannot be read.
    pub(crate) build: Option<Digest>,
    /// SHA-256 of the script among its arguments, where there is one.
    pub(crate) script: Option<Digest>,
    /// Place of the script among the words.
    pub(crate) script_at: Option<usize>,
    /// How the files stood that have a digest here.
    stood: Vec<Stood>,
}

impl Program {
    /// Looks for a program as a shell would, relative paths from a folder. One that is not there has no build.
    pub(crate) fn find(words: &[OsString], folder: &Path) -> Self {
        let named = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let path = match named.contains('/') {
            true => folder.join(&named),
            false => launch::on_path(&named),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let script_at = script_at(words, folder);
        // They are looked at before they are digested: a change in between is one, too.
        let mut stood: Vec<Stood> = Stood::of(&path).into_iter().collect();
        let build = digest_of(&path).ok();
        let script_path = script_at.map(|at| folder.join(&words[at]));
        let script_stood = script_path.as_deref().and_then(Stood::of);
        let script = script_path.as_deref().and_then(script);
        stood.extend(script_stood.filter(|_| script.is_some()));
        Self { build, script, script_at, stood, name, path }
    }

    /// Returns whether there is such a file. A bare name that no folder of `PATH` has is none in the working directory.
    pub(crate) fn is_there(&self) -> bool {
        self.path.components().count() > 1 && self.path.is_file()
    }
}

/// Returns the place of the first argument that is no option and names a file: what an interpreter executes.
fn script_at(words: &[OsString], folder: &Path) -> Option<usize> {
    let is_option = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
    (1..words.len()).find(|at| !is_option(&words[*at]) && folder.join(&words[*at]).is_file())
}

fn script(path: &Path) -> Option<Digest> {
    let is_small = path.metadata().ok()?.len() <= LARGEST_SCRIPT_BYTES;
    if is_small { digest_of(path).ok() } else { None }
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    // To open a pipe may take for ever, and to read a device.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut file = File::open(path)?;
    let mut digester = DigestWriter::new(io::sink());
    io::copy(&mut file, &mut digester)?;
    Ok(digester.finish()?.1.sha256)
}

/// The rows that a command uses, as far as they are known before it runs.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// Where their number comes from.
    pub(crate) source: RowsSource,
    /// Their number; none where the command reports it.
    pub(crate) known: Option<u64>,
    /// SHA-256 of the file that was counted.
    digest: Option<Digest>,
    /// How that file stood.
    stood: Option<Stood>,
}

impl Rows {
    /// Counts the rows of a file, where they come from one. Relative paths start at a folder.
    pub(crate) fn count(source: RowsSource, folder: &Path) -> Result<Self> {
        let (known, digest, stood) = match &source {
            RowsSource::Given(rows) => (Some(*rows), None, None),
            RowsSource::Reported => (None, None, None),
            RowsSource::File(file) => {
                let path = folder.join(file);
                let stood = Stood::of(&path);
                let rows = lab_measure::rows::count(&path).map_err(Failure::usage)?;
                let digest = digest_of(&path).with_context(|| format!("cannot read `{}`", path.display()));
                (Some(rows), Some(digest.map_err(Failure::usage)?), stood)
            }
        };
        Ok(Self { source, known, digest, stood })
    }
}

/// What is run here, and what it may use.
pub(crate) struct Subject {
    pub(crate) program: Program,
    pub(crate) backend: Backend,
    hardware: PartRecord,
    roots: Roots,
}

/// What a session of a command is asked to do.
pub(crate) struct Asked {
    /// The name that the session is found by.
    pub(crate) name: String,
    /// The plan's text; empty without a plan.
    pub(crate) text: String,
    /// The program and its arguments, as they were written.
    pub(crate) words: Vec<String>,
    /// Runs in front of the measured ones.
    pub(crate) warmup: u32,
    /// Measured runs.
    pub(crate) repeat: u32,
    /// Time between two looks at memory.
    pub(crate) interval: Duration,
    /// Tolerances, by full metric id.
    pub(crate) tolerances: Vec<(String, Tolerance)>,
    /// Limits, by full metric id.
    pub(crate) limits: Vec<(String, Limit)>,
}

impl Subject {
    pub(crate) fn new(program: Program, backend: Backend, roots: Roots, cpu: &Cpu) -> Self {
        let hardware = identity::hardware_part(&roots, cpu).record();
        Self { program, backend, hardware, roots }
    }

    /// Returns the path of a file that is no longer as it was digested: of the program, its script, or the file of its rows.
    pub(crate) fn changed(&self, rows: &Rows) -> Option<String> {
        let mut digested = self.program.stood.iter().chain(&rows.stood);
        digested.find(|stood| stood.has_changed()).map(|stood| stood.path.display().to_string())
    }

    /// Looks at how the machine stands now.
    pub(crate) fn conditions(&self) -> serde_json::Value {
        serde_json::to_value(conditions::probe(&self.roots, &self.backend.cores)).unwrap_or_default()
    }

    /// Looks at the machine just before a run.
    pub(crate) fn beside(&self) -> Beside {
        Beside::begin(&self.roots, &self.backend.cores)
    }

    /// Puts together what is known when a session starts.
    pub(crate) fn header(&self, asked: Asked, rows: &Rows) -> SessionHeader {
        let fingerprint = self.fingerprint(&asked, rows);
        let Asked { name, text, words, repeat, tolerances, limits, .. } = asked;
        SessionHeader {
            id: SessionId(uuid::Uuid::now_v7()),
            started_at: Timestamp::now(),
            lab_version: env!("CARGO_PKG_VERSION").to_owned(),
            plan_name: name,
            plan_text: text,
            model_name: self.program.name.clone(),
            work: Work::Command(CommandWork { program: words, rows: rows.source.clone() }),
            repeat,
            tolerances,
            limits,
            fingerprint,
            instruments: None,
            experiment: None,
            until: None,
        }
    }

    fn fingerprint(&self, asked: &Asked, rows: &Rows) -> Fingerprint {
        let plan = CommandPlanPart {
            program: asked.words.clone(),
            rows: rows.source.clone(),
            rows_digest: rows.digest,
            warmup: asked.warmup,
            interval_us: u64::try_from(asked.interval.as_micros()).unwrap_or(u64::MAX),
            name: asked.name.clone(),
            repeat: asked.repeat,
        };
        let Program { path, name, build, script, .. } = &self.program;
        let path = path.display().to_string();
        let engine = CommandEnginePart { name: name.clone(), build: *build, script: *script, path };
        Fingerprint {
            model: CommandModelPart { kind: "none".to_owned() }.record().of_command(),
            plan: plan.record().of_command(),
            backend: self.backend.part.record().of_command(),
            hardware: self.hardware.clone(),
            engine: engine.record().of_command(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it_and_its_script_is_the_first_file_among_its_arguments() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tool"), "tool").unwrap();
        std::fs::write(folder.path().join("train.py"), "print(1)").unwrap();
        let found = Program::find(&words(&["./tool", "-x", "dev", "train.py"]), folder.path());
        assert_eq!((found.name.as_str(), found.is_there()), ("tool", true));
        assert_eq!(found.build, Some(Digest::of(b"tool")));
        assert_eq!((found.script, found.script_at), (Some(Digest::of(b"print(1)")), Some(3)));
        let shell = Program::find(&words(&["sh", "-c", "exit 3"]), folder.path());
        assert!(shell.path.is_absolute() && shell.build.is_some() && shell.script.is_none(), "{shell:?}");
        assert!(!found.stood.iter().any(Stood::has_changed) && found.stood.len() == 2, "{found:?}");
        std::fs::write(folder.path().join("train.py"), "print(12)").unwrap();
        let changed: Vec<bool> = found.stood.iter().map(Stood::has_changed).collect();
        assert_eq!(changed, [false, true], "the script has other bytes now");
        let absent = Program::find(&words(&["lab-no-such-program"]), folder.path());
        assert!(!absent.is_there() && absent.build.is_none(), "{absent:?}");
    }

    #[test]
    fn rows_are_counted_where_they_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.csv"), "n\n1\n2\n").unwrap();
        let count = |source| Rows::count(source, folder.path());
        let counted = count(RowsSource::File("a.csv".to_owned())).unwrap();
        assert_eq!((counted.known, counted.digest), (Some(2), Some(Digest::of(b"n\n1\n2\n"))));
        let given = count(RowsSource::Given(7)).unwrap();
        assert_eq!((given.known, given.digest), (Some(7), None));
        assert_eq!(count(RowsSource::Reported).unwrap().known, None);
        let refusal = count(RowsSource::File("absent.csv".to_owned())).unwrap_err();
        assert!(refusal.sentence().contains("absent.csv` cannot be read"), "{refusal}");
    }
}
