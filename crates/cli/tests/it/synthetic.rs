//! What the flags for synthetic prompts and conversations put into the bodies that are sent.

use crate::context::TestContext;
use crate::scripted::{Request, Scripted, chat_answer, document};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use streamgauge_prompt::Tokenizer;

/// The usual arguments, of a run that sends each prompt once.
const USUAL: &str = "-m m --tokenizer cl100k_base --no-probe --concurrency 2";

/// The bodies that a run with these arguments sends to an endpoint that is answered by `answer`, in any order.
fn sent(answer: fn() -> String, args: &str) -> Vec<Value> {
    let server = Scripted::serve(move |request: &Request| (request.method == "POST").then(answer));
    let context = TestContext::new();
    context.run(context.command_to(&server.url(), &format!("{USUAL} {args}"))).expect(0);
    server.seen().iter().map(Request::json).collect()
}

fn completion() -> String {
    completions(1)
}

/// An answer to a request with this many prompts.
fn completions(prompts: usize) -> String {
    let choice = |index| json!({"index": index, "text": "one two", "finish_reason": "stop"});
    let answer = json!({"choices": (0..prompts).map(choice).collect::<Vec<_>>()});
    document("200 OK", "", &answer.to_string())
}

/// The tokens of a message's text.
fn tokens(message: &Value) -> u32 {
    Tokenizer::embedded().count(message["content"].as_str().unwrap())
}

#[test]
fn pairs_of_lengths_are_sent_together() {
    let lengths: BTreeSet<(u32, u64)> =
        sent(chat_answer, "--seq-dist 12,30:40;20,60:60 --request-count 40 --num-prompts 40")
            .iter()
            .map(|body| (tokens(&body["messages"][0]), body["max_tokens"].as_u64().unwrap()))
            .collect();
    assert_eq!(lengths, BTreeSet::from([(12, 30), (20, 60)]));
}

#[test]
fn ranges_bound_the_lengths_by_either_meaning() {
    for (args, inputs, outputs) in [
        ("--isl-range 8,12 --osl-range 3,4", 8..=12, 3..=4),
        ("--isl 10 --osl 20 --random-range-ratio 0.2", 8..=12, 16..=24),
        ("--isl 10 --osl 20 --random-range-ratio up-to:0.5", 5..=10, 10..=20),
    ] {
        let bodies = sent(chat_answer, &format!("{args} --request-count 40 --num-prompts 40"));
        let lengths: BTreeSet<u32> = bodies.iter().map(|body| tokens(&body["messages"][0])).collect();
        assert!(lengths.iter().all(|length| inputs.contains(length)) && lengths.len() > 2, "{args}: {lengths:?}");
        let asked: BTreeSet<u64> = bodies.iter().map(|body| body["max_tokens"].as_u64().unwrap()).collect();
        assert!(asked.iter().all(|length| outputs.contains(length)) && asked.len() > 1, "{args}: {asked:?}");
    }
}

#[test]
fn a_system_prompt_is_shared_and_a_context_is_not() {
    let args =
        "--isl 9 --shared-system-prompt-length 30 --user-context-prompt-length 15 --request-count 6 --num-prompts 6";
    let bodies = sent(chat_answer, args);
    let messages: Vec<&Vec<Value>> = bodies.iter().map(|body| body["messages"].as_array().unwrap()).collect();
    for said in &messages {
        let shape: Vec<_> = said.iter().map(|message| (message["role"].as_str().unwrap(), tokens(message))).collect();
        assert_eq!(shape, [("system", 30), ("user", 15), ("user", 9)]);
    }
    let distinct = |index: usize| messages.iter().map(|said| said[index].to_string()).collect::<BTreeSet<_>>().len();
    assert_eq!([distinct(0), distinct(1), distinct(2)], [1, 6, 6]);
    // An endpoint that takes no messages is sent the same texts as one.
    let bodies = sent(completion, &format!("{args} --endpoint-type completions"));
    assert!(bodies.iter().all(|body| body["prompt"].as_str().unwrap().lines().count() == 3));
}

#[test]
fn prompts_are_sent_as_token_ids() {
    let args = "--endpoint-type completions --prompt-as-token-ids --isl 7 --request-count 4 --num-prompts 4";
    let decode = |ids: &Value| {
        let ids: Vec<u32> = ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap().try_into().unwrap()).collect();
        assert_eq!(ids.len(), 7);
        Tokenizer::embedded().decode(&ids).unwrap()
    };
    let ids: BTreeSet<String> = sent(completion, args).iter().map(|body| decode(&body["prompt"])).collect();
    let text = args.replace("--prompt-as-token-ids ", "");
    let texts = sent(completion, &text).iter().map(|body| body["prompt"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, texts, "they are the ids of the texts that are sent otherwise");
    let lists = sent(|| completions(2), &format!("{args} --batch-size 2"));
    assert!(lists.iter().all(|body| body["prompt"].as_array().unwrap().iter().map(decode).count() == 2));
}

