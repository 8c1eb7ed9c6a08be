//! Reads the GPUs from the server's metrics page at a regular interval.

use super::background::{Background, Stopped};
use super::{Context, Observer, server_facts};
use crate::error::About;
use crate::listener::Listener;
use crate::prepare::triton::{LIMIT, Triton};
use crate::spec::Metrics;
use anyhow::{Result, anyhow};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::plan::{Endpoint, EndpointKind, RunPlan, Stamps, Transport};
use streamgauge_core::record::{GpuSample, RunFacts};
use streamgauge_core::{Setting, message};
use streamgauge_load::{Fetched, Routes, fetch};
use streamgauge_stats::server::{gpu_samples, prometheus};

/// Starts to read the page, if the user asked for it.
pub(super) fn start(context: &Context<'_>) -> Result<Option<Box<dyn Observer>>> {
    let Some(metrics) = &context.asked.metrics else { return Ok(None) };
    let page = Page::new(context.plan, metrics, context.clock)?;
    let first = page.read().about(|| {
        message![format!("cannot read metrics from {}{} (", metrics.target, metrics.path), Setting::MetricsUrl, ")"]
    })?;
    let samples = Background::start("metrics", move |stopped| page.sample(first, &stopped))?;
    Ok(Some(Box::new(MetricsPage { samples, triton: context.triton.cloned() })))
}

struct MetricsPage {
    samples: Background<Vec<GpuSample>>,
    triton: Option<Triton>,
}

impl Observer for MetricsPage {
    fn finish(self: Box<Self>, facts: &mut RunFacts, listener: &dyn Listener) -> Result<()> {
        let samples = self.samples.finish()?;
        if samples.is_empty() {
            listener.note(&"note: the server's metrics page names no GPU".into());
        }
        server_facts(facts, self.triton.as_ref()).gpus = samples;
        Ok(())
    }
}

/// The page, and how it is read.
struct Page {
    endpoint: Endpoint,
    routes: Routes,
    path: String,
    every: Nanos,
    clock: SystemClock,
}

impl Page {
    fn new(plan: &RunPlan, metrics: &Metrics, clock: SystemClock) -> Result<Page> {
        // An endpoint of its own: the page may be on another server, and is read by a plain GET.
        let endpoint = Endpoint {
            kind: EndpointKind::KserveHttp,
            target: metrics.target.clone(),
            others: Vec::new(),
            headers: Vec::new(),
            ..plan.endpoint.clone()
        };
        let transport = Transport { stamps: Stamps::User, ..plan.transport.clone() };
        let routes = Routes::find(&endpoint, &transport)?;
        Ok(Page { endpoint, routes, path: metrics.path.clone(), every: metrics.every, clock })
    }

    fn sample(self, mut samples: Vec<GpuSample>, stopped: &Stopped) -> Vec<GpuSample> {
        while stopped.should_continue(self.every.to_duration()) {
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
