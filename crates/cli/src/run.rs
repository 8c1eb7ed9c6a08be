//! One run: its prompts, the probe, load, and the books that its records are entered in.

use crate::books::{Books, Recorded};
use crate::commands::usage;
use crate::observer::Observer;
use crate::plan_words;
use crate::preparation::Preparation;
use crate::printer::Printer;
use crate::probe::{self, Settled};
use crate::progress::Bar;
use crate::recorder::Recorder;
use crate::rules::Rules;
use crate::settings::Settings;
use anyhow::{Context, Result, anyhow};
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use streamgauge_core::clock::{Clock, SystemClock};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::prompt::{Payload, Prompt};
use streamgauge_core::record::RunFacts;
use streamgauge_load::{Control, Input, Job};
use streamgauge_prompt::synthesize;
use streamgauge_report::artifacts::{ArtifactError, Artifacts, RunDirectory};
use streamgauge_report::genai::inputs;
use streamgauge_wire::{Codec, EncodeError, SharedPlace};

/// Batches of records on their way to the recorder. Few: a recorder that falls behind by more holds the load up, and the
/// report shows it, instead of filling the memory.
const BATCHES: usize = 32;

/// A run that is over, and its open files.
pub struct Measured {
    /// The plan, nothing missing.
    pub plan: Arc<RunPlan>,
    /// The prompts, each once.
    pub prompts: Vec<Prompt>,
    /// What the records came to.
    pub recorded: Recorded,
    /// What belongs to no single request.
    pub facts: RunFacts,
    /// The open files.
    pub artifacts: Artifacts,
}

/// Runs `plan`, from its prompts to the end of its records, whose files are in `directory`. `control` is called just before the
/// probe, for the handle on the run's end: until then a signal ends the process.
///
/// # Errors
/// When the prompts or the files cannot be made, or the probe is not answered.
pub fn measure(
    mut plan: RunPlan,
    directory: RunDirectory,
    settings: &Settings,
    shared: &mut Preparation,
    control: impl FnOnce(&RunPlan) -> Result<Control>,
    printer: &Printer,
) -> Result<Measured> {
    let clock = SystemClock::start();
    if let Some(settled) = &shared.probed {
        settled.apply(&mut plan.endpoint);
    }
    let prompts = prompts(&plan, shared)?;
    let mut artifacts = Artifacts::open(directory, &plan.export_file, plan.export).map_err(|error| match error {
        ArtifactError::Name(_) => usage(anyhow!("--profile-export-file: {error}")),
        _ => error.into(),
    })?;
    let control = control(&plan)?;
    if plan.probe
        && shared.probed.is_none()
        && let Err(error) = probe::settle(&mut plan, &prompts, settings, shared, &control, clock, printer)
    {
        artifacts.commit(0)?;
        return Err(error);
    }
    shared.probed = Some(Settled::of(&plan.endpoint));
    let (job, bodies) = prepare(Arc::new(plan), &prompts, shared, clock)?;
    // Handed over at once: records that outlive a kill are of no use without their prompts.
    if let Some(inputs) = &mut artifacts.inputs {
        inputs::write(&mut *inputs, job.plan.endpoint.kind, &bodies)
            .and_then(|()| inputs.flush())
            .context("inputs.json cannot be written")?;
    }
    if settings.verbose {
        printer.lines(&plan_words::told(&job.plan));
    }
    let (recorded, facts) = load(settings, job.clone(), control, &bodies, shared, &mut artifacts, printer)?;
    Ok(Measured { plan: job.plan.clone(), prompts, recorded, facts, artifacts })
}

/// The prompts of a run: those that the user gave, or synthetic ones, as inputs of the model where it takes such.
fn prompts(plan: &RunPlan, shared: &Preparation) -> Result<Vec<Prompt>> {
    if let Some(given) = &shared.given {
        return Ok(given.prompts.clone());
    }
    let endpoint = &plan.endpoint;
    let prompts =
        synthesize(&plan.prompts, &shared.rows, &endpoint.models, endpoint.model_selection, &shared.tokenizer)
            .map_err(usage)?;
    match &shared.triton {
        Some(triton) => prompts.into_iter().map(|prompt| triton.complete(plan, prompt)).collect(),
        None => Ok(prompts),
    }
}

