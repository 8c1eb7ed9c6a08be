//! `report`: rebuilds a run's report from its records, also for a run that was killed.

use crate::args::ReportArgs;
use crate::console::Notes;
use crate::exit::Exit;
use crate::origins;
use crate::printer::Printer;
use crate::results::publish;
use crate::wording::native;
use anyhow::Result;
use streamgauge_run::reopen;

/// Rebuilds the report of a run.
pub fn run(args: ReportArgs, printer: &Printer) -> Result<Exit> {
    let mut run = reopen(&args.run, args.artifact_dir, &Notes { printer: *printer, wording: native })?;
    let is_complete = publish(&mut run, args.style, printer)?;
    let asked = origins::describe(&run.plan.asked, native, false);
    if args.verbose && !asked.is_empty() {
        printer.note(&format!("asked for: {asked}"));
    }
    Ok(if is_complete && run.counts.requests > 0 { Exit::Done } else { Exit::Nothing })
}
