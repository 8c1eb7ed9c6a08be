//! A server that does exactly what a test tells it: each connection is a thread that runs the script.

use crate::words::stream;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use streamgauge_core::plan::Target;
use streamgauge_load::Control;
use tokio::net::TcpSocket;

/// A running script. It accepts no more connections when dropped.
pub struct Server {
    addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A connection as the script sees it.
pub struct Peer {
    /// Its number, from 0, in the order in which they were accepted.
    pub number: usize,
    wire: Wire,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// A request as its bytes came.
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
}

/// Serves `script` on a free port of the loopback.
pub fn serve(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Server {
    start(Ipv4Addr::LOCALHOST.into(), None, script).unwrap()
}

/// Answers each request with one chunk, and before each answer lets the run of `control` drain.
pub fn serve_and_drain(control: &Control) -> Server {
    let control = control.clone();
    serve(move |peer| {
        while peer.request().is_some() {
            control.drain();
            peer.send(&stream(&["a"]));
        }
    })
}

/// Serves `script` over TLS.
pub fn serve_tls(config: Arc<ServerConfig>, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Server {
    start(Ipv4Addr::LOCALHOST.into(), Some(config), script).unwrap()
}

/// Serves on a free port of `ip`, if this machine has it.
pub fn start(
    ip: IpAddr,
    tls: Option<Arc<ServerConfig>>,
    script: impl Fn(&mut Peer) + Send + Sync + 'static,
) -> std::io::Result<Server> {
    let listener = TcpListener::bind((ip, 0))?;
    let addr = listener.local_addr()?;
    let (over, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (ended, counter, script) = (over.clone(), accepted.clone(), Arc::new(script));
    let thread = std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let tcp = tcp.unwrap();
            if ended.load(Ordering::SeqCst) {
                return;
            }
            tcp.set_nodelay(true).unwrap();
            let wire = match &tls {
                None => Wire::Plain(tcp),
                Some(config) => {
                    let session = ServerConnection::new(config.clone()).unwrap();
                    Wire::Tls(Box::new(StreamOwned::new(session, tcp)))
                }
            };
            let mut peer = Peer { number: counter.fetch_add(1, Ordering::SeqCst), wire };
            let script = script.clone();
            std::thread::spawn(move || script(&mut peer));
        }
    });
    Ok(Server { addr, accepted, over, thread: Some(thread) })
}

impl Server {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// This server by `name`, over TLS.
    pub fn https(&self, name: &str) -> Target {
        Target { tls: true, host: name.to_owned(), port: self.addr.port() }
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It waits for one more connection.
        let _ = TcpStream::connect(self.addr);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Peer {
    /// The next request, read whole; none when the client has gone.
    pub fn request(&mut self) -> Option<Request> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_into(&mut bytes)?;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        while bytes.len() < end + length {
            self.read_into(&mut bytes)?;
        }
        assert_eq!(bytes.len(), end + length, "a request came before the answer to the one before");
        Some(Request { head, body: bytes.split_off(end) })
    }

    fn read_into(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        let mut piece = [0; 4096];
        let read = match &mut self.wire {
            Wire::Plain(tcp) => tcp.read(&mut piece),
            Wire::Tls(stream) => stream.read(&mut piece),
        };
        let len = read.ok().filter(|len| *len > 0)?;
        bytes.extend_from_slice(&piece[..len]);
        Some(())
    }

    /// Sends `text` in one write. A client that is gone is no concern of the script's.
    pub fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = match &mut self.wire {
            Wire::Plain(tcp) => tcp.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
    }

    /// Sends `text` again and again until the client goes.
    pub fn flood(&mut self, text: &str) {
        let bytes = text.repeat(64);
        while match &mut self.wire {
            Wire::Plain(tcp) => tcp.write_all(bytes.as_bytes()),
            Wire::Tls(stream) => stream.write_all(bytes.as_bytes()),
        }
        .is_ok()
        {}
    }

    /// Sends bytes past TLS, which the other side cannot take for anything.
    pub fn garble(&mut self) {
        let mut tcp = self.tcp();
        // A record of application data whose seal is none.
        let record: Vec<u8> = [0x17, 0x03, 0x03, 0x00, 0x20].into_iter().chain([7; 32]).collect();
        let _ = tcp.write_all(&record);
    }

    /// Waits for the first bytes of a request, and leaves them unread.
    pub fn await_bytes(&mut self) {
        let _ = self.tcp().peek(&mut [0]);
    }

    /// Waits for the first bytes of a request and leaves the rest unread, so that a close is a reset.
    pub fn glance(&mut self) {
        self.read_into(&mut Vec::new());
        settle();
    }

    /// Leaves Nagle's algorithm on, as a server does that does not think of it.
    pub fn leave_nagle_on(&mut self) {
        self.tcp().set_nodelay(false).unwrap();
    }

    fn tcp(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(tcp) => tcp,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    /// Agrees on keys, which otherwise waits for the first request.
    pub fn shake_hands(&mut self) {
        if let Wire::Tls(stream) = &mut self.wire {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
    }

    /// Says goodbye as TLS wants it; what follows is the end of the connection.
    pub fn say_goodbye(&mut self) {
        if let Wire::Tls(stream) = &mut self.wire {
            stream.conn.send_close_notify();
            let _ = stream.conn.write_tls(&mut stream.sock);
        }
    }

    /// Makes the end of the connection a reset.
    pub fn reset_at_end(&mut self) {
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(self.tcp(), nix::sys::socket::sockopt::Linger, &at_once).unwrap();
    }

    /// Whether the client says no more and goes in order: by the end of its stream, over TLS after a goodbye.
    pub fn is_left_in_order(&mut self) -> bool {
        let read = match &mut self.wire {
            Wire::Plain(tcp) => tcp.read(&mut [0]),
            Wire::Tls(stream) => stream.read(&mut [0]),
        };
        matches!(read, Ok(0))
    }

    /// Says nothing more until the client goes.
    pub fn hang(&mut self) {
        while self.read_into(&mut Vec::new()).is_some() {}
    }
}

/// An address where nobody listens, kept from everyone else for as long as the socket lives.
pub fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// Waits until `condition` holds, for at most half a minute. Returns whether it does.
pub fn comes_true(condition: impl Fn() -> bool) -> bool {
    (0..30_000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        condition()
    })
}

/// Long enough for the other side to have read what was sent before, on a slow machine too.
pub fn settle() {
    std::thread::sleep(Duration::from_millis(150));
}
