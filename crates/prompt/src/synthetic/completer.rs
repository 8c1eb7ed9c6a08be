//! Completes conversations: what their source leaves open is drawn and made.

use super::blocks::{BlockWriter, Span};
use super::error::SynthesisError;
use super::lengths::{Lengths, Pairs};
use super::writer::Writer;
use crate::body;
use crate::limits::LONGEST;
use crate::sources::{Conversation, Turn};
use crate::tokenizer::Tokenizer;
use rand::RngExt;
use serde_json::{Map, Value};
use streamgauge_core::Prompt;
use streamgauge_core::plan::{Length, ModelSelection, PromptPlan};
use streamgauge_core::prompt::{Content, Message, Payload};
use streamgauge_core::seed::{RandomStream, Seed};
use streamgauge_core::setting::Setting;
use streamgauge_core::synthesis::Synthesis;

/// Makes prompts out of conversations, one conversation at a time.
///
/// A text of which the source gives no content has exactly as many tokens as drawn for it (a normal distribution cut to whole numbers, at
/// least 1) or as the source says, also after decoding and encoding again. With prefixes it is one of them, a space, and words; the whole
/// then has the prefix's tokens more. Each use of chance draws from a stream of its own, so that the same plan, models, tokenizer and
/// conversations give the same prompts. Its memory does not grow with the number of conversations.
pub struct Completer {
    tokenizer: Tokenizer,
    batch: u32,
    models: Vec<String>,
    selection: ModelSelection,
    lengths: Distributions,
    system: Option<Opening>,
    user_context_tokens: Option<u32>,
    token_ids: Option<String>,
    prefixes: Vec<String>,
    prefix_tokens: u32,
    writer: Writer,
    /// Made with the first text of blocks.
    blocks: Option<BlockWriter>,
    seed: Seed,
    streams: Streams,
    /// How many conversations were completed.
    completed: usize,
}

/// What lengths are drawn from.
pub(super) struct Distributions {
    input: Lengths,
    output: Option<Lengths>,
    /// Where there are pairs, they take the place of both.
    pairs: Pairs,
}

/// A text that stands before a conversation, and its tokens.
#[derive(Clone)]
struct Opening {
    text: String,
    tokens: u32,
}

/// The random streams, one for each use.
struct Streams {
    lengths: RandomStream,
    pairs: RandomStream,
    contexts: RandomStream,
    words: RandomStream,
    prefixes: RandomStream,
    models: RandomStream,
    outputs: RandomStream,
}

impl Completer {
    /// Completes for the models and the tokenizer of a run. The prefixes are made here.
    ///
    /// # Errors
    /// When a length is no number, no text of the prefixes' length exists, the prefixes are too much text, or `models` is empty.
    pub fn new(
        plan: &PromptPlan,
        models: &[String],
        selection: ModelSelection,
        tokenizer: &Tokenizer,
    ) -> Result<Completer, SynthesisError> {
        let lengths = check(plan, models)?;
        let Synthesis { system_tokens, user_context_tokens, token_ids, .. } = plan.synthesis.clone();
        let mut writer = Writer::new(tokenizer);
        let mut streams = Streams {
            lengths: plan.seed.stream("prompt lengths"),
            pairs: plan.seed.stream("length pairs"),
            contexts: plan.seed.stream("user contexts"),
            words: plan.seed.stream("prompt words"),
            prefixes: plan.seed.stream("prompt prefixes"),
            models: plan.seed.stream("prompt models"),
            outputs: plan.seed.stream("output lengths"),
        };
        let prefixes = prefixes(plan, tokenizer, &mut writer, &mut streams.prefixes)?;
        let system = match system_tokens {
            None => None,
            Some(tokens) => {
                let text = writer.new_text("", tokens, &mut plan.seed.stream("system prompt"));
                Some(Opening {
                    text: text.ok_or_else(|| {
                        SynthesisError::impossible(Setting::SharedSystemPromptLength, tokens, tokenizer)
                    })?,
                    tokens,
                })
            }
        };
        Ok(Completer {
            tokenizer: tokenizer.clone(),
            batch: plan.batch,
            models: models.to_vec(),
            selection,
            lengths,
            system,
            user_context_tokens,
            token_ids,
            prefixes,
            prefix_tokens: plan.prefix_tokens,
            writer,
            blocks: None,
            seed: plan.seed,
            streams,
            completed: 0,
        })
    }

