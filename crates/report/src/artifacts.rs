//! The files of a run: opened before load starts, so that a bad path fails at second 0; written under temporary names;
//! renamed once there is something in them that is worth the old ones.

mod directory;
mod spool;
pub mod whole;

use spool::remove;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use streamgauge_core::plan::ExportLevel;

pub use directory::RunDirectory;
pub use spool::{Spool, create_temporary, partial, write_whole};

/// Name of our own file of records.
pub const RECORDS: &str = "records.jsonl";

/// Name of the file of prompts.
pub const INPUTS: &str = "inputs.json";

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
    #[error(
        "the artifact directory `{path}` is in use by another run: wait for its end, or give another directory (--artifact-dir)"
    )]
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
    /// The export's name is no file name, or that of another file of the run.
    #[error(
        "the profile export file `{0}` must be a file name that no other artifact has, such as profile_export.json"
    )]
    Name(String),
}

/// The files of a run. Dropped without [`Artifacts::commit`], they stay under their temporary names
/// (`.records.jsonl.partial`), readable as far as they were flushed.
pub struct Artifacts {
    /// `inputs.json`; absent when files are made again from records.
    pub inputs: Option<Spool>,
    /// `records.jsonl`; absent at the summary level and when files are made again from it.
    pub records: Option<Spool>,
    /// Perf Analyzer's export; absent at the summary level and when it cannot be made again.
    pub export: Option<Spool>,
    /// The summary as JSON.
    pub summary_json: Spool,
    /// The summary as CSV.
    pub summary_csv: Spool,
    /// What an earlier run may have left that this one does not write.
    stale: Vec<PathBuf>,
    /// Keeps other runs out until the files have their names; absent when files are made again from records.
    directory: Option<RunDirectory>,
}

impl Artifacts {
    /// Opens every file of a run at that level in `directory` under its temporary name.
    ///
    /// # Errors
    /// When a file cannot be made, or `export_file` cannot be the export's name.
    pub fn open(directory: RunDirectory, export_file: &str, level: ExportLevel) -> Result<Artifacts, ArtifactError> {
        let [json, csv] = summary_names(export_file)?;
        let dir = directory.path();
        let open = |name: &str| Spool::of_run(dir.join(name));
        let detailed = level != ExportLevel::Summary;
        Ok(Artifacts {
            inputs: Some(open(INPUTS)?),
            records: detailed.then(|| open(RECORDS)).transpose()?,
            export: detailed.then(|| open(export_file)).transpose()?,
            summary_json: open(&json)?,
            summary_csv: open(&csv)?,
            stale: if detailed { Vec::new() } else { vec![dir.join(RECORDS), dir.join(export_file)] },
            directory: Some(directory),
        })
    }

    /// Creates `dir` and opens in it what can be made again from records: the summaries, and Perf Analyzer's export if it
    /// is wanted. Their temporary names are this process's own: a run that still writes in `dir`, or what is left of one, is
    /// not touched, and neither is another report.
    ///
    /// # Errors
    /// As those of [`Artifacts::open`].
    pub fn again(dir: &Path, export_file: &str, with_export: bool) -> Result<Artifacts, ArtifactError> {
        let [json, csv] = summary_names(export_file)?;
        create_directory(dir)?;
        let open = |name: &str| Spool::of_this_process(dir.join(name));
        Ok(Artifacts {
            inputs: None,
            records: None,
            export: with_export.then(|| open(export_file)).transpose()?,
            summary_json: open(&json)?,
            summary_csv: open(&csv)?,
            stale: Vec::new(),
            directory: None,
        })
    }

    /// Hands what was written so far to the system, so that it outlives this process.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn flush(&mut self) -> Result<(), ArtifactError> {
        let mut spools = vec![&mut self.summary_json, &mut self.summary_csv];
        spools.extend([&mut self.inputs, &mut self.records, &mut self.export].into_iter().flatten());
        spools.into_iter().try_for_each(Spool::hand_over)
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
            self.spools().try_for_each(Spool::discard)?;
            return Ok(false);
        }
        self.flush()?;
        for path in std::mem::take(&mut self.stale) {
            remove(&path)?;
        }
        self.spools().try_for_each(Spool::settle)?;
        Ok(true)
    }

    /// All files, those that the others are made from first.
    fn spools(self) -> impl Iterator<Item = Spool> {
        let details = [self.records, self.export, self.inputs].into_iter().flatten();
        details.chain([self.summary_json, self.summary_csv])
    }
}

