//! The inputs of Triton's LLM backends, made out of a prompt as GenAI-Perf makes them.

use super::element::{Scalar, push};
use super::{InputError, TEXT_INPUT, batch, shape};
use serde_json::{Map, Value};
use std::borrow::Cow;
use streamgauge_core::Prompt;
use streamgauge_core::kserve::{Backend, ModelInfo};
use streamgauge_core::message;
use streamgauge_core::setting::{Message, Setting};
use streamgauge_core::tensor::{Tensor, TensorSpec};

/// What is asked of a backend beyond the prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LlmOptions {
    /// Answers come piece by piece.
    pub streaming: bool,
    /// Answers are to be exactly as long as asked for.
    pub output_exact: bool,
    /// Inputs that the user adds, or puts in place of ours.
    pub extra: Map<String, Value>,
}

/// The inputs of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmInputs {
    /// They, in GenAI-Perf's order.
    pub tensors: Vec<Tensor>,
    /// Names of inputs that would be sent if the model had them.
    pub left_out: Vec<&'static str>,
}

/// The inputs of `backend` for `prompt`, of the types that `model` says. A prompt of several texts is a batch.
///
/// # Errors
/// When the model lacks an input without which the prompt or its length would not be said, an input has a type or shape that
/// our value does not fit, or an extra input is not the model's.
pub fn llm_inputs(
    backend: Backend,
    model: &ModelInfo,
    prompt: &Prompt,
    options: &LlmOptions,
) -> Result<LlmInputs, InputError> {
    let batch = u32::try_from(prompt.texts().len()).unwrap_or(u32::MAX);
    batch::check(batch, model)?;
    let mut made = LlmInputs { tensors: Vec::new(), left_out: Vec::new() };
    let ours = match backend {
        Backend::TensorrtLlm => tensorrt_llm(prompt, options),
        Backend::Vllm => vllm(prompt, options),
    };
    for Wanted { name, values, without } in ours {
        let values = options.extra.get(name).map_or(values, |value| Values::Same(value.clone()));
        match (find(model, name), without) {
            (Some(spec), _) => made.tensors.push(tensor(spec, &values, batch, model)?),
            (None, Without::LeaveOut) => made.left_out.push(name),
            (None, Without::Refuse(what)) => {
                let has = shape::names(&model.inputs);
                let (other, mark) = match backend {
                    Backend::TensorrtLlm => ("vllm", "sampling_parameters"),
                    Backend::Vllm => ("tensorrtllm", "max_tokens"),
                };
                let hint = find(model, mark).map_or_else(Message::default, |_| {
                    message![", as ", Setting::Backend, format!(" {other} sends them")]
                });
                let reason = format!("the model {} has no input {name}, which says {what}; it has {has}", model.name);
                return Err(InputError::Asked(message![reason, hint]));
            }
        }
    }
    for (name, value) in &options.extra {
        let refuse =
            |reason: String| Err(InputError::Asked(message![Setting::ExtraInputs, format!(" {name}: {reason}")]));
        if name == TEXT_INPUT {
            return refuse("this input is the prompt's text, which is counted in tokens".to_owned());
        }
        match find(model, name) {
            Some(_) if made.tensors.iter().any(|tensor| tensor.name == *name) => {}
            Some(spec) => made.tensors.push(tensor(spec, &Values::Same(value.clone()), batch, model)?),
            None => {
                return refuse(format!(
                    "the model {} has no such input; it has {}",
                    model.name,
                    shape::names(&model.inputs)
                ));
            }
        }
    }
    let has = |name: &str| made.tensors.iter().any(|tensor| tensor.name == name);
    match model.inputs.iter().find(|spec| !spec.optional && !has(&spec.name)) {
        Some(spec) => {
            let (model, name) = (&model.name, &spec.name);
            Err(InputError::Asked(message![
                format!("the model {model} needs input {name}, which requests of this backend do not have: give "),
                Setting::ExtraInputs,
                format!(" {name}:VALUE"),
            ]))
        }
        None => Ok(made),
    }
}

/// Tokens that GenAI-Perf asks TensorRT-LLM for where no length was given, since its models need the input.
const MAX_TOKENS: u32 = 256;

/// An input that a backend's requests have.
struct Wanted<'a> {
    name: &'static str,
    values: Values<'a>,
    without: Without,
}

