//! What the flags that shape synthetic prompts mean.

use crate::args::{ProfileArgs, RangeRatio, SyntheticArgs};
use anyhow::{Result, bail};
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::{EndpointKind, Length};
use streamgauge_core::synthesis::{ConversationPlan, LengthPair, LengthRange, Spread, Synthesis};
use streamgauge_wire::endpoints::{self, EndpointSpec, spec};

/// The lengths of prompts and answers, and how prompts are made beyond these.
pub struct Shape {
    /// The input length. Of a range or of pairs it is the mean and the deviation of what is drawn.
    pub input: Length,
    /// The output length to ask for, likewise.
    pub output: Option<Length>,
    /// All else.
    pub synthesis: Synthesis,
}

/// What the flags mean for `kind` of endpoint. `count` is the number of conversations where nothing else says it.
///
/// # Errors
/// A sentence that names the flag which the endpoint, or another flag, does not go with.
pub fn shape(args: &ProfileArgs, kind: EndpointKind, count: u32) -> Result<Shape> {
    let flags = &args.synthetic;
    let input = Length { mean: args.isl, stddev: args.isl_stddev };
    let output = args.osl.map(|mean| Length { mean, stddev: args.osl_stddev.unwrap_or(0.0) });
    let about = |length: Length| flags.random_range_ratio.map(|ratio: RangeRatio| ratio.range(length.mean));
    let input_range = flags.isl_range.or_else(|| about(input));
    let output_range = flags.osl_range.or_else(|| output.and_then(about));
    let pairs = flags.seq_dist.clone().map(|pairs| pairs.0).unwrap_or_default();
    let conversations = conversations(flags, count);
    refuse(args, conversations.is_some())?;
    let synthesis = Synthesis {
        input_range,
        output_range,
        system_tokens: flags.shared_system_prompt_length,
        user_context_tokens: flags.user_context_prompt_length,
        token_ids: token_ids(flags, kind, conversations.is_some())?,
        conversations,
        pairs,
    };
    let pairs = &synthesis.pairs;
    let (input, output) = match pairs.is_empty() {
        true => (input_range.map_or(input, LengthRange::length), output_range.map(LengthRange::length).or(output)),
        false => (LengthPair::mixed(pairs, |pair| pair.input), Some(LengthPair::mixed(pairs, |pair| pair.output))),
    };
    Ok(Shape { input, output, synthesis })
}

/// The conversations that are asked for, if any are.
fn conversations(flags: &SyntheticArgs, count: u32) -> Option<ConversationPlan> {
    let millis = |time: Option<Nanos>| time.unwrap_or_default().as_millis_f64();
    let delays = [flags.conversation_turn_delay_mean, flags.conversation_turn_delay_stddev];
    let turns = [flags.conversation_turn_mean, flags.conversation_turn_stddev];
    let is_asked =
        flags.conversation_num.is_some() || turns.iter().any(Option::is_some) || delays.iter().any(Option::is_some);
    is_asked.then(|| ConversationPlan {
        count: flags.conversation_num.unwrap_or(count),
        turns: Spread { mean: turns[0].unwrap_or(1.0), stddev: turns[1].unwrap_or(0.0) },
        delay_ms: Spread { mean: millis(delays[0]), stddev: millis(delays[1]) },
        delay_ratio: flags.conversation_turn_delay_ratio.unwrap_or(1.0),
    })
}

fn refuse(args: &ProfileArgs, has_conversations: bool) -> Result<()> {
    let flags = &args.synthetic;
    let of_one_text = [
        ("--shared-system-prompt-length", flags.shared_system_prompt_length.is_some()),
        ("--user-context-prompt-length", flags.user_context_prompt_length.is_some()),
        ("--conversation-num", has_conversations),
    ];
    if let Some((flag, _)) = of_one_text.into_iter().find(|(_, is_given)| *is_given && args.batch_size > 1) {
        bail!("{flag}: a conversation sends one text a request; give --batch-size 1");
    }
    if flags.conversation_turn_delay_ratio.is_some() && !has_conversations {
        bail!(
            "--conversation-turn-delay-ratio: there is no time between turns; give --conversation-turn-delay-mean too"
        );
    }
    Ok(())
}

/// The member of a body that holds token ids, where these are asked for.
fn token_ids(flags: &SyntheticArgs, kind: EndpointKind, has_conversations: bool) -> Result<Option<String>> {
    if !flags.prompt_as_token_ids {
        return Ok(None);
    }
    if has_conversations {
        bail!(
            "--prompt-as-token-ids: the later turns of a conversation are made from answers, which are text; leave it out"
        );
    }
    let Some(member) = spec(kind).capabilities.token_ids else {
        let others: Vec<_> =
            endpoints::all().filter(|spec| spec.capabilities.token_ids.is_some()).map(EndpointSpec::name).collect();
        bail!("--prompt-as-token-ids: {} takes text; give --endpoint-type {}", kind.name(), others.join(" or "));
    };
    Ok(Some(member.to_owned()))
}