#[test]
fn conversations_are_made_and_held_once() {
    let args = "--isl 6 --conversation-num 3 --conversation-turn-mean 3 --conversation-turn-delay-mean 4 --session-delay-ratio 0.5";
    let bodies = sent(chat_answer, args);
    let roles = |body: &Value| -> String {
        body["messages"].as_array().unwrap().iter().map(|message| &message["role"].as_str().unwrap()[..1]).collect()
    };
    let mut all: Vec<String> = bodies.iter().map(roles).collect();
    all.sort();
    assert_eq!(all, ["u", "u", "u", "uau", "uau", "uau", "uauau", "uauau", "uauau"]);
    // What each conversation says begins as its turn before did, and then comes the server's answer.
    for later in bodies.iter().filter(|body| roles(body).len() > 1) {
        let said = later["messages"].as_array().unwrap();
        let before = bodies.iter().filter(|body| said.starts_with(body["messages"].as_array().unwrap()));
        assert_eq!(before.count(), said.len().div_ceil(2));
        assert_eq!(said[said.len() - 2]["content"], "one two");
        assert_eq!(tokens(&said[said.len() - 1]), 6);
    }
}

#[test]
fn the_records_of_conversations_say_which_turn_they_are() {
    let context = TestContext::new();
    let run = context
        .profile("--isl 6 --osl 2 --num-sessions 2 --session-turns-mean 2 --session-turn-delay-mean 30")
        .expect(0);
    let records = run.records();
    assert_eq!(records.all.len(), 4);
    let turns: Vec<_> = records.all.iter().map(|record| record["conversation"]["turn"].as_u64().unwrap()).collect();
    assert_eq!(turns.iter().sum::<u64>(), 2, "{turns:?}");
}

/// What a run over a file of four prompts and a conversation of two turns sends, and what it prints.
fn sampled(args: &str) -> (Vec<String>, String) {
    let server = Scripted::serve(|request: &Request| (request.method == "POST").then(chat_answer));
    let context = TestContext::new();
    let rows = r#"{"text": "a"}
{"text": "b"}
{"text": "c"}
{"session_id": "s", "text": "d"}
{"session_id": "s", "text": "e"}
"#;
    std::fs::write(context.path().join("rows.jsonl"), rows).unwrap();
    let args = format!("-m m --tokenizer cl100k_base --no-probe --concurrency 1 --input-file rows.jsonl {args}");
    let run = context.run(context.command_to(&server.url(), &args)).expect(0);
    let last = |request: &Request| request.json()["messages"].as_array().unwrap().last().unwrap()["content"].clone();
    (server.seen().iter().map(|request| last(request).as_str().unwrap().to_owned()).collect(), run.stdout)
}

#[test]
fn rows_are_sampled_in_the_order_that_is_asked_for() {
    let (sent, report) = sampled("--request-count 15");
    assert_eq!(sent.concat(), "abcdeabcdeabcde");
    assert!(report.contains("Prompts: 5 different prompts, each sent 3 times"), "{report}");
    let (sent, report) = sampled("--request-count 15 --sampling shuffle");
    let rounds: Vec<String> = sent.chunks(5).map(<[_]>::concat).collect();
    for round in &rounds {
        let mut letters: Vec<char> = round.chars().collect();
        letters.sort_unstable();
        assert_eq!((String::from_iter(letters), round.contains("de")), ("abcde".to_owned(), true), "{rounds:?}");
    }
    assert!(rounds[0] != rounds[1] || rounds[1] != rounds[2], "{rounds:?}");
    assert!(report.contains("each sent 3 times"), "{report}");
    assert_eq!(sampled("--request-count 15 --dataset-sampling-strategy shuffle").0, sent, "the seed decides");
    assert_ne!(sampled("--request-count 15 --sampling shuffle --random-seed 7").0, sent);
    let (sent, report) = sampled("--request-count 60 --sampling random");
    let count = |letter: &str| sent.iter().filter(|sent| *sent == letter).count();
    assert!(["a", "b", "c", "d"].iter().all(|letter| (4..30).contains(&count(letter))), "{sent:?}");
    assert!(count("d") - count("e") <= 1, "conversations stay whole");
    assert!(report.contains("Prompts: 5 different prompts, each sent ") && report.contains(" to "), "{report}");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let context = TestContext::new();
    for (args, words) in [
        ("--seq-dist 1,1:50", &["--seq-dist", "sum to 50 percent"][..]),
        ("--seq-dist 1,1:100 --isl 5", &["--seq-dist", "--isl"]),
        ("--isl-range 9,2", &["--isl-range", "shortest and the longest"]),
        ("--random-range-ratio 1.5", &["--random-range-ratio", "up-to:"]),
        ("--prompt-as-token-ids", &["--prompt-as-token-ids", "chat takes text", "completions or embeddings"]),
        (
            "--prompt-as-token-ids --endpoint-type completions --conversation-num 2",
            &["--prompt-as-token-ids", "made from answers"],
        ),
        (
            "--shared-system-prompt-length 5 --batch-size 2 --endpoint-type completions",
            &["--shared-system-prompt-length", "--batch-size 1"],
        ),
        ("--conversation-turn-delay-ratio 2", &["--conversation-turn-delay-ratio", "--conversation-turn-delay-mean"]),
        ("--conversation-num 2 --input-file x", &["--conversation-num", "--input-file"]),
        ("--sampling best", &["--sampling", "sequential", "shuffle", "random"]),
        ("--sampling random --fixed-schedule --input-file x", &["--sampling", "--fixed-schedule"]),
        ("--conversation-turn-mean 0", &["--conversation-turn-mean", "from 1 to 10000"]),
    ] {
        let run = context.profile(args).expect(2);
        assert!(words.iter().all(|word| run.stderr.contains(word)), "{args}: {}", run.stderr);
    }
}
