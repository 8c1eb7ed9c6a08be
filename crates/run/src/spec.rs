//! What is to be measured, as a front end asks for it.

use std::path::PathBuf;
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::Load;
use streamgauge_core::plan::{LoadPlan, RunPlan, Target, Warmup};
use streamgauge_core::stop::StopRule;
use streamgauge_stats::windows::Lenience;

/// What is to be measured. The plan still lacks what only the server and the machine can say: the models where none was named, the
/// tokenizer's name, and the directory that is named after the model.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// The plan of the first level; `levels` has what differs in the others.
    pub plan: RunPlan,
    /// The levels in their order, the first included.
    pub levels: Vec<Level>,
    /// How often each level is run, at least once.
    pub repeat: u32,
    /// Whether the user chose the member that asks for an output length, which is then kept.
    pub chosen_length_field: bool,
    /// Start a simulated server and measure that; it replaces the plan's target.
    pub sim: bool,
    /// The file of requests whose prompts are sent at the plan's own times; a trace that is replayed is in the plan's load.
    pub prompt_file: Option<PathBuf>,
    /// Which part of the trace is replayed, where the plan replays one.
    pub trace_part: TracePart,
    /// What the server is asked about itself beside the load.
    pub observe: Observe,
    /// The tokenizer that was asked for.
    pub tokenizer: Option<String>,
    /// What ends a row of windows beyond the plan's rule.
    pub lenience: Lenience,
    /// What the user should know before load.
    pub notes: Vec<String>,
}

/// What one level of a series has otherwise than the others.
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
    /// `plan` at this level.
    pub fn of_plan(&self, plan: &RunPlan) -> RunPlan {
        let Level { load, stop, warmup, threads } = self.clone();
        let mut plan = plan.clone();
        plan.load = LoadPlan { mode: load, stop, warmup, ..plan.load };
        plan.transport.threads = threads;
        plan
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

/// What a server is asked about itself beside the load.
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
