//! Measures any run of a command or of a function: how long it took, how many rows of input it used, the highest
//! memory of its processes. The result is a small JSON document, contract `smoke.v1`: [`summary`].
//!
//! - [`command`] runs a program; [`inside`] measures work inside this process.
//! - [`rows`] counts the rows of a file, for programs that do not say how many they used.
//! - [`watch`] and [`tree`] are how memory is found: resident memory of a process and its descendants, looked at every
//!   100 ms unless set otherwise, and the peaks that the kernel itself keeps.
//!
//! A function, as anything that takes rows might be:
//!
//! ```
//! use lab_measure::inside::{Options, measure_and_run};
//!
//! let prices = [27.1, 27.4, 26.9];
//! let mean = || prices.iter().sum::<f64>() / 3.0;
//! let (mean, summary) = measure_and_run(&Options::default(), |_| 3, mean);
//!
//! let summary = summary?.expect("measuring is on unless it is switched off");
//! assert!(mean > 27.0);
//! assert_eq!(summary.rows_used, Some(3));
//! assert!(summary.document().elapsed_sec > 0.0 && summary.document().peak_memory_mb > 0.0);
//! # Ok::<(), lab_measure::inside::InsideError>(())
//! ```
//!
//! A command that says itself how many rows it used:
//!
//! ```
//! use lab_measure::command::Run;
//!
//! let finished = Run::new(["sh", "-c", "echo 100 > \"$LAB_ROWS_FILE\"; exit 3"]).carry_out()?;
//! assert_eq!(finished.exit_code(), 3);
//! assert_eq!(finished.rows_reported.expect("it is a number"), Some(100));
//! # Ok::<(), lab_measure::command::CommandError>(())
//! ```
//!
//! This crate measures once. It neither repeats nor judges, and knows nothing of plans, engines and sessions: that
//! is what the rest of lab is for. Linux only.

mod clock;
pub mod command;
pub mod inside;
mod interval;
pub mod rows;
pub mod summary;
pub mod tree;
pub mod watch;

pub use interval::{Interval, IntervalError};
