//! Triton's generate extension of KServe v2 over HTTP. Bodies and answers are those of [`crate::kserve::generate`].

use super::{
    Capabilities, EndpointSpec, GenaiNames, JsonProtocol, OutputLength, PathRule, Protocol, ResponseForm,
    ResponseForms, TransportKind,
};
use crate::kserve::generate;
use crate::objects::ObjectForm;
use streamgauge_core::plan::EndpointKind;

pub(super) static SPEC: EndpointSpec = EndpointSpec {
    kind: EndpointKind::Generate,
    summary: "Triton's generate extension",
    aliases: &[],
    has_public_name: true,
    path: PathRule::Model { whole: "/generate", stream: "/generate_stream" },
    transport: TransportKind::Http1,
    capabilities: Capabilities {
        streams: true,
        batches: false,
        usage: false,
        text: true,
        media: false,
        token_ids: None,
        tensors: false,
        describes_models: true,
        output_length: OutputLength::Backend,
    },
    genai: GenaiNames {
        service_kind: "openai",
        output_format: Some("triton_generate"),
        title: "LLM Metrics",
        listed_member: Some("text_input"),
        response: Some(ResponseForms {
            stream: ResponseForm { before: r#"data: {"text_output":""#, after: "\"}\n\n" },
            whole: ResponseForm { before: r#"{"text_output":""#, after: r#""}"# },
        }),
    },
    protocol: Protocol::Json(JsonProtocol {
        body: |options, prompt, _| generate::body(prompt, options.backend, options.streaming, options.output_exact),
        // A decoupled model may answer a text by any number of outputs.
        outputs: |_| 0,
        objects: ObjectForm::Generated,
        says_done: false,
    }),
};
