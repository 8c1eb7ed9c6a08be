//! Reads a run back from its records, and makes everything again that a run writes at its end. A run that was killed has no end of its
//! own, and gets it here.

use crate::error::usage;
use crate::execute::books::Books;
use crate::execute::refold;
use crate::listener::Listener;
use crate::stored::{PromptsSent, StoredRun};
use anyhow::{Context, Error, Result, anyhow};
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use streamgauge_core::plan::{EndpointKind, ExportLevel, PERF_ANALYZER, RunPlan};
use streamgauge_core::record::RunFacts;
use streamgauge_core::setting::{Message, Setting};
use streamgauge_core::{Received, message};
use streamgauge_report::artifacts::{ArtifactError, Artifacts, INPUTS, RECORDS, partial, write_whole};
use streamgauge_report::genai::inputs;
use streamgauge_report::sinks::SINKS;
use streamgauge_report::{ReadError, RecordReader, Salvage};

/// Reads the run in the directory, or in the file of records, `run`, and writes its documents again: into `directory`, or else to where
/// its records are.
///
/// # Errors
/// When there is no such run, its records cannot be read, or a file cannot be written.
pub fn reopen(run: &Path, directory: Option<PathBuf>, listener: &dyn Listener) -> Result<StoredRun> {
    let source = Source::find(run, listener)?;
    let shown = source.records.display();
    let file = File::open(&source.records).map_err(|error| usage(anyhow!("{shown}: {error}")))?;
    let mut reader = RecordReader::new(BufReader::new(file)).map_err(|error| match error {
        ReadError::Io(_) => Error::new(error).context(shown.to_string()),
        _ => usage(anyhow!("{shown}: {error}")),
    })?;
    let directory = directory.unwrap_or_else(|| source.directory());
    source.check(&directory)?;
    let plan = reader.header().plan.clone();
    // The texts of the answers are in no record: the export of a complete run is kept as that run made it.
    let made = source.export(&plan);
    let bodies = if made.is_some() { None } else { bodies(&plan, &source, listener) };
    let mut artifacts = Artifacts::again(&directory, &plan.output, bodies.is_some()).map_err(|error| match error {
        ArtifactError::Name(_) => usage(anyhow!("{shown}: {error}")),
        _ => error.into(),
    })?;
    say_unwritable(&plan, listener);
    let anchor_wall = reader.header().anchor_wall_ns;
    let mut books = Books::open(&plan, anchor_wall, &mut artifacts)?.read_from(&source.records);
    bodies.iter().flatten().for_each(|body| books.input(body));
    books.end_of_inputs();
    let facts = match enter(&mut reader, &mut books, &source.records) {
        Ok(facts) => facts,
        Err(error) => {
            drop(books);
            artifacts.commit(0)?;
            return Err(Error::new(error).context(shown.to_string()));
        }
    };
    if let Some(line) = reader.torn() {
        listener.note(&format!("note: {shown}: line {line}, the last, is torn and left out").into());
    }
    let recorded = books.close(&facts);
    if let Some(made) = made {
        copy(&made, &directory.join(&plan.output.export_file))?;
    }
    let stored = StoredRun::store(Arc::new(plan), PromptsSent::default(), recorded, facts, artifacts, true);
    Ok(StoredRun { directory, ..stored })
}

/// Says which files of the run this program cannot make again, since it was built without what writes them.
fn say_unwritable(plan: &RunPlan, listener: &dyn Listener) {
    for kind in SINKS {
        let Some((format, feature)) = kind.format.and_then(|format| Some((format, format.missing_feature?))) else {
            continue;
        };
        let is_of_run = plan.output.record_formats.iter().any(|name| name == format.name);
        if is_of_run && plan.output.export != ExportLevel::Summary {
            listener.note(&Message::from(format!(
                "note: {} is not made again: this program was built without the feature `{feature}`",
                (kind.file_name)(&plan.output)
            )));
        }
    }
}

/// Copies a file to where it is not yet.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let same = from.canonicalize().ok().zip(to.canonicalize().ok()).is_some_and(|(from, to)| from == to);
    if same {
        return Ok(());
    }
    let mut file = File::open(from).with_context(|| from.display().to_string())?;
    write_whole(to.to_owned(), |out| std::io::copy(&mut file, out).map(drop))?;
    Ok(())
}

