//! One run: its prompts, the test request, the load, and the files and figures that its records go into.

pub mod books;
mod counting;
mod feeding;
mod recorder;
pub mod refold;
mod rules;

use crate::error::usage;
use crate::execute::books::Books;
use crate::execute::counting::Counting;
use crate::execute::feeding::Feeding;
use crate::execute::recorder::{Histories, Recorder};
use crate::execute::rules::Rules;
use crate::listener::Listener;
use crate::observe::{self, Observers};
use crate::prepare::job::{Completing, job};
use crate::prepare::prefix_cache;
use crate::prepare::probe;
use crate::prepare::shared::Preparation;
use crate::spec::RunSpec;
use crate::stored::{PromptsSent, Recorded, StoredRun};
use anyhow::{Result, anyhow};
use serde_json::Value;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use streamgauge_core::clock::{Clock, SystemClock};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::prompt::Prompt;
use streamgauge_core::record::RunFacts;
use streamgauge_core::{EarlyEnd, Setting, message};
use streamgauge_load::{Control, Feeder, Job};
use streamgauge_prompt::synthesize;
use streamgauge_report::artifacts::{ArtifactError, Artifacts, RunDirectory};
use streamgauge_wire::Codec;

/// Batches of records on their way to the recorder. Few: a recorder that falls behind by more holds the load up, and the
/// report shows it, instead of filling the memory.
const BATCHES: usize = 32;

/// Makes the run that `spec` asks for, from its prompts to its files, which are in `directory`. `control` is called just before the test
/// request for the handle on the run's end. The plan that is run and stored is made when the test request has shown what it lacked.
///
/// # Errors
/// When the prompts or the files cannot be made, or the probe is not answered.
pub fn execute(
    spec: &RunSpec,
    directory: RunDirectory,
    shared: &mut Preparation,
    control: impl FnOnce(&RunPlan) -> Result<Control>,
    listener: &Arc<dyn Listener>,
) -> Result<StoredRun> {
    let clock = SystemClock::start();
    let asked = shared.plan(spec);
    let material = Material::of(&asked, shared)?;
    let mut artifacts = Artifacts::open(directory, &asked.output).map_err(|error| match error {
        ArtifactError::Name(_) => usage(message![Setting::ProfileExportFile, format!(": {error}")]),
        _ => error.into(),
    })?;
    let control = control(&asked)?;
    if asked.probe
        && shared.settled.is_none()
        && let Some(last) = material.last(shared).cloned()
    {
        match probe::settle(&asked, &last, shared, &control, clock, listener) {
            Ok(settled) => shared.settled = Some(settled),
            Err(error) => {
                artifacts.commit(0)?;
                return Err(error);
            }
        }
    }
    let (plan, shared) = (Arc::new(shared.plan(spec)), &*shared);
    if plan.reset_prefix_cache
        && let Err(error) = prefix_cache::reset(&plan, &shared.routes, listener)
    {
        artifacts.commit(0)?;
        return Err(error);
    }
    let mut books = Books::open(&plan, clock.anchor_wall(), &mut artifacts)?;
    let mut sent = PromptsSent::default();
    let mut list = |prompt: &Prompt, input: Value| {
        sent.add(prompt);
        books.input(&input);
    };
    let (job, feeders) = match material {
        Material::Given => {
            let given = shared.given.iter().flat_map(|given| &given.prompts);
            (job(plan, given, shared, clock, &mut list)?, Vec::new())
        }
        Material::Kept(prompts) => (job(plan, prompts, shared, clock, &mut list)?, Vec::new()),
        Material::Streamed(_) => streamed(plan, shared, clock)?,
    };
    let feeding = match feeders.is_empty() {
        true => {
            books.end_of_inputs();
            None
        }
        false => Some(Feeding::new(&job.plan, shared, books.take_inputs())),
    };
    listener.started(&job.plan);
    let feeds = feeding.as_ref().map(|feeding| (feeding, feeders));
    let (mut recorded, facts) = load(spec, job.clone(), control, books, shared, feeds, listener)?;
    // The part that was read before load had its own notes.
    let notes = feeding.iter().flat_map(Feeding::notes).filter(|note| !shared.conversations.notes().contains(note));
    notes.for_each(|note| listener.note(&message!["note: ", Setting::InputFile, ": ", note]));
    if let Some((prompts, error)) = feeding.map(|feeding| feeding.finish(&facts)) {
        sent = prompts;
        recorded.write_error = recorded.write_error.or(error.map(Into::into));
    }
    Ok(StoredRun::store(job.plan.clone(), sent, recorded, facts, artifacts, spec.keeps_files))
}

