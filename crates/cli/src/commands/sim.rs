//! `sim`: run the simulated server until somebody ends it.

use crate::args::SimPlan;
use crate::commands::Exit;
use crate::printer::Printer;
use crate::signals;
use anyhow::{Context, Result};
use std::time::Duration;
use streamgauge_load::Control;
use streamgauge_sim::Sim;

/// How often the wish to end is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the server; its address is the one line on stdout, said once it listens.
pub fn run(plan: SimPlan, printer: &Printer) -> Result<Exit> {
    let control = Control::default();
    signals::watch(control.clone(), || {}).context("signals cannot be watched")?;
    let config = plan.config;
    let listing = config.models.join(", ");
    let sim = Sim::start(config, plan.bind).with_context(|| format!("cannot listen on {}", plan.bind))?;
    printer.result(&format!("listening on {} (models: {listing}); Ctrl-C ends it", sim.url()));
    while !control.is_interrupted() {
        std::thread::sleep(LOOK);
    }
    sim.stop().context("the log cannot be written")?;
    Ok(Exit::Done)
}
