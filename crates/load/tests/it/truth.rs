//! Against the simulated server's own log: what the client says happened is what happened.

use crate::trial::Trial;
use crate::words::prompt;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::OnceLock;
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::plan::ExportLevel;
use streamgauge_load::Finished;
use streamgauge_prompt::Tokenizer;
use streamgauge_sim::{RequestLog, Service, Sim, SimConfig};

/// Two stamps of one moment, taken by readings of two clocks on one machine, differ by less.
pub const READINGS: Nanos = Nanos::from_millis(1);

/// A simulated server with these faults, written as its command line takes them.
pub fn sim(service: Service, faults: &[&str]) -> Sim {
    sim_on(SystemClock::start(), service, faults)
}

/// The same on a clock that it shares with a run.
pub fn sim_on(clock: SystemClock, service: Service, faults: &[&str]) -> Sim {
    let mut config = SimConfig::new(tokenizer());
    config.service = service;
    config.faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    Sim::start_with_clock(config, (Ipv4Addr::LOCALHOST, 0).into(), clock).unwrap()
}

/// The embedded vocabulary, loaded once.
pub fn tokenizer() -> Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(Tokenizer::embedded).clone()
}

/// A server whose tokens come one by one and soon.
pub fn quick() -> Service {
    Service { ttft: Nanos::from_millis(1), itl: Nanos(500_000), ..Service::instant() }
}

/// A server whose answers take tens of milliseconds.
pub fn slow() -> Service {
    Service { ttft: Nanos::from_millis(10), itl: Nanos::from_millis(3), jitter: 0.3, ..Service::instant() }
}

/// Each request with the server's account of it, found by the identifier in the answer.
pub fn matched<'a>(finished: &'a [Finished], logs: &'a [RequestLog]) -> Vec<(&'a Finished, &'a RequestLog)> {
    let mut logs: BTreeMap<String, &RequestLog> = logs.iter().map(|log| (log.id(), log)).collect();
    let pairs = finished.iter().map(|finished| {
        let body: Vec<u8> = finished.received.raw.iter().flat_map(|piece| piece.bytes.clone()).collect();
        let body = String::from_utf8(body).unwrap();
        let id = body.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap();
        (finished, logs.remove(id).unwrap())
    });
    let pairs = pairs.collect();
    assert!(logs.is_empty(), "answers that nobody has: {logs:?}");
    pairs
}

/// The client's stamps of a request lie where the server's log allows.
pub fn fits(finished: &Finished, log: &RequestLog) {
    let record = &finished.record;
    assert!(log.complete);
    assert!(record.sent.unwrap() <= log.received + READINGS, "{record:?} {log:?}");
    assert!(record.first_byte.unwrap() + READINGS >= log.writes[0].at, "{record:?} {log:?}");
    let left: Vec<Nanos> =
        log.writes.iter().flat_map(|write| std::iter::repeat_n(write.at, write.events as usize)).collect();
    came_after(finished, &left);
    assert!(record.end + READINGS >= log.writes.last().unwrap().at);
}

/// There is a chunk for each of the events that left at these instants, and none came before it left.
fn came_after(finished: &Finished, left: &[Nanos]) {
    let record = &finished.record;
    assert_eq!(record.chunks.len(), left.len(), "{record:?} {left:?}");
    for (chunk, left) in record.chunks.iter().zip(left) {
        assert!(chunk.at + READINGS >= *left, "{chunk:?} {left} {record:?}");
    }
}

#[test]
fn stamps_lie_between_the_servers_own() {
    for streaming in [true, false] {
        let clock = SystemClock::start();
        let sim = sim_on(clock, slow(), &[]);
        let trial = Trial::at(sim.addr()).clock(clock).slots(4).requests(24).export(ExportLevel::Raw);
        let ended = trial.streaming(streaming).run();
        ended.all_ok(24);
        let logs = sim.stop().unwrap();
        for (finished, log) in matched(&ended.finished, &logs) {
            fits(finished, log);
            // A request is read by the server before it can answer.
            assert!(log.received <= finished.record.first_byte.unwrap() + READINGS);
        }
    }
}

#[test]
fn events_in_several_writes_are_not_ahead_of_them() {
    let clock = SystemClock::start();
    let sim = sim_on(clock, quick(), &["split-writes"]);
    let ended = Trial::at(sim.addr()).clock(clock).requests(5).export(ExportLevel::Raw).run();
    ended.all_ok(5);
    let logs = sim.stop().unwrap();
    for (finished, log) in matched(&ended.finished, &logs) {
        // An event is logged with the last write of its frame, which may bring only what follows it there.
        let frames = log.writes.split_inclusive(|write| write.events > 0);
        let left: Vec<Nanos> =
            frames.filter(|frame| frame.iter().any(|write| write.events > 0)).map(|frame| frame[0].at).collect();
        came_after(finished, &left);
        let [output] = finished.received.texts.as_slice() else { panic!("{:?}", finished.received.texts) };
        assert_eq!(tokenizer().count(&output.text), log.output_tokens);
    }
}

#[test]
fn nothing_is_lost_or_mixed_up_among_many_streams() {
    let clock = SystemClock::start();
    let sim = sim_on(clock, Service { ttft: Nanos::from_millis(5), ..quick() }, &[]);
    let prompts = (0..37).map(|more| prompt(4 + more)).collect();
    let trial = Trial::at(sim.addr()).clock(clock).slots(200).requests(1000).export(ExportLevel::Raw);
    let ended = trial.prompts(prompts).run();
    ended.all_ok(1000);
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (200, 0));
    let logs = sim.stop().unwrap();
    assert_eq!(logs.len(), 1000);
    for (finished, log) in matched(&ended.finished, &logs) {
        let tokens = 4 + (finished.record.seq % 37) as u32;
        assert_eq!((finished.record.requested_output_tokens, log.output_tokens), (Some(tokens), tokens));
        assert_eq!(finished.record.usage.unwrap().completion_tokens, Some(u64::from(tokens)));
        fits(finished, log);
        // Only one request at a time on a slot's connection.
        assert_eq!(finished.record.retries, 0);
    }
}
