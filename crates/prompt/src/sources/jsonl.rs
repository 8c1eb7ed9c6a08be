//! Prompts and conversations, a line of JSON each: a text, or the messages of a chat. Lines that share a `session_id` are one conversation,
//! and so are messages with answers of the assistant between them: the server's own answers stand in the place of those.

use super::{Conversation, Format, Lines, Sample, Source, SourceError, Turn, json_fault, tokens};
use serde::Deserialize;
use serde_json::{Map, Number, Value};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use streamgauge_core::Nanos;
use streamgauge_core::prompt::{Content, Message, Part};

/// The format.
pub const FORMAT: Format = Format {
    name: "jsonl",
    aliases: &[],
    has_times: false,
    recognises,
    open: |input, _| {
        Ok(Box::new(Jsonl { lines: input.lines(), read: VecDeque::new(), seen: Seen::default(), rows: 0 }))
    },
};

/// Members that say what the prompt is, of which a line has one.
const CONTENTS: [&str; 5] = ["text", "text_input", "prompt", "input", "messages"];

/// What a line may say; anything else is added to the bodies of its requests.
const KNOWN: &str = "text, text_input, prompt or input (a text), messages (a chat), output_length or max_tokens, model, session_id, and delay (ms); other members are added to the request's body";

/// Members by which other formats say what the prompt is. Added to a body they would be nonsense.
const OF_OTHER_FORMATS: [&str; 11] =
    ["audio", "audios", "chat_id", "image", "images", "parent_chat_id", "payload", "role", "texts", "video", "videos"];

/// The longest delay, in milliseconds: a thousand days.
const LONGEST_DELAY: f64 = 86_400e6;

#[derive(Deserialize)]
struct Line {
    #[serde(alias = "text_input", alias = "prompt", alias = "input")]
    text: Option<Texts>,
    messages: Option<Vec<RawMessage>>,
    #[serde(alias = "max_tokens")]
    output_length: Option<Number>,
    model: Option<String>,
    session_id: Option<Value>,
    delay: Option<f64>,
    timestamp: Option<Value>,
    input_length: Option<Number>,
    hash_ids: Option<Value>,
    #[serde(flatten)]
    members: Map<String, Value>,
}

/// A text, or several that the model answers separately.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct RawMessage {
    role: String,
    #[serde(default)]
    content: Value,
    #[serde(flatten)]
    members: Map<String, Value>,
}

struct Jsonl {
    lines: Lines,
    /// Conversations that were read and not handed out yet.
    read: VecDeque<Conversation>,
    seen: Seen,
    rows: usize,
}

/// What the lines hold that people should know of.
#[derive(Default)]
struct Seen {
    answers: bool,
    idle_delays: bool,
    times: bool,
    lengths: bool,
    hashes: bool,
    members: BTreeSet<String>,
}

/// A line, and the session that it belongs to.
struct Row {
    session: Option<String>,
    turns: Vec<Turn>,
}

fn recognises(sample: &Sample) -> bool {
    // A trace may have texts too, beside its times and lengths.
    sample.has(&["prompt", "input", "messages"])
        || sample.has(&["text", "text_input"]) && !sample.has(&["timestamp", "input_length", "hash_ids"])
}

impl Source for Jsonl {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        if let Some(conversation) = self.read.pop_front() {
            return Ok(Some(conversation));
        }
        let Some(row) = self.next_row()? else { return Ok(None) };
        match row.session {
            None => Ok(Some(Conversation { id: None, turns: row.turns })),
            Some(session) => {
                self.read_sessions(session, row.turns)?;
                Ok(self.read.pop_front())
            }
        }
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn notes(&self) -> Vec<String> {
        let Seen { answers, idle_delays, times, lengths, hashes, members } = &self.seen;
        let notes = [
            (
                *answers,
                "answers of the assistant in `messages` are not sent: the server's own answers stand in their place",
            ),
            (
                *idle_delays,
                "delay is not followed in the first line of a conversation, before which there is no answer",
            ),
            (*times, "timestamp is not followed"),
            (*lengths, "input_length beside a text is not followed: the text's own length counts"),
            (*hashes, "hash_ids are not followed, so prompts share no beginnings"),
        ];
        let mut notes: Vec<_> =
            notes.into_iter().filter(|(is_so, _)| *is_so).map(|(_, note)| note.to_owned()).collect();
        if !members.is_empty() {
            let names: Vec<_> = members.iter().map(|name| format!("`{name}`")).collect();
            notes.push(format!("{} of its lines are added to the requests' bodies", names.join(", ")));
        }
        notes
    }
}

