//! The line between looks: the interval as it shrinks around the tolerance.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lab_core::clock::Clock as _;
use lab_core::experiment::StoppingPlan;
use lab_core::report::{ChangeInterval, Report};
use lab_core::tolerance::change_in_words;
use lab_host::clock::Monotonic;

use crate::terminal::say;

/// The line between looks. Drawn only while no engine generates, and not at all unless standard error is a terminal.
pub(super) struct PairLine {
    bar: ProgressBar,
    most: u32,
    begun_ns: u64,
}

impl PairLine {
    pub(super) fn new(plan: &StoppingPlan) -> Self {
        let style = ProgressStyle::with_template("{prefix} {wide_bar:.dim} {msg}")
            .expect("the template is well-formed");
        let most = plan.most();
        let bar = ProgressBar::with_draw_target(Some(u64::from(most)), ProgressDrawTarget::stderr());
        let line = Self { bar: bar.with_style(style), most, begun_ns: Monotonic.now_ns() };
        line.bar.set_prefix(format!("0 of at most {most} pairs"));
        line.bar.set_message("measuring");
        line
    }

    /// Draws where the experiment stands after a look.
    pub(super) fn show(&self, n_pairs: u32, report: &Report) {
        let looked =
            report.metrics.iter().find(|own| own.tolerance.is_some() && own.interval.value().is_some());
        let Some((metric, interval)) = looked.and_then(|own| Some((own, own.interval.value()?))) else {
            return;
        };
        let ChangeInterval { estimate, low, high, needed, .. } = interval;
        let words = |own: &f64| change_in_words(*own, metric.tolerance);
        // Where no number would decide, all that may follow will.
        let left = needed.unwrap_or(self.most).min(self.most).saturating_sub(n_pairs);
        let elapsed = Duration::from_nanos(Monotonic.now_ns() - self.begun_ns);
        let seconds = (elapsed / n_pairs.max(1) * left).as_secs();
        self.bar.set_prefix(format!("{n_pairs} of at most {} pairs", self.most));
        self.bar.set_message(format!(
            "{} ({} to {}), about {left} more pairs, {seconds} s",
            words(estimate),
            words(low),
            words(high)
        ));
        self.bar.set_position(u64::from(n_pairs));
    }

    /// Says a line above the bar.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }
}

impl Drop for PairLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