/// The prompts of a run before they are encoded.
enum Material {
    /// Prompts that the user gave.
    Given,
    /// All of these.
    Kept(Vec<Prompt>),
    /// Those of a source that is read while the load goes on, and the prompt for the test request, if there is one to make.
    Streamed(Option<Prompt>),
}

impl Material {
    fn of(plan: &RunPlan, shared: &Preparation) -> Result<Material> {
        if shared.given.is_some() {
            return Ok(Material::Given);
        }
        let conversations = &shared.conversations;
        if conversations.are_streamed(&plan.prompts) {
            let completing = Completing::of(plan, shared);
            let mut completer = completing.completer()?;
            let last = conversations.last().map(|last| completing.prompts(&mut completer, last)).transpose()?;
            return Ok(Material::Streamed(last.and_then(|mut prompts| prompts.pop())));
        }
        let RunPlan { endpoint, prompts, .. } = plan;
        let selection = endpoint.model_selection;
        let made = synthesize(prompts, conversations.kept(), &endpoint.models, selection, &shared.tokenizer);
        let prompts = made.map_err(usage)?;
        Ok(Material::Kept(match &shared.triton {
            Some(triton) => prompts.into_iter().map(|prompt| triton.complete(plan, prompt)).collect::<Result<_>>()?,
            None => prompts,
        }))
    }

    /// The prompt for the test request: the one that the load comes to last, or late, so that asking it first warms no cache that is
    /// measured.
    fn last<'a>(&'a self, shared: &'a Preparation) -> Option<&'a Prompt> {
        match self {
            Material::Given => shared.given.as_ref()?.prompts.last(),
            Material::Kept(prompts) => prompts.last(),
            Material::Streamed(prompt) => prompt.as_ref(),
        }
    }
}

/// The load threads' part of a run that prepares its requests while it goes on, and what they are fed by.
fn streamed(plan: Arc<RunPlan>, shared: &Preparation, clock: SystemClock) -> Result<(Arc<Job>, Vec<Feeder>)> {
    let codec = Codec::new(&plan.endpoint, plan.prompts.output_exact);
    let (job, feeders) = Job::streamed(plan, codec, shared.routes.clone(), clock)?;
    Ok((Arc::new(job), feeders))
}

/// Offers the load and takes the records in.
fn load(
    spec: &RunSpec,
    job: Arc<Job>,
    control: Control,
    books: Books<'_>,
    shared: &Preparation,
    feeds: Option<(&Feeding<'_>, Vec<Feeder>)>,
    listener: &Arc<dyn Listener>,
) -> Result<(Recorded, RunFacts)> {
    let rules = Rules::of(&job.plan, spec.lenience, listener.clone())?;
    let counting = Counting::new(shared.tokenizer.clone(), job.plan.measure.token_count);
    let recorder = Recorder {
        books,
        counting,
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
        // The recorder waits for the facts, so an error that leaves this scope has to drop their sender.
        let tell_facts = tell_facts;
        let recorder = std::thread::Builder::new()
            .name("recorder".into())
            .spawn_scoped(scope, move || recorder.run(incoming, facts))?;
        let _stop = StopFeeding(&job);
        let mut feeders = Vec::new();
        if let Some((feeding, unfed)) = feeds {
            for feeder in unfed {
                let thread = std::thread::Builder::new().name("prompts".into());
                feeders.push(thread.spawn_scoped(scope, move || feeding.feed(&feeder))?);
            }
        }
        job.wait_until_ready();
        let run = streamgauge_load::run(job.clone(), control, batches)?;
        let mut facts = run.finish(|progress| listener.progress(progress, job.clock.now()));
        listener.ended();
        job.stop_feeding();
        for feeder in feeders {
            let fed =
                feeder.join().map_err(|_| anyhow!("the preparation of prompts stopped by an error of this program"))?;
            // What comes after the end of a run that had prompts enough does not matter to it.
            if let Err(error) = fed
                && job.ran_out()
            {
                facts.ended_early.get_or_insert(EarlyEnd::Prompts { error: format!("{error:#}") });
            }
        }
        facts.delayed_acks = shared.delayed_acks;
        observers.finish(&mut facts, listener.as_ref())?;
        // The recorder waits for it.
        let _ = tell_facts.send(facts);
        recorder.join().map_err(|_| anyhow!("the recorder stopped by an error of this program"))
    })
}

/// Ends the preparation of requests when it is dropped, also where a run does not come about.
struct StopFeeding<'a>(&'a Job);

impl Drop for StopFeeding<'_> {
    fn drop(&mut self) {
        self.0.stop_feeding();
    }
}
