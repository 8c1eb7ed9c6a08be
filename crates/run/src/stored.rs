//! A finished run: its plan, its results and its files.

use anyhow::{Context, Error, Result};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::prompt::Prompt;
use streamgauge_core::record::RunFacts;
use streamgauge_report::RecordReader;
use streamgauge_report::artifacts::{ArtifactError, Artifacts, RECORDS};
use streamgauge_report::documents::Results;
use streamgauge_stats::{Counts, Summary};

/// A run that is over, whether it has just ended or is read back from its records.
pub struct StoredRun {
    /// The plan that was run.
    pub plan: Arc<RunPlan>,
    /// The directory of its files.
    pub directory: PathBuf,
    /// Information about the prepared prompts. It is empty for a run that is read back.
    pub prompts: PromptsSent,
    /// The facts of the run that belong to no single request.
    pub facts: RunFacts,
    /// Every figure. If the records could not be read again for the figures of a part of the run, these are of the whole run.
    pub summary: Summary,
    /// The request counts of the whole run, even if the figures cover a part of it.
    pub counts: Counts,
    /// The files whose format could not hold all bytes of the answers, each with the number of bytes that were left out.
    pub left_out: Vec<(String, u64)>,
    /// The state of the files.
    pub files: Files,
}

/// The prompts that were prepared for a run, by their hashes.
#[derive(Clone, Debug, Default)]
pub struct PromptsSent {
    /// How many there were.
    pub count: u64,
    /// The hash of the model and the texts of each, but of no more than a million.
    pub hashes: Vec<u64>,
}

/// The most hashes that are kept: 8 MB.
const MOST_HASHES: usize = 1 << 20;

impl PromptsSent {
    /// Counts one more.
    pub(crate) fn add(&mut self, prompt: &Prompt) {
        self.count += 1;
        if self.hashes.len() < MOST_HASHES {
            let mut hasher = DefaultHasher::new();
            (&prompt.model, &prompt.texts()).hash(&mut hasher);
            self.hashes.push(hasher.finish());
        }
    }
}

/// The results of a run, when all records are in.
pub struct Recorded {
    /// Every figure.
    pub summary: Summary,
    /// The request counts of the whole run, even if the figures cover a part of it.
    pub counts: Counts,
    /// The first failure to write a file, after which nothing was written, or to read the records again for figures of a part of
    /// the run: where those are missing the summary is of the whole run.
    pub write_error: Option<anyhow::Error>,
    /// The files whose format could not hold all bytes of the answers, each with how many were left out.
    pub left_out: Vec<(String, u64)>,
}

/// The state of a run's files.
#[derive(Debug)]
pub enum Files {
    /// They are complete and have their names.
    Complete,
    /// The run has no record, so there are none. The files of an earlier run in the same directory stay.
    None,
    /// The records could not be written or read. The files stay under their temporary names, readable as far as they go.
    RecordsFailed(Error),
    /// A document could not be written. The files stay under their temporary names.
    DocumentsFailed(ArtifactError),
    /// The files could not be given their names.
    NamesFailed(ArtifactError),
}

impl StoredRun {
    /// Writes the documents of a run and gives its files their names, or removes them if they are not to be kept.
    pub(crate) fn store(
        plan: Arc<RunPlan>,
        prompts: PromptsSent,
        recorded: Recorded,
        facts: RunFacts,
        mut artifacts: Artifacts,
        keeps_files: bool,
    ) -> StoredRun {
        let Recorded { summary, counts, write_error, left_out } = recorded;
        let files = match write_error {
            Some(error) => Files::RecordsFailed(error),
            None => match artifacts.write_documents(&Results { plan: &plan, facts: &facts, summary: &summary }) {
                Err(error) => Files::DocumentsFailed(error),
                Ok(()) => match artifacts.commit(if keeps_files { counts.requests } else { 0 }) {
                    Ok(true) => Files::Complete,
                    Ok(false) => Files::None,
                    Err(error) => Files::NamesFailed(error),
                },
            },
        };
        let directory = plan.output.artifacts.clone();
        StoredRun { plan, directory, prompts, facts, summary, counts, left_out, files }
    }

    /// Whether there are files.
    ///
    /// # Errors
    /// When they are not complete.
    pub fn has_files(&mut self) -> Result<bool> {
        match std::mem::replace(&mut self.files, Files::None) {
            Files::Complete => {
                self.files = Files::Complete;
                Ok(true)
            }
            Files::None => Ok(false),
            Files::RecordsFailed(error) => Err(error).context("the records cannot be written"),
            Files::DocumentsFailed(error) => Err(error).context("the summaries cannot be written"),
            Files::NamesFailed(error) => Err(error.into()),
        }
    }

    /// Reads the records of this run, whose files are complete.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn records(&self) -> Result<RecordReader<BufReader<File>>> {
        let path = self.directory.join(RECORDS);
        let open = |path: &Path| Ok::<_, Error>(RecordReader::new(BufReader::new(File::open(path)?))?);
        open(&path).with_context(|| format!("{}: the records cannot be read", path.display()))
    }
}
