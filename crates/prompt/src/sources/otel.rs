//! Recorded calls of models as OpenTelemetry spans with the attributes of its semantic conventions for generative AI: a span in each line, or the
//! lines that an exporter of OTLP writes as JSON. Calls of a conversation (`gen_ai.conversation.id`), or of a trace, become a conversation.

use super::agents::AgentRules;
use super::object::{Fault, Object, Objects};
use super::sessions::{Row, RowReader, Sessions};
use super::{Conversation, Format, Place, Sample, SourceError, Timing, Turn, tokens};
use serde_json::{Map, Number, Value, json};
use std::collections::{BTreeSet, HashMap, VecDeque};
use streamgauge_core::Nanos;
use streamgauge_core::prompt::{Content, Follows, History, Message, Part};
use streamgauge_core::setting::Setting;

/// The format.
pub const FORMAT: Format = Format {
    name: "otel_spans",
    aliases: &["otel"],
    has_times: true,
    takes_directories: false,
    recognises,
    open: |input, options| {
        let spans = Spans { lines: input.objects()?, queue: VecDeque::new() };
        let reader =
            Calls { timing: options.timing, rules: options.agents, open: HashMap::new(), seen: Seen::default() };
        Ok(Sessions::new(Box::new(spans), reader))
    },
};

/// What calls of models are called.
const OPERATIONS: [&str; 3] = ["chat", "text_completion", "generate_content"];
/// Attributes that become members of the body.
const MEMBERS: [(&str, &str); 7] = [
    ("gen_ai.request.frequency_penalty", "frequency_penalty"),
    ("gen_ai.request.presence_penalty", "presence_penalty"),
    ("gen_ai.request.seed", "seed"),
    ("gen_ai.request.stop_sequences", "stop"),
    ("gen_ai.request.temperature", "temperature"),
    ("gen_ai.request.top_k", "top_k"),
    ("gen_ai.request.top_p", "top_p"),
];

fn recognises(sample: &Sample) -> bool {
    let Some(row) = &sample.first_row else { return false };
    row.contains_key("resourceSpans") || row.contains_key("attributes") && trace_of(row).is_some()
}

/// The spans of lines, one after the other.
struct Spans {
    lines: Box<dyn Objects>,
    queue: VecDeque<(Place, Object)>,
}

