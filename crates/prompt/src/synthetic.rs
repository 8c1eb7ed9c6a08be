//! Synthetic prompts: English words, drawn by seed, whose number of tokens is exactly what was asked for.
//!
//! Words are laid down by their known costs, then the whole text is counted, decoded and corrected at its end until the
//! count is exact. Nothing is taken on trust from the costs.

use crate::lexicon::{Lexicon, survives};
use crate::limits::LONGEST;
use crate::sources::{Conversation, Turn};
use crate::tokenizer::Tokenizer;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Normal};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use streamgauge_core::Prompt;
use streamgauge_core::plan::{Length, ModelSelection, PromptPlan};
use streamgauge_core::prompt::{Content, Payload};

/// The most text that is made for one run, in tokens: some five gigabytes, which is held in memory.
pub const MOST_TEXT: u64 = 1_000_000_000;

/// What sets the length of prefixes.
const PREFIX_FLAG: &str = "--prefix-prompt-length";

/// Fresh draws of words for one text before its length is given up as impossible.
const DRAWS: u32 = 16;
/// Corrections at the end of one draw.
const CORRECTIONS: u32 = 64;
/// Fresh texts for one that is already there; short texts cannot all differ.
const REDRAWS: u32 = 8;

/// Why prompts cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SynthesisError {
    /// No text has this number of tokens, as far as could be found.
    #[error(
        "{flag} {tokens}: no text of exactly {tokens} tokens can be made with the tokenizer {tokenizer}; choose \
         another length, or another --tokenizer"
    )]
    Impossible {
        /// The flag that sets the length.
        flag: &'static str,
        /// The length.
        tokens: u32,
        /// The tokenizer's name.
        tokenizer: String,
    },
    /// A length is not a sensible number.
    #[error(
        "{flag}: mean {} and standard deviation {} must be numbers from 0 to {LONGEST}",
        length.mean, length.stddev
    )]
    Length {
        /// The flag that sets it.
        flag: &'static str,
        /// The length.
        length: Length,
    },
    /// All texts together would be too long.
    #[error(
        "{flags}: {count} texts of {tokens} tokens on average are over {MOST_TEXT} tokens of text; ask for fewer or shorter ones"
    )]
    TooMuch {
        /// The flags that set count and length.
        flags: &'static str,
        /// How many texts.
        count: u64,
        /// Tokens of each.
        tokens: u64,
    },
    /// There is no model to ask.
    #[error("-m: at least one model is needed")]
    NoModel,
}

