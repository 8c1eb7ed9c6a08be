//! The loads of the levels, and the plan of each.

use super::{Calls, Measure, Task};
use crate::faces::perf_analyzer::args::{Distribution, PerfAnalyzerArgs, Range, ServiceKind};
use crate::faces::perf_analyzer::search::Search;
use crate::settings::{default_threads, useful_threads};
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::sync::Arc;
use streamgauge_core::arrival::{Arrival, Rate};
use streamgauge_core::load::{Arrivals, Growth, Load, Places};
use streamgauge_core::plan::{LoadPlan, Warmup};
use streamgauge_core::stop::StopRule;
use streamgauge_report::perf_analyzer::Label;
use streamgauge_run::RunSpec;

/// Responses of each of the latest requests after which a load grows.
const PERIOD: u32 = 10;

/// The kind of load.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// Requests at once.
    Concurrency(Range<u32>),
    /// Requests per second.
    Rate {
        /// How many.
        range: Range<f64>,
        /// How evenly they come.
        arrival: Arrival,
    },
    /// Requests that are sent once each; more are added as responses arrive.
    Growing(Growth),
    /// Gaps from a file.
    Intervals(PathBuf),
    /// Times of the input data.
    Schedule,
}

impl Mode {
    /// The load that the arguments ask for. The default is a concurrency of 1.
    ///
    /// # Errors
    /// A sentence that names the flag.
    pub fn of(args: &PerfAnalyzerArgs) -> Result<Mode> {
        let load = &args.load;
        let is_other = load.request_rate_range.is_some()
            || load.request_intervals.is_some()
            || load.fixed_schedule
            || load.periodic_concurrency_range.is_some();
        let deprecated = [("-d", load.dynamic), ("-t", load.threads.is_some()), ("-c", load.most.is_some())];
        if let Some((flag, _)) = deprecated.into_iter().find(|(_, given)| *given && is_other) {
            bail!("{flag} cannot be combined with another kind of load; leave out one of the two");
        }
        let arrival = match load.request_distribution {
            None | Some(Distribution::Constant) => Arrival::Constant,
            Some(Distribution::Poisson) => Arrival::Poisson,
        };
        if let Some(range) = load.periodic_concurrency_range {
            return growing(args, range).map(Mode::Growing);
        }
        Ok(match (load.request_rate_range, &load.request_intervals) {
            (Some(range), _) => Mode::Rate { range, arrival },
            (None, Some(file)) => Mode::Intervals(file.clone()),
            (None, None) if load.fixed_schedule => Mode::Schedule,
            (None, None) => Mode::Concurrency(load.concurrency_range.unwrap_or(Range { start: 1, end: 1, step: 1 })),
        })
    }

    /// Start and end of a range, and the flag that has it.
    fn range(&self) -> Option<(f64, f64, &'static str)> {
        match self {
            Mode::Concurrency(range) => Some((range.start.into(), range.end.into(), "--concurrency-range")),
            Mode::Rate { range, .. } => Some((range.start, range.end, "--request-rate-range")),
            Mode::Growing(_) | Mode::Intervals(_) | Mode::Schedule => None,
        }
    }
}

/// The load that grows over `range`, if the other arguments allow it.
fn growing(args: &PerfAnalyzerArgs, range: Range<u32>) -> Result<Growth> {
    let flag = "--periodic-concurrency-range";
    let Range { start, end, step } = range;
    if args.service_kind != ServiceKind::Triton || !args.request.streaming {
        bail!("{flag} needs streams of --service-kind triton; add -i grpc --streaming");
    }
    if args.report.profile_export_file.is_none() {
        bail!("{flag} writes only the export; add --profile-export-file FILE");
    }
    if end < start {
        bail!("{flag} {start}:{end}:{step}: give an end that is not below the start, as in 2:6:2");
    }
    if (end - start) % step != 0 {
        bail!(
            "{flag} {start}:{end}:{step}: steps of {step} from {start} do not reach {end} exactly; give a step that divides {}",
            end - start
        );
    }
    let measure = &args.measure;
    let counts = [
        ("--request-count", measure.request_count.is_some()),
        ("--warmup-request-count", measure.warmup_request_count > 0),
    ];
    if let Some((count, _)) = counts.into_iter().find(|(_, given)| *given) {
        bail!("{count}: the end of {flag} gives the number of requests; leave it out");
    }
    Ok(Growth { start, end, step, responses: args.load.request_period.unwrap_or(PERIOD) })
}

/// Refuses searches that could not end, and counts that do not go with the load.
///
/// # Errors
/// A sentence that names the flags.
pub fn check(args: &PerfAnalyzerArgs, mode: &Mode, measure: &Measure) -> Result<()> {
    let binary = args.measure.binary_search;
    let Some((start, end, flag)) = mode.range() else {
        if binary {
            bail!("--binary-search needs a range: --concurrency-range or --request-rate-range");
        }
        return schedule(args, mode, measure);
    };
    if end == 0.0 && measure.limit_ms.is_none() {
        bail!("{flag}: an end of 0 needs --latency-threshold");
    }
    if binary {
        if end == 0.0 {
            bail!("{flag}: a binary search needs an end above 0");
        }
        if measure.limit_ms.is_none() {
            bail!("--binary-search needs --latency-threshold");
        }
        if end < start {
            bail!("{flag}: the end of a binary search must not be below its start");
        }
    }
    let several = start < end || end == 0.0;
    for (given, name) in
        [(measure.requests.is_some(), "--request-count"), (measure.warmup > 0, "--warmup-request-count")]
    {
        if given && several {
            bail!("{name} cannot be combined with several levels ({flag}); give one level, or leave it out");
        }
    }
    match measure.requests {
        // A rate counts as whole requests per second.
        Some(count) if (count as f64) < start.floor() => {
            bail!("--request-count {count} is less than {flag} {start}; give at least that many")
        }
        _ => Ok(()),
    }
}

