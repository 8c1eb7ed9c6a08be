//! Transcripts of captured answers: the record does not depend on how the bytes of a read are cut, and of it only the receive stamps depend
//! on how the answer is cut into reads.

use crate::fixture::{self, Answer};
use crate::{KINDS, codec, cut, kind_of};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::io::Write;
use streamgauge_core::plan::EndpointKind;
use streamgauge_core::record::{Chunk, Failure, FailureClass, Outcome, Record};
use streamgauge_core::{Nanos, ReceiveStamp, Received};
use streamgauge_wire::{AnswerContext, AnswerHead, Keep, Transcript, Unpacker};

const KEEP: Keep = Keep { raw: true, text_parts: true, longest_answer: 1 << 20 };

fn stamp(read: u64) -> ReceiveStamp {
    ReceiveStamp { at: Nanos(1_000 * read as i64), lag: Some(Nanos(7)), read }
}

/// A successful answer of `kind` whose body is cut into reads, and each read into pieces.
fn transcribe(kind: EndpointKind, answer: &Answer, encoding: Option<&str>, reads: &[Vec<&[u8]>]) -> (Record, Received) {
    let (content_type, header_length) = answer.head();
    let to = AnswerContext { header_length, ..AnswerContext::default() };
    let mut transcript = Transcript::new(streamgauge_testing::record(), KEEP);
    let head = AnswerHead { status: answer.status, unpacker: Unpacker::new(encoding), advice: String::new() };
    transcript.begin(head, codec(kind).decoder(content_type, to));
    for (number, read) in (1..).zip(reads) {
        read.iter().for_each(|piece| transcript.piece(piece, stamp(number)));
    }
    transcript.end(stamp(reads.len() as u64));
    let outcome = transcript.verdict().map_or_else(Outcome::Failed, |()| Outcome::Ok);
    let (record, mut received) = transcript.finish(outcome, Nanos(i64::MAX));
    // Raw bytes are kept piece by piece; what must not depend on the cut is which bytes arrived when.
    received.raw.chunk_by_mut(|one, next| one.at == next.at).for_each(|read| {
        let whole = read.iter().flat_map(|piece| piece.bytes.clone()).collect();
        read.iter_mut().for_each(|piece| piece.bytes = Vec::new());
        read[0].bytes = whole;
    });
    received.raw.retain(|piece| !piece.bytes.is_empty());
    (record, received)
}

