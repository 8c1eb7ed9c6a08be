//! An address where connections are neither accepted nor refused.

use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A listening socket whose queue of connections is full, so that further connections wait. It is released when this is dropped.
#[derive(Debug)]
pub struct FullQueue {
    addr: SocketAddr,
    _listener: Socket,
    _waiting: Vec<TcpStream>,
}

impl FullQueue {
    /// Fills the queue of a free port of the loopback. Returns `None` on a system that takes connections beyond the queue.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn new() -> io::Result<Option<FullQueue>> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        // With a queue of none, Linux lets one connection wait and answers no further.
        listener.listen(0)?;
        let addr = listener.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let connect = || TcpStream::connect_timeout(&addr, Duration::from_millis(300));
        let waiting: Vec<_> = (0..4).map_while(|_| connect().ok()).collect();
        Ok((waiting.len() < 4).then_some(FullQueue { addr, _listener: listener, _waiting: waiting }))
    }

    /// The address of the queue.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
