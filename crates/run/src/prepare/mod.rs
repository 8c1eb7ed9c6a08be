//! Finds out before the first run what all runs of a command share: the server, its addresses, the models, the tokenizer, and the
//! files that schedules come from.

pub mod conversations;
mod dataset;
pub mod earlier;
pub mod hints;
pub mod job;
pub mod prefix_cache;
pub mod probe;
mod redirect;
mod schedules;
mod server;
pub mod settled;
pub mod shared;
pub mod shared_memory;
pub mod triton;
mod waiting;

use crate::error::usage;
use crate::listener::Listener;
use crate::spec::RunSpec;
use anyhow::{Context, Result};
use server::{find_routes, only_model};
use shared::Preparation;
use std::sync::Arc;
use streamgauge_core::load::{Arrivals, Load};
use streamgauge_core::plan::{PromptPlan, RunPlan, Target};
use streamgauge_prompt::hub::Hub;
use streamgauge_prompt::tokenizer::EMBEDDED;
use streamgauge_prompt::{Source, Tokenizer, resolve};
use streamgauge_sim::{Sim, SimConfig};
use streamgauge_wire::endpoints;
use triton::Triton;

/// Finds out what the plan of `spec` lacks, which is what all runs of a command share.
///
/// # Errors
/// When the server cannot be found or asked, or a file or a tokenizer cannot be read.
pub fn prepare(spec: &RunSpec, listener: &Arc<dyn Listener>) -> Result<Preparation> {
    let spec = &mut spec.clone();
    spec.notes.iter().for_each(|note| listener.note(&format!("note: {note}").into()));
    dataset::find(spec, listener).map_err(usage)?;
    let conversations = schedules::read(spec, listener).map_err(usage)?;
    let sim = start_sim(spec)?;
    let routes = find_routes(&spec.plan)?;
    let mut routes = if spec.sim { routes.served_here() } else { routes };
    if spec.plan.endpoint.models.is_empty() {
        let model = only_model(&mut spec.plan, &mut routes, listener)?;
        spec.plan.endpoint.models = vec![model];
    }
    let triton = match endpoints::spec(spec.plan.endpoint.kind).capabilities.describes_models {
        true => Some(Triton::ask(&mut spec.plan, &routes, &spec.observe, listener)?),
        false => None,
    };
    let tokenizer = tokenizer(spec, listener)?;
    let RunPlan { endpoint, prompts, load, .. } = spec.plan.clone();
    let arrivals = match load.mode {
        Load::Open { arrivals: arrivals @ (Arrivals::Intervals { .. } | Arrivals::Trace { .. }), .. } => Some(arrivals),
        _ => None,
    };
    Ok(Preparation {
        endpoint,
        prompts: PromptPlan { tokenizer: tokenizer.name().to_owned(), ..prompts },
        arrivals,
        routes,
        tokenizer,
        conversations,
        triton,
        given: None,
        memory: None,
        settled: None,
        delayed_acks: None,
        _sim: sim,
    })
}

/// A simulated server in this process, if one was asked for; the plan then goes there.
fn start_sim(spec: &mut RunSpec) -> Result<Option<Sim>> {
    if !spec.sim {
        return Ok(None);
    }
    let mut config = SimConfig::new(Tokenizer::embedded());
    config.log.keep = Some(0);
    if !spec.plan.endpoint.models.is_empty() {
        config.models = spec.plan.endpoint.models.clone();
    }
    // It counts with the embedded vocabulary, so that is its models' own tokenizer.
    spec.tokenizer.get_or_insert_with(|| EMBEDDED.to_owned());
    let sim = Sim::start(config, ([127, 0, 0, 1], 0).into()).context("the simulated server cannot start")?;
    spec.plan.endpoint.target = Target { tls: false, host: sim.addr().ip().to_string(), port: sim.addr().port() };
    Ok(Some(sim))
}

fn tokenizer(spec: &RunSpec, listener: &Arc<dyn Listener>) -> Result<Tokenizer> {
    let model = spec.plan.endpoint.models.first().map(String::as_str);
    let env = |name: &str| std::env::var(name).ok();
    let hub = Hub::new(&env, spec.may_download);
    let note = |text: &str| listener.note(&format!("note: {text}").into());
    let revision = &spec.plan.prompts.tokenizer_revision;
    let found = resolve(spec.tokenizer.as_deref(), model, revision, &hub, &env, &note).map_err(usage)?;
    match found.source {
        Source::Embedded { why: Some(why) } => {
            listener.note(&format!("note: tokens are counted with {}: {why}", found.tokenizer.name()).into());
        }
        _ => listener.detail(&format!("counting tokens with {}", found.tokenizer.name()).into()),
    }
    Ok(found.tokenizer)
}
