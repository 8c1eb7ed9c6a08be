//! What servers say on its way to people: nothing of it steers a terminal or names a file, and no secret that a server repeats is shown.

use crate::context::{Run, TestContext, files};
use crate::perf_analyzer;
use crate::script::{Server, serve};
use crate::words::{LAST_CHUNK, STREAM_HEAD, chunk, document, finish, stream, token};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// What a terminal would act on: its own sequences, a line that looks like this program's, and a turn of the text's direction.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\r\nRequests: 100 ok\u{202e}\u{9b}31m";

/// A server that answers every POST with `answer` and every GET with a list of one model of that name.
fn server(model: &str, answer: String) -> Server {
    let models = document(200, "application/json", &json!({"object": "list", "data": [{"id": model}]}).to_string());
    serve(move |peer| {
        while let Some(request) = peer.request() {
            peer.send(if request.head.starts_with("GET") { &models } else { &answer });
        }
    })
}

fn profile(context: &TestContext, server: &Server, args: &str) -> Run {
    let url = format!("http://{}", server.addr());
    context.run(context.command_to(&url, &format!("--streaming --isl 10 --osl 2 --request-count 2 {args}")))
}

/// All text of a run: what it printed and what is in its files.
fn everything(run: &Run, artifacts: &Path) -> Vec<(String, String)> {
    let mut texts = vec![("stdout".to_owned(), run.stdout.clone()), ("stderr".to_owned(), run.stderr.clone())];
    let mut open = vec![artifacts.to_owned()];
    while let Some(dir) = open.pop() {
        for name in files(&dir) {
            let path = dir.join(&name);
            match path.is_dir() {
                true => open.push(path),
                false => texts.push((name, String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned())),
            }
        }
    }
    texts
}

#[track_caller]
fn assert_harmless(run: &Run) {
    for text in [&run.stdout, &run.stderr] {
        let hidden = |c: &char| *c != '\n' && streamgauge_core::text::is_hidden(*c);
        assert_eq!(text.chars().find(hidden), None, "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("Requests: 100 ok")), "{text}");
    }
}

#[test]
fn messages_and_names_of_servers_are_written_out() {
    let failing = document(500, "application/json", &json!({"error": {"message": HOSTILE}}).to_string());
    for args in ["-m m", "-m m --no-probe"] {
        let context = TestContext::new();
        let run = profile(&context, &server("m", failing.clone()), args).expect(1);
        assert_harmless(&run);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("\\u{1b}[2J\\u{1b}]0;title\\u{7}  Requests: 100 ok\\u{202e}\\u{9b}31m"), "{said}");
    }
    let context = TestContext::new();
    let run = profile(&context, &server(&format!("a{HOSTILE}b"), stream(&["x", "y"])), "-v").expect(0);
    assert_harmless(&run);
    let dirs = files(&context.path().join("artifacts"));
    assert_eq!(dirs, ["a_[2J_]0;title___Requests: 100 ok__31mb-openai-chat-concurrency1"]);
    assert_eq!(run.bodies()[0]["model"], format!("a{HOSTILE}b"), "the server is asked for the name that it has");
}

#[test]
fn what_grpc_says_is_written_out() {
    let context = TestContext::new();
    let refused = perf_analyzer::run(&context, "-i grpc -m a\u{1b}[31m\u{202e}b --request-count 2").expect(99);
    assert_harmless(&refused);
    assert!(refused.stderr.contains("a\\u{1b}[31m\\u{202e}b"), "{}", refused.stderr);
}

const KEY: &str = "SEKRETabcdefghijklmnopqrstuvwxyz0123456789END";

