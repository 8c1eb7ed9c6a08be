//! Bodies that a server compressed, as `Content-Encoding` says. The content is passed on as soon as its bytes arrive, so that the events
//! of a compressed stream keep their times.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use streamgauge_core::Setting;

/// The greatest length of an unpacked body, in bytes. A thousandth of it may unpack to it.
pub const MAX_UNPACKED: u64 = 256 << 20;

/// The greatest length of a gzip header that is read: the fixed part and a file name.
const MAX_HEADER: usize = 4 << 10;

/// How many bytes are unpacked before they are passed on.
const STEP: usize = 16 << 10;

/// What is added to a message about a body that cannot be read.
fn ask_for_none() -> String {
    format!("`{} \"Accept-Encoding: identity\"` asks the server not to compress", Setting::Header)
}

/// Unpacks one body.
#[derive(Debug)]
pub struct Unpacker {
    coding: Coding,
    state: State,
    /// The beginning of a header or a trailer that is not complete yet.
    kept: Vec<u8>,
    /// The checksum of the current gzip member.
    crc: Crc,
    room: Vec<u8>,
    unpacked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
}

#[derive(Debug)]
enum State {
    /// Before a header. The flag says whether a member has ended before it.
    Head {
        is_later: bool,
    },
    Data(Box<Decompress>),
    /// After the data of a gzip member.
    Tail,
    /// After the end; further bytes are ignored.
    Over,
}

impl Unpacker {
    /// The unpacker for a body with these values of `Content-Encoding`. `None` if the body is not compressed.
    ///
    /// # Errors
    /// A sentence with the name of the encoding, if it is not supported.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Option<Unpacker>, String> {
        let names: Vec<&str> = values
            .into_iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"))
            .collect();
        let is = |known: &str| matches!(names[..], [name] if name.eq_ignore_ascii_case(known));
        let coding = if names.is_empty() {
            return Ok(None);
        } else if is("gzip") || is("x-gzip") {
            Coding::Gzip
        } else if is("deflate") {
            Coding::Deflate
        } else {
            let names = names.join(", ");
            return Err(format!(
                "the answer's Content-Encoding is {names}; gzip and deflate are read; {}",
                ask_for_none()
            ));
        };
        Ok(Some(Unpacker {
            coding,
            state: State::Head { is_later: false },
            kept: Vec::new(),
            crc: Crc::new(),
            room: Vec::new(),
            unpacked: 0,
        }))
    }

    /// Reads the next bytes, cut anywhere, and passes on all that they unpack to.
    ///
    /// # Errors
    /// When they are not what the encoding promises, or unpack to more than [`MAX_UNPACKED`]. Nothing more is read then.
    pub fn feed(&mut self, bytes: &[u8], on: &mut impl FnMut(&[u8])) -> Result<(), String> {
        let fed = self.read(bytes, on);
        if fed.is_err() {
            self.state = State::Over;
        }
        fed
    }

    /// Whether the body so far is whole.
    pub fn is_complete(&self) -> bool {
        match self.state {
            State::Head { is_later } => is_later && self.kept.is_empty(),
            State::Data(_) | State::Tail => false,
            State::Over => true,
        }
    }

    /// The content of a whole body, as far as it can be unpacked.
    pub fn unpack(mut self, body: &[u8]) -> Vec<u8> {
        let mut unpacked = Vec::new();
        // What was unpacked before an error is the beginning of the answer.
        let _ = self.feed(body, &mut |plain| unpacked.extend_from_slice(plain));
        unpacked
    }

    fn read(&mut self, bytes: &[u8], on: &mut impl FnMut(&[u8])) -> Result<(), String> {
        let joined;
        let mut rest = match self.kept.is_empty() {
            true => bytes,
            false => {
                joined = [&std::mem::take(&mut self.kept)[..], bytes].concat();
                &joined[..]
            }
        };
        while !rest.is_empty() {
            match &mut self.state {
                State::Head { is_later } => {
                    // Some writers leave blocks of zeros or other bytes after the last member.
                    if *is_later && rest[0] != 0x1f {
                        self.state = State::Over;
                        continue;
                    }
                    let Some((header, decoder)) = self.header(rest)? else {
                        self.kept = rest.to_vec();
                        return Ok(());
                    };
                    rest = &rest[header..];
                    self.crc.reset();
                    self.state = State::Data(Box::new(decoder));
                }
                State::Data(decoder) => {
                    let (taken, is_over) =
                        inflate(decoder, rest, &mut self.room, &mut self.crc, &mut self.unpacked, on).map_err(
                            |why| format!("the answer's {} data {why}; {}", self.coding.name(), ask_for_none()),
                        )?;
                    rest = &rest[taken..];
                    match (is_over, self.coding) {
                        (true, Coding::Gzip) => self.state = State::Tail,
                        (true, Coding::Deflate) => self.state = State::Over,
                        (false, _) => {}
                    }
                }
                State::Tail => {
                    let Some((tail, behind)) = rest.split_first_chunk::<8>() else {
                        self.kept = rest.to_vec();
                        return Ok(());
                    };
                    let [a, b, c, d, e, f, g, h] = *tail;
                    let (crc, length) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
                    if crc != self.crc.sum() || length != self.crc.amount() {
                        return Err(format!(
                            "the answer's gzip data are damaged: their checksum does not fit; {}",
                            ask_for_none()
                        ));
                    }
                    rest = behind;
                    self.state = State::Head { is_later: true };
                }
                State::Over => return Ok(()),
            }
        }
        Ok(())
    }

    /// The length of the header at the beginning of `bytes`, and the reader of the data after it. `None` while the header is not complete.
    fn header(&self, bytes: &[u8]) -> Result<Option<(usize, Decompress)>, String> {
        match self.coding {
            Coding::Gzip => Ok(gzip_header(bytes)?.map(|header| (header, Decompress::new(false)))),
            // The name stands for zlib's format, but some servers send raw deflate data under it.
            Coding::Deflate => Ok(match bytes {
                [first, second, ..] => {
                    let is_zlib = first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31);
                    Some((0, Decompress::new(is_zlib)))
                }
                _ => None,
            }),
        }
    }
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }
}

