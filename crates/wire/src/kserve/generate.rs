//! Triton's generate extension: inputs are members of the request's object, and outputs are members of the answer's objects.

use crate::json::template::Template;
use crate::json::{FromJson, Key, Member, Reason, Something, Text, pass};
use crate::kserve::elements;
use crate::openai::choices::failure_message;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::de::StrRead;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;
use streamgauge_core::kserve::Backend;
use streamgauge_core::{Event, OutputKind, Prompt};

/// The output that is the text if the plan names none.
pub(crate) const TEXT_OUTPUT: &str = "text_output";

/// The request for `prompt`: GenAI-Perf's members in its order, a single text as a text and several as a list. Lengths have the form that
/// the backend takes.
pub(crate) fn body(prompt: &Prompt, backend: Option<Backend>, streaming: bool, exact: bool) -> Map<String, Value> {
    let mut body = Map::new();
    let inputs = prompt.payload.inputs();
    if !inputs.is_empty() {
        for input in inputs {
            let value = elements::values(input.datatype, &input.data).unwrap_or_default();
            body.insert(input.name.clone(), sole(value));
        }
        return body;
    }
    body.insert("text_input".into(), sole(prompt.texts().iter().map(|text| text.as_str().into()).collect()));
    if streaming {
        body.insert("stream".into(), true.into());
    }
    match (prompt.requested_output_tokens, backend) {
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

/// A single value as it is, and any other number of values as a list.
fn sole(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { values.remove(0) } else { Value::Array(values) }
}

/// Reads one object, an event of a stream or a whole answer, whose text is the member `name`.
///
/// # Errors
/// When it is not JSON, or not an object.
pub(crate) fn read<'a>(
    json: &mut serde_json::Deserializer<StrRead<'a>>,
    name: &str,
) -> Result<Generated<'a>, serde_json::Error> {
    Members(name).deserialize(json)
}

/// The contents of an object.
pub(crate) struct Generated<'a> {
    texts: Vec<Text<'a>>,
    /// Why the answer ended, if the model says so.
    finish: Member<Reason<'a>>,
    error: Member<Something>,
    /// Whether it has no members.
    is_empty: bool,
}

impl Generated<'_> {
    /// Reports what the object with the text `json` says. One that does nothing but bring one text is learnt, where there is
    /// a template.
    pub(crate) fn report(&self, json: &str, template: Option<&mut Template>, on: &mut impl FnMut(Event<'_>)) {
        if self.error.get().is_some() {
            return on(Event::Error { message: &failure_message(json.as_bytes()) });
        }
        if self.is_empty {
            return on(Event::Empty);
        }
        let mut events = 0_usize;
        for (choice, Text(text)) in (0_u32..).zip(&self.texts) {
            if !text.is_empty() {
                events += 1;
                on(Event::Output { kind: OutputKind::Text, choice, text });
            }
        }
        if events == 0 {
            on(Event::Output { kind: OutputKind::Tensors, choice: 0, text: "" });
        }
        match (self.finish.get(), template, &self.texts[..]) {
            (Some(Reason(reason)), ..) => on(Event::Finish { choice: 0, reason }),
            (None, Some(template), [Text(Cow::Borrowed(text))]) if !text.is_empty() => {
                template.learn(json.as_bytes(), text, OutputKind::Text, 0);
            }
            _ => {}
        }
    }
}

/// Reads an object whose text is the member of this name.
struct Members<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Generated<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Generated<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Generated<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Generated<'de>, A::Error> {
        let mut texts = Member::<Texts<'de>>::Absent;
        let mut generated =
            Generated { texts: Vec::new(), finish: Member::Absent, error: Member::Absent, is_empty: true };
        while let Some(Key(name)) = map.next_key()? {
            generated.is_empty = false;
            match &*name {
                name if name == self.0 => texts = map.next_value()?,
                "finish_reason" => generated.finish = map.next_value()?,
                "error" => generated.error = map.next_value()?,
                _ => pass(&mut map)?,
            }
        }
        if let Member::Read(Texts(texts)) = texts {
            generated.texts = texts;
        }
        Ok(generated)
    }
}

/// The value of an output that is a text, or a list of nothing but texts. Any other value is tensors.
struct Texts<'a>(Vec<Text<'a>>);

impl<'de> FromJson<'de> for Texts<'de> {
    fn from_text(text: Cow<'de, str>) -> Member<Texts<'de>> {
        Member::Read(Texts(vec![Text(text)]))
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Member<Texts<'de>>, A::Error> {
        let (mut texts, mut is_odd) = (Vec::new(), false);
        while let Some(value) = list.next_element()? {
            match value {
                Member::Read(text) => texts.push(text),
                Member::Absent | Member::Odd => is_odd = true,
            }
        }
        Ok(if is_odd { Member::Odd } else { Member::Read(Texts(texts)) })
    }
}