/// The prompts of a run: `plan.count` of them, each of `plan.batch` texts. A text has exactly as many tokens as drawn
/// for it (a normal distribution cut to whole numbers, at least 1), also after decoding and encoding again. With
/// prefixes it is one of them, a space, and words; the whole then has the prefix's tokens more. The same plan, models
/// and tokenizer give the same prompts.
///
/// With `conversations` there is one prompt for each of their turns, one conversation after the other: of the turn's content, or of its
/// lengths as far as it has them.
///
/// # Errors
/// When a length is no number or no text of that length exists, or `models` is empty.
pub fn synthesize(
    plan: &PromptPlan,
    conversations: &[Conversation],
    models: &[String],
    selection: ModelSelection,
    tokenizer: &Tokenizer,
) -> Result<Vec<Prompt>, SynthesisError> {
    if models.is_empty() {
        return Err(SynthesisError::NoModel);
    }
    let input = Lengths::of("--isl", plan.input)?;
    let output = plan.output.map(|length| Lengths::of("--osl", length)).transpose()?;
    Lengths::of(PREFIX_FLAG, Length { mean: f64::from(plan.prefix_tokens), stddev: 0.0 })?;
    bounded(plan, conversations)?;
    let mut writer = Writer { tokenizer, lexicon: Lexicon::of(tokenizer), seen: HashSet::new() };
    let mut lengths = plan.seed.stream("prompt lengths");
    let mut words = plan.seed.stream("prompt words");
    let mut prefix_choice = plan.seed.stream("prompt prefixes");
    let mut model_choice = plan.seed.stream("prompt models");
    let mut outputs = plan.seed.stream("output lengths");

    let prefixes = prefixes(plan, &mut writer, &mut prefix_choice)?;
    // A text whose length is drawn, or as long as `known` says, after one of the prefixes; and its tokens.
    let mut make = |known: Option<u32>| {
        let own = known.unwrap_or_else(|| input.draw(&mut lengths)).min(LONGEST);
        let (prefix, whole) = match prefixes.len() {
            0 => ("", own),
            n => (prefixes[prefix_choice.random_range(0..n)].as_str(), plan.prefix_tokens + own),
        };
        let text = writer.new_text(prefix, whole, &mut words).ok_or_else(|| impossible("--isl", own, tokenizer))?;
        Ok((text, whole))
    };
    let open = Conversation::from(Turn::default());
    let conversations = match conversations {
        [] => std::slice::from_ref(&open).iter().cycle().take(plan.count as usize).collect::<Vec<_>>(),
        conversations => conversations.iter().collect(),
    };
    let mut prompts = Vec::new();
    for (number, conversation) in conversations.into_iter().enumerate() {
        let mut chosen = None;
        for turn in &conversation.turns {
            let (content, tokens) = match &turn.content {
                Some(content) => (content.clone(), None),
                None => {
                    let made = (0..plan.batch).map(|_| make(turn.input_tokens)).collect::<Result<Vec<_>, _>>()?;
                    let (texts, tokens): (Vec<_>, Vec<_>) = made.into_iter().unzip();
                    (Content::Texts(texts), Some(tokens.into_iter().fold(0, u32::saturating_add)))
                }
            };
            // A conversation is held with one model.
            let model = *chosen.get_or_insert_with(|| match selection {
                ModelSelection::Random => model_choice.random_range(0..models.len()),
                ModelSelection::RoundRobin => number % models.len(),
            });
            let drawn = || output.as_ref().map(|lengths| lengths.draw(&mut outputs));
            let payload = match turn.members.is_empty() {
                true => Payload::FromContent,
                false => Payload::Members(turn.members.clone()),
            };
            let mut prompt = Prompt {
                content,
                tokens: 0,
                requested_output_tokens: turn.requested_output_tokens.or_else(drawn),
                model: turn.model.as_ref().unwrap_or(&models[model]).clone(),
                payload,
            };
            prompt.tokens = tokens.unwrap_or_else(|| {
                prompt.texts().iter().map(|text| tokenizer.count(text)).fold(0, u32::saturating_add)
            });
            prompts.push(prompt);
        }
    }
    Ok(prompts)
}

/// Refuses what would not fit into memory, before any of it is made.
fn bounded(plan: &PromptPlan, conversations: &[Conversation]) -> Result<(), SynthesisError> {
    let refuse = |flags, count: u64, all: u64| match all > MOST_TEXT {
        true => Err(SynthesisError::TooMuch { flags, count, tokens: all / count.max(1) }),
        false => Ok(()),
    };
    let (prefixes, prefix_tokens) = (u64::from(plan.prefixes), u64::from(plan.prefix_tokens));
    refuse("--num-prefix-prompts and --prefix-prompt-length", prefixes, prefixes.saturating_mul(prefix_tokens))?;
    let (mean, batch) = (plan.input.mean as u64, u64::from(plan.batch));
    let prefix = if plan.prefixes > 0 { prefix_tokens } else { 0 };
    let text = |length: u64| (length + prefix).saturating_mul(batch);
    let made = |turn: &Turn| match (&turn.content, turn.input_tokens) {
        (Some(_), _) => 0,
        (None, length) => text(length.map_or(mean, u64::from)),
    };
    match conversations {
        [] => {
            let count = u64::from(plan.count);
            refuse("--num-prompts and --isl", count.saturating_mul(batch), count.saturating_mul(text(mean)))
        }
        conversations => {
            let turns = || conversations.iter().flat_map(|conversation| &conversation.turns);
            let all = turns().map(made).fold(0, u64::saturating_add);
            refuse("--input-file", turns().count() as u64, all)
        }
    }
}

/// The prefixes that prompts share, each of exactly `plan.prefix_tokens` tokens.
fn prefixes(plan: &PromptPlan, writer: &mut Writer, rng: &mut impl Rng) -> Result<Vec<String>, SynthesisError> {
    let tokens = plan.prefix_tokens;
    if tokens == 0 || plan.prefixes == 0 {
        return Ok(Vec::new());
    }
    (0..plan.prefixes)
        .map(|_| writer.new_text("", tokens, rng).ok_or_else(|| impossible(PREFIX_FLAG, tokens, writer.tokenizer)))
        .collect()
}

fn impossible(flag: &'static str, tokens: u32, tokenizer: &Tokenizer) -> SynthesisError {
    SynthesisError::Impossible { flag, tokens, tokenizer: tokenizer.name().to_owned() }
}

