//! Shows the results of a finished run, whether it has just ended or is read back: the table and the notes that belong to it.

use crate::printer::Printer;
use anyhow::Result;
use streamgauge_report::Style;
use streamgauge_report::native::console;
use streamgauge_run::{Files, StoredRun};

/// Prints the results of `run`. Returns whether its files are complete; if they are not, that is printed.
///
/// # Errors
/// When a file could not be given its name.
pub fn publish(run: &mut StoredRun, style: Style, printer: &Printer) -> Result<bool> {
    let failure = match std::mem::replace(&mut run.files, Files::None) {
        Files::RecordsFailed(error) => Some(error),
        Files::DocumentsFailed(error) => Some(error.into()),
        files => {
            run.files = files;
            None
        }
    };
    // If the records could not be read again, it is not known whether there was a steady state.
    let is_steady_state_known = failure.is_none() || run.summary.steady_state.is_some();
    let mut shown = run.plan.as_ref().clone();
    shown.measure.steady_state &= is_steady_state_known;
    printer.result(&console::render(style, &shown, &run.summary, printer.width()));
    if let Some(early) = &run.facts.ended_early {
        printer.note(&format!("the run ended early: {early}"));
    }
    // A run that was ended for its error budget has said so.
    let counts = run.counts;
    let over = run.plan.load.stop.over_budget(counts.failed, counts.failed + counts.ok);
    if let Some(over) = over.filter(|_| run.facts.ended_early.is_none()) {
        printer.note(&format!("the run is over its error budget: {over}"));
    }
    if let Some(satisfied) = &run.facts.satisfied {
        printer.note(&format!("the run ended: {satisfied}"));
    }
    for (file, bytes) in &run.left_out {
        printer.note(&format!("note: {bytes} bytes of the replies are not UTF-8 and are left out of {file}"));
    }
    let directory = run.directory.clone();
    let directory = directory.display();
    if let Some(error) = failure {
        printer.error(&format!("the artifacts in {directory} are not complete: {error:#}"));
        return Ok(false);
    }
    // A run that measured nothing has no files, and an earlier run's stay.
    if run.has_files()? {
        printer.result(&format!("Artifacts: {directory}"));
    }
    Ok(true)
}
