//! gRPC without its connection: messages with their prefixes, their compression, and the status of a call.

use crate::limits::MAX_BODY;
use flate2::Compression as Level;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::{self, Read, Write};
use streamgauge_core::kserve::Compression;

/// The number of bytes before each message, which say whether it is compressed, and its length.
pub const PREFIX: usize = 5;

/// Puts the prefix of an uncompressed message before it. A message has less than 4 GiB.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    push_prefix(&mut framed, message.len());
    framed.extend_from_slice(message);
    framed
}

/// Appends the prefix of an uncompressed message of this length.
pub(crate) fn push_prefix(body: &mut Vec<u8>, length: usize) {
    body.extend_from_slice(&prefix(false, length));
}

/// Compresses a message and puts its prefix before it. A message has less than 4 GiB.
pub fn compressed(message: &[u8], compression: Compression) -> Vec<u8> {
    let room = vec![0; PREFIX];
    let packed = match compression {
        Compression::None => return framed(message),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(room, Level::default());
            encoder.write_all(message).and_then(|()| encoder.finish())
        }
        Compression::Deflate => {
            let mut encoder = ZlibEncoder::new(room, Level::default());
            encoder.write_all(message).and_then(|()| encoder.finish())
        }
    };
    // Writing to memory does not fail. If it did, the uncompressed message would be sent.
    let Ok(mut packed) = packed else { return framed(message) };
    let prefix = prefix(true, packed.len() - PREFIX);
    packed[..PREFIX].copy_from_slice(&prefix);
    packed
}

fn prefix(compressed: bool, length: usize) -> [u8; PREFIX] {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [u8::from(compressed), a, b, c, d]
}

/// The value of `grpc-encoding` for a compression. `None` if messages are not compressed.
pub fn encoding_name(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Deflate => Some("deflate"),
    }
}

/// How compressed messages are to be read.
#[derive(Debug)]
enum Encoding {
    /// Messages are not compressed.
    Identity,
    Gzip,
    Deflate,
    /// The compression is not supported.
    Unknown(String),
    /// The compression is recognised by the bytes.
    Any,
}

/// Splits a body into messages, wherever the network cut it.
#[derive(Debug)]
pub struct Messages {
    encoding: Encoding,
    /// The beginning of a message that continues in the next slice, with its prefix.
    kept: Vec<u8>,
    over: bool,
}

impl Messages {
    /// For messages that are compressed as `encoding` (`grpc-encoding`) says, where they are.
    pub fn new(encoding: Option<&str>) -> Messages {
        let encoding = match encoding.map(str::trim) {
            None | Some("" | "identity") => Encoding::Identity,
            Some("gzip") => Encoding::Gzip,
            Some("deflate") => Encoding::Deflate,
            Some(other) => Encoding::Unknown(other.to_owned()),
        };
        Messages { encoding, kept: Vec::new(), over: false }
    }

    /// A parser of messages whose compression is not known.
    pub fn of_any_encoding() -> Messages {
        Messages { encoding: Encoding::Any, kept: Vec::new(), over: false }
    }

    /// Reads the next bytes and hands over each message that they complete, decompressed; one that lies wholly in `bytes` and is
    /// not compressed is not copied. `on` says whether to go on; where not, nothing more is read, now or later.
    ///
    /// # Errors
    /// When these are not messages, or one is longer than [`MAX_BODY`]. Nothing more is read then.
    pub fn feed(&mut self, bytes: &[u8], on: &mut impl FnMut(&[u8]) -> bool) -> Result<(), String> {
        let mut rest = bytes;
        while !self.over && !rest.is_empty() {
            let fed = if self.kept.is_empty() { self.whole(&mut rest, on) } else { self.joined(&mut rest, on) };
            fed.inspect_err(|_| self.over = true)?;
        }
        Ok(())
    }

    /// Whether the bytes so far are complete messages.
    pub fn is_between(&self) -> bool {
        self.kept.is_empty()
    }

    /// Reads a message that begins with `rest`.
    fn whole(&mut self, rest: &mut &[u8], on: &mut impl FnMut(&[u8]) -> bool) -> Result<(), String> {
        let Some((prefix, body)) = rest.split_first_chunk::<PREFIX>() else {
            self.kept.extend_from_slice(rest);
            *rest = &[];
            return Ok(());
        };
        let Some((message, after)) = body.split_at_checked(length(prefix)?) else {
            self.kept.extend_from_slice(rest);
            *rest = &[];
            return Ok(());
        };
        *rest = after;
        self.hand_over(prefix[0], message, on)
    }

