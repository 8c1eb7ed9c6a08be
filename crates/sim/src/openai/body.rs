//! The JSON bodies of requests for output.

use crate::refusal::Refusal;
use crate::tokens::Tokens;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// The members that mean something here; others are let through unread, as real servers do.
#[derive(Deserialize)]
pub(super) struct Body<'a> {
    #[serde(borrow)]
    pub(super) model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) messages: Option<Vec<Message<'a>>>,
    #[serde(borrow)]
    pub(super) prompt: Option<PromptBody<'a>>,
    pub(super) max_tokens: Option<u32>,
    pub(super) max_completion_tokens: Option<u32>,
    pub(super) min_tokens: Option<u32>,
    pub(super) ignore_eos: Option<bool>,
    pub(super) n: Option<u32>,
    pub(super) stop: Option<OneOrMore>,
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) content: Option<Content<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum PromptBody<'a> {
    Text(#[serde(borrow)] Text<'a>),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    IdLists(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct StreamOptions {
    pub(super) include_usage: Option<bool>,
    pub(super) continuous_usage_stats: Option<bool>,
}

/// The text of a message: a string, or the texts of its parts. By hand rather than untagged, since this is on the path of
/// every request and a string then costs nothing but its scan.
pub(super) struct Content<'a>(pub(super) Cow<'a, str>);

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

/// The maximum number of prompts in one request.
const MAX_PROMPTS: usize = 1024;

/// The tokens of each prompt, which may be given as token ids. `member` is the name of the member that holds them.
pub(super) fn prompt_tokens(
    tokens: &Tokens,
    prompts: Option<&PromptBody<'_>>,
    member: &'static str,
) -> Result<Vec<u32>, Refusal> {
    let len = |ids: &Vec<u32>| u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let counts: Vec<u32> = match prompts {
        None => Vec::new(),
        Some(PromptBody::Text(text)) => vec![tokens.count(&text.0)],
        Some(PromptBody::Texts(texts)) => texts.iter().map(|text| tokens.count(text)).collect(),
        Some(PromptBody::Ids(ids)) => vec![len(ids)],
        Some(PromptBody::IdLists(lists)) => lists.iter().map(len).collect(),
    };
    if counts.is_empty() || counts.contains(&0) {
        return Err(Refusal::bad(member, format!("`{member}` is required and cannot be empty")));
    }
    if counts.len() > MAX_PROMPTS {
        return Err(Refusal::bad(member, format!("`{member}` may be a list of {MAX_PROMPTS} prompts at most")));
    }
    counts.into_iter().map(|count| tokens.fits(count)).collect()
}

type Fits = fn(&Value) -> bool;

/// The members whose type can be wrong, and the required type.
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

/// Why a body was not understood. The body is read again without expectations, which only a bad body pays for.
pub(super) fn explain(body: &[u8], error: &serde_json::Error) -> Refusal {
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
