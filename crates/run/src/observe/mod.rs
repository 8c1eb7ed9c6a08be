//! What the server tells of itself beside the load: its counters, asked for when the measured part begins, when it is over, and in
//! between as often as its windows need; and its metrics page. Nothing here touches a load thread.

use crate::listener::Listener;
use crate::prepare::triton::{LIMIT, Triton};
use crate::spec::Metrics;
use anyhow::{Context, Error, Result, anyhow};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::kserve::{ModelStatistics, Watched};
use streamgauge_core::plan::{Endpoint, EndpointKind, RunPlan, Stamps};
use streamgauge_core::record::{GpuSample, ServerFacts, Snapshot};
use streamgauge_core::stop::Window;
use streamgauge_load::Client;
use streamgauge_load::{Control, Fetched, Routes, fetch};
use streamgauge_stats::server::gpu_samples;
use streamgauge_stats::server::prometheus;

/// How soon the start of the measured part is seen where a warm-up comes before it.
const START: Duration = Duration::from_millis(1);
/// How often counters are asked for where a window ends with a request: it is known only afterwards which.
const OFTEN: Nanos = Nanos::from_millis(100);
/// A server counts a request a little after its last response has left: so long is waited before a look at the end, which is the last
/// one when it sees what the one before it saw.
const SETTLE: Duration = Duration::from_millis(20);
/// Looks at the end, where others keep the server counting.
const LAST_LOOKS: u32 = 10;

/// Watches a server until it is told to finish.
pub struct Observer {
    watched: Watched,
    counters: Option<Beside<Counted>>,
    gpus: Option<Beside<Vec<GpuSample>>>,
}

impl Observer {
    /// Begins with the counters and the page as they are now.
    ///
    /// # Errors
    /// When the server does not tell them.
    pub fn start(
        plan: &RunPlan,
        triton: &Triton,
        routes: &Routes,
        clock: SystemClock,
        control: Control,
    ) -> Result<Observer> {
        let counters = triton.statistics.then(|| Counters::start(plan, triton, routes, clock, control)).transpose()?;
        let gpus = triton.metrics.as_ref().map(|metrics| Page::start(plan, metrics, clock)).transpose()?;
        Ok(Observer { watched: triton.watched.clone(), counters, gpus })
    }

    /// Asks once more, and gives back all that was told. A page without GPUs is said.
    ///
    /// # Errors
    /// When this program failed.
    pub fn finish(self, listener: &dyn Listener) -> Result<ServerFacts> {
        let counted = self.counters.map(Beside::finish).transpose()?;
        if counted.as_ref().is_some_and(|counted| !counted.last) {
            listener.note(
                "note: the server did not tell its statistics when the run was over: they are left out, or end before",
            );
        }
        let snapshots = counted.map(|counted| counted.snapshots).unwrap_or_default();
        let is_asked = self.gpus.is_some();
        let gpus = self.gpus.map(Beside::finish).transpose()?.unwrap_or_default();
        if is_asked && gpus.is_empty() {
            listener.note("note: the server's metrics tell of no GPU");
        }
        Ok(ServerFacts { watched: self.watched, snapshots, gpus })
    }
}

/// Work on a thread of its own that ends when it is told to.
struct Beside<T> {
    stop: Sender<()>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Beside<T> {
    fn start(name: &str, work: impl FnOnce(Receiver<()>) -> T + Send + 'static) -> Result<Beside<T>> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || work(stopped))?;
        Ok(Beside { stop, thread })
    }

    fn finish(self) -> Result<T> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the observer stopped by an error of this program"))
    }
}

/// Whether the work is to go on, once `wait` is over.
fn goes_on(stopped: &Receiver<()>, wait: Duration) -> bool {
    stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout)
}

/// What was told of the counters.
#[derive(Default)]
struct Counted {
    snapshots: Vec<Snapshot>,
    /// Whether there is one of the run's end.
    last: bool,
}

/// Follows the counters.
struct Counters {
    client: Client,
    watched: Watched,
    snapshots: Vec<Snapshot>,
    clock: SystemClock,
    control: Control,
    warmed: bool,
    window: Option<Window>,
}

