//! KServe v2 inference over HTTP. Requests and answers are those of [`crate::kserve::infer`].

use super::{Capabilities, EndpointSpec, GenaiNames, PathRule, Protocol, TransportKind};
use streamgauge_core::plan::EndpointKind;

pub(super) static SPEC: EndpointSpec = EndpointSpec {
    kind: EndpointKind::KserveHttp,
    summary: "KServe v2 over HTTP",
    aliases: &[],
    has_public_name: false,
    path: PathRule::Model { whole: "/infer", stream: "/infer" },
    transport: TransportKind::Http1,
    capabilities: Capabilities::OF_TENSORS,
    genai: GenaiNames::OF_TENSORS,
    protocol: Protocol::InferDocuments,
};
