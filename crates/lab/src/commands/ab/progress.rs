//! The line between looks: the interval as it shrinks around the tolerance.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lab_core::clock::Clock as _;
use lab_core::experiment::StoppingPlan;
use lab_core::metric::short_name;
use lab_core::report::{ChangeInterval, Judgement, MetricComparison, Report};
use lab_core::tolerance::Tolerance;
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
            report.metrics.iter().filter_map(|own| Some((own, own.tolerance?, own.interval.value()?)));
        let is_open = |own: &MetricComparison| matches!(own.judgement, Judgement::Inconclusive { .. });
        // What keeps from a decision is worth looking at.
        let Some((metric, tolerance, interval)) = looked.min_by_key(|(own, ..)| !is_open(own)) else {
            return;
        };
        let (Tolerance::Relative(width) | Tolerance::Absolute(width)) = tolerance;
        let ChangeInterval { scale, estimate, low, high, needed, .. } = interval;
        let words = |own: &f64| scale.in_words(*own, metric.tolerance, &metric.unit);
        // Where no number would decide, all that may follow will.
        let last = if is_open(metric) { needed.unwrap_or(self.most).min(self.most) } else { n_pairs };
        let left = last.saturating_sub(n_pairs);
        let elapsed = Duration::from_nanos(Monotonic.now_ns() - self.begun_ns);
        let seconds = (elapsed / n_pairs.max(1) * left).as_secs();
        self.bar.set_prefix(format!("{n_pairs} of at most {} pairs", self.most));
        self.bar.set_message(format!(
            "{} {} {} ({} to {}), about {left} more pairs, {seconds} s",
            short_name(&metric.metric),
            band([*low, *estimate, *high], width),
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

/// Half of the places of a band, without its middle.
const HALF: i32 = 12;

/// Draws an interval over the band of its tolerance: `╌╌╌╌╌╌┃╌╌╌━━━●━━━╌┃╌╌╌╌╌╌`. The drawing reaches to twice the tolerance on either
/// side, and what lies further out stands at its end.
fn band([low, estimate, high]: [f64; 3], tolerance: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "the place is clamped before")]
    let place = |change: f64| {
        let share = if tolerance > 0.0 { change / (2.0 * tolerance) } else { change.signum() };
        (share.clamp(-1.0, 1.0) * f64::from(HALF)).round() as i32
    };
    let [low, estimate, high] = [low, estimate, high].map(place);
    let mark = |at: i32| match at {
        at if at == estimate => '●',
        at if at.abs() == HALF / 2 => '┃',
        at if (low..=high).contains(&at) => '━',
        _ => '╌',
    };
    (-HALF..=HALF).map(mark).collect()
}

impl Drop for PairLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_drawn_over_the_band_of_its_tolerance() {
        for (ends, drawn) in [
            ([-0.01, 0.0, 0.01], "╌╌╌╌╌╌┃╌╌╌━━●━━╌╌╌┃╌╌╌╌╌╌"),
            ([-0.09, -0.06, -0.03], "●━━━━━┃╌╌╌╌╌╌╌╌╌╌╌┃╌╌╌╌╌╌"),
            ([-0.005, 0.02, 0.045], "╌╌╌╌╌╌┃╌╌╌╌━━━━━●━┃━━━╌╌╌"),
            ([-0.5, -0.4, -0.3], "●╌╌╌╌╌┃╌╌╌╌╌╌╌╌╌╌╌┃╌╌╌╌╌╌"),
        ] {
            assert_eq!(band(ends, 0.03), drawn, "{ends:?}");
        }
        assert_eq!(band([-1.0, 0.0, 1.0], 0.0).chars().count(), 25, "a tolerance of nothing is drawn, too");
    }
}
