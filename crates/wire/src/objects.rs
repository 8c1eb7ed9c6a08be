//! Reads JSON objects and reports their events: the data of the events of a stream, or a whole body.
//!
//! Members that no figure needs are not read. A chunk that cannot be read is skipped and reported ([`Event::Unreadable`]), so that it does
//! not cost the whole request.

use crate::body::sse::BYTE_ORDER_MARK;
use crate::json::repair::repair;
use crate::json::template::Template;
use crate::json::{Member, not_json};
use crate::kserve::generate;
use crate::openai::choices::{Answer, Odd, failure_message, report};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::de::StrRead;
use streamgauge_core::{Event, OutputKind, Usage};

/// The length of the excerpt of bytes that cannot be read, in characters. It is more than is shown, because secrets are hidden before the
/// text is cut to the length that is shown.
const EXCERPT: usize = 4_096;

/// Reads the objects of one answer.
#[derive(Debug)]
pub(crate) struct Objects {
    /// The name of the endpoint, for messages.
    name: &'static str,
    form: ObjectForm,
    /// The end of a stream is an event of its own, which shows whether the answer was cut off.
    says_done: bool,
    template: Template,
    /// The member that is the text, of [`ObjectForm::Generated`].
    text: String,
}

/// What the objects of an answer look like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ObjectForm {
    /// OpenAI's `choices`.
    Choices {
        /// `text` is read before `delta` and `message`.
        texts_first: bool,
    },
    /// The outputs of a model by name, one of them its text.
    Generated,
    /// Whole answers with outputs that are not text, as this function reads them. It returns `None` for JSON that is not an object.
    WithoutText(fn(&mut serde_json::Deserializer<StrRead<'_>>) -> Result<Option<Reading>, serde_json::Error>),
}

/// The contents of a whole answer without text.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The outputs: for each one, which of the texts of a batch it answers.
    pub(crate) outputs: Vec<u32>,
    /// The server's token counts.
    pub(crate) usage: Option<Usage>,
    /// Whether the answer reports a failure.
    pub(crate) is_error: bool,
    /// The members that cannot be read.
    pub(crate) odd: Odd,
    /// Why its outputs cannot all be right, so that the answer counts as none.
    pub(crate) contradiction: Option<String>,
}

impl Reading {
    /// Reports what the answer with the text `json` says.
    fn report(&self, json: &str, on: &mut impl FnMut(Event<'_>)) {
        for &choice in &self.outputs {
            on(Event::Output { kind: OutputKind::Tensors, choice, text: "" });
        }
        if let Some(usage) = self.usage {
            on(Event::Usage { usage, alone: true });
        }
        if self.is_error {
            on(Event::Error { message: &failure_message(json.as_bytes()) });
        }
    }
}

/// Whether an object is a part of an answer or all of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// An event of a stream, alone in its data.
    Chunk,
    /// One of several objects in an event's data, or one that had to be repaired: not what the next event will look like.
    OddChunk,
    Whole,
}

impl Objects {
    /// For an endpoint of that name. `text` is the name of the member that is the text, of [`ObjectForm::Generated`].
    pub(crate) fn new(name: &'static str, form: ObjectForm, says_done: bool, text: String) -> Objects {
        Objects { name, form, says_done, template: Template::default(), text }
    }

