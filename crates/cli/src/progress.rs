//! The progress bar: how much of the plan is done, redrawn from snapshots by the thread that watches the run.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use streamgauge_core::clock::Nanos;
use streamgauge_core::stop::StopRule;
use streamgauge_load::Progress;

/// A bar on stderr, or nothing.
pub struct Bar {
    bar: ProgressBar,
    rule: StopRule,
}

impl Bar {
    /// A bar for a run that ends by `rule`; invisible unless `shown`.
    pub fn new(rule: StopRule, shown: bool) -> Bar {
        let target = if shown { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        let length = match (rule.requests, rule.duration) {
            (Some(requests), _) => requests,
            (None, Some(duration)) => millis(duration),
            (None, None) => 0,
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        // The template is a constant and parses; a default bar would do as well.
        if let Ok(style) = ProgressStyle::with_template("profiling {wide_bar} {percent}% {msg}") {
            bar.set_style(style);
        }
        Bar { bar, rule }
    }

    /// Shows how far the run has come.
    pub fn show(&self, progress: Progress, now: Nanos) {
        let Some(started) = progress.started else {
            self.bar.set_message("opening connections, warming up");
            return;
        };
        // An open loop's schedule starts a moment after it was made.
        let elapsed = (now - started).max(Nanos::ZERO);
        self.bar.set_position(if self.rule.requests.is_some() { progress.completed } else { millis(elapsed) });
        let failed = if progress.failed > 0 { format!(", {} failed", progress.failed) } else { String::new() };
        self.bar.set_message(format!(
            "{} requests{failed}, {} output events, {:.0} s",
            progress.completed,
            progress.chunks,
            elapsed.as_secs_f64()
        ));
    }

    /// Takes the bar off the screen.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(span: Nanos) -> u64 {
    u64::try_from(span.0 / 1_000_000).unwrap_or_default()
}
