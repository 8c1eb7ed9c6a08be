//! What is counted. Each subject prepares its input, then does its work so many times; what it works on is made by
//! arithmetic and so the same everywhere.

use anyhow::{Result, ensure};
use serde_json::json;
use std::hint::black_box;
use std::io;
use streamgauge_core::arrival::{Arrival, Rate};
use streamgauge_core::event::{Event, OutputKind, Usage};
use streamgauge_core::load::{Arrivals, Load};
use streamgauge_core::plan::{EndpointKind, RunPlan};
use streamgauge_core::record::{Chunk, Outcome, Record};
use streamgauge_core::schedule::Schedule;
use streamgauge_core::seed::Seed;
use streamgauge_core::stop::StopRule;
use streamgauge_core::{Nanos, ReceiveStamp};
use streamgauge_report::perf_analyzer::export::request_inputs;
use streamgauge_report::{ExportWriter, RecordWriter};
use streamgauge_stats::distribution::EXACT_VALUES;
use streamgauge_stats::{Metric, Sampler};
use streamgauge_wire::{AnswerContext, AnswerHead, Codec, Keep, SseEvent, SseParser, Transcript};

/// Something to count.
pub struct Subject {
    /// Its name.
    pub name: &'static str,
    /// What the count is divided by.
    pub item: &'static str,
    /// Items a round.
    pub items: u64,
    /// Rounds of a measurement: enough for a few million instructions, which take a second.
    pub rounds: u64,
    work: fn(u64) -> Result<u64>,
}

impl Subject {
    /// Prepares and works `rounds` rounds.
    ///
    /// # Errors
    /// When the work was not what the subject says.
    pub fn run(&self, rounds: u64) -> Result<()> {
        let done = (self.work)(rounds)?;
        ensure!(done == rounds * self.items, "{} did {done} items, not {}", self.name, rounds * self.items);
        Ok(())
    }
}

/// All of them.
pub const SUBJECTS: &[Subject] = &[
    Subject { name: "sse", item: "event", items: EVENTS, rounds: 50, work: |rounds| sse(rounds, usize::MAX) },
    Subject { name: "sse_cut", item: "event", items: EVENTS, rounds: 20, work: |rounds| sse(rounds, 100) },
    Subject { name: "chunk_template", item: "event", items: EVENTS, rounds: 50, work: |rounds| decode(rounds, PLAIN) },
    Subject { name: "chunk_general", item: "event", items: EVENTS, rounds: 10, work: |rounds| decode(rounds, ESCAPED) },
    Subject { name: "transcript", item: "event", items: EVENTS, rounds: 50, work: transcribe },
    Subject { name: "sampler_exact", item: "value", items: 20_000, rounds: 2, work: |rounds| sample(rounds, 20_000) },
    Subject { name: "sampler_histogram", item: "value", items: SPILLING, rounds: 1, work: |n| sample(n, SPILLING) },
    Subject { name: "record_line", item: "record", items: RECORDS, rounds: 20, work: record_lines },
    Subject { name: "export_line", item: "record", items: RECORDS, rounds: 20, work: export_lines },
    Subject { name: "schedule_constant", item: "due", items: DUES, rounds: 20, work: |n| dues(n, Arrival::Constant) },
    Subject { name: "schedule_poisson", item: "due", items: DUES, rounds: 5, work: |n| dues(n, Arrival::Poisson) },
];

const EVENTS: u64 = 1_000;
const RECORDS: u64 = 50;
const DUES: u64 = 10_000;
/// Output events of a record.
const CHUNKS: i64 = 128;
/// As many values again as are kept exactly, half of them.
const SPILLING: u64 = EXACT_VALUES as u64 * 3 / 2;
/// Texts as they stand in JSON: those that may stand there as they are, and those that only a parser can read.
const PLAIN: &[&str] = &[" the", " measured", " flow", ",", " für", " 17", " riverbed", "."];
const ESCAPED: &[&str] = &["\\n", " \\\"quoted\\\"", "\\tcell", " back\\\\slash"];

/// The next due times of an open loop, one after the other.
fn dues(rounds: u64, arrival: Arrival) -> Result<u64> {
    let mut done = 0;
    for round in 0..rounds {
        let schedule = Schedule::new(&Arrivals::steady(Rate::try_new(2_000.0)?, arrival), Seed(round), "icount");
        done += schedule.slice(0, 1).take(DUES as usize).map(black_box).count() as u64;
    }
    Ok(done)
}

/// The events of a chat answer, one after the other, each as one network read would bring it.
fn events(texts: &[&str]) -> Vec<String> {
    let text = texts.iter().cycle();
    let event = |text: &&str| {
        format!(
            concat!(
                r#"data: {{"id":"chatcmpl-1795314657","object":"chat.completion.chunk","created":1795314657,"#,
                r#""model":"model","choices":[{{"index":0,"delta":{{"content":"{}"}},"logprobs":null,"#,
                r#""finish_reason":null}}]}}"#,
                "\n\n"
            ),
            text
        )
    };
    text.take(EVENTS as usize).map(event).collect()
}

