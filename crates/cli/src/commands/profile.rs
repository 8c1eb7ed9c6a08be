//! `profile`: makes the run of each level, and reports it.

use crate::advice;
use crate::console::Console;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::results::publish;
use crate::series::{Ended, Series};
use crate::settings::Settings;
use crate::signals::{self, Signals};
use crate::wording::native;
use anyhow::{Error, Result};
use std::cell::OnceCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use streamgauge_core::EarlyEnd;
use streamgauge_core::plan::{Endpoint, RunPlan};
use streamgauge_core::record::{Failure, RunFacts};
use streamgauge_load::{Routes, spoken};
use streamgauge_report::Style;
use streamgauge_report::artifacts::check_directory;
use streamgauge_run::earlier;
use streamgauge_run::hints::{self, Mishap};
use streamgauge_run::{Levels, Position, Preparation, PromptsSent, RunSpec, Runner, Stage, StoredRun, drive, worded};
use streamgauge_stats::Grade;

/// The most prompts of a series that are remembered, so that one which comes again is noticed: some 300 MB of hashes.
const REMEMBERED: usize = 1 << 24;

/// Profiles an endpoint.
pub fn run(settings: Settings, printer: &Printer) -> Result<Exit> {
    let Settings { spec, levels, repeats, style, require_fidelity, verbose, .. } = &settings;
    let signals = OnceCell::new();
    let mut runner =
        Runner::new(Console::listener(&settings, printer), |plan| signals::control(&signals, plan, printer));
    let levels = Levels::new(spec.clone(), levels.clone(), repeats.most().0);
    let are_several = levels.count() > 1;
    runner.prepare(spec)?;
    let plans = levels.specs().map(|spec| runner.plan(&spec)).collect::<Result<Vec<RunPlan>>>()?;
    check_directories(&levels, &mut runner, printer)?;
    if runner.prepare(spec)?.makes_texts()
        && let Some(note) = earlier::note(&spec.plan.output.artifacts, &plans)
    {
        printer.note(&note.worded(native));
    }
    for (spec, plan) in levels.specs().zip(&plans) {
        runner.check_limits(&spec)?;
        advice::say(&plan.load.mode, *verbose, printer);
    }
    if are_several && runner.prepare(spec)?.makes_texts() {
        printer.note(
            "note: each run draws prompts of its own, so that none meets what another left in the server's cache",
        );
    }
    // No other run or series can write in the directory of a level before the last level has ended.
    plans.iter().try_for_each(|plan| runner.lock(&plan.output.artifacts))?;
    let mut profile = Profile {
        style: *style,
        require_fidelity: *require_fidelity,
        endpoint: runner.prepare(spec)?.endpoint.clone(),
        prompts_sent: are_several.then(HashSet::new),
        series: are_several.then(|| Series::new(plans, repeats.most(), spec.plan.output.artifacts.clone())),
        position: Position::default(),
        exit: Exit::Done,
        signals: &signals,
        printer,
    };
    drive(&mut runner, repeats.strategy(levels).as_mut(), &mut profile)?;
    let is_written = profile.series.is_none_or(|series| series.finish(printer));
    Ok(profile.exit.worse(if is_written { Exit::Done } else { Exit::Nothing }))
}

/// Checks that the directory of every run can be made, so that a run whose directory cannot be made fails now and not after hours. Says
/// which ones hold the files of earlier runs.
fn check_directories(levels: &Levels, runner: &mut Runner<'_>, printer: &Printer) -> Result<()> {
    let directories = levels.runs().map(|spec| Ok(runner.plan(&spec)?.output.artifacts));
    let directories = directories.collect::<Result<Vec<PathBuf>>>()?;
    directories.iter().try_for_each(|directory| check_directory(directory))?;
    for directory in directories.iter().filter(|directory| holds_artifacts(directory)) {
        printer.note(&format!(
            "note: {} holds the artifacts of an earlier run, which this run replaces when it has ended; --artifact-dir names another directory",
            directory.display()
        ));
    }
    Ok(())
}

fn holds_artifacts(directory: &Path) -> bool {
    // Names that begin with a dot are unfinished files of a killed run.
    let is_artifact = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
    };
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.any(is_artifact))
}

