//! KServe v2 inference over gRPC. Requests and answers are those of [`crate::kserve::infer`].

use super::{Capabilities, EndpointSpec, GenaiNames, OutputLength, PathRule, Protocol, TransportKind};
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
    capabilities: Capabilities {
        streams: true,
        batches: false,
        usage: false,
        text: true,
        media: false,
        token_ids: None,
        tensors: true,
        describes_models: true,
        output_length: OutputLength::Backend,
    },
    genai: GenaiNames {
        service_kind: "triton",
        output_format: None,
        title: "LLM Metrics",
        listed_member: None,
        response: None,
    },
    protocol: Protocol::InferMessages,
};