fn sse(rounds: u64, cut: usize) -> Result<u64> {
    let events = events(PLAIN);
    let mut parser = SseParser::default();
    let mut seen = 0;
    for _ in 0..rounds {
        for event in &events {
            for part in event.as_bytes().chunks(cut.min(event.len())) {
                parser.feed(black_box(part), &mut |event| {
                    seen += u64::from(matches!(black_box(event), SseEvent::Message { .. }));
                });
            }
        }
    }
    Ok(seen)
}

fn decode(rounds: u64, texts: &[&str]) -> Result<u64> {
    let events = events(texts);
    let mut decoder = Codec::new(&plan().endpoint, false).decoder(Some("text/event-stream"), AnswerContext::default());
    let mut seen = 0;
    for _ in 0..rounds {
        for event in &events {
            decoder.feed(black_box(event.as_bytes()), &mut |event| {
                seen += u64::from(matches!(black_box(event), Event::Output { .. }));
            });
        }
    }
    Ok(seen)
}

/// Answers from the bytes of their events to their records, each event as a piece of its own.
fn transcribe(rounds: u64) -> Result<u64> {
    let events = events(PLAIN);
    let codec = Codec::new(&plan().endpoint, false);
    let mut seen = 0;
    for _ in 0..rounds {
        let keep = Keep { raw: false, text_parts: true, longest_answer: u64::MAX };
        let mut transcript = Transcript::new(streamgauge_testing::record(), keep);
        let head = AnswerHead { status: 200, unpacker: Ok(None), advice: String::new() };
        transcript.begin(head, codec.decoder(Some("text/event-stream"), AnswerContext::default()));
        for (read, event) in (1..).zip(&events) {
            let stamp = ReceiveStamp { at: Nanos(1_000 * read as i64), lag: Some(Nanos(20_000)), read };
            transcript.piece(black_box(event.as_bytes()), stamp);
        }
        seen += black_box(transcript.finish(Outcome::Ok, Nanos::ZERO)).0.chunks.len() as u64;
    }
    Ok(seen)
}

fn sample(rounds: u64, values: u64) -> Result<u64> {
    let mut seen = 0;
    for _ in 0..rounds {
        let mut sampler = Sampler::of(Metric::RequestLatency);
        for value in 0..values {
            // Scattered over 0 to 1000 ms (Knuth's multiplicative hashing).
            sampler.add(black_box((value.wrapping_mul(2_654_435_761) % 1_000_003) as f64 / 1_000.0));
        }
        seen += black_box(sampler.close()).map_or(0, |found| found.count);
    }
    Ok(seen)
}

fn record_lines(rounds: u64) -> Result<u64> {
    let mut writer = RecordWriter::new(io::sink(), &plan(), 1_795_314_657_000_000_000)?;
    let records: Vec<Record> = (0..RECORDS).map(record).collect();
    for _ in 0..rounds {
        for record in &records {
            writer.write(black_box(record))?;
        }
    }
    Ok(rounds * RECORDS)
}

fn export_lines(rounds: u64) -> Result<u64> {
    let mut writer = ExportWriter::new(io::sink(), &plan(), 1_795_314_657_000_000_000)?;
    let records: Vec<Record> = (0..RECORDS).map(record).collect();
    let body = json!({"messages": [{"role": "user", "content": "What is the flow?"}], "model": "model"});
    let inputs = request_inputs(EndpointKind::Chat, &body);
    for _ in 0..rounds {
        for record in &records {
            writer.write(black_box(record), &inputs, &[])?;
        }
    }
    Ok(rounds * RECORDS)
}

/// A request of 128 tokens, paced at about 10 ms.
fn record(seq: u64) -> Record {
    let sent = Nanos(1_000_000_000 + seq as i64 * 1_234_567);
    let chunk = |index: i64| Chunk {
        at: sent + Nanos(50_000_000 + index * 10_012_345),
        lag: Some(Nanos(20_000 + index * 137 % 9_973)),
        shared: index % 40 == 39,
        kind: OutputKind::Text,
    };
    let chunks: Vec<Chunk> = (0..CHUNKS).map(chunk).collect();
    let (first, end) = (chunks.first().map(|chunk| chunk.at), chunks.last().map_or(sent, |chunk| chunk.at));
    Record {
        seq,
        slot: (seq % 64) as u32,
        prompt: (seq % 100) as u32,
        input_tokens: 550,
        requested_output_tokens: Some(CHUNKS as u32),
        issued: sent,
        sent: Some(sent),
        first_byte: first,
        first_event: first,
        chunks,
        end,
        turnaround: Some(Nanos(30_000)),
        status: Some(200),
        finish: Some("length".into()),
        usage: Some(Usage { prompt_tokens: Some(560), completion_tokens: Some(CHUNKS as u64), ..Usage::default() }),
        text_tokens: Some(CHUNKS as u32),
        bytes: 30_000,
        ..streamgauge_testing::record()
    }
}

/// A plan of which only the endpoint and the load matter here.
fn plan() -> RunPlan {
    let mut plan = streamgauge_testing::plan();
    plan.load.mode = Load::concurrency(64);
    plan.load.stop = StopRule::after(RECORDS);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also where there is no valgrind.
    #[test]
    fn every_subject_does_its_work() {
        for subject in SUBJECTS {
            subject.run(1).unwrap();
        }
    }
}
