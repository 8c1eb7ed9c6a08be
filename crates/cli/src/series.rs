//! A series: a run for each level and each repeat of it, one after another, and what they come to together. It knows nothing
//! of how a run is made.

use crate::exit::Exit;
use crate::printer::Printer;
use anyhow::Result;
use std::path::PathBuf;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::{EarlyEnd, Stage};
use streamgauge_report::artifacts::{ArtifactError, RunDirectory, check_directory, write_whole};
use streamgauge_report::native::levels::{LevelRuns, OneRun, Series, SeriesEnd, console, file_stem, files};
use streamgauge_stats::Summary;

/// What is to be run.
pub struct Levels {
    /// The plan of each level, all but for what each of its runs has of its own; at least one.
    pub plans: Vec<RunPlan>,
    /// How often each is run, at least once.
    pub repeat: u32,
    /// The directory that holds the levels' directories.
    pub artifacts: PathBuf,
}

/// A run that has ended.
pub struct Ended {
    /// Its prompts, and those of them that an earlier run had too.
    pub prompts: (u32, u32),
    /// What it came to.
    pub summary: Summary,
    /// How many of its requests were answered, in whichever part of it.
    pub ok: u64,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// Why it ended before its plan.
    pub ended_early: Option<EarlyEnd>,
    /// How the process would end, were it the only one.
    pub exit: Exit,
}

impl Levels {
    /// Whether there is more than one run.
    pub fn are_several(&self) -> bool {
        self.plans.len() > 1 || self.repeat > 1
    }

    /// The plans of all runs in their order, each with its level's index and its own, from 0. Each run of a series has prompts
    /// of its own, since a server that keeps prefixes would answer the same ones faster when they come again; the first
    /// has those that it would have alone.
    fn runs(&self) -> impl Iterator<Item = (usize, u32, RunPlan)> {
        let every = (0..self.plans.len()).flat_map(|level| (0..self.repeat).map(move |run| (level, run)));
        every.zip(0..).map(|((level, run), number)| {
            let mut plan = self.plans[level].clone();
            plan.prompts.seed = plan.prompts.seed.of_run(number);
            if self.repeat > 1 {
                plan.output.artifacts.push(format!("run-{}", run + 1));
            }
            (level, run, plan)
        })
    }

    /// Looks whether every run's directory can be made, so that one that cannot fails here and not after hours.
    ///
    /// # Errors
    /// When one cannot.
    pub fn check_directories(&self) -> Result<(), ArtifactError> {
        self.runs().try_for_each(|(_, _, plan)| check_directory(&plan.output.artifacts))
    }

    /// Locks the directory of every level, so that no other run or series can write there before the last level of this one has
    /// ended. Equal directories are locked once.
    fn lock_directories(&self) -> Result<Vec<RunDirectory>, ArtifactError> {
        let mut locked: Vec<RunDirectory> = Vec::new();
        for plan in &self.plans {
            let same = locked.iter().find(|directory| directory.path() == plan.output.artifacts).cloned();
            locked.push(same.map_or_else(|| RunDirectory::lock(&plan.output.artifacts), Ok)?);
        }
        Ok(locked)
    }

