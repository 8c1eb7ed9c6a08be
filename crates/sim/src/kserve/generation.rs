//! The answers of the LLM models: the words of the OpenAI front in tensors, about one token per response.

use crate::faults::FaultKind;
use crate::model::{LengthAsked, Lengths};
use crate::state::Server;
use crate::triton::problem::Problem;
use crate::triton::repository::{Ask, Kind, Model};
use crate::words::{Form, Reply, Word};
use rand::{Rng, RngExt};
use serde_json::Value;
use streamgauge_core::tensor::{Datatype, Tensor};

/// vLLM's default if a request sets no limit.
const VLLM_TOKENS: i64 = 16;

/// The replies to the prompts of one request, while they are being said.
#[derive(Debug)]
pub(super) struct Generation<'a> {
    words: &'a [Word],
    replies: Vec<Reply>,
    form: Shape,
    tokens_per_response: u32,
    /// Tokens of all prompts.
    pub(super) prompt_tokens: u32,
    /// Whether there is a response for each step; else one for all.
    pub(super) stream: bool,
    /// The engine fails after this number of steps, because the request asks for it.
    pub(super) fail_after: Option<u32>,
}

/// Which tensors a response has.
#[derive(Debug)]
enum Shape {
    Bls,
    Ensemble,
    Vllm(VllmOutputs),
}

/// The parts of a request to vLLM besides the text.
#[derive(Debug, Default)]
struct VllmOutputs {
    /// The prompt, if it is to be repeated.
    prefix: Vec<u8>,
    finish_reason: bool,
    input_tokens: bool,
    output_tokens: bool,
}

/// The content of one row of a request.
struct Row {
    tokens: u32,
    length: LengthAsked,
}

impl<'a> Generation<'a> {
    /// The replies to a request that fits `model`.
    pub(super) fn plan(
        server: &'a Server,
        model: &Model,
        ask: &Ask,
        faults: &[FaultKind],
        chance: &mut impl Rng,
    ) -> Result<Generation<'a>, Problem> {
        let words = server.words(faults.contains(&FaultKind::SplitWrites));
        let several =
            faults.iter().find_map(|fault| if let FaultKind::MultiToken(n) = fault { Some(*n) } else { None });
        let texts = strings(ask, "text_input");
        let stream = flag(ask, "stream").unwrap_or(false);
        let mut fail_after = None;
        let (lengths, form) = if model.kind == Kind::Vllm {
            let exclude = flag(ask, "exclude_input_in_output").unwrap_or(stream);
            let sampling = strings(ask, "sampling_parameters");
            let sampling = Sampling::read(sampling.first().copied().unwrap_or(b"{}"))?;
            fail_after = sampling.fail_after;
            let outputs = VllmOutputs {
                prefix: if exclude { Vec::new() } else { texts.first().copied().unwrap_or_default().to_vec() },
                finish_reason: flag(ask, "return_finish_reason").unwrap_or(false),
                input_tokens: flag(ask, "return_num_input_tokens").unwrap_or(false),
                output_tokens: flag(ask, "return_num_output_tokens").unwrap_or(false),
            };
            (vec![sampling.length; texts.len()], Shape::Vllm(outputs))
        } else {
            let form = if model.kind == Kind::Ensemble { Shape::Ensemble } else { Shape::Bls };
            (llm_lengths(model, ask, texts.len())?, form)
        };
        let mut rows = Vec::new();
        for (text, length) in texts.iter().zip(lengths) {
            let tokens = server.tokens.count(&String::from_utf8_lossy(text));
            let context = server.tokens.context;
            if tokens >= context {
                let message = format!("Prompt length ({tokens}) exceeds maximum input length ({})", context - 1);
                return Err(Problem::of_model(500, message));
            }
            rows.push(Row { tokens, length });
        }
        let ignored = faults.contains(&FaultKind::IgnoreLength);
        let replies = rows.iter().map(|row| reply(row, ignored, &server.lengths, words, chance)).collect();
        Ok(Generation {
            words,
            replies,
            form,
            tokens_per_response: several.unwrap_or(server.engine.service.tokens_per_event).max(1),
            prompt_tokens: rows.iter().fold(0, |sum, row| sum.saturating_add(row.tokens)),
            stream,
            fail_after,
        })
    }

    /// Decode steps that it takes.
    pub(super) fn steps(&self) -> u32 {
        self.replies.iter().map(|reply| reply.tokens().div_ceil(self.tokens_per_response)).max().unwrap_or(0)
    }

    /// Tokens of all replies.
    pub(super) fn tokens(&self) -> u32 {
        self.replies.iter().fold(0, |sum, reply| sum.saturating_add(reply.tokens()))
    }

    /// Whether the last response of a stream tells that it is the last; else an empty one does.
    pub(super) fn ends_with_text(&self) -> bool {
        matches!(self.form, Shape::Vllm(_)) || !self.stream
    }

    /// The outputs of the next step, or of all steps.
    pub(super) fn respond(&mut self) -> Vec<Tensor> {
        let tokens = if self.stream { self.tokens_per_response } else { u32::MAX };
        let mut text = Vec::new();
        let mut counts = Vec::new();
        let prefix =
            if let Shape::Vllm(outputs) = &mut self.form { std::mem::take(&mut outputs.prefix) } else { Vec::new() };
        for reply in &mut self.replies {
            let before = reply.said();
            let mut row = prefix.clone();
            reply.say(self.words, tokens, Form::Plain, &mut row);
            Tensor::push_string(&mut text, &row);
            counts.push(reply.said() - before);
        }
        let rows = i64::try_from(self.replies.len()).unwrap_or(i64::MAX);
        let bytes = |name: &str, shape, data| Tensor { name: name.to_owned(), datatype: Datatype::Bytes, shape, data };
        let numbers = |name: &str, datatype, shape, numbers: &[u32]| Tensor {
            name: name.to_owned(),
            datatype,
            shape,
            data: numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        };
        let outputs = match &self.form {
            Shape::Bls => return vec![bytes("text_output", vec![rows, 1], text)],
            Shape::Ensemble => {
                let lengths = numbers("sequence_length", Datatype::Int32, vec![rows, 1], &counts);
                return vec![lengths, bytes("text_output", vec![rows, 1], text)];
            }
            Shape::Vllm(outputs) => outputs,
        };
        let mut tensors = vec![bytes("text_output", vec![rows], text)];
        if outputs.finish_reason {
            let mut reasons = Vec::new();
            for reply in &self.replies {
                let reason = if reply.is_over() { reply.finish().name() } else { "" };
                Tensor::push_string(&mut reasons, reason.as_bytes());
            }
            tensors.push(bytes("finish_reason", vec![rows], reasons));
        }
        if outputs.input_tokens {
            tensors.push(numbers("num_input_tokens", Datatype::Uint32, vec![1], &[self.prompt_tokens]));
        }
        if outputs.output_tokens {
            tensors.push(numbers("num_output_tokens", Datatype::Uint32, vec![rows], &counts));
        }
        tensors
    }
}

