//! Reads a request for output: its content, or the reason for refusing it.

use super::body::{Body, OneOrMore, explain};
use super::endpoint::Endpoint;
use crate::model::LengthAsked;
use crate::refusal::Refusal;
use crate::tokens::Tokens;

/// A request for output, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) endpoint: &'static Endpoint,
    /// Index of the model.
    pub(crate) model: usize,
    /// Tokens of each prompt, template included: one reply each.
    pub(crate) prompts: Vec<u32>,
    pub(crate) length: LengthAsked,
    /// Texts that end a reply.
    pub(crate) stop: Vec<String>,
    pub(crate) stream: bool,
    pub(crate) usage: UsageAsked,
    pub(crate) has_stream_options: bool,
}

impl Ask {
    /// Reads a request to `endpoint`.
    pub(super) fn read(tokens: &Tokens, endpoint: &'static Endpoint, body: &[u8]) -> Result<Ask, Refusal> {
        let bytes = body;
        let body: Body<'_> = serde_json::from_slice(bytes).map_err(|error| explain(bytes, &error))?;
        let model = tokens.model(body.model.as_deref())?;
        let prompts = (endpoint.prompts)(tokens, &body, bytes)?;
        if body.n.is_some_and(|n| n != 1) {
            return Err(Refusal::bad("n", "`n` must be 1: this server gives one reply to a prompt"));
        }
        let length = length(tokens.context, &body, prompts.iter().copied().max().unwrap_or(0))?;
        let options = body.stream_options.unwrap_or_default();
        let usage = match (options.include_usage.unwrap_or(false), options.continuous_usage_stats.unwrap_or(false)) {
            (true, true) => UsageAsked::Always,
            (true, false) => UsageAsked::AtEnd,
            (false, _) => UsageAsked::Never,
        };
        let stream = body.stream.unwrap_or(false);
        let stop = match body.stop {
            None => Vec::new(),
            Some(OneOrMore::One(text)) => vec![text],
            Some(OneOrMore::More(texts)) => texts,
        };
        let stop = stop.into_iter().filter(|text| !text.is_empty()).collect();
        let has_stream_options = body.stream_options.is_some();
        Ok(Ask { endpoint, model, prompts, length, stop, stream, usage, has_stream_options })
    }

    pub(crate) fn prompt_tokens(&self) -> u32 {
        self.prompts.iter().fold(0, |sum, tokens| sum.saturating_add(*tokens))
    }
}

/// When a stream tells its token counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UsageAsked {
    /// At its end and with every event.
    Always,
    /// At its end.
    AtEnd,
    #[default]
    Never,
}

