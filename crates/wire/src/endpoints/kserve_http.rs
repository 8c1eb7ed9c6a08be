//! KServe v2 inference over HTTP. Requests and answers are those of [`crate::kserve::infer`].

use super::{Capabilities, EndpointSpec, GenaiNames, OutputLength, PathRule, Protocol, TransportKind};
use streamgauge_core::plan::EndpointKind;

pub(super) static SPEC: EndpointSpec = EndpointSpec {
    kind: EndpointKind::KserveHttp,
    summary: "KServe v2 over HTTP",
    aliases: &[],
    has_public_name: false,
    path: PathRule::Model { whole: "/infer", stream: "/infer" },
    transport: TransportKind::Http1,
    capabilities: Capabilities {
        streams: false,
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
    protocol: Protocol::InferDocuments,
};
