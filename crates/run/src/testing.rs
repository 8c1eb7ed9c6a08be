//! Endpoints for tests.

use streamgauge_core::plan::{Endpoint, EndpointKind, Target};

/// An endpoint for the model `m` on that server. Over gRPC it is a KServe endpoint, else one for chat.
pub fn endpoint(scheme: &str, host: &str, port: u16) -> Endpoint {
    let is_grpc = scheme == "grpc";
    let kind = if is_grpc { EndpointKind::KserveGrpc } else { EndpointKind::Chat };
    Endpoint {
        kind,
        target: Target { tls: scheme == "https", host: host.to_owned(), port },
        path: if is_grpc {
            String::new()
        } else {
            streamgauge_wire::endpoints::spec(kind).default_path("m", None, false)
        },
        models: vec!["m".to_owned()],
        streaming: false,
        ask_usage: false,
        ..streamgauge_testing::endpoint()
    }
}
