//! Progress on standard error: bars for downloads and files, one line between repetitions. Never drawn while a
//! repetition runs, and not at all unless standard error is a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::say;

/// A bar over bytes.
pub(crate) struct ByteBar {
    bar: ProgressBar,
    stage: String,
}

impl ByteBar {
    /// Makes a bar that shows itself with the first report.
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template(
            "{msg:<12} {wide_bar:.dim} {decimal_bytes:>9} of {decimal_total_bytes:>9} {decimal_bytes_per_sec:>11} {eta:>4} left",
        )
        .expect("the template is well-formed");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
        Self { bar, stage: String::new() }
    }

    /// Shows how far a stage is. A new stage starts the estimate anew; without a terminal it is one line of talk.
    pub(crate) fn show(&mut self, stage: &str, done: u64, total: Option<u64>) {
        if stage != self.stage {
            stage.clone_into(&mut self.stage);
            self.bar.reset();
            self.bar.set_message(stage.to_owned());
            if !std::io::stderr().is_terminal() {
                say(&format!(
                    "{stage}{}",
                    total.map(|total| format!(" {} MB", total / 1_000_000)).unwrap_or_default()
                ));
            }
        }
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
    }
}

impl Drop for ByteBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The line between repetitions.
pub(crate) struct RunLine {
    bar: ProgressBar,
    repeat: u32,
}

impl RunLine {
    /// Makes a line for a session of `repeat` measured repetitions.
    pub(crate) fn new(repeat: u32) -> Self {
        let style = ProgressStyle::with_template("{prefix} {wide_bar:.dim} {msg}")
            .expect("the template is well-formed");
        let bar = ProgressBar::with_draw_target(Some(u64::from(repeat)), ProgressDrawTarget::stderr())
            .with_style(style);
        Self { bar, repeat }
    }

    /// Draws where the session stands, then stays still until called again.
    pub(crate) fn show(&self, n_done: u32, doing: &str, elapsed: Duration) {
        self.bar.set_prefix(format!("{n_done} of {} measured", self.repeat));
        let left = match n_done {
            0 => String::new(),
            n => format!(", about {} s left", (elapsed / n * (self.repeat - n)).as_secs()),
        };
        self.bar.set_message(format!("{doing}{left}"));
        self.bar.set_position(u64::from(n_done));
    }

    /// Says a line above the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }
}

/// The line of a watch: what has come so far.
pub(crate) struct WatchLine {
    bar: ProgressBar,
}

impl WatchLine {
    /// Makes a line that shows itself with the first message.
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template("{msg}").expect("the template is well-formed");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
        Self { bar }
    }

    /// Draws what has come so far.
    pub(crate) fn show(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }

    /// Says a line above it.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }
}

impl Drop for WatchLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for RunLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
