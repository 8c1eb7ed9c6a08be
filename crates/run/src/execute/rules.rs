//! The ends of a run that depend on its figures. They are checked as records come in.

use crate::listener::Listener;
use anyhow::Result;
use std::sync::Arc;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::WindowFacts;
use streamgauge_core::{Record, Satisfied};
use streamgauge_stats::windows::{LATE, Lenience};
use streamgauge_stats::{Accumulator, Confidence, Windows};

/// The rules of a plan that depend on records.
pub struct Rules {
    windows: Option<Windows>,
    listener: Arc<dyn Listener>,
    confidence: Option<Confidence>,
    /// When the plan stops issuing by the clock, from the start: what ends after that is no longer under the plan's load.
    duration: Option<Nanos>,
}

impl Rules {
    /// The rules of `plan`. The windows may end by `lenience` too, and `listener` hears of each that ends.
    ///
    /// # Errors
    /// When no run of this plan could meet one of them.
    pub fn of(plan: &RunPlan, lenience: Lenience, listener: Arc<dyn Listener>) -> Result<Rules> {
        Ok(Rules {
            windows: plan.load.stop.stability.map(|rule| Windows::new(rule).with(lenience)),
            listener,
            confidence: Confidence::of(plan)?,
            duration: plan.load.stop.duration,
        })
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.windows.is_some() || self.confidence.is_some()
    }

    /// Adds a record.
    pub fn add(&mut self, record: &Record) {
        if let Some(windows) = &mut self.windows {
            windows.add(record);
        }
    }

    /// Checks whether the run should end, and returns the reason. All records up to `known` have arrived; `now` is the current time.
    pub fn look(&mut self, so_far: &mut Accumulator, started: Nanos, known: Nanos, now: Nanos) -> Option<Satisfied> {
        let until = self.duration.map_or(known - LATE, |duration| (known - LATE).min(started + duration));
        let agreed = self.windows.as_mut().and_then(|windows| {
            let before = windows.passes().len();
            let agreed = windows.look(started, until);
            if windows.passes().len() > before {
                self.listener.window(windows);
            }
            agreed
        });
        agreed.or_else(|| self.confidence.as_mut()?.look(so_far, now))
    }

    /// The windows that the figures are of, once the run is over.
    pub fn windows(self, started: Nanos) -> Option<WindowFacts> {
        self.windows?.close(started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::stop::{StabilityRule, Window};
    use streamgauge_core::{Chunk, Message, OutputKind};
    use streamgauge_stats::AccumulatorConfig;

    struct Silent;

    impl Listener for Silent {
        fn note(&self, _note: &Message) {}
    }

    /// Two windows of a second that are never stable; the run ends with the second.
    fn rules(duration: Option<Nanos>) -> Rules {
        let window = Window::Time(Nanos::from_millis(1_000));
        let windows = Windows::new(StabilityRule { window, within: 0.1, percentile: None, most: 2 });
        Rules { windows: Some(windows), listener: Arc::new(Silent), confidence: None, duration }
    }

    fn so_far() -> Accumulator {
        Accumulator::new(AccumulatorConfig::of(&streamgauge_testing::plan()).unwrap())
    }

    fn ended(seq: u64, at: Nanos) -> Record {
        Record {
            seq,
            issued: at - Nanos(10),
            sent: Some(at - Nanos(5)),
            chunks: vec![Chunk { at, lag: None, shared: false, kind: OutputKind::Text }],
            end: at,
            ..streamgauge_testing::record()
        }
    }

    #[test]
    fn a_window_is_judged_when_its_records_are_known_and_not_when_it_is_over() {
        let (mut rules, start) = (rules(None), Nanos::from_millis(500));
        let end = start + Nanos::from_millis(2_000);
        let now = end + LATE + LATE;
        assert_eq!(rules.look(&mut so_far(), start, end + LATE - Nanos(1), now), None);
        let why = rules.look(&mut so_far(), start, end + LATE, now).unwrap();
        assert_eq!(why.to_string(), "all 2 windows are over, too few to agree");
    }

    #[test]
    fn a_window_that_outlasts_the_load_is_none() {
        let mut rules = rules(Some(Nanos::from_millis(1_999)));
        for seq in 0..30 {
            rules.add(&ended(seq, Nanos::from_millis(seq as i64 * 100)));
        }
        let late = Nanos::from_millis(60_000);
        assert_eq!(rules.look(&mut so_far(), Nanos::ZERO, late, late), None);
        // Requests were issued up to 2,899 ms, though, so it is told in the end.
        assert_eq!(
            rules.windows(Nanos::ZERO).map(|window| (window.to, window.windows)),
            Some((Nanos::from_millis(2_000), 2))
        );
    }
}
