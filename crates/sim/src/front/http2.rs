//! One HTTP/2 connection: its calls are taken up as they come, each a task of its own, until either side has had enough.

use crate::faults::FaultKind;
use crate::http::carrier::{Carrier, Traffic};
use crate::kserve::{Call, serve_call};
use crate::state::Server;
use std::rc::Rc;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_net::{Receipt, StampedStream};
use tokio::task::JoinSet;

/// What a client may send ahead on a stream, and on a connection: the longest message and more.
const WINDOW: u32 = 128 * 1024 * 1024;
/// Calls at once on a connection.
const CALLS: u32 = 1 << 20;

/// Serves the connection, of which `early` has been read already, at `receipt`. Errors end it: the client is gone.
pub(crate) async fn serve(
    server: Rc<Server>,
    io: StampedStream,
    number: u64,
    early: Vec<u8>,
    receipt: Receipt,
    faults: &[FaultKind],
) {
    let close_after =
        faults.iter().find_map(|fault| if let FaultKind::CloseAfter(most) = fault { Some(*most) } else { None });
    let close_idle =
        faults.iter().find_map(|fault| if let FaultKind::CloseIdle(span) = fault { Some(*span) } else { None });
    let traffic = Traffic::new(server.engine.clock, close_after);
    let carrier = Carrier::new(io, early, receipt, traffic.clone());
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).max_concurrent_streams(CALLS);
    let Ok(mut connection) = builder.handshake(carrier).await else { return };
    // After the connection, which they hold parts of.
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            call = connection.accept() => {
                let Some(Ok((request, respond))) = call else { return };
                let call = Call { server: server.clone(), connection: number, traffic: traffic.clone(), request, respond };
                calls.spawn_local(serve_call(call));
            }
            _ = calls.join_next(), if !calls.is_empty() => {}
            () = traffic.over.notified() => return,
            () = idle(&traffic, &server, close_idle) => return,
        }
    }
}

/// Returns once nothing has been going on for `close_idle`.
async fn idle(traffic: &Traffic, server: &Server, close_idle: Option<Nanos>) {
    let Some(span) = close_idle else { return std::future::pending().await };
    loop {
        let since =
            if traffic.pending.get() > 0 { Nanos::ZERO } else { server.engine.clock.now() - traffic.latest.get() };
        if since >= span {
            return;
        }
        tokio::time::sleep((span - since).to_duration()).await;
    }
}
