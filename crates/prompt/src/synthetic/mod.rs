//! Synthetic prompts: English words, drawn by seed, whose number of tokens is exactly what was asked for.

mod blocks;
mod completer;
mod error;
mod lengths;
mod writer;

pub use completer::Completer;
pub use error::{MOST_TEXT, SynthesisError};

use crate::sources::{Conversation, Turn};
use crate::tokenizer::Tokenizer;
use streamgauge_core::Prompt;
use streamgauge_core::plan::{ModelSelection, PromptPlan};
use streamgauge_core::setting::Setting;
use streamgauge_core::synthesis::Synthesis;

/// All prompts of a run, in memory: those of `conversations`, or of `plan.count` conversations of one turn, of which everything is made. See
/// [`Completer`].
///
/// # Errors
/// When a length is no number or no text of that length exists, all texts would be more than [`MOST_TEXT`], or `models` is empty.
pub fn synthesize(
    plan: &PromptPlan,
    conversations: &[Conversation],
    models: &[String],
    selection: ModelSelection,
    tokenizer: &Tokenizer,
) -> Result<Vec<Prompt>, SynthesisError> {
    completer::check(plan, models)?;
    bounded(plan, conversations)?;
    let mut completer = Completer::new(plan, models, selection, tokenizer)?;
    let mut prompts = Vec::new();
    if conversations.is_empty() {
        let open = Conversation::from(Turn::default());
        for _ in 0..plan.count {
            prompts.extend(completer.complete(&open)?);
        }
    }
    for conversation in conversations {
        prompts.extend(completer.complete(conversation)?);
    }
    Ok(prompts)
}

