//! Triton's generate extension: inputs as members of one object out, outputs as members of objects in.

use crate::answer::{Text, failure_message};
use crate::elements;
use crate::template::Template;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de::DeserializeSeed};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;
use streamgauge_core::kserve::Backend;
use streamgauge_core::{Event, OutputKind, Prompt};

/// The output that is the text where the plan names none.
pub(crate) const TEXT_OUTPUT: &str = "text_output";

/// The request for `prompt`: GenAI-Perf's members in its order, one text as such and several as a list. Lengths are said as the
/// backend wants them.
pub(crate) fn body(prompt: &Prompt, backend: Option<Backend>, streaming: bool, exact: bool) -> Map<String, Value> {
    let mut body = Map::new();
    let inputs = prompt.given.inputs();
    if !inputs.is_empty() {
        for input in inputs {
            let value = elements::values(input.datatype, &input.data).unwrap_or_default();
            body.insert(input.name.clone(), sole(value));
        }
        return body;
    }
    body.insert("text_input".into(), sole(prompt.texts.iter().map(|text| text.as_str().into()).collect()));
    if streaming {
        body.insert("stream".into(), true.into());
    }
    match (prompt.want_out, backend) {
        (None, _) => {}
        (Some(length), Some(Backend::Vllm)) => {
            let mut sampling = Map::from_iter([("max_tokens".to_owned(), json!(length.to_string()))]);
            if exact {
                sampling.insert("min_tokens".into(), json!(length.to_string()));
            }
            body.insert("sampling_parameters".into(), Value::Object(sampling).to_string().into());
        }
        (Some(length), _) => {
            body.insert("max_tokens".into(), length.into());
            if exact {
                body.insert("min_length".into(), length.into());
            }
        }
    }
    body
}

/// One value as such, any other number of them as a list.
fn sole(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { values.remove(0) } else { Value::Array(values) }
}

/// Reads one object, an event of a stream or (without a template) a whole answer, and reports what it says. An event that does
/// nothing but bring one text is learnt.
///
/// # Errors
/// When it is not JSON, or not an object.
pub(crate) fn read(
    object: &str,
    name: &str,
    template: Option<&mut Template>,
    on: &mut impl FnMut(Event<'_>),
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(object);
    let answer = Members(name).deserialize(&mut json)?;
    json.end()?;
    if answer.is_error {
        on(Event::Error { message: &failure_message(object.as_bytes()) });
        return Ok(());
    }
    if answer.is_empty {
        on(Event::Empty);
        return Ok(());
    }
    let mut said = 0_usize;
    for (choice, text) in (0_u32..).zip(&answer.texts) {
        if !text.0.is_empty() {
            said += 1;
            on(Event::Output { kind: OutputKind::Text, choice, text: &text.0 });
        }
    }
    if said == 0 {
        on(Event::Output { kind: OutputKind::Tensors, choice: 0, text: "" });
    }
    match (&answer.finish, template, &answer.texts[..]) {
        (Some(reason), ..) => on(Event::Finish { choice: 0, reason }),
        (None, Some(template), [Text(Cow::Borrowed(text))]) if !text.is_empty() => {
            template.learn(object.as_bytes(), text, OutputKind::Text, 0);
        }
        _ => {}
    }
    Ok(())
}

/// What an object says.
#[derive(Default)]
struct Answer<'a> {
    texts: Vec<Text<'a>>,
    /// Why the answer ended, where the model says so.
    finish: Option<String>,
    is_error: bool,
    /// It has no members.
    is_empty: bool,
}

/// Reads an object whose text is the member of this name.
struct Members<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Answer<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Answer<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Answer<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer<'de>, A::Error> {
        let mut answer = Answer { is_empty: true, ..Answer::default() };
        let mut has_text = false;
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            answer.is_empty = false;
            if name == self.0 {
                if std::mem::replace(&mut has_text, true) {
                    return Err(A::Error::custom(format_args!("`{name}` twice")));
                }
                answer.texts = match map.next_value::<Texts<'de>>()? {
                    Texts::One(text) => vec![text],
                    Texts::Several(texts) => texts,
                    Texts::None(_) => Vec::new(),
                };
            } else if name == "finish_reason" {
                answer.finish = match map.next_value::<Texts<'de>>()? {
                    Texts::One(Text(reason)) if !reason.is_empty() => Some(reason.into_owned()),
                    _ => None,
                };
            } else {
                let value = map.next_value::<Option<IgnoredAny>>()?;
                answer.is_error |= name == "error" && value.is_some();
            }
        }
        Ok(answer)
    }
}

/// The value of an output: texts, or something else.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts<'a> {
    One(#[serde(borrow)] Text<'a>),
    Several(#[serde(borrow)] Vec<Text<'a>>),
    None(IgnoredAny),
}
