//! Measures a piece of work inside this process, for programs in Rust.
//!
//! [`measure_and_run`] measures a function; [`measure_run_context`] gives a guard for work that is no function.
//! Both can be switched off, and then cost nothing: no thread, no file, no summary. By default, runs on CI servers
//! are measured and others are not: see [`Switch::decide`].
//!
//! Memory is that of the whole process and of those that it has started, not only what the work asked for.

use std::io;
use std::path::PathBuf;

use nix::sys::resource::UsageWho;
use uuid::Uuid;

use crate::clock::now_ns;
use crate::command::peak_kept_of;
use crate::interval::Interval;
use crate::summary::{Summary, SummaryError};
use crate::tree::Tree;
use crate::watch::{MemoryPeak, Past, Watch};

/// Names the word that switches measuring on and off.
pub const SWITCH: &str = "LAB_MEASURE";
/// Names the variable that CI servers set.
pub const CI: &str = "CI";

/// Whether work is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It is.
    On,
    /// It is not: no thread, no file, no summary.
    Off,
}

/// A word that switches nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no value of `LAB_MEASURE`; expected `on`, `off` or `auto`")]
pub struct SwitchError {
    word: String,
}

impl Switch {
    /// Decides by the values of `LAB_MEASURE` and `CI`. `on` and `off` say it themselves; `auto`, which is also
    /// what holds where nothing is said or the word is empty, measures on CI servers: where `CI` is set and neither
    /// empty, `0` nor `false`.
    ///
    /// # Errors
    ///
    /// When the word is none of the three.
    pub fn decide(word: Option<&str>, ci: Option<&str>) -> Result<Self, SwitchError> {
        match (word, ci) {
            (Some("on"), _) => Ok(Self::On),
            (Some("off"), _) | (None | Some("auto" | ""), None) => Ok(Self::Off),
            (None | Some("auto" | ""), Some(ci)) => {
                let is_no = ci.is_empty() || ci == "0" || ci.eq_ignore_ascii_case("false");
                Ok(if is_no { Self::Off } else { Self::On })
            }
            (Some(word), _) => Err(SwitchError { word: word.to_owned() }),
        }
    }

    /// Decides by this process's environment.
    ///
    /// # Errors
    ///
    /// As [`Self::decide`].
    pub fn from_environment() -> Result<Self, SwitchError> {
        let read = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self::decide(read(SWITCH).as_deref(), read(CI).as_deref())
    }
}

/// How work is measured.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether it is.
    pub switch: Switch,
    /// Time between two looks at memory.
    pub interval: Interval,
    /// Where the summary is written as a file, if anywhere.
    pub folder: Option<PathBuf>,
    /// Where procfs is mounted.
    pub procfs: PathBuf,
}

impl Default for Options {
    /// Returns options that measure every 100 ms with procfs in `/proc`, and write no file.
    fn default() -> Self {
        Self {
            switch: Switch::On,
            interval: Interval::default(),
            folder: None,
            procfs: PathBuf::from("/proc"),
        }
    }
}

impl Options {
    /// Returns the default options, with the switch as the environment has it.
    ///
    /// # Errors
    ///
    /// As [`Switch::decide`].
    pub fn from_environment() -> Result<Self, SwitchError> {
        Ok(Self { switch: Switch::from_environment()?, ..Self::default() })
    }
}

/// Why there is no summary of work that was to be measured. The work itself was done.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    /// The thread that looks at memory did not start.
    #[error("memory cannot be watched: the thread for it cannot be started")]
    NotStarted {
        /// What the kernel said.
        source: io::Error,
    },
    /// [`RunContext::set_rows`] was never called.
    #[error("the number of rows was never set, and a summary needs one")]
    RowsNotSet,
    /// Neither procfs nor the kernel's accounts say anything about this process.
    #[error("the memory of this process cannot be read below `{}`", procfs.display())]
    NoMemory {
        /// Where procfs was looked for.
        procfs: PathBuf,
    },
    /// The summary was not written.
    #[error(transparent)]
    Summary(#[from] SummaryError),
}

