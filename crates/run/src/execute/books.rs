//! Where records are entered, whether a run has just made them or they are read back: the fold, and the files that hold
//! a line for each.

use crate::execute::refold;
use anyhow::{Result, anyhow};
use std::io;
use std::path::{Path, PathBuf};
use streamgauge_core::plan::{Endpoint, EndpointKind, ExportLevel, RunPlan};
use streamgauge_core::record::{RawPiece, RunFacts};
use streamgauge_core::secrets::Secrets;
use streamgauge_core::stop::Window;
use streamgauge_core::{Nanos, Received, Record};
use streamgauge_report::artifacts::{Artifacts, Spool};
use streamgauge_report::perf_analyzer::export::{self, Reply};
use streamgauge_report::{ExportWriter, RecordWriter};
use streamgauge_stats::{Accumulator, AccumulatorConfig, Counts, Scope, Slots, Span, Summary};
use streamgauge_wire::infer_responses;

/// The open books of a run.
pub struct Books<'a> {
    config: AccumulatorConfig,
    accumulator: Accumulator,
    /// The slots of a closed loop, where the time in which all of them were busy is asked for.
    slots: Option<Slots>,
    /// How many records were entered.
    entered: u64,
    /// The file that they can be read from again.
    source: Option<PathBuf>,
    /// What requests say, as the export has it; by prompt.
    inputs: Vec<String>,
    /// What is overwritten in the bytes of replies.
    secrets: Secrets,
    files: Option<Files<&'a mut Spool>>,
    write_error: Option<io::Error>,
}

/// What is left when all records are in.
pub struct Recorded {
    /// Every figure.
    pub summary: Summary,
    /// The whole run's requests, whatever part of it the figures are of.
    pub counts: Counts,
    /// The first failure to write a file, after which nothing was written, or to read the records again for figures of a part of
    /// the run: where those are missing the summary is of the whole run.
    pub write_error: Option<anyhow::Error>,
    /// Bytes of replies that the export had to leave out, since a JSON file cannot hold them.
    pub undecodable: u64,
}

