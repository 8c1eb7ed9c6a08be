//! The last leg of every run, be it just over or read back: the summaries' files, the table, and what is to be said beside
//! it.

use crate::printer::Printer;
use anyhow::Result;
use std::path::Path;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::RunFacts;
use streamgauge_report::native::console;
use streamgauge_report::{Artifacts, Style};
use streamgauge_run::{Recorded, write_summaries};

/// Results and where they go.
pub struct Results<'a> {
    /// Layout of the table.
    pub style: Style,
    /// What the run was to do.
    pub plan: &'a RunPlan,
    /// What belongs to no single request.
    pub facts: &'a RunFacts,
    /// What the records came to.
    pub recorded: Recorded,
    /// The open files.
    pub artifacts: Artifacts,
    /// The directory that they are in.
    pub dir: &'a Path,
}

impl Results<'_> {
    /// Writes the summaries, says everything, and gives the files their names. Whether they are complete: when not, that
    /// has been said.
    ///
    /// # Errors
    /// When a file cannot get its name.
    pub fn publish(self, printer: &Printer) -> Result<bool> {
        let Results { style, plan, facts, recorded, mut artifacts, dir } = self;
        let Recorded { summary, counts, mut write_error, left_out } = recorded;
        if write_error.is_none() {
            write_error = write_summaries(plan, &summary, facts, &mut artifacts).err().map(Into::into);
        }
        // Where the records could not be read again it is not known whether there was a steady time.
        let known = write_error.is_none() || summary.steady_state.is_some();
        let mut shown = plan.clone();
        shown.measure.steady_state &= known;
        printer.result(&console::render(style, &shown, &summary, printer.width()));
        if let Some(early) = &facts.ended_early {
            printer.note(&format!("the run ended early: {early}"));
        }
        // A run that was ended for it has said so.
        let over = plan.load.stop.over_budget(counts.failed, counts.failed + counts.ok);
        if let Some(over) = over.filter(|_| facts.ended_early.is_none()) {
            printer.note(&format!("the run is over its error budget: {over}"));
        }
        if let Some(satisfied) = &facts.satisfied {
            printer.note(&format!("the run ended: {satisfied}"));
        }
        for (file, bytes) in left_out {
            printer.note(&format!("note: {bytes} bytes of the replies are not UTF-8 and are left out of {file}"));
        }
        if let Some(error) = write_error {
            // The files stay under their temporary names, readable as far as they go.
            printer.error(&format!("the artifacts in {} are not complete: {error:#}", dir.display()));
            return Ok(false);
        }
        // A run that measured nothing has nothing to put in the place of an earlier one.
        if artifacts.commit(counts.requests)? {
            printer.result(&format!("Artifacts: {}", dir.display()));
        }
        Ok(true)
    }
}