/// A distribution of lengths that has been found sensible.
struct Lengths(Normal<f64>);

impl Lengths {
    fn of(flag: &'static str, length: Length) -> Result<Lengths, SynthesisError> {
        let sensible = 0.0..=f64::from(LONGEST);
        match Normal::new(length.mean, length.stddev) {
            Ok(normal) if sensible.contains(&length.mean) && sensible.contains(&length.stddev) => Ok(Lengths(normal)),
            _ => Err(SynthesisError::Length { flag, length }),
        }
    }

    /// A whole number of tokens, cut towards zero as the replaced tools do it, and at least 1.
    fn draw(&self, rng: &mut impl Rng) -> u32 {
        (self.0.sample(rng) as u32).clamp(1, LONGEST)
    }
}

/// Writes texts of exact length.
struct Writer<'a> {
    tokenizer: &'a Tokenizer,
    lexicon: Lexicon,
    /// Hashes of the texts written so far. Servers remember prompts, so a repeated one would be answered too fast.
    seen: HashSet<u64>,
}

impl Writer<'_> {
    /// A text of `tokens` tokens that begins with `prefix`, and differs from those before it where that can be.
    fn new_text(&mut self, prefix: &str, tokens: u32, rng: &mut impl Rng) -> Option<String> {
        let mut text = self.text(prefix, tokens, rng)?;
        for _ in 0..REDRAWS {
            if self.seen.insert(hash(&text)) {
                break;
            }
            text = self.text(prefix, tokens, rng)?;
        }
        Some(text)
    }

    fn text(&self, prefix: &str, tokens: u32, rng: &mut impl Rng) -> Option<String> {
        (0..DRAWS).find_map(|_| self.settle(Draft::after(prefix), tokens, rng))
    }

    /// Adds to the draft and takes from it until it counts exactly `tokens`; none when that does not come about.
    fn settle(&self, mut draft: Draft, tokens: u32, rng: &mut impl Rng) -> Option<String> {
        let mut count = self.tokenizer.count(&draft.text);
        for _ in 0..CORRECTIONS {
            if count < tokens {
                self.lengthen(&mut draft, tokens - count, rng)?;
            } else {
                draft.shorten()?;
            }
            let ids = self.tokenizer.encode(&draft.text);
            count = u32::try_from(ids.len()).ok()?;
            if count == tokens && survives(self.tokenizer, &draft.text, &ids) {
                return Some(draft.text);
            }
        }
        None
    }

    /// Adds words worth at most `missing` tokens, or where no word is cheap enough something that adds one.
    fn lengthen(&self, draft: &mut Draft, missing: u32, rng: &mut impl Rng) -> Option<()> {
        let mut left = missing;
        while left > 0 {
            if draft.text.is_empty() {
                let Some(word) = self.lexicon.opener(left, rng) else { break };
                draft.push(word.bare());
                left -= word.first;
            } else {
                let Some(word) = self.lexicon.follower(left, rng) else { break };
                draft.push(word.spaced());
                left -= word.follow;
            }
        }
        if left < missing {
            return Some(());
        }
        let glue = self.glue_for(draft, rng)?;
        draft.push(glue);
        Some(())
    }

    /// Something that adds one token to the end of the draft, judged by the draft's last words alone.
    fn glue_for(&self, draft: &Draft, rng: &mut impl Rng) -> Option<&str> {
        let glue = self.lexicon.glue();
        let start = (!glue.is_empty()).then(|| rng.random_range(0..glue.len()))?;
        let tail = draft.tail();
        let count = self.tokenizer.count(tail);
        let adds_one = |text: &&String| self.tokenizer.count(&format!("{tail}{text}")) == count + 1;
        glue[start..].iter().chain(&glue[..start]).find(adds_one).map(String::as_str)
    }
}

/// A text in the making, and where its pieces begin. What it began with stays.
struct Draft {
    text: String,
    starts: Vec<usize>,
}

impl Draft {
    fn after(prefix: &str) -> Draft {
        Draft { text: prefix.to_owned(), starts: Vec::new() }
    }

    fn push(&mut self, piece: &str) {
        self.starts.push(self.text.len());
        self.text.push_str(piece);
    }

    /// Takes the last piece away; none when there is none.
    fn shorten(&mut self) -> Option<()> {
        self.text.truncate(self.starts.pop()?);
        Some(())
    }

