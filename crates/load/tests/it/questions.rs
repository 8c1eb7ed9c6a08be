//! What is asked before load.

use crate::script::{Peer, nobody, serve};
use crate::trial::{Trial, failure};
use crate::truth::{quick, sim};
use crate::words::{STREAM_HEAD, chunk, document, token};
use std::sync::Arc;
use streamgauge_core::clock::Nanos;
use streamgauge_core::record::{FailureClass, Outcome, Phase, Stage};
use streamgauge_load::{Control, Fetched, Finished, Job, ProbeError, Waiting, fetch, probe};

/// GETs `path` for `trial`.
fn ask(trial: &Trial, path: &str, limit: Nanos) -> Result<(u16, Vec<u8>), ProbeError> {
    let Fetched { status, body, .. } = fetch(&trial.plan.endpoint, &trial.routes().unwrap(), trial.clock, path, limit)?;
    Ok((status, body))
}

/// Probes with the first request of `job`, and lets nobody end it.
pub fn probed(job: Arc<Job>) -> Finished {
    probe(job, &Control::default(), |_| {}).unwrap().finished
}

#[test]
fn a_probe_returns_at_the_first_output() {
    let server = serve(|peer| {
        peer.request().unwrap();
        peer.send(&format!("{STREAM_HEAD}{}", chunk(&token("a"))));
        peer.hang();
    });
    let record = probed(Trial::at(server.addr()).job()).record;
    assert_eq!((record.outcome, record.phase, record.chunks.len()), (Outcome::Ok, Phase::Warmup, 1));
}

#[test]
fn a_probe_waits_for_a_whole_answer_where_it_does_not_stream() {
    let sim = sim(quick(), &[]);
    let finished = probed(Trial::at(sim.addr()).streaming(false).job());
    assert_eq!((&finished.record.outcome, finished.record.chunks.len()), (&Outcome::Ok, 1));
    assert_eq!(finished.record.usage.unwrap().completion_tokens, Some(5));
}

#[test]
fn a_probe_tells_what_the_server_said() {
    let sim = sim(quick(), &["reject-stream-options"]);
    let record = probed(Trial::at(sim.addr()).job()).record;
    let (stage, class, message) = failure(&record);
    assert_eq!((stage, class), (Stage::Body, FailureClass::Status));
    assert!(message.starts_with("400: ") && message.contains("stream_options"), "{message}");
}

#[test]
fn a_probe_that_is_interrupted_is_cut_off_and_says_what_it_waited_for() {
    let server = serve(|peer| {
        peer.request().unwrap();
        peer.hang();
    });
    let control = Control::default();
    let mut shown = Vec::new();
    // The end is asked for when the wait is shown for the first time, so the test knows that the request is under way.
    let ended = probe(Trial::at(server.addr()).job(), &control, |waiting| {
        shown.push(waiting);
        control.interrupt();
    });
    assert_eq!(ended.unwrap().finished.record.outcome, Outcome::CutOff);
    assert_eq!(shown, [Waiting { since: Nanos::from_millis(3_000), connected: true }]);
}

#[test]
fn a_probe_knows_where_a_redirect_leads() {
    let server = serve(|peer| {
        peer.request().unwrap();
        peer.send("HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n");
    });
    let probed = probe(Trial::at(server.addr()).job(), &Control::default(), |_| {}).unwrap();
    assert_eq!((probed.finished.record.status, probed.location.as_deref()), (Some(307), Some("/elsewhere")));
}

#[test]
fn a_probe_of_nobody_fails_once() {
    let (_kept, addr) = nobody();
    let record = probed(Trial::at(addr).job()).record;
    assert_eq!((failure(&record).0, failure(&record).1), (Stage::Connect, FailureClass::Refused));
}

#[test]
fn models_are_fetched() {
    let sim = sim(quick(), &[]);
    let (status, body) = ask(&Trial::at(sim.addr()), "/v1/models", Nanos::from_millis(60_000)).unwrap();
    assert_eq!(status, 200);
    assert_eq!(streamgauge_wire::model_ids(&body).unwrap(), ["sim-model"]);
    let (status, body) = ask(&Trial::at(sim.addr()), "/nothing", Nanos::from_millis(60_000)).unwrap();
    assert_eq!(status, 404);
    assert_eq!(streamgauge_wire::server_message(&body).unwrap(), "there is nothing at this path");
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    let silent: fn(&mut Peer) = Peer::hang;
    let half: fn(&mut Peer) = |peer| {
        peer.request().unwrap();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        peer.hang();
    };
    for script in [silent, half] {
        let server = serve(script);
        let error = ask(&Trial::at(server.addr()), "/v1/models", Nanos::from_millis(150)).unwrap_err();
        let ProbeError::Failed(failure) = error else { panic!("{error}") };
        assert_eq!((failure.stage, failure.class), (Stage::FirstByte, FailureClass::Timeout));
        assert_eq!(failure.message, "the answer took longer than 0.15 s");
    }
}

#[test]
fn half_an_answer_is_a_failure_with_its_class() {
    let server = serve(|peer| {
        peer.request().unwrap();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    });
    let error = ask(&Trial::at(server.addr()), "/v1/models", Nanos::from_millis(60_000)).unwrap_err();
    let ProbeError::Failed(failure) = error else { panic!("{error}") };
    assert_eq!((failure.stage, failure.class), (Stage::Body, FailureClass::Truncated), "{}", failure.message);
}

#[test]
fn an_endless_answer_is_refused() {
    let server = serve(|peer| {
        peer.request().unwrap();
        peer.send(&document(200, "application/json", &" ".repeat(17 << 20)));
    });
    let error = ask(&Trial::at(server.addr()), "/v1/models", Nanos::from_millis(60_000)).unwrap_err();
    let ProbeError::Failed(failure) = error else { panic!("{error}") };
    assert_eq!((failure.stage, failure.class), (Stage::Body, FailureClass::Malformed), "{}", failure.message);
}
