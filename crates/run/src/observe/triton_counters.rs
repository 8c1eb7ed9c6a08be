//! The counters of a Triton server: read when the measured phase begins, when it is over, and in between at the ends of its
//! windows.

use super::background::{Background, Stopped};
use super::{Context, Observer, server_facts};
use crate::listener::Listener;
use crate::prepare::triton::{LIMIT, Triton};
use anyhow::{Context as _, Error, Result, anyhow};
use std::sync::mpsc::channel;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::kserve::{ModelStatistics, Watched};
use streamgauge_core::record::{RunFacts, Snapshot};
use streamgauge_core::stop::Window;
use streamgauge_load::{Client, Control};

/// How often it is checked whether the measured phase has begun, if a warm-up comes before it.
const START_CHECK: Duration = Duration::from_millis(1);
/// How often counters are read if a window ends with a request, since the request that ends it is known only afterwards.
const WITHIN_WINDOWS: Nanos = Nanos::from_millis(100);
/// The time between two polls that check whether the counters have stopped changing. A server counts a request slightly after its last
/// response has left.
const SETTLE: Duration = Duration::from_millis(20);
/// Give up after this many polls if other clients keep the counters moving.
const MOST_POLLS: u32 = 10;

/// Starts to follow the counters, if the user asked for them and the server has them.
pub(super) fn start(context: &Context<'_>) -> Result<Option<Box<dyn Observer>>> {
    let Some(triton) = context.triton.filter(|triton| triton.statistics) else { return Ok(None) };
    let series = Poller::start(context, triton)?;
    Ok(Some(Box::new(TritonCounters { series, triton: triton.clone() })))
}

struct TritonCounters {
    series: Background<Series>,
    triton: Triton,
}

impl Observer for TritonCounters {
    fn finish(self: Box<Self>, facts: &mut RunFacts, listener: &dyn Listener) -> Result<()> {
        let Series { snapshots, has_end } = self.series.finish()?;
        if !has_end {
            listener.note(
                &"note: could not read the server's statistics after the run; they are missing or incomplete".into(),
            );
        }
        server_facts(facts, Some(&self.triton)).snapshots = snapshots;
        Ok(())
    }
}

/// The counters over the time of the run.
#[derive(Default)]
struct Series {
    snapshots: Vec<Snapshot>,
    /// Whether the last snapshot is of the run's end.
    has_end: bool,
}

/// Reads the counters.
struct Poller {
    client: Client,
    watched: Watched,
    snapshots: Vec<Snapshot>,
    clock: SystemClock,
    control: Control,
    has_warmup: bool,
    window: Option<Window>,
}

impl Poller {
    /// Starts with the counters as they are now, which are read on the thread that goes on to read them.
    fn start(context: &Context<'_>, triton: &Triton) -> Result<Background<Series>> {
        let Context { plan, clock, .. } = *context;
        let (endpoint, routes, control) = (plan.endpoint.clone(), context.routes.clone(), context.control.clone());
        let limit = LIMIT.min(plan.transport.timeouts.total);
        let (watched, has_warmup) = (triton.watched.clone(), plan.load.warmup.is_some());
        let window = plan.load.stop.stability.map(|rule| rule.window);
        let (send_begun, begun) = channel();
        let series = Background::start("counters", move |stopped| {
            let poller = Client::new(&endpoint, &routes, clock, limit).map_err(Error::from).and_then(|mut client| {
                let models = settled(&mut client, &watched)?;
                let snapshots = vec![Snapshot { at: clock.now(), models }];
                Ok(Poller { client, watched, snapshots, clock, control, has_warmup, window })
            });
            match poller {
                Ok(poller) => {
                    let _ = send_begun.send(Ok(()));
                    poller.run(&stopped)
                }
                Err(error) => {
                    let _ = send_begun.send(Err(error));
                    Series::default()
                }
            }
        })?;
        begun
            .recv()
            .unwrap_or_else(|_| Err(anyhow!("the observer stopped by an error of this program")))
            .context("cannot read the server's statistics")?;
        Ok(series)
    }

    fn run(mut self, stopped: &Stopped) -> Series {
        if let Some(started) = self.wait_for_start(stopped) {
            if self.has_warmup {
                // The first counters were read before the warm-up.
                self.poll();
            }
            let mut due = started;
            while let Some(every) = self.interval() {
                due += every;
                let wait = (due - self.clock.now()).max(Nanos::ZERO);
                if !stopped.should_continue(wait.to_duration()) {
                    break;
                }
                self.poll();
            }
            if self.window.is_none() {
                stopped.wait();
            }
        }
        let has_end = self.poll_the_end();
        Series { snapshots: self.snapshots, has_end }
    }

    /// Polls until the counters stand still, and keeps the last ones. Returns whether the server answered at all.
    fn poll_the_end(&mut self) -> bool {
        let mut last: Option<Snapshot> = None;
        for _ in 0..MOST_POLLS {
            std::thread::sleep(SETTLE);
            let at = self.clock.now();
            let Ok(models) = ask(&mut self.client, &self.watched) else { break };
            if last.as_ref().is_some_and(|last| last.models == models) {
                break;
            }
            last = Some(Snapshot { at, models });
        }
        let answered = last.is_some();
        self.snapshots.extend(last);
        answered
    }

    /// Waits until the measured phase begins, and returns its start. Returns `None` if the run is over before.
    fn wait_for_start(&self, stopped: &Stopped) -> Option<Nanos> {
        loop {
            if let Some(started) = self.control.started() {
                return Some(started);
            }
            if !stopped.should_continue(START_CHECK) {
                return None;
            }
        }
    }

    /// The time between two polls, if the run has windows.
    fn interval(&self) -> Option<Nanos> {
        match self.window? {
            Window::Time(length) => Some(length.max(Nanos::from_millis(1))),
            Window::Requests(_) => Some(WITHIN_WINDOWS),
        }
    }

    /// Reads the counters once. A question that is not answered leaves a gap, and the figures that would need it are left out.
    fn poll(&mut self) {
        let at = self.clock.now();
        if let Ok(models) = ask(&mut self.client, &self.watched) {
            self.snapshots.push(Snapshot { at, models });
        }
    }
}

/// The counters once they stand still, so that nothing that was sent before, such as the probe, is counted later. If other
/// clients keep them moving, the last ones that were read.
fn settled(client: &mut Client, watched: &Watched) -> Result<Vec<ModelStatistics>> {
    let mut models = ask(client, watched)?;
    for _ in 0..MOST_POLLS {
        std::thread::sleep(SETTLE);
        let again = ask(client, watched)?;
        if std::mem::replace(&mut models, again) == models {
            break;
        }
    }
    Ok(models)
}

/// The counters of the model and of those that it is composed of.
fn ask(client: &mut Client, watched: &Watched) -> Result<Vec<ModelStatistics>> {
    if watched.composing.is_empty() {
        return Ok(client.statistics(Some(&watched.name), watched.version.as_deref())?);
    }
    let mut models = client.statistics(None, None)?;
    models.retain(|model| watched.has(&model.name));
    Ok(models)
}
