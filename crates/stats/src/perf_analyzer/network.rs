//! The time of a request that neither client nor server accounts for.

use super::ClientFigures;
use crate::server::ServerFigures;

/// The part of the latency that neither client nor server accounts for, in microseconds. It is also 0 if the server accounts for more
/// than the client observed, which may happen with few samples.
pub fn network_us(client: &ClientFigures, server: &ServerFigures) -> u64 {
    let waited = client.latency_ns.saturating_sub(client.send_ns).saturating_sub(client.receive_ns);
    waited.saturating_sub(server.model.accounted_ns()) / 1000
}