    /// Reads on in the message whose beginning was kept.
    fn joined(&mut self, rest: &mut &[u8], on: &mut impl FnMut(&[u8]) -> bool) -> Result<(), String> {
        self.take(PREFIX, rest);
        let Some(prefix) = self.kept.first_chunk::<PREFIX>().copied() else { return Ok(()) };
        let end = PREFIX + length(&prefix)?;
        self.take(end, rest);
        if self.kept.len() < end {
            return Ok(());
        }
        let mut kept = std::mem::take(&mut self.kept);
        let handed = self.hand_over(prefix[0], &kept[PREFIX..], on);
        kept.clear();
        self.kept = kept;
        handed
    }

    /// Moves bytes from `rest` until `end` are kept.
    fn take(&mut self, end: usize, rest: &mut &[u8]) {
        let count = end.saturating_sub(self.kept.len()).min(rest.len());
        let (taken, after) = rest.split_at(count);
        self.kept.extend_from_slice(taken);
        *rest = after;
    }

    fn hand_over(&mut self, flag: u8, message: &[u8], on: &mut impl FnMut(&[u8]) -> bool) -> Result<(), String> {
        let more = match flag {
            0 => on(message),
            1 => on(&self.unpacked(message)?),
            other => return Err(format!("a message's prefix begins with {other}, not with 0 or 1")),
        };
        self.over = !more;
        Ok(())
    }

    fn unpacked(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let unpacked = match &self.encoding {
            Encoding::Gzip => unpack(MultiGzDecoder::new(message)),
            Encoding::Deflate => unpack(ZlibDecoder::new(message)),
            Encoding::Any if message.starts_with(&[0x1f, 0x8b]) => unpack(MultiGzDecoder::new(message)),
            Encoding::Any => unpack(ZlibDecoder::new(message)),
            Encoding::Identity => return Err("a compressed message, though no encoding was named".to_owned()),
            Encoding::Unknown(name) => {
                return Err(format!("a message compressed as `{name}`, which was not asked for"));
            }
        };
        let unpacked = unpacked.map_err(|error| format!("a compressed message that cannot be read: {error}"))?;
        if unpacked.len() > MAX_BODY { Err(too_long()) } else { Ok(unpacked) }
    }
}

/// The length of a message, if such a message is read.
fn length(prefix: &[u8; PREFIX]) -> Result<usize, String> {
    let [_, a, b, c, d] = *prefix;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > MAX_BODY { Err(too_long()) } else { Ok(length) }
}

fn too_long() -> String {
    format!("a message longer than {} MiB", MAX_BODY >> 20)
}