/// Refuses what would not fit into memory, before any of it is made.
fn bounded(plan: &PromptPlan, conversations: &[Conversation]) -> Result<(), SynthesisError> {
    let (mean, batch) = (plan.input.mean as u64, u64::from(plan.batch));
    let prefix = if plan.prefixes > 0 { u64::from(plan.prefix_tokens) } else { 0 };
    let Synthesis { system_tokens, user_context_tokens, .. } = &plan.synthesis;
    let openings = u64::from(system_tokens.unwrap_or(0)) + u64::from(user_context_tokens.unwrap_or(0));
    let text = |length: u64| (length + prefix + openings).saturating_mul(batch);
    let made = |turn: &Turn| match turn.content.is_some() || turn.body.is_some() {
        true => 0,
        false => text(turn.input_tokens.map_or(mean, u64::from)),
    };
    match conversations {
        [] => {
            let count = u64::from(plan.count);
            SynthesisError::check_text(
                &[Setting::NumPrompts, Setting::Isl],
                count.saturating_mul(batch),
                count.saturating_mul(text(mean)),
            )
        }
        conversations => {
            let turns = || conversations.iter().flat_map(|conversation| &conversation.turns);
            let all = turns().map(made).fold(0, u64::saturating_add);
            SynthesisError::check_text(&[Setting::InputFile], turns().count() as u64, all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::sources::{Timing, read_text};
    use std::collections::HashSet;
    use streamgauge_core::plan::Length;
    use streamgauge_core::prompt::{Content, Message, Payload};
    use streamgauge_core::sampling::Sampling;
    use streamgauge_core::seed::Seed;
    use streamgauge_core::synthesis::{LengthPair, LengthRange};

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
            synthesis: Synthesis::default(),
            sampling: Sampling::default(),
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
        assert_eq!(refused(plan(), &[]), "--model: at least one model is needed");
    }

    #[test]
    fn an_impossible_length_names_flag_and_tokenizer() {
        // Every text begins with a mark here, which is a token of its own.
        let mut json: serde_json::Value =
            serde_json::from_slice(include_bytes!("../../tests/fixtures/characters.json")).unwrap();
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

    fn shaped(synthesis: Synthesis) -> PromptPlan {
        PromptPlan { count: 40, synthesis, ..plan() }
    }

    #[test]
    fn lengths_of_pairs_are_drawn_together() {
        let fixed = |mean| Length { mean, stddev: 0.0 };
        let pair = |percent, input, output| LengthPair { percent, input: fixed(input), output: fixed(output) };
        let pairs = vec![pair(40.0, 5.0, 50.0), pair(60.0, 8.0, 80.0)];
        let lengths: Vec<_> = made(&shaped(Synthesis { pairs, ..Synthesis::default() }))
            .iter()
            .map(|prompt| (prompt.tokens, prompt.requested_output_tokens.unwrap()))
            .collect();
        assert!(lengths.iter().all(|lengths| [(5, 50), (8, 80)].contains(lengths)), "{lengths:?}");
        let short = lengths.iter().filter(|lengths| **lengths == (5, 50)).count();
        assert!((8..25).contains(&short), "{short} of 40");
    }

    #[test]
    fn lengths_of_ranges_stay_in_them() {
        let range = |least, most| Some(LengthRange { least, most });
        let ranges = Synthesis { input_range: range(4, 6), output_range: range(10, 12), ..Synthesis::default() };
        let prompts = made(&shaped(ranges));
        let inputs: HashSet<u32> = prompts.iter().map(|prompt| prompt.tokens).collect();
        let outputs: HashSet<u32> = prompts.iter().filter_map(|prompt| prompt.requested_output_tokens).collect();
        assert_eq!((inputs, outputs), (HashSet::from([4, 5, 6]), HashSet::from([10, 11, 12])));
    }

    #[test]
    fn conversations_begin_with_the_system_prompt_and_their_context() {
        let openings = Synthesis { system_tokens: Some(12), user_context_tokens: Some(7), ..Synthesis::default() };
        let plan = PromptPlan { count: 2, ..shaped(openings) };
        let file = Turn { content: Some(Content::Texts(vec!["given".to_owned()])), ..Turn::default() };
        let conversations = [
            Conversation { id: None, turns: vec![Turn::default(), Turn::default()] },
            Conversation { id: None, turns: vec![file] },
        ];
        let tokenizer = Tokenizer::embedded();
        let models = ["m".to_owned()];
        let prompts = synthesize(&plan, &conversations, &models, ModelSelection::RoundRobin, &tokenizer).unwrap();
        let messages: Vec<Vec<_>> = prompts
            .iter()
            .map(|prompt| {
                let message = |message: &Message| {
                    let text = message.texts().collect::<String>();
                    (message.role.clone(), tokenizer.count(&text), text)
                };
                prompt.messages().iter().map(message).collect()
            })
            .collect();
        let shape = |index: usize| -> Vec<(&str, u32)> {
            messages[index].iter().map(|(role, tokens, _)| (role.as_str(), *tokens)).collect()
        };
        assert_eq!(shape(0), [("system", 12), ("user", 7), ("user", 6)]);
        assert_eq!(shape(1), [("user", 6)], "a later turn follows them");
        assert_eq!(shape(2), [("system", 12), ("user", 7), ("user", 1)]);
        assert_eq!(messages[0][0], messages[2][0]);
        assert_ne!(messages[0][1], messages[2][1]);
        assert_eq!(prompts.iter().map(|prompt| prompt.tokens).collect::<Vec<_>>(), [25, 6, 20]);
        // The texts themselves are those of a plan without openings.
        let plain = PromptPlan { synthesis: Synthesis::default(), ..plan };
        let plain = synthesize(&plain, &conversations, &models, ModelSelection::RoundRobin, &tokenizer).unwrap();
        assert_eq!(plain[0].texts()[0], messages[0][2].2);
    }

    #[test]
    fn prompts_can_be_sent_as_token_ids() {
        let ids = Synthesis { token_ids: Some("prompt".to_owned()), ..Synthesis::default() };
        let tokenizer = Tokenizer::embedded();
        let sent = |prompt: &Prompt| match &prompt.payload {
            Payload::Members(members) => members["prompt"].clone(),
            payload => panic!("{payload:?}"),
        };
        for prompt in made(&shaped(ids.clone())) {
            assert_eq!(sent(&prompt), serde_json::json!(tokenizer.encode(&prompt.texts()[0])));
            assert_eq!(prompt.tokens, 6);
        }
        let batch = &made(&PromptPlan { batch: 2, ..shaped(ids.clone()) })[0];
        let both: Vec<_> = batch.texts().iter().map(|text| tokenizer.encode(text)).collect();
        assert_eq!((sent(batch), batch.tokens), (serde_json::json!(both), 12));
        let turns = vec![Turn::default(), Turn::default()];
        let refused = synthesize(
            &shaped(ids),
            &[Conversation { id: None, turns }],
            &["m".to_owned()],
            ModelSelection::RoundRobin,
            &tokenizer,
        );
        assert_eq!(refused, Err(SynthesisError::IdsOfConversation));
    }

    #[test]
    fn a_whole_body_is_not_changed() {
        let body = Turn { body: Some(serde_json::json!({"prompt": "a"})), ..Turn::default() };
        let openings = Synthesis { system_tokens: Some(1), ..Synthesis::default() };
        let models = ["m".to_owned()];
        let refused =
            synthesize(&shaped(openings), &[body.into()], &models, ModelSelection::RoundRobin, &Tokenizer::embedded());
        assert_eq!(refused, Err(SynthesisError::WholeBody { setting: Setting::SharedSystemPromptLength }));
    }

    #[test]
    fn a_batch_of_texts_has_no_system_prompt() {
        let batch = Turn { content: Some(Content::Texts(vec!["a".into(), "b".into()])), ..Turn::default() };
        let openings = Synthesis { user_context_tokens: Some(1), ..Synthesis::default() };
        let models = ["m".to_owned()];
        let refused =
            synthesize(&shaped(openings), &[batch.into()], &models, ModelSelection::RoundRobin, &Tokenizer::embedded());
        assert!(refused.unwrap_err().to_string().starts_with("--user-context-prompt-length: the input has requests"));
    }
}