/// What a model gets that does not have the input.
#[derive(Clone, Copy)]
enum Without {
    LeaveOut,
    /// No request: nothing else says this.
    Refuse(&'static str),
}

enum Values<'a> {
    /// One for each inference of the batch.
    Each(Cow<'a, [String]>),
    /// The same for all of them.
    Same(Value),
}

fn text(prompt: &Prompt) -> Wanted<'_> {
    Wanted { name: TEXT_INPUT, values: Values::Each(prompt.texts()), without: Without::Refuse("what the prompt is") }
}

fn same(name: &'static str, value: impl Into<Value>) -> Wanted<'static> {
    Wanted { name, values: Values::Same(value.into()), without: Without::LeaveOut }
}

const LENGTH: Without = Without::Refuse("how long the output is to be");

fn tensorrt_llm<'a>(prompt: &'a Prompt, options: &LlmOptions) -> Vec<Wanted<'a>> {
    let length = if prompt.requested_output_tokens.is_some() { LENGTH } else { Without::LeaveOut };
    let max_tokens = same("max_tokens", prompt.requested_output_tokens.unwrap_or(MAX_TOKENS));
    let mut wanted =
        vec![text(prompt), Wanted { without: length, ..max_tokens }, same("exclude_input_in_output", true)];
    if options.streaming {
        wanted.push(same("stream", true));
    }
    if let Some(tokens) = prompt.requested_output_tokens.filter(|_| options.output_exact) {
        wanted.push(same("min_length", tokens));
    }
    wanted
}

fn vllm<'a>(prompt: &'a Prompt, options: &LlmOptions) -> Vec<Wanted<'a>> {
    let mut wanted = vec![text(prompt), same("exclude_input_in_output", true)];
    if options.streaming {
        wanted.push(same("stream", true));
    }
    if let Some(tokens) = prompt.requested_output_tokens {
        let mut parameters = Map::new();
        parameters.insert("max_tokens".to_owned(), tokens.to_string().into());
        if options.output_exact {
            parameters.insert("min_tokens".to_owned(), tokens.to_string().into());
        }
        wanted.push(Wanted { without: LENGTH, ..same("sampling_parameters", Value::Object(parameters).to_string()) });
    }
    wanted
}

fn find<'a>(model: &'a ModelInfo, name: &str) -> Option<&'a TensorSpec> {
    model.inputs.iter().find(|spec| spec.name == name)
}

/// The input that `spec` is, with its values for each inference of the batch.
fn tensor(spec: &TensorSpec, values: &Values<'_>, batch: u32, model: &ModelInfo) -> Result<Tensor, InputError> {
    let refuse =
        |reason: String| InputError::Asked(format!("input {} of the model {}: {reason}", spec.name, model.name).into());
    let mut data = Vec::new();
    let elements = match values {
        Values::Each(texts) => {
            for text in texts.iter() {
                push(spec.datatype, Scalar::Text(text), &mut data).map_err(refuse)?;
            }
            1
        }
        Values::Same(value) => {
            let elements = match value {
                Value::Array(values) => &values[..],
                one => std::slice::from_ref(one),
            };
            for element in elements {
                push_value(spec, element, &mut data).map_err(refuse)?;
            }
            // A tensor that gives a shape is the whole request's.
            data = data.repeat(if spec.is_shape { 1 } else { batch as usize });
            elements.len() as u64
        }
    };
    let ones: Vec<i64> = spec.shape.iter().map(|dim| if *dim < 0 { 1 } else { *dim }).collect();
    let shape = if elements == 1 && shape::fits(&ones, &spec.shape) && Tensor::elements(&ones) == Some(1) {
        Some(ones)
    } else {
        shape::filled(&spec.shape, elements)
    };
    let mut shape = shape.ok_or_else(|| {
        let values = if elements == 1 { "one value does".to_owned() } else { format!("{elements} values do") };
        refuse(format!("{values} not fill its shape {}", shape::shown(&spec.shape)))
    })?;
    if model.max_batch_size > 0 && !spec.is_shape {
        shape.insert(0, batch.into());
    }
    Ok(Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data })
}

fn push_value(spec: &TensorSpec, value: &Value, data: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Value::Bool(value) => push(spec.datatype, Scalar::Bool(*value), data),
        Value::Number(number) => push(spec.datatype, Scalar::Number(&number.to_string()), data),
        Value::String(text) => push(spec.datatype, Scalar::Text(text), data),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("{value} is not a value, which is a number, a string or a truth value"))
        }
    }
}