impl Counters {
    fn start(
        plan: &RunPlan,
        triton: &Triton,
        routes: &Routes,
        clock: SystemClock,
        control: Control,
    ) -> Result<Beside<Counted>> {
        let (endpoint, routes) = (plan.endpoint.clone(), routes.clone());
        let limit = LIMIT.min(plan.transport.timeouts.total);
        let (watched, warmed) = (triton.watched.clone(), plan.load.warmup.is_some());
        let window = plan.load.stop.stability.map(|rule| rule.window);
        let (tell, told) = channel();
        let counters = Beside::start("counters", move |stopped| {
            let begun = Client::new(&endpoint, &routes, clock, limit).map_err(Error::from).and_then(|mut client| {
                let models = settled(&mut client, &watched)?;
                let snapshots = vec![Snapshot { at: clock.now(), models }];
                Ok(Counters { client, watched, snapshots, clock, control, warmed, window })
            });
            match begun {
                Ok(counters) => {
                    let _ = tell.send(Ok(()));
                    counters.run(&stopped)
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                    Counted::default()
                }
            }
        })?;
        told.recv()
            .unwrap_or_else(|_| Err(anyhow!("the observer stopped by an error of this program")))
            .context("the server's statistics cannot be had")?;
        Ok(counters)
    }

    fn run(mut self, stopped: &Receiver<()>) -> Counted {
        if let Some(started) = self.started(stopped) {
            if self.warmed {
                // The first counters were taken before the warm-up.
                self.look();
            }
            let mut due = started;
            while let Some(every) = self.every() {
                due += every;
                let wait = (due - self.clock.now()).max(Nanos::ZERO);
                if !goes_on(stopped, wait.to_duration()) {
                    break;
                }
                self.look();
            }
            if self.window.is_none() {
                let _ = stopped.recv();
            }
        }
        let last = self.settle();
        Counted { snapshots: self.snapshots, last }
    }

    /// Looks until nothing is counted any more. Whether the server told anything.
    fn settle(&mut self) -> bool {
        let mut last: Option<Snapshot> = None;
        for _ in 0..LAST_LOOKS {
            std::thread::sleep(SETTLE);
            let at = self.clock.now();
            let Ok(models) = ask(&mut self.client, &self.watched) else { break };
            if last.as_ref().is_some_and(|last| last.models == models) {
                break;
            }
            last = Some(Snapshot { at, models });
        }
        let told = last.is_some();
        self.snapshots.extend(last);
        told
    }

    /// When the measured part began; none if the run was over before.
    fn started(&self, stopped: &Receiver<()>) -> Option<Nanos> {
        loop {
            if let Some(started) = self.control.started() {
                return Some(started);
            }
            if !goes_on(stopped, START) {
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
        if let Ok(models) = ask(&mut self.client, &self.watched) {
            self.snapshots.push(Snapshot { at, models });
        }
    }
}

/// The counters once they stand still, so that none of what was sent before this, such as the probe, is counted after it. Where
/// others keep the server counting, the last ones that were looked at.
fn settled(client: &mut Client, watched: &Watched) -> Result<Vec<ModelStatistics>> {
    let mut models = ask(client, watched)?;
    for _ in 0..LAST_LOOKS {
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

/// Follows the metrics page.
struct Page {
    endpoint: Endpoint,
    routes: Routes,
    path: String,
    every: Nanos,
    clock: SystemClock,
}

impl Page {
    fn start(plan: &RunPlan, metrics: &Metrics, clock: SystemClock) -> Result<Beside<Vec<GpuSample>>> {
        // An endpoint of its own: the page is somewhere else, and is read as any page.
        let endpoint = Endpoint {
            kind: EndpointKind::KserveHttp,
            target: metrics.target.clone(),
            others: Vec::new(),
            headers: Vec::new(),
            ..plan.endpoint.clone()
        };
        let routes = Routes::find(&endpoint, Stamps::User)?;
        let page = Page { endpoint, routes, path: metrics.path.clone(), every: metrics.every, clock };
        let first = page
            .read()
            .with_context(|| format!("--metrics-url {}{}: the metrics cannot be had", metrics.target, metrics.path))?;
        Beside::start("metrics", move |stopped| page.run(first, &stopped))
    }

    fn run(self, mut samples: Vec<GpuSample>, stopped: &Receiver<()>) -> Vec<GpuSample> {
        while goes_on(stopped, self.every.to_duration()) {
            samples.extend(self.read().unwrap_or_default());
        }
        samples
    }

    fn read(&self) -> Result<Vec<GpuSample>> {
        let at = self.clock.now();
        let Fetched { status, body, .. } = fetch(&self.endpoint, &self.routes, self.clock, &self.path, LIMIT)?;
        if status != 200 {
            return Err(anyhow!("the server answers {status}"));
        }
        Ok(gpu_samples(&prometheus::samples(&String::from_utf8_lossy(&body)), at))
    }
}