/// Whether a directory could be made there, as far as can be told without making it: nothing above it or in its place is
/// another kind of file.
///
/// # Errors
/// When something is.
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

/// Names of the two summaries, made from the export's as GenAI-Perf makes them.
fn summary_names(export_file: &str) -> Result<[String; 2], ArtifactError> {
    let refusal = || ArtifactError::Name(export_file.into());
    let path = Path::new(export_file);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).ok_or_else(refusal)?;
    let summaries = ["json", "csv"].map(|extension| format!("{stem}_genai_perf.{extension}"));
    let names: BTreeSet<&str> = [INPUTS, RECORDS, export_file, &summaries[0], &summaries[1]].into();
    let plain = path.file_name().is_some_and(|name| name == export_file);
    if plain && names.len() == 5 { Ok(summaries) } else { Err(refusal()) }
}

fn failure(path: &Path, cause: io::Error) -> ArtifactError {
    ArtifactError::File { path: path.display().to_string(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn open(dir: &Path, export_file: &str, level: ExportLevel) -> Result<Artifacts, ArtifactError> {
        Artifacts::open(RunDirectory::lock(dir)?, export_file, level)
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
        let temporary =
            [".inputs.json", ".mine.json", ".mine_genai_perf.csv", ".mine_genai_perf.json", ".records.jsonl"]
                .map(|name| format!("{name}.partial"));
        assert_eq!(names(&dir), temporary);
        artifacts.records.as_mut().unwrap().write_all(b"line\n").unwrap();
        artifacts.flush().unwrap();
        assert_eq!(fs::read(dir.join(".records.jsonl.partial")).unwrap(), b"line\n");
        assert!(artifacts.commit(1).unwrap());
        let settled = ["inputs.json", "mine.json", "mine_genai_perf.csv", "mine_genai_perf.json", "records.jsonl"];
        assert_eq!(names(&dir), settled);
        assert_eq!(fs::read(dir.join("records.jsonl")).unwrap(), b"line\n");
    }

    #[test]
    fn what_is_made_again_leaves_a_run_in_the_same_place_alone() {
        let root = tempfile::tempdir().unwrap();
        let open = || open(root.path(), "profile_export.json", ExportLevel::Records).unwrap();
        open().commit(1).unwrap();
        let mut live = open();
        live.summary_json.write_all(b"live").unwrap();
        let mut again = Artifacts::again(root.path(), "profile_export.json", true).unwrap();
        again.summary_json.write_all(b"again").unwrap();
        // Two reports of the same run may be made at once.
        let other = Artifacts::again(root.path(), "profile_export.json", true).unwrap();
        assert!(again.commit(1).unwrap());
        assert!(!other.commit(0).unwrap());
        let summary = root.path().join("profile_export_genai_perf.json");
        assert_eq!(fs::read(&summary).unwrap(), b"again");
        assert!(live.commit(1).unwrap());
        assert_eq!(fs::read(&summary).unwrap(), b"live");
        assert_eq!(names(root.path()).len(), 5);
    }

    #[test]
    fn a_second_run_in_the_directory_of_a_live_one_is_refused_and_touches_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut live = open(root.path(), "profile_export.json", ExportLevel::Records).unwrap();
        live.records.as_mut().unwrap().write_all(b"live").unwrap();
        live.flush().unwrap();
        let refused = open(root.path(), "other.json", ExportLevel::Records).err().unwrap();
        assert!(matches!(refused, ArtifactError::InUse { .. }), "{refused}");
        assert!(live.commit(1).unwrap());
        assert_eq!(fs::read(root.path().join(RECORDS)).unwrap(), b"live");
        assert_eq!(names(root.path()).len(), 5);
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
        run.records.as_mut().unwrap().write_all(b"new").unwrap();
        run.inputs.as_mut().unwrap().write_all(b"new").unwrap();
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
        assert_eq!(names(root.path()).len(), 5);
        open(ExportLevel::Summary).commit(1).unwrap();
        assert_eq!(names(root.path()), [INPUTS, "profile_export_genai_perf.csv", "profile_export_genai_perf.json"]);
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
