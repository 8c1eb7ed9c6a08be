//! Chat completions.

use super::body::Body;
use super::endpoint::{AnswerForm, Endpoint, Spelling};
use crate::refusal::Refusal;
use crate::tokens::Tokens;
use streamgauge_core::plan::EndpointKind;

/// Tokens that the chat template adds to the contents of the messages.
pub const TEMPLATE_TOKENS: u32 = 8;

/// The endpoint.
pub(super) static ENDPOINT: Endpoint = Endpoint {
    path: "/v1/chat/completions",
    kind: EndpointKind::Chat,
    id_prefix: "chatcmpl",
    prompts,
    answer: AnswerForm::Text(&Spelling {
        event: "chat.completion.chunk",
        whole: "chat.completion",
        first: Some((
            r#""delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]"#,
            r#","prompt_token_ids":null,"prompt_text":null"#,
        )),
        before_delta: r#""delta":{"content":""#,
        after_delta: r#""},"logprobs":null,"finish_reason":null,"token_ids":null}]"#,
        after_last_delta: |finish, stop| {
            let finish = finish.name();
            format!(r#""}},"logprobs":null,"finish_reason":"{finish}","stop_reason":{stop},"token_ids":null}}]"#)
        },
        before_text: r#""message":{"role":"assistant","content":""#,
        after_text: |finish, stop| {
            let finish = finish.name();
            format!(
                r#"","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null}},"logprobs":null,"finish_reason":"{finish}","stop_reason":{stop},"token_ids":null,"routed_experts":null}}"#
            )
        },
        members: r#","prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null"#,
    }),
};

/// A conversation is one prompt: the contents of its messages and the template.
fn prompts(tokens: &Tokens, body: &Body<'_>, _: &[u8]) -> Result<Vec<u32>, Refusal> {
    let messages = body.messages.as_deref().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| Refusal::bad("messages", "`messages` is required and cannot be empty"))?;
    let contents = messages.iter().filter_map(|message| message.content.as_ref());
    let count: u32 = contents.map(|content| tokens.count(&content.0)).sum();
    Ok(vec![tokens.fits(count.saturating_add(TEMPLATE_TOKENS))?])
}