impl Jsonl {
    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        let Some((line, text)) = self.lines.next_line()? else { return Ok(None) };
        let row = row(text, &mut self.seen).map_err(|reason| SourceError::line(line, reason))?;
        self.rows += 1;
        Ok(Some(row))
    }

    /// Reads the rest of the file, of which any line may go on with a session. The conversations stand in the order in which they begin.
    fn read_sessions(&mut self, session: String, turns: Vec<Turn>) -> Result<(), SourceError> {
        let mut conversations = VecDeque::from([Conversation { id: Some(session.clone()), turns }]);
        let mut places = HashMap::from([(session, 0)]);
        while let Some(Row { session, turns }) = self.next_row()? {
            match session.clone().map(|session| places.entry(session)) {
                Some(Entry::Occupied(place)) => conversations[*place.get()].turns.extend(turns),
                Some(Entry::Vacant(place)) => {
                    place.insert(conversations.len());
                    conversations.push_back(Conversation { id: session, turns });
                }
                None => conversations.push_back(Conversation { id: None, turns }),
            }
        }
        let has_delay =
            |conversation: &Conversation| conversation.turns.first().is_some_and(|turn| turn.delay > Nanos::ZERO);
        self.seen.idle_delays |= conversations.iter().any(has_delay);
        self.read = conversations;
        Ok(())
    }
}

/// The requests of one line.
fn row(line: &str, seen: &mut Seen) -> Result<Row, String> {
    let line: Line =
        serde_json::from_str(line).map_err(|error| format!("{}; known are {KNOWN}", json_fault(&error)))?;
    if let Some(name) = line.members.keys().find(|name| OF_OTHER_FORMATS.contains(&name.as_str())) {
        return Err(format!("`{name}` belongs to another format, which is not available; known are {KNOWN}"));
    }
    let contents = match (line.text, line.messages) {
        (Some(_), Some(_)) => {
            return Err(format!("a text and `messages` are both given; give one of {}", CONTENTS.join(", ")));
        }
        // As in a trace: a text is made.
        (None, None) if line.input_length.is_some() || line.output_length.is_some() => vec![(None, None)],
        (None, None) => return Err(format!("there is no prompt; give one of {}", CONTENTS.join(", "))),
        (Some(Texts::One(text)), None) => vec![(Some(Content::Texts(vec![text])), None)],
        (Some(Texts::Several(texts)), None) if texts.len() == 1 => vec![(Some(Content::Texts(texts)), None)],
        (Some(Texts::Several(texts)), None) => {
            return Err(format!(
                "{} texts are given; a line has one, and a session has a line for each turn",
                texts.len()
            ));
        }
        (None, Some(messages)) => {
            let messages = messages.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
            let turns = turns_of(messages, seen).into_iter();
            turns.map(|(messages, answer)| (Some(Content::Messages(messages)), answer)).collect()
        }
    };
    if contents.is_empty() {
        return Err("`messages` is empty; give at least one message".to_owned());
    }
    let session = match line.session_id {
        None => None,
        Some(Value::String(id)) => Some(id),
        Some(Value::Number(id)) => Some(id.to_string()),
        Some(other) => return Err(format!("session_id {other}: not a text or a number")),
    };
    let delay = match line.delay {
        None => Nanos::ZERO,
        Some(delay) if (0.0..=LONGEST_DELAY).contains(&delay) => Nanos::from_secs_f64(delay / 1e3),
        Some(delay) => return Err(format!("delay {delay}: not a number of milliseconds from 0 to {LONGEST_DELAY}")),
    };
    let has_text = contents.iter().any(|(content, _)| content.is_some());
    // Beside a text the length means nothing.
    let input_length = line.input_length.as_ref().filter(|_| !has_text);
    let input_tokens = input_length.map(|length| tokens("input_length", length)).transpose()?;
    let requested_output_tokens = line.output_length.map(|length| tokens("output_length", &length)).transpose()?;
    seen.idle_delays |= delay > Nanos::ZERO && session.is_none();
    seen.times |= line.timestamp.is_some();
    seen.lengths |= has_text && line.input_length.is_some();
    seen.hashes |= line.hash_ids.is_some();
    seen.members.extend(line.members.keys().cloned());
    let turn = |(index, (content, answer))| Turn {
        delay: if index == 0 { delay } else { Nanos::ZERO },
        content,
        answer,
        input_tokens,
        requested_output_tokens,
        model: line.model.clone(),
        members: line.members.clone(),
        ..Turn::default()
    };
    Ok(Row { session, turns: contents.into_iter().enumerate().map(turn).collect() })
}

