//! `profile_export.json`: Perf Analyzer's file of every request and reply, spooled as the run goes.
//!
//! Perf Analyzer writes the server's bytes into it, or the outputs of its models. Here they are in it when they were kept
//! (`--export-level raw`); else each output event stands as a response with its text, in the form that GenAI-Perf's parser reads.

mod answers;
mod stamps;
mod usage_chunks;
mod values;

use crate::text::compact::{push_float, push_int, push_string};
use answers::{Form, MOST_RESPONSES, is_plain};
use serde_json::{Map, Value};
use stamps::WallStamps;
use std::io::{self, Write};
use streamgauge_core::load::Level;
use streamgauge_core::plan::{ExportLevel, RunPlan};
use streamgauge_core::record::RawPiece;
use streamgauge_core::{Nanos, Phase, Received, Record};
use streamgauge_wire::endpoints::spec;
use values::{push_outputs, push_responses};

pub use values::request_inputs;

/// The beginning of the file, before its first experiment.
pub const OPENING: &[u8] = br#"{"experiments":["#;

/// The text after the last experiment in the export of a run of `plan`.
pub fn closing(plan: &RunPlan) -> Vec<u8> {
    // That tool knows the path of an OpenAI endpoint only.
    let spec = spec(plan.endpoint.kind);
    let endpoint = match spec.capabilities.tensors {
        true => String::new(),
        false => plan.endpoint.shown_path().trim_start_matches('/').to_owned(),
    };
    // The version is what Perf Analyzer's released builds write.
    let mut text = b"],\"version\":\"0.0.0\",\"service_kind\":".to_vec();
    push_string(&mut text, spec.genai.service_kind);
    text.extend_from_slice(b",\"endpoint\":");
    push_string(&mut text, &endpoint);
    text.push(b'}');
    text
}

/// Writes the export, one request after the other. Its memory is one request's line.
pub struct ExportWriter<W> {
    out: W,
    raw: bool,
    /// The form of responses where they are made of the events' texts.
    form: Option<Form>,
    /// Whether an answer is one response, whatever it consists of.
    is_one_response: bool,
    /// How many more responses with a text of their own the file takes.
    responses_left: usize,
    /// Whether answers are event streams of chunks with choices.
    has_choices: bool,
    stamps: WallStamps,
    /// The text after the experiment.
    closing: Vec<u8>,
    line: Vec<u8>,
    /// The experiment has no windows.
    windowless: bool,
    undecodable: u64,
    first: bool,
}

/// A response of a KServe v2 model, as the server sent it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Receive stamp.
    pub at: Nanos,
    /// Its outputs by name: an element, or a list where an output has several.
    pub outputs: Map<String, Value>,
}

