//! What the load threads need for a run.

use crate::error::usage;
use crate::prepare::shared::Preparation;
use crate::prepare::triton::Triton;
use anyhow::{Result, anyhow};
use serde_json::Value;
use std::borrow::Borrow;
use std::sync::Arc;
use streamgauge_core::clock::SystemClock;
use streamgauge_core::plan::{ConversationRules, HistorySource, PromptPlan, RunPlan};
use streamgauge_core::prompt::{Payload, Prompt};
use streamgauge_core::{Setting, message};
use streamgauge_load::{DialogueTurn, Input, Job};
use streamgauge_prompt::{Completer, Conversation, Tokenizer, sampling};
use streamgauge_report::genai::inputs;
use streamgauge_wire::{Codec, EncodeError, SharedPlace};

/// The load threads' part of a run whose requests are all prepared before load. `listed` is called for each prompt with what files show of
/// it. No prompt is kept once its request is encoded, but for those that follow-ups are made from.
///
/// # Errors
/// When a prompt cannot be sent to such an endpoint, or a header cannot be sent.
pub fn job<P: Borrow<Prompt>>(
    plan: Arc<RunPlan>,
    prompts: impl IntoIterator<Item = P>,
    shared: &Preparation,
    clock: SystemClock,
    mut listed: impl FnMut(&Prompt, Value),
) -> Result<Arc<Job>> {
    let codec = Codec::new(&plan.endpoint, plan.prompts.output_exact);
    let rules = plan.load.conversations.clone();
    let several = |conversation: &&Conversation| conversation.turns.len() > 1;
    let mut turns = shared.conversations.kept().iter().flat_map(|conversation| {
        let of = Some(conversation).filter(several);
        (0..conversation.turns.len()).map(move |turn| of.map(|conversation| (conversation, turn)))
    });
    let mut inputs = Vec::new();
    for (index, prompt) in prompts.into_iter().enumerate() {
        let prompt = prompt.borrow();
        listed(prompt, listed_input(&codec, prompt));
        let place = shared.memory.as_ref().and_then(|memory| memory.place(index));
        let mut input = input(&codec, prompt, place).map_err(usage)?;
        if let Some(Some((conversation, turn))) = turns.next() {
            input.dialogue = Some(dialogue(prompt.clone(), conversation, turn, &rules, &shared.tokenizer)?);
        }
        inputs.push(input);
    }
    let length = |conversation: &Conversation| u32::try_from(conversation.turns.len()).unwrap_or(u32::MAX);
    let lengths: Vec<u32> = match shared.given {
        Some(_) => Vec::new(),
        None => shared.conversations.kept().iter().map(length).collect(),
    };
    let streams = shared.given.as_ref().map(|given| given.streams.clone()).unwrap_or_default();
    let order = order(&plan, if lengths.is_empty() { inputs.len() } else { lengths.len() }, inputs.len());
    let job = Job::new(plan, codec, inputs, shared.routes.clone(), clock)?.in_streams(streams);
    Ok(Arc::new(match order {
        None => job.in_conversations(&lengths),
        Some(order) if lengths.is_empty() => job.in_order(order),
        Some(order) => {
            let firsts: Vec<u32> =
                lengths.iter().scan(0, |next, length| Some(std::mem::replace(next, *next + length))).collect();
            let turns = |index: &u32| firsts[*index as usize]..firsts[*index as usize] + lengths[*index as usize];
            let lengths: Vec<u32> = order.iter().map(|index| lengths[*index as usize]).collect();
            job.in_order(order.iter().flat_map(turns).collect()).in_conversations(&lengths)
        }
    }))
}

/// The order in which a run of `plan` holds `count` conversations with `turns` turns together that are in memory, if it is not their own. A
/// phase without a number of requests has as many places as an order may have.
fn order(plan: &RunPlan, count: usize, turns: usize) -> Option<Vec<u32>> {
    let wanted = plan.phases().iter().map(|phase| phase.requests.unwrap_or(u64::MAX)).max().unwrap_or(0);
    // A place of the order becomes the turns of its conversation.
    let wanted = wanted.min((sampling::MOST_PLACES / turns.div_ceil(count.max(1)).max(1)) as u64);
    let PromptPlan { sampling, seed, .. } = plan.prompts;
    sampling::order(sampling, seed, u32::try_from(count).ok()?, wanted)
}

