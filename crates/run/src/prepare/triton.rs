//! What a Triton server says of its model before load, and prompts as the model's inputs.

use crate::error::{About, usage};
use crate::listener::Listener;
use crate::prepare::hints::{self, Mishap};
use crate::prepare::waiting::Waiting;
use crate::spec::Observe;
use anyhow::{Context, Error, Result, anyhow, bail};
use std::sync::Arc;
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::kserve::{Backend, ModelInfo, ServerInfo, TensorFormat, Watched};
use streamgauge_core::message;
use streamgauge_core::plan::{Endpoint, Length, RunPlan};
use streamgauge_core::prompt::{Payload, Prompt};
use streamgauge_core::record::{Failure, FailureClass, Stage};
use streamgauge_core::setting::{Message, Part, Setting};
use streamgauge_load::{AskError, Client, Routes, spoken};
use streamgauge_prompt::tensors::{LlmOptions, llm_inputs};
use streamgauge_wire::endpoints::{calls_stream, spec};
use streamgauge_wire::kserve::Call;

/// The output tokens that TensorRT-LLM is asked for where nothing else is said, as GenAI-Perf does.
pub const TENSORRT_LLM_OUTPUT: f64 = 256.0;
/// How long an answer to a question may take.
pub const LIMIT: Nanos = Nanos::from_millis(10_000);

/// What a server says of the model that is to be measured.
#[derive(Clone, Debug)]
pub struct Triton {
    /// The model.
    pub model: ModelInfo,
    /// It and the models whose counters are to be shown with it: those of an ensemble, and those that were named.
    pub watched: Watched,
    /// Whether the server tells its counters.
    pub statistics: bool,
}

impl Triton {
    /// Asks the server of `plan`, and completes the plan with what the model decides: the call, and whether there is a text.
    ///
    /// # Errors
    /// When the server cannot be asked, or the model is not there or not ready.
    pub fn ask(plan: &mut RunPlan, routes: &Routes, observe: &Observe, listener: &Arc<dyn Listener>) -> Result<Triton> {
        let endpoint = &plan.endpoint;
        let mut client = Client::new(endpoint, routes, SystemClock::start(), LIMIT.min(plan.transport.timeouts.total))?;
        let waiting = Waiting::until_answered(
            Message::from(format!(
                "waiting for the model's metadata from {} (at most {} s)",
                hints::server(endpoint),
                LIMIT.as_secs_f64()
            )),
            listener,
        );
        // The first question, so it is here that nobody answers; Perf Analyzer's words.
        let server = client.server().map_err(|error| unanswered(endpoint, routes, error))?;
        let name = endpoint.models.first().cloned().unwrap_or_default();
        let version = endpoint.kserve.version.clone();
        let model = client.model(&name, version.as_deref()).context("failed to get model metadata")?;
        let ready = Call::ModelReady { model: &name, version: version.as_deref() };
        if !client.is_ready(&ready).context("failed to get model readiness")? {
            bail!("model {name} is not ready on {}", endpoint.target);
        }
        drop(waiting);
        without_extensions(plan, &server, &model, listener)?;
        let mut watched = watched(&mut client, &model, version.clone())?;
        for named in &observe.composing {
            watched.composing.push(by_name(&mut client, named)?);
        }
        let spec = spec(plan.endpoint.kind);
        let kserve = &mut plan.endpoint.kserve;
        kserve.decoupled = model.decoupled;
        if let Some(output) = kserve.text_output.take_if(|output| !has_text(&model, output))
            && spec.capabilities.tensors
        {
            let outputs: Vec<_> = model.outputs.iter().map(|output| output.name.as_str()).collect();
            listener.note(&message![
                format!(
                    "note: model {name} has no BYTES output {output} (its outputs: {}), so no tokens are counted; ",
                    outputs.join(", ")
                ),
                Setting::TextOutput,
                " names another",
            ]);
        }
        if !spec.capabilities.streams && model.decoupled {
            return Err(usage(message![
                format!("model {name} is decoupled, which takes gRPC: give "),
                Setting::Protocol,
                " grpc",
                Part::only_where(Setting::Streaming, message![" ", Setting::Streaming]),
            ]));
        }
        let endpoint = &mut plan.endpoint;
        if endpoint.path.is_empty() {
            endpoint.path = spec.default_path(&name, version.as_deref(), calls_stream(endpoint));
        }
        if !spec.capabilities.tensors {
            generate(plan, &model, listener)?;
        }
        let statistics = observe.statistics && server.extensions.iter().any(|extension| extension == "statistics");
        Ok(Triton { model, watched, statistics })
    }