/// Everything the load threads need, and what requests say as it goes into the files.
///
/// # Errors
/// When a prompt cannot be sent to such an endpoint, or a header cannot be sent.
pub fn prepare(
    plan: Arc<RunPlan>,
    prompts: &[Prompt],
    shared: &Preparation,
    clock: SystemClock,
) -> Result<(Arc<Job>, Vec<serde_json::Value>)> {
    let codec = Codec::new(&plan.endpoint, plan.prompts.output_exact);
    let kind = plan.endpoint.kind;
    let bodies: Vec<_> = prompts
        .iter()
        .map(|prompt| match &prompt.payload {
            // What the user wrote stands as it is.
            Payload::Body(_) => codec.shown(prompt),
            _ => inputs::listed(kind, codec.shown(prompt)),
        })
        .collect();
    let place = |index| shared.memory.as_ref().and_then(|memory| memory.place(index));
    let inputs = prompts.iter().enumerate().map(|(index, prompt)| input(&codec, prompt, place(index)));
    let inputs = inputs.collect::<Result<_, _>>().map_err(usage)?;
    let streams = shared.given.as_ref().map(|given| given.streams.clone()).unwrap_or_default();
    let job = Job::new(plan, codec, inputs, shared.routes.clone(), clock)?.in_streams(streams);
    Ok((Arc::new(job), bodies))
}

fn input(codec: &Codec, prompt: &Prompt, place: Option<&SharedPlace>) -> Result<Input, EncodeError> {
    // A server takes the length for each text of a batch; a record is of them all.
    let texts = u32::try_from(prompt.texts().len()).unwrap_or(u32::MAX);
    let requested_output_tokens = prompt.requested_output_tokens.map(|tokens| tokens.saturating_mul(texts));
    let encoded = match place {
        Some(place) => codec.encode_shared(prompt, place)?,
        None => codec.encode(prompt)?,
    };
    Ok(Input { encoded, expected: prompt.payload.expected().to_vec(), tokens: prompt.tokens, requested_output_tokens })
}

/// Offers the load and takes the records in.
fn load(
    settings: &Settings,
    job: Arc<Job>,
    control: Control,
    bodies: &[serde_json::Value],
    shared: &Preparation,
    artifacts: &mut Artifacts,
    printer: &Printer,
) -> Result<(Recorded, RunFacts)> {
    let books = Books::open(&job.plan, bodies, job.clock.anchor_wall(), artifacts)?;
    let rules = Rules::of(&job.plan, &settings.watch)?;
    let tokenizer = shared.tokenizer.clone();
    let recorder = Recorder { books, tokenizer, clock: job.clock, rules, control: control.clone() };
    let observer = match &shared.triton {
        Some(triton) if triton.is_watched() => {
            Some(Observer::start(&job.plan, triton, &shared.routes, job.clock, control.clone())?)
        }
        _ => None,
    };
    let (batches, incoming) = sync_channel(BATCHES);
    let (tell_facts, facts) = channel();
    std::thread::scope(|scope| {
        let recorder = std::thread::Builder::new()
            .name("recorder".into())
            .spawn_scoped(scope, move || recorder.run(incoming, facts))?;
        let bar = Bar::new(job.plan.stop.clone(), settings.bar.unwrap_or(printer.is_terminal()));
        let run = streamgauge_load::run(job.clone(), control, batches)?;
        let mut facts = run.finish(|progress| bar.show(progress, job.clock.now()));
        bar.clear();
        facts.delayed_acks = shared.delayed_acks;
        facts.server = observer.map(|observer| observer.finish(printer)).transpose()?;
        // The recorder waits for it.
        let _ = tell_facts.send(facts);
        recorder.join().map_err(|_| anyhow!("the recorder stopped by an error of this program"))
    })
}
