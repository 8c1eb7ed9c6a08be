//! The results of several runs together: the tables between them and after the last, and the two files with all results.

use crate::printer::Printer;
use std::path::PathBuf;
use streamgauge_core::Stage;
use streamgauge_core::plan::RunPlan;
use streamgauge_report::artifacts::{ArtifactError, write_whole};
use streamgauge_report::native::levels::{self, LevelRuns, OneRun, SeriesEnd, console, file_stem, files};
use streamgauge_run::{Position, StoredRun};

/// The results of several runs so far.
pub struct Series {
    /// The plan of each level.
    plans: Vec<RunPlan>,
    /// The directory that holds the levels' directories.
    artifacts: PathBuf,
    results: levels::Series,
    /// Whether a level may have fewer runs than there may be.
    may_be_fewer: bool,
    /// Whether the runs of the last level have been compared.
    is_compared: bool,
    /// Whether the files could be written each time.
    is_written: bool,
}

/// A run that has ended.
pub struct Ended<'a> {
    /// The run.
    pub run: &'a StoredRun,
    /// The number of its prompts, and of those that an earlier run had too.
    pub prompts: (u32, u32),
}

impl Series {
    /// A series of `repeat` runs of each plan, or of at most that many if `may_be_fewer`. Its files are in `artifacts`.
    pub fn new(plans: Vec<RunPlan>, (repeat, may_be_fewer): (u32, bool), artifacts: PathBuf) -> Series {
        let results = levels::Series {
            streaming: plans.first().is_some_and(|plan| plan.endpoint.streaming),
            repeat,
            levels: Vec::new(),
            not_run: Vec::new(),
            ended_early: None,
        };
        Series { plans, artifacts, results, may_be_fewer, is_compared: true, is_written: true }
    }

    /// Prints the heading of the next run, and before it the comparison of the runs of a level that is over.
    pub fn begin(&mut self, Position { level, run }: Position, printer: &Printer) {
        if run == 0 {
            self.compare(printer);
        }
        let Some(plan) = self.plans.get(level) else { return };
        let (level_of, run_of) = ((level + 1, self.plans.len()), (run + 1, self.results.repeat));
        printer.result(&console::heading(&plan.load.mode.to_string(), level_of, run_of, self.may_be_fewer));
    }

    /// Adds a run, and writes the files anew, so that a kill loses no run that has ended. Returns whether another run may follow.
    pub fn add(&mut self, position: Position, Ended { run, prompts }: Ended<'_>, printer: &Printer) -> bool {
        let StoredRun { plan, directory, facts, summary, .. } = run;
        if position.run == 0 {
            self.results.levels.push(LevelRuns { load: plan.load.mode.clone(), runs: Vec::new() });
        }
        let entry = OneRun {
            directory: directory.strip_prefix(&self.artifacts).unwrap_or(directory).to_owned(),
            seed: plan.prompts.seed,
            prompts: prompts.0,
            prompts_known: prompts.1,
            summary: summary.clone(),
            interrupted: facts.interrupted,
            ended_early: facts.ended_early.clone(),
        };
        if let Some(level) = self.results.levels.last_mut() {
            level.runs.push(entry);
        }
        self.is_compared = false;
        self.results.ended_early = why_last(run);
        self.write(printer);
        self.results.ended_early.is_none()
    }

    /// A run could not be made, so none follows.
    pub fn fail(&mut self, why: String, printer: &Printer) {
        self.end_early(SeriesEnd::RunFailed(why), printer);
    }

    /// The user interrupted the series between two runs.
    pub fn interrupt(&mut self, printer: &Printer) {
        self.end_early(SeriesEnd::Interrupted, printer);
    }

    fn end_early(&mut self, end: SeriesEnd, printer: &Printer) {
        self.results.ended_early = Some(end);
        self.write(printer);
    }

    /// Prints what the runs come to together. Returns whether the files could be written each time.
    pub fn finish(mut self, printer: &Printer) -> bool {
        self.compare(printer);
        printer.result(&console::render(&self.results));
        printer.result(&format!("Levels: {} and .csv", self.file("json").display()));
        self.is_written
    }

    /// Prints how much the runs of the last level differ.
    fn compare(&mut self, printer: &Printer) {
        if !std::mem::replace(&mut self.is_compared, true)
            && let Some(level) = self.results.levels.last()
        {
            let between = console::between_runs(level, self.results.streaming);
            if !between.is_empty() {
                printer.result(&between);
            }
        }
    }

    fn write(&mut self, printer: &Printer) {
        let not_run = &self.plans[self.results.levels.len().min(self.plans.len())..];
        self.results.not_run = not_run.iter().map(|plan| plan.load.mode.clone()).collect();
        if let Err(error) = self.write_files() {
            printer.error(&error.to_string());
            self.is_written = false;
        }
    }

    fn write_files(&self) -> Result<(), ArtifactError> {
        write_whole(self.file("json"), |out| files::write_json(out, &self.results))?;
        write_whole(self.file("csv"), |out| files::write_csv(out, &self.results))
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.artifacts.join(format!("{}_levels.{extension}", file_stem(&self.plans, self.results.repeat)))
    }
}

/// Why no run may follow this one: the user interrupted it, or the server is unreachable. A level that merely failed is a result, and the
/// next one may do better.
fn why_last(StoredRun { facts, summary, counts, .. }: &StoredRun) -> Option<SeriesEnd> {
    if facts.interrupted {
        return Some(SeriesEnd::Interrupted);
    }
    let failures = &summary.failures;
    let is_unreached = |stage| matches!(stage, Stage::Dns | Stage::Connect | Stage::Tls);
    let is_gone = !failures.is_empty() && failures.iter().all(|group| is_unreached(group.stage));
    let is_hopeless = counts.ok == 0 && (is_gone || facts.ended_early.is_some());
    is_hopeless.then_some(SeriesEnd::NoneAnswered)
}