    /// Gives a prompt the inputs that the plan's backend wants, where prompts are made for one.
    ///
    /// # Errors
    /// When the model has no such inputs.
    pub fn complete(&self, plan: &RunPlan, prompt: Prompt) -> Result<Prompt> {
        let endpoint = &plan.endpoint;
        // The generate extension takes texts, which the codec words for the backend.
        let Some(backend) = endpoint.kserve.backend.filter(|_| spec(endpoint.kind).capabilities.tensors) else {
            return Ok(prompt);
        };
        if let Payload::Members(members) = &prompt.payload {
            let names: Vec<_> = members.keys().map(String::as_str).collect();
            return Err(usage(message![
                Setting::InputFile,
                format!(
                    ": a request over gRPC has no body for {} to be added to; leave that out of its lines",
                    names.join(", ")
                ),
            ]));
        }
        let options = LlmOptions {
            streaming: endpoint.streaming,
            output_exact: plan.prompts.output_exact,
            extra: endpoint.extra.clone(),
        };
        let inputs = llm_inputs(backend, &self.model, &prompt, &options).map_err(usage)?.tensors;
        Ok(Prompt { payload: Payload::Tensors { inputs, expected: Vec::new() }, ..prompt })
    }
}

/// Why the first question to a server got no answer, with the likely cause.
fn unanswered(endpoint: &Endpoint, routes: &Routes, error: AskError) -> Error {
    let server = hints::server(endpoint);
    let (shown, hint) = match &error {
        AskError::Failed(failure) => {
            let spoken = hints::may_be_another_protocol(failure).then(|| spoken(routes)).flatten();
            (hints::words(failure), hints::hint(&Mishap { failure, status: None, endpoint, spoken }))
        }
        AskError::Refused { status, message } => {
            let status_number = status.parse().ok().or((status == "UNAUTHENTICATED").then_some(401));
            let failure = Failure { stage: Stage::Body, class: FailureClass::Status, message: message.clone() };
            (
                error.to_string(),
                hints::hint(&Mishap { failure: &failure, status: status_number, endpoint, spoken: None }),
            )
        }
        AskError::Answer(_) => (error.to_string(), None),
    };
    match hint {
        Some(hint) => message![format!("failed to get model metadata: {server}: {shown}: "), hint].into(),
        // The error itself, whose words alone Perf Analyzer shows.
        None => Error::from(error).context(server).context("failed to get model metadata"),
    }
}

/// Settles how a server is asked that lacks Triton's extensions of KServe v2, or refuses it where that cannot work.
fn without_extensions(
    plan: &mut RunPlan,
    server: &ServerInfo,
    model: &ModelInfo,
    listener: &Arc<dyn Listener>,
) -> Result<()> {
    let endpoint = &mut plan.endpoint;
    let spec = spec(endpoint.kind);
    let has = |extension: &str| server.extensions.iter().any(|known| known == extension);
    if model.without_config {
        if spec.is_grpc() && endpoint.streaming {
            return Err(usage(message![
                format!(
                    "the server ({} {}) has no ModelConfig call, so it is not Triton: nothing says which message of its ModelStreamInfer is a request's last; leave out ",
                    server.name, server.version
                ),
                Setting::Streaming,
                ", or measure its OpenAI endpoint with ",
                Setting::EndpointType,
                " chat",
            ]));
        }
        listener.note(&Message::from(format!(
            "note: the server ({} {}) has no ModelConfig call: model {} is taken at its metadata's word, as one without batches and sequences that answers each request once",
            server.name, server.version, model.name
        )));
        if model.inputs.is_empty() {
            return Err(usage(anyhow!(
                "the metadata of model {} name no inputs, so nothing can be sent; describe them in the model's settings on the server",
                model.name
            )));
        }
    }
    let kserve = &mut endpoint.kserve;
    if spec.capabilities.tensors
        && !spec.is_grpc()
        && !has(BINARY_TENSORS)
        && (kserve.input_format, kserve.output_format) != (TensorFormat::Json, TensorFormat::Json)
    {
        listener.note(&Message::from(format!(
            "note: the server does not have the extension {BINARY_TENSORS}: tensors are sent and asked for as JSON"
        )));
        (kserve.input_format, kserve.output_format) = (TensorFormat::Json, TensorFormat::Json);
    }
    Ok(())
}