/// Runs work and measures it. Returns what the work returned, and the summary; none where measuring is switched off.
///
/// `rows` says how many rows of input were used, from what the work returned. It is asked when time is no longer
/// taken, and not at all where measuring is switched off.
///
/// # Errors
///
/// The second part is an error when the work was done and could not be measured, or its summary not be written.
pub fn measure_and_run<T>(
    options: &Options,
    rows: impl FnOnce(&T) -> u64,
    work: impl FnOnce() -> T,
) -> (T, Result<Option<Summary>, InsideError>) {
    let context = measure_run_context(options);
    let value = work();
    let summary = match context.end() {
        None => Ok(None),
        Some(measured) => measured.and_then(|measured| measured.conclude(Some(rows(&value)))).map(Some),
    };
    (value, summary)
}

/// Begins to measure. What follows is measured until [`RunContext::finish`]; dropping the guard forgets it.
///
/// That the thread cannot be started is said by `finish`: the work does not depend on it.
pub fn measure_run_context(options: &Options) -> RunContext {
    let started = match options.switch {
        Switch::Off => None,
        Switch::On => Some(Measuring::start(options)),
    };
    RunContext { started, rows: None }
}

/// A guard around work that is measured.
#[derive(Debug)]
#[must_use = "what is not finished is not measured"]
pub struct RunContext {
    started: Option<Result<Measuring, InsideError>>,
    rows: Option<u64>,
}

impl RunContext {
    /// Says how many rows of input the work uses. What is said last counts.
    pub fn set_rows(&mut self, rows: u64) {
        self.rows = Some(rows);
    }

    /// Ends the measurement, and returns the summary; none where measuring is switched off.
    ///
    /// # Errors
    ///
    /// When rows were never set, the work could not be measured, or the summary not be written.
    pub fn finish(self) -> Result<Option<Summary>, InsideError> {
        let rows = self.rows;
        match self.end() {
            None => Ok(None),
            Some(measured) => measured?.conclude(rows).map(Some),
        }
    }

    fn end(self) -> Option<Result<Measured, InsideError>> {
        let ended_ns = now_ns();
        self.started.map(|started| Ok(started?.end(ended_ns)))
    }
}

#[derive(Debug)]
struct Measuring {
    watch: Watch,
    begun_ns: u64,
    options: Options,
}

impl Measuring {
    fn start(options: &Options) -> Result<Self, InsideError> {
        let tree = Tree::new(&options.procfs, std::process::id());
        let watch = Watch::start(tree, options.interval, Past::LeftOut);
        let watch = watch.map_err(|source| InsideError::NotStarted { source })?;
        Ok(Self { watch, options: options.clone(), begun_ns: now_ns() })
    }

    fn end(self, ended_ns: u64) -> Measured {
        let Self { watch, begun_ns, options } = self;
        let peak = MemoryPeak { at_most_bytes: peak_kept_of(UsageWho::RUSAGE_SELF), ..watch.stop() };
        Measured { elapsed_ns: ended_ns.saturating_sub(begun_ns), peak, options }
    }
}

struct Measured {
    elapsed_ns: u64,
    peak: MemoryPeak,
    options: Options,
}