/// The requests of a conversation, whose prompts are those, for a run that prepares them while it goes on.
///
/// # Errors
/// When a prompt cannot be sent to such an endpoint.
pub fn turns(
    codec: &Codec,
    conversation: &Conversation,
    prompts: Vec<Prompt>,
    completing: Completing<'_>,
) -> Result<Vec<Input>> {
    let has_several = prompts.len() > 1;
    let (rules, tokenizer) = (&completing.plan.load.conversations, completing.tokenizer);
    let turn = |(turn, prompt): (usize, Prompt)| {
        let input = input(codec, &prompt, None).map_err(usage)?;
        let dialogue = has_several.then(|| dialogue(prompt, conversation, turn, rules, tokenizer)).transpose()?;
        Ok(Input { dialogue, ..input })
    };
    prompts.into_iter().enumerate().map(turn).collect()
}

/// What later turns of a conversation need to know of turn number `turn`, which has that prompt.
///
/// # Errors
/// When recorded answers are to stand before later turns, and there is none to this one.
fn dialogue(
    prompt: Prompt,
    conversation: &Conversation,
    turn: usize,
    rules: &ConversationRules,
    tokenizer: &Tokenizer,
) -> Result<DialogueTurn> {
    let is_last = turn + 1 >= conversation.turns.len();
    let turn = &conversation.turns[turn];
    let answer = match (rules.history, &turn.answer) {
        (HistorySource::Server, _) => None,
        (HistorySource::Recorded, Some(answer)) => {
            let tokens = answer.texts().map(|text| tokenizer.count(text)).fold(0, u32::saturating_add);
            Some((answer.clone(), tokens))
        }
        (HistorySource::Recorded, None) if is_last => None,
        (HistorySource::Recorded, None) => {
            let name = conversation.id.as_deref().map(|id| format!(" {id}")).unwrap_or_default();
            return Err(usage(anyhow!(message![
                Setting::History,
                format!(" recorded: conversation{name} of "),
                Setting::InputFile,
                " has a turn without a recorded answer; give ",
                Setting::History,
                " server, which takes the server's own"
            ])));
        }
    };
    Ok(DialogueTurn { prompt, history: turn.history, delay: turn.delay, at: turn.at, answer })
}

/// What files show of a prompt.
pub fn listed_input(codec: &Codec, prompt: &Prompt) -> Value {
    match &prompt.payload {
        // What the user wrote stands as it is.
        Payload::Body(_) => codec.listed_input(prompt),
        _ => inputs::listed(codec.spec().kind, codec.listed_input(prompt)),
    }
}

/// What the prompts of a run are completed with.
#[derive(Clone, Copy)]
pub struct Completing<'a> {
    /// The plan of the run.
    pub plan: &'a RunPlan,
    /// Counts tokens.
    pub tokenizer: &'a Tokenizer,
    /// What a Triton server says of its model.
    pub triton: Option<&'a Triton>,
}

impl<'a> Completing<'a> {
    /// Completes the prompts of a run of `plan`.
    pub fn of(plan: &'a RunPlan, shared: &'a Preparation) -> Completing<'a> {
        Completing { plan, tokenizer: &shared.tokenizer, triton: shared.triton.as_ref() }
    }

    /// Completes the conversations of a run, from the first one on.
    ///
    /// # Errors
    /// When a length is no number, the prefixes cannot be made, or there is no model.
    pub fn completer(self) -> Result<Completer> {
        let RunPlan { prompts, endpoint, .. } = self.plan;
        Completer::new(prompts, &endpoint.models, endpoint.model_selection, self.tokenizer).map_err(usage)
    }

    /// The prompts of a conversation, as inputs of the model where it takes such.
    ///
    /// # Errors
    /// When a text cannot be made, or the model has no such inputs.
    pub fn prompts(self, completer: &mut Completer, conversation: &Conversation) -> Result<Vec<Prompt>> {
        let prompts = completer.complete(conversation).map_err(usage)?;
        match self.triton {
            Some(triton) => prompts.into_iter().map(|prompt| triton.complete(self.plan, prompt)).collect(),
            None => Ok(prompts),
        }
    }
}

fn input(codec: &Codec, prompt: &Prompt, place: Option<&SharedPlace>) -> Result<Input, EncodeError> {
    // A server takes the length for each text of a batch; a record is of them all.
    let texts = u32::try_from(prompt.texts().len()).unwrap_or(u32::MAX);
    let requested_output_tokens = prompt.requested_output_tokens.map(|tokens| tokens.saturating_mul(texts));
    let encoded = match place {
        Some(place) => codec.encode_shared(prompt, place)?,
        None => codec.encode(prompt)?,
    };
    let expected = prompt.payload.expected().to_vec();
    Ok(Input { encoded, expected, tokens: prompt.tokens, requested_output_tokens, dialogue: None, listed: None })
}