impl Objects for Spans {
    fn next_object(&mut self) -> Result<Option<(Place, Object)>, SourceError> {
        loop {
            if let Some(span) = self.queue.pop_front() {
                return Ok(Some(span));
            }
            let Some((place, mut line)) = self.lines.next_object()? else { return Ok(None) };
            let Some(resources) = line.take("resourceSpans") else { return Ok(Some((place, line))) };
            for span in entries(&resources)
                .flat_map(|resource| entries(&resource["scopeSpans"]).flat_map(|scope| entries(&scope["spans"])))
            {
                if let Value::Object(span) = span {
                    self.queue.push_back((place.clone(), Object::of_members(span.clone())));
                }
            }
        }
    }
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Reads the spans that are calls of models.
struct Calls {
    timing: Timing,
    rules: AgentRules,
    /// When the calls of the conversations that are gathered began and ended.
    open: HashMap<String, Vec<(Nanos, Nanos)>>,
    seen: Seen,
}

/// What the spans hold that people should know of.
#[derive(Default)]
struct Seen {
    others: u64,
    without_messages: bool,
    overlaps: u64,
    cut_waits: u64,
    models: BTreeSet<String>,
}

impl RowReader for Calls {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        let span = object.take_rest();
        let attributes = attributes(span.get("attributes"));
        let text = |name: &str| attributes.get(name).and_then(Value::as_str);
        let number = |name: &str| attributes.get(name).and_then(whole);
        let is_call = match text("gen_ai.operation.name") {
            Some(operation) => OPERATIONS.contains(&operation),
            None => number("gen_ai.usage.input_tokens").is_some(),
        };
        if !is_call {
            self.seen.others += 1;
            return Ok(Row::default());
        }
        let Some(trace) = trace_of(&span) else { return Err(Fault::new("the span has no trace id")) };
        let moment = |names: [&str; 3]| names.iter().find_map(|name| span.get(*name)).and_then(moment);
        let times = moment(["startTimeUnixNano", "start_time", "startTime"])
            .zip(moment(["endTimeUnixNano", "end_time", "endTime"]))
            .filter(|(start, end)| start <= end);
        let Some((start, end)) = times else {
            return Err(Fault::new("the span has no start before its end, as nanoseconds since 1970 or dates"));
        };
        let length = |name: &str| match number(name) {
            Some(0) | None => Ok(None),
            Some(number) => tokens(name, &Number::from(number)).map(Some).map_err(Fault::new),
        };
        let input_tokens = length("gen_ai.usage.input_tokens")?;
        let messages = messages_of(&attributes).map_err(Fault::new)?;
        if messages.is_empty() && input_tokens.is_none() {
            return Err(Fault::new(
                "the span has neither gen_ai.input.messages nor gen_ai.usage.input_tokens, so its prompt is not known",
            ));
        }
        self.seen.without_messages |= messages.is_empty();
        self.seen.models.extend(text("gen_ai.request.model").map(str::to_owned));
        let requested_output_tokens = match length("gen_ai.usage.output_tokens")? {
            Some(tokens) => Some(tokens),
            None => length("gen_ai.request.max_tokens")?,
        };
        let member =
            |(name, member): &(&str, &str)| attributes.get(*name).map(|value| ((*member).to_owned(), value.clone()));
        let session = text("gen_ai.conversation.id").map_or(trace, str::to_owned);
        self.open.entry(session.clone()).or_default().push((start, end));
        let turn = Turn {
            history: History { follows: Follows::Nothing, recorded_answer: false },
            input_tokens: input_tokens.filter(|_| messages.is_empty()),
            content: (!messages.is_empty()).then_some(Content::Messages(messages)),
            requested_output_tokens,
            members: MEMBERS.iter().filter_map(member).collect(),
            ..Turn::default()
        };
        Ok(Row { session: Some(session), id: None, turns: vec![turn] })
    }

    fn has_agents(&self) -> bool {
        true
    }

    /// Spans are written when they end, so their turns are sorted by their starts, and the waits between them are counted.
    fn finish(&mut self, conversation: &mut Conversation) {
        let times = conversation.id.as_ref().and_then(|id| self.open.remove(id)).unwrap_or_default();
        let turns = std::mem::take(&mut conversation.turns);
        let mut calls: Vec<_> = times.into_iter().zip(turns).collect();
        calls.sort_by_key(|((start, _), _)| *start);
        let mut answered: Option<Nanos> = None;
        for ((start, end), mut turn) in calls {
            if let Some(answered) = answered {
                let (wait, is_cut) = self.rules.wait((start - answered).as_secs_f64());
                turn.delay = wait;
                self.seen.cut_waits += u64::from(is_cut);
                self.seen.overlaps += u64::from(start < answered);
            }
            turn.at = (self.timing == Timing::Timed).then_some(start);
            answered = Some(answered.map_or(end, |answered| answered.max(end)));
            conversation.turns.push(turn);
        }
    }

    fn notes(&self) -> Vec<String> {
        let Seen { others, without_messages, overlaps, cut_waits, models } = &self.seen;
        let mut notes = vec!["each request is its whole recorded prompt, so nothing is put before it".to_owned()];
        if *others > 0 {
            notes.push(format!("{others} span(s) are no calls of models and are left out"));
        }
        if *without_messages {
            notes.push(
                "spans without gen_ai.input.messages have texts of their lengths, which share no beginnings".to_owned(),
            );
        }
        if *overlaps > 0 {
            notes.push(format!(
                "{overlaps} call(s) began while another one of their conversation went on, and are sent after it"
            ));
        }
        if *cut_waits > 0 {
            notes.push(format!(
                "{cut_waits} wait(s) before a request are cut to {} s; {} sets the longest wait",
                self.rules.longest_wait.as_secs_f64(),
                Setting::TraceIdleGapCapSeconds
            ));
        }
        if !models.is_empty() {
            let names: Vec<_> = models.iter().map(|name| format!("`{name}`")).collect();
            notes.push(format!(
                "the recorded models ({}) are not asked for: requests go to the models of the run",
                names.join(", ")
            ));
        }
        notes
    }
}

