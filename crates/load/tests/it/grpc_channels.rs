//! Channels that slots share, and the stamps of what comes over them.

use crate::grpc::{connections, streams};
use crate::grpc_server::{Call, answer, answer_all, serve_grpc, settle, streamed, text};
use crate::trial::{Trial, now};
use crate::truth::READINGS;
use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgauge_core::arrival::Arrival;
use streamgauge_core::clock::{Nanos, SystemClock};

#[test]
fn slots_share_channels_as_the_plan_says() {
    let at = Arc::new(Mutex::new(BTreeMap::<usize, usize>::new()));
    let seen = at.clone();
    let server = serve_grpc(move |call: Call| {
        *seen.lock().unwrap().entry(call.connection).or_default() += 1;
        answer_all(call)
    });
    let mut trial = streams(&server).slots(5).requests(40);
    trial.plan.transport.channels.streams_per_channel = 3;
    let ended = trial.run();
    ended.all_ok(40);
    assert_eq!((server.accepted(), server.calls(), connections(&ended)), (2, 5, (2, 0)));
    let mut streams: Vec<usize> = at.lock().unwrap().values().copied().collect();
    streams.sort_unstable();
    assert_eq!(streams, [2, 3]);
}

#[test]
fn a_shared_channel_that_dies_is_replaced_once() {
    let server = serve_grpc(async |mut call: Call| {
        let is_first = call.connection == 0;
        while let Some(request) = call.request().await {
            answer(&mut call, &request.id);
            if is_first {
                settle().await;
                call.drop_connection();
            }
        }
    });
    let mut trial = streams(&server).slots(3).requests(12);
    trial.plan.transport.channels.streams_per_channel = 3;
    let ended = Trial::rate(trial, 10.0, Arrival::Constant, Some(3)).requests(8).run();
    assert_eq!(ended.finished.len(), 8);
    assert_eq!((server.accepted(), connections(&ended)), (2, (2, 1)), "{:?}", ended.records());
}

/// What comes while the client stands still, and is then read at once, in so many reads.
fn piled_up(slots: u32, share: u32) {
    const MESSAGES: usize = 100;
    let (clock, (tell, told)) = (SystemClock::start(), channel());
    let times = Arc::new(Mutex::new(BTreeMap::<String, Vec<Nanos>>::new()));
    let written = times.clone();
    let server = serve_grpc(move |mut call: Call| {
        let (tell, written) = (tell.clone(), written.clone());
        async move {
            let request = call.request().await.unwrap();
            answer(&mut call, &request.id);
            let request = call.request().await.unwrap();
            // By now a record of the first requests waits to be taken, and its thread with it.
            tokio::time::sleep(Duration::from_millis(400)).await;
            for number in 0..MESSAGES {
                written.lock().unwrap().entry(request.id.clone()).or_default().push(now(&clock));
                call.message(&streamed(text(&request.id, &"x".repeat(500)), number + 1 == MESSAGES));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            settle().await;
            tell.send(()).unwrap();
            call.hang().await;
        }
    });
    let mut trial = streams(&server).slots(slots).requests(u64::from(slots) * 2).clock(clock);
    trial.plan.transport.channels.streams_per_channel = share;
    let ended = trial.run_and_stall(move || (0..slots).for_each(|_| told.recv().unwrap()));
    ended.all_ok(u64::from(slots) * 2);
    assert_eq!(server.accepted() as u32, slots / share);
    for finished in &ended.finished[slots as usize..] {
        let record = &finished.record;
        let left = &times.lock().unwrap()[&record.seq.to_string()];
        assert_eq!((record.chunks.len(), left.len()), (MESSAGES, MESSAGES));
        assert!(record.chunks.iter().zip(left).all(|(chunk, left)| chunk.at + READINGS >= *left), "{record:?}");
        // A read brings some 8 KiB, of all streams together, and those share a stamp: not what the reads after it bring.
        let reads = record.chunks.chunk_by(|one, next| next.shared && one.at == next.at);
        let longest = reads.map(<[_]>::len).max();
        assert!(longest < Some(MESSAGES / 2), "{longest:?} of {MESSAGES} share a stamp");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn responses_that_piled_up_have_the_stamps_of_their_reads() {
    piled_up(1, 1);
}

#[test]
#[cfg(target_os = "linux")]
fn responses_that_piled_up_on_a_shared_channel_have_the_stamps_of_their_reads() {
    piled_up(2, 2);
    piled_up(4, 2);
}

#[test]
fn a_request_on_a_shared_channel_is_sent_when_its_own_frames_are_written() {
    let server = serve_grpc(answer_all);
    let mut trial = streams(&server).slots(4).requests(200);
    trial.plan.transport.channels.streams_per_channel = 4;
    let ended = trial.run();
    ended.all_ok(200);
    for record in ended.records() {
        assert!(record.issued <= record.sent.unwrap() && record.sent <= record.written, "{record:?}");
    }
}