/// Unpacks `bytes` until their end or the end of the data. Returns how many were used, and whether the data end there.
///
/// # Errors
/// What is wrong with the data.
fn inflate(
    decoder: &mut Decompress,
    bytes: &[u8],
    room: &mut Vec<u8>,
    crc: &mut Crc,
    unpacked: &mut u64,
    on: &mut impl FnMut(&[u8]),
) -> Result<(usize, bool), String> {
    room.resize(STEP, 0);
    let mut taken = 0;
    loop {
        let (before_in, before_out) = (decoder.total_in(), decoder.total_out());
        let status = decoder.decompress(&bytes[taken..], room, FlushDecompress::None);
        let status = status.map_err(|_| "cannot be unpacked".to_owned())?;
        let came = (decoder.total_out() - before_out) as usize;
        let went = (decoder.total_in() - before_in) as usize;
        taken += went;
        *unpacked += came as u64;
        if *unpacked > MAX_UNPACKED {
            return Err(format!("unpack to more than {} MiB", MAX_UNPACKED >> 20));
        }
        if came > 0 {
            crc.update(&room[..came]);
            on(&room[..came]);
        }
        if status == Status::StreamEnd {
            return Ok((taken, true));
        }
        // If there is room left, these bytes unpack to nothing more.
        if came < room.len() && taken == bytes.len() {
            return Ok((taken, false));
        }
        if came == 0 && went == 0 {
            return Err("cannot be unpacked".to_owned());
        }
    }
}

/// The length of the gzip header at the beginning of `bytes` (RFC 1952, section 2.3). `None` while it is not complete.
fn gzip_header(bytes: &[u8]) -> Result<Option<usize>, String> {
    let wrong = || format!("the answer is not gzip, though its Content-Encoding says so; {}", ask_for_none());
    let magic = [0x1f, 0x8b, 8];
    if bytes.iter().zip(magic).any(|(byte, known)| *byte != known) {
        return Err(wrong());
    }
    let header = whole_header(bytes);
    match header {
        None if bytes.len() > MAX_HEADER => Err(wrong()),
        header => Ok(header),
    }
}

