//! Answers that say that they are complete before their bodies end.

use crate::script::{Peer, serve, settle};
use crate::trial::{Trial, now};
use crate::words::{DONE, LAST_CHUNK, STREAM_HEAD, chunk, finish, token};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use streamgauge_core::clock::SystemClock;
use streamgauge_core::record::BodyEnd;

/// An answer up to its `[DONE]`, and this behind it.
fn answer_and(peer: &mut Peer, behind: &str) {
    let events = format!("{}{}{DONE}", token("a"), finish(0, "stop"));
    peer.send(&format!("{STREAM_HEAD}{}{behind}", chunk(&events)));
}

#[test]
fn a_body_that_is_closed_behind_a_complete_answer_is_no_failure() {
    let server = serve(|peer| {
        if peer.request().is_some() {
            answer_and(peer, "");
        }
    });
    let ended = Trial::at(server.addr()).requests(3).run();
    ended.all_ok(3);
    assert!(ended.records().iter().all(|record| record.body_end.is_some() && record.chunks.len() == 1));
    assert_eq!(server.accepted(), 3);
}

#[test]
fn the_next_request_does_not_wait_for_the_end_of_a_body() {
    let clock = SystemClock::start();
    let ends = Arc::new(Mutex::new(Vec::new()));
    let noted = ends.clone();
    let server = serve(move |peer| {
        while peer.request().is_some() {
            answer_and(peer, "");
            settle();
            noted.lock().unwrap().push(now(&clock));
            peer.send(LAST_CHUNK);
        }
    });
    let ended = Trial::at(server.addr()).clock(clock).requests(2).run();
    ended.all_ok(2);
    let records = ended.records();
    assert!(records.iter().all(|record| record.body_end == Some(BodyEnd::Late)), "{records:?}");
    // The run may end before any body did.
    let first_end = ends.lock().unwrap().first().copied();
    assert!(first_end.is_none_or(|end| records[0].end < end && records[1].sent.unwrap() < end), "{first_end:?}");
    assert_eq!(ended.facts.connections_opened, 2);
}

#[test]
fn a_connection_serves_again_when_its_body_has_ended() {
    let (tell, ended) = channel();
    let (tell, ended) = (Mutex::new(tell), Mutex::new(ended));
    let server = serve(move |peer| {
        let mut first = true;
        while peer.request().is_some() {
            if peer.number == 1 {
                // The first connection's body has ended, and the client has read that.
                ended.lock().unwrap().recv().unwrap();
                settle();
            }
            if !std::mem::take(&mut first) {
                answer_and(peer, LAST_CHUNK);
                continue;
            }
            answer_and(peer, "");
            settle();
            peer.send(LAST_CHUNK);
            let _ = tell.lock().unwrap().send(());
        }
    });
    let trial = Trial::at(server.addr()).requests(3).run();
    trial.all_ok(3);
    let records = trial.records();
    let ends: Vec<_> = records.iter().map(|record| record.body_end).collect();
    assert_eq!(ends, [Some(BodyEnd::Late), Some(BodyEnd::Late), None]);
    assert_eq!((trial.facts.connections_opened, server.accepted()), (2, 2));
    assert!(records[1].connect.is_some() && records[2].connect.is_none());
}

#[test]
fn a_body_that_does_not_end_costs_its_connection_and_nothing_else() {
    let (tell, gone) = channel();
    let (tell, gone) = (Mutex::new(tell), Mutex::new(gone));
    let server = serve(move |peer| {
        peer.request().unwrap();
        if peer.number == 0 {
            // More than anyone has left to say.
            answer_and(peer, &chunk(&": still here\n\n".repeat(50_000)));
            peer.hang();
            return tell.lock().unwrap().send(()).unwrap();
        }
        gone.lock().unwrap().recv().unwrap();
        answer_and(peer, LAST_CHUNK);
    });
    let ended = Trial::at(server.addr()).requests(2).run();
    ended.all_ok(2);
    let ends: Vec<_> = ended.records().iter().map(|record| record.body_end).collect();
    assert_eq!((ends, ended.facts.bodies_abandoned), (vec![Some(BodyEnd::Late), None], 1));
}

#[test]
fn what_comes_behind_the_end_is_not_of_the_answer() {
    let server = serve(|peer| {
        while peer.request().is_some() {
            let events = format!("{}{}{DONE}data: {{\"error\":\"too late\"}}\n\n", token("a"), finish(0, "stop"));
            peer.send(&format!("{STREAM_HEAD}{}{LAST_CHUNK}", chunk(&events)));
        }
    });
    let ended = Trial::at(server.addr()).requests(3).run();
    ended.all_ok(3);
    assert_eq!((ended.facts.connections_opened, server.accepted()), (1, 1));
    assert!(ended.records().iter().all(|record| record.body_end.is_none()));
}

#[test]
fn a_connection_that_the_server_ends_is_closed_when_its_body_has_ended() {
    let (tell, left) = channel();
    let (tell, left) = (Mutex::new(tell), Mutex::new(left));
    let server = serve(move |peer| {
        peer.request().unwrap();
        let head = STREAM_HEAD.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let events = chunk(&format!("{}{}{DONE}", token("a"), finish(0, "stop")));
        if peer.number == 1 {
            left.lock().unwrap().recv().unwrap();
            return peer.send(&format!("{head}{events}{LAST_CHUNK}"));
        }
        peer.send(&format!("{head}{events}"));
        settle();
        peer.send(LAST_CHUNK);
        assert!(peer.is_left_in_order());
        tell.lock().unwrap().send(()).unwrap();
    });
    let ended = Trial::at(server.addr()).requests(2).run();
    ended.all_ok(2);
    assert_eq!((ended.facts.connections_opened, ended.facts.bodies_abandoned), (2, 0));
    assert_eq!(ended.records()[0].body_end, Some(BodyEnd::Late));
}
