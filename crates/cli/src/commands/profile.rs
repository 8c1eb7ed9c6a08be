//! `profile`: find out what is missing, prepare everything, probe, load, report.

use crate::books::{Books, Recorded};
use crate::commands::Usage;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::progress::Bar;
use crate::recorder::Recorder;
use crate::results::Results;
use crate::schedules;
use crate::settings::Settings;
use crate::signals;
use anyhow::{Context, Error, Result, anyhow, bail};
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::plan::{RunPlan, Target};
use streamgauge_core::prompt::Prompt;
use streamgauge_core::record::{FailureClass, Outcome, RunFacts, Stage};
use streamgauge_load::{Control, Input, Job, ProbeError, Route, fetch, probe};
use streamgauge_prompt::tokenizer::EMBEDDED;
use streamgauge_prompt::{Source, Tokenizer, resolve, synthesize};
use streamgauge_report::artifacts::{ArtifactError, Artifacts, directory_name};
use streamgauge_report::inputs_json;
use streamgauge_sim::{Sim, SimConfig};
use streamgauge_stats::Summary;
use streamgauge_wire::{Codec, model_ids};

/// Batches of records on their way to the recorder. Few: a recorder that falls behind by more holds the load up, and the
/// report shows it, instead of filling the memory.
const BATCHES: usize = 32;
/// How long the list of models may take.
const MODELS_LIMIT: Nanos = Nanos::from_millis(10_000);