fn whole_header(bytes: &[u8]) -> Option<usize> {
    const FIXED: usize = 10;
    let flags = *bytes.get(3)?;
    let mut at = FIXED;
    if flags & 0b100 != 0 {
        at += 2 + usize::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    }
    for text in [0b1000, 0b1_0000] {
        if flags & text != 0 {
            at += memchr::memchr(0, bytes.get(at..)?)? + 1;
        }
    }
    if flags & 0b10 != 0 {
        at += 2;
    }
    (bytes.len() >= at).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn bare(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacker(encoding: &str) -> Unpacker {
        Unpacker::new([encoding]).unwrap().unwrap()
    }

    /// What these parts unpack to, whether that is all, and what was wrong.
    fn unpacked<'a>(encoding: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, bool, Option<String>) {
        let mut unpacker = unpacker(encoding);
        let (mut plain, mut error) = (Vec::new(), None);
        for part in parts {
            error = error.or(unpacker.feed(part, &mut |bytes| plain.extend_from_slice(bytes)).err());
        }
        (plain, unpacker.is_complete(), error)
    }

    #[test]
    fn encodings_by_name() {
        for none in [&[][..], &[""], &["identity"], &["Identity", " "]] {
            assert!(Unpacker::new(none.iter().copied()).unwrap().is_none(), "{none:?}");
        }
        for known in ["gzip", " GZIP ", "x-gzip", "deflate", "identity, gzip"] {
            assert!(Unpacker::new([known]).unwrap().is_some(), "{known}");
        }
        for (values, name) in
            [(&["br"][..], "br"), (&["zstd"], "zstd"), (&["gzip, br"], "gzip, br"), (&["gzip", "gzip"], "gzip, gzip")]
        {
            let why = Unpacker::new(values.iter().copied()).unwrap_err();
            assert!(
                why.starts_with(&format!("the answer's Content-Encoding is {name}; gzip and deflate are read")),
                "{why}"
            );
        }
    }

    #[test]
    fn each_event_is_there_as_soon_as_its_bytes_are() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let mut unpacker = unpacker("gzip");
        for index in 0..50 {
            let event = format!("data: {index}\n\n");
            encoder.write_all(event.as_bytes()).unwrap();
            encoder.flush().unwrap();
            let sent = std::mem::take(encoder.get_mut());
            let mut plain = Vec::new();
            unpacker.feed(&sent, &mut |bytes| plain.extend_from_slice(bytes)).unwrap();
            assert_eq!(plain, event.as_bytes());
            assert!(!unpacker.is_complete());
        }
        unpacker.feed(&encoder.finish().unwrap(), &mut |_| {}).unwrap();
        assert!(unpacker.is_complete());
    }

    #[test]
    fn headers_with_everything_and_several_members() {
        let mut first = vec![0x1f, 0x8b, 8, 0b1_1110, 0, 0, 0, 0, 0, 3];
        first.extend_from_slice(b"\x03\0abcname\0comment\0\x12\x34");
        first.extend_from_slice(&gzip(b"one")[10..]);
        let body = [&first[..], &gzip(b" two"), b"\0\0\0"].concat();
        let whole = (b"one two".to_vec(), true, None);
        assert_eq!(unpacked("gzip", [&body[..]]), whole);
        assert_eq!(unpacked("gzip", body.chunks(1)), whole);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |encoding, body: &[u8]| unpacked(encoding, [body]).2.unwrap();
        assert!(error("gzip", b"{\"choices\":[]}").starts_with("the answer is not gzip"));
        let mut damaged = gzip(b"one two three");
        let at = damaged.len() - 6;
        damaged[at] ^= 1;
        assert!(error("gzip", &damaged).contains("checksum"));
        assert!(
            error("deflate", b"\x07\x07\x07\x07\x07\x07").starts_with("the answer's deflate data cannot be unpacked")
        );
        let endless = [&[0x1f, 0x8b, 8, 0b1000, 0, 0, 0, 0, 0, 3][..], &[b'x'; MAX_HEADER]].concat();
        assert!(error("gzip", &endless).starts_with("the answer is not gzip"));
        let (plain, is_complete, error) = unpacked("gzip", [&gzip(b"one")[..12]]);
        assert_eq!((plain.len() < 4, is_complete, error), (true, false, None));
    }

    #[test]
    fn what_unpacks_to_too_much_is_given_up() {
        let bomb = gzip(&vec![0; MAX_UNPACKED as usize + 1]);
        let mut unpacker = unpacker("gzip");
        let (mut most, mut all) = (0, 0);
        let fed = unpacker.feed(&bomb, &mut |plain| {
            most = most.max(plain.len());
            all += plain.len() as u64;
        });
        assert!(fed.unwrap_err().contains("unpack to more than 256 MiB"));
        assert!(most <= STEP && all <= MAX_UNPACKED);
    }

    proptest! {
        #[test]
        fn the_same_bytes_however_they_are_cut(
            text in vec(any::<u8>(), 0..3_000),
            repeats in 1..40_usize,
            places in vec(any::<Index>(), 0..12),
        ) {
            let text = text.repeat(repeats);
            for (encoding, body) in [("gzip", gzip(&text)), ("deflate", zlib(&text)), ("deflate", bare(&text))] {
                let mut cuts: Vec<usize> = places.iter().map(|place| place.index(body.len() + 1)).collect();
                cuts.extend([0, body.len()]);
                cuts.sort_unstable();
                let parts = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]);
                prop_assert_eq!(unpacked(encoding, parts), (text.clone(), true, None));
            }
        }

        #[test]
        fn no_bytes_panic_and_the_cut_changes_nothing(
            body in vec(any::<u8>(), 0..200), part in 1..9_usize, is_headed: bool,
        ) {
            for encoding in ["gzip", "deflate"] {
                let head = if is_headed && encoding == "gzip" { &gzip(b"")[..10] } else { &[] };
                let body = [head, &body].concat();
                let (by_part, whole) = (unpacked(encoding, body.chunks(part)), unpacked(encoding, [&body[..]]));
                prop_assert_eq!(by_part.2.is_some(), whole.2.is_some());
                // How much comes out before an error depends on how much was looked at.
                if whole.2.is_none() {
                    prop_assert_eq!(by_part, whole);
                }
            }
        }
    }
}