    /// The prompts of the next conversation, one for each of its turns: of the turn's content, or of its lengths as far as it has them.
    ///
    /// # Errors
    /// When no text of a turn's length exists, its texts would be too long to be held in memory, or several turns would be sent as token
    /// ids.
    pub fn complete(&mut self, conversation: &Conversation) -> Result<Vec<Prompt>, SynthesisError> {
        let number = self.completed;
        self.completed += 1;
        if self.token_ids.is_some() && conversation.turns.len() > 1 {
            return Err(SynthesisError::IdsOfConversation);
        }
        let (mut chosen, mut prompts) = (None, Vec::with_capacity(conversation.turns.len()));
        for (index, turn) in (0..).zip(&conversation.turns) {
            let is_first = turn.history.parent(index).is_none();
            let pair = self.lengths.pairs.draw(&mut self.streams.pairs);
            let (mut content, mut tokens) = match (&turn.body, &turn.content) {
                (Some(body), _) => {
                    self.refuse_changes()?;
                    (Content::Texts(body::texts(body)), None)
                }
                (None, Some(content)) => (content.clone(), None),
                (None, None) if turn.blocks.is_some() => {
                    let (content, tokens) = self.of_blocks(turn)?;
                    (content, Some(tokens))
                }
                (None, None) => {
                    let input = pair.map_or(self.lengths.input, |(input, _)| input);
                    let (texts, tokens) = self.texts(turn, input, is_first)?;
                    (Content::Texts(texts), Some(tokens))
                }
            };
            if is_first {
                self.open(&mut content, &mut tokens)?;
            }
            // A conversation is held with one model.
            let model = *chosen.get_or_insert_with(|| match self.selection {
                ModelSelection::Random => self.streams.models.random_range(0..self.models.len()),
                ModelSelection::RoundRobin => number % self.models.len(),
            });
            let output = pair.map(|(_, output)| output).or(self.lengths.output);
            let drawn = || output.map(|lengths| lengths.draw(&mut self.streams.outputs));
            // A whole body says itself how long the answer may be.
            let requested_output_tokens = match &turn.body {
                Some(_) => turn.requested_output_tokens,
                None => turn.requested_output_tokens.or_else(drawn).or_else(|| self.answer_length(turn)),
            };
            let mut prompt = Prompt {
                content,
                tokens: 0,
                requested_output_tokens,
                model: turn.model.as_ref().unwrap_or(&self.models[model]).clone(),
                payload: match &turn.body {
                    Some(body) => Payload::Body(body.clone()),
                    None if turn.members.is_empty() => Payload::FromContent,
                    None => Payload::Members(turn.members.clone()),
                },
            };
            prompt.tokens = tokens.unwrap_or_else(|| {
                let of_ids = turn.body.as_ref().map_or(0, body::token_ids);
                prompt.texts().iter().map(|text| self.tokenizer.count(text)).fold(of_ids, u32::saturating_add)
            });
            if let Some(member) = &self.token_ids {
                prompt.tokens = as_token_ids(&mut prompt, member, &self.tokenizer);
            }
            prompts.push(prompt);
        }
        Ok(prompts)
    }

