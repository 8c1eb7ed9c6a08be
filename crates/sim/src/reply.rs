//! What the server says and how it is spelled: words that are one token each, in events and answers of the shape that
//! vLLM gives them.
//!
//! Events are put together from pieces that are serialized once a request: a saturated server must be bound by its
//! sockets.

use crate::log::answer_id;
use crate::model::{Finish, Length};
use crate::request::{Ask, Shape, UsageAsked};
use std::borrow::Cow;
use std::fmt::Write as _;
use streamgauge_core::event::Usage;
use streamgauge_prompt::Tokenizer;
use streamgauge_prompt::vocabulary::stable_words;

/// What stands where real servers name their build.
const FINGERPRINT: &str = "streamgauge-sim";

/// How text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As the inside of a JSON string.
    Json,
    /// As it is.
    Plain,
}

/// One token's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    text: String,
    /// The text inside a JSON string.
    json: String,
}

/// What the server has to say. Neither list is empty, since [`stable_words`] never is.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) plain: Vec<Word>,
    /// The same, with characters of several bytes among them where the tokenizer has such tokens.
    pub(crate) accented: Vec<Word>,
}

impl Words {
    pub(crate) fn of(tokenizer: &Tokenizer) -> Words {
        let plain = stable_words(tokenizer);
        let accents: Vec<&str> = [" é", " à", " für", " año", " où", " più", " –", " …"]
            .into_iter()
            .filter(|accent| is_stable(tokenizer, accent, &plain))
            .collect();
        let mut accents = accents.iter().cycle();
        let mut accented = Vec::new();
        for pair in plain.chunks(2) {
            accented.extend(accents.next().map(|accent| Word::new(accent)));
            accented.extend(pair.iter().map(|text| Word::new(text)));
        }
        Words { plain: plain.iter().map(|text| Word::new(text)).collect(), accented }
    }
}

/// Whether `accent` adds one token wherever it stands among the words.
fn is_stable(tokenizer: &Tokenizer, accent: &str, words: &[String]) -> bool {
    let sample: Vec<&str> = words.iter().take(64).map(String::as_str).collect();
    let mixed: String = sample.iter().flat_map(|word| [accent, word]).chain([accent, accent]).collect();
    tokenizer.count(&mixed) == tokenizer.count(&sample.concat()) + sample.len() as u32 + 2
}

impl Word {
    fn new(text: &str) -> Word {
        Word { text: text.to_owned(), json: escaped(text) }
    }
}

/// The inside of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// One reply, before it is said and while it is being said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Index of the next word.
    next: usize,
    tokens: u32,
    said: u32,
    finish: Finish,
    /// Bytes of text still to show: a stop text is produced and counted, but not shown.
    visible: usize,
    /// The stop text that ended it.
    stopped_by: Option<String>,
}

impl Reply {
    /// A reply of `length` from word `start` on, unless one of the texts in `stop` comes up in it after its first `least`
    /// tokens.
    pub(crate) fn plan(words: &[Word], start: usize, length: Length, stop: &[String], least: u32) -> Reply {
        let whole = Reply {
            next: start,
            tokens: length.tokens,
            said: 0,
            finish: length.finish,
            visible: usize::MAX,
            stopped_by: None,
        };
        let Some(longest) = stop.iter().map(String::len).max() else { return whole };
        let mut text = String::new();
        let mut searchable = 0;
        for (said, word) in (1..=length.tokens).zip(words.iter().cycle().skip(start)) {
            let mut from = searchable.max(text.len().saturating_sub(longest));
            text.push_str(&word.text);
            if said <= least {
                searchable = text.len();
                continue;
            }
            while !text.is_char_boundary(from) {
                from -= 1;
            }
            let found = stop.iter().filter_map(|stop| Some((from + text[from..].find(stop.as_str())?, stop))).min();
            if let Some((visible, stop)) = found {
                let stopped_by = Some(stop.clone());
                return Reply { tokens: said, finish: Finish::Stop, visible, stopped_by, ..whole };
            }
        }
        whole
    }

    /// Whether it is said.
    pub(crate) fn is_over(&self) -> bool {
        self.said >= self.tokens
    }

    /// Its tokens, said and to be said.
    pub(crate) fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Its tokens that were said.
    pub(crate) fn said(&self) -> u32 {
        self.said
    }

