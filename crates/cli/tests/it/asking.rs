//! How a server is asked before load: the test request, where it leads, and which members of its body are taken.

use crate::context::{TestContext, wait_until};
use crate::scripted::{Request, Scripted, chat_answer, chat_stream, document};
use serde_json::{Value, json};
use std::io::{Read, Write};

/// A run of two requests.
const TWO: &str = "-m m --tokenizer cl100k_base --isl 10 --osl 4 --request-count 2";

/// Refuses a body with any of the members that are named, in words that name none of them.
fn refuses(members: &'static [&'static str], request: &Request) -> Option<String> {
    let body = request.json();
    match members.iter().any(|name| body.get(name).is_some()) {
        true => Some(document("400 Bad Request", "", r#"{"error":{"message":"invalid request"}}"#)),
        false if body["stream"] == true => Some(chat_stream()),
        false => Some(chat_answer()),
    }
}

#[test]
fn the_test_request_is_the_one_that_the_load_sends() {
    let server = Scripted::serve(|request| refuses(&[], request));
    let context = TestContext::new();
    let args = format!("{TWO} --num-prompts 1 --output-tokens-mean-deterministic --extra-inputs thinking:true");
    context.run(context.command_to(&server.url(), &args)).expect(0);
    let bodies: Vec<Value> = server.seen().iter().map(Request::json).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert_eq!((&bodies[0]["max_tokens"], &bodies[0]["min_tokens"]), (&json!(4), &json!(4)));
}

#[test]
fn members_that_a_server_refuses_without_naming_them_are_left_out_or_replaced() {
    let length = |body: &Value| (body.get("max_tokens").cloned(), body.get("max_completion_tokens").cloned());
    for (members, notes, kept) in [
        (&["stream_options"][..], &["`stream_options`"][..], (Some(json!(4)), None)),
        (&["max_tokens"], &["`max_completion_tokens` is sent in its place"], (None, Some(json!(4)))),
        (&["max_tokens", "stream_options"], &["`stream_options`", "`max_completion_tokens`"], (None, Some(json!(4)))),
    ] {
        let server = Scripted::serve(|request| refuses(members, request));
        let context = TestContext::new();
        let run = context.run(context.command_to(&server.url(), &format!("{TWO} --streaming"))).expect(0);
        assert_eq!(run.stderr.matches("note: the server refuses").count(), notes.len(), "{}", run.stderr);
        assert!(notes.iter().all(|note| run.stderr.contains(note)), "{}", run.stderr);
        let last = server.seen().last().unwrap().json();
        assert_eq!(length(&last), kept, "{members:?}");
        assert_eq!(last.get("stream_options").is_some(), !members.contains(&"stream_options"), "{members:?}");
        // What the files say was asked is what was asked.
        assert_eq!(length(&run.bodies()[0]), kept, "{members:?}");
    }
}

#[test]
fn what_was_chosen_is_not_replaced() {
    let server = Scripted::serve(|request| refuses(&["max_tokens"], request));
    let context = TestContext::new();
    let chosen = |flags: &str| context.run(context.command_to(&server.url(), &format!("{TWO} {flags}")));
    let run = chosen("--max-tokens-field max_tokens").expect(1);
    assert!(run.stderr.contains("invalid request") && run.stderr.contains("--no-probe"), "{}", run.stderr);
    assert_eq!(server.seen().len(), 1);
    let run = chosen("--max-tokens-field max_completion_tokens").expect(0);
    assert_eq!(run.stderr, "note: without --streaming an answer comes in one piece: TTFT and ITL are not measured\n");
}

#[test]
fn usage_is_asked_for_as_chosen() {
    for (flags, options) in [
        ("--no-usage", Value::Null),
        ("--continuous-usage", json!({"include_usage": true, "continuous_usage_stats": true})),
    ] {
        let server = Scripted::serve(|request| refuses(&[], request));
        let context = TestContext::new();
        context.run(context.command_to(&server.url(), &format!("{TWO} --streaming {flags}"))).expect(0);
        assert!(server.seen().iter().all(|request| request.json()["stream_options"] == options), "{flags}");
    }
    let context = TestContext::new();
    for (args, words) in [
        ("--no-usage", "--no-usage does nothing without --streaming"),
        ("--streaming --no-usage --continuous-usage", "cannot be used with"),
        ("--max-tokens-field tokens", "give max_tokens or max_completion_tokens"),
        ("--max-tokens-field max_tokens", "--max-tokens-field does nothing without --osl"),
        ("-m m --endpoint-type generate --streaming --no-usage", "--no-usage belongs to chat and completions"),
    ] {
        let run = context.profile(args).expect(2);
        assert!(run.stderr.contains(words), "{args}: {}", run.stderr);
    }
}

#[test]
fn a_silent_server_is_shown_and_can_be_interrupted() {
    let server = Scripted::serve(|_| None);
    let context = TestContext::new();
    let running = context.start_bare(&format!("profile --url {} --ui none {TWO} --streaming", server.url()));
    wait_until("the test request", || !server.seen().is_empty());
    let run = running.interrupt_until_it_ends().expect(130);
    assert_eq!(run.stderr, "interrupted while the test request was waited for: nothing was measured\n");
    assert!(run.stdout.is_empty() && server.seen().len() == 1);
}

#[test]
fn a_wait_is_shown_with_what_it_is_for() {
    let server = Scripted::serve(|_| None);
    let context = TestContext::new();
    // The limit makes an end of it; the first notice comes before.
    let args = format!("{TWO} --streaming --first-byte-timeout 4s");
    let run = context.run(context.command_to(&server.url(), &args)).expect(1);
    let waits = format!("waiting for the first output of the test request to {}/v1/chat/completions", server.url());
    assert!(run.stderr.contains(&waits) && run.stderr.contains("Ctrl-C ends it"), "{}", run.stderr);
    assert!(run.stderr.contains("the answer's first byte took longer than 4 s"), "{}", run.stderr);
}

#[test]
fn the_wait_for_the_list_of_models_is_shown_and_bounded() {
    let server = Scripted::serve(|_| None);
    let context = TestContext::new();
    let run = context.run(context.command_to(&server.url(), "--streaming --request-timeout 4s")).expect(1);
    let waits = format!("waiting for the list of models from {}/v1/models (at most 4 s)", server.url());
    assert!(run.stderr.contains(&waits) && run.stderr.contains("--model names one without asking"), "{}", run.stderr);
}

/// A server of HTTP/2 alone, which greets with its settings and says nothing else, as gRPC's do to a client of HTTP/1.1.
fn http2_only() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
                // Until the client is gone, or has said something that is no HTTP/2.
                let _ = stream.read(&mut [0; 1024]);
            });
        }
    });
    addr
}

