//! Observes things that change during the load and that no request shows.
//!
//! An observer is a file in this folder and a line of [`OBSERVERS`]. It starts before the load, samples on its own thread ([`Background`])
//! and keeps each sample with its time on the run's clock; after the load it adds its series to the run's facts. No observer touches a
//! load thread.

mod background;
mod metrics_page;
mod triton_counters;

use crate::listener::Listener;
use crate::prepare::triton::Triton;
use crate::spec::Observe;
use anyhow::Result;
use streamgauge_core::clock::SystemClock;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::{RunFacts, ServerFacts};
use streamgauge_load::{Control, Routes};

/// An observation during a run.
pub(crate) trait Observer {
    /// Ends the observation and adds its series to `facts`. Notes for the user go to `listener`.
    ///
    /// # Errors
    /// When the observer's thread panicked.
    fn finish(self: Box<Self>, facts: &mut RunFacts, listener: &dyn Listener) -> Result<()>;
}

/// The parts of the run that an observer can see.
pub(crate) struct Context<'a> {
    /// The plan that runs.
    pub plan: &'a RunPlan,
    /// The observations that the front end asked for.
    pub asked: &'a Observe,
    /// The description of a Triton server's model, if the server is one.
    pub triton: Option<&'a Triton>,
    /// The addresses of the plan's servers.
    pub routes: &'a Routes,
    /// The run's clock.
    pub clock: SystemClock,
    /// Says when the measured phase has started.
    pub control: Control,
}

/// Starts an observer with a first sample. Returns `None` if the run is to be made without it, and an error if what it observes
/// cannot be read.
type Start = fn(&Context<'_>) -> Result<Option<Box<dyn Observer>>>;

/// The observers, in the order in which they are started and finished.
const OBSERVERS: &[Start] = &[triton_counters::start, metrics_page::start];

/// The observers of one run.
pub(crate) struct Observers(Vec<Box<dyn Observer>>);

impl Observers {
    /// Starts all observers that the run is to have.
    ///
    /// # Errors
    /// When one of them cannot read what it observes.
    pub fn start(context: &Context<'_>) -> Result<Observers> {
        let started = OBSERVERS.iter().filter_map(|start| start(context).transpose());
        Ok(Observers(started.collect::<Result<_>>()?))
    }

    /// Ends all observations and adds their series to `facts`.
    ///
    /// # Errors
    /// When the thread of one of them panicked.
    pub fn finish(self, facts: &mut RunFacts, listener: &dyn Listener) -> Result<()> {
        self.0.into_iter().try_for_each(|observer| observer.finish(facts, listener))
    }
}

/// The facts about the server, begun with the names of the watched models if no other observer has begun them.
fn server_facts<'a>(facts: &'a mut RunFacts, triton: Option<&Triton>) -> &'a mut ServerFacts {
    let watched = || triton.map(|triton| triton.watched.clone()).unwrap_or_default();
    facts.server.get_or_insert_with(|| ServerFacts { watched: watched(), ..ServerFacts::default() })
}
