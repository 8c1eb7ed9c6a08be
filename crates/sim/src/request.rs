//! Reading a request for output: what it asks, or why it is refused, in the words and shapes of an OpenAI server.

use crate::model::LengthAsked;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use streamgauge_core::plan::EndpointKind;
use streamgauge_prompt::Tokenizer;

/// Tokens that the chat template adds to the contents of the messages.
pub const TEMPLATE_TOKENS: u32 = 8;

/// The shape of an OpenAI endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Chat completions.
    Chat,
    /// Completions.
    Completions,
}

impl Shape {
    /// The kind of endpoint in the log.
    pub(crate) fn kind(self) -> EndpointKind {
        match self {
            Shape::Chat => EndpointKind::Chat,
            Shape::Completions => EndpointKind::Completions,
        }
    }
}

/// A request for output, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) shape: Shape,
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
    pub(crate) fn prompt_tokens(&self) -> u32 {
        self.prompts.iter().fold(0, |sum, tokens| sum.saturating_add(*tokens))
    }
}

/// When a stream tells its token counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UsageAsked {
    /// At its end and beside every event.
    Always,
    /// At its end.
    AtEnd,
    #[default]
    Never,
}

/// Why a request is refused, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) class: &'static str,
    pub(crate) message: String,
    pub(crate) param: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn bad(param: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status: 400, class: "BadRequestError", message: message.into(), param: Some(param) }
    }

    /// The error object.
    pub(crate) fn body(&self) -> Vec<u8> {
        let error = serde_json::json!({
            "error": {"message": self.message, "type": self.class, "param": self.param, "code": self.status}
        });
        error.to_string().into_bytes()
    }
}

/// What requests are read against.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) models: Vec<String>,
    pub(crate) context: u32,
    tokenizer: Tokenizer,
    counts: RefCell<HashMap<Box<str>, u32>>,
}

/// Most prompts of one request.
const MAX_PROMPTS: usize = 1024;
/// Prompts whose counts are remembered. A benchmark goes round a few hundred; beyond this the memory starts afresh.
const REMEMBERED: usize = 4096;

impl Reader {
    pub(crate) fn new(models: Vec<String>, context: u32, tokenizer: Tokenizer) -> Reader {
        Reader { models, context, tokenizer, counts: RefCell::default() }
    }

    pub(crate) fn read(&self, shape: Shape, body: &[u8]) -> Result<Ask, Refusal> {
        let body: Body<'_> = serde_json::from_slice(body).map_err(|error| explain(body, &error))?;
        let model = self.model(body.model.as_deref())?;
        let prompts = match shape {
            Shape::Chat => vec![self.conversation(body.messages.as_deref())?],
            Shape::Completions => self.prompts(body.prompt.as_ref())?,
        };
        if body.n.is_some_and(|n| n != 1) {
            return Err(Refusal::bad("n", "`n` must be 1: this server gives one reply to a prompt"));
        }
        let length = self.length(&body, prompts.iter().copied().max().unwrap_or(0))?;
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
        Ok(Ask { shape, model, prompts, length, stop, stream, usage, has_stream_options })
    }

    fn model(&self, name: Option<&str>) -> Result<usize, Refusal> {
        let Some(name) = name else { return Ok(0) };
        self.models.iter().position(|model| model == name).ok_or_else(|| Refusal {
            status: 404,
            class: "NotFoundError",
            message: format!("The model `{name}` does not exist. Valid aliases: {}.", self.models.join(", ")),
            param: Some("model"),
        })
    }

