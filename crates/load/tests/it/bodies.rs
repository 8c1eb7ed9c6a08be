//! Bodies that are not what their heads say, or are compressed.

use crate::script::{Peer, serve, settle};
use crate::trial::{Ended, Trial, failure};
use crate::words::{DONE, LAST_CHUNK, chunk, document, finish, token};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::Write;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::ExportLevel;
use streamgauge_core::record::FailureClass;

/// The head of a chunked answer with these lines beside the usual ones.
fn head(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}transfer-encoding: chunked\r\n\r\n")
}

/// One request of a run, answered so.
fn answered(trial: impl FnOnce(Trial) -> Trial, answer: impl Fn(&mut Peer) + Send + Sync + 'static) -> Ended {
    let server = serve(move |peer| {
        while peer.request().is_some() {
            answer(peer);
        }
    });
    trial(Trial::at(server.addr())).run()
}

/// Bytes as one chunk of a body.
fn send_chunk(peer: &mut Peer, bytes: &[u8]) {
    peer.send(&format!("{:x}\r\n", bytes.len()));
    peer.send_bytes(bytes);
    peer.send("\r\n");
}

fn events() -> [String; 3] {
    [token("a"), token("b"), format!("{}{DONE}", finish(0, "stop"))]
}

#[test]
fn a_body_that_begins_as_a_stream_is_one_under_any_content_type() {
    for lines in [
        "",
        "content-type: application/json\r\n",
        "content-type: text/plain; charset=utf-8\r\n",
        "content-type: application/json\r\ncontent-type: text/event-stream\r\n",
        "content-type: text/event-stream\r\ncontent-type: application/json\r\n",
        "Content-Type: Text/Event-Stream;charset=UTF-8\r\n",
    ] {
        let ended = answered(
            |trial| trial,
            move |peer| {
                peer.send(&head(lines));
                // The first write shows only that it may be a stream.
                for part in ["da", &events().concat()[2..]] {
                    peer.send(&chunk(part));
                    settle();
                }
                peer.send(LAST_CHUNK);
            },
        );
        ended.all_ok(1);
        assert_eq!(ended.only().record.chunks.len(), 2, "{lines}");
        assert_eq!(ended.only().received.texts[0].text, "ab");
    }
}

#[test]
fn a_whole_answer_is_read_where_a_stream_was_asked_for() {
    let body = r#" {"choices":[{"index":0,"message":{"content":"ab"},"finish_reason":"stop"}]}"#;
    for kind in ["application/json", "text/event-stream", "text/plain"] {
        let ended = answered(|trial| trial, move |peer| peer.send(&document(200, kind, body)));
        ended.all_ok(1);
        assert_eq!((ended.only().record.chunks.len(), &*ended.only().received.texts[0].text), (1, "ab"), "{kind}");
    }
    // Where none was asked for, a stream is no answer, unless it is promised.
    let ended = answered(
        |trial| trial.streaming(false),
        |peer| peer.send(&document(200, "application/json", &events().concat())),
    );
    assert_eq!(failure(&ended.only().record).1, FailureClass::Malformed);
    let ended = answered(
        |trial| trial.streaming(false),
        |peer| peer.send(&document(200, "text/event-stream", &events().concat())),
    );
    ended.all_ok(1);
}

#[test]
fn a_compressed_stream_is_read_as_its_bytes_arrive() {
    let ended = answered(
        |trial| trial.export(ExportLevel::Raw),
        |peer| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            peer.send(&head("content-type: text/event-stream\r\ncontent-encoding: gzip\r\n"));
            for event in events() {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                send_chunk(peer, &std::mem::take(encoder.get_mut()));
                settle();
            }
            send_chunk(peer, &encoder.finish().unwrap());
            peer.send(LAST_CHUNK);
        },
    );
    ended.all_ok(1);
    let (record, finished) = (&ended.only().record, ended.only());
    assert_eq!((record.chunks.len(), &*finished.received.texts[0].text), (2, "ab"));
    // They were written a rest apart, and a client that waited for more would have had them at once.
    assert!(record.chunks[1].at - record.chunks[0].at > Nanos::from_millis(75), "{:?}", record.chunks);
    // What is kept is what the server meant.
    let raw: Vec<u8> = finished.received.raw.iter().flat_map(|piece| piece.bytes.clone()).collect();
    assert_eq!(String::from_utf8(raw).unwrap(), events().concat());
}

#[test]
fn whole_answers_and_refusals_are_unpacked_too() {
    let send = |peer: &mut Peer, status: u16, encoding: &str, body: &[u8]| {
        let length = body.len();
        let lines = format!("content-type: application/json\r\ncontent-encoding: {encoding}\r\n");
        peer.send(&format!("HTTP/1.1 {status} Whatever\r\n{lines}content-length: {length}\r\n\r\n"));
        peer.send_bytes(body);
    };
    let answer = br#"{"choices":[{"index":0,"message":{"content":"ab"},"finish_reason":"stop"}]}"#;
    let ended = answered(
        |trial| trial.streaming(false),
        move |peer| {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(answer).unwrap();
            send(peer, 200, "deflate", &encoder.finish().unwrap());
        },
    );
    ended.all_ok(1);
    let packed = || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(br#"{"error":{"message":"slow down"}}"#).unwrap();
        encoder.finish().unwrap()
    };
    let ended = answered(|trial| trial, move |peer| send(peer, 429, "gzip", &packed()));
    assert_eq!(
        failure(&ended.only().record),
        (failure(&ended.only().record).0, FailureClass::Status, "429: slow down")
    );
    // A part of the data is no answer.
    let ended = answered(|trial| trial.streaming(false), move |peer| send(peer, 200, "gzip", &packed()[..20]));
    let (_, class, message) = failure(&ended.only().record);
    assert_eq!((class, message), (FailureClass::Truncated, "the compressed answer ends in the middle"));
}

#[test]
fn what_is_not_read_is_refused_by_its_name() {
    for (status, class) in [(200, FailureClass::Malformed), (503, FailureClass::Status)] {
        for encoding in ["br", "zstd", "gzip, br"] {
            let lines = format!("content-encoding: {encoding}\r\ncontent-length: 4");
            let ended = answered(
                |trial| trial,
                move |peer| peer.send(&format!("HTTP/1.1 {status} Whatever\r\n{lines}\r\n\r\nabcd")),
            );
            let (_, found, message) = failure(&ended.only().record);
            assert_eq!(found, class);
            assert!(message.contains(&format!("the answer's Content-Encoding is {encoding}; ")), "{message}");
            assert!(message.contains("--header"), "{message}");
        }
    }
}
