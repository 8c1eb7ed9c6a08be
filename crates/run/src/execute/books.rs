//! Processes records, whether a run has just made them or they are read back: into the summary, and into the files with an entry for each.

use crate::execute::refold;
use crate::stored::Recorded;
use anyhow::{Result, anyhow};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::RunFacts;
use streamgauge_core::secrets::Secrets;
use streamgauge_core::{Received, Record};
use streamgauge_report::artifacts::{Artifacts, INPUTS};
use streamgauge_report::sinks::{OpenSink, Start};
use streamgauge_stats::{Accumulator, AccumulatorConfig, Scope, Slots, Span, Summary};

/// The summary and the record files of a run, while records come in.
pub struct Books<'a> {
    config: AccumulatorConfig,
    accumulator: Accumulator,
    /// The slots of a closed loop, if the time in which all of them were busy is asked for.
    slots: Option<Slots>,
    /// The number of records that were entered.
    entered: u64,
    /// The file that they can be read from again.
    source: Option<PathBuf>,
    /// The secrets that are overwritten in the contents of answers.
    secrets: Secrets,
    /// The writers of the files, each with the name of its file. There are none after the first failure to write one.
    sinks: Vec<(String, OpenSink<'a>)>,
    write_error: Option<io::Error>,
}

impl<'a> Books<'a> {
    /// Begins with the plan, and with those files that `artifacts` has, whose beginnings are handed to the system. `anchor_wall` is the wall-clock time of the run clock's zero, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When the plan's goodput limits are not ones that can be kept, or a file cannot be written.
    pub fn open(plan: &RunPlan, anchor_wall: i64, artifacts: &'a mut Artifacts) -> Result<Books<'a>> {
        let config = AccumulatorConfig::of(plan)?;
        let accumulator = Accumulator::new(config.clone());
        let slots = plan.measure.steady_state.then(Slots::default);
        let source = artifacts.records().map(Path::to_owned);
        let secrets = Secrets::of(&plan.endpoint);
        let sinks = artifacts.begin(&Start { plan, anchor_wall })?;
        Ok(Books { config, accumulator, slots, entered: 0, source, secrets, sinks, write_error: None })
    }

    /// For records that are not written but read from that file.
    pub fn read_from(self, source: &Path) -> Books<'a> {
        Books { source: Some(source.to_owned()), ..self }
    }

    /// How many records were entered.
    pub fn entered(&self) -> u64 {
        self.entered
    }

    /// The figures of the records so far.
    pub fn so_far(&mut self) -> &mut Accumulator {
        &mut self.accumulator
    }

    /// Enters the next input of a run whose inputs are all prepared before load.
    pub fn input(&mut self, input: &Value) {
        self.write(|sink| sink.input(input));
    }

    /// No input follows. The inputs written so far are passed to the operating system.
    pub fn end_of_inputs(&mut self) {
        self.write(|sink| sink.end_of_inputs().and_then(|()| sink.flush()));
    }

    /// Takes out the writer of the file of inputs, for a run whose inputs are prepared during the load.
    pub fn take_inputs(&mut self) -> Option<OpenSink<'a>> {
        let place = self.sinks.iter().position(|(file, _)| file == INPUTS)?;
        Some(self.sinks.remove(place).1)
    }

    /// Adds a record and the content of its answer, in which secrets are overwritten first. `input` is the content of the request, if it
    /// was prepared during the load.
    pub fn enter(&mut self, record: &Record, mut received: Received, input: Option<&str>) {
        received.overwrite(&self.secrets);
        self.entered += 1;
        self.accumulator.add(record);
        if let Some(slots) = &mut self.slots {
            slots.add(record);
        }
        self.write(|sink| sink.record(record, &received, input));
    }

    /// Passes the written data to the operating system, so that it outlives this process.
    pub fn flush(&mut self) {
        self.write(|sink| sink.flush());
    }

    /// Does `work` on each file, as long as all of them can be written.
    fn write(&mut self, mut work: impl FnMut(&mut OpenSink<'a>) -> io::Result<()>) {
        if let Err(error) = self.sinks.iter_mut().try_for_each(|(_, sink)| work(sink)) {
            self.write_error.get_or_insert(error);
            self.sinks.clear();
        }
    }

    /// Ends the files and makes the summary, with `facts`, which belong to no single request.
    pub fn close(mut self, facts: &RunFacts) -> Recorded {
        let mut left_out = Vec::new();
        for (file, sink) in std::mem::take(&mut self.sinks) {
            match sink.finish(facts) {
                Ok(0) => {}
                Ok(bytes) => left_out.push((file, bytes)),
                Err(error) => {
                    self.write_error.get_or_insert(error);
                    break;
                }
            }
        }
        let written = self.write_error.take().map_or(Ok(()), |error| Err(error.into()));
        let (parts, write_error) = match written.and_then(|()| self.parts(facts)) {
            Ok(parts) => (parts, None),
            Err(error) => (Parts::default(), Some(error)),
        };
        let counts = self.accumulator.counts();
        let whole = |facts: &RunFacts| self.accumulator.close(facts);
        let mut summary = parts.windows.unwrap_or_else(|| whole(&RunFacts { window: None, ..facts.clone() }));
        summary.steady_state = parts.steady.map(Box::new);
        Recorded { summary, counts, write_error, left_out }
    }

    /// The figures of parts of the run: of its last windows where it was a row of them, and of the time in which all slots were
    /// busy where that is asked for and there was one.
    fn parts(&self, facts: &RunFacts) -> Result<Parts> {
        let windows = facts.window.map(|window| Scope::Ended(Span { from: window.from, to: window.to }));
        let steady = self.slots.as_ref().and_then(Slots::busy).map(Scope::Held);
        if windows.is_none() && steady.is_none() {
            return Ok(Parts::default());
        }
        let source = self.source.as_ref().ok_or_else(|| anyhow!("figures of a part of the run need its records"))?;
        let [windows, steady] = refold::summaries(source, self.entered, &self.config, [windows, steady], facts)?;
        Ok(Parts { windows, steady })
    }
}

/// The figures of parts of a run.
#[derive(Default)]
struct Parts {
    windows: Option<Summary>,
    steady: Option<Summary>,
}
