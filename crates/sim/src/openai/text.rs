//! Answers of generated text, in events and answers of the form that vLLM gives them.
//!
//! Events are assembled from pieces that are serialized once per request, because a saturated server must be limited by its sockets.

use super::ask::{Ask, UsageAsked};
use super::endpoint::Spelling;
use crate::log::answer_id;
use crate::words::{Form, Reply, Word};
use std::fmt::Write as _;
use streamgauge_core::event::Usage;

/// The placeholder for the build that real servers name.
const FINGERPRINT: &str = "streamgauge-sim";

/// One answer being written.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    ask: &'a Ask,
    spelling: &'static Spelling,
    words: &'a [Word],
    replies: Vec<Reply>,
    tokens_per_event: u32,
    bad_usage: Option<Option<i64>>,
    /// The beginning of every event.
    opening: String,
    /// What an event with text begins with, for each reply.
    leads: Vec<Vec<u8>>,
}

/// What an answer is made from.
#[derive(Debug)]
pub(crate) struct AnswerParts<'a> {
    pub(crate) ask: &'a Ask,
    pub(super) spelling: &'static Spelling,
    pub(crate) number: u64,
    /// Seconds since 1970.
    pub(crate) created: i64,
    pub(crate) model: &'a str,
    pub(crate) words: &'a [Word],
    pub(crate) replies: Vec<Reply>,
    pub(crate) tokens_per_event: u32,
    /// As in [`crate::faults::FaultKind::BadUsage`].
    pub(crate) bad_usage: Option<Option<i64>>,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(parts: AnswerParts<'a>) -> Answer<'a> {
        let AnswerParts { ask, spelling, number, created, model, words, replies, tokens_per_event, bad_usage } = parts;
        let object = if ask.stream { spelling.event } else { spelling.whole };
        let (id, model) = (answer_id(ask.endpoint.id_prefix, number), serde_json::Value::from(model));
        let opening = format!(r#"{{"id":"{id}","object":"{object}","created":{created},"model":{model},"choices":["#);
        let text = spelling.before_delta;
        let lead = |index| format!(r#"data: {opening}{{"index":{index},{text}"#).into_bytes();
        let leads = if ask.stream { (0..replies.len()).map(lead).collect() } else { Vec::new() };
        Answer { ask, spelling, words, replies, tokens_per_event, bad_usage, opening, leads }
    }

    /// Decode steps that it takes.
    pub(crate) fn steps(&self) -> u32 {
        self.replies.iter().map(|reply| reply.tokens().div_ceil(self.tokens_per_event)).max().unwrap_or(0)
    }

    /// How many replies there are.
    pub(crate) fn replies(&self) -> u32 {
        u32::try_from(self.replies.len()).unwrap_or(u32::MAX)
    }

    /// Tokens of all replies.
    pub(crate) fn tokens(&self) -> u32 {
        self.replies.iter().fold(0, |sum: u32, reply| sum.saturating_add(reply.tokens()))
    }

    /// Writes the events that come before any text: a chat's roles.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        let Some((choice, behind)) = self.spelling.first else { return };
        for index in 0..self.replies.len() {
            let (opening, usage) = (&self.opening, self.running_usage());
            let event = format!(r#"data: {opening}{{"index":{index},{choice}{usage}{behind}}}"#);
            out.extend_from_slice(event.as_bytes());
            out.extend_from_slice(b"\n\n");
        }
    }

    /// Writes one step's events, one for each reply that is not over; how many of them bring output.
    pub(crate) fn step(&mut self, out: &mut Vec<u8>) -> u32 {
        let plain = self.spelling.after_delta;
        let mut events = 0;
        for index in 0..self.replies.len() {
            let reply = &mut self.replies[index];
            if reply.is_over() {
                continue;
            }
            out.extend_from_slice(&self.leads[index]);
            events += u32::from(reply.say(self.words, self.tokens_per_event, Form::Json, out));
            if reply.is_over() {
                out.extend_from_slice(self.last_tail(index).as_bytes());
            } else {
                out.extend_from_slice(plain.as_bytes());
                if self.ask.usage == UsageAsked::Always {
                    out.extend_from_slice(self.running_usage().as_bytes());
                }
                out.extend_from_slice(b"}\n\n");
            }
        }
        events
    }

    /// What follows the text in a reply's last event.
    fn last_tail(&self, index: usize) -> String {
        let reply = &self.replies[index];
        let mut tail = (self.spelling.after_last_delta)(reply.finish(), &reply.stop_reason());
        tail.push_str(&self.running_usage());
        if self.ask.usage == UsageAsked::Never && self.replies.iter().all(Reply::is_over) {
            let _ = write!(tail, r#","system_fingerprint":"{FINGERPRINT}""#);
        }
        tail.push_str("}\n\n");
        tail
    }

    /// Writes what closes a stream: the token counts, if they were asked for, and the mark of its end.
    pub(crate) fn end(&self, out: &mut Vec<u8>) {
        if self.ask.usage != UsageAsked::Never {
            let usage = self.counts();
            let event = format!(
                "data: {}],\"usage\":{{{}}},\"system_fingerprint\":\"{FINGERPRINT}\"}}\n\n",
                self.opening,
                members(usage)
            );
            out.extend_from_slice(event.as_bytes());
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// The whole answer to a request without streaming.
    pub(crate) fn whole(&mut self) -> Vec<u8> {
        let mut out = self.opening.clone().into_bytes();
        for index in 0..self.replies.len() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(format!(r#"{{"index":{index},{}"#, self.spelling.before_text).as_bytes());
            self.replies[index].say(self.words, u32::MAX, Form::Json, &mut out);
            let reply = &self.replies[index];
            let tail = (self.spelling.after_text)(reply.finish(), &reply.stop_reason());
            out.extend_from_slice(tail.as_bytes());
        }
        let close = format!(
            r#"],"service_tier":null,"system_fingerprint":"{FINGERPRINT}","usage":{{{},"prompt_tokens_details":null,"completion_tokens_details":null}}{},"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}}"#,
            members(self.counts()),
            self.spelling.members
        );
        out.extend_from_slice(close.as_bytes());
        out
    }

    /// The counts so far, if the request asked for them in every event.
    fn running_usage(&self) -> String {
        match self.ask.usage {
            UsageAsked::Always => {
                format!(r#","usage":{{{},"completion_tokens_details":null}}"#, members(self.counts()))
            }
            UsageAsked::AtEnd | UsageAsked::Never => String::new(),
        }
    }

    fn counts(&self) -> Usage {
        let prompt = u64::from(self.ask.prompt_tokens());
        let completion = self.replies.iter().map(|reply| u64::from(reply.said())).sum::<u64>();
        let (prompt, completion) = match self.bad_usage {
            None => (prompt, completion),
            Some(None) => (0, 0),
            Some(Some(offset)) => (prompt, completion.saturating_add_signed(offset)),
        };
        Usage { prompt_tokens: Some(prompt), completion_tokens: Some(completion), ..Usage::default() }
    }
}

fn members(usage: Usage) -> String {
    let (prompt, completion) = (usage.prompt_tokens.unwrap_or(0), usage.completion_tokens.unwrap_or(0));
    let total = prompt + completion;
    format!(r#""prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{completion}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Finish, Length, LengthAsked};
    use crate::openai::endpoint::AnswerForm;
    use crate::openai::{Endpoint, chat, completions};

    fn words() -> Vec<Word> {
        [" the", " \"cat\"", " é", " sat"].map(Word::new).to_vec()
    }

    fn length(tokens: u32) -> Length {
        Length { tokens, finish: Finish::Length }
    }

    fn ask(endpoint: &'static Endpoint, prompts: usize, usage: UsageAsked) -> Ask {
        Ask {
            endpoint,
            model: 0,
            prompts: vec![5; prompts],
            length: LengthAsked::default(),
            stop: Vec::new(),
            stream: true,
            usage,
            has_stream_options: false,
        }
    }

    fn answer<'a>(ask: &'a Ask, words: &'a [Word], replies: Vec<Reply>) -> Answer<'a> {
        let AnswerForm::Text(spelling) = ask.endpoint.answer else { panic!("no text") };
        let parts = AnswerParts {
            ask,
            spelling,
            number: 1,
            created: 7,
            model: "m",
            words,
            replies,
            tokens_per_event: 1,
            bad_usage: None,
        };
        Answer::new(parts)
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn events_are_spelled_as_vllm_spells_them() {
        let (words, ask) = (words(), ask(&chat::ENDPOINT, 1, UsageAsked::Never));
        let mut answer = answer(&ask, &words, vec![Reply::plan(&words, 1, length(2), &[], 0)]);
        assert_eq!((answer.steps(), answer.tokens()), (2, 2));
        let opening = r#"data: {"id":"chatcmpl-0000000000000001","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"#;
        assert_eq!(
            written(|out| answer.begin(out)),
            format!(
                "{opening}{}\n\n",
                r#""delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null,"prompt_text":null}"#
            )
        );
        assert_eq!(
            written(|out| assert_eq!(answer.step(out), 1)),
            format!(
                "{opening}{}\n\n",
                r#""delta":{"content":" \"cat\""},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#
            )
        );
        assert_eq!(
            written(|out| assert_eq!(answer.step(out), 1)),
            format!(
                "{opening}{}\n\n",
                r#""delta":{"content":" é"},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}],"system_fingerprint":"streamgauge-sim"}"#
            )
        );
        assert_eq!(written(|out| answer.end(out)), "data: [DONE]\n\n");
    }

    #[test]
    fn usage_runs_beside_every_event_when_asked() {
        let (words, ask) = (words(), ask(&completions::ENDPOINT, 2, UsageAsked::Always));
        let replies = [1, 2].map(|tokens| Reply::plan(&words, 0, length(tokens), &[], 0)).to_vec();
        let mut answer = answer(&ask, &words, replies);
        let counts: Vec<u64> =
            [written(|out| assert_eq!(answer.step(out), 2)), written(|out| assert_eq!(answer.step(out), 1))]
                .concat()
                .split_terminator("\n\n")
                .map(|event| {
                    let event: serde_json::Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
                    assert_eq!(event["usage"]["prompt_tokens"], 10);
                    event["usage"]["completion_tokens"].as_u64().unwrap()
                })
                .collect();
        assert_eq!(counts, [1, 2, 3]);
        assert!(written(|out| answer.end(out)).contains(
            r#""choices":[],"usage":{"prompt_tokens":10,"total_tokens":13,"completion_tokens":3},"system_fingerprint":"#
        ));
    }
}
