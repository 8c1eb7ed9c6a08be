//! OpenAI's embeddings: a list of texts, each of which is answered by a vector of numbers.

use super::{
    Capabilities, EndpointSpec, GenaiNames, JsonProtocol, OutputLength, PathRule, Protocol, TransportKind, texts,
};
use crate::json::{FromJson, Index, Key, Member, Something, Text, pass};
use crate::objects::{ObjectForm, Reading};
use crate::openai::choices::UsageBody;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess};
use serde_json::de::StrRead;
use serde_json::{Map, Value};
use std::borrow::Cow;
use streamgauge_core::plan::EndpointKind;

const PATH: &str = "/v1/embeddings";

pub(super) static SPEC: EndpointSpec = EndpointSpec {
    kind: EndpointKind::Embeddings,
    summary: "OpenAI embeddings",
    aliases: &[],
    has_public_name: true,
    path: PathRule::Fixed { whole: PATH, stream: PATH },
    transport: TransportKind::Http1,
    capabilities: Capabilities {
        streams: false,
        batches: true,
        usage: false,
        text: false,
        media: false,
        token_ids: Some("input"),
        tensors: false,
        describes_models: false,
        output_length: OutputLength::Never,
    },
    genai: GenaiNames {
        service_kind: "openai",
        output_format: Some("openai_embeddings"),
        title: "Embeddings Metrics",
        listed_member: Some("input"),
        response: None,
    },
    protocol: Protocol::Json(JsonProtocol {
        body: |_, prompt, _| {
            let texts = prompt.texts().iter().map(|text| Value::from(text.as_str())).collect();
            Map::from_iter([("model".into(), prompt.model.as_str().into()), ("input".into(), Value::Array(texts))])
        },
        outputs: |body| texts(body, "input"),
        objects: ObjectForm::WithoutText(read),
        says_done: false,
    }),
};

/// Reads an answer. Each embedding is an output, numbered as the text that it belongs to.
fn read(json: &mut serde_json::Deserializer<StrRead<'_>>) -> Result<Option<Reading>, serde_json::Error> {
    let Member::Read(answer) = Member::<Answer<'_>>::deserialize(json)? else { return Ok(None) };
    let mut reading = Reading {
        usage: answer.usage.get().and_then(UsageBody::counts),
        is_error: answer.error.get().is_some() || answer.object.get().is_some_and(|Text(object)| object == "error"),
        ..Reading::default()
    };
    reading.odd.other = answer.usage.get().and_then(UsageBody::odd).or(answer.usage.is_odd().then_some("usage"));
    reading.odd.output = answer.data.is_odd().then_some("data");
    let mut length = None;
    for (place, embedding) in (0_u32..).zip(answer.data.get().into_iter().flatten()) {
        match embedding {
            Member::Read(Embedding { vector: Member::Read(vector), index }) => {
                reading.outputs.push(index.get().map_or(place, |index| index.0));
                let first = *length.get_or_insert(vector.length);
                if first != vector.length {
                    let message = format!("its vectors have different lengths, such as {first} and {}", vector.length);
                    reading.contradiction.get_or_insert(message);
                }
            }
            Member::Read(Embedding { vector: Member::Odd, .. }) => reading.odd.output = Some("embedding"),
            Member::Read(Embedding { vector: Member::Absent, .. }) | Member::Absent => {}
            Member::Odd => reading.odd.output = Some("data"),
        }
    }
    Ok(Some(reading))
}

/// The object around the embeddings.
#[derive(Default)]
struct Answer<'a> {
    data: Member<Vec<Member<Embedding>>>,
    usage: Member<UsageBody>,
    error: Member<Something>,
    /// `error` in the answers of servers that put the message on the top level.
    object: Member<Text<'a>>,
}

impl<'de> FromJson<'de> for Answer<'de> {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Answer<'de>>, A::Error> {
        let mut answer = Answer::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "data" => answer.data = object.next_value()?,
                "usage" => answer.usage = object.next_value()?,
                "error" => answer.error = object.next_value()?,
                "object" => answer.object = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(answer))
    }
}

/// One entry of `data`.
#[derive(Default)]
struct Embedding {
    index: Member<Index>,
    vector: Member<Vector>,
}

impl<'de> FromJson<'de> for Embedding {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Embedding>, A::Error> {
        let mut embedding = Embedding::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "index" => embedding.index = object.next_value()?,
                "embedding" => embedding.vector = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(embedding))
    }
}

/// A vector: a list of numbers, or its 32-bit floating point numbers in base64 (`encoding_format`). Its numbers are in no figure.
struct Vector {
    /// How many numbers it has.
    length: usize,
}