    /// Why it ends.
    pub(crate) fn finish(&self) -> Finish {
        self.finish
    }

    /// Says so many more tokens; whether anything could be seen of them.
    pub(crate) fn say(&mut self, words: &[Word], tokens: u32, form: Form, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let tokens = tokens.min(self.tokens - self.said);
        for _ in 0..tokens {
            let word = &words[self.next];
            self.next += 1;
            if self.next == words.len() {
                self.next = 0;
            }
            if word.text.len() <= self.visible {
                self.visible -= word.text.len();
                out.extend_from_slice(if form == Form::Json { &word.json } else { &word.text }.as_bytes());
            } else {
                let text = &word.text[..self.visible];
                out.extend_from_slice(
                    if form == Form::Json { Cow::from(escaped(text)) } else { text.into() }.as_bytes(),
                );
                self.visible = 0;
            }
        }
        self.said += tokens;
        out.len() > before
    }

    fn stop_reason(&self) -> String {
        self.stopped_by.as_deref().map_or("null".to_owned(), |stop| serde_json::Value::from(stop).to_string())
    }
}

/// One answer being written.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    ask: &'a Ask,
    words: &'a [Word],
    replies: Vec<Reply>,
    tokens_per_event: u32,
    bad_usage: Option<Option<i64>>,
    /// What every event begins with.
    opening: String,
    /// What an event with text begins with, for each reply.
    leads: Vec<Vec<u8>>,
}