fn reply(row: &Row, ignored: bool, lengths: &Lengths, words: &[Word], chance: &mut impl Rng) -> Reply {
    let asked = if ignored { LengthAsked::default() } else { row.length };
    let length = lengths.draw(asked, row.tokens, chance);
    let start = chance.random_range(0..words.len());
    Reply::plan(words, start, length, &[], asked.least)
}

/// The lengths in a request with TensorRT-LLM's signature, for each row.
fn llm_lengths(model: &Model, ask: &Ask, rows: usize) -> Result<Vec<LengthAsked>, Problem> {
    let numbers = |name: &str| {
        let data = ask.inputs.iter().find(|input| input.name == name).map_or(&[][..], |input| &input.data);
        data.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect::<Vec<_>>()
    };
    let (most, least) = (numbers("max_tokens"), numbers("min_length"));
    let length = |row: usize| {
        let asked = most.get(row).copied().and_then(|most| u32::try_from(most).ok()).filter(|most| *most > 0);
        let asked = asked.ok_or_else(|| {
            let message = "request_output_len must be > 0";
            let within =
                if model.kind == Kind::Ensemble { format!("in ensemble '{}', ", model.name) } else { String::new() };
            Problem::of_model(400, format!("{within}{message}"))
        })?;
        let least = least.get(row).copied().and_then(|least| u32::try_from(least).ok()).unwrap_or(0);
        Ok(LengthAsked { most: Some(asked), least: least.min(asked), ignore_end: false })
    };
    (0..rows).map(length).collect()
}

/// The content of `sampling_parameters`.
struct Sampling {
    length: LengthAsked,
    fail_after: Option<u32>,
}

impl Sampling {
    /// Values may be numbers, truth values, or either as text, as the vLLM backend takes them.
    fn read(json: &[u8]) -> Result<Sampling, Problem> {
        let bad = |why: String| Problem::of_model(400, format!("bad sampling_parameters: {why}"));
        let members: Value = serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
        if !members.is_object() {
            return Err(bad("they must be a JSON object".to_owned()));
        }
        let number = |name: &str| match &members[name] {
            Value::Null => Ok(None),
            Value::String(text) => text.parse().map(Some).map_err(|_| bad(format!("{name} is not a number"))),
            value => value.as_i64().map(Some).ok_or_else(|| bad(format!("{name} is not a whole number"))),
        };
        let count = |number: i64| u32::try_from(number).unwrap_or(if number < 0 { 0 } else { u32::MAX });
        let most = number("max_tokens")?.unwrap_or(VLLM_TOKENS);
        if most < 1 {
            return Err(bad(format!("max_tokens must be at least 1, got {most}.")));
        }
        let ignore = &members["ignore_eos"];
        let length = LengthAsked {
            most: Some(count(most)),
            least: number("min_tokens")?.map_or(0, count).min(count(most)),
            ignore_end: ignore == &Value::Bool(true)
                || ignore.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")),
        };
        Ok(Sampling { length, fail_after: number("fail_after")?.map(count) })
    }
}

/// The elements of a BYTES input, or an empty list if the request does not have it.
fn strings<'a>(ask: &'a Ask, name: &str) -> Vec<&'a [u8]> {
    let input = ask.inputs.iter().find(|input| input.name == name);
    input.and_then(|input| Tensor::strings(&input.data)).unwrap_or_default()
}

/// The first element of a BOOL input.
fn flag(ask: &Ask, name: &str) -> Option<bool> {
    let input = ask.inputs.iter().find(|input| input.name == name)?;
    input.data.first().map(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_parameters_are_read_as_the_backend_does() {
        let read = |json: &str| Sampling::read(json.as_bytes()).map(|sampling| (sampling.length, sampling.fail_after));
        let length = |most, least, ignore_end| LengthAsked { most: Some(most), least, ignore_end };
        assert_eq!(read("{}"), Ok((length(16, 0, false), None)));
        assert_eq!(
            read(r#"{"max_tokens":"8","min_tokens":9,"ignore_eos":"true","temperature":0.1,"fail_after":2}"#),
            Ok((length(8, 8, true), Some(2)))
        );
        for bad in ["oops", "[]", r#"{"max_tokens":"many"}"#, r#"{"max_tokens":0}"#, r#"{"max_tokens":1.5}"#] {
            let problem = read(bad).unwrap_err();
            assert!(
                problem.ran && problem.status == 400 && problem.message.starts_with("bad sampling_parameters: "),
                "{bad}"
            );
        }
    }
}
