//! Campaigns: several runs, one after another, in one loop.
//!
//! A [`Strategy`] chooses the next run from the results of those before, a [`Runner`] makes it, and a [`Stage`], which belongs to the
//! front end, shows it and judges it. A new way to choose runs is a new file here.

mod levels;
mod runner;
mod until_narrow;

pub use levels::Levels;
pub use runner::Runner;
pub use until_narrow::UntilNarrow;

use crate::prepare::shared::Preparation;
use crate::spec::RunSpec;
use crate::stored::StoredRun;
use anyhow::{Error, Result};

/// Chooses the runs of a campaign. `V` is what the front end makes of a run, by which the next one is chosen.
pub trait Strategy<V = StoredRun> {
    /// The next run, or `None` if there is no other. `last` is the run before it.
    fn next(&mut self, last: Option<&V>) -> Option<RunSpec>;

    /// Whether all runs use the server that was found for the first. Otherwise each run is prepared separately.
    fn shares_server(&self) -> bool {
        true
    }
}

/// The front end's part around the runs of a campaign.
pub trait Stage<V = StoredRun> {
    /// A run is about to be made. What is known only now, such as the address of a server that was started for it, may be filled in.
    /// `None` ends the campaign before this run.
    ///
    /// # Errors
    /// When the run cannot be made; [`Stage::failed`] decides what that means.
    fn before(&mut self, spec: RunSpec, runner: &mut Runner<'_>) -> Result<Option<RunSpec>>;

    /// A run has ended. Returns what is made of it, or `None` if the campaign is to end with it.
    ///
    /// # Errors
    /// When nothing can be made of it; [`Stage::failed`] decides what that means.
    fn after(&mut self, run: StoredRun, shared: &mut Preparation) -> Result<Option<V>>;

    /// A run could not be made, which ends the campaign.
    ///
    /// # Errors
    /// When the whole campaign has failed with it. Otherwise what the runs before it came to is still reported.
    fn failed(&mut self, error: Error) -> Result<()>;
}

/// Makes the runs that `strategy` chooses.
///
/// # Errors
/// When `stage` says that the campaign has failed.
pub fn drive<V>(runner: &mut Runner<'_>, strategy: &mut dyn Strategy<V>, stage: &mut dyn Stage<V>) -> Result<()> {
    let mut last = None;
    while let Some(spec) = strategy.next(last.as_ref()) {
        if !strategy.shares_server() {
            runner.forget();
        }
        match one(spec, runner, stage) {
            Ok(Some(run)) => last = Some(run),
            Ok(None) => break,
            Err(error) => return stage.failed(error),
        }
    }
    Ok(())
}

fn one<V>(spec: RunSpec, runner: &mut Runner<'_>, stage: &mut dyn Stage<V>) -> Result<Option<V>> {
    let Some(spec) = stage.before(spec, runner)? else { return Ok(None) };
    let run = runner.run(&spec)?;
    stage.after(run, runner.prepare(&spec)?)
}

#[cfg(test)]
mod tests;
