//! What all runs of a command share, found out before the first: the server, the addresses, the models, the tokenizer, and the
//! files that schedules come from.

use crate::commands::usage;
use crate::printer::Printer;
use crate::schedules;
use crate::settings::Settings;
use crate::shared_memory::Regions;
use crate::triton::Triton;
use anyhow::{Context, Error, Result, anyhow, bail};
use streamgauge_core::Prompt;
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::plan::{RunPlan, Target};
use streamgauge_core::record::{DelayedAcks, Stage};
use streamgauge_core::secrets::Secrets;
use streamgauge_core::text::{LONGEST_MESSAGE, clip};
use streamgauge_load::{ProbeError, Routes, fetch};
use streamgauge_prompt::tokenizer::EMBEDDED;
use streamgauge_prompt::{Source, Tokenizer, TraceRow, resolve};
use streamgauge_sim::{Sim, SimConfig};
use streamgauge_wire::model_ids;

/// How long the list of models may take.
const MODELS_LIMIT: Nanos = Nanos::from_millis(10_000);

/// What all runs of a command share.
pub struct Preparation {
    /// Where connections go.
    pub routes: Routes,
    /// Counts tokens.
    pub tokenizer: Tokenizer,
    /// What a trace says of its requests' prompts.
    pub rows: Vec<TraceRow>,
    /// What a Triton server says of its model, where it is one.
    pub triton: Option<Triton>,
    /// What is sent, where the user gave it.
    pub given: Option<GivenInputs>,
    /// Where tensors lie in memory that the server shares.
    pub memory: Option<Regions>,
    /// Whether the server is asked for its token counts, once the probe has shown whether it knows that.
    pub probed: Option<bool>,
    /// How much later first events come to clients that acknowledge late, where the probe showed that they do.
    pub delayed_acks: Option<DelayedAcks>,
    /// The simulated server of this process, which ends with this.
    _sim: Option<Sim>,
}

/// What the user gave to be sent.
#[derive(Clone, Debug, Default)]
pub struct GivenInputs {
    /// The requests' contents.
    pub prompts: Vec<Prompt>,
    /// Where they are streams, one after another: how many of them each has.
    pub streams: Vec<u32>,
}

impl Preparation {
    /// Finds out what is missing in the settings' plan, and completes it.
    ///
    /// # Errors
    /// When the server cannot be found or asked, or a file or a tokenizer cannot be read.
    pub fn of(settings: &mut Settings, printer: &Printer) -> Result<Preparation> {
        settings.notes.iter().for_each(|note| printer.note(&format!("note: {note}")));
        let rows = schedules::read(settings, printer).map_err(usage)?;
        let sim = start_sim(settings)?;
        let found = Routes::find(&settings.plan.endpoint, settings.plan.stamps);
        let routes = found.map_err(|error| match error.failure.stage {
            // Nothing has been asked of the server yet: the certificates that were named cannot be used.
            Stage::Tls => usage(anyhow!(error.failure.message)),
            _ => error.into(),
        })?;
        let routes = if settings.sim { routes.served_here() } else { routes };
        if settings.plan.endpoint.models.is_empty() {
            settings.plan.endpoint.models = vec![only_model(&settings.plan, &routes, SystemClock::start())?];
        }
        let triton = match settings.plan.endpoint.kind.is_kserve() {
            true => Some(Triton::ask(&mut settings.plan, &routes, &settings.observe, printer)?),
            false => None,
        };
        let tokenizer = tokenizer(settings, printer)?;
        settings.plan.prompts.tokenizer = tokenizer.name().to_owned();
        Ok(Preparation {
            routes,
            tokenizer,
            rows,
            triton,
            given: None,
            memory: None,
            probed: None,
            delayed_acks: None,
            _sim: sim,
        })
    }
}

/// A simulated server in this process, if one was asked for; the plan then goes there.
fn start_sim(settings: &mut Settings) -> Result<Option<Sim>> {
    if !settings.sim {
        return Ok(None);
    }
    let mut config = SimConfig::new(Tokenizer::embedded());
    config.log.keep = Some(0);
    if !settings.plan.endpoint.models.is_empty() {
        config.models = settings.plan.endpoint.models.clone();
    }
    // It counts with the embedded vocabulary, so that is its models' own tokenizer.
    settings.tokenizer.get_or_insert_with(|| EMBEDDED.to_owned());
    let sim = Sim::start(config, ([127, 0, 0, 1], 0).into()).context("the simulated server cannot start")?;
    settings.plan.endpoint.target = Target { tls: false, host: sim.addr().ip().to_string(), port: sim.addr().port() };
    Ok(Some(sim))
}

fn only_model(plan: &RunPlan, routes: &Routes, clock: SystemClock) -> Result<String> {
    let target = &plan.endpoint.target;
    let prefix = plan.endpoint.path.split("/v1/").next().filter(|prefix| *prefix != plan.endpoint.path);
    let path = format!("{}/v1/models", prefix.unwrap_or_default());
    let limit = MODELS_LIMIT.min(plan.timeouts.total);
    let (status, body) =
        fetch(&plan.endpoint, routes, clock, &path, limit).map_err(|error| unanswered(target, error))?;
    let hint = "name the model with --model";
    if status != 200 {
        let message = streamgauge_wire::server_message(&body).unwrap_or_default();
        let message = clip(Secrets::of(&plan.endpoint).hide(message), LONGEST_MESSAGE);
        bail!("{target}{path} answers {status} {message}; {hint}");
    }
    let models = model_ids(&body).map_err(|error| anyhow!("{target}{path}: {error}; {hint}"))?;
    match models.as_slice() {
        [model] => Ok(model.clone()),
        [] => bail!("{target}{path} lists no model; {hint}"),
        several => Err(usage(anyhow!("{target} has several models; choose with --model: {}", several.join(", ")))),
    }
}

fn unanswered(target: &Target, error: ProbeError) -> Error {
    match error {
        ProbeError::Failed(failure) => anyhow!("{target} cannot be reached: {failure}"),
        error => error.into(),
    }
}

fn tokenizer(settings: &Settings, printer: &Printer) -> Result<Tokenizer> {
    let model = settings.plan.endpoint.models.first().map(String::as_str);
    let env = |name: &str| std::env::var(name).ok();
    let found = resolve(settings.tokenizer.as_deref(), model, &settings.plan.prompts.tokenizer_revision, &env)
        .map_err(usage)?;
    match found.source {
        Source::Embedded { why: Some(why) } => {
            printer.note(&format!("note: tokens are counted with {}: {why}", found.tokenizer.name()));
        }
        _ if settings.verbose => printer.note(&format!("counting tokens with {}", found.tokenizer.name())),
        _ => {}
    }
    Ok(found.tokenizer)
}
