//! `inputs.json`: where inputs are all prepared before load it is complete before the first record, since records that outlive a kill are of
//! little use without their prompts. Where inputs are prepared while the run goes on, each is written as it is prepared.

use super::{OpenSink, Out, RecordSink, SinkKind, Source};
use crate::genai::inputs::{INPUTS, InputsWriter};
use serde_json::Value;
use std::io;
use streamgauge_core::record::RunFacts;
use streamgauge_core::{Received, Record};

pub(super) static SINK: SinkKind = SinkKind {
    format: None,
    file_name: |_| INPUTS,
    source: Source::Itself,
    open: |out, start| Ok(Box::new(Inputs { writer: InputsWriter::new(out, start.plan.endpoint.kind) }) as OpenSink<'_>),
};

struct Inputs<'a> {
    writer: InputsWriter<Out<'a>>,
}

impl RecordSink for Inputs<'_> {
    fn input(&mut self, input: &Value) -> io::Result<()> {
        self.writer.input(input)
    }

    fn end_of_inputs(&mut self) -> io::Result<()> {
        self.writer.end()
    }

    fn record(&mut self, _: &Record, _: &Received, _: Option<&str>) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn finish(mut self: Box<Self>, _: &RunFacts) -> io::Result<u64> {
        self.writer.end().map(|()| 0)
    }
}
