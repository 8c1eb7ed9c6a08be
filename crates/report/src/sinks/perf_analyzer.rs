//! `profile_export.json`, the file of requests and replies that Perf Analyzer writes and GenAI-Perf reads.

use super::{Format, OpenSink, Out, RecordSink, SinkKind, Source, Start};
use crate::perf_analyzer::export::{ExportWriter, Reply, request_inputs};
use serde_json::Value;
use std::io;
use streamgauge_core::plan::{Endpoint, EndpointKind, ExportLevel, PERF_ANALYZER};
use streamgauge_core::record::{RawPiece, RunFacts};
use streamgauge_core::stop::Window;
use streamgauge_core::{Nanos, Received, Record};
use streamgauge_wire::endpoints::spec;
use streamgauge_wire::infer_responses;

pub(super) static SINK: SinkKind = SinkKind {
    format: Some(Format { name: PERF_ANALYZER, missing_feature: None }),
    file_name: |output| &output.export_file,
    source: Source::RecordsAndInputs,
    open: |out, start| Ok(Box::new(Export::open(out, start)?) as OpenSink<'_>),
};

struct Export<'a> {
    writer: ExportWriter<Out<'a>>,
    /// The inputs that were known before the load, as they appear in the file.
    inputs: Vec<Box<str>>,
    kind: EndpointKind,
    /// Whether the file has the bytes of the answers, and not their texts.
    is_raw: bool,
    /// The endpoint that reads answers in bytes, if they are tensors.
    tensors: Option<Endpoint>,
    /// The rule by which windows end, if the run is divided into windows.
    window: Option<Window>,
}

impl<'a> Export<'a> {
    fn open(out: Out<'a>, start: &Start<'_>) -> io::Result<Export<'a>> {
        let Start { plan, anchor_wall } = *start;
        Ok(Export {
            writer: ExportWriter::new(out, plan, anchor_wall)?,
            inputs: Vec::new(),
            kind: plan.endpoint.kind,
            is_raw: plan.output.export == ExportLevel::Raw,
            tensors: spec(plan.endpoint.kind).capabilities.tensors.then(|| plan.endpoint.clone()),
            window: plan.load.stop.stability.map(|rule| rule.window),
        })
    }
}

impl RecordSink for Export<'_> {
    fn input(&mut self, input: &Value) -> io::Result<()> {
        self.inputs.push(request_inputs(self.kind, input).into());
        Ok(())
    }

    fn record(&mut self, record: &Record, received: &Received, input: Option<&str>) -> io::Result<()> {
        let kept = || self.inputs.get(record.prompt as usize).map_or("{}", |input| &**input);
        let inputs = input.unwrap_or_else(kept);
        match &self.tensors {
            _ if !self.is_raw => self.writer.write_texts(record, inputs, received),
            Some(endpoint) => self.writer.write_replies(record, inputs, &replies(endpoint, &received.raw)),
            None => self.writer.write(record, inputs, &received.raw),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn finish(self: Box<Self>, facts: &RunFacts) -> io::Result<u64> {
        let boundaries = boundaries(facts, self.window);
        self.writer.finish(&boundaries)
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

/// The boundaries of a run's windows. If windows are counted in requests, only those of the figures are known.
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