    /// The directories of runs that hold the artifacts of earlier ones.
    pub fn occupied(&self) -> impl Iterator<Item = PathBuf> {
        // What begins with a dot is what a killed run left unfinished.
        let is_artifact = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        };
        let holds_some =
            move |directory: &PathBuf| std::fs::read_dir(directory).is_ok_and(|mut entries| entries.any(is_artifact));
        self.runs().map(|(_, _, plan)| plan.output.artifacts).filter(holds_some)
    }

    /// Makes every run by `one`, in the directory that it is given, unless a signal, which `is_interrupted` tells of, or a server that is gone ends the series
    /// before. Its files are written anew after each run, so that a kill loses none that has ended.
    ///
    /// # Errors
    /// When another run writes in the directory of a level, and those of the first run. A later one's are said, and end the series with what there is.
    pub fn run(
        &self,
        printer: &Printer,
        is_interrupted: impl Fn() -> bool,
        mut one: impl FnMut(RunPlan, RunDirectory) -> Result<Ended>,
    ) -> Result<Exit> {
        let locked = self.lock_directories()?;
        let mut one = |level: usize, plan: RunPlan| {
            // A level's repeats have directories of their own in it.
            let directory =
                if self.repeat > 1 { RunDirectory::lock(&plan.output.artifacts)? } else { locked[level].clone() };
            one(plan, directory)
        };
        let mut series = Series {
            streaming: self.plans[0].endpoint.streaming,
            repeat: self.repeat,
            levels: Vec::new(),
            not_run: Vec::new(),
            ended_early: None,
        };
        let mut exit = Exit::Done;
        for (level, run, plan) in self.runs() {
            if !self.are_several() {
                return Ok(one(level, plan)?.exit);
            }
            let (level_of, run_of) = ((level + 1, self.plans.len()), (run + 1, self.repeat));
            printer.result(&console::heading(&plan.load.mode.to_string(), level_of, run_of));
            match one(level, plan.clone()) {
                Err(error) if (level, run) == (0, 0) => return Err(error),
                Err(error) => {
                    printer.error(&format!("{error:#}"));
                    series.ended_early = Some(SeriesEnd::RunFailed(format!("{error:#}")));
                    exit = worse(exit, Exit::Nothing);
                }
                Ok(ended) => {
                    exit = worse(exit, ended.exit);
                    series.ended_early = why_last(&ended);
                    if run == 0 {
                        series.levels.push(LevelRuns { load: plan.load.mode.clone(), runs: Vec::new() });
                    }
                    // Every level before this one was run, and is there.
                    series.levels[level].runs.push(self.entry(&plan, ended));
                }
            }
            let more = (level + 1, run + 1) != (self.plans.len(), self.repeat);
            if more && series.ended_early.is_none() && is_interrupted() {
                series.ended_early = Some(SeriesEnd::Interrupted);
                exit = worse(exit, Exit::Interrupted);
            }
            series.not_run = self.plans[series.levels.len()..].iter().map(|plan| plan.load.mode.clone()).collect();
            if let Err(error) = self.write(&series) {
                printer.error(&error.to_string());
                exit = worse(exit, Exit::Nothing);
            }
            let is_last = series.ended_early.is_some();
            if let Some(level) = series.levels.get(level).filter(|_| is_last || run + 1 == self.repeat) {
                let between = console::between_runs(level, series.streaming);
                if !between.is_empty() {
                    printer.result(&between);
                }
            }
            if is_last {
                break;
            }
        }
        printer.result(&console::render(&series));
        printer.result(&format!("Levels: {} and .csv", self.file("json").display()));
        Ok(exit)
    }

    fn entry(&self, plan: &RunPlan, ended: Ended) -> OneRun {
        OneRun {
            directory: plan.output.artifacts.strip_prefix(&self.artifacts).unwrap_or(&plan.output.artifacts).to_owned(),
            seed: plan.prompts.seed,
            prompts: ended.prompts.0,
            prompts_known: ended.prompts.1,
            summary: ended.summary,
            interrupted: ended.interrupted,
            ended_early: ended.ended_early,
        }
    }

    fn write(&self, series: &Series) -> Result<(), ArtifactError> {
        write_whole(self.file("json"), |out| files::write_json(out, series))?;
        write_whole(self.file("csv"), |out| files::write_csv(out, series))
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.artifacts.join(format!("{}_levels.{extension}", file_stem(&self.plans, self.repeat)))
    }
}

/// The worse of two ends: interrupted, nothing measured, a gate not met, done.
fn worse(one: Exit, other: Exit) -> Exit {
    let order = [Exit::Interrupted, Exit::Nothing, Exit::Usage, Exit::Gate];
    order.into_iter().find(|exit| *exit == one || *exit == other).unwrap_or(Exit::Done)
}

/// Why no run may follow this one: the user interrupted it, or the server is unreachable. A level that merely failed is
/// a result, and the next one may do better.
fn why_last(ended: &Ended) -> Option<SeriesEnd> {
    if ended.interrupted {
        return Some(SeriesEnd::Interrupted);
    }
    let failures = &ended.summary.failures;
    let unreached = |stage| matches!(stage, Stage::Dns | Stage::Connect | Stage::Tls);
    let gone = !failures.is_empty() && failures.iter().all(|group| unreached(group.stage));
    let hopeless = ended.ok == 0 && (gone || ended.ended_early.is_some());
    hopeless.then_some(SeriesEnd::NoneAnswered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_exit_is_the_series() {
        let all = [Exit::Done, Exit::Gate, Exit::Usage, Exit::Nothing, Exit::Interrupted];
        for (index, exit) in all.into_iter().enumerate() {
            for milder in &all[..=index] {
                assert_eq!((worse(exit, *milder), worse(*milder, exit)), (exit, exit));
            }
        }
    }
}
