//! The files of a run: opened before load starts, so that a bad path fails at second 0; written under temporary names;
//! renamed once there is something in them that is worth the old ones.

mod directory;
mod spool;
pub mod whole;

use crate::documents::{DOCUMENTS, DocumentKind, Results};
use crate::sinks::{OpenSink, SINKS, SinkKind, Start};
use spool::remove;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use streamgauge_core::message;
use streamgauge_core::plan::Output;
use streamgauge_core::setting::{Explain, Message, Setting};

pub use crate::genai::inputs::INPUTS;
pub use crate::records::RECORDS;
pub use directory::RunDirectory;
pub use spool::{Spool, create_temporary, partial, write_whole};

/// Why the files of a run cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The directory cannot be made.
    #[error("the artifact directory `{path}` cannot be created: {cause}")]
    Directory {
        /// Which.
        path: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// Another run writes its files there.
    #[error("{}", self.message())]
    InUse {
        /// Which.
        path: String,
    },
    /// A file cannot be made, written or renamed.
    #[error("the artifact `{path}` cannot be written: {cause}")]
    File {
        /// Which.
        path: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// The export's name is not a file name, or is that of another file of the run.
    #[error(
        "the profile export file `{0}` must be a file name that no other artifact has, such as profile_export.json"
    )]
    Name(String),
}

impl Explain for ArtifactError {
    fn message(&self) -> Message {
        match self {
            ArtifactError::InUse { path } => message![
                format!(
                    "the artifact directory `{path}` is in use by another run: wait for its end, or give another directory ("
                ),
                Setting::ArtifactDir,
                ")",
            ],
            ArtifactError::Directory { .. } | ArtifactError::File { .. } | ArtifactError::Name(_) => {
                self.to_string().into()
            }
        }
    }
}

/// The files of a run, open under temporary names (`.records.jsonl.partial`). Where [`Artifacts::commit`] is not reached, they stay under
/// those names, readable as far as they were flushed.
pub struct Artifacts {
    sinks: Vec<(&'static SinkKind, Spool)>,
    documents: Vec<(&'static DocumentKind, Spool)>,
    /// Files that an earlier run may have left and that this run does not write.
    stale: Vec<PathBuf>,
    /// Keeps other runs out until the files have their names; absent when files are made again from records.
    directory: Option<RunDirectory>,
}

impl Artifacts {
    /// Opens every file that a run with such output writes in `directory`, under its temporary name.
    ///
    /// # Errors
    /// When a file cannot be created, or a file name of `output` is invalid or that of another file of the run.
    pub fn open(directory: RunDirectory, output: &Output) -> Result<Artifacts, ArtifactError> {
        check_names(output)?;
        let dir = directory.path();
        let (wanted, unwanted): (Vec<&SinkKind>, Vec<&SinkKind>) =
            SINKS.into_iter().partition(|kind| kind.is_wanted(output));
        let (sinks, documents) = spools(output, wanted, |name| Spool::of_run(dir.join(name)))?;
        let stale = unwanted.into_iter().map(|kind| dir.join((kind.file_name)(output))).collect();
        Ok(Artifacts { sinks, documents, stale, directory: Some(directory) })
    }

    /// Creates `dir` and opens in it the files that can be rebuilt from the records of a run with such output. `has_inputs` says whether
    /// the run's inputs are known too. The temporary names belong to this process: a run that still writes in `dir`, the remains of one,
    /// and other reports are not touched.
    ///
    /// # Errors
    /// As those of [`Artifacts::open`].
    pub fn again(dir: &Path, output: &Output, has_inputs: bool) -> Result<Artifacts, ArtifactError> {
        check_names(output)?;
        create_directory(dir)?;
        let remade = SINKS.into_iter().filter(|kind| kind.can_be_remade(output, has_inputs));
        let (sinks, documents) = spools(output, remade, |name| Spool::of_this_process(dir.join(name)))?;
        Ok(Artifacts { sinks, documents, stale: Vec::new(), directory: None })
    }

    /// The path of the records until they have their final name, or `None` if they are not written.
    pub fn records(&self) -> Option<&Path> {
        let mut spools = self.sinks.iter().map(|(_, spool)| spool);
        spools.find(|spool| spool.path().ends_with(RECORDS)).map(Spool::temporary)
    }

    /// Writes the beginning of each file that is written while the run goes on, and returns what takes the records: each with the
    /// name of its file.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn begin(&mut self, start: &Start<'_>) -> Result<Vec<(String, OpenSink<'_>)>, ArtifactError> {
        self.sinks
            .iter_mut()
            .map(|(kind, spool)| {
                let name = (kind.file_name)(&start.plan.output).to_owned();
                let temporary = spool.temporary().to_owned();
                let opened = (kind.open)(spool, start).and_then(|mut sink| sink.flush().map(|()| sink));
                Ok((name, opened.map_err(|cause| failure(&temporary, cause))?))
            })
            .collect()
    }

    /// Writes every document.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write_documents(&mut self, results: &Results<'_>) -> Result<(), ArtifactError> {
        self.documents.iter_mut().try_for_each(|(kind, spool)| {
            (kind.write)(spool, results).map_err(|cause| failure(spool.temporary(), cause))
        })
    }