/// Profiles an endpoint.
pub fn run(mut settings: Settings, printer: &Printer) -> Result<Exit> {
    let clock = SystemClock::start();
    settings.notes.iter().for_each(|note| printer.note(&format!("note: {note}")));
    let sim = start_sim(&mut settings)?;
    let route = Route::find(&settings.plan.endpoint, settings.plan.stamps).map_err(|failure| match failure.stage {
        // Nothing has been asked of the server yet: the certificates that were named cannot be used.
        Stage::Tls => usage(anyhow!(failure.message)),
        _ => anyhow!("{}: {failure}", settings.plan.endpoint.target),
    })?;
    if settings.plan.endpoint.models.is_empty() {
        settings.plan.endpoint.models = vec![only_model(&settings.plan, &route, clock)?];
    }
    let rows = schedules::read(&mut settings, printer).map_err(usage)?;
    let tokenizer = tokenizer(&settings, printer)?;
    let mut plan = settings.plan.clone();
    plan.prompts.tokenizer = tokenizer.name().to_owned();
    plan.artifacts = plan.artifacts.join(directory_name(&plan));

    let endpoint = &plan.endpoint;
    let prompts =
        synthesize(&plan.prompts, &rows, &endpoint.models, endpoint.model_selection, &tokenizer).map_err(usage)?;
    let mut artifacts =
        Artifacts::open(&plan.artifacts, &plan.export_file, plan.export).map_err(|error| match error {
            ArtifactError::Name(_) => usage(anyhow!("--profile-export-file: {error}")),
            _ => error.into(),
        })?;
    streamgauge_load::raise_descriptor_limit(plan.load.most().unwrap_or(1)).map_err(usage)?;
    if plan.probe
        && let Err(error) = settle_probe(&mut plan, &prompts, &route, clock, printer)
    {
        artifacts.commit(0)?;
        return Err(error);
    }
    let (job, bodies) = prepare(Arc::new(plan), &prompts, route, clock)?;
    // Handed over at once: records that outlive a kill are of no use without their prompts.
    if let Some(inputs) = &mut artifacts.inputs {
        inputs_json::write(&mut *inputs, &bodies)
            .and_then(|()| inputs.flush())
            .context("inputs.json cannot be written")?;
    }
    if settings.verbose {
        say_plan(&job.plan, printer);
    }
    let (recorded, facts) = load(&settings, job.clone(), &bodies, tokenizer, &mut artifacts, printer)?;
    drop(sim);
    report(&settings, &job.plan, recorded, &facts, artifacts, printer)
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

fn only_model(plan: &RunPlan, route: &Route, clock: SystemClock) -> Result<String> {
    let target = &plan.endpoint.target;
    let prefix = plan.endpoint.path.split("/v1/").next().filter(|prefix| *prefix != plan.endpoint.path);
    let path = format!("{}/v1/models", prefix.unwrap_or_default());
    let limit = MODELS_LIMIT.min(plan.timeouts.total);
    let (status, body) =
        fetch(&plan.endpoint, route, clock, &path, limit).map_err(|error| unanswered(target, error))?;
    let hint = "name the model with --model";
    if status != 200 {
        let message = streamgauge_wire::server_message(&body).unwrap_or_default();
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

/// Everything the load threads need, and the bodies as they go into the files.
fn prepare(
    plan: Arc<RunPlan>,
    prompts: &[Prompt],
    route: Route,
    clock: SystemClock,
) -> Result<(Arc<Job>, Vec<serde_json::Value>)> {
    let codec = Codec::new(&plan.endpoint, plan.prompts.output_exact);
    let bodies: Vec<_> = prompts.iter().map(|prompt| codec.body(prompt)).collect();
    let inputs = prompts.iter().zip(&bodies).map(|(prompt, body)| input(prompt, body)).collect();
    Ok((Arc::new(Job::new(plan, codec, inputs, route, clock)?), bodies))
}

fn input(prompt: &Prompt, body: &serde_json::Value) -> Input {
    // A server takes the length for each text of a batch; a record is of them all.
    let texts = u32::try_from(prompt.texts.len()).unwrap_or(u32::MAX);
    let want_out = prompt.want_out.map(|tokens| tokens.saturating_mul(texts));
    Input { body: body.to_string().into(), tokens: prompt.tokens, want_out }
}

/// One request ahead of the load, in no figure: a server that does not answer it ends the run here, with its own message.
/// One that does not know `stream_options` is asked again without.
fn settle_probe(
    plan: &mut RunPlan,
    prompts: &[Prompt],
    route: &Route,
    clock: SystemClock,
    printer: &Printer,
) -> Result<()> {
    // The prompt that the load comes to last: asking it first warms no cache that is measured.
    let Some(last) = prompts.last() else { return Ok(()) };
    loop {
        // A short answer is proof enough.
        let prompt = Prompt { want_out: last.want_out.map(|_| 1), ..last.clone() };
        let (job, _) = prepare(Arc::new(plan.clone()), &[prompt], route.clone(), clock)?;
        let Outcome::Failed(failure) = probe(job)?.record.outcome else { return Ok(()) };
        let target = &plan.endpoint.target;
        if plan.endpoint.ask_usage
            && failure.class == FailureClass::Status
            && streamgauge_wire::names_field(failure.message.as_bytes(), "stream_options")
        {
            printer.note("note: the server does not know `stream_options`: it is left out, so its own token counts may be missing");
            plan.endpoint.ask_usage = false;
            continue;
        }
        // An answer without output is still an answer: the load will show whether that is the rule.
        if failure.class == FailureClass::Empty {
            return Ok(());
        }
        bail!("the probe of {target}{} failed: {failure} (--no-probe skips it)", plan.endpoint.path);
    }
}

fn say_plan(plan: &RunPlan, printer: &Printer) {
    let stop = match (plan.stop.requests, plan.stop.duration) {
        (Some(requests), Some(duration)) => format!("{requests} requests or {} s", duration.as_secs_f64()),
        (Some(requests), None) => format!("{requests} requests"),
        (None, duration) => format!("{} s", duration.unwrap_or_default().as_secs_f64()),
    };
    printer.note(&format!(
        "profiling {}{} with {} at {} on {} load thread(s), until {stop}, {} warm-up request(s) before",
        plan.endpoint.target,
        plan.endpoint.path,
        plan.endpoint.models.join(", "),
        plan.load,
        plan.threads,
        plan.warmup.as_ref().and_then(|warmup| warmup.requests).unwrap_or(0),
    ));
}

/// Offers the load and takes the records in.
fn load(
    settings: &Settings,
    job: Arc<Job>,
    bodies: &[serde_json::Value],
    tokenizer: Tokenizer,
    artifacts: &mut Artifacts,
    printer: &Printer,
) -> Result<(Recorded, RunFacts)> {
    let control = Control::default();
    let (grace, speaker) = (job.plan.stop.grace.as_secs_f64(), *printer);
    signals::watch(control.clone(), move || {
        speaker.note(&format!("interrupted: waiting up to {grace} s for requests in flight (again to end now)"));
    })
    .context("signals cannot be watched")?;
    let books = Books::open(&job.plan, bodies, job.clock.anchor_wall(), artifacts)?;
    let recorder = Recorder { books, tokenizer, clock: job.clock };
    let (batches, incoming) = sync_channel(BATCHES);
    let (tell_facts, facts) = channel();
    std::thread::scope(|scope| {
        let recorder = std::thread::Builder::new()
            .name("recorder".into())
            .spawn_scoped(scope, move || recorder.run(incoming, facts))?;
        let bar = Bar::new(job.plan.stop.clone(), settings.bar.unwrap_or(printer.is_terminal()));
        let run = streamgauge_load::run(job.clone(), control, batches)?;
        let facts = run.finish(|progress| bar.show(progress, job.clock.now()));
        bar.clear();
        // The recorder waits for it.
        let _ = tell_facts.send(facts.clone());
        let recorded = recorder.join().map_err(|_| anyhow!("the recorder stopped by an error of this program"))?;
        Ok((recorded, facts))
    })
}

/// Writes the summaries, says everything, and decides how the process ends.
fn report(
    settings: &Settings,
    plan: &RunPlan,
    recorded: Recorded,
    facts: &RunFacts,
    artifacts: Artifacts,
    printer: &Printer,
) -> Result<Exit> {
    let exit = exit(settings, &recorded.summary, facts);
    let results = Results { style: settings.style, plan, facts, recorded, artifacts, dir: &plan.artifacts };
    Ok(if results.publish(printer)? { exit } else { Exit::Nothing })
}

fn exit(settings: &Settings, summary: &Summary, facts: &RunFacts) -> Exit {
    if facts.interrupted {
        Exit::Interrupted
    } else if summary.counts.ok == 0 || facts.ended_early.is_some() {
        Exit::Nothing
    } else if settings.require_fidelity.is_some_and(|wanted| summary.fidelity.verdict > wanted) {
        Exit::Gate
    } else {
        Exit::Done
    }
}

fn usage(error: impl Into<Error>) -> Error {
    Usage(error.into()).into()
}