/// The messages of each turn, and its recorded answer. An answer of the assistant ends a turn, unless it calls tools, whose results follow it, or there is nothing
/// before it that it could answer.
fn turns_of(messages: Vec<Message>, seen: &mut Seen) -> Vec<(Vec<Message>, Option<Message>)> {
    let (mut turns, mut turn) = (Vec::new(), Vec::new());
    for message in messages {
        let is_answer = message.role == "assistant" && !message.members.contains_key("tool_calls");
        if is_answer && !turn.is_empty() {
            seen.answers = true;
            turns.push((std::mem::take(&mut turn), Some(message)));
        } else {
            turn.push(message);
        }
    }
    turns.extend((!turn.is_empty()).then_some((turn, None)));
    turns
}

/// A message in the form in which OpenAI's chat API takes it.
fn message(RawMessage { role, content, members }: RawMessage) -> Result<Message, String> {
    let parts = match content {
        Value::Null => Vec::new(),
        Value::String(text) => vec![Part::Text(text)],
        Value::Array(parts) => parts.into_iter().map(part).collect::<Result<_, _>>()?,
        other => return Err(format!("the content {other} of a message is not a text or a list of parts")),
    };
    Ok(Message { role, parts, members })
}

fn part(part: Value) -> Result<Part, String> {
    match part {
        Value::Object(mut part) if part.len() == 2 && part.get("type").is_some_and(|kind| kind == "text") => {
            match part.remove("text") {
                Some(Value::String(text)) => Ok(Part::Text(text)),
                _ => Err("a part of type text has no text".to_owned()),
            }
        }
        Value::Object(part) => Ok(Part::Other(part)),
        other => Err(format!("the part {other} of a message is not an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Contents, Input, Timing, read_text};
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> Contents {
        read_text(&lines.join("\n"), Timing::Untimed).unwrap()
    }

    fn said(conversation: &Conversation) -> Vec<String> {
        let text = |turn: &Turn| match &turn.content {
            None => String::new(),
            Some(Content::Texts(texts)) => texts.join("|"),
            Some(Content::Messages(messages)) => messages
                .iter()
                .map(|message| format!("{}:{}", message.role, message.texts().collect::<String>()))
                .collect::<Vec<_>>()
                .join(" "),
        };
        conversation.turns.iter().map(text).collect()
    }

    #[test]
    fn each_name_of_a_text_is_a_prompt() {
        let contents = read(&[
            r#"{"text": "a", "output_length": 5}"#,
            r#"{"text_input": "b", "max_tokens": 6}"#,
            r#"{"prompt": "c", "model": "m"}"#,
            r#"{"input": ["d"], "temperature": 0}"#,
            r#"{"input_length": 9}"#,
        ]);
        assert_eq!(contents.conversations.iter().flat_map(said).collect::<Vec<_>>(), ["a", "b", "c", "d", ""]);
        let turns: Vec<_> = contents.turns().collect();
        assert_eq!([turns[0], turns[1], turns[2]].map(|turn| turn.requested_output_tokens), [Some(5), Some(6), None]);
        assert_eq!(turns[2].model.as_deref(), Some("m"));
        assert_eq!(Value::Object(turns[3].members.clone()).to_string(), r#"{"temperature":0}"#);
        assert_eq!(contents.notes, ["`temperature` of its lines are added to the requests' bodies"]);
        let counts =
            "5 row(s): 5 conversation(s) of 5 turn(s), 9 input tokens in texts to be made, 11 output tokens asked for";
        assert_eq!(contents.counts.to_string(), counts);
    }

    #[test]
    fn answers_of_the_assistant_divide_messages_into_turns() {
        let contents = read(&[concat!(
            r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, "#,
            r#"{"role": "assistant", "content": "x"}, "#,
            r#"{"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "image_url", "image_url": {"url": "u"}}]}, "#,
            r#"{"role": "assistant", "content": null, "tool_calls": []}, {"role": "tool", "content": "t"}, "#,
            r#"{"role": "assistant", "content": "y"}], "output_length": 3}"#
        )]);
        assert_eq!(said(&contents.conversations[0]), ["system:s user:a", "user:b assistant: tool:t"]);
        assert!(contents.turns().all(|turn| turn.requested_output_tokens == Some(3)));
        assert!(contents.notes[0].starts_with("answers of the assistant"), "{:?}", contents.notes);
        let alone =
            read(&[r#"{"messages": [{"role": "assistant", "content": "x"}, {"role": "user", "content": "a"}]}"#]);
        assert_eq!(said(&alone.conversations[0]), ["assistant:x user:a"]);
    }

    #[test]
    fn lines_of_a_session_are_a_conversation_wherever_they_stand() {
        let contents = read(&[
            r#"{"text": "0"}"#,
            r#"{"text": "a1", "session_id": "a", "delay": 7}"#,
            r#"{"text": "1"}"#,
            r#"{"text": "b1", "session_id": 2}"#,
            r#"{"text": "a2", "session_id": "a", "delay": 1500.5}"#,
            r#"{"text": "b2", "session_id": 2}"#,
        ]);
        let all: Vec<_> = contents.conversations.iter().map(said).collect();
        assert_eq!(all, [vec!["0"], vec!["a1", "a2"], vec!["1"], vec!["b1", "b2"]]);
        assert_eq!(contents.conversations[1].turns[1].delay, Nanos(1_500_500_000));
        assert!(contents.notes[0].starts_with("delay is not followed in the first line"), "{:?}", contents.notes);
        assert_eq!(contents.counts.to_string(), "6 row(s): 4 conversation(s) of 6 turn(s)");
    }

    #[test]
    fn a_trace_stays_a_trace() {
        let is_trace = |line: &str| !recognises(&Input::text(line).sample().unwrap().0);
        assert!(is_trace(r#"{"text": "a", "timestamp": 0}"#) && is_trace(r#"{"input_length": 3}"#) && is_trace("[]"));
        assert!(!is_trace(r#"{"text_input": "a"}"#) && !is_trace(r#"{"messages": [], "timestamp": 0}"#));
    }

    #[test]
    fn what_is_no_prompt_is_refused_by_its_line() {
        for (line, words) in [
            (r#"{"temperature": 5}"#, "there is no prompt; give one of text, "),
            (r#"{"text": "a", "messages": []}"#, "a text and `messages` are both given"),
            (r#"{"messages": []}"#, "`messages` is empty"),
            (r#"{"messages": [{"content": "a"}]}"#, "missing field `role`"),
            (r#"{"messages": [{"role": "user", "content": 5}]}"#, "the content 5 of a message is not a text"),
            (r#"{"messages": [{"role": "user", "content": [5]}]}"#, "the part 5 of a message is not an object"),
            (r#"{"input": ["a", "b"]}"#, "2 texts are given"),
            (r#"{"text": "a", "prompt": "b"}"#, "duplicate field `text`"),
            (r#"{"text": "a", "image": "b"}"#, "`image` belongs to another format"),
            (r#"{"text": "a", "max_tokens": 0}"#, "output_length 0: a length of 0"),
            (r#"{"text": "a", "delay": -1}"#, "delay -1: not a number of milliseconds"),
            (r#"{"text": "a", "session_id": []}"#, "session_id []: not a text or a number"),
        ] {
            let text = format!("{{\"prompt\": \"first\"}}\n\n{line}");
            let error = read_text(&text, Timing::Untimed).unwrap_err().to_string();
            assert!(error.starts_with("line 3: ") && error.contains(words), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = read_text(&format!("{{\"prompt\": \"a\"}}\n{text}"), Timing::Untimed);
        }
    }
}