impl<W: Write> ExportWriter<W> {
    /// Begins the file, and in it the experiment of that plan. `anchor_wall` is the wall-clock time of the run's clock's zero, in
    /// nanoseconds since 1970.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(mut out: W, plan: &RunPlan, anchor_wall: i64) -> io::Result<ExportWriter<W>> {
        out.write_all(OPENING)?;
        let mut writer = ExportWriter {
            out,
            raw: false,
            form: Form::new(&plan.endpoint),
            responses_left: MOST_RESPONSES,
            is_one_response: !spec(plan.endpoint.kind).capabilities.text,
            has_choices: spec(plan.endpoint.kind).capabilities.usage,
            stamps: WallStamps::new(anchor_wall),
            closing: closing(plan),
            line: Vec::new(),
            windowless: false,
            undecodable: 0,
            first: true,
        };
        writer.begin(plan)?;
        Ok(writer)
    }

    fn begin(&mut self, plan: &RunPlan) -> io::Result<()> {
        self.raw = plan.output.export == ExportLevel::Raw;
        self.first = true;
        self.windowless = !plan.load.mode.has_windows();
        let mut value = Vec::new();
        let mode = match plan.load.mode.level() {
            Level::Concurrency(most) => {
                push_int(&mut value, most);
                "concurrency"
            }
            // JSON has no infinite number; Perf Analyzer writes 0.0 for load without a rate of its own.
            Level::Rate(rate) => {
                push_float(&mut value, if rate.is_finite() { rate } else { 0.0 });
                "request_rate"
            }
        };
        write!(self.out, r#"{{"experiment":{{"mode":"{mode}","value":"#)?;
        self.out.write_all(&value)?;
        self.out.write_all(br#"},"requests":["#)
    }

    /// Adds a request if it is measured and was sent. `inputs` are its inputs ([`request_inputs`]), made once for each prompt; `raw` are
    /// the pieces of the reply, which are used at the raw level only. There the chunks of a stream without choices, which contain only the
    /// server's counts, are left out.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write(&mut self, record: &Record, inputs: &str, raw: &[RawPiece]) -> io::Result<()> {
        if !self.raw {
            return self.write_texts(record, inputs, &Received::default());
        }
        if !self.push_request(record, inputs) {
            return Ok(());
        }
        let raw = if self.has_choices { usage_chunks::without(raw) } else { raw.into() };
        push_stamps(&mut self.line, &mut self.stamps, raw.iter().map(|piece| piece.at));
        self.line.extend_from_slice(b",\"response_outputs\":[");
        self.undecodable += push_responses(&mut self.line, &raw);
        self.line.extend_from_slice(b"]}");
        self.out.write_all(&self.line)
    }

    /// Adds a request at the level of records, with the texts of the answer if `received` has one for each of the record's output events.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write_texts(&mut self, record: &Record, inputs: &str, received: &Received) -> io::Result<()> {
        if !self.push_request(record, inputs) {
            return Ok(());
        }
        let ExportWriter { form, is_one_response, responses_left, line, stamps, .. } = self;
        let events = record.chunks.len();
        let has_texts = received.parts.len() == events
            && received.texts.iter().any(|output| !output.text.is_empty())
            && received.event_texts().count() == events;
        match form.as_ref().filter(|_| has_texts) {
            None => {
                // An answer without text is one response, however many outputs are in it.
                let from = if *is_one_response { events.saturating_sub(1) } else { 0 };
                push_stamps(line, stamps, record.chunks[from..].iter().map(|chunk| chunk.at));
                line.extend_from_slice(b",\"response_outputs\":[]}");
            }
            Some(form) => {
                let are_plain = received.texts.iter().all(|output| is_plain(&output.text));
                let (texts, left) = (received.event_texts(), responses_left.checked_sub(events));
                *responses_left = left.unwrap_or(*responses_left);
                if left.is_some() {
                    push_stamps(line, stamps, record.chunks.iter().map(|chunk| chunk.at));
                    line.extend_from_slice(b",\"response_outputs\":[");
                    form.push_each(line, texts, are_plain);
                } else {
                    // GenAI-Perf's parser takes the first, second and last stamp and counts the tokens of the whole text, so its figures
                    // do not change.
                    let with_text =
                        record.chunks.iter().zip(received.event_texts()).filter(|(_, text)| !text.is_empty());
                    push_stamps(line, stamps, with_text.map(|(chunk, _)| chunk.at));
                    line.extend_from_slice(b",\"response_outputs\":[");
                    form.push_joined(line, texts, are_plain);
                }
                line.extend_from_slice(b"]}");
            }
        }
        self.out.write_all(&self.line)
    }

    /// Adds a request to a KServe v2 model. `replies` are used at the raw level only, without those that have no outputs, because readers
    /// of that tool expect outputs in each.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write_replies(&mut self, record: &Record, inputs: &str, replies: &[Reply]) -> io::Result<()> {
        if !self.raw {
            return self.write_texts(record, inputs, &Received::default());
        }
        if !self.push_request(record, inputs) {
            return Ok(());
        }
        let with_outputs = || replies.iter().filter(|reply| !reply.outputs.is_empty());
        push_stamps(&mut self.line, &mut self.stamps, with_outputs().map(|reply| reply.at));
        self.line.extend_from_slice(b",\"response_outputs\":[");
        for (index, reply) in with_outputs().enumerate() {
            if index > 0 {
                self.line.push(b',');
            }
            push_outputs(&mut self.line, &reply.outputs);
        }
        self.line.extend_from_slice(b"]}");
        self.out.write_all(&self.line)
    }

    /// Passes the written data to the operating system, so that it outlives this process.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the experiment, whose windows had these boundaries, and the file. Returns the number of bytes that had to be left out of
    /// the replies because they were not UTF-8, which a JSON file cannot hold.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self, boundaries: &[Nanos]) -> io::Result<u64> {
        self.end(boundaries)?;
        self.out.write_all(&self.closing)?;
        self.out.flush()?;
        Ok(self.undecodable)
    }

    fn end(&mut self, boundaries: &[Nanos]) -> io::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(b"],\"window_boundaries\":");
        if self.windowless {
            // That tool's least and greatest time.
            self.line.extend_from_slice(format!("[0,{}]", u64::MAX).as_bytes());
        } else {
            push_stamps(&mut self.line, &mut self.stamps, boundaries.iter().copied());
        }
        self.line.push(b'}');
        self.out.write_all(&self.line)
    }

    /// Begins a request's line, up to the stamps of its responses. Returns false if the request is not in the file.
    fn push_request(&mut self, record: &Record, inputs: &str) -> bool {
        let (Phase::Profiling, Some(sent)) = (record.phase, record.sent) else { return false };
        self.line.clear();
        if !std::mem::replace(&mut self.first, false) {
            self.line.push(b',');
        }
        self.line.extend_from_slice(b"{\"timestamp\":");
        self.stamps.push(&mut self.line, sent);
        if let Some(sequence) = record.sequence.filter(|sequence| sequence.id != 0) {
            self.line.extend_from_slice(b",\"sequence_id\":");
            push_int(&mut self.line, sequence.id);
        }
        self.line.extend_from_slice(b",\"request_inputs\":");
        self.line.extend_from_slice(inputs.as_bytes());
        self.line.extend_from_slice(b",\"response_timestamps\":");
        true
    }
}

