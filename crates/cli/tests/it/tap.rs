//! A relay between the binary and the server that keeps the bytes of both directions, and takes them apart as HTTP.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A relay on a port of its own.
pub struct Tap {
    addr: SocketAddr,
    tapes: Arc<Mutex<Vec<Tape>>>,
}

/// One connection: its two directions, each ending with the bytes it carried.
struct Tape {
    sent: JoinHandle<Vec<u8>>,
    received: JoinHandle<Vec<u8>>,
}

/// One request and its answer as they were on the wire.
#[derive(Debug)]
pub struct Exchange {
    /// Request line and fields.
    pub head: String,
    /// The request's body.
    pub body: Vec<u8>,
    /// The answer's body without its framing.
    pub answer: Vec<u8>,
}

impl Tap {
    /// A relay to `server`.
    pub fn before(server: SocketAddr) -> Tap {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let tapes: Arc<Mutex<Vec<Tape>>> = Arc::default();
        let kept = tapes.clone();
        // It lives as long as the process; nothing comes to it once the test is over.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let tape = Tape {
                    sent: relay(client.try_clone().unwrap(), server.try_clone().unwrap()),
                    received: relay(server, client),
                };
                kept.lock().unwrap().push(tape);
            }
        });
        Tap { addr, tapes }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Everything that passed, once the client is gone: connection after connection, each in its order.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let tapes = std::mem::take(&mut *self.tapes.lock().unwrap());
        let mut exchanges = Vec::new();
        for tape in tapes {
            let (sent, received) = (tape.sent.join().unwrap(), tape.received.join().unwrap());
            let (mut requests, mut answers) = (&sent[..], &received[..]);
            while let Some((head, body)) = message(&mut requests) {
                let (_, answer) = message(&mut answers).unwrap_or_default();
                exchanges.push(Exchange { head, body, answer });
            }
        }
        exchanges
    }
}

/// Copies until the one side ends, then ends the other.
fn relay(mut from: TcpStream, mut to: TcpStream) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let (mut tape, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            tape.extend_from_slice(&buffer[..len]);
            if to.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        tape
    })
}

/// The next message: head and body.
fn message(bytes: &mut &[u8]) -> Option<(String, Vec<u8>)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    *bytes = &bytes[end..];
    let field = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let body = if field("transfer-encoding").is_some() {
        unchunked(bytes)
    } else {
        let len = field("content-length").map_or(0, |len| len.parse().unwrap());
        take(bytes, len)
    };
    Some((head, body))
}

fn unchunked(bytes: &mut &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let len = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        take(bytes, end + 2);
        body.extend(take(bytes, len));
        take(bytes, 2);
        if len == 0 {
            break;
        }
    }
    body
}

/// The next bytes, or what there is of them.
fn take(bytes: &mut &[u8], len: usize) -> Vec<u8> {
    let (taken, rest) = bytes.split_at(len.min(bytes.len()));
    *bytes = rest;
    taken.to_vec()
}