/// Enters every record. Returns the run's facts: those of the last line, or if that is missing what the records themselves say.
fn enter(
    reader: &mut RecordReader<BufReader<File>>,
    books: &mut Books<'_>,
    records: &Path,
) -> Result<RunFacts, ReadError> {
    let mut salvage = Salvage::new(reader.header());
    for record in reader.by_ref() {
        let record = record?;
        salvage.add(&record);
        books.enter(&record, Received::default(), None);
    }
    if let Some(facts) = reader.facts() {
        return Ok(facts.clone());
    }
    let mut facts = salvage.facts();
    if let Some(rule) = reader.header().plan.load.stop.stability {
        facts.window = refold::windows(records, books.entered(), rule, facts.started)?;
    }
    Ok(facts)
}

/// The bodies that were sent, if the export can be made again.
fn bodies(plan: &RunPlan, source: &Source, listener: &dyn Listener) -> Option<Vec<Value>> {
    if !plan.output.record_formats.iter().any(|format| format == PERF_ANALYZER) {
        return None;
    }
    let why = match plan.output.export {
        ExportLevel::Summary => return None,
        ExportLevel::Raw => "the bytes of the replies are not in the records".to_owned(),
        ExportLevel::Records => match read_bodies(&source.inputs, plan.endpoint.kind) {
            Ok(bodies) => {
                listener.note(&Message::from(format!(
                    "note: {} is made again without the texts of the answers, which are in no record",
                    plan.output.export_file
                )));
                return Some(bodies);
            }
            Err(error) => format!("{error:#}"),
        },
    };
    listener.note(&format!("note: {} is not made again: {why}", plan.output.export_file).into());
    None
}

fn read_bodies(path: &Path, kind: EndpointKind) -> Result<Vec<Value>> {
    let open = || inputs::read(BufReader::new(File::open(path)?), kind);
    open().with_context(|| path.display().to_string())
}

/// The files that a run is read from.
struct Source {
    records: PathBuf,
    inputs: PathBuf,
}

impl Source {
    /// The files in the directory `run`, or beside the file `run`.
    fn find(run: &Path, listener: &dyn Listener) -> Result<Source> {
        if !run.is_dir() {
            let name = run.file_name().unwrap_or_default();
            let inputs = run.with_file_name(INPUTS);
            let is_unfinished = name == partial(Path::new(RECORDS)).as_os_str();
            return Ok(Source { records: run.into(), inputs: if is_unfinished { partial(&inputs) } else { inputs } });
        }
        let (complete, begun) = (run.join(RECORDS), partial(&run.join(RECORDS)));
        match (complete.is_file(), begun.is_file()) {
            (true, is_unfinished) => {
                if is_unfinished {
                    listener.note(&message![
                        format!(
                            "note: there are records of a later run that did not end, too: `streamgauge report {} ",
                            begun.display()
                        ),
                        Setting::ArtifactDir,
                        " DIR` reports them",
                    ]);
                }
                Ok(Source { records: complete, inputs: run.join(INPUTS) })
            }
            (false, true) => Ok(Source { records: begun, inputs: partial(&run.join(INPUTS)) }),
            (false, false) => Err(usage(message![
                format!("{}: there is no {RECORDS} in it; give the directory of one run, made with ", run.display()),
                Setting::ExportLevel,
                " records or raw",
            ])),
        }
    }

    /// The export that the run made itself, beside the records of a complete run.
    fn export(&self, plan: &RunPlan) -> Option<PathBuf> {
        let made = self.directory().join(&plan.output.export_file);
        let is_complete = self.records.file_name().is_some_and(|name| name == RECORDS);
        (is_complete && plan.output.export == ExportLevel::Records && made.is_file()).then_some(made)
    }

    /// The directory of the records.
    fn directory(&self) -> PathBuf {
        match self.records.parent() {
            Some(directory) if directory != Path::new("") => directory.into(),
            _ => ".".into(),
        }
    }

    /// Refuses a directory in which the results would be next to another run's records.
    fn check(&self, directory: &Path) -> Result<()> {
        let there = directory.join(RECORDS);
        let is_same = || Some(there.canonicalize().ok()? == self.records.canonicalize().ok()?);
        if !there.exists() || is_same() == Some(true) {
            return Ok(());
        }
        Err(usage(message![
            format!("{} holds the files of another run; give another directory with ", directory.display()),
            Setting::ArtifactDir,
        ]))
    }
}