/// The work around each run.
struct Profile<'a> {
    style: Style,
    require_fidelity: Option<Grade>,
    endpoint: Endpoint,
    /// The prompts of all runs so far, if there are several runs.
    prompts_sent: Option<HashSet<u64>>,
    /// The runs so far, if there are several.
    series: Option<Series>,
    /// Which run is being made.
    position: Position,
    exit: Exit,
    signals: &'a OnceCell<Signals>,
    printer: &'a Printer,
}

impl Stage for Profile<'_> {
    fn before(&mut self, spec: RunSpec, _: &mut Runner<'_>) -> Result<Option<RunSpec>> {
        self.position = spec.position;
        let Some(series) = &mut self.series else { return Ok(Some(spec)) };
        if self.signals.get().is_some_and(Signals::have_come) {
            series.interrupt(self.printer);
            self.exit = self.exit.worse(Exit::Interrupted);
            return Ok(None);
        }
        series.begin(spec.position, self.printer);
        Ok(Some(spec))
    }

    fn after(&mut self, mut run: StoredRun, shared: &mut Preparation) -> Result<Option<StoredRun>> {
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let prompts = (count(run.prompts.count), count(remember(&mut self.prompts_sent, &run.prompts)));
        let exit = exit(self.require_fidelity, &run);
        let exit = if publish(&mut run, self.style, self.printer)? { exit } else { Exit::Nothing };
        say_cause(&self.endpoint, &run, &shared.routes, self.printer);
        self.exit = self.exit.worse(exit);
        let Some(series) = &mut self.series else { return Ok(Some(run)) };
        let goes_on = series.add(self.position, Ended { run: &run, prompts }, self.printer);
        Ok(goes_on.then_some(run))
    }

    fn failed(&mut self, error: Error) -> Result<()> {
        match &mut self.series {
            Some(series) if self.position != Position::default() => {
                let error = worded(&error, native);
                self.printer.error(&error);
                series.fail(error, self.printer);
                self.exit = self.exit.worse(Exit::Nothing);
                Ok(())
            }
            // Nothing was measured before it.
            _ => Err(error),
        }
    }
}

/// Names the likely cause if no request was answered. The test request, if there was one, would have reported it before the load.
fn say_cause(endpoint: &Endpoint, run: &StoredRun, routes: &Routes, printer: &Printer) {
    let Some(group) = run.summary.failures.first().filter(|_| run.counts.ok == 0) else { return };
    let failure = Failure { stage: group.stage, class: group.class, message: group.sample.clone() };
    let spoken = hints::may_be_another_protocol(&failure).then(|| spoken(routes)).flatten();
    if let Some(hint) = hints::hint(&Mishap { failure: &failure, status: group.status, endpoint, spoken }) {
        printer.note(&format!("note: {} ({}): {}", group.class, group.stage, hint.worded(native)));
    }
}

/// Remembers the prompts of a run, and returns how many of them an earlier run had too.
fn remember(sent: &mut Option<HashSet<u64>>, prompts: &PromptsSent) -> u64 {
    let Some(sent) = sent else { return 0 };
    let known = prompts.hashes.iter().filter(|hash| sent.contains(hash)).count();
    let room = REMEMBERED.saturating_sub(sent.len());
    sent.extend(prompts.hashes.iter().take(room));
    known as u64
}

/// How the process would end if this were its only run.
fn exit(require_fidelity: Option<Grade>, StoredRun { plan, facts, summary, counts, .. }: &StoredRun) -> Exit {
    let RunFacts { interrupted, ended_early, .. } = facts;
    // The share of failed requests of a run that was ended for its budget may be within it again, with the last answers.
    let is_ended_over = matches!(ended_early, Some(EarlyEnd::OverBudget(_)));
    let is_over = is_ended_over || plan.load.stop.over_budget(counts.failed, counts.failed + counts.ok).is_some();
    if *interrupted {
        Exit::Interrupted
    } else if is_over {
        Exit::Gate
    } else if summary.counts.ok == 0 || ended_early.is_some() {
        Exit::Nothing
    } else if require_fidelity.is_some_and(|wanted| summary.fidelity.verdict > wanted) {
        Exit::Gate
    } else {
        Exit::Done
    }
}
