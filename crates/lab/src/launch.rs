//! Starting engine processes for the runner: the right program, the permitted conditions, the same engine each time.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use lab_core::digest::Digest;
use lab_core::engine::{Engine as _, EngineError, Hello};
use lab_core::plan::{EngineKind, RunSpec, Script};
use lab_engine::process::{Process, Start};
use lab_host::clock::{COARSEST_PERMITTED_NS, Monotonic};
use lab_host::{Roots, conditions, process};
use lab_model::DigestWriter;
use lab_runner::Launched;

use crate::backend::Backend;
use crate::failure::{self, Failure};
use crate::instruments::Instruments;

/// This program, as the kernel holds it open: a rebuild in mid-session changes the file under the path, never this.
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// Starts the engine processes of one session.
pub(crate) struct Launcher<'a> {
    pub(crate) kind: &'a EngineKind,
    pub(crate) backend: &'a Backend,
    pub(crate) limits: &'a RunSpec,
    pub(crate) roots: &'a Roots,
    pub(crate) interrupted: Arc<AtomicBool>,
}

impl Launcher<'_> {
    /// Starts an engine, lets it introduce itself, and ends it.
    pub(crate) fn greet(&self) -> Result<Hello, EngineError> {
        let mut process = self.start(0)?;
        process.hello()
    }

    /// Returns the digest of the engine's program.
    pub(crate) fn executable_digest(&self) -> io::Result<Digest> {
        let program = match self.kind {
            EngineKind::Candle | EngineKind::Scripted(_) => PathBuf::from(OWN_EXECUTABLE),
            EngineKind::Command(words) => on_path(&words[0]),
        };
        let mut bytes = BufReader::with_capacity(1 << 20, File::open(program)?);
        let mut digester = DigestWriter::new(io::sink());
        io::copy(&mut bytes, &mut digester)?;
        Ok(digester.finish()?.1.sha256)
    }

    /// Starts a launch of the session, and makes sure that it is the engine that introduced itself before.
    pub(crate) fn launch(
        &self,
        index: u32,
        expected: &Hello,
        instruments: &Instruments,
    ) -> Result<Launched<'static>, EngineError> {
        let conditions =
            serde_json::to_value(conditions::probe(self.roots, &self.backend.cores)).unwrap_or_default();
        let mut process = self.start(index)?;
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
        Ok(Launched { engine: Box::new(process), instruments: Box::new(instruments.watch(pid)), conditions })
    }

    fn start(&self, index: u32) -> Result<Process<'static>, EngineError> {
        let (program, arguments) = self.program(index);
        let start = Start {
            launcher: PathBuf::from(OWN_EXECUTABLE),
            program,
            arguments,
            environment: self.backend.environment.clone(),
            cores: self.backend.cores.clone(),
            load_timeout: self.limits.load_timeout,
            generate_timeout: self.limits.generate_timeout,
            interrupted: self.interrupted.clone(),
        };
        Process::start(start, &Monotonic)
    }

    fn program(&self, index: u32) -> (PathBuf, Vec<String>) {
        let own = |arguments: &[&str]| {
            (PathBuf::from(OWN_EXECUTABLE), arguments.iter().map(|word| (*word).to_owned()).collect())
        };
        match self.kind {
            EngineKind::Candle => own(&["engine", "candle"]),
            EngineKind::Scripted(script) => {
                own(&["engine", "scripted", "--script", &script_text(script), "--launch", &index.to_string()])
            }
            EngineKind::Command(words) => (on_path(&words[0]), words[1..].to_vec()),
        }
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
fn on_path(program: &str) -> PathBuf {
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

/// The engine may work in another folder.
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

fn start_failed(message: &str) -> EngineError {
    EngineError::Start { message: message.to_owned() }
}

fn script_text(script: &Script) -> String {
    serde_json::to_string(script).expect("a script serialises to JSON")
}