    /// The last two words.
    fn tail(&self) -> &str {
        self.text.rmatch_indices(' ').nth(1).map_or(&self.text, |(at, _)| &self.text[at + 1..])
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::sources::{Timing, read_text};
    use streamgauge_core::seed::Seed;

    fn plan() -> PromptPlan {
        PromptPlan {
            count: 3,
            input: Length { mean: 6.0, stddev: 0.0 },
            output: None,
            output_exact: false,
            batch: 1,
            prefixes: 0,
            prefix_tokens: 0,
            seed: Seed(0),
            tokenizer: String::new(),
            tokenizer_revision: String::new(),
        }
    }

    fn made(plan: &PromptPlan) -> Vec<Prompt> {
        synthesize(plan, &[], &["m".to_owned()], ModelSelection::RoundRobin, &Tokenizer::embedded()).unwrap()
    }

    #[test]
    fn seed_zero_is_pinned() {
        let plan = PromptPlan { output: Some(Length { mean: 100.0, stddev: 10.0 }), ..plan() };
        let prompts = made(&plan);
        let texts: Vec<String> = prompts.iter().map(|prompt| prompt.texts()[0].clone()).collect();
        assert_eq!(
            texts,
            [
                "follow wheel help rain will need",
                "short former create word enough copper",
                "measure chicken voice effect surprise knowledge"
            ]
        );
        assert_eq!(
            prompts.iter().map(|prompt| prompt.requested_output_tokens).collect::<Vec<_>>(),
            [Some(92), Some(105), Some(100)]
        );
        assert_eq!(prompts, made(&plan));
        assert_ne!(prompts, made(&PromptPlan { seed: Seed(1), ..plan }));
    }

    #[test]
    fn one_use_of_chance_never_disturbs_another() {
        let texts =
            |plan: &PromptPlan| made(plan).into_iter().map(|prompt| prompt.texts().into_owned()).collect::<Vec<_>>();
        let with_outputs = PromptPlan { output: Some(Length { mean: 50.0, stddev: 9.0 }), ..plan() };
        assert_eq!(texts(&plan()), texts(&with_outputs));
        let models = ["a".to_owned(), "b".to_owned()];
        let random = synthesize(&plan(), &[], &models, ModelSelection::Random, &Tokenizer::embedded()).unwrap();
        assert_eq!(texts(&plan()), random.into_iter().map(|prompt| prompt.texts().into_owned()).collect::<Vec<_>>());
    }

    #[test]
    fn lengths_are_drawn_cut_and_at_least_one() {
        let plan = PromptPlan {
            count: 400,
            input: Length { mean: 3.0, stddev: 4.0 },
            output: Some(Length { mean: 0.0, stddev: 0.0 }),
            ..plan()
        };
        let prompts = made(&plan);
        let tokenizer = Tokenizer::embedded();
        assert!(prompts.iter().all(|prompt| tokenizer.count(&prompt.texts()[0]) == prompt.tokens));
        assert_eq!(prompts.iter().map(|prompt| prompt.tokens).min(), Some(1));
        assert!(prompts.iter().any(|prompt| prompt.tokens > 8));
        assert!(prompts.iter().all(|prompt| prompt.requested_output_tokens == Some(1)));
        let fraction = PromptPlan { input: Length { mean: 7.9, stddev: 0.0 }, ..plan };
        assert_eq!(made(&fraction)[0].tokens, 7);
    }

    #[test]
    fn batches_and_prefixes() {
        let plan = PromptPlan {
            count: 50,
            batch: 3,
            input: Length { mean: 20.0, stddev: 0.0 },
            prefixes: 4,
            prefix_tokens: 30,
            ..plan()
        };
        let tokenizer = Tokenizer::embedded();
        let mut prefixes = HashSet::new();
        for prompt in made(&plan) {
            assert_eq!(prompt.texts().len(), 3);
            assert_eq!(prompt.tokens, 150);
            for text in prompt.texts().iter() {
                let ids = tokenizer.encode(text);
                assert_eq!(ids.len(), 50);
                prefixes.insert(tokenizer.decode(&ids[..30]).unwrap());
            }
        }
        assert_eq!(prefixes.len(), 4);
        assert!(prefixes.iter().all(|prefix| tokenizer.count(prefix) == 30));
    }

    #[test]
    fn prompts_differ_while_they_can() {
        let plan = PromptPlan { count: 300, input: Length { mean: 1.0, stddev: 0.0 }, ..plan() };
        let texts: HashSet<String> = made(&plan).into_iter().flat_map(|prompt| prompt.texts().into_owned()).collect();
        assert_eq!(texts.len(), 300);
        // 34 texts of one character exist at the most; 60 are asked for all the same.
        let plan = PromptPlan { count: 60, ..plan };
        let prompts =
            synthesize(&plan, &[], &["m".to_owned()], ModelSelection::Random, &fixture::tokenizer("characters.json"))
                .unwrap();
        assert_eq!(prompts.len(), 60);
    }

    #[test]
    fn models_in_turn_or_by_chance() {
        let models = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let plan = PromptPlan { count: 60, ..plan() };
        let of = |selection| -> Vec<String> {
            let prompts = synthesize(&plan, &[], &models, selection, &Tokenizer::embedded()).unwrap();
            prompts.into_iter().map(|prompt| prompt.model).collect()
        };
        assert_eq!(of(ModelSelection::RoundRobin)[..4], ["a", "b", "c", "a"]);
        let random = of(ModelSelection::Random);
        assert!(models.iter().all(|model| random.contains(model)));
        assert_ne!(random, of(ModelSelection::RoundRobin));
    }

    #[test]
    fn nonsense_is_refused_by_flag() {
        let refused = |plan: PromptPlan, models: &[String]| {
            synthesize(&plan, &[], models, ModelSelection::Random, &Tokenizer::embedded()).unwrap_err().to_string()
        };
        let models = ["m".to_owned()];
        for (mean, stddev) in [(f64::NAN, 0.0), (-1.0, 0.0), (5.0, -1.0), (5.0, f64::INFINITY), (1e12, 0.0)] {
            let input = Length { mean, stddev };
            let error = refused(PromptPlan { input, ..plan() }, &models);
            assert!(error.starts_with("--isl: mean ") && error.ends_with("from 0 to 10000000"), "{error}");
            let error = refused(PromptPlan { output: Some(input), ..plan() }, &models);
            assert!(error.starts_with("--osl: "), "{error}");
        }
        let error = refused(PromptPlan { prefixes: 1, prefix_tokens: u32::MAX, ..plan() }, &models);
        assert!(error.starts_with("--prefix-prompt-length: "), "{error}");
        let many = PromptPlan { prefixes: 1_000_000, prefix_tokens: 10_000_000, ..plan() };
        let error = refused(many, &models);
        assert!(
            error.starts_with("--num-prefix-prompts and --prefix-prompt-length: 1000000 texts of 10000000"),
            "{error}"
        );
        let input = Length { mean: 10_000_000.0, stddev: 0.0 };
        let error = refused(PromptPlan { count: 101, input, ..plan() }, &models);
        assert!(error.starts_with("--num-prompts and --isl: 101 texts of 10000000 tokens"), "{error}");
        let line = r#"{"timestamp": 0, "input_length": 10000000}"#;
        let rows = read_text(&[line; 101].join("\n"), Timing::Timed).unwrap().conversations;
        let refused_rows = synthesize(&plan(), &rows, &models, ModelSelection::Random, &Tokenizer::embedded());
        assert!(refused_rows.unwrap_err().to_string().starts_with("--input-file: 101 texts"));
        assert_eq!(refused(plan(), &[]), "-m: at least one model is needed");
    }

    #[test]
    fn an_impossible_length_names_flag_and_tokenizer() {
        // Every text begins with a mark here, which is a token of its own.
        let mut json: serde_json::Value =
            serde_json::from_slice(include_bytes!("../tests/fixtures/characters.json")).unwrap();
        json["normalizer"] = serde_json::json!({"type": "Prepend", "prepend": "."});
        let strip = serde_json::json!({"type": "Strip", "content": ".", "start": 1, "stop": 0});
        json["decoder"] = serde_json::json!({"type": "Sequence", "decoders": [{"type": "Fuse"}, strip]});
        let tokenizer = fixture::made(&json);
        let make = |mean| {
            let plan = PromptPlan { input: Length { mean, stddev: 0.0 }, ..plan() };
            synthesize(&plan, &[], &["m".to_owned()], ModelSelection::Random, &tokenizer)
        };
        assert_eq!(tokenizer.count(&make(2.0).unwrap()[0].texts()[0]), 2);
        assert_eq!(
            make(1.0).unwrap_err().to_string(),
            format!(
                "--isl 1: no text of exactly 1 tokens can be made with the tokenizer {}; choose another length, or \
                 another --tokenizer",
                tokenizer.name()
            )
        );
    }
}