impl<'de> FromJson<'de> for Vector {
    fn from_text(text: Cow<'de, str>) -> Member<Vector> {
        match STANDARD.decode(text.as_bytes()) {
            Ok(bytes) if bytes.is_empty() => Member::Absent,
            Ok(bytes) if bytes.len() % 4 == 0 => Member::Read(Vector { length: bytes.len() / 4 }),
            _ => Member::Odd,
        }
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Member<Vector>, A::Error> {
        let mut vector = Member::Absent;
        while let Some(number) = list.next_element::<Member<Number>>()? {
            vector = match (vector, number) {
                (Member::Absent, Member::Read(Number)) => Member::Read(Vector { length: 1 }),
                (Member::Read(Vector { length }), Member::Read(Number)) => Member::Read(Vector { length: length + 1 }),
                _ => Member::Odd,
            };
        }
        Ok(vector)
    }
}

/// Any number.
struct Number;

impl<'de> FromJson<'de> for Number {
    fn from_whole(_: u64) -> Member<Number> {
        Member::Read(Number)
    }

    fn from_number(_: f64) -> Member<Number> {
        Member::Read(Number)
    }
}

#[cfg(test)]
mod tests {
    use crate::{AnswerContext, Codec};
    use serde_json::{Value, json};
    use streamgauge_core::plan::{Endpoint, EndpointKind};
    use streamgauge_core::prompt::Content;
    use streamgauge_core::{Event, Prompt};

    fn codec() -> Codec {
        let endpoint = Endpoint { kind: EndpointKind::Embeddings, streaming: false, ..streamgauge_testing::endpoint() };
        Codec::new(&endpoint, false)
    }

    /// The events of a whole answer.
    fn events(body: &str) -> Vec<String> {
        let mut decoder = codec().decoder(Some("application/json"), AnswerContext::default());
        let mut events = Vec::new();
        let mut add = |event: Event<'_>| {
            events.push(match event {
                Event::Output { kind, choice, text } => format!("{kind:?} {choice}{text}"),
                Event::Usage { usage, alone } => format!("{:?} {alone}", usage.prompt_tokens),
                other => format!("{other:?}"),
            })
        };
        decoder.feed(body.as_bytes(), &mut add);
        decoder.finish(&mut add);
        events
    }

    #[test]
    fn bodies_are_genai_perfs_byte_for_byte() {
        let inputs: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/inputs/genai-perf-embeddings.json")).unwrap();
        let entries = inputs["data"].as_array().unwrap();
        assert_eq!(entries.len(), 4);
        for entry in entries {
            let theirs = &entry["payload"][0];
            let texts = theirs["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
            let prompt = Prompt {
                content: Content::Texts(texts.collect()),
                tokens: 40,
                requested_output_tokens: None,
                model: "tinychat".into(),
                payload: Default::default(),
            };
            assert_eq!(codec().listed_input(&prompt).to_string(), theirs.to_string());
            assert_eq!(codec().encode(&prompt).unwrap().body, theirs.to_string().into_bytes());
        }
    }

    #[test]
    fn vectors_of_numbers_and_of_base64_are_outputs() {
        let answer = |vectors: [Value; 2]| {
            let [first, second] = vectors;
            json!({
                "object": "list",
                "data": [{"index": 1, "embedding": first}, {"embedding": second}],
                "usage": {"prompt_tokens": 8, "total_tokens": 8},
            })
            .to_string()
        };
        let two = ["Tensors 1", "Tensors 1", "Some(8) true"];
        assert_eq!(events(&answer([json!([0.5, -1, 2e-3]), json!("AACAPwAAAEAAAEBA")])), two);
        assert_eq!(events(&answer([json!([0.5, -1]), json!("AACAPwAAAEA=")])), two);
        // An empty vector is no output.
        assert_eq!(events(&answer([json!([]), json!("")])), two[2..]);
    }

    #[test]
    fn vectors_of_different_lengths_are_no_answer() {
        for [first, second] in [[json!([0.5, 1]), json!([0.5])], [json!([1, 2, 3]), json!("AACAPwAAAEA=")]] {
            let body = json!({"data": [{"index": 0, "embedding": first}, {"index": 1, "embedding": second}]});
            let found = events(&body.to_string());
            assert!(
                matches!(&found[..], [one] if one.starts_with("Malformed") && one.contains("different lengths")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_is_not_a_vector_is_said() {
        for odd in [json!(["a"]), json!("AAA="), json!("?"), json!(7), json!([[0.5]])] {
            let found = events(&json!({"data": [{"embedding": odd}]}).to_string());
            assert!(
                matches!(&found[..], [one] if one.contains("`embedding` has a value that cannot be read")),
                "{found:?}"
            );
        }
        assert_eq!(events(r#"{"error":{"message":"no such model"}}"#), [r#"Error { message: "no such model" }"#]);
        assert!(events("[]")[0].starts_with("Malformed"));
    }
}
