//! One run: its prompts, the test request, the load, and the files and figures that its records go into.

pub mod books;
mod recorder;
pub mod refold;
mod rules;

use crate::error::usage;
use crate::execute::books::Books;
use crate::execute::recorder::{Histories, Recorder};
use crate::execute::rules::Rules;
use crate::listener::Listener;
use crate::observe::{self, Observers};
use crate::prepare::job::job;
use crate::prepare::probe;
use crate::prepare::settled::Settled;
use crate::prepare::shared::Preparation;
use crate::spec::RunSpec;
use crate::stored::Recorded;
use crate::stored::StoredRun;
use anyhow::{Result, anyhow};
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use streamgauge_core::clock::{Clock, SystemClock};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::prompt::Prompt;
use streamgauge_core::record::RunFacts;
use streamgauge_load::{Control, Job};
use streamgauge_prompt::synthesize;
use streamgauge_report::artifacts::{ArtifactError, Artifacts, RunDirectory};

/// Batches of records on their way to the recorder. Few: a recorder that falls behind by more holds the load up, and the
/// report shows it, instead of filling the memory.
const BATCHES: usize = 32;

/// Runs `plan`, from its prompts to its files, which are in `directory`. `control` is called just before the test request for the
/// handle on the run's end.
///
/// # Errors
/// When the prompts or the files cannot be made, or the probe is not answered.
pub fn execute(
    mut plan: RunPlan,
    directory: RunDirectory,
    spec: &RunSpec,
    shared: &mut Preparation,
    control: impl FnOnce(&RunPlan) -> Result<Control>,
    listener: &Arc<dyn Listener>,
) -> Result<StoredRun> {
    let clock = SystemClock::start();
    if let Some(settled) = &shared.probed {
        settled.apply(&mut plan.endpoint);
    }
    let prompts = prompts(&plan, shared)?;
    let mut artifacts = Artifacts::open(directory, &plan.output).map_err(|error| match error {
        ArtifactError::Name(_) => usage(anyhow!("--profile-export-file: {error}")),
        _ => error.into(),
    })?;
    let control = control(&plan)?;
    if plan.probe
        && shared.probed.is_none()
        && let Err(error) = probe::settle(&mut plan, &prompts, spec, shared, &control, clock, listener)
    {
        artifacts.commit(0)?;
        return Err(error);
    }
    shared.probed = Some(Settled::of(&plan.endpoint));
    let (job, bodies) = job(Arc::new(plan), &prompts, shared, clock)?;
    let books = Books::open(&job.plan, &bodies, clock.anchor_wall(), &mut artifacts)?;
    listener.started(&job.plan);
    let (recorded, facts) = load(spec, job.clone(), control, books, shared, listener)?;
    Ok(StoredRun::store(job.plan.clone(), prompts, recorded, facts, artifacts, spec.keeps_files))
}

/// The prompts of a run: those that the user gave, or synthetic ones, as inputs of the model where it takes such.
fn prompts(plan: &RunPlan, shared: &Preparation) -> Result<Vec<Prompt>> {
    if let Some(given) = &shared.given {
        return Ok(given.prompts.clone());
    }
    let endpoint = &plan.endpoint;
    let prompts =
        synthesize(&plan.prompts, &shared.conversations, &endpoint.models, endpoint.model_selection, &shared.tokenizer)
            .map_err(usage)?;
    match &shared.triton {
        Some(triton) => prompts.into_iter().map(|prompt| triton.complete(plan, prompt)).collect(),
        None => Ok(prompts),
    }
}

/// Offers the load and takes the records in.
fn load(
    spec: &RunSpec,
    job: Arc<Job>,
    control: Control,
    books: Books<'_>,
    shared: &Preparation,
    listener: &Arc<dyn Listener>,
) -> Result<(Recorded, RunFacts)> {
    let rules = Rules::of(&job.plan, spec.lenience, listener.clone())?;
    let tokenizer = shared.tokenizer.clone();
    let recorder = Recorder {
        books,
        tokenizer,
        clock: job.clock,
        rules,
        control: control.clone(),
        histories: Histories::default(),
    };
    let observers = Observers::start(&observe::Context {
        plan: &job.plan,
        asked: &spec.observe,
        triton: shared.triton.as_ref(),
        routes: &shared.routes,
        clock: job.clock,
        control: control.clone(),
    })?;
    let (batches, incoming) = sync_channel(BATCHES);
    let (tell_facts, facts) = channel();
    std::thread::scope(|scope| {
        let recorder = std::thread::Builder::new()
            .name("recorder".into())
            .spawn_scoped(scope, move || recorder.run(incoming, facts))?;
        let run = streamgauge_load::run(job.clone(), control, batches)?;
        let mut facts = run.finish(|progress| listener.progress(progress, job.clock.now()));
        listener.ended();
        facts.delayed_acks = shared.delayed_acks;
        observers.finish(&mut facts, listener.as_ref())?;
        // The recorder waits for it.
        let _ = tell_facts.send(facts);
        recorder.join().map_err(|_| anyhow!("the recorder stopped by an error of this program"))
    })
}
