//! `profile_export.json`: Perf Analyzer's file of every request and reply, spooled as the run goes.
//!
//! Perf Analyzer writes the server's bytes into it, which costs most of the file. Here they are in it when they were
//! kept (`--export-level raw`); else the stamps of the output events stand alone.

use crate::compact::{push_escaped, push_int, push_string};
use std::io::{self, Write};
use streamgauge_core::load::{Arrivals, Load};
use streamgauge_core::plan::{ExportLevel, RunPlan};
use streamgauge_core::record::RawPiece;
use streamgauge_core::{Nanos, Phase, Record};

/// Writes the export, one request after the other. Its memory is one request's line.
pub struct ExportWriter<W> {
    out: W,
    raw: bool,
    anchor_wall: i64,
    endpoint: String,
    line: Vec<u8>,
    undecodable: u64,
    first: bool,
}

impl<W: Write> ExportWriter<W> {
    /// Begins the file. `anchor_wall` is the wall-clock time of the run's clock's zero, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(mut out: W, plan: &RunPlan, anchor_wall: i64) -> io::Result<ExportWriter<W>> {
        // JSON has no infinite number; Perf Analyzer writes 0.0 for load without a rate of its own.
        let rate = |rate: f64| format!("{:?}", if rate.is_finite() { rate } else { 0.0 });
        let (mode, value) = match &plan.load {
            Load::Concurrency(places) => ("concurrency", places.most.to_string()),
            // Their times are in files, which are not there when a report is made again.
            Load::Open { arrivals: Arrivals::Intervals { .. } | Arrivals::Trace { .. }, .. } => {
                ("request_rate", rate(0.0))
            }
            load => ("request_rate", rate(load.peak_rate())),
        };
        write!(out, r#"{{"experiments":[{{"experiment":{{"mode":"{mode}","value":{value}}},"requests":["#)?;
        let endpoint = plan.endpoint.path.trim_start_matches('/').to_owned();
        let raw = plan.export == ExportLevel::Raw;
        Ok(ExportWriter { out, raw, anchor_wall, endpoint, line: Vec::new(), undecodable: 0, first: true })
    }

    /// Adds a request, if it is a measured one and was sent. `payload` is the body as a quoted JSON string
    /// ([`payload_string`]), made once for each prompt; `raw` are the pieces of the reply, used at the raw level only.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write(&mut self, record: &Record, payload: &str, raw: &[RawPiece]) -> io::Result<()> {
        let (Phase::Profiling, Some(sent)) = (record.phase, record.sent) else { return Ok(()) };
        self.line.clear();
        if !std::mem::replace(&mut self.first, false) {
            self.line.push(b',');
        }
        self.line.extend_from_slice(b"{\"timestamp\":");
        self.push_wall(sent);
        self.line.extend_from_slice(b",\"request_inputs\":{\"payload\":");
        self.line.extend_from_slice(payload.as_bytes());
        self.line.extend_from_slice(b"},\"response_timestamps\":[");
        if self.raw {
            self.push_stamps(raw.iter().map(|piece| piece.at));
        } else {
            self.push_stamps(record.chunks.iter().map(|chunk| chunk.at));
        }
        self.line.extend_from_slice(b"],\"response_outputs\":[");
        if self.raw {
            self.undecodable += push_responses(&mut self.line, raw);
        }
        self.line.extend_from_slice(b"]}");
        self.out.write_all(&self.line)
    }

    /// Hands what was written to the system, so that it outlives this process.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the file with the times between which it measured. Gives the number of bytes that had to be left out of the
    /// replies because they were not UTF-8, which a JSON file cannot hold.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self, started: Nanos, ended: Nanos) -> io::Result<u64> {
        self.line.clear();
        self.line.extend_from_slice(b"],\"window_boundaries\":[");
        self.push_stamps([started, ended].into_iter());
        // The version is what Perf Analyzer's released builds write.
        self.line.extend_from_slice(b"]}],\"version\":\"0.0.0\",\"service_kind\":\"openai\",\"endpoint\":");
        push_string(&mut self.line, &self.endpoint);
        self.line.push(b'}');
        self.out.write_all(&self.line)?;
        self.out.flush()?;
        Ok(self.undecodable)
    }

    fn push_wall(&mut self, at: Nanos) {
        push_int(&mut self.line, self.anchor_wall.saturating_add(at.0));
    }

    fn push_stamps(&mut self, stamps: impl Iterator<Item = Nanos>) {
        for (index, at) in stamps.enumerate() {
            if index > 0 {
                self.line.push(b',');
            }
            self.push_wall(at);
        }
    }
}