#[test]
fn a_key_is_hidden_wherever_a_message_is_cut() {
    let refusal = |text: String| document(401, "application/json", &json!({"error": {"message": text}}).to_string());
    let answers = [
        // Where a message is cut for people, and where it is cut before secrets are looked for.
        refusal(format!("{} {KEY}", "x".repeat(257))),
        refusal(format!("{} {KEY}", "x".repeat(4_070))),
        refusal(format!("{KEY} {KEY} {}", "x".repeat(400))),
        document(200, "application/json", &format!("{}{KEY}", "z".repeat(85))),
        document(200, "application/json", &format!("{}{KEY}", "z".repeat(4_000))),
        // Without the probe the list of models is asked for first.
        document(200, "text/event-stream", &format!("data: {}{KEY}\n\n", "z".repeat(70))),
    ];
    for answer in answers {
        let context = TestContext::new();
        let server = server("m", answer);
        for args in ["--no-probe", "", "--no-probe -m m --export-level raw"] {
            let url = format!("http://{}", server.addr());
            let mut command =
                context.command_to(&url, &format!("--streaming --isl 10 --osl 2 --request-count 2 {args}"));
            command.env("STREAMGAUGE_API_KEY", KEY);
            let run = context.run(command).expect(1);
            for (name, text) in everything(&run, &context.path().join("artifacts")) {
                assert!(!text.contains("SEKRET"), "{name}: {text}");
            }
        }
    }
}

#[test]
fn a_list_of_models_that_repeats_the_key_is_shown_without_it() {
    let refusing = serve(|peer| {
        while peer.request().is_some() {
            peer.send(&document(401, "application/json", &json!({"error": format!("no key {KEY}")}).to_string()));
        }
    });
    let context = TestContext::new();
    let run = profile(&context, &refusing, &format!("--api-key {KEY}")).expect(1);
    assert!(run.stderr.contains("no key <hidden>") && !run.stderr.contains("SEKRET"), "{}", run.stderr);
}

#[test]
fn values_of_headers_and_queries_are_in_no_file() {
    let names = "X-JWT X-Credential X-User-Pass X-Pwd X-Session-Id X-Sid X-Amz-Signature X-SAS X-PAT X-Anything Cookie";
    let headers: String =
        names.split_whitespace().enumerate().map(|(index, name)| format!(" -H {name}:VALUE{index}Q")).collect();
    // A server that repeats all of them, and one value in two pieces.
    let words: String = (0..11).map(|index| format!("VALUE{index}Q-SECOND ")).collect();
    let event = token("VALUEINQUERY");
    let (one, two) = event.split_at(event.find("INQUERY").unwrap());
    let answer = format!(
        "{STREAM_HEAD}{}{}{}{}{LAST_CHUNK}",
        chunk(&token(&words)),
        chunk(one),
        chunk(two),
        chunk(&finish(0, "stop"))
    );
    let server = server("m", answer);
    let context = TestContext::new();
    let endpoint = "--endpoint /v1/chat/completions?api-version=VALUEINQUERY&VALUEALONE";
    let run =
        profile(&context, &server, &format!("-v -m m {endpoint}{headers} -H User-Agent:shown --export-level raw"));
    let run = run.expect(0);
    for (name, text) in everything(&run, &context.path().join("artifacts")) {
        // Values of less than eight characters are not looked for in bytes.
        let found = text.contains("VALUEINQUERY") || text.contains("VALUEALONE");
        let header = text.contains("VALUE0Q") && name != "profile_export.json";
        assert!(!found && !header, "{name}: {text}");
    }
    let export = run.json("profile_export.json");
    assert_eq!(export["endpoint"], "v1/chat/completions?api-version=<hidden>&<hidden>");
    let outputs = export["experiments"][0]["requests"][0]["response_outputs"].as_array().unwrap();
    let texts: Vec<&str> = outputs.iter().map(|output| output["response"].as_str().unwrap()).collect();
    assert!(texts.concat().contains(&"*".repeat("VALUEINQUERY".len())), "{texts:?}");
    let config = run.summary()["input_config"].clone();
    assert_eq!(config["endpoint"]["custom"], export["endpoint"]);
    let shown: Vec<&Value> = config["input"]["header"].as_array().unwrap().iter().collect();
    assert_eq!(shown.last().unwrap().as_str().unwrap(), "User-Agent:shown");
    assert!(shown[..11].iter().all(|header| header.as_str().unwrap().ends_with(":<hidden>")), "{shown:?}");
    assert_eq!(run.records().header["plan"]["endpoint"]["path"], "/v1/chat/completions?api-version=<hidden>&<hidden>");
}
