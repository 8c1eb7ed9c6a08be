//! The far end of the records' channel: counts the output's tokens, adds each record to the summary, and writes it to the
//! files, all on a thread of its own.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::RunFacts;
use streamgauge_load::{Batch, Finished};
use streamgauge_prompt::Tokenizer;
use streamgauge_report::artifacts::Artifacts;
use streamgauge_report::{ExportWriter, RecordWriter};
use streamgauge_stats::{Accumulator, Summary};

/// Finished records are on disk after no longer than this, so that a kill loses no more.
const FLUSH: Nanos = Nanos::from_millis(500);

/// What turns records into results.
pub struct Recorder<'a> {
    /// The plan.
    pub plan: &'a RunPlan,
    /// Counts output tokens.
    pub tokenizer: Tokenizer,
    /// The bodies as JSON strings, for the export; by prompt.
    pub payloads: Vec<String>,
    /// The fold.
    pub accumulator: Accumulator,
    /// The run's clock.
    pub clock: SystemClock,
}

/// What is left when all records are in.
pub struct Recorded {
    /// Every figure.
    pub summary: Summary,
    /// The first failure to write a file; nothing was written after it.
    pub write_error: Option<io::Error>,
    /// Bytes of replies that the export had to leave out, since a JSON file cannot hold them.
    pub undecodable: u64,
}

impl Recorder<'_> {
    /// Takes batches until their senders are gone, then closes the books with the run's facts.
    pub fn run(mut self, batches: Receiver<Batch>, facts: Receiver<RunFacts>, artifacts: &mut Artifacts) -> Recorded {
        let (mut files, mut write_error) = match Files::open(artifacts, self.plan, self.clock.anchor_wall()) {
            Ok(files) => (Some(files), None),
            Err(error) => (None, Some(error)),
        };
        let mut flushed = self.clock.now();
        loop {
            let batch = match batches.recv_timeout(FLUSH.to_duration()) {
                Ok(batch) => batch,
                Err(RecvTimeoutError::Timeout) => Batch::new(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            for mut finished in batch {
                self.count(&mut finished);
                self.accumulator.add(&finished.record);
                let payload = self.payloads.get(finished.record.prompt as usize).map_or("\"\"", String::as_str);
                keep(&mut files, &mut write_error, |files| files.write(&finished, payload));
            }
            let now = self.clock.now();
            if now - flushed >= FLUSH {
                flushed = now;
                keep(&mut files, &mut write_error, Files::flush);
            }
        }
        // The sender lives until the run is over; without it nothing was run.
        let facts = facts.recv().unwrap_or_default();
        let undecodable = match files.map_or(Ok(0), |files| files.finish(&facts)) {
            Ok(undecodable) => undecodable,
            Err(error) => {
                write_error.get_or_insert(error);
                0
            }
        };
        Recorded { summary: self.accumulator.close(&facts), write_error, undecodable }
    }

    fn count(&self, finished: &mut Finished) {
        if !finished.outputs.is_empty() {
            let tokens = finished.outputs.iter().map(|output| self.tokenizer.count(&output.text)).sum();
            finished.record.text_tokens = Some(tokens);
        }
    }
}

/// Does `work` on the files while they can be written.
fn keep<F>(files: &mut Option<F>, failed: &mut Option<io::Error>, work: impl FnOnce(&mut F) -> io::Result<()>) {
    if let Some(Err(error)) = files.as_mut().map(work) {
        failed.get_or_insert(error);
        *files = None;
    }
}

/// The files that grow with the run.
struct Files<W: io::Write> {
    records: Option<RecordWriter<W>>,
    export: Option<ExportWriter<W>>,
}

impl<'a> Files<&'a mut streamgauge_report::artifacts::Spool> {
    fn open(artifacts: &'a mut Artifacts, plan: &RunPlan, anchor_wall: i64) -> io::Result<Self> {
        let records =
            artifacts.records.as_mut().map(|spool| RecordWriter::new(spool, plan, anchor_wall)).transpose()?;
        let export = artifacts.export.as_mut().map(|spool| ExportWriter::new(spool, plan, anchor_wall)).transpose()?;
        Ok(Files { records, export })
    }
}

impl<W: io::Write> Files<W> {
    fn write(&mut self, finished: &Finished, payload: &str) -> io::Result<()> {
        if let Some(records) = &mut self.records {
            records.write(&finished.record)?;
        }
        match &mut self.export {
            Some(export) => export.write(&finished.record, payload, &finished.raw),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(records) = &mut self.records {
            records.flush()?;
        }
        self.export.as_mut().map_or(Ok(()), ExportWriter::flush)
    }

    /// Ends the files; how many bytes the export left out.
    fn finish(self, facts: &RunFacts) -> io::Result<u64> {
        if let Some(records) = self.records {
            records.finish(facts)?;
        }
        self.export.map_or(Ok(0), |export| export.finish(facts.started, facts.ended))
    }
}