/// A request's body as it stands in the export: a JSON string, quoted.
pub fn payload_string(body: &str) -> String {
    let mut out = Vec::with_capacity(body.len() + body.len() / 8);
    push_string(&mut out, body);
    // What is escaped byte by byte from UTF-8 is UTF-8; if it were not, no payload is better than a wrong one.
    String::from_utf8(out).unwrap_or_else(|_| "\"\"".into())
}

/// Appends one response for each piece. The network cuts where it likes: the beginning of a character that a piece ends
/// in goes to the next piece. Gives the number of bytes left out because no character can hold them.
fn push_responses(line: &mut Vec<u8>, raw: &[RawPiece]) -> u64 {
    let mut left_out = 0;
    let mut carried = Vec::new();
    for (index, piece) in raw.iter().enumerate() {
        line.extend_from_slice(if index > 0 { b",{\"response\":\"" } else { b"{\"response\":\"" });
        if carried.is_empty() {
            left_out += push_decodable(line, &piece.bytes, &mut carried);
        } else {
            let mut whole = std::mem::take(&mut carried);
            whole.extend_from_slice(&piece.bytes);
            left_out += push_decodable(line, &whole, &mut carried);
        }
        line.extend_from_slice(b"\"}");
    }
    left_out + carried.len() as u64
}

/// Appends what of `bytes` is text. Bytes that begin a character at the end go to `carried`; others are left out, and
/// their number is the result.
fn push_decodable(line: &mut Vec<u8>, bytes: &[u8], carried: &mut Vec<u8>) -> u64 {
    let mut left_out = 0;
    for chunk in bytes.utf8_chunks() {
        push_escaped(line, chunk.valid());
        let rest = chunk.invalid();
        let at_end = rest.as_ptr_range().end == bytes.as_ptr_range().end;
        if at_end && is_cut(rest) {
            carried.extend_from_slice(rest);
        } else {
            left_out += rest.len() as u64;
        }
    }
    left_out
}