/// What an answer is made from.
#[derive(Debug)]
pub(crate) struct AnswerParts<'a> {
    pub(crate) ask: &'a Ask,
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
        let AnswerParts { ask, number, created, model, words, replies, tokens_per_event, bad_usage } = parts;
        let object = match (ask.shape, ask.stream) {
            (Shape::Chat, true) => "chat.completion.chunk",
            (Shape::Chat, false) => "chat.completion",
            (Shape::Completions, _) => "text_completion",
        };
        let (id, model) = (answer_id(ask.shape.kind(), number), serde_json::Value::from(model));
        let opening = format!(r#"{{"id":"{id}","object":"{object}","created":{created},"model":{model},"choices":["#);
        let text = match ask.shape {
            Shape::Chat => r#""delta":{"content":""#,
            Shape::Completions => r#""text":""#,
        };
        let lead = |index| format!(r#"data: {opening}{{"index":{index},{text}"#).into_bytes();
        let leads = if ask.stream { (0..replies.len()).map(lead).collect() } else { Vec::new() };
        Answer { ask, words, replies, tokens_per_event, bad_usage, opening, leads }
    }

    /// Decode steps that it takes.
    pub(crate) fn steps(&self) -> u32 {
        self.replies.iter().map(|reply| reply.tokens.div_ceil(self.tokens_per_event)).max().unwrap_or(0)
    }

    /// How many replies there are.
    pub(crate) fn replies(&self) -> u32 {
        u32::try_from(self.replies.len()).unwrap_or(u32::MAX)
    }

    /// Tokens of all replies.
    pub(crate) fn tokens(&self) -> u32 {
        self.replies.iter().fold(0, |sum: u32, reply| sum.saturating_add(reply.tokens))
    }

    /// Writes the events that come before any text: a chat's roles.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        if self.ask.shape == Shape::Completions {
            return;
        }
        for index in 0..self.replies.len() {
            let event = format!(
                r#"data: {}{{"index":{index},"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}]{},"prompt_token_ids":null,"prompt_text":null}}"#,
                self.opening,
                self.running_usage(),
            );
            out.extend_from_slice(event.as_bytes());
            out.extend_from_slice(b"\n\n");
        }
    }

    /// Writes one step's events, one for each reply that is not over; how many of them bring output.
    pub(crate) fn step(&mut self, out: &mut Vec<u8>) -> u32 {
        let plain = match self.ask.shape {
            Shape::Chat => r#""},"logprobs":null,"finish_reason":null,"token_ids":null}]"#,
            Shape::Completions => {
                r#"","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":null}]"#
            }
        };
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
        let (finish, reason) = (reply.finish.name(), reply.stop_reason());
        let mut tail = match self.ask.shape {
            Shape::Chat => {
                format!(r#""}},"logprobs":null,"finish_reason":"{finish}","stop_reason":{reason},"token_ids":null}}]"#)
            }
            Shape::Completions => format!(
                r#"","logprobs":null,"finish_reason":"{finish}","stop_reason":{reason},"prompt_token_ids":null,"token_ids":null}}]"#
            ),
        };
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

    /// The whole answer to a request that wanted no stream.
    pub(crate) fn whole(&mut self) -> Vec<u8> {
        let mut out = self.opening.clone().into_bytes();
        for index in 0..self.replies.len() {
            if index > 0 {
                out.push(b',');
            }
            let lead = match self.ask.shape {
                Shape::Chat => {
                    format!(r#"{{"index":{index},"message":{{"role":"assistant","content":""#)
                }
                Shape::Completions => format!(r#"{{"index":{index},"text":""#),
            };
            out.extend_from_slice(lead.as_bytes());
            self.replies[index].say(self.words, u32::MAX, Form::Json, &mut out);
            let reply = &self.replies[index];
            let (finish, reason) = (reply.finish.name(), reply.stop_reason());
            let tail = match self.ask.shape {
                Shape::Chat => format!(
                    r#"","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null}},"logprobs":null,"finish_reason":"{finish}","stop_reason":{reason},"token_ids":null,"routed_experts":null}}"#
                ),
                Shape::Completions => format!(
                    r#"","logprobs":null,"finish_reason":"{finish}","stop_reason":{reason},"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null}}"#
                ),
            };
            out.extend_from_slice(tail.as_bytes());
        }
        let prompt = match self.ask.shape {
            Shape::Chat => r#","prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null"#,
            Shape::Completions => "",
        };
        let close = format!(
            r#"],"service_tier":null,"system_fingerprint":"{FINGERPRINT}","usage":{{{},"prompt_tokens_details":null,"completion_tokens_details":null}}{prompt},"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}}"#,
            members(self.counts())
        );
        out.extend_from_slice(close.as_bytes());
        out
    }

    /// The counts so far, where they were asked for beside every event.
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
        let completion = self.replies.iter().map(|reply| u64::from(reply.said)).sum::<u64>();
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
    use crate::model::LengthAsked;

    fn words() -> Vec<Word> {
        [" the", " \"cat\"", " é", " sat"].map(Word::new).to_vec()
    }

    fn length(tokens: u32) -> Length {
        Length { tokens, finish: Finish::Length }
    }

    fn ask(shape: Shape, prompts: usize, usage: UsageAsked) -> Ask {
        Ask {
            shape,
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
        let parts = AnswerParts {
            ask,
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
        let (words, ask) = (words(), ask(Shape::Chat, 1, UsageAsked::Never));
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
        let (words, ask) = (words(), ask(Shape::Completions, 2, UsageAsked::Always));
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

    #[test]
    fn a_stop_text_ends_the_reply_and_is_not_shown() {
        let words = words();
        let stop = ["t\" é".to_owned()];
        let mut reply = Reply::plan(&words, 0, length(12), &stop, 0);
        assert_eq!((reply.tokens, reply.finish, reply.stop_reason()), (3, Finish::Stop, r#""t\" é""#.to_owned()));
        assert_eq!(written(|out| assert!(reply.say(&words, 2, Form::Json, out))), r#" the \"ca"#);
        assert_eq!(written(|out| assert!(!reply.say(&words, 2, Form::Json, out))), "");
        assert!(reply.is_over());
    }

    #[test]
    fn a_stop_text_counts_only_after_the_least_length() {
        let words = words();
        let stop = ["cat".to_owned()];
        assert_eq!(Reply::plan(&words, 0, length(12), &stop, 1).tokens, 2);
        assert_eq!(Reply::plan(&words, 0, length(12), &stop, 2).tokens, 6);
        let never = Reply::plan(&words, 0, length(5), &stop, 5);
        assert_eq!((never.tokens, never.finish), (5, Finish::Length));
    }

    #[test]
    fn words_with_accents_are_one_token_each() {
        let tokenizer = Tokenizer::embedded();
        let words = Words::of(&tokenizer);
        for list in [&words.plain, &words.accented] {
            let text: String = list.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(tokenizer.count(&text) as usize, list.len());
        }
        assert!(words.plain.iter().all(|word| word.text.is_ascii()));
        assert!(words.accented.iter().any(|word| !word.text.is_ascii()));
    }
}