#[test]
fn the_port_of_another_protocol_is_named_with_the_usual_one() {
    let context = TestContext::new();
    let run = context.run(context.command_to(&format!("http://{}", http2_only()), TWO)).expect(1);
    assert!(run.stderr.contains("speaks HTTP/2 on port") && run.stderr.contains("--service-kind triton"), "{run:?}");
    let http = Scripted::serve(|_| Some(document("404 Not Found", "Connection: close\r\n", "{}")));
    let args = "-m m --service-kind triton --tokenizer cl100k_base --isl 10 --streaming";
    let run = context.run(context.command_to(&format!("127.0.0.1:{}", http.port()), args)).expect(1);
    assert!(run.stderr.contains(&format!("grpc://127.0.0.1:{}", http.port())), "{}", run.stderr);
    assert!(run.stderr.contains("speaks HTTP/1.1 on port") && run.stderr.contains("usually 8001"), "{}", run.stderr);
}

#[test]
fn a_redirect_on_the_same_host_is_followed_before_load() {
    let server = Scripted::serve(|request| match request.path.as_str() {
        "/v1/chat/completions/" => Some(chat_answer()),
        path => Some(document("307 Temporary Redirect", &format!("Location: {path}/\r\n"), "")),
    });
    let context = TestContext::new();
    let run = context.run(context.command_to(&server.url(), TWO)).expect(0);
    assert!(run.stderr.contains("redirects to") && run.stderr.contains("the load goes there"), "{}", run.stderr);
    let paths: Vec<String> = server.seen().into_iter().map(|request| request.path).collect();
    let last = "/v1/chat/completions/";
    assert_eq!(paths, ["/v1/chat/completions", last, last, last]);
}

