//! Traces and recordings of agents, through the real binary: what is sent, as it is on the wire.

use crate::context::{Run, TestContext};
use crate::tap::Tap;
use serde_json::{Value, json};
use std::fs;
use streamgauge_prompt::Tokenizer;

/// What was sent, in the order in which it came, and the run.
struct Sent {
    bodies: Vec<Value>,
    run: Run,
    /// Holds the files of the run.
    _context: TestContext,
}

/// Runs `profile` with a file of that name and text, one request at a time, without a test request.
fn sent(name: &str, text: &str, args: &str) -> Sent {
    let context = TestContext::new();
    fs::write(context.path().join(name), text).unwrap();
    let tap = Tap::before(context.addr());
    let args = format!("--streaming --no-probe --input-file {name} {args}");
    let run = context.run(context.command_to(&tap.url(), &args)).expect(0);
    let is_request = |head: &str| head.starts_with("POST ");
    let exchanges = tap.exchanges().into_iter().filter(|exchange| is_request(&exchange.head));
    let bodies = exchanges.map(|exchange| serde_json::from_slice(&exchange.body).unwrap()).collect();
    Sent { bodies, run, _context: context }
}

/// The roles and texts of the messages of a body.
fn messages(body: &Value) -> Vec<(&str, &str)> {
    let list = body["messages"].as_array().unwrap();
    list.iter().map(|message| (message["role"].as_str().unwrap(), message["content"].as_str().unwrap())).collect()
}

/// Tokens of all messages of a body.
fn tokens(body: &Value) -> u32 {
    messages(body).iter().map(|(_, text)| Tokenizer::embedded().count(text)).sum()
}

/// How many words two texts have in common at their beginnings.
fn common(one: &str, other: &str) -> usize {
    one.split(' ').zip(other.split(' ')).take_while(|(one, other)| one == other).count()
}

#[test]
fn equal_blocks_of_a_mooncake_trace_are_equal_beginnings_of_prompts() {
    let lines = concat!(
        r#"{"timestamp": 27482, "input_length": 1255, "output_length": 5, "hash_ids": [46, 47, 48]}"#,
        "\n",
        r#"{"timestamp": 27500, "input_length": 1600, "output_length": 2, "hash_ids": [46, 47, 49, 50]}"#,
        "\n",
        r#"{"timestamp": 27520, "input_length": 600, "output_length": 3, "hash_ids": [51]}"#,
        "\n"
    );
    for args in ["--fixed-schedule --fixed-schedule-auto-offset --concurrency 1", "--concurrency 1 --request-count 3"] {
        let Sent { bodies, run, _context } = sent("trace.jsonl", lines, args);
        assert_eq!(bodies.iter().map(tokens).collect::<Vec<_>>(), [1_255, 1_600, 600]);
        let text = |index: usize| messages(&bodies[index])[0].1;
        assert!((1_024..1_034).contains(&common(text(0), text(1))), "{}", common(text(0), text(1)));
        assert!(common(text(0), text(2)) < 8);
        assert_eq!(bodies.iter().map(|body| body["max_tokens"].clone()).collect::<Vec<_>>(), [5, 2, 3]);
        assert!(!run.stderr.contains("hash_ids"), "{}", run.stderr);
    }
}

/// An agent that asks twice, with a sub-agent between, and then with a context that was cut.
fn session() -> Value {
    json!({"id": "trace_1", "block_size": 64, "hash_id_scope": "local", "requests": [
        {"t": 0.0, "type": "n", "model": "big", "in": 150, "out": 20, "hash_ids": [1, 2], "api_time": 0.5, "stop": "tool_use"},
        {"t": 0.51, "type": "subagent", "agent_id": "x", "subagent_type": "Explore", "requests": [
            {"t": 0.51, "type": "n", "model": "small", "in": 70, "out": 4, "hash_ids": [1], "api_time": 0.2},
        ]},
        {"t": 0.72, "type": "n", "model": "big", "in": 200, "out": 5, "hash_ids": [1, 2, 3], "api_time": 0.1},
        {"t": 0.83, "type": "n", "model": "big", "in": 65, "out": 3, "hash_ids": [1], "api_time": 0.1},
    ]})
}