/// Whether `bytes` are the beginning of a character whose end may still come.
fn is_cut(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(error) if error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, record};
    use serde_json::Value;
    use streamgauge_core::arrival::Arrival;
    use streamgauge_core::plan::EndpointKind;
    use streamgauge_core::{Chunk, OutputKind};

    fn export(plan: &RunPlan, requests: &[(Record, String, Vec<RawPiece>)], window: [i64; 2]) -> (String, u64) {
        let mut out = Vec::new();
        let mut writer = ExportWriter::new(&mut out, plan, 1_000).unwrap();
        for (record, body, raw) in requests {
            writer.write(record, &payload_string(body), raw).unwrap();
        }
        let left_out = writer.finish(Nanos(window[0]), Nanos(window[1])).unwrap();
        (String::from_utf8(out).unwrap(), left_out)
    }

    /// A real file taken apart into records and pieces and written again is the same file.
    #[test]
    fn real_files_come_back_byte_for_byte() {
        for (kind, golden) in [
            (EndpointKind::Chat, include_str!("../tests/golden/chat/profile_export.json")),
            (EndpointKind::Completions, include_str!("../tests/golden/completions/profile_export.json")),
        ] {
            let document: Value = serde_json::from_str(golden).unwrap();
            let experiment = &document["experiments"][0];
            let at = |value: &Value| value.as_i64().unwrap() - 1_000;
            let requests: Vec<_> = experiment["requests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|request| {
                    let stamps = request["response_timestamps"].as_array().unwrap();
                    let texts = request["response_outputs"].as_array().unwrap();
                    let raw = stamps.iter().zip(texts).map(|(stamp, text)| RawPiece {
                        at: Nanos(at(stamp)),
                        bytes: text["response"].as_str().unwrap().as_bytes().to_vec(),
                    });
                    let record = Record { sent: Some(Nanos(at(&request["timestamp"]))), ..record() };
                    (record, request["request_inputs"]["payload"].as_str().unwrap().to_owned(), raw.collect())
                })
                .collect();
            let mut plan = plan(kind);
            plan.export = ExportLevel::Raw;
            plan.load = Load::concurrency(experiment["experiment"]["value"].as_u64().unwrap() as u32);
            let window = &experiment["window_boundaries"];
            assert_eq!(export(&plan, &requests, [at(&window[0]), at(&window[1])]), (golden.to_owned(), 0));
        }
    }

    #[test]
    fn without_raw_bytes_the_output_events_have_the_stamps() {
        let chunk = |at| Chunk { at: Nanos(at), lag: None, shared: false, kind: OutputKind::Text };
        let sent = Record { sent: Some(Nanos(5)), chunks: vec![chunk(8), chunk(9)], ..record() };
        let warmup = Record { phase: Phase::Warmup, ..sent.clone() };
        let unsent = Record { sent: None, ..sent.clone() };
        let raw = vec![RawPiece { at: Nanos(7), bytes: b"data: x\n\n".to_vec() }];
        let requests = [warmup, unsent, sent].map(|record| (record, "{}".to_owned(), raw.clone()));
        let expected = concat!(
            r#"{"experiments":[{"experiment":{"mode":"concurrency","value":2},"requests":[{"timestamp":1005,"#,
            r#""request_inputs":{"payload":"{}"},"response_timestamps":[1008,1009],"response_outputs":[]}],"#,
            r#""window_boundaries":[1000,1010]}],"version":"0.0.0","service_kind":"openai","#,
            r#""endpoint":"v1/chat/completions"}"#,
        );
        assert_eq!(export(&plan(EndpointKind::Chat), &requests, [0, 10]), (expected.to_owned(), 0));
    }

    #[test]
    fn an_open_loop_is_named_by_its_rate() {
        let mut plan = plan(EndpointKind::Chat);
        for (rate, value) in [("10", "10.0"), ("0.5", "0.5"), ("inf", "0.0")] {
            plan.load = Load::rate(rate.parse().unwrap(), Arrival::Constant);
            let text = export(&plan, &[], [0, 10]).0;
            let start = format!(r#"{{"experiments":[{{"experiment":{{"mode":"request_rate","value":{value}}},"#);
            assert!(text.starts_with(&start), "{text}");
        }
    }

    #[test]
    fn characters_cut_by_the_network_are_whole_again_in_the_next_piece() {
        let texts = |pieces: &[&[u8]]| {
            let raw: Vec<RawPiece> =
                pieces.iter().map(|bytes| RawPiece { at: Nanos::ZERO, bytes: bytes.to_vec() }).collect();
            let mut line = vec![b'['];
            let left_out = push_responses(&mut line, &raw);
            line.push(b']');
            let read: Value = serde_json::from_slice(&line).unwrap();
            let text = |response: &Value| response["response"].as_str().unwrap().to_owned();
            (read.as_array().unwrap().iter().map(text).collect::<Vec<_>>(), left_out)
        };
        assert_eq!(texts(&[b"a\xf0\x9f", b"\x98", b"\x80b"]), (vec!["a".into(), "".into(), "\u{1f600}b".into()], 0));
        assert_eq!(texts(&[b"a\xffb", b"\xe2\x82", b"c"]), (vec!["ab".into(), "".into(), "c".into()], 3));
        assert_eq!(texts(&[b"end\xe2\x82"]), (vec!["end".into()], 2));
    }
}
