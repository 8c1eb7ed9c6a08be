//! Completions of one prompt or a batch of them.

use super::body::{Body, PromptBody};
use super::endpoint::{Endpoint, Spelling};
use crate::refusal::Refusal;
use crate::tokens::Tokens;
use streamgauge_core::plan::EndpointKind;

/// Most prompts of one request.
const MAX_PROMPTS: usize = 1024;

/// The endpoint.
pub(super) static ENDPOINT: Endpoint = Endpoint {
    path: "/v1/completions",
    kind: EndpointKind::Completions,
    prompts,
    spelling: &Spelling {
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
    },
};

/// The tokens of each prompt, which may be given as token ids.
fn prompts(tokens: &Tokens, body: &Body<'_>) -> Result<Vec<u32>, Refusal> {
    let len = |ids: &Vec<u32>| u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let counts: Vec<u32> = match &body.prompt {
        None => Vec::new(),
        Some(PromptBody::Text(text)) => vec![tokens.count(&text.0)],
        Some(PromptBody::Texts(texts)) => texts.iter().map(|text| tokens.count(text)).collect(),
        Some(PromptBody::Ids(ids)) => vec![len(ids)],
        Some(PromptBody::IdLists(lists)) => lists.iter().map(len).collect(),
    };
    if counts.is_empty() || counts.contains(&0) {
        return Err(Refusal::bad("prompt", "`prompt` is required and cannot be empty"));
    }
    if counts.len() > MAX_PROMPTS {
        return Err(Refusal::bad("prompt", format!("`prompt` may be a list of {MAX_PROMPTS} prompts at most")));
    }
    counts.into_iter().map(|count| tokens.fits(count)).collect()
}
