//! The file of all requests: one for all levels, put together out of those of the levels' own runs.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use streamgauge_report::artifacts::create_temporary;

/// What stands before a run's experiment, and what comes after it first.
const BEFORE: &[u8] = br#"{"experiments":["#;
const AFTER: &[u8] = br#"],"version":"#;
/// What comes after an experiment is no longer than this.
const TAIL: u64 = 64 * 1024;

/// The file, as far as it is written: it gets its name when it is whole.
pub struct Export {
    file: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    /// What comes after the experiments.
    tail: Vec<u8>,
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
        let mut export = Export { file: file.to_owned(), temporary, out: BufWriter::new(out), tail: Vec::new() };
        export.out.write_all(BEFORE).with_context(named)?;
        Ok(export)
    }

    /// Adds the experiment in the export of one run, number `number` of them, from 0.
    ///
    /// # Errors
    /// When that is not such a file, or one of the two cannot be read or written.
    pub fn add(&mut self, run: &Path, number: usize) -> Result<()> {
        let named = || format!("{}: the requests cannot be read", run.display());
        let mut from = BufReader::new(File::open(run).with_context(named)?);
        let mut before = vec![0; BEFORE.len()];
        from.read_exact(&mut before).with_context(named)?;
        let length = from.seek(SeekFrom::End(0)).with_context(named)?;
        let start = length.saturating_sub(TAIL).max(BEFORE.len() as u64);
        from.seek(SeekFrom::Start(start)).with_context(named)?;
        let mut end = Vec::new();
        from.read_to_end(&mut end).with_context(named)?;
        let Some(after) = end.windows(AFTER.len()).rposition(|part| part == AFTER).filter(|_| before == BEFORE) else {
            bail!("{}: this is no file of requests", run.display());
        };
        self.tail = end.split_off(after);
        from.seek(SeekFrom::Start(BEFORE.len() as u64)).with_context(named)?;
        let experiment = start + after as u64 - BEFORE.len() as u64;
        let written = if number > 0 { self.out.write_all(b",") } else { Ok(()) };
        let copied = written.and_then(|()| io::copy(&mut from.take(experiment), &mut self.out));
        copied.with_context(|| format!("--profile-export-file {}: it cannot be written", self.file.display()))?;
        Ok(())
    }

    /// Ends the file and gives it its name; without an experiment there is none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        if self.tail.is_empty() {
            return Ok(());
        }
        let ended = self.out.write_all(&self.tail).and_then(|()| self.out.flush());
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

    #[test]
    fn experiments_of_all_runs_are_in_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        // A payload may look like the end of the file.
        let experiment =
            |value: u32| format!(r#"{{"experiment":{{"value":{value}}},"requests":[{{"payload":"],\"version\":"}}]}}"#);
        let tail = r#"],"version":"0.1","service_kind":"triton"}"#;
        let whole = |experiments: &str| format!(r#"{{"experiments":[{experiments}{tail}"#);
        let mut export = Export::begin(&path("all.json")).unwrap();
        for (number, value) in [7, 8].into_iter().enumerate() {
            fs::write(path("one"), whole(&experiment(value))).unwrap();
            export.add(&path("one"), number).unwrap();
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
        fs::write(dir.path().join("other"), "{}  a file of some other kind").unwrap();
        assert!(export.add(&dir.path().join("other"), 0).is_err());
        export.finish().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
