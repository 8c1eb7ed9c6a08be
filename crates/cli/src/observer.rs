//! The server's own counters, asked for beside the load: when the measured part begins and when it is over, and in between as often
//! as its windows need. Nothing here touches a load thread.

use crate::triton::{LIMIT, Triton};
use anyhow::{Context, Result, anyhow};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::kserve::{ModelStatistics, Watched};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::{ServerFacts, Snapshot};
use streamgauge_core::stop::Window;
use streamgauge_load::kserve::Client;
use streamgauge_load::{Control, Routes};

/// How soon the start of the measured part is seen where a warm-up comes before it.
const START: Duration = Duration::from_millis(1);
/// How often counters are asked for where a window ends with a request: it is known only afterwards which.
const OFTEN: Nanos = Nanos::from_millis(100);
/// A server counts a request a little after its last response has left.
const SETTLE: Duration = Duration::from_millis(20);

/// Watches a server's counters until it is told to finish.
pub struct Observer {
    stop: Sender<()>,
    thread: JoinHandle<ServerFacts>,
}

impl Observer {
    /// Begins with the counters as they are now.
    ///
    /// # Errors
    /// When the server does not tell them.
    pub fn start(plan: &RunPlan, triton: &Triton, routes: &Routes, clock: SystemClock, control: Control) -> Result<Observer> {
        let watched = triton.watched.clone();
        let mut client = Client::new(&plan.endpoint, routes, clock, LIMIT.min(plan.timeouts.total))?;
        let first = counters(&mut client, &watched).context("the server's statistics cannot be had")?;
        let snapshots = vec![Snapshot { at: clock.now(), models: first }];
        let facts = ServerFacts { watched, snapshots, gpus: Vec::new() };
        let (stop, stopped) = channel();
        let (warmed, window) = (plan.warmup.is_some(), plan.stop.stability.map(|rule| rule.window));
        let watch = Watch { client, facts, clock, control, warmed, window, stopped };
        let thread = std::thread::Builder::new().name("observer".into()).spawn(move || watch.run())?;
        Ok(Observer { stop, thread })
    }

    /// Asks once more, and gives back all that was told.
    ///
    /// # Errors
    /// When this program failed.
    pub fn finish(self) -> Result<ServerFacts> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the observer stopped by an error of this program"))
    }
}

struct Watch {
    client: Client,
    facts: ServerFacts,
    clock: SystemClock,
    control: Control,
    warmed: bool,
    window: Option<Window>,
    stopped: Receiver<()>,
}

impl Watch {
    fn run(mut self) -> ServerFacts {
        if let Some(started) = self.started() {
            if self.warmed {
                // The first counters were taken before the warm-up.
                self.look();
            }
            let mut due = started;
            loop {
                let Some(every) = self.every() else {
                    let _ = self.stopped.recv();
                    break;
                };
                due = due + every;
                let wait = (due - self.clock.now()).max(Nanos::ZERO);
                if self.stopped.recv_timeout(wait.to_duration()) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                self.look();
            }
        }
        std::thread::sleep(SETTLE);
        self.look();
        self.facts
    }

    /// When the measured part began; none if the run was over before.
    fn started(&self) -> Option<Nanos> {
        loop {
            if let Some(started) = self.control.started() {
                return Some(started);
            }
            if self.stopped.recv_timeout(START) != Err(RecvTimeoutError::Timeout) {
                return None;
            }
        }
    }

    fn every(&self) -> Option<Nanos> {
        match self.window? {
            Window::Time(length) => Some(length.max(Nanos::from_millis(1))),
            Window::Requests(_) => Some(OFTEN),
        }
    }

    /// A question that is not answered leaves a gap, and no figure that would need it.
    fn look(&mut self) {
        let at = self.clock.now();
        if let Ok(models) = counters(&mut self.client, &self.facts.watched) {
            self.facts.snapshots.push(Snapshot { at, models });
        }
    }
}

/// The counters of the model and of those that it is composed of.
fn counters(client: &mut Client, watched: &Watched) -> Result<Vec<ModelStatistics>> {
    if watched.composing.is_empty() {
        return Ok(client.statistics(Some(&watched.name), watched.version.as_deref())?);
    }
    let mut models = client.statistics(None, None)?;
    models.retain(|model| watched.has(&model.name));
    Ok(models)
}
