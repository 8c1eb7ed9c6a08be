//! What the load threads need for a run.

use crate::error::usage;
use crate::prepare::shared::Preparation;
use anyhow::Result;
use std::sync::Arc;
use streamgauge_core::clock::SystemClock;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::prompt::{Payload, Prompt};
use streamgauge_load::{DialogueTurn, Input, Job};
use streamgauge_report::genai::inputs;
use streamgauge_wire::{Codec, EncodeError, SharedPlace};

/// Everything the load threads need, and what requests say as it goes into the files.
///
/// # Errors
/// When a prompt cannot be sent to such an endpoint, or a header cannot be sent.
pub fn job(
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
            Payload::Body(_) => codec.listed_input(prompt),
            _ => inputs::listed(kind, codec.listed_input(prompt)),
        })
        .collect();
    let place = |index| shared.memory.as_ref().and_then(|memory| memory.place(index));
    let inputs = prompts.iter().enumerate().map(|(index, prompt)| input(&codec, prompt, place(index)));
    let mut inputs = inputs.collect::<Result<Vec<_>, _>>().map_err(usage)?;
    let turns = conversations(&mut inputs, prompts, shared);
    let streams = shared.given.as_ref().map(|given| given.streams.clone()).unwrap_or_default();
    let job = Job::new(plan, codec, inputs, shared.routes.clone(), clock)?.in_streams(streams).in_conversations(&turns);
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
    let expected = prompt.payload.expected().to_vec();
    Ok(Input { encoded, expected, tokens: prompt.tokens, requested_output_tokens, dialogue: None })
}

/// Notes in the inputs that are turns of a conversation with several turns what later turns need to know of them. Returns the number of turns
/// of each conversation.
fn conversations(inputs: &mut [Input], prompts: &[Prompt], shared: &Preparation) -> Vec<u32> {
    let mut inputs = inputs.iter_mut().zip(prompts);
    let mut lengths = Vec::new();
    for conversation in &shared.conversations {
        lengths.push(u32::try_from(conversation.turns.len()).unwrap_or(u32::MAX));
        for (turn, (input, prompt)) in conversation.turns.iter().zip(inputs.by_ref()) {
            if conversation.turns.len() > 1 {
                input.dialogue =
                    Some(DialogueTurn { prompt: prompt.clone(), history: turn.history, delay: turn.delay });
            }
        }
    }
    lengths
}