/// All bytes of `decoder`, but at most one more than [`MAX_BODY`].
fn unpack(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    decoder.take(MAX_BODY as u64 + 1).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

/// The status of a call in its trailers, or in its headers if there was nothing else; `header` looks a field up.
///
/// # Errors
/// The status where it is not OK, and its message: `INVALID_ARGUMENT: ..`.
pub fn grpc_status<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Result<(), String> {
    let Some(code) = header("grpc-status").map(str::trim) else {
        return Err("UNKNOWN: the server ended the call without a status".to_owned());
    };
    let message = header("grpc-message").map(percent_decoded).unwrap_or_default();
    match code.parse::<usize>() {
        Ok(0) => Ok(()),
        Ok(number) => match CODES.get(number) {
            Some(name) => Err(format!("{name}: {message}")),
            None => Err(format!("status {number}: {message}")),
        },
        Err(_) => Err(format!("UNKNOWN: `{code}` is not a status: {message}")),
    }
}

/// The names of the status codes, by number.
pub const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// A message's text: `%` and two hexadecimal digits are a byte; anything else is itself.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let byte = (first == b'%').then(|| hexadecimal(after)).flatten();
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The byte whose two digits `text` begins with.
fn hexadecimal(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    /// What is read from `parts`, and the error at the end, if there is one.
    fn read<'a>(mut messages: Messages, parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<String>) {
        let mut seen = Vec::new();
        let mut error = None;
        for part in parts {
            let fed = messages.feed(part, &mut |message| {
                seen.push(message.to_vec());
                true
            });
            error = error.or(fed.err());
        }
        if error.is_none() && !messages.is_between() {
            error = Some("cut".to_owned());
        }
        (seen, error)
    }

    fn refused(encoding: Option<&str>, bytes: &[u8]) -> String {
        let (seen, error) = read(Messages::new(encoding), [bytes]);
        assert_eq!(seen, [[0; 0]; 0]);
        error.unwrap()
    }

    #[test]
    fn a_whole_message_is_not_copied() {
        let bytes = [framed(b"first"), framed(b""), framed(b"second")].concat();
        let mut places = Vec::new();
        let mut messages = Messages::new(None);
        let fed = messages.feed(&bytes, &mut |message| {
            places.push(message.as_ptr() as usize - bytes.as_ptr() as usize);
            true
        });
        assert_eq!((fed, places), (Ok(()), vec![5, 15, 20]));
    }

    #[test]
    fn reading_ends_when_told() {
        let bytes = [framed(b"a"), framed(b"b")].concat();
        let mut messages = Messages::new(None);
        let mut count = 0;
        for part in [&bytes[..], &bytes] {
            assert_eq!(
                messages.feed(part, &mut |_| {
                    count += 1;
                    false
                }),
                Ok(())
            );
        }
        assert_eq!(count, 1);
    }

    #[test]
    fn what_is_no_message_is_refused_in_a_sentence() {
        assert_eq!(refused(None, &[2, 0, 0, 0, 0]), "a message's prefix begins with 2, not with 0 or 1");
        assert_eq!(refused(None, b"HTTP/1.1 200 OK"), "a message longer than 64 MiB");
        assert_eq!(refused(None, &[1, 0, 0, 0, 0]), "a compressed message, though no encoding was named");
        assert_eq!(refused(Some("br"), &[1, 0, 0, 0, 0]), "a message compressed as `br`, which was not asked for");
        let broken = refused(Some("gzip"), &[1, 0, 0, 0, 1, 7]);
        assert!(broken.starts_with("a compressed message that cannot be read: "), "{broken}");
        let bomb = compressed(&vec![0; MAX_BODY + 1], Compression::Gzip);
        assert_eq!(refused(Some("gzip"), &bomb), "a message longer than 64 MiB");
        assert_eq!(refused(None, &[0, 0, 0, 0, 1]), "cut");
    }

    #[test]
    fn status_from_trailers() {
        let status = |pairs: &'static [(&str, &str)]| {
            grpc_status(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
        };
        let error = |pairs| status(pairs).unwrap_err();
        assert_eq!(status(&[("grpc-status", "0")]), Ok(()));
        assert_eq!(error(&[]), "UNKNOWN: the server ended the call without a status");
        assert_eq!(
            error(&[("grpc-status", "3"), ("grpc-message", "50%25 of%20%C3%BC 100% %zz")]),
            "INVALID_ARGUMENT: 50% of ü 100% %zz"
        );
        assert_eq!(error(&[("grpc-status", "16")]), "UNAUTHENTICATED: ");
        assert_eq!(error(&[("grpc-status", "17"), ("grpc-message", "new")]), "status 17: new");
        assert_eq!(error(&[("grpc-status", "no")]), "UNKNOWN: `no` is not a status: ");
    }

    proptest! {
        #[test]
        fn the_same_messages_however_they_are_cut(
            said in vec((vec(any::<u8>(), 0..40), 0..3), 0..6),
            places in vec(any::<Index>(), 0..12),
        ) {
            let codings = [Compression::None, Compression::Gzip, Compression::Deflate];
            for known in [Compression::Gzip, Compression::Deflate] {
                let coding = |n: usize| if codings[n] == Compression::None { Compression::None } else { known };
                let body: Vec<u8> =
                    said.iter().flat_map(|(message, n)| compressed(message, coding(*n as usize))).collect();
                let mut cuts: Vec<usize> = places.iter().map(|place| place.index(body.len() + 1)).collect();
                cuts.extend([0, body.len()]);
                cuts.sort_unstable();
                let parts = || cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]);
                let expected: Vec<Vec<u8>> = said.iter().map(|(message, _)| message.clone()).collect();
                prop_assert_eq!(read(Messages::new(encoding_name(known)), parts()), (expected.clone(), None));
                prop_assert_eq!(read(Messages::of_any_encoding(), parts()), (expected, None));
            }
        }

        #[test]
        fn no_bytes_panic_and_the_cut_changes_nothing(body in vec(prop_oneof![0..3_u8, any::<u8>()], 0..200), part in 1..9_usize) {
            for encoding in [None, Some("gzip"), Some("deflate")] {
                let whole = read(Messages::new(encoding), [&body[..]]);
                prop_assert_eq!(read(Messages::new(encoding), body.chunks(part)), whole);
            }
        }
    }
}