impl<'a> Books<'a> {
    /// Begins with the plan, and with those files that `artifacts` has. `anchor_wall` is the wall-clock time of the run's
    /// clock's zero, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When the plan's goodput limits are not ones that can be kept.
    pub fn open(
        plan: &RunPlan,
        bodies: &[serde_json::Value],
        anchor_wall: i64,
        artifacts: &'a mut Artifacts,
    ) -> Result<Books<'a>> {
        let config = AccumulatorConfig::of(plan)?;
        let accumulator = Accumulator::new(config.clone());
        let slots = plan.measure.steady_state.then(Slots::default);
        let source = artifacts.records.as_ref().map(|spool| spool.temporary().to_owned());
        let inputs = bodies.iter().map(|body| export::request_inputs(plan.endpoint.kind, body)).collect();
        let (files, write_error) = match Files::open(artifacts, plan, anchor_wall) {
            Ok(files) => (Some(files), None),
            Err(error) => (None, Some(error)),
        };
        let secrets = Secrets::of(&plan.endpoint);
        Ok(Books { config, accumulator, slots, entered: 0, source, inputs, secrets, files, write_error })
    }

    /// For records that are not written but read from that file.
    pub fn read_from(self, source: &Path) -> Books<'a> {
        Books { source: Some(source.to_owned()), ..self }
    }

    /// How many records were entered.
    pub fn entered(&self) -> u64 {
        self.entered
    }

    /// What the records come to so far.
    pub fn so_far(&mut self) -> &mut Accumulator {
        &mut self.accumulator
    }

    /// Enters a record, and what is known of its reply, in which secrets are overwritten first.
    pub fn enter(&mut self, record: &Record, mut reply: Received) {
        reply.overwrite(&self.secrets);
        self.entered += 1;
        self.accumulator.add(record);
        if let Some(slots) = &mut self.slots {
            slots.add(record);
        }
        let inputs = self.inputs.get(record.prompt as usize).map_or("{}", String::as_str);
        keep(&mut self.files, &mut self.write_error, |files| files.write(record, inputs, &reply));
    }

    /// Hands what was written to the system, so that it outlives this process.
    pub fn flush(&mut self) {
        keep(&mut self.files, &mut self.write_error, Files::flush);
    }

    /// Closes the books with what belongs to no single request.
    pub fn close(mut self, facts: &RunFacts) -> Recorded {
        let undecodable = match self.files.take().map_or(Ok(0), |files| files.finish(facts)) {
            Ok(undecodable) => undecodable,
            Err(error) => {
                self.write_error.get_or_insert(error);
                0
            }
        };
        let written = self.write_error.take().map_or(Ok(()), |error| Err(error.into()));
        let (parts, write_error) = match written.and_then(|()| self.parts(facts)) {
            Ok(parts) => (parts, None),
            Err(error) => (Parts::default(), Some(error)),
        };
        let counts = self.accumulator.counts();
        let whole = |facts: &RunFacts| self.accumulator.close(facts);
        let mut summary = parts.windows.unwrap_or_else(|| whole(&RunFacts { window: None, ..facts.clone() }));
        summary.steady_state = parts.steady.map(Box::new);
        Recorded { summary, counts, write_error, undecodable }
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

/// Does `work` on the files while they can be written.
fn keep<F>(files: &mut Option<F>, failed: &mut Option<io::Error>, work: impl FnOnce(&mut F) -> io::Result<()>) {
    if let Some(Err(error)) = files.as_mut().map(work) {
        failed.get_or_insert(error);
        *files = None;
    }
}

/// The responses in an answer's bytes. One without outputs says only that the answer is over.
fn replies(endpoint: &Endpoint, raw: &[RawPiece]) -> Vec<Reply> {
    let responses = infer_responses(endpoint, &[], raw.iter().map(|piece| piece.bytes.as_slice()));
    let with_outputs = responses.into_iter().filter(|response| !response.is_empty);
    with_outputs
        .filter_map(|response| Some(Reply { at: raw.get(response.piece)?.at, outputs: response.outputs }))
        .collect()
}

/// The files that grow with the run.
struct Files<W: io::Write> {
    records: Option<RecordWriter<W>>,
    export: Option<ExportWriter<W>>,
    /// Whether the export has the bytes of the replies, and not their texts.
    is_raw: bool,
    /// Where answers are tensors: what they are read by.
    tensors: Option<Endpoint>,
    /// Of a run that is a row of windows: what each ends by.
    window: Option<Window>,
}

impl<'a> Files<&'a mut Spool> {
    fn open(artifacts: &'a mut Artifacts, plan: &RunPlan, anchor_wall: i64) -> io::Result<Self> {
        let records =
            artifacts.records.as_mut().map(|spool| RecordWriter::new(spool, plan, anchor_wall)).transpose()?;
        let export = artifacts.export.as_mut().map(|spool| ExportWriter::new(spool, plan, anchor_wall)).transpose()?;
        let has_tensors = matches!(plan.endpoint.kind, EndpointKind::KserveGrpc | EndpointKind::KserveHttp);
        let tensors = has_tensors.then(|| plan.endpoint.clone());
        let is_raw = plan.output.export == ExportLevel::Raw;
        Ok(Files { records, export, is_raw, tensors, window: plan.load.stop.stability.map(|rule| rule.window) })
    }
}

impl<W: io::Write> Files<W> {
    fn write(&mut self, record: &Record, inputs: &str, reply: &Received) -> io::Result<()> {
        if let Some(records) = &mut self.records {
            records.write(record)?;
        }
        match (&mut self.export, &self.tensors) {
            (Some(export), _) if !self.is_raw => {
                export.write_texts(record, inputs, &reply.event_texts().collect::<Vec<_>>())
            }
            (Some(export), Some(endpoint)) => export.write_replies(record, inputs, &replies(endpoint, &reply.raw)),
            (Some(export), None) => export.write(record, inputs, &reply.raw),
            (None, _) => Ok(()),
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
        let boundaries = boundaries(facts, self.window);
        self.export.map_or(Ok(0), |export| export.finish(&boundaries))
    }
}

/// Where the windows of a run began and ended; of windows of requests only those that its figures are of are known.
fn boundaries(facts: &RunFacts, window: Option<Window>) -> Vec<Nanos> {
    match (facts.window, window) {
        (Some(known), Some(Window::Time(length))) => {
            let starts = (0..known.windows).map(|before| facts.started + Nanos(length.0 * i64::from(before)));
            starts.chain([known.to]).collect()
        }
        (Some(known), _) => vec![known.from, known.to],
        (None, _) => vec![facts.started, facts.ended],
    }
}