    /// Passes the written data to the operating system, so that it outlives this process.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn flush(&mut self) -> Result<(), ArtifactError> {
        let sinks = self.sinks.iter_mut().map(|(_, spool)| spool);
        sinks.chain(self.documents.iter_mut().map(|(_, spool)| spool)).try_for_each(Spool::hand_over)
    }

    /// Ends the files of a run that left `records` records, and says whether they are there now. With records they take
    /// their final names, replacing those of an earlier run, of which nothing is left that would not belong to the new
    /// ones; without, they are removed and the earlier run's stay.
    ///
    /// # Errors
    /// When a file cannot be written, renamed or removed.
    pub fn commit(mut self, records: u64) -> Result<bool, ArtifactError> {
        let _locked = self.directory.take();
        if records == 0 {
            self.into_spools().try_for_each(Spool::discard)?;
            return Ok(false);
        }
        self.flush()?;
        for path in std::mem::take(&mut self.stale) {
            remove(&path)?;
        }
        self.into_spools().try_for_each(Spool::settle)?;
        Ok(true)
    }

    /// All files, those that the others are made from first.
    fn into_spools(self) -> impl Iterator<Item = Spool> {
        let sinks = self.sinks.into_iter().map(|(_, spool)| spool);
        sinks.chain(self.documents.into_iter().map(|(_, spool)| spool))
    }
}