/// Without what is a receive stamp or follows from one.
fn without_stamps((record, received): (Record, Received)) -> (Record, Received) {
    let untimed = |chunk: &Chunk| Chunk { at: Nanos::ZERO, shared: false, ..*chunk };
    let chunks = record.chunks.iter().map(untimed).collect();
    let first_event = record.first_event.map(|_| Nanos::ZERO);
    let record = Record { chunks, first_event, end: Nanos::ZERO, ..record };
    (record, Received { raw: Vec::new(), ..received })
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

proptest! {
    #[test]
    fn records_do_not_depend_on_how_a_read_is_cut(
        reads in vec(any::<Index>(), 0..12),
        pieces in vec(any::<Index>(), 0..6),
        is_zipped: bool,
    ) {
        for section in fixture::expectations() {
            let Some(kind) = kind_of(&section) else { continue };
            let mut answer = Answer::load(&section.file);
            if is_zipped {
                answer.body = zipped(&answer.body);
            }
            let encoding = is_zipped.then_some("gzip");
            let whole: Vec<Vec<&[u8]>> = cut(&answer.body, &reads).into_iter().map(|read| vec![read]).collect();
            let in_pieces: Vec<Vec<&[u8]>> = whole.iter().map(|read| cut(read[0], &pieces)).collect();
            let transcript = transcribe(kind, &answer, encoding, &whole);
            prop_assert_eq!(&transcript, &transcribe(kind, &answer, encoding, &in_pieces), "{}", section.file);
            let in_one_read = transcribe(kind, &answer, encoding, &[vec![&answer.body]]);
            prop_assert_eq!(without_stamps(transcript), without_stamps(in_one_read), "{}", section.file);
        }
    }

    #[test]
    fn no_bytes_make_a_transcript_panic(
        body in vec(prop_oneof![any::<u8>(), prop::sample::select(&b"data: {}[]\"\\:,\r\n"[..])], 0..400),
        places in vec(any::<Index>(), 0..12),
        status in 100_u16..600,
    ) {
        let answer = Answer { status, headers: Vec::new(), body };
        for kind in KINDS {
            let pieces = vec![cut(&answer.body, &places)];
            prop_assert_eq!(
                transcribe(kind, &answer, None, &pieces),
                transcribe(kind, &answer, None, &[vec![&answer.body[..]]])
            );
        }
    }
}

/// A stream of chat events, one a read unless `pieces` says otherwise.
fn chat(keep: Keep) -> Transcript {
    let mut transcript = Transcript::new(streamgauge_testing::record(), keep);
    let head = AnswerHead { status: 200, unpacker: Ok(None), advice: String::new() };
    transcript.begin(head, codec(EndpointKind::Chat).decoder(Some("text/event-stream"), AnswerContext::default()));
    transcript
}

fn delta(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

#[test]
fn chunks_have_the_stamp_of_the_read_that_completed_them() {
    let mut transcript = chat(KEEP);
    let [one, two, three] = ["a", "b", "c"].map(delta);
    let (begun, rest) = two.split_at(10);
    transcript.piece(format!("{one}{begun}").as_bytes(), stamp(1));
    transcript.piece(rest.as_bytes(), stamp(2));
    transcript.piece(three.as_bytes(), stamp(2));
    assert!(!transcript.is_complete() && transcript.outputs() == 3);
    transcript.piece(b"data: [DONE]\n\n", stamp(3));
    assert!(transcript.is_complete() && transcript.is_done() && !transcript.is_whole());
    transcript.end_behind_answer(None);
    assert!(transcript.is_whole());
    assert_eq!(transcript.verdict(), Ok(()));
    let (record, received) = transcript.finish(Outcome::Ok, Nanos(i64::MAX));
    let times: Vec<(i64, bool)> = record.chunks.iter().map(|chunk| (chunk.at.0, chunk.shared)).collect();
    assert_eq!(times, [(1_000, false), (2_000, false), (2_000, true)]);
    assert_eq!((record.first_event, record.end), (Some(Nanos(1_000)), Nanos(3_000)));
    assert_eq!(received.event_texts().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(received.raw.len(), 4);
}

#[test]
fn an_answer_that_is_cut_off_ends_when_it_was_given_up() {
    let mut transcript = chat(Keep { raw: false, text_parts: false, ..KEEP });
    transcript.piece(delta("a").as_bytes(), stamp(1));
    let (record, received) = transcript.finish(Outcome::CutOff, Nanos(9_000));
    assert_eq!((record.end, record.chunks.len(), record.outcome), (Nanos(9_000), 1, Outcome::CutOff));
    assert!(received.parts.is_empty() && received.raw.is_empty());
    assert_eq!(received.texts[0].text, "a");
}

fn failure(transcript: &mut Transcript) -> Failure {
    transcript.verdict().unwrap_err()
}

#[test]
fn what_fails_an_answer_is_said() {
    let mut unfinished = chat(KEEP);
    unfinished.piece(delta("a").as_bytes(), stamp(1));
    unfinished.end(stamp(2));
    assert_eq!(failure(&mut unfinished).class, FailureClass::Truncated);

    let mut empty = chat(KEEP);
    empty.piece(b"data: [DONE]\n\n", stamp(1));
    empty.end(stamp(1));
    assert_eq!(failure(&mut empty).message, "the answer holds no output");

    let mut long = chat(Keep { longest_answer: 100, ..KEEP });
    long.piece(delta("a").as_bytes(), stamp(1));
    long.piece(delta("a").as_bytes(), stamp(2));
    assert!(long.has_failed());
    assert_eq!(failure(&mut long).class, FailureClass::Malformed);
    let (record, received) = long.finish(Outcome::CutOff, Nanos(3_000));
    assert!(record.bytes > 100 && received == Received::default());

    let mut refused = Transcript::new(streamgauge_testing::record(), KEEP);
    let head = AnswerHead { status: 429, unpacker: Ok(None), advice: " (Retry-After: 5)".into() };
    refused.begin(head, codec(EndpointKind::Chat).decoder(None, AnswerContext::default()));
    refused.piece(br#"{"error": {"message": "too many requests"}}"#, stamp(1));
    refused.end(stamp(1));
    let why = failure(&mut refused);
    assert_eq!((why.class, why.message.as_str()), (FailureClass::Status, "429 (Retry-After: 5): too many requests"));

    let mut unknown = Transcript::new(streamgauge_testing::record(), KEEP);
    let head = AnswerHead { status: 200, unpacker: Unpacker::new(["zstd"]), advice: String::new() };
    unknown.begin(head, codec(EndpointKind::Chat).decoder(None, AnswerContext::default()));
    assert!(unknown.has_failed());
    assert_eq!(failure(&mut unknown).class, FailureClass::Malformed);
}

/// Why a whole answer of `kind` to a request for `outputs` outputs is no success, if it is none.
fn whole(kind: EndpointKind, outputs: u32, body: &str) -> Option<String> {
    let mut transcript = Transcript::new(streamgauge_testing::record(), KEEP).expecting(outputs);
    let head = AnswerHead { status: 200, unpacker: Ok(None), advice: String::new() };
    transcript.begin(head, codec(kind).decoder(Some("application/json"), AnswerContext::default()));
    transcript.piece(body.as_bytes(), stamp(1));
    transcript.end(stamp(1));
    let failure = transcript.verdict().err()?;
    assert!(matches!(failure.class, FailureClass::Malformed | FailureClass::Empty), "{failure:?}");
    Some(failure.message)
}

#[test]
fn an_answer_with_fewer_outputs_than_the_request_asks_for_is_malformed() {
    let missing =
        |found: u32, of: u32| Some(format!("the answer holds {found} of the {of} outputs that the request asks for"));
    let embeddings = |outputs, data: &str| whole(EndpointKind::Embeddings, outputs, &format!(r#"{{"data":[{data}]}}"#));
    let two = r#"{"index":0,"embedding":[1,2]},{"index":1,"embedding":[3,4]}"#;
    assert_eq!(embeddings(2, two), None);
    assert_eq!(embeddings(0, two), None, "their number is not known");
    assert_eq!(embeddings(3, two), missing(2, 3));
    // Vectors without an index are in the order of the texts; of two with one index, one is missing.
    assert_eq!(embeddings(2, r#"{"embedding":[1]},{"embedding":[2]}"#), None);
    assert_eq!(embeddings(2, r#"{"index":1,"embedding":[1]},{"index":1,"embedding":[2]}"#), missing(1, 2));
    assert_eq!(embeddings(2, r#"{"index":1,"embedding":[1]},{"index":2,"embedding":[2]}"#), missing(1, 2));
    assert_eq!(embeddings(2, ""), Some("the answer holds no output".to_owned()));
    let unread = embeddings(2, r#"{"index":0,"embedding":[1]},{"index":1,"embedding":["x"]}"#).unwrap();
    assert!(unread.starts_with("`embedding` has a value that cannot be read"), "{unread}");

    let completions =
        |outputs, choices: &str| whole(EndpointKind::Completions, outputs, &format!(r#"{{"choices":[{choices}]}}"#));
    assert_eq!(completions(2, r#"{"text":"a"},{"text":"b"}"#), None);
    // A model may end an output at once.
    assert_eq!(completions(2, r#"{"index":0,"text":"a"},{"index":1,"text":"","finish_reason":"stop"}"#), None);
    assert_eq!(completions(2, r#"{"index":0,"text":"a","finish_reason":"stop"}"#), missing(1, 2));
    let chat = r#"{"choices":[{"index":0,"message":{"content":"a","reasoning_content":"b"}}]}"#;
    assert_eq!(whole(EndpointKind::Chat, 2, chat), missing(1, 2));
    assert_eq!(whole(EndpointKind::Chat, 1, chat), None);
}

#[test]
fn a_stream_with_fewer_outputs_than_the_request_asks_for_is_malformed_when_it_is_done() {
    let done = "data: [DONE]\n\n";
    let mut whole = chat(KEEP).expecting(2);
    whole.piece(delta("a").as_bytes(), stamp(1));
    whole.piece(delta("b").replace("\"index\":0", "\"index\":1").as_bytes(), stamp(2));
    whole.piece(done.as_bytes(), stamp(3));
    assert_eq!(whole.verdict(), Ok(()));
    let mut half = chat(KEEP).expecting(2);
    half.piece(delta("a").as_bytes(), stamp(1));
    // As long as it goes on, nothing is missing.
    assert_eq!(half.verdict(), Ok(()));
    half.piece(done.as_bytes(), stamp(2));
    assert_eq!(failure(&mut half).class, FailureClass::Malformed);
}

#[test]
fn a_compressed_answer_that_ends_in_the_middle_is_truncated() {
    let body = zipped(br#"{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}"#);
    let answer = |bytes: &[u8]| {
        let whole =
            Answer { status: 200, headers: vec!["Content-Type: application/json".into()], body: bytes.to_vec() };
        transcribe(EndpointKind::Generate, &whole, Some("gzip"), &[vec![&whole.body]]).0.outcome
    };
    let cut = answer(&body[..body.len() - 9]);
    assert!(matches!(&cut, Outcome::Failed(why) if why.class == FailureClass::Truncated), "{cut:?}");
}
