//! `profile`: find out what all runs share, make each run, report it.

use crate::advice;
use crate::console::Console;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::results::Results;
use crate::series::{Ended, Levels};
use crate::settings::Settings;
use crate::signals::{self, Signals};
use anyhow::Result;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use streamgauge_core::EarlyEnd;
use streamgauge_core::plan::{Endpoint, RunPlan};
use streamgauge_core::prompt::Prompt;
use streamgauge_core::record::{Failure, RunFacts};
use streamgauge_load::{Limits, Routes, forecast, spoken};
use streamgauge_report::genai::names::directory_name;
use streamgauge_run::hints::{self, Mishap};
use streamgauge_run::{Level, Measured, Recorded, measure, prepare, usage};

/// Prompts of a series by which it is known that one comes again: some 300 MB of hashes. What comes after them is not
/// remembered.
const REMEMBERED: usize = 1 << 24;

/// Profiles an endpoint: what all runs share is found out first, then each run is made.
pub fn run(mut settings: Settings, printer: &Printer) -> Result<Exit> {
    let listener = Console::listener(&settings, printer);
    let mut shared = prepare(&mut settings.spec, &listener)?;
    let levels = levels(&settings);
    levels.check_directories()?;
    for directory in levels.occupied() {
        printer.note(&format!(
            "note: {} holds the artifacts of an earlier run, which this run replaces when it has ended; --artifact-dir names another directory",
            directory.display()
        ));
    }
    let limits = Limits::of_this_system();
    for plan in &levels.plans {
        let notes = forecast(plan, &shared.routes, &limits).map_err(usage)?;
        notes.iter().for_each(|note| printer.note(&format!("note: {note}")));
        advice::say(&plan.load.mode, settings.verbose, printer);
    }
    if levels.are_several() && shared.makes_texts() {
        printer.note(
            "note: each run draws prompts of its own, so that none meets what another left in the server's cache",
        );
    }
    let signals = OnceCell::new();
    let is_interrupted = || signals.get().is_some_and(Signals::have_come);
    let mut sent = levels.are_several().then(HashSet::new);
    levels.run(printer, is_interrupted, |plan, directory| {
        let control = |plan: &_| signals::control(&signals, plan, printer);
        let measured = measure(plan, directory, &settings.spec, &mut shared, control, &listener)?;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let prompts = (count(measured.prompts.len()), count(remember(&mut sent, &measured.prompts)));
        let ended = report(&settings, measured, prompts, printer)?;
        tell_cause(&settings.spec.plan.endpoint, &ended, &shared.routes, printer);
        Ok(ended)
    })
}

/// Says what likely was the cause where no request was answered: a probe, had there been one, would have said it before load.
fn tell_cause(endpoint: &Endpoint, ended: &Ended, routes: &Routes, printer: &Printer) {
    let Some(group) = ended.summary.failures.first().filter(|_| ended.ok == 0) else { return };
    let failure = Failure { stage: group.stage, class: group.class, message: group.sample.clone() };
    // The message of an error status begins with it.
    let status = group.sample.split_once(':').and_then(|(status, _)| status.parse().ok());
    let spoken = hints::may_be_another_protocol(&failure).then(|| spoken(routes)).flatten();
    if let Some(hint) = hints::hint(&Mishap { failure: &failure, status, endpoint, spoken }) {
        printer.note(&format!("note: {} ({}): {hint}", group.class, group.stage));
    }
}

/// The runs that are to be made, each level in the directory that is named after it.
fn levels(settings: &Settings) -> Levels {
    let plan = |level: &Level| {
        let mut plan = level.of_plan(&settings.spec.plan);
        plan.output.artifacts.push(directory_name(&plan));
        plan
    };
    Levels {
        plans: settings.spec.levels.iter().map(plan).collect(),
        repeat: settings.spec.repeat,
        artifacts: settings.spec.plan.output.artifacts.clone(),
    }
}

/// Keeps in mind which prompts a run had, and says how many of them an earlier one had too.
fn remember(sent: &mut Option<HashSet<u64>>, prompts: &[Prompt]) -> usize {
    let Some(sent) = sent else { return 0 };
    let hash = |prompt: &Prompt| {
        let mut hasher = DefaultHasher::new();
        (&prompt.model, &prompt.texts()).hash(&mut hasher);
        hasher.finish()
    };
    let hashes: Vec<u64> = prompts.iter().map(hash).collect();
    let known = hashes.iter().filter(|hash| sent.contains(hash)).count();
    let room = REMEMBERED.saturating_sub(sent.len());
    sent.extend(hashes.into_iter().take(room));
    known
}

/// Writes the summaries, says everything, and decides how the process ends.
fn report(settings: &Settings, measured: Measured, prompts: (u32, u32), printer: &Printer) -> Result<Ended> {
    let Measured { plan, recorded, facts, artifacts, .. } = measured;
    let (summary, ok) = (recorded.summary.clone(), recorded.counts.ok);
    let exit = exit(settings, &plan, &recorded, &facts);
    let results =
        Results { style: settings.style, plan: &plan, facts: &facts, recorded, artifacts, dir: &plan.output.artifacts };
    let exit = if results.publish(printer)? { exit } else { Exit::Nothing };
    let RunFacts { interrupted, ended_early, .. } = facts;
    Ok(Ended { prompts, summary, ok, interrupted, ended_early, exit })
}

fn exit(settings: &Settings, plan: &RunPlan, Recorded { summary, counts, .. }: &Recorded, facts: &RunFacts) -> Exit {
    // A run that was ended for its budget may be within it again, with the answers that were still under way.
    let ended_over = matches!(facts.ended_early, Some(EarlyEnd::OverBudget(_)));
    let over = ended_over || plan.load.stop.over_budget(counts.failed, counts.failed + counts.ok).is_some();
    if facts.interrupted {
        Exit::Interrupted
    } else if over {
        Exit::Gate
    } else if summary.counts.ok == 0 || facts.ended_early.is_some() {
        Exit::Nothing
    } else if settings.require_fidelity.is_some_and(|wanted| summary.fidelity.verdict > wanted) {
        Exit::Gate
    } else {
        Exit::Done
    }
}
