//! `inputs.json`: it is complete before the first record, since records that outlive a kill are of little use without their prompts.

use super::{OpenSink, Out, RecordSink, SinkKind, Source};
use crate::genai::inputs::{self, INPUTS};
use std::io;
use streamgauge_core::record::RunFacts;
use streamgauge_core::{Received, Record};

pub(super) static SINK: SinkKind = SinkKind {
    format: None,
    file_name: |_| INPUTS,
    source: Source::Itself,
    open: |out, start| {
        inputs::write(&mut *out, start.plan.endpoint.kind, start.inputs)?;
        Ok(Box::new(Inputs { out }) as OpenSink<'_>)
    },
};

/// The file, which is complete.
struct Inputs<'a> {
    out: Out<'a>,
}

impl RecordSink for Inputs<'_> {
    fn record(&mut self, _: &Record, _: &Received) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(self: Box<Self>, _: &RunFacts) -> io::Result<u64> {
        Ok(0)
    }
}
