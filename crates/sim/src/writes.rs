//! How the bytes of answers are divided into writes.

use streamgauge_core::clock::Nanos;

/// Events that are due at once go out together in writes of about this many bytes.
pub(crate) const WRITE: usize = 16 * 1024;
/// Between the pieces of an event that is split on purpose: long enough for a reader to take them apart.
pub(crate) const SPLIT_PAUSE: Nanos = Nanos(200_000);

/// The positions at which a frame is split on purpose, as lengths of the pieces before the last: within its first line, inside a character
/// if there is one of several bytes (otherwise in the middle), and between the two line ends that close it.
pub(crate) fn cuts(frame: &[u8]) -> Vec<usize> {
    let inside = frame.iter().position(|byte| (*byte & 0xc0) == 0x80).unwrap_or(frame.len() / 2);
    let mut places = [1, inside, frame.len().saturating_sub(1)];
    places.sort_unstable();
    let mut cut = 0;
    let pieces = places.into_iter().filter_map(|place| {
        let piece = place.checked_sub(cut).filter(|piece| *piece > 0)?;
        cut = place;
        Some(piece)
    });
    pieces.filter(|piece| *piece < frame.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_inside_a_character() {
        let pieces = |frame: &[u8]| {
            let mut rest = frame;
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            for cut in cuts(frame) {
                pieces.push(rest[..cut].to_vec());
                rest = &rest[cut..];
            }
            pieces.push(rest.to_vec());
            pieces
        };
        assert_eq!(pieces("ab é\r\n".as_bytes()), [&b"a"[..], b"b \xc3", b"\xa9\r", b"\n"]);
        assert_eq!(pieces(b"abcdef"), [&b"a"[..], b"bc", b"de", b"f"]);
        assert_eq!(pieces(b"a"), [b"a"]);
        assert_eq!(pieces(b""), [b""]);
    }
}