/// The model's inputs that the generate extension is sent, by which its backend is known.
const TEXT_INPUT: &str = "text_input";
const SAMPLING_PARAMETERS: &str = "sampling_parameters";
const MAX_TOKENS: &str = "max_tokens";
const EXCLUDE_INPUT: &str = "exclude_input_in_output";

/// Settles in whose words the generate extension asks for an output length: vLLM's models take it inside of an input of
/// sampling parameters, all others as `max_tokens`, which some of them need.
fn generate(plan: &mut RunPlan, model: &ModelInfo, listener: &Arc<dyn Listener>) -> Result<()> {
    let input = |name: &str| model.inputs.iter().find(|input| input.name == name);
    if input(TEXT_INPUT).is_none() {
        let names: Vec<_> = model.inputs.iter().map(|input| input.name.as_str()).collect();
        return Err(usage(message![
            Setting::EndpointType,
            format!(
                " generate: model {} has no input {TEXT_INPUT} (its inputs: {}), which says what the prompt is; give another ",
                model.name,
                names.join(", ")
            ),
            Setting::Model,
        ]));
    }
    plan.endpoint.kserve.backend =
        Some(if input(SAMPLING_PARAMETERS).is_some() { Backend::Vllm } else { Backend::TensorrtLlm });
    if input(EXCLUDE_INPUT).is_some() && !plan.endpoint.extra.contains_key(EXCLUDE_INPUT) {
        // Else a whole answer may begin with the prompt, whose tokens would count as output.
        plan.endpoint.extra.insert(EXCLUDE_INPUT.to_owned(), true.into());
    }
    let is_needed = input(MAX_TOKENS).is_some_and(|input| !input.optional);
    if is_needed && plan.prompts.output.is_none() && !plan.endpoint.extra.contains_key(MAX_TOKENS) {
        listener.note(&message![
            format!(
                "note: model {} needs {MAX_TOKENS}, so it is asked for {TENSORRT_LLM_OUTPUT} output tokens, as GenAI-Perf does over gRPC; ",
                model.name
            ),
            Setting::Osl,
            " asks for another length",
        ]);
        plan.prompts.output = Some(Length { mean: TENSORRT_LLM_OUTPUT, stddev: 0.0 });
    }
    Ok(())
}

/// The extension by which tensors are bytes behind the JSON.
const BINARY_TENSORS: &str = "binary_tensor_data";

/// A model that was named, perhaps with a version behind a colon, and those that it is made of.
fn by_name(client: &mut Client, named: &str) -> Result<Watched> {
    let (name, version) = named.split_once(':').map_or((named, None), |(name, version)| (name, Some(version)));
    let model = client.model(name, version).about(|| {
        message![Setting::BlsComposingModels, format!(" {named}: failed to get metadata of composing model {name}"),]
    })?;
    watched(client, &model, version.map(str::to_owned))
}

/// A model and, of an ensemble, those that it is made of.
fn watched(client: &mut Client, model: &ModelInfo, version: Option<String>) -> Result<Watched> {
    let mut composing = Vec::new();
    for (name, version) in &model.composing {
        let version = (*version > 0).then(|| version.to_string());
        let part = client
            .model(name, version.as_deref())
            .with_context(|| format!("failed to get metadata of composing model {name}"))?;
        composing.push(watched(client, &part, version)?);
    }
    Ok(Watched { name: model.name.clone(), version, cached: model.response_cache, composing })
}

fn has_text(model: &ModelInfo, output: &str) -> bool {
    use streamgauge_core::Datatype::Bytes;
    model.outputs.iter().any(|known| known.name == output && known.datatype == Bytes)
}