fn schedule(args: &PerfAnalyzerArgs, mode: &Mode, measure: &Measure) -> Result<()> {
    match mode {
        Mode::Intervals(file) if !file.is_file() => {
            bail!("--request-intervals {}: the file does not exist", file.display())
        }
        Mode::Schedule if let Some(count) = measure.requests => {
            bail!(
                "--request-count {count}: the input data of --fixed-schedule give the number of requests; leave it out"
            )
        }
        Mode::Schedule if args.request.input_data.iter().all(|data| !std::path::Path::new(data).is_file()) => {
            bail!("--fixed-schedule needs --input-data FILE with the times")
        }
        _ => Ok(()),
    }
}

/// The search over a mode's loads.
pub enum Levels {
    /// Over concurrencies.
    Concurrency(Search<u32>),
    /// Over rates.
    Rate(Search<f64>, Arrival),
    /// There is one load, until it was run.
    One(Option<Load>),
}

impl Levels {
    /// The search of `task`. `arrivals` are those of a file, if they come from one.
    pub fn new(task: &Task, arrivals: Option<Arrivals>) -> Levels {
        match (&task.mode, arrivals) {
            (Mode::Concurrency(range), _) => Levels::Concurrency(Search::new(*range, task.binary)),
            (Mode::Rate { range, arrival }, _) => Levels::Rate(Search::new(*range, task.binary), *arrival),
            (Mode::Growing(growth), _) => Levels::One(Some(Load::Growing(*growth))),
            (Mode::Intervals(_) | Mode::Schedule, None) => Levels::One(None),
            (Mode::Intervals(_) | Mode::Schedule, Some(arrivals)) => {
                Levels::One(Some(Load::Open { arrivals, cap: None }))
            }
        }
    }

    /// The next load. `passed` says whether the last one passed.
    pub fn next(&mut self, passed: bool, cap: Option<u32>) -> Option<Load> {
        let cap = cap.map(Places::all);
        match self {
            Levels::Concurrency(search) => Some(Load::concurrency(search.next(passed)?)),
            Levels::Rate(search, arrival) => {
                let rate = Rate::try_new(search.next(passed)?).ok()?;
                Some(Load::Open { arrivals: Arrivals::steady(rate, *arrival), cap })
            }
            Levels::One(load) => {
                let mut load = load.take()?;
                if let Load::Open { cap: none, .. } = &mut load {
                    *none = cap;
                }
                Some(load)
            }
        }
    }
}

/// Perf Analyzer's name for a level of that load.
pub fn label(load: &Load) -> Label {
    match load {
        Load::Concurrency(places) => Label::Concurrency(places.most),
        Load::Open { arrivals: Arrivals::Rate { rate, .. }, .. } | Load::Users { rate, .. } => {
            Label::Rate(rate.per_second())
        }
        Load::Open { arrivals, .. } => Label::Custom(arrivals.peak_rate()),
        // It has no rate.
        Load::Growing(_) => Label::Custom(0.0),
    }
}

impl Task {
    /// Requests in flight at most in an open loop, where calls wait for each other.
    pub fn cap(&self, calls: Calls) -> Option<u32> {
        (calls == Calls::Sync).then_some(self.most)
    }

    /// The run of a level of that load, which ends after `requests` if they are counted.
    pub fn spec(&self, load: Load, requests: Option<u64>) -> RunSpec {
        let mut spec = self.settings.spec.clone();
        let grace = spec.plan.load.stop.grace;
        let warmup = (self.measure.warmup > 0).then(|| Warmup {
            load: load.clone(),
            prefill: None,
            requests: Some(self.measure.warmup),
            duration: None,
            grace,
            // That tool's rates are over the time from the first request to the last end, in which all slots must be its own.
            hands_over: false,
        });
        let stop = match requests {
            // The grace period is for an end from outside: requests in flight are then awaited.
            Some(requests) => StopRule { grace, ..StopRule::after(requests) },
            None => StopRule { requests: None, stability: Some(self.measure.windows), ..spec.plan.load.stop.clone() },
        };
        let threads = default_threads().min(self.threads).min(useful_threads(&load, warmup.as_ref())).max(1);
        spec.plan.load = LoadPlan { mode: load, stop, warmup, ..spec.plan.load };
        spec.plan.transport.threads = threads;
        spec
    }
}

/// The arrivals of a schedule.
pub fn trace(file: PathBuf, dues: Vec<streamgauge_core::Nanos>) -> Arrivals {
    Arrivals::Trace { file, speedup: 1.0, dues: Arc::from(dues) }
}