    /// Reads the data of an event. `is_cut` says that the event ended with the body and not as an event does.
    ///
    /// # Errors
    /// When the data are cut off in the middle, and nothing else would show that the answer was.
    pub(crate) fn data(&mut self, data: &[u8], is_cut: bool, on: &mut impl FnMut(Event<'_>)) -> Result<(), String> {
        if let Some((kind, choice, text)) = self.template.read(data) {
            on(Event::Output { kind, choice, text });
            return Ok(());
        }
        let data = data.trim_ascii();
        match data {
            // Some servers put the comment that keeps a connection alive into the data.
            b"" | b"null" | [b':', ..] => on(Event::Empty),
            word if is_done(word) => on(Event::Done),
            [b'{' | b'[', ..] => match self.objects(data, on) {
                Ok(()) => {}
                Err(why) if is_cut && !self.says_done => {
                    return Err(self.not_a("chunk", &why, data));
                }
                Err(why) => on(Event::Unreadable { message: &self.not_a("chunk", &why, data), may_be_output: true }),
            },
            // Anything but an object brings no output.
            _ => {
                let message = self.not_a("chunk", "not a JSON object", data);
                on(Event::Unreadable { message: &message, may_be_output: false });
            }
        }
        Ok(())
    }

    /// Reads a whole body.
    ///
    /// # Errors
    /// When it is not one JSON object.
    pub(crate) fn whole(&mut self, body: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<(), String> {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii();
        let why = match utf8(body).and_then(|json| self.object(json, Extent::Whole, on)) {
            Ok(_) => return Ok(()),
            Err(why) => why,
        };
        let repaired = repair(body);
        match self.object(&repaired.json, Extent::Whole, on) {
            Ok(_) => {
                if repaired.lost_characters {
                    on(Event::Unreadable { message: &self.lost_characters(body), may_be_output: false });
                }
                Ok(())
            }
            Err(_) => Err(self.not_a("answer", &why, body)),
        }
    }

    /// Reads the objects of an event's data: one, or several where a server left out the blank line between two events.
    fn objects(&mut self, data: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<(), String> {
        let json = match utf8(data) {
            Ok(json) => json,
            Err(why) => return self.repaired_objects(data, &why, on),
        };
        let (mut rest, mut extent) = (json, Extent::Chunk);
        while !rest.is_empty() && !is_done(rest.as_bytes()) {
            match self.object(rest, extent, on) {
                Ok(end) => rest = rest[end..].trim_start(),
                Err(why) => return self.repaired_objects(rest.as_bytes(), &why, on),
            }
            extent = Extent::OddChunk;
        }
        if !rest.is_empty() {
            on(Event::Done);
        }
        Ok(())
    }

    /// Reads data that are not valid JSON, for the reason `why`, after a repair.
    fn repaired_objects(&mut self, data: &[u8], why: &str, on: &mut impl FnMut(Event<'_>)) -> Result<(), String> {
        let repaired = repair(data);
        let mut rest = repaired.json.as_str();
        while !rest.is_empty() && !is_done(rest.as_bytes()) {
            let end = self.object(rest, Extent::OddChunk, on).map_err(|_| why.to_owned())?;
            rest = rest[end..].trim_start();
        }
        if !rest.is_empty() {
            on(Event::Done);
        }
        if repaired.lost_characters {
            on(Event::Unreadable { message: &self.lost_characters(data), may_be_output: false });
        }
        Ok(())
    }

    /// Reads the first value of `text` and reports its events. Returns where the value ends.
    ///
    /// # Errors
    /// Why the value cannot be read. Nothing has been reported then.
    fn object(&mut self, text: &str, extent: Extent, on: &mut impl FnMut(Event<'_>)) -> Result<usize, String> {
        let mut json = serde_json::Deserializer::from_str(text);
        if let ObjectForm::WithoutText(read) = self.form {
            let reading = read(&mut json).map_err(|error| not_json(&error))?.ok_or("not a JSON object")?;
            if let Some(why) = reading.contradiction {
                return Err(why);
            }
            let end = end(json, text, extent)?;
            reading.report(&text[..end], on);
            self.report_odd(reading.odd, &text[..end], on);
            return Ok(end);
        }
        let ObjectForm::Choices { texts_first } = self.form else {
            let generated = generate::read(&mut json, &self.text).map_err(|error| not_json(&error))?;
            let end = end(json, text, extent)?;
            let template = (extent == Extent::Chunk && end == text.len()).then_some(&mut self.template);
            generated.report(&text[..end], template, on);
            return Ok(end);
        };
        let answer = Member::<Answer<'_>>::deserialize(&mut json).map_err(|error| not_json(&error))?;
        let end = end(json, text, extent)?;
        let answer = match answer {
            Member::Read(answer) => answer,
            // An event may say nothing, but an answer may not.
            Member::Absent if extent != Extent::Whole => {
                on(Event::Empty);
                return Ok(end);
            }
            Member::Absent | Member::Odd => return Err("not a JSON object".to_owned()),
        };
        let template = (extent == Extent::Chunk && end == text.len()).then_some(&mut self.template);
        let odd = report(&answer, texts_first, &text[..end], template, extent == Extent::Whole, on);
        self.report_odd(odd, &text[..end], on);
        Ok(end)
    }

    /// Reports the members that could not be read.
    fn report_odd(&self, odd: Odd, text: &str, on: &mut impl FnMut(Event<'_>)) {
        for (member, may_be_output) in [(odd.output, true), (odd.other, false)] {
            if let Some(member) = member {
                let message = format!("`{member}` has a value that cannot be read: {}", excerpt(text.as_bytes()));
                on(Event::Unreadable { message: &message, may_be_output });
            }
        }
    }

    fn lost_characters(&self, data: &[u8]) -> String {
        format!("a text holds bytes that are not a character, replaced by U+FFFD: {}", excerpt(data))
    }

    fn not_a(&self, what: &str, why: &str, bytes: &[u8]) -> String {
        format!("not a {} {what}: {why}: {}", self.name, excerpt(bytes))
    }
}

/// Whether this is the end of a stream, in any of the forms that servers write.
fn is_done(word: &[u8]) -> bool {
    let bare = word.strip_prefix(b"\"").and_then(|word| word.strip_suffix(b"\"")).unwrap_or(word);
    bare.eq_ignore_ascii_case(b"[DONE]")
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    // The whole text is checked, since the JSON parser looks only at the strings that are used.
    std::str::from_utf8(bytes).map_err(|_| "invalid UTF-8".to_owned())
}

/// Where the value that was read ends in `text`.
///
/// # Errors
/// When something follows the value that must not be there.
fn end<'a>(
    json: serde_json::Deserializer<serde_json::de::StrRead<'a>>,
    text: &'a str,
    extent: Extent,
) -> Result<usize, String> {
    let end = json.into_iter::<IgnoredAny>().byte_offset();
    match extent {
        Extent::Whole if !text[end..].trim_start().is_empty() => {
            Err("there is more behind the JSON object; a stream has `data:` before each".to_owned())
        }
        _ => Ok(end),
    }
}

/// The beginning of some bytes for a message, escaped if they are not text.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    // A character has at most four bytes.
    let beginning = &bytes[..bytes.len().min(EXCERPT * 4)];
    match std::str::from_utf8(beginning) {
        Ok(text) => text.chars().take(EXCERPT).collect(),
        // The cut may be inside a character; anything else is not text.
        Err(error) if error.error_len().is_none() && beginning.len() < bytes.len() => {
            String::from_utf8_lossy(&beginning[..error.valid_up_to()]).chars().take(EXCERPT).collect()
        }
        Err(_) => beginning.escape_ascii().take(EXCERPT).map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_is_read_by_the_template() {
        for (form, before, after, more) in [
            (
                ObjectForm::Choices { texts_first: false },
                r#"{"id":"a","choices":[{"index":0,"delta":{"content":"#,
                r#"},"finish_reason":null}]}"#,
                [
                    r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}"#,
                    r#"{"choices":[{"delta":{"content":"x"}}]}"#,
                ],
            ),
            (
                ObjectForm::Generated,
                r#"{"model_name":"m","text_output":"#,
                r#","sequence_length":1}"#,
                [r#"{"text_output":"x","finish_reason":"stop"}"#, r#"{"text_output":"x"}"#],
            ),
        ] {
            let mut objects = Objects::new("chat", form, true, generate::TEXT_OUTPUT.to_owned());
            let chunk = |text: &str| format!("{before}\"{text}\"{after}").into_bytes();
            let read = |objects: &mut Objects, data: &[u8]| objects.data(data, false, &mut |_| {}).unwrap();
            read(&mut objects, &chunk("one"));
            assert_eq!(objects.template.read(&chunk("two")), Some((OutputKind::Text, 0, "two")));
            // Neither an escaped text nor a chunk that says more than its text makes it forget.
            read(&mut objects, &chunk("\\n"));
            read(&mut objects, more[0].as_bytes());
            assert_eq!(objects.template.read(&chunk("two")), Some((OutputKind::Text, 0, "two")));
            // Another chunk with a text alone is learnt instead.
            read(&mut objects, more[1].as_bytes());
            assert_eq!(objects.template.read(&chunk("two")), None);
        }
    }

    #[test]
    fn an_excerpt_is_text_where_the_bytes_are() {
        assert_eq!(excerpt("ü".repeat(5_000).as_bytes()), "ü".repeat(EXCERPT));
        // Four times as many bytes end inside a character of three.
        assert_eq!(excerpt(format!("a{}", "世".repeat(6_000)).as_bytes()), format!("a{}", "世".repeat(EXCERPT - 1)));
        assert_eq!(excerpt(b"a\xC3"), "a\\xc3");
    }
}
