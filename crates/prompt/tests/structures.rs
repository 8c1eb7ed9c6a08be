//! Token ids of small tokenizers with the structures that real models have, against those that the reference implementation gave the same texts
//! (`tests/tokenizers/make_small.py`).

// Helpers of tests may unwrap too; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::LazyLock;
use streamgauge_prompt::Tokenizer;

const NAMES: [&str; 8] = ["llama3", "qwen3", "gptoss", "tekken", "deepseek3", "gpt2", "gemma3", "llama2"];

/// Each structure as the crate reads it, and as the `tokenizers` library does.
static BOTH: LazyLock<Vec<(Tokenizer, tokenizers::Tokenizer)>> = LazyLock::new(|| {
    let both = |name| {
        let path = file(name);
        (Tokenizer::from_file(&path).unwrap(), tokenizers::Tokenizer::from_file(path).unwrap())
    };
    NAMES.into_iter().map(both).collect()
});

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/structures").join(format!("{name}.json"))
}

fn library(tokenizer: &tokenizers::Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, false).unwrap().get_ids().to_vec()
}

#[test]
fn ids_are_those_of_the_reference() {
    let expected: Value = serde_json::from_slice(&std::fs::read(file("expected")).unwrap()).unwrap();
    let texts = expected["texts"].as_array().unwrap();
    assert!(texts.len() > 100);
    for (name, (tokenizer, _)) in NAMES.iter().zip(BOTH.iter()) {
        assert!(tokenizer.is_covered(), "{name} is left to the library");
        for (text, ids) in texts.iter().zip(expected["ids"][name].as_array().unwrap()) {
            let text = text.as_str().unwrap();
            let ids: Vec<u32> = ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            assert_eq!(tokenizer.encode(text), ids, "{name}: {text:?}");
            assert_eq!(tokenizer.count(text) as usize, ids.len(), "{name}: {text:?}");
        }
    }
}

#[test]
fn ids_of_models_are_those_of_the_sentencepiece_library() {
    let expected: Value = serde_json::from_slice(&std::fs::read(file("expected-models")).unwrap()).unwrap();
    let texts = expected["texts"].as_array().unwrap();
    assert!(texts.len() > 60);
    for (name, is_covered) in [("bpe", true), ("unigram", false)] {
        let tokenizer = Tokenizer::from_file(&file(name).with_extension("model")).unwrap();
        assert_eq!(tokenizer.is_covered(), is_covered, "{name}");
        for (text, ids) in texts.iter().zip(expected["ids"][name].as_array().unwrap()) {
            let ids: Vec<u32> = ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            assert_eq!(tokenizer.encode(text.as_str().unwrap()), ids, "{name}: {text}");
        }
    }
}

#[test]
fn the_tokens_around_a_text_are_the_librarys() {
    for (name, (tokenizer, other)) in NAMES.iter().zip(BOTH.iter()) {
        let count = other.encode("hello world", true).unwrap().len();
        assert_eq!(tokenizer.count_with_special("hello world") as usize, count, "{name}");
    }
}

#[test]
fn decoding_is_the_librarys() {
    for (name, (tokenizer, other)) in NAMES.iter().zip(BOTH.iter()) {
        for id in 0..other.get_vocab_size(true) as u32 + 2 {
            for ids in [vec![id], vec![id, 300, id]] {
                let known = ids.iter().all(|id| other.id_to_token(*id).is_some());
                let text = other.decode(&ids, false).unwrap();
                match tokenizer.decode(&ids) {
                    Some(decoded) => assert_eq!(decoded, text, "{name}: {ids:?}"),
                    // The library replaces bytes that are no text.
                    None => assert!(!known || text.contains(char::REPLACEMENT_CHARACTER), "{name}: {ids:?}: {text}"),
                }
            }
        }
    }
}

#[test]
fn a_structure_that_is_not_covered_is_left_to_the_library() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut json: Value = serde_json::from_slice(&std::fs::read(file("llama3")).unwrap()).unwrap();
        change(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        let tokenizer = Tokenizer::from_file(&path).unwrap();
        let other = tokenizers::Tokenizer::from_file(&path).unwrap();
        for text in ["Hello <|eot_id|> World", "  a1234 b"] {
            assert_eq!(tokenizer.encode(text), library(&other, text));
        }
        tokenizer.is_covered()
    };
    assert!(changed(&|_| ()));
    assert!(!changed(&|json| json["added_tokens"][1]["lstrip"] = true.into()));
    assert!(!changed(&|json| json["added_tokens"][1]["single_word"] = true.into()));
    assert!(!changed(&|json| json["added_tokens"][1]["id"] = 2000.into()));
    assert!(!changed(&|json| json["normalizer"] = serde_json::json!({"type": "Lowercase"})));
    assert!(!changed(&|json| json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+|\W+".into()));
    assert!(!changed(&|json| json["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "MergedWithNext".into()));
    assert!(!changed(&|json| json["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true.into()));
    assert!(!changed(&|json| json["model"]["end_of_word_suffix"] = "</w>".into()));
}

#[test]
fn threads_share_a_tokenizer() {
    let (tokenizer, other) = &BOTH[0];
    let texts: Vec<String> = (0..200).map(|number| format!("word{number} and more {}", "x ".repeat(number))).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| texts.iter().for_each(|text| assert_eq!(tokenizer.encode(text), library(other, text))));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_has_the_librarys_ids(text in any::<String>()) {
        for (name, (tokenizer, other)) in NAMES.iter().zip(BOTH.iter()) {
            prop_assert_eq!(tokenizer.encode(&text), library(other, &text), "{}", name);
        }
    }

    #[test]
    fn white_space_digits_and_marks_have_the_librarys_ids(text in "[ \t\n\r\u{3000}\u{2581}a-cA-C0-9'sS.<|>é中あ]{0,60}") {
        for (name, (tokenizer, other)) in NAMES.iter().zip(BOTH.iter()) {
            prop_assert_eq!(tokenizer.encode(&text), library(other, &text), "{}", name);
        }
    }
}
