//! Starting engine processes for the runner: the right program, the permitted conditions, the same engine each time.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, anyhow};
use lab_core::digest::Digest;
use lab_core::engine::{Engine as _, EngineError, Hello};
use lab_core::experiment::Layout;
use lab_core::plan::{EngineKind, RunSpec, Script};
use lab_engine::delayed::Delay;
use lab_engine::process::{Process, Start};
use lab_host::clock::{COARSEST_PERMITTED_NS, Monotonic};
use lab_host::layout::address_space_randomisation;
use lab_host::{Roots, conditions, process};
use lab_model::DigestWriter;
use lab_runner::Launched;

use crate::backend::Backend;
use crate::failure::{self, Failure};
use crate::instruments::Instruments;

/// This program, as the kernel holds it open: a rebuild in mid-session changes the file under the path, never this.
pub(crate) const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// What an experiment puts in the place of the engine that a plan names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Instead {
    /// Another program: a build of lab for the engines that come with lab, the engine itself for any other.
    pub(crate) program: Option<PathBuf>,
    /// A delay of known size.
    pub(crate) delay: Option<Delay>,
}

/// Starts the engine processes of one session.
pub(crate) struct Launcher<'a> {
    pub(crate) kind: &'a EngineKind,
    pub(crate) backend: &'a Backend,
    /// What takes the place of the engine's program.
    pub(crate) instead: &'a Instead,
    pub(crate) limits: &'a RunSpec,
    pub(crate) roots: &'a Roots,
    pub(crate) interrupted: Arc<AtomicBool>,
}

impl Launcher<'_> {
    /// Starts an engine, lets it introduce itself, and ends it.
    pub(crate) fn greet(&self) -> Result<Hello, EngineError> {
        let mut process = self.start(0, None)?;
        process.hello()
    }

    /// Returns the digest of the engine's program.
    pub(crate) fn executable_digest(&self) -> io::Result<Digest> {
        let (program, _) = self.program(0);
        let mut bytes = BufReader::with_capacity(1 << 20, File::open(program)?);
        let mut digester = DigestWriter::new(io::sink());
        io::copy(&mut bytes, &mut digester)?;
        Ok(digester.finish()?.1.sha256)
    }

    /// Starts a launch of the session, and makes sure that it is the engine that introduced itself before. Without a layout
    /// the kernel decides where its memory lies.
    pub(crate) fn launch(
        &self,
        index: u32,
        expected: &Hello,
        instruments: &Instruments,
        layout: Option<&Layout>,
    ) -> Result<Launched<'static>, EngineError> {
        let conditions =
            serde_json::to_value(conditions::probe(self.roots, &self.backend.cores)).unwrap_or_default();
        let mut process = self.start(index, layout)?;
        let hello = process.hello()?;
        // Measured anew at every start, the resolution of the clock may differ by a reading.
        let clock_resolution_ns = expected.clock_resolution_ns;
        if (Hello { clock_resolution_ns, ..hello.clone() }) != *expected {
            let message = format!("`{}` is not the engine that the session began with", hello.name);
            return Err(EngineError::Protocol { message });
        }
        check_clock(&hello)?;
        let pid = process.pid();
        self.check_affinity(pid)?;
        if layout.is_some() {
            check_unshuffled(pid)?;
        }
        Ok(Launched { engine: Box::new(process), instruments: Box::new(instruments.watch(pid)), conditions })
    }

    fn start(&self, index: u32, layout: Option<&Layout>) -> Result<Process<'static>, EngineError> {
        let (program, arguments) = self.program(index);
        let start = Start {
            launcher: PathBuf::from(OWN_EXECUTABLE),
            program,
            arguments,
            environment: self.backend.environment.clone(),
            cores: self.backend.cores.clone(),
            layout: layout.copied(),
            load_timeout: self.limits.load_timeout,
            generate_timeout: self.limits.generate_timeout,
            interrupted: self.interrupted.clone(),
        };
        Process::start(start, &Monotonic)
    }

    fn program(&self, index: u32) -> (PathBuf, Vec<String>) {
        let own = |arguments: &[&str]| {
            let delay = self.instead.delay.iter().flat_map(|delay| ["--delay".to_owned(), delay.to_string()]);
            let words = arguments.iter().map(|word| (*word).to_owned()).chain(delay);
            (PathBuf::from(OWN_EXECUTABLE), words.collect())
        };
        let (program, arguments) = match self.kind {
            EngineKind::Candle => own(&["engine", "candle"]),
            EngineKind::Scripted(script) => {
                own(&["engine", "scripted", "--script", &script_text(script), "--launch", &index.to_string()])
            }
            EngineKind::Command(words) => (on_path(&words[0]), words[1..].to_vec()),
        };
        (self.instead.program.clone().unwrap_or(program), arguments)
    }

    /// Reads back from the kernel that the engine runs where it was told to.
    fn check_affinity(&self, pid: u32) -> Result<(), EngineError> {
        let actual =
            process::affinity(&Roots::default(), pid).map_err(|error| start_failed(&error.to_string()))?;
        if actual.iter().eq(self.backend.cores.iter().copied()) {
            return Ok(());
        }
        Err(start_failed(&format!("it runs on cores {actual}, not on {:?}", self.backend.cores)))
    }
}

/// Finds a program as a shell would: a bare name in the folders of `PATH`, anything else as it stands. The engine's own
/// environment has no `PATH`, so the search is the harness's.
pub(crate) fn on_path(program: &str) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found =
        || std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file());
    let named = PathBuf::from(program);
    if program.contains('/') { named } else { found().unwrap_or(named) }
}

/// Lets the engine introduce itself before anything is recorded.
pub(crate) fn greet(launcher: &Launcher<'_>) -> failure::Result<Hello> {
    let hello = launcher.greet().context("cannot start the engine").map_err(Failure::run)?;
    check_clock(&hello).map_err(Failure::run).map_err(|failure| {
        failure.hint("the contract asks for a monotonic clock of 1000 ns or finer (engine.v0.1, section 6.1)")
    })?;
    Ok(hello)
}

/// Refuses a path that is no text: with its bytes replaced it would be that of another file.
pub(crate) fn check_text(path: &Path) -> failure::Result<()> {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if whole.to_str().is_some() {
        return Ok(());
    }
    Err(Failure::usage(anyhow!("the path {whole:?} is not UTF-8, and what is run is handed on as text"))
        .hint("rename the folder or the file, or link to it under a name in UTF-8"))
}

/// The engine may work in another folder. The path is one that [`check_text`] takes.
pub(crate) fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Refuses a clock that a session may not be measured with.
fn check_clock(hello: &Hello) -> Result<(), EngineError> {
    match hello.clock_resolution_ns {
        0..=COARSEST_PERMITTED_NS => Ok(()),
        coarse => Err(EngineError::Protocol { message: format!("its clock resolves {coarse} ns") }),
    }
}

/// Reads back from the kernel that it does not shuffle the engine's addresses: a program that changes its user when it is
/// started loses what the launcher has set.
fn check_unshuffled(pid: u32) -> Result<(), EngineError> {
    let own = Roots::default();
    let found =
        address_space_randomisation(&own, &own, pid).map_err(|error| start_failed(&error.to_string()))?;
    if found == "off" {
        return Ok(());
    }
    Err(start_failed(&format!("its addresses are shuffled (`{found}`), and its layout means nothing")))
}

fn start_failed(message: &str) -> EngineError {
    EngineError::Start { message: message.to_owned() }
}

fn script_text(script: &Script) -> String {
    serde_json::to_string(script).expect("a script serialises to JSON")
}
