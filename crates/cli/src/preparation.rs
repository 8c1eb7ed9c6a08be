//! What all runs of a command share, found out before the first: the server, the addresses, the models, the tokenizer, and the
//! files that schedules come from.

use crate::commands::usage;
use crate::hints::{self, Mishap};
use crate::printer::Printer;
use crate::probe::Settled;
use crate::redirect;
use crate::schedules;
use crate::settings::Settings;
use crate::settings::url::models_path;
use crate::shared_memory::Regions;
use crate::triton::Triton;
use crate::waiting::Waiting;
use anyhow::{Context, Error, Result, anyhow, bail};
use streamgauge_core::Prompt;
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::plan::{RunPlan, Target};
use streamgauge_core::record::{DelayedAcks, Failure, FailureClass, Stage};
use streamgauge_core::secrets::{Secrets, shown_url};
use streamgauge_core::text::{LONGEST_MESSAGE, clip};
use streamgauge_load::{Fetched, ProbeError, Routes, fetch, spoken};
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
    /// How the server is asked, once a run has settled that.
    pub probed: Option<Settled>,
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
        let routes = find_routes(&settings.plan)?;
        let mut routes = if settings.sim { routes.served_here() } else { routes };
        if settings.plan.endpoint.models.is_empty() {
            let model = only_model(&mut settings.plan, &mut routes, printer)?;
            settings.plan.endpoint.models = vec![model];
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

/// The only model that the server lists. Where it redirects on its own host, the endpoint's server moves with it.
fn only_model(plan: &mut RunPlan, routes: &mut Routes, printer: &Printer) -> Result<String> {
    let mut path = models_path(&plan.endpoint.path);
    let limit = MODELS_LIMIT.min(plan.timeouts.total);
    let hint = "name the model with --model";
    for _ in 0..=redirect::MOST {
        let target = plan.endpoint.target.clone();
        let _waiting = Waiting::until_answered(
            format!(
                "waiting for the list of models from {target}{path} (at most {} s); --model names one without it",
                limit.as_secs_f64()
            ),
            printer,
        );
        let fetched = fetch(&plan.endpoint, routes, SystemClock::start(), &path, limit);
        let Fetched { status, location, body } = fetched.map_err(|error| unanswered(plan, routes, error))?;
        if let Some(location) = location {
            let (target, to) = redirect::follow(&plan.endpoint, &path, status, &location)?;
            path = to;
            if target != plan.endpoint.target {
                printer
                    .note(&format!("note: {} redirects to {target}: everything is asked there", plan.endpoint.target));
                plan.endpoint.target = target;
                *routes = find_routes(plan)?;
            }
            continue;
        }
        if status != 200 {
            let message = streamgauge_wire::server_message(&body).unwrap_or_default();
            let message = clip(Secrets::of(&plan.endpoint).hide(message), LONGEST_MESSAGE);
            let failure = Failure { stage: Stage::Body, class: FailureClass::Status, message: message.clone() };
            let endpoint = &plan.endpoint;
            let cause = hints::hint(&Mishap { failure: &failure, status: Some(status), endpoint, spoken: None });
            let cause = cause.filter(|_| matches!(status, 401 | 403)).unwrap_or_else(|| hint.to_owned());
            bail!("{target}{} answers {status} {message}; {cause}", shown_url(&path));
        }
        let models = model_ids(&body).map_err(|error| anyhow!("{target}{path}: {error}; {hint}"))?;
        return match models.as_slice() {
            [model] => Ok(model.clone()),
            [] => bail!("{target}{path} lists no model; {hint}"),
            several => Err(usage(anyhow!("{target} has several models; choose with --model: {}", several.join(", ")))),
        };
    }
    bail!("{}{path} redirects more than {} times; {hint}", plan.endpoint.target, redirect::MOST)
}

fn unanswered(plan: &RunPlan, routes: &Routes, error: ProbeError) -> Error {
    let ProbeError::Failed(failure) = error else { return error.into() };
    let endpoint = &plan.endpoint;
    let spoken = hints::may_be_another_protocol(&failure).then(|| spoken(routes)).flatten();
    let hint = match failure.class {
        // How long this question may take is fixed.
        FailureClass::Timeout => Some("it did not list its models; --model names one without asking".to_owned()),
        _ => hints::hint(&Mishap { failure: &failure, status: None, endpoint, spoken }),
    };
    let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
    anyhow!("{} cannot be reached: {}{hint}", hints::server(endpoint), hints::words(&failure))
}

fn find_routes(plan: &RunPlan) -> Result<Routes> {
    Routes::find(&plan.endpoint, plan.stamps).map_err(|error| match error.failure.stage {
        // Nothing has been asked of the server yet: the certificates that were named cannot be used.
        Stage::Tls => usage(anyhow!(error.failure.message)),
        _ => error.into(),
    })
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