    fn conversation(&self, messages: Option<&[Message<'_>]>) -> Result<u32, Refusal> {
        let messages = messages.filter(|messages| !messages.is_empty());
        let messages =
            messages.ok_or_else(|| Refusal::bad("messages", "`messages` is required and cannot be empty"))?;
        let contents = messages.iter().filter_map(|message| message.content.as_ref());
        let tokens: u32 = contents.map(|content| self.count(&content.0)).sum();
        self.fits(tokens.saturating_add(TEMPLATE_TOKENS))
    }

    fn prompts(&self, prompt: Option<&PromptBody<'_>>) -> Result<Vec<u32>, Refusal> {
        let len = |ids: &Vec<u32>| u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let tokens: Vec<u32> = match prompt {
            None => Vec::new(),
            Some(PromptBody::Text(text)) => vec![self.count(&text.0)],
            Some(PromptBody::Texts(texts)) => texts.iter().map(|text| self.count(text)).collect(),
            Some(PromptBody::Ids(ids)) => vec![len(ids)],
            Some(PromptBody::IdLists(lists)) => lists.iter().map(len).collect(),
        };
        if tokens.is_empty() || tokens.contains(&0) {
            return Err(Refusal::bad("prompt", "`prompt` is required and cannot be empty"));
        }
        if tokens.len() > MAX_PROMPTS {
            return Err(Refusal::bad("prompt", format!("`prompt` may be a list of {MAX_PROMPTS} prompts at most")));
        }
        tokens.into_iter().map(|tokens| self.fits(tokens)).collect()
    }

    fn fits(&self, tokens: u32) -> Result<u32, Refusal> {
        if tokens < self.context {
            return Ok(tokens);
        }
        let context = self.context;
        Err(Refusal::bad(
            "input_tokens",
            format!(
                "This model's maximum context length is {context} tokens. However, your prompt contains {tokens} input \
                 tokens. Please reduce the length of the input prompt."
            ),
        ))
    }

    fn length(&self, body: &Body<'_>, prompt_tokens: u32) -> Result<LengthAsked, Refusal> {
        let (param, most) = match body.max_completion_tokens {
            Some(most) => ("max_completion_tokens", Some(most)),
            None => ("max_tokens", body.max_tokens),
        };
        let least = body.min_tokens.unwrap_or(0);
        if let Some(most) = most {
            let room = self.context - prompt_tokens;
            if most == 0 {
                return Err(Refusal::bad(param, format!("`{param}` must be at least 1")));
            }
            if most > room {
                let context = self.context;
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

    /// Counts a text, or remembers its count: a saturated server must not be bound by its tokenizer.
    pub(crate) fn count(&self, text: &str) -> u32 {
        if let Some(count) = self.counts.borrow().get(text) {
            return *count;
        }
        let count = self.tokenizer.count(text);
        let mut counts = self.counts.borrow_mut();
        if counts.len() >= REMEMBERED {
            counts.clear();
        }
        counts.insert(text.into(), count);
        count
    }
}

/// The members that mean something here; others are let through unread, as real servers do.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    #[serde(borrow)]
    prompt: Option<PromptBody<'a>>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    min_tokens: Option<u32>,
    ignore_eos: Option<bool>,
    n: Option<u32>,
    stop: Option<OneOrMore>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PromptBody<'a> {
    Text(#[serde(borrow)] Text<'a>),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    IdLists(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Clone, Copy, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

/// The text of a message: a string, or the texts of its parts. By hand rather than untagged, since this is on the path of
/// every request and a string then costs nothing but its scan.
struct Content<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Content<'a>, D::Error> {
        deserializer.deserialize_any(ContentVisitor).map(Content)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of content parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Cow<'de, str>, A::Error> {
        #[derive(Deserialize)]
        struct Part {
            text: Option<String>,
        }
        let mut whole = String::new();
        while let Some(part) = parts.next_element::<Part>()? {
            whole.push_str(part.text.as_deref().unwrap_or_default());
        }
        Ok(Cow::Owned(whole))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Cow<'de, str>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Err(A::Error::custom("an object is not a content"))
    }
}

type Fits = fn(&Value) -> bool;

/// Members whose type can be wrong, and what it has to be.
const TYPES: &[(&str, &str, Fits)] = &[
    ("model", "a string", Value::is_string),
    ("messages", "a list of messages", Value::is_array),
    ("prompt", "a string, a list of strings, or token ids", |value| value.is_string() || value.is_array()),
    ("max_tokens", "a whole number that is not negative", is_count),
    ("max_completion_tokens", "a whole number that is not negative", is_count),
    ("min_tokens", "a whole number that is not negative", is_count),
    ("ignore_eos", "true or false", Value::is_boolean),
    ("n", "a whole number that is not negative", is_count),
    ("stop", "a string or a list of strings", |value| value.is_string() || value.is_array()),
    ("stream", "true or false", Value::is_boolean),
    ("stream_options", "an object", Value::is_object),
];

fn is_count(value: &Value) -> bool {
    value.as_u64().is_some_and(|n| u32::try_from(n).is_ok())
}

/// Why a body was not understood: found by reading it again without expectations, which only a bad body pays for.
fn explain(body: &[u8], error: &serde_json::Error) -> Refusal {
    let bad = |param, message: String| Refusal { status: 400, class: "Bad Request", message, param: Some(param) };
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return bad("body", format!("the body is not JSON: {error}")),
    };
    let Some(members) = value.as_object() else {
        return bad("body", "the body must be a JSON object".to_owned());
    };
    let wrong =
        TYPES.iter().find(|(name, _, fits)| members.get(*name).is_some_and(|value| !value.is_null() && !fits(value)));
    match wrong {
        Some((name, expected, _)) => bad(name, format!("`{name}` must be {expected}")),
        None => bad("body", format!("the body does not fit this endpoint: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(shape: Shape, body: &str) -> Result<Ask, Refusal> {
        let tokenizer = Tokenizer::embedded();
        Reader::new(vec!["a".to_owned(), "b".to_owned()], 100, tokenizer).read(shape, body.as_bytes())
    }

    fn refusal(shape: Shape, body: &str) -> (u16, &'static str, String) {
        let refusal = read(shape, body).unwrap_err();
        (refusal.status, refusal.param.unwrap(), refusal.message)
    }

    #[test]
    fn a_conversation_counts_contents_and_template() {
        let ask = read(
            Shape::Chat,
            r#"{"model":"b","messages":[{"role":"system","content":"the cat"},{"role":"user","content":[
               {"type":"text","text":"a dog"},{"type":"image_url","image_url":{"url":"x"}}]},{"role":"assistant","content":null}],
               "max_tokens":9,"max_completion_tokens":7,"min_tokens":7,"ignore_eos":true,"stop":"x","temperature":0,
               "stream":true,"stream_options":{"include_usage":true}}"#,
        );
        let length = LengthAsked { most: Some(7), least: 7, ignore_end: true };
        assert_eq!(
            ask.unwrap(),
            Ask {
                shape: Shape::Chat,
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
        let prompts = |prompt: &str| read(Shape::Completions, &format!(r#"{{"prompt":{prompt}}}"#)).unwrap().prompts;
        assert_eq!(prompts(r#""the cat""#), [2]);
        assert_eq!(prompts(r#"["the cat","a"]"#), [2, 1]);
        assert_eq!(prompts("[5,6,7]"), [3]);
        assert_eq!(prompts("[[5,6,7],[8]]"), [3, 1]);
    }

    #[test]
    fn bad_requests_are_refused_by_name() {
        let chat = |members: &str| refusal(Shape::Chat, &format!("{{{members}}}"));
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
        assert_eq!(refusal(Shape::Chat, "[]").2, "the body must be a JSON object");
        assert_eq!(refusal(Shape::Completions, "{}").1, "prompt");
        assert_eq!(refusal(Shape::Completions, r#"{"prompt":[]}"#).1, "prompt");
        assert_eq!(refusal(Shape::Completions, r#"{"prompt":{}}"#).1, "prompt");
        let many = format!("[{}]", vec!["[1]"; 1025].join(","));
        assert_eq!(refusal(Shape::Completions, &format!(r#"{{"prompt":{many}}}"#)).1, "prompt");
        let long = format!("[{}]", vec!["1"; 100].join(","));
        let (status, param, message) = refusal(Shape::Completions, &format!(r#"{{"prompt":{long}}}"#));
        assert_eq!((status, param), (400, "input_tokens"));
        assert!(message.contains("maximum context length is 100 tokens") && message.contains("contains 100 input"));
    }

    #[test]
    fn usage_beside_every_event_needs_usage_at_all() {
        let usage = |options: &str| {
            let body = format!(r#"{{"prompt":"a","stream":true,"stream_options":{options}}}"#);
            read(Shape::Completions, &body).unwrap().usage
        };
        assert_eq!(usage(r#"{"include_usage":true,"continuous_usage_stats":true}"#), UsageAsked::Always);
        assert_eq!(usage(r#"{"continuous_usage_stats":true}"#), UsageAsked::Never);
        assert_eq!(usage("null"), UsageAsked::Never);
    }
}
