//! Makes single runs, and keeps what the runs of one command share.

use crate::error::usage;
use crate::execute::execute;
use crate::listener::Listener;
use crate::prepare::prepare;
use crate::prepare::shared::Preparation;
use crate::spec::RunSpec;
use crate::stored::StoredRun;
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;
use streamgauge_core::message;
use streamgauge_core::plan::RunPlan;
use streamgauge_load::{Control, Limits, forecast};
use streamgauge_report::artifacts::{ArtifactError, RunDirectory};

/// Gives the handle by which a run can be ended.
type GetControl<'a> = dyn Fn(&RunPlan) -> Result<Control> + 'a;

/// Makes runs. What they share is found out before the first.
pub struct Runner<'a> {
    listener: Arc<dyn Listener>,
    control: Box<GetControl<'a>>,
    shared: Option<Preparation>,
    locked: Vec<RunDirectory>,
}

impl<'a> Runner<'a> {
    /// Makes runs that `listener` hears of. `control` is called just before a run sends its first request, and gives the handle by which
    /// the run can be ended; until the first call a signal ends the process.
    pub fn new(listener: Arc<dyn Listener>, control: impl Fn(&RunPlan) -> Result<Control> + 'a) -> Runner<'a> {
        Runner { listener, control: Box::new(control), shared: None, locked: Vec::new() }
    }

    /// Prepares everything that all runs share. The first call does the work, for the endpoint of `spec`.
    ///
    /// # Errors
    /// When the server cannot be found or asked, or a file or a tokenizer cannot be read.
    pub fn prepare(&mut self, spec: &RunSpec) -> Result<&mut Preparation> {
        prepared(&mut self.shared, spec, &self.listener)
    }

    /// The plan of the run that `spec` describes.
    ///
    /// # Errors
    /// As [`Runner::prepare`].
    pub fn plan(&mut self, spec: &RunSpec) -> Result<RunPlan> {
        Ok(self.prepare(spec)?.plan(spec))
    }

    /// The next run finds out anew what the runs after it share.
    pub fn forget(&mut self) {
        self.shared = None;
    }

    /// Compares what the run needs with the limits of this system, and says what may run out.
    ///
    /// # Errors
    /// When the run needs more at once than there is.
    pub fn check_limits(&mut self, spec: &RunSpec) -> Result<()> {
        let shared = self.prepare(spec)?;
        let notes = forecast(&shared.plan(spec), &shared.routes, &Limits::of_this_system()).map_err(usage)?;
        notes.into_iter().for_each(|note| self.listener.note(&message!["note: ", note]));
        Ok(())
    }

    /// Locks a directory until this value is dropped, so that no other process writes there between two runs. A run in that directory
    /// uses the same lock.
    ///
    /// # Errors
    /// When it cannot be made, or another process has locked it.
    pub fn lock(&mut self, directory: &Path) -> Result<(), ArtifactError> {
        if self.locked.iter().all(|locked| locked.path() != directory) {
            self.locked.push(RunDirectory::lock(directory)?);
        }
        Ok(())
    }

    /// Makes the run that `spec` asks for.
    ///
    /// # Errors
    /// When its prompts or its files cannot be made, or its test request is not answered.
    pub fn run(&mut self, spec: &RunSpec) -> Result<StoredRun> {
        let shared = prepared(&mut self.shared, spec, &self.listener)?;
        let path = shared.plan(spec).output.artifacts;
        let locked = self.locked.iter().find(|locked| locked.path() == path).cloned();
        let directory = locked.map_or_else(|| RunDirectory::lock(&path), Ok)?;
        execute(spec, directory, shared, &self.control, &self.listener)
    }
}

/// The content of `slot`, which is prepared for `spec` if it is empty.
fn prepared<'s>(
    slot: &'s mut Option<Preparation>,
    spec: &RunSpec,
    listener: &Arc<dyn Listener>,
) -> Result<&'s mut Preparation> {
    let shared = match slot.take() {
        Some(shared) => shared,
        None => prepare(spec, listener)?,
    };
    Ok(slot.insert(shared))
}
