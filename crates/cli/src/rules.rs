//! Ends that depend on figures: asked of the records as they come in.

use anyhow::Result;
use streamgauge_core::Record;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::WindowFacts;
use streamgauge_stats::windows::LATE;
use streamgauge_stats::{Accumulator, Confidence, Windows};

/// The plan's rules that only records can keep.
#[derive(Debug)]
pub struct Rules {
    windows: Option<Windows>,
    confidence: Option<Confidence>,
    /// When the plan stops issuing by the clock, from the start: what ends after that is no longer under the plan's load.
    duration: Option<Nanos>,
}

impl Rules {
    /// As the plan says.
    ///
    /// # Errors
    /// When no run of this plan could meet one of them.
    pub fn of(plan: &RunPlan) -> Result<Rules> {
        Ok(Rules {
            windows: plan.stop.stability.map(Windows::new),
            confidence: Confidence::of(plan)?,
            duration: plan.stop.duration,
        })
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.windows.is_some() || self.confidence.is_some()
    }

    /// Takes a record in.
    pub fn add(&mut self, record: &Record) {
        if let Some(windows) = &mut self.windows {
            windows.add(record);
        }
    }

    /// Looks whether the run is to end, and says why. `known` is when every record that there was had come in, `now` the
    /// time.
    pub fn look(&mut self, so_far: &mut Accumulator, started: Nanos, known: Nanos, now: Nanos) -> Option<String> {
        let until = self.duration.map_or(known - LATE, |duration| (known - LATE).min(started + duration));
        let agreed = self.windows.as_mut().and_then(|windows| windows.look(started, until));
        agreed.or_else(|| self.confidence.as_mut()?.look(so_far, now))
    }

    /// The windows that the figures are of, once the run is over.
    pub fn windows(self, started: Nanos) -> Option<WindowFacts> {
        self.windows?.close(started)
    }
}