fn length(context: u32, body: &Body<'_>, prompt_tokens: u32) -> Result<LengthAsked, Refusal> {
    let (param, most) = match body.max_completion_tokens {
        Some(most) => ("max_completion_tokens", Some(most)),
        None => ("max_tokens", body.max_tokens),
    };
    let least = body.min_tokens.unwrap_or(0);
    if let Some(most) = most {
        let room = context - prompt_tokens;
        if most == 0 {
            return Err(Refusal::bad(param, format!("`{param}` must be at least 1")));
        }
        if most > room {
            let message = format!(
                "`{param}` is too large: {most}. This model's maximum context length is {context} tokens and your \
                 request has {prompt_tokens} input tokens."
            );
            return Err(Refusal::bad(param, message));
        }
        if least > most {
            let message = format!("`min_tokens` must be less than or equal to `{param}`: {least} > {most}");
            return Err(Refusal::bad("min_tokens", message));
        }
    }
    Ok(LengthAsked { most, least, ignore_end: body.ignore_eos.unwrap_or(false) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::chat::TEMPLATE_TOKENS;
    use crate::openai::{chat, completions};
    use streamgauge_prompt::Tokenizer;

    fn read(endpoint: &'static Endpoint, body: &str) -> Result<Ask, Refusal> {
        let tokenizer = Tokenizer::embedded();
        let tokens = Tokens::new(vec!["a".to_owned(), "b".to_owned()], 100, tokenizer);
        Ask::read(&tokens, endpoint, body.as_bytes())
    }

    fn refusal(endpoint: &'static Endpoint, body: &str) -> (u16, &'static str, String) {
        let refusal = read(endpoint, body).unwrap_err();
        (refusal.status, refusal.param.unwrap(), refusal.message)
    }

    #[test]
    fn a_conversation_counts_contents_and_template() {
        let ask = read(
            &chat::ENDPOINT,
            r#"{"model":"b","messages":[{"role":"system","content":"the cat"},{"role":"user","content":[
               {"type":"text","text":"a dog"},{"type":"image_url","image_url":{"url":"x"}}]},{"role":"assistant","content":null}],
               "max_tokens":9,"max_completion_tokens":7,"min_tokens":7,"ignore_eos":true,"stop":"x","temperature":0,
               "stream":true,"stream_options":{"include_usage":true}}"#,
        );
        let length = LengthAsked { most: Some(7), least: 7, ignore_end: true };
        assert_eq!(
            ask.unwrap(),
            Ask {
                endpoint: &chat::ENDPOINT,
                model: 1,
                prompts: vec![4 + TEMPLATE_TOKENS],
                length,
                stop: vec!["x".to_owned()],
                stream: true,
                usage: UsageAsked::AtEnd,
                has_stream_options: true,
            }
        );
    }

    #[test]
    fn prompts_come_in_four_forms() {
        let prompts =
            |prompt: &str| read(&completions::ENDPOINT, &format!(r#"{{"prompt":{prompt}}}"#)).unwrap().prompts;
        assert_eq!(prompts(r#""the cat""#), [2]);
        assert_eq!(prompts(r#"["the cat","a"]"#), [2, 1]);
        assert_eq!(prompts("[5,6,7]"), [3]);
        assert_eq!(prompts("[[5,6,7],[8]]"), [3, 1]);
    }

    #[test]
    fn bad_requests_are_refused_by_name() {
        let chat = |members: &str| refusal(&chat::ENDPOINT, &format!("{{{members}}}"));
        let fine = r#""messages":[{"role":"user","content":"hi"}]"#;
        assert_eq!(
            chat(r#""messages":[{"role":"user","content":"hi"}],"model":"none""#),
            (404, "model", "The model `none` does not exist. Valid aliases: a, b.".to_owned())
        );
        assert_eq!(chat(r#""model":"a""#).1, "messages");
        assert_eq!(chat(r#""messages":[]"#).1, "messages");
        assert_eq!(chat(&format!(r#"{fine},"n":2"#)).1, "n");
        assert_eq!(chat(&format!(r#"{fine},"max_tokens":0"#)).1, "max_tokens");
        assert_eq!(
            chat(&format!(r#"{fine},"max_tokens":"many""#)),
            (400, "max_tokens", "`max_tokens` must be a whole number that is not negative".to_owned())
        );
        assert_eq!(chat(&format!(r#"{fine},"max_tokens":92"#)).1, "max_tokens");
        assert_eq!(chat(&format!(r#"{fine},"max_tokens":5,"min_tokens":6"#)).1, "min_tokens");
        assert_eq!(chat(r#""messages":[{"content":{}}]"#).1, "body");
        assert_eq!(chat("oops").1, "body");
        assert_eq!(refusal(&chat::ENDPOINT, "[]").2, "the body must be a JSON object");
        assert_eq!(refusal(&completions::ENDPOINT, "{}").1, "prompt");
        assert_eq!(refusal(&completions::ENDPOINT, r#"{"prompt":[]}"#).1, "prompt");
        assert_eq!(refusal(&completions::ENDPOINT, r#"{"prompt":{}}"#).1, "prompt");
        let many = format!("[{}]", vec!["[1]"; 1025].join(","));
        assert_eq!(refusal(&completions::ENDPOINT, &format!(r#"{{"prompt":{many}}}"#)).1, "prompt");
        let long = format!("[{}]", vec!["1"; 100].join(","));
        let (status, param, message) = refusal(&completions::ENDPOINT, &format!(r#"{{"prompt":{long}}}"#));
        assert_eq!((status, param), (400, "input_tokens"));
        assert!(message.contains("maximum context length is 100 tokens") && message.contains("contains 100 input"));
    }

    #[test]
    fn usage_beside_every_event_needs_usage_at_all() {
        let usage = |options: &str| {
            let body = format!(r#"{{"prompt":"a","stream":true,"stream_options":{options}}}"#);
            read(&completions::ENDPOINT, &body).unwrap().usage
        };
        assert_eq!(usage(r#"{"include_usage":true,"continuous_usage_stats":true}"#), UsageAsked::Always);
        assert_eq!(usage(r#"{"continuous_usage_stats":true}"#), UsageAsked::Never);
        assert_eq!(usage("null"), UsageAsked::Never);
    }
}
