//! Steps as requests: one step each, or consecutive ones joined along the batch dimension.

use super::steps::{Draft, Timing};
use super::{InputError, Step, TEXT_INPUT, shape};
use streamgauge_core::Prompt;
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::prompt::{Content, Payload};
use streamgauge_core::tensor::{Datatype, Tensor, TensorSpec};

/// Refuses a batch that the model does not take.
pub(super) fn check(batch: u32, model: &ModelInfo) -> Result<(), InputError> {
    let (name, most) = (&model.name, model.max_batch_size);
    let reason = match (batch, most) {
        (0, _) => "a request has at least one inference".to_owned(),
        (1, _) => return Ok(()),
        (_, 0) => format!("the model {name} takes no batches, its max_batch_size is 0"),
        (batch, most) if batch > most => format!("the model {name} takes at most {most} inferences in a request"),
        _ => return Ok(()),
    };
    Err(InputError::Asked(format!("-b {batch}: {reason}").into()))
}

/// The requests of streams of steps, as many as there are steps. The k-th of a stream has the steps from k times `batch` on, going
/// round, which is Perf Analyzer's order.
pub(super) fn requests(streams: Vec<Vec<Draft>>, model: &ModelInfo, batch: u32) -> Result<Vec<Vec<Step>>, InputError> {
    let mut requests = Vec::with_capacity(streams.len());
    for (stream, steps) in streams.into_iter().enumerate() {
        if batch <= 1 {
            requests.push(steps.into_iter().map(|step| request(step, model, 1)).collect());
            continue;
        }
        let joined = (0..steps.len()).map(|k| {
            let numbers: Vec<usize> = (0..batch as usize).map(|i| (k * batch as usize + i) % steps.len()).collect();
            let join = Join { steps: &steps, numbers: &numbers, stream };
            Ok(request(join.all(model)?, model, batch))
        });
        requests.push(joined.collect::<Result<_, InputError>>()?);
    }
    Ok(requests)
}

/// A step whose values are those of `batch` inferences, as a request.
fn request(mut step: Draft, model: &ModelInfo, batch: u32) -> Step {
    if model.max_batch_size > 0 {
        let shapes = |name: &str, specs: &[TensorSpec]| specs.iter().any(|spec| spec.name == name && spec.is_shape);
        for tensor in step.inputs.iter_mut().filter(|tensor| !shapes(&tensor.name, &model.inputs)) {
            tensor.shape.insert(0, batch.into());
        }
        for tensor in step.expected.iter_mut().filter(|tensor| !shapes(&tensor.name, &model.outputs)) {
            tensor.shape.insert(0, batch.into());
        }
    }
    let Draft { inputs, expected, timing: Timing { at, delay, session } } = step;
    let prompt = Prompt {
        content: Content::Texts(texts(&inputs)),
        tokens: 0,
        requested_output_tokens: None,
        model: model.name.clone(),
        payload: Payload::Tensors { inputs, expected },
    };
    Step { prompt, at, delay, session }
}

/// The strings of the input that is called as an LLM's text is, where it has any.
fn texts(inputs: &[Tensor]) -> Vec<String> {
    let text = inputs.iter().find(|tensor| tensor.name == TEXT_INPUT && tensor.datatype == Datatype::Bytes);
    let strings = text.and_then(|tensor| Tensor::strings(&tensor.data)).unwrap_or_default();
    strings.into_iter().map(|string| String::from_utf8_lossy(string).into_owned()).collect()
}

/// Steps of a stream that become one.
struct Join<'a> {
    steps: &'a [Draft],
    numbers: &'a [usize],
    stream: usize,
}

impl Join<'_> {
    fn all(&self, model: &ModelInfo) -> Result<Draft, InputError> {
        if self.numbers.iter().any(|number| self.steps[*number].timing != Timing::default()) {
            let reason = "have a timestamp, delay or session_id, and a request of several has none of its own";
            return Err(self.refuse(format!("steps of stream {} {reason}", self.stream)));
        }
        Ok(Draft {
            inputs: self.tensors("input", |step| &step.inputs, &model.inputs)?,
            expected: self.tensors("output", |step| &step.expected, &model.outputs)?,
            timing: Timing::default(),
        })
    }

    fn tensors(
        &self,
        what: &str,
        of: impl Fn(&Draft) -> &[Tensor],
        specs: &[TensorSpec],
    ) -> Result<Vec<Tensor>, InputError> {
        let first = self.numbers[0];
        let mut joined = of(&self.steps[first]).to_vec();
        for number in &self.numbers[1..] {
            let more = of(&self.steps[*number]);
            let lacks = |a: &[Tensor], b: &[Tensor]| {
                let has = |name: &str| a.iter().any(|tensor| tensor.name == name);
                b.iter().find(|tensor| !has(&tensor.name)).map(|tensor| tensor.name.clone())
            };
            let lacking = lacks(more, &joined).map(|name| (*number, name, first));
            let lacking = lacking.or_else(|| lacks(&joined, more).map(|name| (first, name, *number)));
            if let Some((number, name, other)) = lacking {
                let place = format!("step {number} of stream {}", self.stream);
                return Err(self.refuse(format!("{place} lacks {what} {name}, which step {other} has")));
            }
            for tensor in &mut joined {
                let Some(other) = more.iter().find(|other| other.name == tensor.name) else { continue };
                let is_shape = specs.iter().any(|spec| spec.name == tensor.name && spec.is_shape);
                if tensor.shape != other.shape || is_shape && tensor.data != other.data {
                    let places = format!("steps {first} and {number} of stream {}", self.stream);
                    let kind = if is_shape { "values" } else { "shape" };
                    let (ours, its) = (shape::shown(&tensor.shape), shape::shown(&other.shape));
                    let shapes = if is_shape { String::new() } else { format!(" ({ours} and {its})") };
                    return Err(self.refuse(format!("{places} differ in the {kind} of {what} {}{shapes}", tensor.name)));
                }
                if !is_shape {
                    tensor.data.extend_from_slice(&other.data);
                }
            }
        }
        Ok(joined)
    }

    fn refuse(&self, reason: String) -> InputError {
        InputError::Asked(
            format!("-b {}: {reason}; only steps that are alike can be joined", self.numbers.len()).into(),
        )
    }
}