/// The id of the trace that a span belongs to.
fn trace_of(span: &Map<String, Value>) -> Option<String> {
    let of = |span: &Map<String, Value>| {
        ["traceId", "trace_id"].iter().find_map(|name| span.get(*name)).and_then(Value::as_str).map(str::to_owned)
    };
    of(span).or_else(|| span.get("context").and_then(Value::as_object).and_then(of))
}

/// The attributes of a span by name, which are an object, or OTLP's list of keys and typed values.
fn attributes(attributes: Option<&Value>) -> Map<String, Value> {
    match attributes {
        Some(Value::Object(attributes)) => attributes.clone(),
        Some(Value::Array(list)) => {
            let entry = |entry: &Value| Some((entry.get("key")?.as_str()?.to_owned(), plain(entry.get("value")?, 0)));
            list.iter().filter_map(entry).collect()
        }
        _ => Map::new(),
    }
}

/// A typed value of OTLP as JSON. Values may lie as deep in each other as JSON is read.
fn plain(value: &Value, depth: u32) -> Value {
    let Some((kind, value)) = value.as_object().and_then(|typed| typed.iter().next()) else { return Value::Null };
    let within = |list: &'static str| entries(&value[list]);
    match kind.as_str() {
        // Whole numbers are texts in OTLP's JSON.
        "intValue" => {
            let number = value.as_str().and_then(|text| text.trim().parse::<i64>().ok());
            number.map_or_else(|| value.clone(), Value::from)
        }
        "arrayValue" if depth < 32 => within("values").map(|value| plain(value, depth + 1)).collect(),
        "kvlistValue" if depth < 32 => {
            let entry =
                |entry: &Value| Some((entry.get("key")?.as_str()?.to_owned(), plain(entry.get("value")?, depth + 1)));
            Value::Object(within("values").filter_map(entry).collect())
        }
        _ => value.clone(),
    }
}

/// A whole number, also as a text.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A moment: nanoseconds since 1970, also as a text, or a date.
fn moment(value: &Value) -> Option<Nanos> {
    if let Some(nanos) = whole(value) {
        return i64::try_from(nanos).ok().map(Nanos);
    }
    let moment: jiff::Timestamp = value.as_str()?.trim().parse().ok()?;
    i64::try_from(moment.as_nanosecond()).ok().filter(|nanos| *nanos >= 0).map(Nanos)
}

/// The messages of a prompt, in the form in which OpenAI's chat API takes them; none where they are not recorded.
fn messages_of(attributes: &Map<String, Value>) -> Result<Vec<Message>, String> {
    let list = |name: &str| match attributes.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => Ok(list.clone()),
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|_| format!("`{name}` is not a list of JSON")),
        Some(_) => Err(format!("`{name}` is not a list")),
    };
    let mut messages = Vec::new();
    let instructions: Vec<Part> = list("gen_ai.system_instructions")?.iter().filter_map(text_part).collect();
    if !instructions.is_empty() {
        messages.push(Message { role: "system".to_owned(), parts: instructions, members: Map::new() });
    }
    for message in list("gen_ai.input.messages")? {
        let Some(role) = message["role"].as_str() else {
            return Err("a message of `gen_ai.input.messages` has no `role`".to_owned());
        };
        add_message(role, &message["parts"], &mut messages)?;
    }
    Ok(messages)
}

