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

    /// Shows the progress of the run.
    pub fn show(&self, progress: Progress, now: Nanos) {
        let Some(started) = progress.started else {
            self.bar.set_message("opening connections, warming up");
            return;
        };
        // An open loop's schedule starts a moment after it was made.
        let elapsed = (now - started).max(Nanos::ZERO);
        self.bar.set_position(if self.rule.requests.is_some() { progress.completed } else { millis(elapsed) });
        self.bar.set_message(words(&self.rule, progress, elapsed));
    }

    /// Removes the bar from the screen.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// How far the run is, at what rate, with how many failures, and how much time remains.
fn words(rule: &StopRule, progress: Progress, elapsed: Nanos) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = if seconds > 0.0 { progress.completed as f64 / seconds } else { 0.0 };
    let of = rule.requests.map(|requests| format!(" of {requests}")).unwrap_or_default();
    let by_requests = rule.requests.filter(|_| rate > 0.0);
    let by_requests = by_requests.map(|requests| requests.saturating_sub(progress.completed) as f64 / rate);
    let by_time = rule.duration.map(|duration| (duration - elapsed).max(Nanos::ZERO).as_secs_f64());
    // The end that comes first.
    let left = match by_requests.into_iter().chain(by_time).reduce(f64::min) {
        Some(left) => format!("{} left", duration(left)),
        None => format!("{} so far", duration(seconds)),
    };
    format!("{}{of} requests, {rate:.1}/s, {} failed, {left}", progress.completed, progress.failed)
}

/// A length of time for people: seconds, or minutes and hours with them.
fn duration(seconds: f64) -> String {
    let whole = seconds.clamp(0.0, 1e9).round() as u64;
    match (whole / 3_600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

fn millis(span: Nanos) -> u64 {
    u64::try_from(span.0 / 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_rate_failures_and_what_remains() {
        let progress = |completed, failed| Progress { started: None, completed, failed, chunks: 0 };
        let count = StopRule::after(100);
        let seconds = |seconds: i64| Nanos::from_millis(seconds * 1_000);
        let said =
            |rule: &StopRule, completed, failed, elapsed| words(rule, progress(completed, failed), seconds(elapsed));
        assert_eq!(said(&count, 25, 2, 10), "25 of 100 requests, 2.5/s, 2 failed, 30 s left");
        assert_eq!(said(&count, 0, 0, 0), "0 of 100 requests, 0.0/s, 0 failed, 0 s so far");
        let both = StopRule { duration: Some(seconds(100)), ..count };
        assert_eq!(said(&both, 1, 0, 10), "1 of 100 requests, 0.1/s, 0 failed, 1 min 30 s left");
        let time = StopRule { requests: None, ..both };
        assert_eq!(said(&time, 500, 0, 101), "500 requests, 5.0/s, 0 failed, 0 s left");
        assert_eq!(duration(7_265.0), "2 h 01 min");
    }
}