/// Appends a list of times.
fn push_stamps(line: &mut Vec<u8>, stamps: &mut WallStamps, times: impl Iterator<Item = Nanos>) {
    line.push(b'[');
    for (index, at) in times.enumerate() {
        if index > 0 {
            line.push(b',');
        }
        stamps.push(line, at);
    }
    line.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, record};
    use streamgauge_core::arrival::Arrival;
    use streamgauge_core::kserve::SequenceTag;
    use streamgauge_core::load::{Growth, Load};
    use streamgauge_core::plan::EndpointKind;
    use streamgauge_core::received::OutputText;
    use streamgauge_core::{Chunk, OutputKind};

    fn export(plan: &RunPlan, requests: &[(Record, String, Vec<RawPiece>)], window: [i64; 2]) -> (String, u64) {
        let mut out = Vec::new();
        let mut writer = ExportWriter::new(&mut out, plan, 1_000).unwrap();
        for (record, body, raw) in requests {
            let inputs = request_inputs(plan.endpoint.kind, &serde_json::from_str(body).unwrap());
            writer.write(record, &inputs, raw).unwrap();
        }
        let left_out = writer.finish(&window.map(Nanos)).unwrap();
        (String::from_utf8(out).unwrap(), left_out)
    }

    /// A real file taken apart into records and pieces and written again is the same file.
    #[test]
    fn a_load_that_grows_has_no_rate_and_no_windows() {
        let mut plan = plan(EndpointKind::KserveGrpc);
        plan.load.mode = Load::Growing(Growth { start: 1, end: 3, step: 1, responses: 2 });
        let (text, _) = export(&plan, &[], [0, 10]);
        let expected = r#"{"experiments":[{"experiment":{"mode":"request_rate","value":0.0},"requests":[],"window_boundaries":[0,18446744073709551615]}],"#;
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn an_answer_beyond_the_bound_on_responses_stands_whole_beside_all_its_stamps() {
        let mut out = Vec::new();
        let mut writer = ExportWriter::new(&mut out, &plan(EndpointKind::Chat), 1_000).unwrap();
        writer.responses_left = 4;
        let chunk = |at| Chunk { at: Nanos(at), lag: None, shared: false, kind: OutputKind::Text };
        let record = Record { sent: Some(Nanos(1)), chunks: [5, 6, 7].map(chunk).to_vec(), ..record() };
        let text = OutputText { choice: 0, kind: OutputKind::Text, text: "a b c".into() };
        let mut received = Received { texts: vec![text], ..Received::default() };
        [1, 2, 2].into_iter().for_each(|bytes| received.parts.push(0, bytes));
        for _ in 0..2 {
            writer.write_texts(&record, r#"{"payload":"{}"}"#, &received).unwrap();
        }
        writer.finish(&[Nanos(0), Nanos(10)]).unwrap();
        let document: Value = serde_json::from_slice(&out).unwrap();
        let requests = document["experiments"][0]["requests"].as_array().unwrap();
        let contents = |request: &Value| -> Vec<String> {
            let responses = request["response_outputs"].as_array().unwrap().iter();
            let text = |response: &Value| response["response"].as_str().unwrap()["data: ".len()..].to_owned();
            let parsed = responses.map(|response| serde_json::from_str::<Value>(text(response).trim()).unwrap());
            parsed.map(|body| body["choices"][0]["delta"]["content"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(contents(&requests[0]), ["a", " b", " c"]);
        assert_eq!(contents(&requests[1]), ["a b c"]);
        for request in requests {
            assert_eq!(request["response_timestamps"], serde_json::json!([1_005, 1_006, 1_007]));
        }
    }

    #[test]
    fn real_files_come_back_byte_for_byte() {
        for (kind, golden) in [
            (EndpointKind::Chat, include_str!("../../tests/golden/chat/profile_export.json")),
            (EndpointKind::Completions, include_str!("../../tests/golden/completions/profile_export.json")),
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
            plan.output.export = ExportLevel::Raw;
            plan.load.mode = Load::concurrency(experiment["experiment"]["value"].as_u64().unwrap() as u32);
            let window = &experiment["window_boundaries"];
            assert_eq!(export(&plan, &requests, [at(&window[0]), at(&window[1])]), (golden.to_owned(), 0));
        }
    }

    /// A request of a real file as what it was written from.
    fn taken_apart(request: &Value) -> (Record, Value, Vec<Reply>) {
        let at = |value: &Value| Nanos(value.as_i64().unwrap() - 1_000);
        let inputs = request["request_inputs"].as_object().unwrap().iter();
        let list = |value: &Value| if value.is_array() { value.clone() } else { Value::Array(vec![value.clone()]) };
        let shown = inputs.map(|(name, value)| (name.clone(), list(value))).collect();
        let stamps = request["response_timestamps"].as_array().unwrap();
        let outputs = request["response_outputs"].as_array().unwrap();
        let replies = stamps
            .iter()
            .zip(outputs)
            .map(|(stamp, outputs)| Reply { at: at(stamp), outputs: outputs.as_object().unwrap().clone() });
        (Record { sent: Some(at(&request["timestamp"])), ..record() }, shown, replies.collect())
    }

    /// A real file of tensors, taken apart and written again, each experiment as a file of its own and then all in one.
    fn written_again(golden: &str) -> String {
        let document: Value = serde_json::from_str(golden).unwrap();
        let mut plan = plan(EndpointKind::KserveGrpc);
        plan.output.export = ExportLevel::Raw;
        let (mut experiments, mut version) = (Vec::new(), String::new());
        for experiment in document["experiments"].as_array().unwrap() {
            plan.load.mode = Load::concurrency(experiment["experiment"]["value"].as_u64().unwrap() as u32);
            let mut out = Vec::new();
            let mut writer = ExportWriter::new(&mut out, &plan, 1_000).unwrap();
            for request in experiment["requests"].as_array().unwrap() {
                let (record, shown, replies) = taken_apart(request);
                let inputs = request_inputs(plan.endpoint.kind, &shown);
                writer.write_replies(&record, &inputs, &replies).unwrap();
            }
            let windows = experiment["window_boundaries"].as_array().unwrap();
            let boundaries: Vec<_> = windows.iter().map(|at| Nanos(at.as_i64().unwrap() - 1_000)).collect();
            assert_eq!(writer.finish(&boundaries).unwrap(), 0);
            let file = String::from_utf8(out).unwrap();
            let (one, end) = file.strip_prefix(r#"{"experiments":["#).unwrap().rsplit_once(r#"],"version""#).unwrap();
            experiments.push(one.to_owned());
            version = end.to_owned();
        }
        format!(r#"{{"experiments":[{}],"version"{version}"#, experiments.join(","))
    }

    #[test]
    fn real_files_of_tensors_come_back_byte_for_byte() {
        for golden in [
            include_str!("../../tests/golden/trtllm/profile_export.json"),
            include_str!("../../tests/golden/vllm/profile_export.json"),
        ] {
            assert_eq!(written_again(golden), golden);
        }
        // These were laid out anew when they were cut; what they say is the same, and in the same order.
        for golden in [
            include_str!("../../tests/golden/perf_analyzer/ensemble_export.json"),
            include_str!("../../tests/golden/perf_analyzer/add_sub_export.json"),
            include_str!("../../tests/golden/perf_analyzer/vllm_export.json"),
        ] {
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap().to_string();
            assert_eq!(read(&written_again(golden)), read(golden));
        }
    }

    #[test]
    fn replies_stand_there_at_the_raw_level_and_where_they_brought_something() {
        let output = Map::from_iter([("text_output".to_owned(), Value::from("hi"))]);
        let replies = [Reply { at: Nanos(7), outputs: output }, Reply { at: Nanos(8), outputs: Map::new() }];
        let chunk = Chunk { at: Nanos(7), lag: None, shared: false, kind: OutputKind::Text };
        let sequence = |id| Some(SequenceTag { id, start: true, end: false });
        let sent = Record { sent: Some(Nanos(5)), chunks: vec![chunk], sequence: sequence(9), ..record() };
        for (level, outputs) in [(ExportLevel::Records, ""), (ExportLevel::Raw, r#"{"text_output":"hi"}"#)] {
            let mut plan = plan(EndpointKind::KserveHttp);
            plan.output.export = level;
            let mut out = Vec::new();
            let mut writer = ExportWriter::new(&mut out, &plan, 0).unwrap();
            writer.write_replies(&sent, "{}", &replies).unwrap();
            writer.write_replies(&Record { sequence: sequence(0), ..sent.clone() }, "{}", &replies).unwrap();
            writer.finish(&[]).unwrap();
            let text = String::from_utf8(out).unwrap();
            let request = |sequence: &str| {
                format!(
                    r#"{{"timestamp":5,{sequence}"request_inputs":{{}},"response_timestamps":[7],"response_outputs":[{outputs}]}}"#
                )
            };
            let both = format!("[{},{}]", request(r#""sequence_id":9,"#), request(""));
            assert!(text.contains(&both), "{text}");
            assert!(
                text.ends_with(r#""window_boundaries":[]}],"version":"0.0.0","service_kind":"triton","endpoint":""}"#)
            );
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
            plan.load.mode = Load::rate(rate.parse().unwrap(), Arrival::Constant);
            let text = export(&plan, &[], [0, 10]).0;
            let start = format!(r#"{{"experiments":[{{"experiment":{{"mode":"request_rate","value":{value}}},"#);
            assert!(text.starts_with(&start), "{text}");
        }
    }
}
