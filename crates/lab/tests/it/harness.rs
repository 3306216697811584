//! A folder with a store in it, and the `lab` command run inside.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use lab_core::clock::Clock as _;
use lab_core::record::{RecordedRepetition, Session};
use lab_host::clock::Monotonic;
use lab_store::{ListFilter, Store};
use serde_json::Value;
use tempfile::TempDir;

use crate::plan::Plan;

/// No command here takes more than some seconds on an idle machine, or more than a minute in doubt on a busy one.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at something awaited.
const LOOK_EVERY_NS: u64 = 2_000_000;

/// Rules of validity that the neighbours of a test may set off, and that of plans without a warm-up.
const BUSY: [&str; 9] = [
    "clock",
    "steal",
    "other-load",
    "run-queue",
    "involuntary-switches",
    "cpu-pressure",
    "memory-pressure",
    "swap",
    "cold-start",
];

/// A folder of its own, and `lab` run inside with the store `lab.sqlite`.
pub(crate) struct Lab {
    folder: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("lab.sqlite")
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Makes a pipe that has a name and no writer.
    pub(crate) fn fifo(&self, name: &str) {
        let status = Command::new("mkfifo").arg(self.path(name)).status().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Writes a plan as `plan.toml`.
    pub(crate) fn plan(&self, plan: Plan) -> &Self {
        self.write("plan.toml", plan.text());
        self
    }

    /// Readies the command, in the folder, with the shared cache and no environment that could lead it astray.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("LAB_STORE", self.store())
            .env("LAB_CACHE", shared_cache())
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments))
    }

    /// Runs `plan.toml` once more and returns the session's document.
    #[track_caller]
    pub(crate) fn measure(&self, plan: Plan) -> Value {
        self.plan(plan).run(&["run", "plan.toml", "--format", "json"]).exits(0).json()
    }

    /// Compares two sessions by the contract's rule, which few repetitions decide, and lets pass what other tests do to
    /// this machine meanwhile.
    #[track_caller]
    pub(crate) fn compare(&self, baseline: &str, candidate: &str, further: &[&str]) -> Ran {
        let admitted = BUSY.iter().flat_map(|rule| ["--admit", rule]);
        let words: Vec<&str> = ["compare", baseline, candidate].into_iter().chain(admitted).collect();
        let rule: &[&str] = if further.contains(&"--rule") { &[] } else { &["--rule", "contract"] };
        let words = [words.as_slice(), rule].concat();
        self.run(&[&words, further].concat())
    }

    /// Starts the command and returns while it runs.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments))
    }

    /// Returns the newest session as the store has it, if there is one yet.
    pub(crate) fn newest(&self) -> Option<Session> {
        let store = Store::open_read_only(&self.store()).ok()?;
        let rows = store.list(&ListFilter { limit: Some(1) }).ok()?;
        store.load(&rows.first()?.id).ok()
    }

    /// Returns a session by its id.
    pub(crate) fn session(&self, id: &str) -> Session {
        let store = Store::open_read_only(&self.store()).unwrap();
        store.load(&store.resolve(id).unwrap()).unwrap()
    }

    /// Records a hand-made session.
    pub(crate) fn record(&self, session: &Session) {
        let mut store = Store::open(&self.store()).unwrap();
        let id = session.header.id;
        store.begin_session(&session.header).unwrap();
        session.launches.iter().for_each(|launch| store.append_launch(id, launch).unwrap());
        for RecordedRepetition { repetition, measurements } in &session.repetitions {
            store.append_repetition(id, repetition, measurements).unwrap();
        }
        session.end.iter().for_each(|end| store.end_session(id, end).unwrap());
    }
}

/// Returns the folder of models that all tests of the workspace share.
fn shared_cache() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-cache");
    std::env::var_os("LAB_TEST_CACHE").map_or_else(default, PathBuf::from)
}

/// A command that runs, and is killed when its test ends before it does.
pub(crate) struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Starts a command that writes to files: nothing waits for a reader.
    pub(crate) fn of(mut command: Command) -> Self {
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        Self { child: command.spawn().unwrap(), stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has said on standard error so far. Where the command writes next stays as it is.
    pub(crate) fn said(&self) -> String {
        let mut said = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let n = self.stderr.read_at(&mut chunk, said.len() as u64).unwrap();
            if n == 0 {
                return String::from_utf8_lossy(&said).into_owned();
            }
            said.extend_from_slice(&chunk[..n]);
        }
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Ran {
        let status = wait_for("the end of the command", || self.child.try_wait().unwrap());
        Ran::new(status, contents(&mut self.stdout), contents(&mut self.stderr))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn contents(file: &mut File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    #[track_caller]
    pub(crate) fn of(command: Command) -> Self {
        Running::of(command).finish()
    }

    /// Keeps what a command left behind. Lab itself never errs.
    #[track_caller]
    pub(crate) fn new(status: ExitStatus, stdout: String, stderr: String) -> Self {
        let ran = Self { status: status.code(), stdout, stderr };
        assert!(!ran.stderr.contains("panicked") && ran.status != Some(70), "a bug in lab: {ran:#?}");
        ran
    }

    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// Asserts what standard error says.
    #[track_caller]
    pub(crate) fn says(self, fragment: &str) -> Self {
        assert!(flat(&self.stderr).contains(&flat(fragment)), "expected `{fragment}` in {self:#?}");
        self
    }

    /// Asserts what standard output has.
    #[track_caller]
    pub(crate) fn prints(self, fragment: &str) -> Self {
        assert!(flat(&self.stdout).contains(&flat(fragment)), "expected `{fragment}` in {self:#?}");
        self
    }

    /// Asserts that nothing is on standard output: a failed command has no data.
    #[track_caller]
    pub(crate) fn prints_nothing(self) -> Self {
        assert_eq!(self.stdout, "", "{self:#?}");
        self
    }

    /// Reads the whole of standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }
}

/// Puts a text on one line: where lab breaks its lines is not what these tests are about.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Waits until something is there.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline_ns = Monotonic.now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Monotonic.now_ns() < deadline_ns, "waited in vain for {what}");
        Monotonic.wait_until_ns(Monotonic.now_ns() + LOOK_EVERY_NS);
    }
}