impl Measured {
    fn conclude(self, rows: Option<u64>) -> Result<Summary, InsideError> {
        let Self { elapsed_ns, peak, options } = self;
        let summary = Summary {
            run_id: Uuid::new_v4(),
            elapsed_ns,
            rows_used: Some(rows.ok_or(InsideError::RowsNotSet)?),
            peak_memory_bytes: peak.bytes().ok_or(InsideError::NoMemory { procfs: options.procfs })?,
        };
        if let Some(folder) = &options.folder {
            summary.write(folder)?;
        }
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::SummaryDocument;

    /// 32 MiB, every page of them written.
    fn allocate() -> Vec<u8> {
        std::hint::black_box(vec![1; 32 << 20])
    }

    #[test]
    fn the_switch_follows_its_word_and_the_server_where_it_says_auto() {
        use Switch::{Off, On};

        for (word, ci, decided) in [
            (Some("on"), None, On),
            (Some("on"), Some("false"), On),
            (Some("off"), Some("true"), Off),
            (Some("auto"), Some("true"), On),
            (Some("auto"), Some("1"), On),
            (Some("auto"), Some("woodpecker"), On),
            (Some("auto"), Some(""), Off),
            (Some("auto"), Some("0"), Off),
            (Some("auto"), Some("False"), Off),
            (Some("auto"), None, Off),
            (None, Some("true"), On),
            (None, None, Off),
            (Some(""), Some("true"), On),
            (Some(""), None, Off),
        ] {
            assert_eq!(Switch::decide(word, ci), Ok(decided), "{word:?} {ci:?}");
        }
        for word in ["ON", "yes", "1"] {
            let error = Switch::decide(Some(word), Some("true")).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("`{word}` is no value of `LAB_MEASURE`; expected `on`, `off` or `auto`")
            );
        }
    }

    #[test]
    fn work_is_measured_and_its_summary_written() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { folder: Some(directory.path().join("runs")), ..Options::default() };
        let rows = |bytes: &Vec<u8>| u64::try_from(bytes.len()).unwrap();
        let (bytes, summary) = measure_and_run(&options, rows, allocate);
        let summary = summary.unwrap().unwrap();
        assert_eq!((bytes.len(), summary.rows_used), (32 << 20, Some(32 << 20)));
        assert!(summary.elapsed_ns > 0 && summary.peak_memory_bytes > 32 << 20, "{summary:?}");
        assert_eq!(summary.run_id.get_version_num(), 4);
        let file = directory.path().join(format!("runs/{}.json", summary.run_id));
        assert_eq!(SummaryDocument::load(&file).unwrap(), summary.document());
    }

    #[test]
    fn a_guard_measures_until_it_is_finished_and_every_run_has_an_id_of_its_own() {
        let finish = |rows| {
            let mut context = measure_run_context(&Options::default());
            context.set_rows(1);
            context.set_rows(rows);
            context.finish().unwrap().unwrap()
        };
        let (first, second) = (finish(7), finish(8));
        assert_eq!((first.rows_used, second.rows_used), (Some(7), Some(8)));
        assert_ne!(first.run_id, second.run_id);
    }

    #[test]
    fn what_is_switched_off_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Some(directory.path().join("runs"));
        let options = Options { switch: Switch::Off, folder, ..Options::default() };
        let (value, summary) = measure_and_run(&options, |_| unreachable!("nobody needs rows"), || 42);
        assert_eq!((value, summary.unwrap()), (42, None));
        assert_eq!(measure_run_context(&options).finish().unwrap(), None);
        assert!(!directory.path().join("runs").exists());
    }

    #[test]
    fn rows_that_were_never_set_are_no_zero() {
        let error = measure_run_context(&Options::default()).finish().unwrap_err();
        assert_eq!(error.to_string(), "the number of rows was never set, and a summary needs one");
    }

    #[test]
    fn without_procfs_the_kernels_own_account_is_left() {
        let options = Options { procfs: PathBuf::from("/nowhere"), ..Options::default() };
        let (_, summary) = measure_and_run(&options, |_| 0, || ());
        assert!(summary.unwrap().unwrap().peak_memory_bytes > 100_000);
    }

    #[test]
    fn a_file_that_cannot_be_written_costs_the_summary_and_not_the_work() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let options = Options { folder: Some(file.clone()), ..Options::default() };
        let (value, summary) = measure_and_run(&options, |_| 1, || "done");
        assert_eq!(value, "done");
        let message = summary.unwrap_err().to_string();
        assert_eq!(message, format!("the folder `{}` cannot be made", file.display()));
    }
}
