//! The front of the server: it accepts connections, speaks their protocol, and sends each request to the endpoint that answers it.

mod http1;
mod http2;
mod routes;

use crate::state::Server;
use http1::Connection;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use streamgauge_net::StampedStream;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted: a benchmark opens all of its own at once.
const BACKLOG: u32 = 8192;

/// Accepts connections for ever.
pub(crate) async fn accept(server: Rc<Server>, listener: TcpListener) {
    loop {
        let connection = listener.accept().await.and_then(|(tcp, _)| {
            let io = StampedStream::new(tcp, server.engine.clock, server.stamps)?;
            Ok(Connection::new(server.clone(), io, server.next_connection()))
        });
        match connection {
            Ok(connection) => drop(tokio::task::spawn_local(connection.serve())),
            // Out of descriptors, most likely: some will come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A listening socket of the current runtime.
pub(crate) fn listen(bind: SocketAddr) -> io::Result<TcpListener> {
    let socket = if bind.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Else a restarted server would have to wait out its predecessor's connections.
    socket.set_reuseaddr(true)?;
    socket.bind(bind)?;
    socket.listen(BACKLOG)
}
