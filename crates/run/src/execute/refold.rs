//! The second fold: figures of a part of the run, whose ends are known only when all records are in. It reads them back
//! from the file that they were written to, which costs no memory, and is the same for a run that has just ended and one that
//! is reported again.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use streamgauge_core::Record;
use streamgauge_core::clock::Nanos;
use streamgauge_core::record::{RunFacts, WindowFacts};
use streamgauge_core::stop::StabilityRule;
use streamgauge_report::{ReadError, RecordReader};
use streamgauge_stats::windows::LATE;
use streamgauge_stats::{Accumulator, AccumulatorConfig, Scope, Summary, Windows};

/// The summaries of some parts of a run, from the first `count` records of its file: more may have been written since.
///
/// # Errors
/// When the file cannot be read, or not so far.
pub fn summaries<const N: usize>(
    path: &Path,
    count: u64,
    config: &AccumulatorConfig,
    scopes: [Option<Scope>; N],
    facts: &RunFacts,
) -> Result<[Option<Summary>; N], ReadError> {
    let mut parts = scopes.map(|scope| scope.map(|scope| Accumulator::of(config.clone(), scope)));
    if parts.iter().any(Option::is_some) {
        read(path, count, |record| parts.iter_mut().flatten().for_each(|part| part.add(record)))?;
    }
    Ok(parts.map(|part| part.map(|part| part.close(facts))))
}

/// The last windows of a run that never came to say which they were, from the first `count` records of its file.
///
/// # Errors
/// When the file cannot be read, or not so far.
pub fn windows(path: &Path, count: u64, rule: StabilityRule, started: Nanos) -> Result<Option<WindowFacts>, ReadError> {
    let mut windows = Windows::new(rule);
    let mut newest = Nanos(i64::MIN);
    read(path, count, |record| {
        windows.add(record);
        // Records are in the order of their arrival, so none is later than it was during the run.
        newest = newest.max(record.end);
        windows.look(started, newest - LATE);
    })?;
    Ok(windows.close(started))
}

fn read(path: &Path, count: u64, mut each: impl FnMut(&Record)) -> Result<(), ReadError> {
    let mut reader = RecordReader::new(BufReader::new(File::open(path)?))?;
    for _ in 0..count {
        let record = reader.next().ok_or_else(|| {
            let reason = "there are fewer records than were read or written before".to_owned();
            ReadError::Io(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, reason))
        })??;
        each(&record);
    }
    Ok(())
}