/// Adds a message. Results of tools are messages of their own in OpenAI's form.
fn add_message(role: &str, parts: &Value, messages: &mut Vec<Message>) -> Result<(), String> {
    let (mut texts, mut calls) = (Vec::new(), Vec::new());
    for part in entries(parts) {
        match part["type"].as_str() {
            Some("text") => texts.extend(text_part(part)),
            // Chat templates leave the reasoning of earlier answers out.
            Some("reasoning") => {}
            Some("tool_call") => {
                let arguments = match &part["arguments"] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                calls.push(json!({"id": part["id"], "type": "function", "function": {"name": part["name"], "arguments": arguments}}));
            }
            Some("tool_call_response") => {
                let response = ["response", "result"].iter().find_map(|name| part.get(name)).unwrap_or(&Value::Null);
                let text = response.as_str().map_or_else(|| response.to_string(), str::to_owned);
                let members = Map::from_iter([("tool_call_id".to_owned(), part["id"].clone())]);
                messages.push(Message { role: "tool".to_owned(), parts: vec![Part::Text(text)], members });
            }
            Some(other) => {
                return Err(format!(
                    "a part of the type `{other}` of a message cannot be sent; known are text, reasoning, tool_call and tool_call_response"
                ));
            }
            None => return Err("a part of a message has no `type`".to_owned()),
        }
    }
    if !texts.is_empty() || !calls.is_empty() {
        let members = if calls.is_empty() {
            Map::new()
        } else {
            Map::from_iter([("tool_calls".to_owned(), Value::Array(calls))])
        };
        messages.push(Message { role: role.to_owned(), parts: texts, members });
    }
    Ok(())
}

