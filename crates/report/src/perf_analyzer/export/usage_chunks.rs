//! The raw export without the chunks that only say the server's counts.
//!
//! Such a chunk has no choices (`stream_options`, which GenAI-Perf does not ask for), and GenAI-Perf's parser looks for the first
//! choice in every chunk and ends on the one that has none. The counts are in the records.

use serde_json::Value;
use std::borrow::Cow;
use std::ops::Range;
use streamgauge_core::record::RawPiece;

/// The pieces without events whose `choices` are an empty list; a piece that held nothing else is left out with its stamp.
pub(super) fn without(raw: &[RawPiece]) -> Cow<'_, [RawPiece]> {
    // Nearly every piece is unchanged: only an event that contains an empty list is examined.
    let whole: Vec<u8> = raw.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
    let ranges: Vec<Range<usize>> = events(&whole).filter(|range| is_usage_only(&whole[range.clone()])).collect();
    if ranges.is_empty() {
        return Cow::Borrowed(raw);
    }
    let mut offset = 0;
    let pieces = raw.iter().filter_map(|piece| {
        let from = offset;
        offset += piece.bytes.len();
        let is_left = |at: &usize| !ranges.iter().any(|range| range.contains(at));
        let bytes: Vec<u8> = (from..offset).filter(is_left).map(|at| whole[at]).collect();
        (!bytes.is_empty() || piece.bytes.is_empty()).then_some(RawPiece { at: piece.at, bytes })
    });
    Cow::Owned(pieces.collect())
}

/// The events of a stream, each with the blank line that ends it.
fn events(stream: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = stream.get(from..).filter(|rest| !rest.is_empty())?;
        let ends = [&b"\n\n"[..], b"\r\n\r\n"].into_iter().filter_map(|end| Some(find(rest, end)? + end.len()));
        let length = ends.min().unwrap_or(rest.len());
        from += length;
        Some(from - length..from)
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn is_usage_only(event: &[u8]) -> bool {
    if find(event, b"choices").is_none() {
        return false;
    }
    let Ok(text) = std::str::from_utf8(event) else { return false };
    let Some(data) = text.trim().strip_prefix("data:") else { return false };
    let chunk: Option<Value> = serde_json::from_str(data.trim()).ok();
    chunk.is_some_and(|chunk| chunk["choices"].as_array().is_some_and(Vec::is_empty))
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::Nanos;

    const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"[] usage\"}}],\"usage\":null}\n\n";
    const USAGE: &str = "data: {\"choices\": [ ],\"usage\":{\"completion_tokens\":1}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn left(pieces: &[&str]) -> Vec<(i64, String)> {
        let raw: Vec<RawPiece> =
            (0..).zip(pieces).map(|(at, text)| RawPiece { at: Nanos(at), bytes: text.as_bytes().to_vec() }).collect();
        without(&raw).iter().map(|piece| (piece.at.0, String::from_utf8(piece.bytes.clone()).unwrap())).collect()
    }

    #[test]
    fn a_chunk_without_choices_is_left_out_wherever_the_network_cut_it() {
        assert_eq!(left(&[TEXT, USAGE, DONE]), [(0, TEXT.into()), (2, DONE.into())]);
        assert_eq!(left(&[TEXT, &format!("{USAGE}{DONE}")]), [(0, TEXT.into()), (1, DONE.into())]);
        let (one, two) = USAGE.split_at(20);
        let expected = [(0, TEXT.to_owned()), (2, DONE.to_owned())];
        assert_eq!(left(&[&format!("{TEXT}{one}"), two, DONE]), expected);
        assert_eq!(left(&[TEXT, DONE]), [(0, TEXT.into()), (1, DONE.into())]);
        let crlf = USAGE.replace('\n', "\r\n");
        assert_eq!(left(&[TEXT, &crlf, DONE]), [(0, TEXT.into()), (2, DONE.into())]);
        // A body that is not a stream, and one that was cut off, stay as they are.
        for body in [r#"{"choices":[]}"#, "data: {\"choices\":[", ""] {
            assert_eq!(left(&[body]), [(0, body.to_owned())]);
        }
    }
}
