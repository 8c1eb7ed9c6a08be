//! Any bytes as an answer to a request: no panic, and the same record however the bytes of a read are cut. The first byte chooses the endpoint,
//! the compression and the status, the second where the cut is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgauge_core::plan::{Endpoint, EndpointKind};
use streamgauge_core::record::{Outcome, Record};
use streamgauge_core::{Nanos, ReceiveStamp};
use streamgauge_wire::{AnswerHead, AnswerContext, Codec, Keep, Transcript, Unpacker};

fuzz_target!(|data: &[u8]| {
    let [choice, cut, body @ ..] = data else { return };
    let kind = match choice & 7 {
        0 => EndpointKind::Chat,
        1 => EndpointKind::Completions,
        2 => EndpointKind::Generate,
        3 => EndpointKind::KserveHttp,
        _ => EndpointKind::KserveGrpc,
    };
    let encoding = [None, Some("gzip"), Some("deflate"), None][usize::from(choice >> 3 & 3)];
    let status = if choice >> 5 & 1 == 0 { 200 } else { 500 };
    let cut = usize::from(*cut).min(body.len());
    let whole = record(kind, encoding, status, &[body]);
    assert_eq!(whole, record(kind, encoding, status, &[&body[..cut], &body[cut..]]));
});

fn record(kind: EndpointKind, encoding: Option<&str>, status: u16, pieces: &[&[u8]]) -> Record {
    let endpoint = Endpoint { kind, ..streamgauge_testing::endpoint() };
    let decoder = Codec::new(&endpoint, false).decoder(None, AnswerContext::default());
    let keep = Keep { raw: false, text_parts: true, longest_answer: 1 << 20 };
    let mut transcript = Transcript::new(streamgauge_testing::record(), keep);
    transcript.begin(AnswerHead { status, unpacker: Unpacker::new(encoding), advice: String::new() }, decoder);
    let stamp = ReceiveStamp { at: Nanos(1_000), lag: None, read: 1 };
    pieces.iter().for_each(|piece| transcript.piece(piece, stamp));
    transcript.end(stamp);
    let outcome = transcript.verdict().map_or_else(Outcome::Failed, |()| Outcome::Ok);
    transcript.finish(outcome, Nanos(2_000)).0
}
