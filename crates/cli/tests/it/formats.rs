//! Formats of prompts, through the real binary: the bodies that are sent, byte for byte.

use crate::context::TestContext;
use crate::tap::Tap;
use std::fs;
use std::path::Path;

const MODEL: &str = "-m m --no-probe --concurrency 1";

/// Puts files of these paths and texts into the context's directory.
fn with_files(files: &[(&str, &[u8])]) -> TestContext {
    let models = ["m", "other", "tinychat"].map(str::to_owned).to_vec();
    let context = TestContext::with(|config| config.models = models);
    for (name, bytes) in files {
        let path = context.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    context
}

/// The bodies that a run with these arguments sends, and what it says.
#[track_caller]
fn sent(context: &TestContext, args: &str) -> (Vec<String>, String) {
    let tap = Tap::before(context.addr());
    let run = context.run(context.command_to(&tap.url(), &format!("{MODEL} {args}"))).expect(0);
    let bodies = tap.exchanges().into_iter().filter(|exchange| exchange.head.starts_with("POST"));
    (bodies.map(|exchange| String::from_utf8(exchange.body).unwrap()).collect(), run.stderr)
}

/// The body of a chat with these messages.
fn chat(messages: &str, rest: &str) -> String {
    format!(r#"{{"model":"m","messages":[{messages}]{rest}}}"#)
}

fn user(text: &str) -> String {
    format!(r#"{{"role":"user","content":"{text}"}}"#)
}

#[test]
fn each_format_sends_the_bodies_that_it_defines() {
    let jsonl = concat!(
        r#"{"text": "One?", "output_length": 2, "extra": {"top_k": 1}, "priority": 2}"#,
        "\n",
        r#"{"texts": ["Two?", "Three?"], "max_tokens": 3, "model": "other"}"#,
        "\n",
        r#"{"prompt": "What?", "image": "a.png", "audio": "wav,AAAA", "max_tokens": 2}"#,
        "\n",
        r#"{"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}], "tools": [], "max_tokens": 2}"#,
        "\n",
        r#"{"payload": {"messages": [{"content": "Hi", "role": "user"}], "max_tokens": 2, "x": null}}"#,
        "\n",
    );
    let parts = r#"{"type":"text","text":"What?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORwE="}},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}"#;
    let two = r#"{"role":"user","content":[{"type":"text","text":"Two?"},{"type":"text","text":"Three?"}]}"#;
    let system = r#"{"role":"system","content":"Be kind."},"#;
    let cases: Vec<(&str, &str, &str, Vec<String>)> = vec![
        (
            "a.jsonl",
            jsonl,
            "",
            vec![
                chat(&user("One?"), r#","max_tokens":2,"priority":2,"top_k":1"#),
                chat(two, r#","max_tokens":3"#).replace(r#""m","#, r#""other","#),
                chat(&format!(r#"{{"role":"user","content":[{parts}]}}"#), r#","max_tokens":2"#),
                chat(&format!("{system}{}", user("Hi")), r#","max_tokens":2,"tools":[]"#),
                r#"{"messages":[{"content":"Hi","role":"user"}],"max_tokens":2,"x":null}"#.to_owned(),
            ],
        ),
        (
            "a.json",
            "[{\"prompt\": \"One?\", \"max_tokens\": 2},\n {\"prompt\": \"Two?\", \"max_tokens\": 2}]",
            "",
            vec![chat(&user("One?"), r#","max_tokens":2"#), chat(&user("Two?"), r#","max_tokens":2"#)],
        ),
        (
            "a.txt",
            "One?\n\nTwo?\n",
            "--osl 2",
            vec![chat(&user("One?"), r#","max_tokens":2"#), chat(&user("Two?"), r#","max_tokens":2"#)],
        ),
        (
            "a.csv",
            "id,ask,n\n1,\"One, two?\",2\n2,Three?,3\n",
            "--column prompt=ask,output_length=n",
            vec![chat(&user("One, two?"), r#","max_tokens":2"#), chat(&user("Three?"), r#","max_tokens":3"#)],
        ),
        (
            "b.jsonl",
            "{\"max_tokens\":2,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"seed\":1}\n",
            "--custom-dataset-type raw_payload",
            vec![r#"{"max_tokens":2,"messages":[{"role":"user","content":"a"}],"seed":1}"#.to_owned()],
        ),
        (
            "inputs.json",
            r#"{
  "data": [
    {
      "session_id": "s",
      "payloads": [
        {
          "messages": [{"role": "user", "content": "a"}],
          "model": "tinychat",
          "max_completion_tokens": 8
        }
      ]
    }
  ]
}"#,
            "",
            vec![
                r#"{"messages":[{"role":"user","content":"a"}],"model":"tinychat","max_completion_tokens":8}"#
                    .to_owned(),
            ],
        ),
        (
            "c.jsonl",
            concat!(
                r#"{"input": {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}], "max_tokens": 2}}"#,
                "\n"
            ),
            "",
            vec![chat(&format!("{system}{}", user("Hi")), r#","max_tokens":2"#)],
        ),
    ];
    for (name, text, args, bodies) in cases {
        let context = with_files(&[(name, text.as_bytes()), ("a.png", b"\x89PNG\x01")]);
        let count = bodies.len();
        let (sent, _) = sent(&context, &format!("--input-file {name} {args} --request-count {count}"));
        assert_eq!(sent, bodies, "{name}");
    }
}

#[test]
fn conversations_of_files_hold_the_answers_of_the_server() {
    let sharegpt = r#"[{"id": "x", "conversations": [{"from": "human", "value": "One?"}, {"from": "gpt", "value": "Yes."}, {"from": "human", "value": "Two?"}, {"from": "gpt", "value": "No."}]}]"#;
    let multi_turn =
        r#"{"session_id": "x", "turns": [{"text": "One?", "output_length": 2}, {"text": "Two?", "output_length": 2}]}"#;
    let genai_perf = r#"{"data": [
        {"payload": [{"model": "m", "messages": [{"role": "user", "content": "One?"}], "max_tokens": 2}], "session_id": ["x"], "delay": [1]},
        {"payload": [{"model": "m", "messages": [{"role": "user", "content": "Two?"}], "max_tokens": 2}], "session_id": ["x"]}]}"#;
    for (name, text) in [("a.json", sharegpt), ("a.jsonl", multi_turn), ("inputs.json", genai_perf)] {
        let context = with_files(&[(name, text.as_bytes())]);
        let (bodies, _) = sent(&context, &format!("--input-file {name} --request-count 2"));
        assert_eq!(bodies[0], chat(&user("One?"), r#","max_tokens":2"#), "{name}");
        let begins = format!(r#"{{"model":"m","messages":[{},{{"role":"assistant","content":""#, user("One?"));
        let ends = format!(r#""}},{}],"max_tokens":2}}"#, user("Two?"));
        assert!(bodies[1].starts_with(&begins) && bodies[1].ends_with(&ends), "{name}: {}", bodies[1]);
    }
}

#[test]
fn a_batch_of_texts_is_one_request_of_completions() {
    let context = with_files(&[("a.jsonl", br#"{"texts": ["a", "b"], "max_tokens": 2}"#)]);
    let args = "--input-file a.jsonl --request-count 1 --endpoint-type completions";
    assert_eq!(sent(&context, args).0, [r#"{"model":"m","prompt":["a","b"],"max_tokens":2}"#]);
}

#[test]
fn a_directory_is_read_file_by_file_and_bad_rows_can_be_left_out() {
    let files: [(&str, &[u8]); 2] = [("in/a.jsonl", b"{\"text\": \"One?\"}\n{\"text\": \n"), ("in/b.txt", b"Two?\n")];
    let context = with_files(&files);
    let run = context.profile("--input-file in --request-count 2").expect(2);
    let words = "--input-file in: in/a.jsonl: line 2, column 9: the JSON ends here before it is complete";
    assert!(run.stderr.contains(words), "{}", run.stderr);
    assert!(context.requests().is_empty());
    let (bodies, said) = sent(&context, "--input-file in --request-count 2 --osl 2 --skip-bad-rows");
    assert_eq!(bodies, ["One?", "Two?"].map(|text| chat(&user(text), r#","max_tokens":2"#)));
    let words = "1 bad row(s) were left out; the first is in/a.jsonl: line 2, column 9: ";
    assert!(said.contains(words), "{said}");
}

#[test]
fn sets_of_the_hub_are_read_from_its_cache_by_their_names() {
    let of = |repository: &str, file: &str| format!(".cache/huggingface/hub/datasets--{repository}/{file}");
    let article = of("abisee--cnn_dailymail", "snapshots/c0ffee/3.0.0/train-00000-of-00001.csv");
    let reference = of("abisee--cnn_dailymail", "refs/main");
    let questions = of("Open-Orca--OpenOrca", "snapshots/c0ffee/1M-GPT4-Augmented.parquet");
    let other = of("Open-Orca--OpenOrca", "refs/main");
    let parquet = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../prompt/tests/fixtures/openorca.parquet"));
    let context = with_files(&[
        (&article, b"article,highlights,id\nOne.,A B,1\n"),
        (&reference, b"c0ffee"),
        (&questions, &parquet.unwrap()),
        (&other, b"c0ffee"),
    ]);
    let (bodies, said) = sent(&context, "--public-dataset cnn_dailymail --no-download --request-count 1");
    assert_eq!(bodies, [chat(&user("One."), r#","max_tokens":2"#)]);
    assert!(said.contains("`id` of its columns are not used"), "{said}");
    let (bodies, _) = sent(&context, "--input-dataset openorca --no-download --request-count 1 --osl 2");
    let system = r#"{"role":"system","content":"Be kind."},"#;
    assert_eq!(bodies, [chat(&format!("{system}{}", user("Why?")), r#","max_tokens":2"#)]);
    let run = context.profile("--public-dataset org/name --no-download").expect(2);
    let words = ["--public-dataset org/name: ", "downloads are switched off", "hf download org/name"];
    assert!(words.iter().all(|words| run.stderr.contains(words)), "{}", run.stderr);
}

#[test]
fn flags_of_files_are_refused_where_they_would_do_nothing() {
    let context = with_files(&[("a.csv", b"a,b\n1,2\n")]);
    for (args, words) in [
        ("--skip-bad-rows", "--skip-bad-rows does nothing without --input-file or --public-dataset"),
        ("--column prompt=a", "--column does nothing without --input-file or --public-dataset"),
        ("--custom-dataset-type jsonl", "--custom-dataset-type does nothing without --input-file"),
        ("--input-file a.csv --custom-dataset-type none", "this format is not known; known are "),
        ("--input-file a.csv --column x=a", "`x` is not known; known are text, "),
        ("--input-file a.csv --column prompt=c", "--input-file a.csv: there is no column `c`; its columns are a, b"),
        (
            "--input-file a.csv",
            "--input-file a.csv: none of its columns is known to be the prompt; its columns are a, b",
        ),
        ("--input-file a.csv --public-dataset sharegpt", "--public-dataset"),
    ] {
        let run = context.profile(args).expect(2);
        assert!(run.stderr.contains(words), "{args}: {}", run.stderr);
    }
    assert!(context.requests().is_empty());
}
