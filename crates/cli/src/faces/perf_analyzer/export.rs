//! The file of all requests: one for all levels, put together out of those of the levels' own runs.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use streamgauge_core::RunPlan;
use streamgauge_report::artifacts::create_temporary;
use streamgauge_report::perf_analyzer::export::{OPENING, closing};

/// The file, as far as it is written: it gets its name when it is whole.
pub struct Export {
    file: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    /// The text after the experiments; empty before the first one.
    closing: Vec<u8>,
}

impl Export {
    /// Begins the file, so that one that cannot be written fails before any load.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(file: &Path) -> Result<Export> {
        let named = || format!("--profile-export-file {}: it cannot be written", file.display());
        let (temporary, out) = create_temporary(file).with_context(named)?;
        // From here on the temporary file is removed whatever comes.
        let mut export = Export { file: file.to_owned(), temporary, out: BufWriter::new(out), closing: Vec::new() };
        export.out.write_all(OPENING).with_context(named)?;
        Ok(export)
    }

    /// Adds the experiment in the export of a run of `plan`: all of that file but its opening and its closing.
    ///
    /// # Errors
    /// When the file is not the export of such a run, or one of the two files cannot be read or written.
    pub fn add(&mut self, file: &Path, plan: &RunPlan) -> Result<()> {
        let named = || format!("{}: the requests cannot be read", file.display());
        let mut from = BufReader::new(File::open(file).with_context(named)?);
        let closing = closing(plan);
        let length = from.seek(SeekFrom::End(0)).with_context(named)?;
        let Some(experiment) = length.checked_sub((OPENING.len() + closing.len()) as u64) else {
            bail!("{}: this is not a file of requests", file.display());
        };
        let mut holds = |at: u64, expected: &[u8]| -> io::Result<bool> {
            let mut found = vec![0; expected.len()];
            from.seek(SeekFrom::Start(at))?;
            from.read_exact(&mut found)?;
            Ok(found == expected)
        };
        let start = OPENING.len() as u64;
        if !(holds(start + experiment, &closing).with_context(named)? && holds(0, OPENING).with_context(named)?) {
            bail!("{}: this is not a file of requests", file.display());
        }
        // The opening was read last, so the experiment comes next.
        let separated = if self.closing.is_empty() { Ok(()) } else { self.out.write_all(b",") };
        let copied = separated.and_then(|()| io::copy(&mut from.take(experiment), &mut self.out));
        copied.with_context(|| format!("--profile-export-file {}: it cannot be written", self.file.display()))?;
        self.closing = closing;
        Ok(())
    }

    /// Ends the file and gives it its name; without an experiment there is none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        if self.closing.is_empty() {
            return Ok(());
        }
        let ended = self.out.write_all(&self.closing).and_then(|()| self.out.flush());
        let named = ended.and_then(|()| fs::rename(&self.temporary, &self.file));
        named.with_context(|| format!("--profile-export-file {}: it cannot be written", self.file.display()))
    }
}

/// A file that was not ended is none.
impl Drop for Export {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::plan::EndpointKind;

    fn plan() -> RunPlan {
        let mut plan = streamgauge_testing::plan();
        plan.endpoint.kind = EndpointKind::KserveGrpc;
        plan
    }

    #[test]
    fn experiments_of_all_runs_are_in_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        // A payload may look like the end of the file.
        let experiment = |value: u32| {
            format!(r#"{{"experiment":{{"value":{value}}},"requests":[{{"payload":"],\"version\":\"0.0.0\""}}]}}"#)
        };
        let end = r#"],"version":"0.0.0","service_kind":"triton","endpoint":""}"#;
        let whole = |experiments: &str| format!(r#"{{"experiments":[{experiments}{end}"#);
        let mut export = Export::begin(&path("all.json")).unwrap();
        for value in [7, 8] {
            fs::write(path("one"), whole(&experiment(value))).unwrap();
            export.add(&path("one"), &plan()).unwrap();
        }
        assert!(!path("all.json").exists(), "it has its name when it is whole");
        export.finish().unwrap();
        let expected = whole(&format!("{},{}", experiment(7), experiment(8)));
        assert_eq!(fs::read_to_string(path("all.json")).unwrap(), expected);
    }

    #[test]
    fn without_an_experiment_there_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut export = Export::begin(&dir.path().join("all.json")).unwrap();
        for other in
            ["{}", "{}  a file of some other kind, which is as long as one with experiments or longer than that"]
        {
            fs::write(dir.path().join("other"), other).unwrap();
            assert!(export.add(&dir.path().join("other"), &plan()).is_err());
        }
        export.finish().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
