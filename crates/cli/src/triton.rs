//! What a Triton server says of its model before load, and prompts as the model's inputs.

use crate::commands::usage;
use crate::printer::Printer;
use anyhow::{Context, Result, anyhow, bail};
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::kserve::{ModelInfo, Watched};
use streamgauge_core::plan::{EndpointKind, RunPlan, Target};
use streamgauge_core::prompt::{Given, Prompt};
use streamgauge_load::Client;
use streamgauge_load::Routes;
use streamgauge_prompt::tensors::{LlmOptions, llm_inputs};
use streamgauge_wire::kserve::Call;

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
    /// Its metrics page, where that is to be read too.
    pub metrics: Option<Metrics>,
}

/// What of the server's own account is wanted beside the load.
#[derive(Clone, Debug, Default)]
pub struct Observe {
    /// Its counters.
    pub statistics: bool,
    /// Further models whose counters are wanted, each perhaps with a version behind a colon.
    pub composing: Vec<String>,
    /// Its metrics page.
    pub metrics: Option<Metrics>,
}

/// A metrics page and how often it is read.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The server that has it.
    pub target: Target,
    /// Where on that server.
    pub path: String,
    /// From one reading to the next.
    pub every: Nanos,
}

impl Triton {
    /// Asks the server of `plan`, and completes the plan with what the model decides: the call, and whether there is a text.
    ///
    /// # Errors
    /// When the server cannot be asked, or the model is not there or not ready.
    pub fn ask(plan: &mut RunPlan, routes: &Routes, observe: &Observe, printer: &Printer) -> Result<Triton> {
        let endpoint = &plan.endpoint;
        let mut client = Client::new(endpoint, routes, SystemClock::start(), LIMIT.min(plan.timeouts.total))?;
        // The first question, so it is here that nobody answers; Perf Analyzer's words.
        let server =
            client.server().with_context(|| endpoint.target.to_string()).context("failed to get model metadata")?;
        let name = endpoint.models.first().cloned().unwrap_or_default();
        let version = endpoint.kserve.as_ref().and_then(|kserve| kserve.version.clone());
        let model = client.model(&name, version.as_deref()).context("failed to get model metadata")?;
        let ready = Call::ModelReady { model: &name, version: version.as_deref() };
        if !client.is_ready(&ready).context("failed to get model readiness")? {
            bail!("model {name} is not ready on {}", endpoint.target);
        }
        let mut watched = watched(&mut client, &model, version.clone())?;
        for named in &observe.composing {
            watched.composing.push(by_name(&mut client, named)?);
        }
        let kind = endpoint.kind;
        if let Some(kserve) = &mut plan.endpoint.kserve {
            kserve.decoupled = model.decoupled;
            if let Some(output) = kserve.text_output.take_if(|output| !has_text(&model, output))
                && kind != EndpointKind::Generate
            {
                let outputs: Vec<_> = model.outputs.iter().map(|output| output.name.as_str()).collect();
                printer.note(&format!(
                    "note: model {name} has no BYTES output {output} (its outputs: {}), so no tokens are counted; --text-output names another",
                    outputs.join(", ")
                ));
            }
        }
        if kind == EndpointKind::KserveHttp && model.decoupled {
            return Err(usage(anyhow!("model {name} is decoupled, which takes gRPC: give -i grpc --streaming")));
        }
        let endpoint = &mut plan.endpoint;
        if endpoint.path.is_empty() {
            endpoint.path = kind.default_path(&name, version.as_deref(), endpoint.calls_stream());
        }
        let statistics = observe.statistics && server.extensions.iter().any(|extension| extension == "statistics");
        Ok(Triton { model, watched, statistics, metrics: observe.metrics.clone() })
    }

    /// Whether there is anything to watch beside the load.
    pub fn is_watched(&self) -> bool {
        self.statistics || self.metrics.is_some()
    }

    /// Gives a prompt the inputs that the plan's backend wants, where prompts are made for one.
    ///
    /// # Errors
    /// When the model has no such inputs.
    pub fn complete(&self, plan: &RunPlan, prompt: Prompt) -> Result<Prompt> {
        let endpoint = &plan.endpoint;
        let Some(backend) = endpoint.kserve.as_ref().and_then(|kserve| kserve.backend) else { return Ok(prompt) };
        let options = LlmOptions {
            streaming: endpoint.streaming,
            output_exact: plan.prompts.output_exact,
            extra: endpoint.extra.clone(),
        };
        let inputs = llm_inputs(backend, &self.model, &prompt, &options).map_err(usage)?.tensors;
        Ok(Prompt { given: Given::Tensors { inputs, expected: Vec::new() }, ..prompt })
    }
}

/// A model that was named, perhaps with a version behind a colon, and those that it is made of.
fn by_name(client: &mut Client, named: &str) -> Result<Watched> {
    let (name, version) = named.split_once(':').map_or((named, None), |(name, version)| (name, Some(version)));
    let model = client
        .model(name, version)
        .with_context(|| format!("--bls-composing-models {named}: failed to get metadata of composing model {name}"))?;
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
