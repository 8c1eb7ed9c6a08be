//! How conversations are held, as the command line says it.

use crate::context::TestContext;
use crate::scripted::{Scripted, chat_answer};
use serde_json::{Value, json};

/// Conversations of two turns, with an answer to the first one.
const RECORDED: &str = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "recorded"}, {"role": "user", "content": "b"}]}"#;

fn run(context: &TestContext, server: &Scripted, args: &str) -> crate::context::Run {
    let args = format!("-m m --tokenizer cl100k_base --input-file in.jsonl --no-probe --request-count 2 {args}");
    context.run(context.command_to(&server.url(), &args))
}

#[test]
fn recorded_answers_stand_in_the_history_where_they_are_asked_for() {
    for (args, expected) in [("--history recorded", Some("recorded")), ("--session-concurrency 1", None)] {
        let server = Scripted::serve(|_| Some(chat_answer()));
        let context = TestContext::new();
        std::fs::write(context.path().join("in.jsonl"), RECORDED).unwrap();
        let run = run(&context, &server, args).expect(0);
        let last = server.seen().last().unwrap().json();
        let [user, answer, next] = &last["messages"].as_array().unwrap()[..] else { panic!("{last}") };
        assert_eq!([user, next].map(|message| &message["content"]), [&json!("a"), &json!("b")]);
        assert_eq!(answer["role"], "assistant");
        assert_eq!(answer["content"] == "recorded", expected.is_some(), "{last}");
        let records = run.records();
        let second: &Value = records.in_order("profiling")[1];
        if expected.is_some() {
            let history = second["conversation"]["history_tokens"].as_u64().unwrap();
            assert!(history >= 2, "a token of `a`, and those of the recorded answer: {history}");
            assert_eq!(second["input_tokens"], history + 1);
        }
        let row = run.fidelity_row("failed_conversations").unwrap();
        assert_eq!(row["value"], "none of 1 conversation; 1 reached their last answer");
        assert!(run.fidelity_row("follow_ups").unwrap()["value"].as_str().unwrap().contains("1 later turn"));
    }
}

#[test]
fn what_cannot_be_held_so_is_refused_by_name() {
    let context = TestContext::new();
    std::fs::write(
        context.path().join("in.jsonl"),
        "{\"session_id\": 1, \"prompt\": \"a\"}\n{\"session_id\": 1, \"prompt\": \"b\"}\n",
    )
    .unwrap();
    for (args, words) in [
        ("--history recorded", &["--history recorded", "--input-file"][..]),
        ("--history recorded --input-file in.jsonl", &["history", "a recorded answer"]),
        ("--session-sticky false", &["--session-sticky false", "one server"]),
        ("--session-header a:b", &["--session-header a:b", "X-Session-Id"]),
    ] {
        let run = context.profile(args).expect(2);
        assert!(words.iter().all(|word| run.stderr.contains(word)), "{args}: {}", run.stderr);
    }
    assert_eq!(context.requests().len(), 0);
}
