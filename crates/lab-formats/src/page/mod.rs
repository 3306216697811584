//! What people read, laid out without a format: titles, facts, grids and lines. [`crate::table`] and
//! [`crate::markdown`] render it.

mod baseline;
mod calibration;
mod check;
mod command_check;
mod devices;
mod doctor;
mod gate;
mod history;
mod list;
mod overhead;
mod plan_check;
mod report;
mod session;
mod steps;
mod store;
mod work;

pub use baseline::{baseline, baselines};
pub use calibration::calibrations;
pub use check::check;
pub use command_check::command_check;
pub use devices::devices;
pub use doctor::doctor;
pub use gate::gate;
pub use history::history;
pub use list::sessions;
pub use overhead::overhead;
pub use plan_check::plan_check;
pub use report::report;
pub(crate) use report::support;
pub use session::{details, repetitions, session};
pub use steps::steps;
pub use store::store;

use crate::plot::Plot;

/// Blocks, from top to bottom.
#[derive(Debug, Clone, PartialEq)]
pub struct Page(pub Vec<Block>);

/// One block of a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// What the page is about.
    Title(String),
    /// Names and what they are.
    Facts(Vec<(String, Text)>),
    /// Rows under column titles.
    Grid(Grid),
    /// Sentences of their own, one a line.
    Lines(Vec<Text>),
    /// A series drawn in text.
    Figure(Plot),
}

/// Text and what it means for the reader. The words alone must say it too: colour is never the only carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The words.
    pub words: String,
    /// What they mean for the reader.
    pub tone: Tone,
}

/// What words mean for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// As it should be.
    Good,
    /// To be looked at.
    Doubtful,
    /// Not as it should be.
    Bad,
}

/// Rows under column titles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each as long as there are columns.
    pub rows: Vec<Row>,
}

/// A column of a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Where its cells stand.
    pub alignment: Alignment,
}

/// Where cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A row of a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// One cell a column.
    pub cells: Vec<String>,
    /// The tone of the last cell, which carries the outcome.
    pub tone: Tone,
}

impl Text {
    pub(crate) fn plain(words: impl Into<String>) -> Self {
        Self { words: words.into(), tone: Tone::Plain }
    }

    fn toned(words: impl Into<String>, tone: Tone) -> Self {
        Self { words: words.into(), tone }
    }
}

const fn words(title: &'static str) -> Column {
    Column { title, alignment: Alignment::Left }
}

const fn numbers(title: &'static str) -> Column {
    Column { title, alignment: Alignment::Right }
}

/// `2026-01-02T03:04`: RFC 3339 up to minutes.
const MINUTES_DIGITS: usize = 16;

/// Returns a time (RFC 3339, UTC) as people read it: `2026-01-02 03:04`.
fn minutes(time: &str) -> String {
    time.chars().take(MINUTES_DIGITS).collect::<String>().replace('T', " ")
}

/// Stands where a figure is absent.
const ABSENT: &str = "-";