fn text_part(part: &Value) -> Option<Part> {
    part["content"].as_str().map(|text| Part::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Contents, read_text};
    use proptest::prelude::*;

    /// Two calls of a trace in the order in which they ended, a call of a tool, and a call of another conversation.
    fn spans() -> Vec<Value> {
        let messages = json!([{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}]).to_string();
        let answered = json!([
            {"role": "user", "parts": [{"type": "text", "content": "Hello"}]},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": "it"}}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "seen"}]},
        ]);
        vec![
            json!({"name": "chat m", "traceId": "t1", "spanId": "2", "parentSpanId": "0",
            "startTimeUnixNano": "1732000003000000000", "endTimeUnixNano": "1732000004000000000",
            "attributes": [
                {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                {"key": "gen_ai.request.model", "value": {"stringValue": "m"}},
                {"key": "gen_ai.request.temperature", "value": {"doubleValue": 0.5}},
                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "40"}},
                {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "7"}},
                {"key": "gen_ai.request.top_k", "value": {"intValue": "-1"}},
                {"key": "gen_ai.input.messages", "value": {"stringValue": answered.to_string()}},
            ]}),
            json!({"name": "execute_tool look", "traceId": "t1", "startTimeUnixNano": "1732000002000000000",
                "endTimeUnixNano": "1732000002500000000",
                "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "execute_tool"}}]}),
            json!({"name": "chat m", "context": {"trace_id": "t1", "span_id": "1"},
                "start_time": "2024-11-19T07:06:40.000000Z", "end_time": "2024-11-19T07:06:41.500000Z",
                "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.max_tokens": 9,
                    "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}], "gen_ai.input.messages": messages}}),
            json!({"trace_id": "t2", "start_time": 1_732_000_001_000_000_000_u64, "end_time": 1_732_000_002_000_000_000_u64,
                "attributes": {"gen_ai.conversation.id": "other", "gen_ai.usage.input_tokens": 50, "gen_ai.usage.output_tokens": 3}}),
        ]
    }

    fn read(timing: Timing) -> Contents {
        let lines: Vec<String> = spans().iter().map(Value::to_string).collect();
        read_text(&lines.join("\n"), timing).unwrap()
    }

    #[test]
    fn calls_of_a_trace_are_a_conversation_in_the_order_of_their_starts() {
        let contents = read(Timing::Untimed);
        let ids: Vec<_> = contents.conversations.iter().map(|conversation| conversation.id.as_deref()).collect();
        assert_eq!(ids, [Some("t1"), Some("other")]);
        let turns = &contents.conversations[0].turns;
        let said = |turn: &Turn| serde_json::to_value(&turn.content).unwrap()["messages"].clone();
        assert_eq!(said(&turns[0])[0], json!({"role": "system", "parts": [{"text": "Be brief."}]}));
        assert_eq!(said(&turns[0])[1], json!({"role": "user", "parts": [{"text": "Hello"}]}));
        assert_eq!(
            said(&turns[1])[1]["members"]["tool_calls"][0]["function"],
            json!({"name": "look", "arguments": "{\"at\":\"it\"}"})
        );
        assert_eq!(
            said(&turns[1])[2],
            json!({"role": "tool", "parts": [{"text": "seen"}], "members": {"tool_call_id": "c1"}})
        );
        assert_eq!([turns[0].requested_output_tokens, turns[1].requested_output_tokens], [Some(9), Some(7)]);
        assert_eq!(turns[1].delay, Nanos::from_millis(1_500), "from the end of the answer before it");
        assert_eq!(Value::Object(turns[1].members.clone()), json!({"temperature": 0.5, "top_k": -1}));
        assert!(turns.iter().all(|turn| turn.history.follows == Follows::Nothing));
        assert_eq!(contents.conversations[1].turns[0].input_tokens, Some(50));
        let notes = [
            "each request is its whole",
            "1 span(s) are no calls",
            "spans without gen_ai.input.messages",
            "the recorded models (`m`)",
        ];
        assert_eq!(contents.notes.len(), notes.len(), "{:?}", contents.notes);
        assert!(
            contents.notes.iter().zip(notes).all(|(note, beginning)| note.starts_with(beginning)),
            "{:?}",
            contents.notes
        );
        let begins: Vec<_> =
            read(Timing::Timed).conversations.iter().map(|conversation| conversation.begins().0).collect();
        assert_eq!(begins, [1_732_000_000_000_000_000, 1_732_000_001_000_000_000]);
    }

    #[test]
    fn lines_of_an_exporter_hold_many_spans() {
        let line = json!({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": spans()}]}]}).to_string();
        assert_eq!(read_text(&line, Timing::Untimed).unwrap().conversations, read(Timing::Untimed).conversations);
    }

    #[test]
    fn what_is_no_call_that_can_be_sent_is_refused_by_its_place() {
        let call = |change: fn(&mut Value)| {
            let mut span = spans().remove(3);
            change(&mut span);
            read_text(&span.to_string(), Timing::Untimed).unwrap_err().to_string()
        };
        for (error, words) in [
            (call(|span| span["end_time"] = 5.into()), "the span has no start before its end"),
            (
                call(|span| span["attributes"]["gen_ai.usage.input_tokens"] = 0.into()),
                "neither gen_ai.input.messages nor",
            ),
            (
                call(|span| span["attributes"]["gen_ai.input.messages"] = "x".into()),
                "`gen_ai.input.messages` is not a list of JSON",
            ),
            (
                call(|span| {
                    span["attributes"]["gen_ai.input.messages"] = json!([{"role": "user", "parts": [{"type": "blob"}]}])
                }),
                "a part of the type `blob` of a message cannot be sent",
            ),
        ] {
            assert!(error.starts_with("line 1: ") && error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"(\{"trace_id": "[ab]", "start_time": [0-9]{1,19}, "end_time": [0-9]{1,19}, "attributes": \{"gen_ai.usage.input_tokens": [0-9]{1,4}\}\}\n|.{0,30}|\n){0,5}"#) {
            for timing in [Timing::Timed, Timing::Untimed] {
                let _ = read_text(&format!("{}\n{text}", spans()[0]), timing);
            }
        }
    }
}