    /// The text of a turn that consists of blocks, and its tokens.
    fn of_blocks(&mut self, turn: &Turn) -> Result<(Content, u32), SynthesisError> {
        let blocks = turn.blocks.clone().unwrap_or_default();
        let all = blocks.ids.len() as u64 * u64::from(blocks.size);
        let all = u32::try_from(all.saturating_sub(blocks.skip.into())).unwrap_or(LONGEST);
        let tokens = turn.input_tokens.unwrap_or(all).clamp(1, LONGEST);
        let answer = blocks.answer_tokens.min(tokens);
        let writer = self.blocks.get_or_insert_with(|| BlockWriter::new(&self.tokenizer, self.seed));
        let mut text = |start, tokens| {
            let span = Span { start: u64::from(blocks.skip) + u64::from(start), tokens };
            let text = writer.text(&blocks, span, &mut self.streams.words);
            text.ok_or_else(|| SynthesisError::impossible(Setting::Isl, tokens, &self.tokenizer))
        };
        if answer == 0 {
            return Ok((Content::Texts(vec![text(0, tokens)?]), tokens));
        }
        let mut messages = vec![Message::text("assistant", text(0, answer)?)];
        if answer < tokens {
            messages.push(Message::text("user", text(answer, tokens - answer)?));
        }
        Ok((Content::Messages(messages), tokens))
    }

    /// The number of tokens of the recorded answer, if that is what the turn asks for where nobody asks for another length.
    fn answer_length(&self, turn: &Turn) -> Option<u32> {
        let answer = turn.answer.as_ref().filter(|_| turn.asks_for_answer_length)?;
        let tokens = answer.texts().map(|text| self.tokenizer.count(text)).fold(0, u32::saturating_add);
        Some(tokens.max(1))
    }

    /// Refuses what would change a whole body, which is sent as it is.
    fn refuse_changes(&self) -> Result<(), SynthesisError> {
        let changes = [
            (Setting::SharedSystemPromptLength, self.system.is_some()),
            (Setting::UserContextPromptLength, self.user_context_tokens.is_some()),
            (Setting::PromptAsTokenIds, self.token_ids.is_some()),
        ];
        match changes.into_iter().find(|(_, is_asked)| *is_asked) {
            Some((setting, _)) => Err(SynthesisError::WholeBody { setting }),
            None => Ok(()),
        }
    }

    /// Puts what all conversations begin with before the content of a turn without history.
    fn open(&mut self, content: &mut Content, tokens: &mut Option<u32>) -> Result<(), SynthesisError> {
        let context = match self.user_context_tokens {
            None => None,
            Some(tokens) => {
                let text = self.writer.new_text("", tokens, &mut self.streams.contexts);
                let text = text.ok_or_else(|| {
                    SynthesisError::impossible(Setting::UserContextPromptLength, tokens, &self.tokenizer)
                })?;
                Some(Opening { text, tokens })
            }
        };
        let openings = [("system", self.system.clone()), ("user", context)];
        let openings: Vec<_> = openings.into_iter().filter_map(|(role, opening)| Some((role, opening?))).collect();
        if openings.is_empty() {
            return Ok(());
        }
        if matches!(content, Content::Texts(texts) if texts.len() > 1) {
            let of_system = self.system.as_ref().map(|_| Setting::SharedSystemPromptLength);
            let setting = of_system.unwrap_or(Setting::UserContextPromptLength);
            return Err(SynthesisError::SeveralTexts { setting });
        }
        // What an opening has in tokens is known. A text that was given is counted by itself, as a server's template has it.
        let said = std::mem::replace(content, Content::Texts(Vec::new())).into_messages();
        let counted = || said.iter().flat_map(Message::texts).map(|text| self.tokenizer.count(text));
        let own = tokens.unwrap_or_else(|| counted().fold(0, u32::saturating_add));
        *tokens = Some(openings.iter().map(|(_, opening)| opening.tokens).fold(own, u32::saturating_add));
        let openings = openings.into_iter().map(|(role, opening)| Message::text(role, opening.text));
        *content = Content::Messages(openings.chain(said).collect());
        Ok(())
    }

    /// The texts of a turn without content, and their tokens together. Only a turn without history has a prefix.
    fn texts(&mut self, turn: &Turn, input: Lengths, is_first: bool) -> Result<(Vec<String>, u32), SynthesisError> {
        let (mut texts, mut all) = (Vec::new(), 0_u32);
        for number in 1..=u64::from(self.batch) {
            let (text, tokens) = self.text(turn.input_tokens, input, is_first)?;
            all = all.saturating_add(tokens);
            SynthesisError::check_text(&[Setting::Isl], number, all.into())?;
            texts.push(text);
        }
        Ok((texts, all))
    }

