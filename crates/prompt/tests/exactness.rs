//! The promise of synthetic prompts, for tokenizers of every kind and random plans: the count is exact, and stays so
//! after decoding and encoding again.

use proptest::prelude::*;
use std::path::Path;
use std::sync::LazyLock;
use streamgauge_core::plan::{Length, ModelSelection, PromptPlan};
use streamgauge_core::sampling::Sampling;
use streamgauge_core::seed::Seed;
use streamgauge_core::synthesis::Synthesis;
use streamgauge_prompt::{Tokenizer, synthesize};

/// One entry a character; a byte-level BPE of 2,048 entries; Unigram with Metaspace, as T5 has it; a BPE with byte
/// fallback over the whole text, as Llama 2; WordPiece, as BERT.
const FILES: [&str; 5] =
    ["characters.json", "tiny-tokenizer.json", "unigram.json", "whole-text-bpe.json", "wordpiece.json"];

static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files = FILES.iter().map(|name| Tokenizer::from_file(&dir.join(name)).expect("a fixture"));
    files.chain([Tokenizer::embedded()]).collect()
});

fn assert_exact(tokenizer: &Tokenizer, text: &str, tokens: u32) {
    assert_eq!(tokenizer.count(text), tokens, "{}: {text}", tokenizer.name());
    let ids = tokenizer.encode(text);
    assert_eq!(ids.len(), tokens as usize);
    let again = tokenizer.decode(&ids).expect("text decodes");
    assert_eq!(tokenizer.encode(&again).len(), tokens as usize, "{}: {again}", tokenizer.name());
}

fn plan(seed: u64, mean: f64, stddev: f64) -> PromptPlan {
    PromptPlan {
        count: 3,
        input: Length { mean, stddev },
        output: None,
        output_exact: false,
        batch: 1,
        prefixes: 0,
        prefix_tokens: 0,
        seed: Seed(seed),
        tokenizer: String::new(),
        tokenizer_revision: String::new(),
        synthesis: Synthesis::default(),
        sampling: Sampling::default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_text_has_its_tokens(which in 0..FILES.len() + 1, seed: u64, mean in 1u32..400, stddev in 0u32..100) {
        let tokenizer = &TOKENIZERS[which];
        let plan = plan(seed, mean.into(), stddev.into());
        for prompt in synthesize(&plan, &[], &["m".into()], ModelSelection::RoundRobin, tokenizer).unwrap() {
            assert_exact(tokenizer, &prompt.texts()[0], prompt.tokens);
            prop_assert!(stddev > 0 || prompt.tokens == mean);
        }
    }

    #[test]
    fn a_prefix_adds_its_tokens(which in 0..FILES.len() + 1, seed: u64, mean in 1u32..60, prefix_tokens in 1u32..60) {
        let tokenizer = &TOKENIZERS[which];
        let plan = PromptPlan { batch: 2, prefixes: 2, prefix_tokens, ..plan(seed, mean.into(), 0.0) };
        for prompt in synthesize(&plan, &[], &["m".into()], ModelSelection::RoundRobin, tokenizer).unwrap() {
            prop_assert_eq!(prompt.tokens, 2 * (mean + prefix_tokens));
            for text in prompt.texts().iter() {
                assert_exact(tokenizer, text, mean + prefix_tokens);
            }
        }
    }
}

#[test]
fn every_short_length_can_be_had() {
    for tokenizer in TOKENIZERS.iter() {
        for tokens in 1..24 {
            let plan = plan(5, tokens.into(), 0.0);
            for prompt in synthesize(&plan, &[], &["m".into()], ModelSelection::RoundRobin, tokenizer).unwrap() {
                assert_exact(tokenizer, &prompt.texts()[0], tokens);
            }
        }
    }
}