#[test]
fn a_redirect_elsewhere_is_refused_by_name() {
    for (location, words) in [
        (
            "http://elsewhere.invalid/v1?key=secret",
            "redirects to http://elsewhere.invalid/v1?key=<hidden>, another host",
        ),
        ("/v1/chat/completions", "redirects to itself"),
    ] {
        let answer = document("308 Permanent Redirect", &format!("Location: {location}\r\n"), "");
        let server = Scripted::serve(move |_| Some(answer.clone()));
        let context = TestContext::new();
        let run = context.run(context.command_to(&server.url(), TWO)).expect(1);
        assert!(run.stderr.contains(words) && !run.stderr.contains("secret"), "{}", run.stderr);
    }
}

#[test]
fn a_redirected_list_of_models_is_found() {
    let server = Scripted::serve(|request| match request.path.as_str() {
        "/v1/models" => Some(document("301 Moved Permanently", "Location: /api/models\r\n", "")),
        "/api/models" => Some(document("200 OK", "", r#"{"data":[{"id":"only"}]}"#)),
        _ => Some(chat_answer()),
    });
    let context = TestContext::new();
    let args = "--tokenizer cl100k_base --isl 10 --osl 4 --request-count 2";
    let run = context.run(context.command_to(&server.url(), args)).expect(0);
    assert_eq!(run.bodies()[0]["model"], "only");
}

#[test]
fn an_answer_of_something_else_ends_the_run_before_load() {
    let server = Scripted::serve(|_| Some(document("200 OK", "", r#"{"ok":true}"#)));
    let context = TestContext::new();
    let run = context.run(context.command_to(&server.url(), TWO)).expect(1);
    assert!(run.stderr.contains(r#"status 200 and no output: {"ok":true}"#), "{}", run.stderr);
    assert!(run.stderr.contains("--endpoint-type"), "{}", run.stderr);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_run_in_which_nothing_was_answered_says_the_likely_cause() {
    let server = Scripted::serve(|_| Some(document("401 Unauthorized", "", r#"{"error":{"message":"no key"}}"#)));
    let context = TestContext::new();
    let run = context.run(context.command_to(&server.url(), &format!("{TWO} --no-probe"))).expect(1);
    assert!(run.stderr.contains("error status (body): no key was sent: give one with --api-key"), "{}", run.stderr);
}

#[test]
fn whole_paths_and_base_paths_are_taken_as_people_give_them() {
    for (path, asked, models) in [
        ("/v1/chat/completions", "/v1/chat/completions", "/v1/models"),
        ("/openai/v1", "/openai/v1/chat/completions", "/openai/v1/models"),
        ("/api/v3/", "/api/v3/chat/completions", "/api/v3/models"),
        ("/base", "/base/v1/chat/completions", "/base/v1/models"),
        ("/x/chat/completions?api-version=2", "/x/chat/completions?api-version=2", "/x/models"),
    ] {
        let server = Scripted::serve(|request| match request.method.as_str() {
            "GET" => Some(document("200 OK", "", r#"{"data":[{"id":"only"}]}"#)),
            _ => Some(chat_answer()),
        });
        let context = TestContext::new();
        let args = "--tokenizer cl100k_base --isl 10 --osl 4 --request-count 1 --no-probe";
        let url = format!("HTTP://127.0.0.1:{}{path}", server.port());
        context.run(context.command_to(&url, args)).expect(0);
        let paths: Vec<String> = server.seen().into_iter().map(|request| request.path).collect();
        assert_eq!(paths, [models, asked]);
    }
    let context = TestContext::new();
    let run = context.run(context.command_to("http://h/v1/completions", "-m m")).expect(2);
    assert!(run.stderr.contains("give --endpoint-type completions"), "{}", run.stderr);
}

/// A KServe v2 server over HTTP with one model, whose metadata have these inputs; `config` is its configuration, if it tells one.
fn kserve(inputs: &'static str, config: Option<&'static str>) -> Scripted {
    Scripted::serve(move |request| {
        let found = |body: &str| Some(document("200 OK", "", body));
        match request.path.as_str() {
            "/v2" => found(r#"{"name":"mlserver","version":"1.6.0","extensions":[]}"#),
            "/v2/models/m" => found(&format!(
                r#"{{"name":"m","versions":[],"platform":"","inputs":[{inputs}],"outputs":[{{"name":"text_output","datatype":"BYTES","shape":[1]}}],"parameters":{{}}}}"#
            )),
            "/v2/models/m/ready" => found(""),
            "/v2/models/m/config" if let Some(config) = config => found(config),
            "/v2/models/m/infer" => found(
                r#"{"model_name":"m","id":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[0.5,1.5]}]}"#,
            ),
            "/v2/models/m/generate" => found(r#"{"model_name":"m","text_output":"one two"}"#),
            _ => Some(document("404 Not Found", "", r#"{"error":"Not Found"}"#)),
        }
    })
}

#[test]
fn a_kserve_server_without_tritons_extensions_is_measured_from_its_metadata() {
    let server = kserve(r#"{"name":"x","datatype":"FP32","shape":[-1,2]}"#, None);
    let context = TestContext::new();
    let args = format!("perf-analyzer -m m -i http -u 127.0.0.1:{} --shape x:1,2 --request-count 4", server.port());
    let run = context.run(context.bare(&args)).expect(0);
    for words in ["no ModelConfig call", "extension binary_tensor_data", "sent and asked for as JSON"] {
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
    let sent = server.seen().into_iter().rfind(|request| request.path.ends_with("/infer")).unwrap().json();
    assert_eq!(sent["inputs"][0]["data"].as_array().map(Vec::len), Some(2), "{sent}");
    let nothing = kserve("", None);
    let args = format!("perf-analyzer -m m -i http -u 127.0.0.1:{} --request-count 4", nothing.port());
    let run = context.run(context.bare(&args));
    assert!(run.stderr.contains("metadata of model m name no inputs") && run.code != Some(0), "{}", run.stderr);
}

#[test]
fn the_generate_extension_is_asked_in_its_backends_words() {
    let text = r#"{"name":"text_input","datatype":"BYTES","shape":[1]}"#;
    let vllm = r#"{"name":"text_input","datatype":"BYTES","shape":[1]},{"name":"sampling_parameters","datatype":"BYTES","shape":[1]},{"name":"exclude_input_in_output","datatype":"BOOL","shape":[1]}"#;
    let trt =
        r#"{"name":"text_input","datatype":"BYTES","shape":[1]},{"name":"max_tokens","datatype":"INT32","shape":[1]}"#;
    for (inputs, osl, name, value) in [
        (vllm, "--osl 4", "sampling_parameters", json!(r#"{"max_tokens":"4"}"#)),
        (trt, "--osl 4", "max_tokens", json!(4)),
        (trt, "", "max_tokens", json!(256)),
        (text, "", "max_tokens", Value::Null),
    ] {
        let server = kserve(inputs, Some(r#"{"max_batch_size":0}"#));
        let context = TestContext::new();
        let args = format!("-m m --endpoint-type generate --tokenizer cl100k_base --isl 10 --request-count 2 {osl}");
        let run = context.run(context.command_to(&server.url(), &args)).expect(0);
        let sent: Vec<Value> =
            server.seen().iter().filter(|request| request.path.ends_with("/generate")).map(Request::json).collect();
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|body| body[name] == value && body["text_input"].is_string()), "{sent:?}");
        // Without it a whole answer begins with the prompt, whose tokens would count as output.
        let excludes = |body: &Value| body.get("exclude_input_in_output") == Some(&json!(true));
        assert!(sent.iter().all(|body| excludes(body) == (inputs == vllm)), "{sent:?}");
        assert_eq!(run.stderr.contains("needs max_tokens"), value == json!(256), "{}", run.stderr);
    }
    let server = kserve(r#"{"name":"x","datatype":"FP32","shape":[2]}"#, Some("{}"));
    let context = TestContext::new();
    let run = context.run(context.command_to(&server.url(), "-m m --endpoint-type generate")).expect(2);
    assert!(run.stderr.contains("has no input text_input (its inputs: x)"), "{}", run.stderr);
}

#[test]
fn random_inputs_of_a_decoupled_model_are_told_of() {
    // Every request is refused, so that no random length keeps the server busy.
    let context = TestContext::faulty(&["status=500"]);
    let args = format!("perf-analyzer -m ensemble -i grpc --streaming -u {} --request-count 1", context.addr());
    let run = context.run(context.bare(&args));
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("model ensemble is decoupled and its inputs are random"), "{}", run.stderr);
    assert!(run.stderr.contains("use --input-data"), "{}", run.stderr);
}
