//! How often each level is run: the flags, and the strategy that they mean.

use crate::args::values::whole;
use anyhow::Result;
use clap::Args;
use streamgauge_core::plan::RunPlan;
use streamgauge_run::campaign::{Levels, Strategy};

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct RepeatArgs {
    /// Run each level so many times, with prompts of its own each time, and report how much the runs differ
    #[arg(long, visible_alias = "num-profile-runs", value_name = "N", default_value = "1", value_parser = whole::<u32>(1, 100), help_heading = "Load")]
    pub repeat: u32,
}

/// How often each level is run.
#[derive(Clone, Debug, PartialEq)]
pub enum Repeats {
    /// So often, at least once.
    Times(u32),
}

impl RepeatArgs {
    /// What the flags mean for runs of `plan`.
    ///
    /// # Errors
    /// A sentence that names the flag and what is accepted.
    pub fn resolve(&self, _plan: &RunPlan) -> Result<Repeats> {
        Ok(Repeats::Times(self.repeat))
    }
}

impl Repeats {
    /// The most runs of a level, and whether there may be fewer.
    pub fn most(&self) -> (u32, bool) {
        match self {
            Repeats::Times(times) => (*times, false),
        }
    }

    /// The strategy that runs `levels` so often.
    pub fn strategy(&self, levels: Levels) -> Box<dyn Strategy> {
        match self {
            Repeats::Times(_) => Box::new(levels),
        }
    }
}