#[test]
fn a_session_of_an_agent_sends_its_recorded_contexts() {
    let text = format!("{}\n{}\n", session(), session());
    let args = "--concurrency 1 --request-count 8 --trajectory-start-max-ratio 0 -v";
    let Sent { bodies, run, _context } = sent("agents.jsonl", &text, args);
    assert_eq!(bodies.iter().map(tokens).collect::<Vec<_>>(), [150, 70, 200, 65, 150, 70, 200, 65]);
    let first = messages(&bodies[0]);
    let third = messages(&bodies[2]);
    assert_eq!(third.iter().map(|(role, _)| *role).collect::<Vec<_>>(), ["user", "assistant", "user"]);
    assert_eq!(third[0], first[0], "what was said stays");
    assert_eq!(Tokenizer::embedded().count(third[1].1), 20, "the recorded answer, not the server's");
    // The sub-agent and the context that was cut begin with the same block.
    let [sub_agent, cut] = [1, 3].map(|index| messages(&bodies[index])[0].1);
    assert!((64..70).contains(&common(first[0].1, sub_agent)) && (64..66).contains(&common(first[0].1, cut)));
    assert!(common(first[0].1, messages(&bodies[4])[0].1) < 8, "another session has other texts");
    assert_eq!(bodies.iter().take(4).map(|body| body["max_tokens"].clone()).collect::<Vec<_>>(), [20, 4, 5, 3]);
    let records = run.records();
    let records = records.in_order("profiling");
    let field = |name: &str| records.iter().take(4).map(|record| record[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("input_tokens"), [150, 70, 200, 65]);
    let histories: Vec<_> = records.iter().take(4).map(|record| record["conversation"]["history"].clone()).collect();
    let nothing = json!({"follows": "nothing"});
    let expected =
        [nothing.clone(), nothing.clone(), json!({"follows": {"turn": 0}, "recorded_answer": true}), nothing];
    // The first turn has nothing before it anyway.
    assert_eq!(histories[1..], expected[1..]);
    for words in [
        "2 row(s): 2 conversation(s) of 8 turn(s)",
        "sub-agent(s) are sent one at a time",
        "recorded models (`big`, `small`)",
    ] {
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
}

#[test]
fn sessions_start_where_they_are_under_way() {
    let Sent { bodies, run, _context } = sent(
        "agents.jsonl",
        &session().to_string(),
        "--concurrency 1 --request-count 1 --trajectory-start-min-ratio 1",
    );
    assert_eq!(bodies.iter().map(tokens).collect::<Vec<_>>(), [65]);
    assert!(run.stderr.contains("start at a random point"), "{}", run.stderr);
    let context = TestContext::new();
    fs::write(context.path().join("plain.jsonl"), "{\"input_length\": 5}").unwrap();
    for (args, words) in [
        (
            "--input-file plain.jsonl --trajectory-start-max-ratio 0.5",
            "are for recordings of agents, which this is not",
        ),
        ("--input-file plain.jsonl --trajectory-start-min-ratio 0.5 --trajectory-start-max-ratio 0.2", "it is above"),
        ("--input-file plain.jsonl --trajectory-start-max-ratio 2", "give a number from 0 to 1"),
        ("--trace-idle-gap-cap-seconds 3", "--input-file"),
    ] {
        let run = context.profile(args).expect(2);
        assert!(run.stderr.contains(words), "{args}: {}", run.stderr);
    }
}

#[test]
fn every_format_of_traces_is_sent_as_it_says() {
    let bailian = [
        r#"{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.1, "input_length": 40, "output_length": 3, "type": "text", "turn": 1, "hash_ids": [11, 12, 13]}"#,
        r#"{"chat_id": 160, "parent_chat_id": 159, "timestamp": 61.2, "input_length": 70, "output_length": 2, "type": "text", "turn": 2, "hash_ids": [11, 12, 14, 15, 16]}"#,
    ]
    .join("\n");
    let timed = [
        r#"{"timestamp": 0.0, "input_length": 40, "output_length": 3, "hash_ids": [1, 2, 3]}"#,
        r#"{"timestamp": 0.1, "input_length": 70, "output_length": 2, "hash_ids": [1, 2, 4, 5, 6]}"#,
    ]
    .join("\n");
    let azure =
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,40,3\n2023-11-16 18:17:04.0799600,70,2\n";
    let burst = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,40,3,43,Conversation log\n5.1,GPT-4,70,2,72,API log\n";
    for (name, text, format, shared) in [
        ("bailian.jsonl", bailian.as_str(), "bailian_trace", 32),
        ("timed.jsonl", timed.as_str(), "timed_trace", 32),
        ("azure.csv", azure, "azure_trace", 0),
        ("burst.csv", burst, "burst_gpt_trace", 0),
    ] {
        for args in [
            "--concurrency 1 --request-count 2".to_owned(),
            format!("--concurrency 1 --request-count 2 --custom-dataset-type {format}"),
            "--fixed-schedule --fixed-schedule-auto-offset --concurrency 1".to_owned(),
        ] {
            let Sent { bodies, run, _context } = sent(name, text, &args);
            assert_eq!(bodies.iter().map(tokens).collect::<Vec<_>>(), [40, 70], "{name} {args}");
            assert_eq!(bodies.iter().map(|body| body["max_tokens"].clone()).collect::<Vec<_>>(), [3, 2]);
            let [one, other] = [0, 1].map(|index| messages(&bodies[index]));
            assert_eq!([one.len(), other.len()], [1, 1], "each is a whole prompt");
            let common = common(one[0].1, other[0].1);
            assert!((shared..shared + 8).contains(&common), "{name}: {common}");
            // A later turn is due after the answer before it, and not before its own time.
            if args.contains("--fixed-schedule") {
                let dues: Vec<_> = run.dues().into_iter().map(|due| due / 10_000_000).collect();
                assert!(dues[0] == 0 && (9..).contains(&dues[1]), "{name}: {dues:?}");
                assert!(name == "bailian.jsonl" || dues[1] <= 10, "{name}: {dues:?}");
            }
        }
    }
}

#[test]
fn branches_hold_what_was_said_where_they_branch() {
    let lines = concat!(
        r#"{"session_id":"root","turns":[{"messages":[{"role":"user","content":"Plan."}],"max_tokens":4,"spawns":["critic"]},"#,
        r#"{"messages":[{"role":"user","content":"Go on."}],"max_tokens":4,"forks":["more"],"delay":5}]}"#,
        "\n",
        r#"{"session_id":"critic","turns":[{"messages":[{"role":"user","content":"Is it good?"}],"max_tokens":2}]}"#,
        "\n",
        r#"{"session_id":"more","turns":[{"messages":[{"role":"user","content":"More."}],"max_tokens":2}]}"#,
        "\n"
    );
    let Sent { bodies, run, _context } = sent("dag.jsonl", lines, "--concurrency 1 --request-count 4");
    let said = |body: &Value| {
        let roles = messages(body);
        roles
            .iter()
            .map(|(role, text)| if *role == "user" { (*text).to_owned() } else { "..".to_owned() })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let expected = ["Plan.", "Is it good?", "Plan. .. Go on.", "Plan. .. Go on. .. More."];
    assert_eq!(bodies.iter().map(said).collect::<Vec<_>>(), expected);
    assert!(run.stderr.contains("2 branch(es) are sent one after another"), "{}", run.stderr);
}

#[test]
fn spans_are_sent_with_their_recorded_messages() {
    let span = |trace: &str, start: u64, messages: Value| {
        json!({"traceId": trace, "startTimeUnixNano": (start * 1_000_000_000).to_string(), "endTimeUnixNano": (start * 1_000_000_000 + 5).to_string(),
            "attributes": [
                {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                {"key": "gen_ai.request.temperature", "value": {"doubleValue": 0.5}},
                {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "3"}},
                {"key": "gen_ai.input.messages", "value": {"stringValue": messages.to_string()}},
            ]})
        .to_string()
    };
    let text = |role: &str, text: &str| json!({"role": role, "parts": [{"type": "text", "content": text}]});
    let lines = [
        span("t", 1_732_000_001, json!([text("user", "One?"), text("assistant", "1."), text("user", "Two?")])),
        span("t", 1_732_000_000, json!([text("user", "One?")])),
    ]
    .join("\n");
    let args = "--concurrency 1 --request-count 2 --trace-idle-gap-cap-seconds 0.01";
    let Sent { bodies, run, _context } = sent("spans.jsonl", &lines, args);
    assert_eq!(messages(&bodies[0]), [("user", "One?")]);
    assert_eq!(messages(&bodies[1]), [("user", "One?"), ("assistant", "1."), ("user", "Two?")]);
    assert!(bodies.iter().all(|body| body["temperature"] == 0.5 && body["max_tokens"] == 3), "{bodies:?}");
    assert!(run.stderr.contains("1 wait(s) before a request are cut to 0.01 s"), "{}", run.stderr);
}
