//! Finds out which protocol a server speaks on a port where the run's protocol got no answer. It asks over its own connection after the
//! run has failed, so that the message can name the cause.

use crate::routes::Routes;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};

/// A protocol that a server showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.x without TLS.
    Http1,
    /// HTTP/2 without TLS, as gRPC servers speak it.
    Http2,
    /// TLS.
    Tls,
}

/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long to wait for the server to speak first, as HTTP/2 servers do.
const GREETING: Nanos = Nanos::from_millis(300);
/// How long to wait after that for an answer to an HTTP/1.1 request.
const ANSWER: Nanos = Nanos::from_millis(2_000);
/// Bytes of an answer by which it is known: an HTTP/2 frame's head, or `HTTP/1.`.
const ENOUGH: usize = 9;

/// Returns the protocol of the first server of `routes`, if the server shows it within a few seconds.
pub fn spoken(routes: &Routes) -> Option<Spoken> {
    let address = routes.to(0).first_address()?;
    let clock = SystemClock::start();
    let mut stream = TcpStream::connect_timeout(&address, CONNECT).ok()?;
    let greeting = read(&mut stream, clock, GREETING);
    if !greeting.is_empty() {
        return classify(&greeting);
    }
    stream.set_write_timeout(Some(CONNECT)).ok()?;
    // A TLS server answers this with an alert, an HTTP/2 server with its settings or with an error of HTTP/1.1.
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    classify(&read(&mut stream, clock, ANSWER))
}

/// The first bytes that come within `limit`.
fn read(stream: &mut TcpStream, clock: SystemClock, limit: Nanos) -> Vec<u8> {
    let end = clock.now() + limit;
    let mut bytes = Vec::new();
    let mut buffer = [0; 64];
    while bytes.len() < ENOUGH {
        let left = (end - clock.now()).max(Nanos::ZERO).to_duration();
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            break;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    bytes
}

fn classify(bytes: &[u8]) -> Option<Spoken> {
    /// A TLS record that holds an alert, of any version from SSL 3 on (RFC 8446, section 5.1).
    const ALERT: [u8; 2] = [21, 3];
    match bytes {
        _ if bytes.starts_with(b"HTTP/1.") => Some(Spoken::Http1),
        _ if bytes.starts_with(&ALERT) => Some(Spoken::Tls),
        // A frame of SETTINGS on stream 0, which every HTTP/2 connection begins with (RFC 9113, sections 3.4 and 4.1).
        [0, _, _, 4, _, 0, 0, 0, 0, ..] => Some(Spoken::Http2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_known_by_their_first_bytes() {
        assert_eq!(classify(b"HTTP/1.1 400 Bad Request\r\n"), Some(Spoken::Http1));
        assert_eq!(classify(&[0x15, 3, 3, 0, 2, 2, 70]), Some(Spoken::Tls));
        assert_eq!(classify(&[0, 0, 18, 4, 0, 0, 0, 0, 0, 0]), Some(Spoken::Http2));
        for bytes in [&b""[..], b"SSH-2.0-OpenSSH", &[0, 0, 18, 4], &[0, 0, 0, 4, 1, 0, 0, 0, 1]] {
            assert_eq!(classify(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
