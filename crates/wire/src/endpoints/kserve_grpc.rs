//! KServe v2 inference over gRPC. Requests and answers are those of [`crate::kserve::infer`].

use super::{Capabilities, EndpointSpec, GenaiNames, PathRule, Protocol, TransportKind};
use streamgauge_core::plan::EndpointKind;

pub(super) static SPEC: EndpointSpec = EndpointSpec {
    kind: EndpointKind::KserveGrpc,
    summary: "KServe v2 over gRPC",
    aliases: &[],
    has_public_name: true,
    path: PathRule::Fixed {
        whole: "/inference.GRPCInferenceService/ModelInfer",
        stream: "/inference.GRPCInferenceService/ModelStreamInfer",
    },
    transport: TransportKind::Grpc,
    capabilities: Capabilities { streams: true, ..Capabilities::OF_TENSORS },
    genai: GenaiNames::OF_TENSORS,
    protocol: Protocol::InferMessages,
};
