//! One level after its run: its figures, its verdict, and whether the search continues.

use super::settings::Task;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use streamgauge_core::record::RunFacts;
use streamgauge_report::perf_analyzer::{Label, LevelReport};
use streamgauge_run::StoredRun;
use streamgauge_stats::perf_analyzer::{ClientFigures, FoldPlan, LevelFold};
use streamgauge_stats::server::{GpuFigures, GpuFold, ServerFigures, StatisticsError};
use streamgauge_stats::{Pass, Span};

/// The windows of the level.
#[derive(Clone, Debug, Default)]
pub struct Passes {
    /// The complete windows.
    pub passes: Vec<Pass>,
    /// Whether they count as stable because of their throughputs alone.
    pub by_throughput: bool,
}

/// The outcome of a level.
#[derive(Debug)]
pub enum Outcome {
    /// It is one of the results.
    Passed(Box<LevelReport>),
    /// Its latency reached the limit.
    Over {
        /// Whether its windows agreed.
        stable: bool,
    },
    /// Its windows did not agree.
    Unstable,
    /// No request was answered in the measured time.
    Nothing,
}

/// The time span of a level's figures: its last windows, or all of it.
pub fn span(facts: &RunFacts) -> Option<Span> {
    facts.window.map(|window| Span { from: window.from, to: window.to })
}

/// Computes the client's figures from the records of `run`, or returns `None` without a successful request.
///
/// # Errors
/// When the records cannot be read.
pub fn client(run: &StoredRun, task: &Task) -> Result<Option<ClientFigures>> {
    let StoredRun { plan, facts, directory, .. } = run;
    let mut fold = LevelFold::new(FoldPlan {
        // A level that is counted has no windows, but may be judged by a percentile all the same.
        percentile: task.measure.windows.percentile,
        batch: task.inputs.options.batch,
        decoupled: plan.endpoint.kserve.decoupled,
        span: span(facts),
    });
    for record in run.records()? {
        fold.add(&record.with_context(|| format!("{}: the records cannot be read", directory.display()))?);
    }
    Ok(fold.close(&facts.threads))
}

/// Computes the server's figures over the same time span, or returns `None` if the server reported no counters.
///
/// # Errors
/// When they show no request.
pub fn server(facts: &RunFacts) -> Result<Option<ServerFigures>, StatisticsError> {
    let Some(server) = &facts.server else { return Ok(None) };
    let (from, to) = span(facts).map_or((facts.started, facts.ended), |span| (span.from, span.to));
    ServerFigures::over(server, from, to)
}

/// The figures of the server's GPUs over the same time span, or `None` if they were not requested.
pub fn gpus(facts: &RunFacts, collected: bool) -> Option<BTreeMap<String, GpuFigures>> {
    let server = facts.server.as_ref().filter(|_| collected)?;
    let span = span(facts).unwrap_or(Span { from: facts.started, to: facts.ended });
    let mut fold = GpuFold::default();
    server.gpus.iter().filter(|sample| span.contains(sample.at)).for_each(|sample| fold.add(sample));
    Some(fold.close())
}

/// Judges a level by Perf Analyzer's rules: first by the limit, in whole milliseconds, then by its windows.
pub fn judge(task: &Task, facts: &RunFacts, passes: Passes, label: Label, figures: Option<Figures>) -> Outcome {
    let Some(Figures { client, server, gpus }) = figures else { return Outcome::Nothing };
    let Some(latency) = client.stabilizing_us(task.measure.windows.percentile) else { return Outcome::Nothing };
    let millis = latency / 1000;
    // One that was counted has no windows, and one that was ended from outside none that must agree.
    let counted = facts.window.is_none() || facts.interrupted;
    let stable = counted || facts.window.is_some_and(|window| window.stable);
    if task.measure.limit_ms.is_some_and(|limit| millis >= limit) {
        return Outcome::Over { stable };
    }
    if !stable {
        return Outcome::Unstable;
    }
    Outcome::Passed(Box::new(LevelReport { label, passes: passes.passes, client, server, gpus, stable }))
}

/// A level's figures.
#[derive(Debug)]
pub struct Figures {
    /// The client's.
    pub client: ClientFigures,
    /// The server's.
    pub server: Option<ServerFigures>,
    /// Its GPUs', by UUID.
    pub gpus: Option<BTreeMap<String, GpuFigures>>,
}
