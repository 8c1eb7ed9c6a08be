//! Events of a run while it is prepared and executed. The front end decides which of them are shown, and how.

use streamgauge_core::Message;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::RunPlan;
use streamgauge_load::Progress;
use streamgauge_stats::Windows;

/// Hears what happens in a run. Its methods are called from several threads.
pub trait Listener: Send + Sync {
    /// Something that the user should know, on one line.
    fn note(&self, note: &Message);

    /// Something that only a user who asked for details wants to know, on one line.
    fn detail(&self, _detail: &Message) {}

    /// The load of `plan` begins; everything in it is settled now.
    fn started(&self, _plan: &RunPlan) {}

    /// The progress of the load at the time `now` of the run's clock.
    fn progress(&self, _progress: Progress, _now: Nanos) {}

    /// The load has ended.
    fn ended(&self) {}

    /// A window of the run has ended.
    fn window(&self, _windows: &Windows) {}
}