    /// A text whose length is drawn, or as long as `known` says, after one of the prefixes; and its tokens.
    fn text(&mut self, known: Option<u32>, input: Lengths, is_first: bool) -> Result<(String, u32), SynthesisError> {
        let own = known.unwrap_or_else(|| input.draw(&mut self.streams.lengths)).min(LONGEST);
        let (prefix, whole) = match self.prefixes.len() {
            n if n == 0 || !is_first => ("", own),
            n => (self.prefixes[self.streams.prefixes.random_range(0..n)].as_str(), self.prefix_tokens + own),
        };
        let text = self.writer.new_text(prefix, whole, &mut self.streams.words);
        Ok((text.ok_or_else(|| SynthesisError::impossible(Setting::Isl, own, &self.tokenizer))?, whole))
    }
}

/// Checks what is asked for before anything is made. Returns the distributions of the lengths.
pub(super) fn check(plan: &PromptPlan, models: &[String]) -> Result<Distributions, SynthesisError> {
    if models.is_empty() {
        return Err(SynthesisError::NoModel);
    }
    let input = Lengths::of(Setting::Isl, plan.input)?;
    let output = plan.output.map(|length| Lengths::of(Setting::Osl, length)).transpose()?;
    let Synthesis { pairs, input_range, output_range, system_tokens, user_context_tokens, .. } = &plan.synthesis;
    let pairs = Pairs::of(Setting::SeqDist, pairs)?;
    for (setting, tokens) in
        [(Setting::SharedSystemPromptLength, system_tokens), (Setting::UserContextPromptLength, user_context_tokens)]
    {
        Lengths::of(setting, Length { mean: tokens.map_or(0.0, f64::from), stddev: 0.0 })?;
    }
    Lengths::of(Setting::PrefixPromptLength, Length { mean: f64::from(plan.prefix_tokens), stddev: 0.0 })?;
    SynthesisError::check_text(
        &[Setting::NumPrefixPrompts, Setting::PrefixPromptLength],
        plan.prefixes.into(),
        u64::from(plan.prefixes) * u64::from(plan.prefix_tokens),
    )?;
    Ok(Distributions {
        input: input_range.map_or(input, Lengths::Range),
        output: output_range.map(Lengths::Range).or(output),
        pairs,
    })
}

/// Has `prompt` sent as the ids of its tokens, in the member `member` of its body: a list, or a list for each of several texts. Returns how
/// many ids there are.
fn as_token_ids(prompt: &mut Prompt, member: &str, tokenizer: &Tokenizer) -> u32 {
    let lists: Vec<Vec<u32>> = prompt.texts().iter().map(|text| tokenizer.encode(text)).collect();
    let tokens = lists.iter().map(|ids| u32::try_from(ids.len()).unwrap_or(u32::MAX)).fold(0, u32::saturating_add);
    let ids = match lists.len() {
        1 => lists.into_iter().flatten().map(Value::from).collect(),
        _ => lists.into_iter().map(Value::from).collect(),
    };
    let mut members = match std::mem::take(&mut prompt.payload) {
        Payload::Members(members) => members,
        _ => Map::new(),
    };
    members.insert(member.to_owned(), Value::Array(ids));
    prompt.payload = Payload::Members(members);
    tokens
}

/// The prefixes that prompts share, each of exactly `plan.prefix_tokens` tokens.
fn prefixes(
    plan: &PromptPlan,
    tokenizer: &Tokenizer,
    writer: &mut Writer,
    rng: &mut RandomStream,
) -> Result<Vec<String>, SynthesisError> {
    let tokens = plan.prefix_tokens;
    if tokens == 0 || plan.prefixes == 0 {
        return Ok(Vec::new());
    }
    let prefix = |_| {
        writer
            .new_text("", tokens, rng)
            .ok_or_else(|| SynthesisError::impossible(Setting::PrefixPromptLength, tokens, tokenizer))
    };
    (0..plan.prefixes).map(prefix).collect()
}
