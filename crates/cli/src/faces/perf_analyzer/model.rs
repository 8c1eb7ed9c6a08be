//! Settings that depend on the model: whether it accepts the requested calls, and its input data.

use super::args::ServiceKind;
use super::settings::{Calls, Mode, Task};
use anyhow::{Result, anyhow, bail};
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::plan::Endpoint;
use streamgauge_prompt::tensors::InputData;

/// Facts about the model that the server reports.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Whether requests wait for each other.
    pub calls: Calls,
    /// Whether the model may answer a request with any number of responses.
    pub decoupled: bool,
    /// Whether requests belong to sequences.
    pub sequences: bool,
}

/// Checks that the model accepts the requests of `task` over `endpoint`. `None` for the model means an OpenAI server.
///
/// # Errors
/// When the model does not accept the requested calls.
pub fn settle(task: &Task, model: Option<&ModelInfo>, endpoint: &Endpoint) -> Result<Known> {
    let Some(model) = model else {
        return Ok(Known { calls: Calls::Async, decoupled: false, sequences: false });
    };
    let name = &model.name;
    let batch = task.inputs.options.batch;
    if batch > 1 && model.max_batch_size == 0 {
        bail!("-b {batch}: model {name} does not support batching; leave it out");
    }
    if batch > model.max_batch_size.max(1) {
        bail!("-b {batch}: model {name} accepts batches of at most {}", model.max_batch_size);
    }
    if batch > 1 && model.sequence_batching {
        bail!("-b {batch}: model {name} uses sequences, whose requests are single inferences; leave it out");
    }
    let usual = if model.sequence_batching { Calls::Async } else { Calls::Sync };
    let calls = task.calls.unwrap_or(usual);
    if model.decoupled && !endpoint.streaming {
        bail!("model {name} is decoupled and needs --async --streaming -i grpc");
    }
    if let (Mode::Growing(_), false) = (&task.mode, model.decoupled) {
        bail!(
            "--periodic-concurrency-range needs a decoupled model, because it counts the responses of a request, and model {name} is not decoupled"
        );
    }
    if model.sequence_batching {
        ids(task)?;
    }
    Ok(Known { calls, decoupled: model.decoupled, sequences: model.sequence_batching })
}

/// Refuses a range of ids that has too few for the sequences that are open at once.
fn ids(task: &Task) -> Result<()> {
    let (first, Some(end)) = (task.sequences.first_id, task.sequences.end_id) else { return Ok(()) };
    let open = match &task.mode {
        Mode::Concurrency(range) if range.end == 0 => {
            bail!("--concurrency-range: with an end of --sequence-id-range, give an end above 0")
        }
        Mode::Concurrency(range) => range.start.max(range.end),
        Mode::Growing(growth) => growth.end,
        Mode::Rate { .. } | Mode::Intervals(_) | Mode::Schedule => task.sequences.live,
    };
    let ids = end - first;
    if ids < u64::from(open) {
        bail!(
            "--sequence-id-range {first}:{end} has {ids} ids, but {open} sequences are open at the same time; give at least as many ids"
        );
    }
    Ok(())
}

/// The input data for `model` or for an OpenAI server. For the latter the payloads decide whether answers are streams, and this completes
/// `endpoint`.
///
/// # Errors
/// When the input data cannot be read, or do not fit the model.
pub fn inputs(task: &Task, model: Option<&ModelInfo>, endpoint: &mut Endpoint) -> Result<InputData> {
    let read = match (task.service, model) {
        (ServiceKind::Triton, Some(model)) => task.inputs.read(model),
        _ => {
            let name = endpoint.models.first().map_or("", String::as_str);
            task.inputs.payloads(name)
        }
    };
    let data = read.map_err(|error| match error.to_string() {
        // It names the flag that it is about.
        error if error.starts_with("--") => anyhow!("{error}"),
        error => anyhow!("--input-data: {error}"),
    })?;
    if task.service == ServiceKind::Openai {
        endpoint.streaming = streams(&data)?;
    }
    Ok(data)
}

/// Whether the bodies ask for streams: all of them, or none.
fn streams(data: &InputData) -> Result<bool> {
    use streamgauge_core::prompt::Payload;
    let asks = data.streams.iter().flatten().map(|step| match &step.prompt.payload {
        Payload::Body(body) => body.get("stream").and_then(serde_json::Value::as_bool).unwrap_or(false),
        Payload::FromContent | Payload::Members(_) | Payload::Tensors { .. } => false,
    });
    let asks: Vec<bool> = asks.collect();
    let first = asks.first().copied().unwrap_or(false);
    match asks.iter().position(|ask| *ask != first) {
        Some(other) => bail!(
            "--input-data: payload 1 has \"stream\": {first} and payload {} has not; use the same value in all of them",
            other + 1
        ),
        None => Ok(first),
    }
}
