//! Any bytes as an answer: no panic, and the same events however the bytes are cut. The first byte chooses the endpoint and
//! the content type, the second where the cut is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgauge_core::kserve::Kserve;
use streamgauge_core::plan::{Endpoint, EndpointKind};
use streamgauge_wire::endpoints::spec;
use streamgauge_wire::{AnswerContext, Codec, Unpacker};

fuzz_target!(|data: &[u8]| {
    let [choice, cut, body @ ..] = data else { return };
    let content_type = if choice & 1 == 0 { "text/event-stream" } else { "application/json" };
    let kind = EndpointKind::ALL[usize::from(choice >> 1 & 7) % EndpointKind::ALL.len()];
    let codec = Codec::new(&endpoint(kind, choice >> 4 & 1 == 0), false);
    let cut = usize::from(*cut).min(body.len());
    assert_eq!(events(&codec, content_type, &[body]), events(&codec, content_type, &[&body[..cut], &body[cut..]]));
    for encoding in ["gzip", "deflate"] {
        assert_eq!(unpacked(encoding, &[body]), unpacked(encoding, &[&body[..cut], &body[cut..]]));
    }
});

fn events(codec: &Codec, content_type: &str, pieces: &[&[u8]]) -> Vec<String> {
    let mut decoder = codec.decoder(Some(content_type), AnswerContext::default());
    let mut events = Vec::new();
    for piece in pieces {
        decoder.feed(piece, &mut |event| events.push(format!("{event:?}")));
    }
    decoder.finish(&mut |event| events.push(format!("{event:?}")));
    events
}

/// What the pieces unpack to, and whether that is all; none where they are damaged.
fn unpacked(encoding: &str, pieces: &[&[u8]]) -> Option<(Vec<u8>, bool)> {
    let mut unpacker = Unpacker::new([encoding]).ok()??;
    let mut plain = Vec::new();
    for piece in pieces {
        unpacker.feed(piece, &mut |bytes| plain.extend_from_slice(bytes)).ok()?;
    }
    Some((plain, unpacker.is_complete()))
}

fn endpoint(kind: EndpointKind, streaming: bool) -> Endpoint {
    Endpoint {
        kind,
        path: spec(kind).default_path("m", None, streaming),
        streaming,
        kserve: Some(Box::new(Kserve { text_output: Some("text_output".into()), ..Kserve::default() })),
        ..streamgauge_testing::endpoint()
    }
}
