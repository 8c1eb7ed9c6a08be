//! Prepares requests while the load goes on: reads the next conversation of the source, completes and encodes it, and passes it to the load
//! threads, on a thread of its own for each phase of the run.

use crate::prepare::conversations::{Conversations, Reading};
use crate::prepare::job::{Completing, listed_input, turns};
use crate::prepare::shared::Preparation;
use crate::stored::PromptsSent;
use anyhow::{Result, bail};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use streamgauge_core::plan::{ExportLevel, PERF_ANALYZER, RunPlan};
use streamgauge_core::prompt::Prompt;
use streamgauge_core::record::RunFacts;
use streamgauge_load::Feeder;
use streamgauge_report::perf_analyzer::export::request_inputs;
use streamgauge_report::sinks::OpenSink;
use streamgauge_wire::Codec;

/// The source from which all phases of a run are fed.
pub struct Feeding<'a> {
    conversations: Conversations,
    completing: Completing<'a>,
    /// Whether requests carry what the export shows of them.
    is_exported: bool,
    listing: Mutex<Listing<'a>>,
}

/// The file of inputs, to which each input is added once, in the order of the source.
struct Listing<'a> {
    sink: Option<OpenSink<'a>>,
    /// The index of the next input.
    next: u32,
    prompts: PromptsSent,
    /// What the source says of what was read last.
    notes: Vec<String>,
    error: Option<io::Error>,
}

impl<'a> Feeding<'a> {
    /// Feeds a run of `plan`, and lists its inputs in `sink`.
    pub fn new(plan: &'a RunPlan, shared: &'a Preparation, sink: Option<OpenSink<'a>>) -> Feeding<'a> {
        let output = &plan.output;
        let is_exported =
            output.export != ExportLevel::Summary && output.record_formats.iter().any(|format| format == PERF_ANALYZER);
        let listing = Listing { sink, next: 0, prompts: PromptsSent::default(), notes: Vec::new(), error: None };
        let conversations = shared.conversations.clone();
        Feeding { conversations, completing: Completing::of(plan, shared), is_exported, listing: Mutex::new(listing) }
    }

    /// Feeds one phase, until no more is wanted. After the last conversation of the source the first one follows again.
    ///
    /// # Errors
    /// When the source cannot be read on, or a prompt cannot be made or sent.
    pub fn feed(&self, feeder: &Feeder) -> Result<()> {
        loop {
            feeder.rewind();
            let mut reading = self.conversations.begin(&self.completing.plan.prompts)?;
            let read = self.feed_round(feeder, &mut reading);
            self.listing().notes = reading.notes();
            if !read? {
                return Ok(());
            }
        }
    }

    /// Feeds all conversations of the source once. Returns false if no more are wanted.
    fn feed_round(&self, feeder: &Feeder, reading: &mut Reading) -> Result<bool> {
        // With the same chance in every round, so that each prompt comes again as it was.
        let mut completer = self.completing.completer()?;
        let mut index = 0;
        let locate = |error| self.conversations.located(error);
        while let Some(conversation) = reading.next_conversation().map_err(locate)? {
            let prompts = self.completing.prompts(&mut completer, &conversation)?;
            let listed: Vec<_> =
                prompts.iter().zip(index..).map(|(prompt, index)| self.list(feeder.codec(), prompt, index)).collect();
            index = index.saturating_add(u32::try_from(prompts.len()).unwrap_or(u32::MAX));
            let mut inputs = turns(feeder.codec(), &conversation, prompts, self.completing)?;
            inputs.iter_mut().zip(listed).for_each(|(input, listed)| input.listed = listed);
            if !feeder.offer(inputs) {
                return Ok(false);
            }
        }
        if index == 0 {
            bail!("there is no request in the source any more");
        }
        Ok(true)
    }

    /// Lists the prompt with this index, unless that was done. Returns what the export shows of it, if there is one.
    fn list(&self, codec: &Codec, prompt: &Prompt, index: u32) -> Option<Arc<str>> {
        let mut listing = self.listing();
        let is_new = listing.next == index;
        if !is_new && !self.is_exported {
            return None;
        }
        let input = listed_input(codec, prompt);
        if is_new {
            listing.next += 1;
            listing.prompts.add(prompt);
            let written = listing.sink.as_mut().map_or(Ok(()), |sink| sink.input(&input));
            if let Err(error) = written {
                listing.sink = None;
                listing.error = Some(error);
            }
        }
        drop(listing);
        self.is_exported.then(|| request_inputs(codec.spec().kind, &input).into())
    }

    fn listing(&self) -> MutexGuard<'_, Listing<'a>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What of the source is not followed, as far as it was read: sentences for people.
    pub fn notes(&self) -> Vec<String> {
        self.listing().notes.clone()
    }

    /// Completes the file of inputs. Returns what is known of the prompts, and the first failure to write the file.
    pub fn finish(self, facts: &RunFacts) -> (PromptsSent, Option<io::Error>) {
        let Listing { sink, prompts, error, .. } = self.listing.into_inner().unwrap_or_else(PoisonError::into_inner);
        let error = error.or_else(|| sink?.finish(facts).err());
        (prompts, error)
    }
}