/// Spools with the kinds of files that they are for.
type Spools<K> = Vec<(&'static K, Spool)>;

/// Opens a spool for each of these sinks and for each document.
fn spools(
    output: &Output,
    sinks: impl IntoIterator<Item = &'static SinkKind>,
    open: impl Fn(&str) -> Result<Spool, ArtifactError>,
) -> Result<(Spools<SinkKind>, Spools<DocumentKind>), ArtifactError> {
    let sinks = sinks.into_iter().map(|kind| Ok((kind, open((kind.file_name)(output))?))).collect::<Result<_, _>>()?;
    let documents =
        DOCUMENTS.into_iter().map(|kind| Ok((kind, open(&(kind.file_name)(output))?))).collect::<Result<_, _>>()?;
    Ok((sinks, documents))
}

/// Checks whether a directory could be created at `dir`, as far as that is possible without creating it: neither it nor a parent is
/// another kind of file.
///
/// # Errors
/// When one is.
pub fn check_directory(dir: &Path) -> Result<(), ArtifactError> {
    match dir.ancestors().find(|path| path.exists()) {
        Some(path) if !path.is_dir() => {
            let cause = io::Error::from(io::ErrorKind::NotADirectory);
            Err(ArtifactError::Directory { path: dir.display().to_string(), cause })
        }
        _ => Ok(()),
    }
}

fn create_directory(dir: &Path) -> Result<(), ArtifactError> {
    fs::create_dir_all(dir).map_err(|cause| ArtifactError::Directory { path: dir.display().to_string(), cause })
}

/// Refuses a name of the export that is not the plain name of a file, or that another file of the run has.
fn check_names(output: &Output) -> Result<(), ArtifactError> {
    let path = Path::new(&output.export_file);
    let is_plain = path.file_name().is_some_and(|name| name == output.export_file.as_str());
    let sinks = SINKS.iter().map(|kind| (kind.file_name)(output).to_owned());
    let names: BTreeSet<String> = sinks.chain(DOCUMENTS.iter().map(|kind| (kind.file_name)(output))).collect();
    let is_alone = names.len() == SINKS.len() + DOCUMENTS.len();
    if is_plain && is_alone { Ok(()) } else { Err(ArtifactError::Name(output.export_file.clone())) }
}

fn failure(path: &Path, cause: io::Error) -> ArtifactError {
    ArtifactError::File { path: path.display().to_string(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use streamgauge_core::plan::ExportLevel;

    fn output(export_file: &str, export: ExportLevel) -> Output {
        Output { export, export_file: export_file.into(), ..streamgauge_testing::plan().output }
    }

    fn open(dir: &Path, export_file: &str, level: ExportLevel) -> Result<Artifacts, ArtifactError> {
        Artifacts::open(RunDirectory::lock(dir)?, &output(export_file, level))
    }

    /// The open file that will have that name.
    fn spool<'a>(artifacts: &'a mut Artifacts, name: &str) -> &'a mut Spool {
        let sinks = artifacts.sinks.iter_mut().map(|(_, spool)| spool);
        let mut spools = sinks.chain(artifacts.documents.iter_mut().map(|(_, spool)| spool));
        spools.find(|spool| spool.path().ends_with(name)).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_get_their_names_at_the_end_only() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        let mut artifacts = open(&dir, "mine.json", ExportLevel::Records).unwrap();
        const SETTLED: [&str; 7] = [
            "inputs.json",
            "mine.json",
            "mine_genai_perf.csv",
            "mine_genai_perf.json",
            "records.jsonl",
            "summary.json",
            "timeline.csv",
        ];
        let temporary = SETTLED.map(|name| format!(".{name}.partial"));
        assert_eq!(names(&dir), temporary);
        spool(&mut artifacts, RECORDS).write_all(b"line\n").unwrap();
        artifacts.flush().unwrap();
        assert_eq!(fs::read(dir.join(".records.jsonl.partial")).unwrap(), b"line\n");
        assert!(artifacts.commit(1).unwrap());
        assert_eq!(names(&dir), SETTLED);
        assert_eq!(fs::read(dir.join("records.jsonl")).unwrap(), b"line\n");
    }

    #[test]
    fn what_is_made_again_leaves_a_run_in_the_same_place_alone() {
        let root = tempfile::tempdir().unwrap();
        const SUMMARY: &str = "profile_export_genai_perf.json";
        let output = output("profile_export.json", ExportLevel::Records);
        let open = || Artifacts::open(RunDirectory::lock(root.path()).unwrap(), &output).unwrap();
        open().commit(1).unwrap();
        let mut live = open();
        spool(&mut live, SUMMARY).write_all(b"live").unwrap();
        let mut again = Artifacts::again(root.path(), &output, true).unwrap();
        spool(&mut again, SUMMARY).write_all(b"again").unwrap();
        // Two reports of the same run may be made at once.
        let other = Artifacts::again(root.path(), &output, true).unwrap();
        assert!(again.commit(1).unwrap());
        assert!(!other.commit(0).unwrap());
        let summary = root.path().join(SUMMARY);
        assert_eq!(fs::read(&summary).unwrap(), b"again");
        assert!(live.commit(1).unwrap());
        assert_eq!(fs::read(&summary).unwrap(), b"live");
        assert_eq!(names(root.path()).len(), 7);
    }

    #[test]
    fn a_second_run_in_the_directory_of_a_live_one_is_refused_and_touches_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut live = open(root.path(), "profile_export.json", ExportLevel::Records).unwrap();
        spool(&mut live, RECORDS).write_all(b"live").unwrap();
        live.flush().unwrap();
        let refused = open(root.path(), "other.json", ExportLevel::Records).err().unwrap();
        assert!(matches!(refused, ArtifactError::InUse { .. }), "{refused}");
        assert!(live.commit(1).unwrap());
        assert_eq!(fs::read(root.path().join(RECORDS)).unwrap(), b"live");
        assert_eq!(names(root.path()).len(), 7);
        assert!(open(root.path(), "profile_export.json", ExportLevel::Records).is_ok());
    }

    #[test]
    fn what_a_killed_run_left_is_replaced_and_a_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let begun = partial(&root.path().join(RECORDS));
        fs::write(&begun, "a killed run's, and longer than what follows").unwrap();
        #[cfg(unix)]
        let victim = {
            let victim = root.path().join("victim");
            fs::write(&victim, "mine").unwrap();
            std::os::unix::fs::symlink(&victim, partial(&root.path().join(INPUTS))).unwrap();
            victim
        };
        let mut run = open(root.path(), "profile_export.json", ExportLevel::Records).unwrap();
        spool(&mut run, RECORDS).write_all(b"new").unwrap();
        spool(&mut run, INPUTS).write_all(b"new").unwrap();
        run.commit(1).unwrap();
        assert_eq!(fs::read(root.path().join(RECORDS)).unwrap(), b"new");
        #[cfg(unix)]
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
    }

    #[test]
    fn a_run_without_records_leaves_the_old_files() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(RECORDS), "old").unwrap();
        let artifacts = open(root.path(), "profile_export.json", ExportLevel::Records).unwrap();
        assert!(!artifacts.commit(0).unwrap());
        assert_eq!(names(root.path()), [RECORDS]);
        assert_eq!(fs::read(root.path().join(RECORDS)).unwrap(), b"old");
    }

    #[test]
    fn a_summary_does_not_stand_beside_the_records_of_another_run() {
        let root = tempfile::tempdir().unwrap();
        let open = |level| open(root.path(), "profile_export.json", level).unwrap();
        open(ExportLevel::Raw).commit(1).unwrap();
        assert_eq!(names(root.path()).len(), 7);
        open(ExportLevel::Summary).commit(1).unwrap();
        assert_eq!(
            names(root.path()),
            [INPUTS, "profile_export_genai_perf.csv", "profile_export_genai_perf.json", "summary.json", "timeline.csv"]
        );
    }

    #[test]
    fn a_file_of_a_format_that_is_not_asked_for_is_not_written_and_an_old_one_goes() {
        let root = tempfile::tempdir().unwrap();
        open(root.path(), "profile_export.json", ExportLevel::Records).unwrap().commit(1).unwrap();
        assert_eq!(names(root.path()).len(), 7);
        let mut output = output("profile_export.json", ExportLevel::Records);
        output.record_formats.retain(|format| format == streamgauge_core::plan::JSONL);
        Artifacts::open(RunDirectory::lock(root.path()).unwrap(), &output).unwrap().commit(1).unwrap();
        let summaries =
            ["profile_export_genai_perf.csv", "profile_export_genai_perf.json", "summary.json", "timeline.csv"];
        assert_eq!(names(root.path()), [INPUTS, summaries[0], summaries[1], RECORDS, summaries[2], summaries[3]]);
    }

    #[test]
    fn bad_paths_fail_at_once_and_are_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        fs::create_dir(root.path().join(INPUTS)).unwrap();
        let refusal = |dir: &Path, name: &str| match open(dir, name, ExportLevel::Summary) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{name} was accepted"),
        };
        let below_a_file = root.path().join("file/x");
        assert!(refusal(&below_a_file, "p.json").contains(&below_a_file.display().to_string()));
        for dir in [&below_a_file, &root.path().join("file")] {
            assert!(check_directory(dir).unwrap_err().to_string().contains(&dir.display().to_string()));
        }
        assert!(check_directory(&root.path().join("new/one")).is_ok() && check_directory(root.path()).is_ok());
        assert!(refusal(root.path(), "p.json").contains(INPUTS));
        for name in ["", "..", "a/b.json", "records.jsonl", "inputs.json"] {
            assert!(refusal(root.path(), name).contains(&format!("`{name}` must be a file name")), "{name}");
        }
    }
}
