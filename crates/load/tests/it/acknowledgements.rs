//! A server that leaves Nagle's algorithm on sends the first event of an answer when the client has acknowledged the head.

use crate::grpc::streams;
use crate::grpc_server::{Call, answer_all, serve_grpc, serve_with_nagle, streamed, text};
use crate::questions::probed;
use crate::script::{Peer, serve};
use crate::trial::{Ended, Trial};
use crate::words::{DONE, LAST_CHUNK, STREAM_HEAD, chunk, finish, token};
use std::time::Duration;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::Acknowledge;
use streamgauge_load::delayed_acks;

/// Linux delays an acknowledgement by 40 ms, and its timer may be a tick of up to 10 ms early.
const DELAY: Nanos = Nanos::from_millis(30);

/// Enough requests that the kernel has long fallen back to delaying acknowledgements on a kept connection.
const REQUESTS: u64 = 24;

/// Head and events in writes of their own, with Nagle's algorithm on.
pub fn small_writes(peer: &mut Peer) {
    peer.leave_nagle_on();
    while peer.request().is_some() {
        write_small(peer);
    }
}

fn write_small(peer: &mut Peer) {
    let end = format!("{}{LAST_CHUNK}", chunk(&format!("{}{DONE}", finish(0, "stop"))));
    [STREAM_HEAD, &chunk(&token("a")), &chunk(&token(" b")), &end].into_iter().for_each(|piece| peer.send(piece));
}

/// The median time from the head to the first event in the second half of a run.
fn held(ended: &Ended) -> Nanos {
    let mut times: Vec<Nanos> = ended.records()[REQUESTS as usize / 2..]
        .iter()
        .map(|record| record.first_event.unwrap() - record.first_byte.unwrap())
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// How often a run is made before its times are believed to be the kernel's and not those of a machine that stalls. A client that
/// acknowledges late makes the times long in each of them.
const ATTEMPTS: usize = 20;

/// Whether one of several runs has a time below [`DELAY`]. `run` makes a run and returns its median.
fn is_ever_short(mut run: impl FnMut() -> Nanos) -> Result<(), Vec<Nanos>> {
    let mut times = Vec::new();
    for _ in 0..ATTEMPTS {
        let time = run();
        if time < DELAY {
            return Ok(());
        }
        times.push(time);
    }
    Err(times)
}

/// Runs what `trial` makes on one connection; its server writes as [`small_writes`] does.
pub fn is_not_held(trial: impl Fn() -> Trial) {
    let run = || {
        let ended = trial().requests(REQUESTS).run();
        ended.all_ok(REQUESTS);
        assert_eq!(ended.facts.connections_opened, 1);
        held(&ended)
    };
    is_ever_short(run).unwrap();
}

#[test]
fn a_server_with_nagle_is_not_made_to_wait() {
    let server = serve(small_writes);
    is_not_held(|| Trial::at(server.addr()));
}

#[test]
#[cfg(target_os = "linux")]
fn an_ordinary_client_makes_it_wait() {
    let server = serve(small_writes);
    let mut trial = Trial::at(server.addr()).requests(REQUESTS);
    trial.plan.transport.acknowledge = Acknowledge::Delayed;
    let ended = trial.run();
    ended.all_ok(REQUESTS);
    assert!(held(&ended) >= DELAY, "{}", held(&ended));
}

#[test]
fn grpc_is_acknowledged_at_once_too() {
    let server = serve_with_nagle(async |mut call: Call| {
        while let Some(request) = call.request().await {
            call.message(&streamed(text(&request.id, "a"), false));
            // A write of its own for each.
            tokio::time::sleep(Duration::from_millis(2)).await;
            call.message(&streamed(text(&request.id, " b"), false));
            tokio::time::sleep(Duration::from_millis(2)).await;
            call.message(&streamed(text(&request.id, " c"), true));
        }
        call.end("0", "");
    });
    let run = || {
        let ended = streams(&server).requests(REQUESTS).run();
        ended.all_ok(REQUESTS);
        let records = &ended.records()[REQUESTS as usize / 2..];
        let mut gaps: Vec<Nanos> = records.iter().map(|record| record.chunks[1].at - record.chunks[0].at).collect();
        gaps.sort_unstable();
        gaps[gaps.len() / 2]
    };
    is_ever_short(run).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn requests_before_load_show_what_an_ordinary_client_would_see() {
    let server = serve(small_writes);
    let job = Trial::at(server.addr()).job();
    // A machine that stalls in the wrong moment makes the times differ by chance, which is not called held: so it is asked until the
    // machine has a quiet half a second.
    let found = (0..200).find_map(|attempt| {
        std::thread::sleep(Duration::from_millis(attempt));
        let first = probed(job.clone()).record;
        delayed_acks(&job, &first).unwrap()
    });
    let found = found.unwrap();
    assert!(found.late >= DELAY && found.at_once < found.late, "{found:?}");
}

#[test]
fn nothing_is_found_where_the_server_does_not_wait() {
    // One request: the first event comes with the head.
    let server = serve(|peer| {
        while peer.request().is_some() {
            write_small(peer);
        }
    });
    let job = Trial::at(server.addr()).job();
    let first = probed(job.clone()).record;
    assert_eq!(delayed_acks(&job, &first).unwrap(), None);
    // One whose first events come late by themselves.
    let slow = serve(|peer| {
        while peer.request().is_some() {
            peer.send(STREAM_HEAD);
            std::thread::sleep(Duration::from_millis(45));
            peer.send(&chunk(&token("a")));
        }
    });
    let job = Trial::at(slow.addr()).job();
    let first = probed(job.clone()).record;
    assert_eq!(delayed_acks(&job, &first).unwrap(), None);
    assert!(slow.accepted() <= 5, "{} requests for what one shows", slow.accepted());
}

#[test]
fn nothing_is_asked_of_grpc() {
    let server = serve(small_writes);
    let first = probed(Trial::at(server.addr()).job()).record;
    let grpc = serve_grpc(answer_all);
    assert_eq!(delayed_acks(&streams(&grpc).job(), &first).unwrap(), None);
    assert_eq!((grpc.accepted(), server.accepted()), (0, 1));
}
