//! Earlier runs that sent the prompts which a run is about to send: a server that keeps prefixes may still have them.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use streamgauge_core::message;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::setting::{Message, Setting};
use streamgauge_report::RecordReader;
use streamgauge_report::artifacts::RECORDS;

/// Directories that are looked at, at most: a note is not worth reading thousands of files.
const LOOKED_AT: usize = 500;

/// A note about a stored run below `directory` that sent prompts of one of `plans` to its server, if there is one.
pub fn note(directory: &Path, plans: &[RunPlan]) -> Option<Message> {
    // A cache that is emptied before the load has nothing of any run.
    let plans: Vec<&RunPlan> = plans.iter().filter(|plan| !plan.reset_prefix_cache).collect();
    let earlier = runs(directory).into_iter().find_map(|run| {
        let records = File::open(run.join(RECORDS)).ok()?;
        let reader = RecordReader::new(BufReader::new(records)).ok()?;
        let stored = &reader.header().plan;
        let plan = plans.iter().find(|plan| sends_the_same(plan, stored))?;
        Some((run, plan.prompts.seed))
    });
    let (run, seed) = earlier?;
    Some(message![
        format!(
            "note: the run in {} sent the same prompts to this server (seed {}): one that keeps prefixes answers them from its cache, and sooner; ",
            run.display(),
            seed.0
        ),
        Setting::RandomSeed,
        " of another number sends other prompts, and ",
        Setting::ResetPrefixCache,
        " empties the cache before the load where the server can",
    ])
}

/// Whether the made-up prompts of two runs begin alike and go to the same model of the same server.
fn sends_the_same(plan: &RunPlan, stored: &RunPlan) -> bool {
    let of = |plan: &RunPlan| {
        let prompts = &plan.prompts;
        let lengths = (prompts.input.mean.to_bits(), prompts.input.stddev.to_bits(), prompts.batch);
        let prefixes = (prompts.prefixes, prompts.prefix_tokens);
        (prompts.seed, lengths, prefixes, prompts.tokenizer.clone(), plan.endpoint.models.clone())
    };
    stored.endpoint.target == plan.endpoint.target && of(stored) == of(plan)
}

/// The directories of runs: those in `directory`, and of levels that were run several times those in them.
fn runs(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for level in subdirectories(directory) {
        found.extend(subdirectories(&level));
        found.push(level);
    }
    found.truncate(LOOKED_AT);
    found
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(LOOKED_AT);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    paths.sort();
    paths
}
