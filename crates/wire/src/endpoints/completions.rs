//! OpenAI's completions. Answers are read by [`crate::openai::choices`].

use super::{
    Capabilities, EndpointSpec, GenaiNames, JsonProtocol, OutputLength, PathRule, Protocol, ResponseForm,
    ResponseForms, TransportKind, outputs_of_each, texts,
};
use crate::objects::ObjectForm;
use crate::openai::options;
use crate::options::{BodyOptions, TextForm};
use serde_json::{Map, Value};
use streamgauge_core::Prompt;
use streamgauge_core::plan::EndpointKind;

const PATH: &str = "/v1/completions";

pub(super) static SPEC: EndpointSpec = EndpointSpec {
    kind: EndpointKind::Completions,
    summary: "OpenAI completions",
    aliases: &[],
    has_public_name: true,
    path: PathRule::Fixed { whole: PATH, stream: PATH },
    transport: TransportKind::Http1,
    capabilities: Capabilities {
        streams: true,
        batches: true,
        usage: true,
        text: true,
        media: false,
        token_ids: Some("prompt"),
        tensors: false,
        describes_models: false,
        output_length: OutputLength::Member,
    },
    genai: GenaiNames {
        service_kind: "openai",
        output_format: Some("openai_completions"),
        title: "LLM Metrics",
        listed_member: Some("prompt"),
        response: Some(ResponseForms {
            stream: ResponseForm {
                before: r#"data: {"object":"text_completion","choices":[{"text":""#,
                after: "\"}]}\n\n",
            },
            whole: ResponseForm { before: r#"{"object":"text_completion","choices":[{"text":""#, after: r#""}]}"# },
        }),
    },
    protocol: Protocol::Json(JsonProtocol {
        body,
        outputs: |body| texts(body, "prompt").saturating_mul(outputs_of_each(body)),
        objects: ObjectForm::Choices { texts_first: true },
        says_done: true,
    }),
};

/// One text is sent as such: transformers' server refuses a list.
fn body(options: &BodyOptions, prompt: &Prompt, form: TextForm) -> Map<String, Value> {
    let texts = prompt.texts();
    let texts = match (form, &texts[..]) {
        (TextForm::Sent, [text]) => text.as_str().into(),
        (_, texts) => texts.into(),
    };
    let mut body = Map::from_iter([("model".into(), Value::from(prompt.model.as_str())), ("prompt".into(), texts)]);
    options::insert(&mut body, options, prompt);
    body
}
