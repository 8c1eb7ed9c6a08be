//! Completions of one prompt or a batch of them.

use super::body::{Body, prompt_tokens};
use super::endpoint::{AnswerForm, Endpoint, Spelling};
use crate::refusal::Refusal;
use crate::tokens::Tokens;
use streamgauge_core::plan::EndpointKind;

/// The endpoint.
pub(super) static ENDPOINT: Endpoint = Endpoint {
    path: "/v1/completions",
    kind: EndpointKind::Completions,
    id_prefix: "cmpl",
    prompts,
    answer: AnswerForm::Text(&Spelling {
        event: "text_completion",
        whole: "text_completion",
        first: None,
        before_delta: r#""text":""#,
        after_delta: r#"","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":null}]"#,
        after_last_delta: |finish, stop| {
            let finish = finish.name();
            format!(
                r#"","logprobs":null,"finish_reason":"{finish}","stop_reason":{stop},"prompt_token_ids":null,"token_ids":null}}]"#
            )
        },
        before_text: r#""text":""#,
        after_text: |finish, stop| {
            let finish = finish.name();
            format!(
                r#"","logprobs":null,"finish_reason":"{finish}","stop_reason":{stop},"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null}}"#
            )
        },
        members: "",
    }),
};

fn prompts(tokens: &Tokens, body: &Body<'_>, _: &[u8]) -> Result<Vec<u32>, Refusal> {
    prompt_tokens(tokens, body.prompt.as_ref(), "prompt")
}
