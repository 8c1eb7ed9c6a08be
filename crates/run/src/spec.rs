//! The description of a run as a front end gives it.

use std::path::PathBuf;
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::Load;
use streamgauge_core::plan::{LoadPlan, RunPlan, Target, Warmup};
use streamgauge_core::stop::StopRule;
use streamgauge_prompt::{Dataset, SourceOptions};
use streamgauge_report::genai::names::directory_name;
use streamgauge_stats::windows::Lenience;

/// What one run is to measure, as it was asked for.
///
/// Preparation makes the plan of the run out of it and of what the server and the machine say: the models where none was named, the
/// tokenizer's name, the times in a file, and the run's own directory.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// The plan as far as it was asked for, with where each value came from. Its directory is the one that holds all runs of the command.
    pub plan: RunPlan,
    /// The run's own directory in that one.
    pub subdirectory: Subdirectory,
    /// Whether its files are kept. Those of a warm-up that is a run of its own are not.
    pub keeps_files: bool,
    /// Which run of its campaign it is.
    pub position: Position,
    /// Start a simulated server and measure that; it replaces the plan's target.
    pub sim: bool,
    /// The file of requests whose prompts are sent at the plan's own times; a trace that is replayed is in the plan's load.
    pub prompt_file: Option<PathBuf>,
    /// The data set of the hub whose prompts are sent. Preparation finds its files and puts them in the place of that file.
    pub dataset: Option<Dataset>,
    /// How that file, or the trace, is read. Preparation decides whether its times are followed.
    pub source: SourceOptions,
    /// Which part of the trace is replayed, where the plan replays one.
    pub trace_part: TracePart,
    /// The information that the server is asked for during the load.
    pub observe: Observe,
    /// The tokenizer that was asked for.
    pub tokenizer: Option<String>,
    /// Whether files that are not in the hub's cache may be downloaded into it.
    pub may_download: bool,
    /// Perf Analyzer's exceptions to the plan's rule about windows.
    pub lenience: Lenience,
    /// Notes for the user before the load.
    pub notes: Vec<String>,
}

/// The directory of a run within the directory of all runs of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subdirectory {
    /// Its name; without one, that which follows from the run's plan.
    pub name: Option<String>,
    /// The text that is added to the name.
    pub suffix: String,
    /// The number of the run, from 1, where the same plan is run several times: each run then has a directory of its own in that one.
    pub run: Option<u32>,
}

impl Subdirectory {
    /// The directory of a run of `plan`, whose own directory is that of all runs.
    pub(crate) fn path(&self, plan: &RunPlan) -> PathBuf {
        let name = self.name.clone().unwrap_or_else(|| directory_name(plan));
        let mut path = plan.output.artifacts.join(name + &self.suffix);
        path.extend(self.run.map(|run| format!("run-{run}")));
        path
    }
}

/// Which run of its campaign a run is, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The level, such as one concurrency.
    pub level: usize,
    /// The run of that level.
    pub run: u32,
}

/// The settings in which one level of a series differs from the others.
#[derive(Clone, Debug)]
pub struct Level {
    /// How load is offered.
    pub load: Load,
    /// When it ends.
    pub stop: StopRule,
    /// Load before the measured one.
    pub warmup: Option<Warmup>,
    /// Load threads.
    pub threads: u16,
}

impl Level {
    /// `spec` at this level.
    pub fn of_spec(&self, spec: &RunSpec) -> RunSpec {
        let Level { load, stop, warmup, threads } = self.clone();
        let mut spec = spec.clone();
        spec.plan.load = LoadPlan { mode: load, stop, warmup, ..spec.plan.load };
        spec.plan.transport.threads = threads;
        spec
    }
}

/// The part of a trace that is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TracePart {
    /// The timestamp that becomes the start; without one, 0.
    pub from: Option<Nanos>,
    /// The last timestamp.
    pub to: Option<Nanos>,
    /// Take the first timestamp as the start.
    pub from_first: bool,
}

/// The information that a server is asked for during the load.
#[derive(Clone, Debug, Default)]
pub struct Observe {
    /// Its counters.
    pub statistics: bool,
    /// Further models whose counters are wanted, each perhaps with a version behind a colon.
    pub composing: Vec<String>,
    /// Its metrics page.
    pub metrics: Option<Metrics>,
}

/// A metrics page and how often it is read.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The server that has it.
    pub target: Target,
    /// Its path on that server.
    pub path: String,
    /// From one reading to the next.
    pub every: Nanos,
}
