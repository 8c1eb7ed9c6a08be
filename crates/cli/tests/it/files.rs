//! The artifacts: which there are, what is in them, and what becomes of those of an earlier run.

use crate::context::{Records, Run, TestContext, files, wait_until};
use crate::tap::Tap;
use serde_json::{Value, json};
use std::fs;

const GOLDEN_CHAT: &str = include_str!("../../../report/tests/golden/chat/profile_export_genai_perf.json");
const GOLDEN_COMPLETIONS: &str =
    include_str!("../../../report/tests/golden/completions/profile_export_genai_perf.json");
const GOLDEN_EXPORT: &str = include_str!("../../../report/tests/golden/chat/profile_export.json");
const GOLDEN_INPUTS: &str = include_str!("../../../report/tests/golden/chat/inputs.json");

/// What the golden files' runs were started with.
const GOLDEN_RUN: &str = "-m tinychat --service-kind openai --synthetic-input-tokens-mean 20 --output-tokens-mean 8 \
                          --num-dataset-entries 4 --request-count 8";
const GOLDEN_CHAT_RUN: &str = "--endpoint-type chat --streaming --concurrency 2 --goodput time_to_first_token:40 \
                               inter_token_latency:6";

const ALL: [&str; 7] = [
    "inputs.json",
    "profile_export.json",
    "profile_export_genai_perf.csv",
    "profile_export_genai_perf.json",
    "records.jsonl",
    "summary.json",
    "timeline.csv",
];

fn golden_server() -> TestContext {
    TestContext::with(|config| config.models = vec!["tinychat".to_owned()])
}

/// Holds the shape of ours against a real file's: every key in its place, ours only after theirs, values of the same
/// kind.
#[track_caller]
fn begins_like(golden: &Value, ours: &Value, path: &str) {
    match (golden, ours) {
        (Value::Object(golden), Value::Object(ours)) => {
            let keys: Vec<&String> = ours.keys().take(golden.len()).collect();
            assert_eq!(keys, golden.keys().collect::<Vec<_>>(), "{path}");
            golden.iter().for_each(|(key, value)| begins_like(value, &ours[key], &format!("{path}/{key}")));
        }
        (Value::Array(golden), Value::Array(ours)) => {
            golden.iter().zip(ours).for_each(|(golden, ours)| begins_like(golden, ours, path));
        }
        (golden, ours) => {
            let kind = |value: &Value| (std::mem::discriminant(value), value.is_f64());
            assert_eq!(kind(golden), kind(ours), "{path}: {golden} against {ours}");
        }
    }
}

#[test]
fn a_streaming_chat_leaves_what_genai_perf_leaves_and_records() {
    let context = golden_server();
    let run = context.profile(&format!("{GOLDEN_RUN} {GOLDEN_CHAT_RUN} --export-level raw")).expect(0);
    assert_eq!(files(&context.path().join("artifacts")), ["tinychat-openai-chat-concurrency2"]);
    assert_eq!(files(&run.dir()), ALL);
    assert!(run.stdout.ends_with("Artifacts: artifacts/tinychat-openai-chat-concurrency2\n"), "{}", run.stdout);
    let parse = |text| serde_json::from_str::<Value>(text).unwrap();
    begins_like(&parse(GOLDEN_CHAT), &run.summary(), "");
    begins_like(&parse(GOLDEN_EXPORT), &run.json("profile_export.json"), "");
    begins_like(&parse(GOLDEN_INPUTS), &run.json("inputs.json"), "");
    assert_eq!(run.summary().as_object().unwrap().keys().next_back().unwrap(), "fidelity");
    let config = &run.summary()["input_config"];
    let golden = &parse(GOLDEN_CHAT)["input_config"];
    for key in ["input", "perf_analyzer"] {
        assert_eq!(
            config[key].as_object().unwrap().iter().filter(|(name, _)| *name != "path").collect::<Vec<_>>(),
            golden[key].as_object().unwrap().iter().filter(|(name, _)| *name != "path").collect::<Vec<_>>(),
        );
    }
}

#[test]
fn completions_in_one_piece_leave_what_genai_perf_leaves() {
    let context = golden_server();
    let run = context.profile(&format!("{GOLDEN_RUN} --endpoint-type completions")).expect(0);
    assert_eq!(files(&context.path().join("artifacts")), ["tinychat-openai-completions-concurrency1"]);
    begins_like(&serde_json::from_str(GOLDEN_COMPLETIONS).unwrap(), &run.summary(), "");
    assert_eq!(run.summary()["input_config"]["endpoint"]["custom"], "v1/completions");
    let body = &run.bodies()[0];
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["model", "prompt", "max_tokens"]);
    assert_eq!(body["prompt"].as_array().unwrap().len(), 1);
}

#[test]
fn prompts_are_what_was_sent_in_their_order() {
    let context = TestContext::new();
    let tap = Tap::before(context.addr());
    let args = "--streaming --num-prompts 4 --request-count 10 --isl 10 --osl 3 --warmup-request-count 2";
    let run = context.run(context.command_to(&tap.url(), args)).expect(0);
    let bodies: Vec<String> = run.bodies().iter().map(Value::to_string).collect();
    assert_eq!(bodies.len(), 4);
    let exchanges = tap.exchanges();
    let (posts, others): (Vec<_>, Vec<_>) =
        exchanges.iter().partition(|exchange| exchange.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
    assert_eq!(others.len(), 1, "the list of models");
    let sent: Vec<String> = posts.iter().map(|post| String::from_utf8(post.body.clone()).unwrap()).collect();
    // The probe is the last prompt as it stands, which the load comes to last.
    assert_eq!(sent[0], bodies[3]);
    let expected: Vec<&String> = (0..2).chain(0..10).map(|seq| &bodies[seq % 4]).collect();
    assert_eq!(sent[1..].iter().collect::<Vec<_>>(), expected);
}

/// Requests of `profile_export.json` as payload and joined responses, sorted.
fn exported(run: &Run) -> Vec<(String, String)> {
    let export = run.json("profile_export.json");
    let requests = export["experiments"][0]["requests"].as_array().unwrap();
    let mut exported: Vec<(String, String)> = requests
        .iter()
        .map(|request| {
            let outputs = request["response_outputs"].as_array().unwrap();
            let texts: Vec<&str> = outputs.iter().map(|output| output["response"].as_str().unwrap()).collect();
            (request["request_inputs"]["payload"].as_str().unwrap().to_owned(), texts.concat())
        })
        .collect();
    exported.sort();
    exported
}

#[test]
fn the_raw_export_has_the_servers_bytes() {
    for (streaming, faults) in [
        ("--streaming", &["split-writes"][..]),
        ("--streaming", &["truncate:every=3", "status=500:every=4", "multi-token=2"]),
        ("", &["status=503:every=3"]),
    ] {
        let context = TestContext::faulty(faults);
        let tap = Tap::before(context.addr());
        let args =
            format!("{streaming} --no-probe --concurrency 2 --request-count 12 --isl 10 --osl 6 --export-level raw");
        let run = context.run(context.command_to(&tap.url(), &args)).expect(0);
        let mut sent: Vec<(String, String)> = tap
            .exchanges()
            .into_iter()
            .filter(|exchange| exchange.head.starts_with("POST"))
            .map(|exchange| (String::from_utf8(exchange.body).unwrap(), String::from_utf8(exchange.answer).unwrap()))
            .collect();
        sent.sort();
        // GenAI-Perf's parser ends on a chunk without choices, which says the server's counts alone.
        let shown = |answer: &str| -> String {
            answer.split_inclusive("\n\n").filter(|event| !event.contains("\"choices\":[]")).collect()
        };
        let mut expected: Vec<_> = sent.iter().map(|(body, answer)| (body.clone(), shown(answer))).collect();
        expected.sort();
        assert_eq!(exported(&run), expected);
        assert_eq!(expected != sent, !streaming.is_empty(), "the server sends such chunks in streams");
        assert_eq!(sent.len(), 12);
        let done = sent.iter().filter(|(_, answer)| answer.ends_with("data: [DONE]\n\n")).count();
        assert_eq!(done, if streaming.is_empty() { 0 } else { run.records().ended("ok").len() });
    }
}

#[test]
fn the_export_holds_the_stamps_of_the_records() {
    for level in ["records", "raw"] {
        let context = TestContext::new();
        let args =
            format!("--streaming --request-count 5 --warmup-request-count 1 --isl 10 --osl 4 --export-level {level}");
        let run = context.profile(&args).expect(0);
        let (records, export) = (run.records(), run.json("profile_export.json"));
        let wall = |ns: &Value| records.header["anchor_wall_ns"].as_i64().unwrap() + ns.as_i64().unwrap();
        let experiment = &export["experiments"][0];
        assert_eq!(experiment["experiment"], json!({"mode": "concurrency", "value": 1}));
        let window = [wall(&records.run["started"]), wall(&records.run["ended"])];
        assert_eq!(experiment["window_boundaries"], json!(window));
        assert_eq!(export["endpoint"], "v1/chat/completions");
        let requests = experiment["requests"].as_array().unwrap();
        let measured = records.of_phase("profiling");
        assert_eq!(requests.len(), measured.len());
        for (request, record) in requests.iter().zip(measured) {
            let sent = wall(&record["sent_ns"]);
            assert_eq!(request["timestamp"], sent);
            let events: Vec<i64> =
                record["at_ns"].as_array().unwrap().iter().map(|at| sent + at.as_i64().unwrap()).collect();
            let stamps: Vec<i64> =
                request["response_timestamps"].as_array().unwrap().iter().map(|at| at.as_i64().unwrap()).collect();
            let outputs = request["response_outputs"].as_array().unwrap();
            assert_eq!(stamps.len(), outputs.len());
            if level == "records" {
                assert_eq!(stamps, events);
                // Read as GenAI-Perf's parser reads it: all texts together have the tokens that the record has.
                let text = |output: &Value| {
                    let event = output["response"].as_str().unwrap();
                    let data = event.strip_prefix("data: ").and_then(|data| data.strip_suffix("\n\n")).unwrap();
                    let chunk: Value = serde_json::from_str(data).unwrap();
                    assert_eq!(chunk["object"], "chat.completion.chunk");
                    chunk["choices"][0]["delta"]["content"].as_str().unwrap().to_owned()
                };
                let texts: Vec<String> = outputs.iter().map(text).collect();
                assert!(texts.iter().all(|text| !text.is_empty()), "that parser drops empty ones: {texts:?}");
                let tokens = streamgauge_prompt::Tokenizer::embedded().count(&texts.concat());
                assert_eq!(record["text_tokens"], tokens);
            } else {
                assert!(events.iter().all(|at| stamps.contains(at)), "{events:?} {stamps:?}");
            }
        }
    }
}

#[test]
fn every_kind_of_answer_is_exported_with_its_text() {
    let context = TestContext::new();
    for (args, member, listed) in [
        ("--endpoint-type chat", "/choices/0/message/content", None),
        ("--endpoint-type completions", "/choices/0/text", Some("prompt")),
        ("--endpoint-type completions --streaming", "/choices/0/text", Some("prompt")),
        ("--endpoint-type generate -m ensemble", "/text_output", Some("text_input")),
        ("--endpoint-type generate -m ensemble --streaming", "/text_output", Some("text_input")),
        ("--endpoint-type kserve -m ensemble --backend tensorrtllm --streaming", "/text_output", None),
    ] {
        let _ = fs::remove_dir_all(context.path().join("artifacts"));
        let run = context.profile(&format!("{args} --isl 10 --osl 4 --request-count 3")).expect(0);
        let export = run.json("profile_export.json");
        for (request, record) in
            export["experiments"][0]["requests"].as_array().unwrap().iter().zip(run.records().of_phase("profiling"))
        {
            let outputs = request["response_outputs"].as_array().unwrap();
            assert_eq!(outputs.len(), request["response_timestamps"].as_array().unwrap().len(), "{args}");
            let text = |output: &Value| {
                let body = output.get("response").map_or_else(
                    || output.clone(),
                    |text| serde_json::from_str(text.as_str().unwrap().trim_start_matches("data: ")).unwrap(),
                );
                body.pointer(member).unwrap().as_str().unwrap().to_owned()
            };
            let whole: String = outputs.iter().map(text).collect();
            assert_eq!(record["text_tokens"], streamgauge_prompt::Tokenizer::embedded().count(&whole), "{args}");
            if let Some(member) = listed {
                let payload = request["request_inputs"]["payload"].as_str().unwrap();
                let payload: Value = serde_json::from_str(payload).unwrap();
                assert_eq!(payload[member].as_array().unwrap().len(), 1, "{args}: its parser joins a list's texts");
                assert_eq!(run.bodies()[0][member].as_array().unwrap().len(), 1, "{args}");
            }
        }
    }
}

#[test]
fn a_summary_is_only_that_and_replaces_the_rest() {
    let context = TestContext::new();
    let small = "--request-count 10 --isl 10 --osl 2";
    assert_eq!(files(&context.profile(small).expect(0).dir()), ALL);
    let run = context.profile(&format!("{small} --export-level summary")).expect(0);
    let rest: Vec<&str> =
        ALL.into_iter().filter(|name| !["profile_export.json", "records.jsonl"].contains(name)).collect();
    assert_eq!(files(&run.dir()), rest);
}

#[test]
fn the_next_run_replaces_the_last() {
    let context = TestContext::new();
    context.profile("--num-prompts 9 --request-count 10 --isl 10 --osl 2").expect(0);
    let run = context.profile("--num-prompts 3 --request-count 12 --isl 10 --osl 2").expect(0);
    assert_eq!(files(&run.dir()), ALL);
    assert_eq!((run.bodies().len(), run.records().all.len()), (3, 12));
    assert_eq!(run.summary()["request_count"]["avg"], 12.0);
    let export = run.json("profile_export.json");
    assert_eq!(export["experiments"][0]["requests"].as_array().unwrap().len(), 12);
}

#[test]
fn a_run_without_records_leaves_the_last_ones() {
    let context = TestContext::new();
    let good = context.profile("--request-count 10 --isl 10 --osl 2").expect(0);
    let before: Vec<String> = ALL.iter().map(|name| good.file(name)).collect();
    let refusing = TestContext::faulty(&["status=401"]);
    let artifacts = context.path().join("artifacts");
    let args = format!("--request-count 10 --isl 12 --osl 2 --artifact-dir {}", artifacts.display());
    refusing.profile(&args).expect(1);
    assert_eq!(files(&good.dir()), ALL);
    assert_eq!(ALL.iter().map(|name| good.file(name)).collect::<Vec<_>>(), before);
}

#[test]
fn a_run_that_ends_before_anything_is_measured_leaves_the_last_ones() {
    let context = TestContext::new();
    let good = context.profile("--request-count 10 --isl 10 --osl 2").expect(0);
    let before: Vec<String> = ALL.iter().map(|name| good.file(name)).collect();
    let slow = TestContext::faulty(&["stall-first=1000s:every=4"]);
    let artifacts = context.path().join("artifacts");
    let args = format!("--warmup-request-count 9 --isl 10 --osl 2 --artifact-dir {}", artifacts.display());
    let running = slow.start(&args);
    wait_until("the warm-up", || slow.requests().len() == 3);
    let run = running.interrupt_until_it_ends().expect(130);
    assert!(!run.stdout.contains("Artifacts:"), "{}", run.stdout);
    assert_eq!(files(&good.dir()), ALL);
    assert_eq!(ALL.iter().map(|name| good.file(name)).collect::<Vec<_>>(), before);
}

#[test]
#[cfg(target_os = "linux")]
fn records_without_room_are_said_and_the_table_is_shown() {
    let context = TestContext::new();
    let dir = context.path().join("artifacts/sim-model-openai-chat-concurrency1");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("records.jsonl"), "old").unwrap();
    // No file may have more than 4 KiB; the signal that comes with the refusal is ignored.
    let args = "--num-prompts 1 --request-count 40 --isl 10 --osl 2";
    let command = format!("profile --url {} --ui none {args}", context.url());
    let run = context.run(context.prepared("trap '' XFSZ; ulimit -f 4", &command)).expect(1);
    assert!(run.stdout.contains("Requests: 40 ok, 0 failed"), "{}", run.stdout);
    assert!(run.stderr.contains("are not complete: File too large"), "{}", run.stderr);
    assert_eq!(run.file("records.jsonl"), "old");
}

#[test]
#[cfg(unix)]
fn no_temporary_file_is_opened_through_a_link() {
    let context = TestContext::new();
    let dir = context.path().join("artifacts/sim-model-openai-chat-concurrency1");
    fs::create_dir_all(&dir).unwrap();
    let victim = context.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    for name in ALL {
        std::os::unix::fs::symlink(&victim, dir.join(format!(".{name}.partial"))).unwrap();
    }
    let run = context.profile("--request-count 10 --isl 10 --osl 2").expect(0);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert_eq!(files(&run.dir()), ALL);
}

/// Starts a run that never ends by itself and waits until its files are there.
fn started<'a>(context: &'a TestContext, args: &str, dir: &str) -> crate::context::Running<'a> {
    let run = context.start(&format!("--streaming --benchmark-duration 10m --isl 10 --osl 2 {args}"));
    let path = context.path().join("artifacts").join(dir).join(".records.jsonl.partial");
    wait_until("records on disk", || fs::read_to_string(&path).is_ok_and(|text| text.lines().count() > 1));
    run
}

#[test]
fn a_second_run_in_a_live_runs_directory_is_refused_before_load() {
    let context = TestContext::with(|config| config.service.ttft = streamgauge_core::Nanos::from_millis(40));
    let dir = "sim-model-openai-chat-concurrency1";
    let live = started(&context, "", dir);
    let other = TestContext::new();
    let second = || {
        let artifacts = context.path().join("artifacts");
        other.profile(&format!("--request-count 10 --isl 10 --osl 2 --artifact-dir {}", artifacts.display()))
    };
    let refused = second().expect(1);
    let words = ["is in use by another run", dir, "--artifact-dir"];
    assert!(words.iter().all(|word| refused.stderr.contains(word)), "{}", refused.stderr);
    assert!(other.requests().is_empty(), "it was refused before the probe");
    // A run at another level has a directory of its own.
    context.profile("--concurrency 2 --request-count 10 --isl 10 --osl 2").expect(0);
    // The lock ends with the process, however that ends, and what it left can be reported.
    live.kill();
    let report = context.run(context.bare(&format!("report artifacts/{dir} --artifact-dir again"))).expect(0);
    assert!(report.stdout.contains(" ok, 0 failed"), "{}", report.stdout);
    second().expect(0);
}

#[test]
fn a_series_keeps_the_directories_of_all_its_levels() {
    let context = TestContext::with(|config| config.service.ttft = streamgauge_core::Nanos::from_millis(40));
    let series = started(&context, "--concurrency 1,2", "sim-model-openai-chat-concurrency1");
    let refused = context.profile("--concurrency 2 --request-count 10 --isl 10 --osl 2").expect(1);
    assert!(refused.stderr.contains("concurrency2` is in use by another run"), "{}", refused.stderr);
    series.interrupt_until_it_ends().expect(130);
    context.profile("--concurrency 2 --request-count 10 --isl 10 --osl 2").expect(0);
}

#[test]
fn the_export_names_the_summaries() {
    let context = TestContext::new();
    let run = context.profile("--request-count 10 --isl 10 --osl 2 --profile-export-file mine.json").expect(0);
    let names: Vec<String> = ALL.iter().map(|name| name.replace("profile_export", "mine")).collect();
    assert_eq!(files(&run.dir()), names);
    let config = &run.json("mine_genai_perf.json")["input_config"];
    assert_eq!(config["output"]["profile_export_file"], "mine.json");
    assert_eq!(config["output"]["artifact_directory"], "artifacts");
}

#[test]
fn models_with_slashes_and_several_models_name_the_directory() {
    let context = TestContext::with(|config| config.models = vec!["org/first".into(), "second".into()]);
    context.profile("-m org/first second --concurrency 3 --isl 10 --osl 2").expect(0);
    assert_eq!(files(&context.path().join("artifacts")), ["org_first_multi-openai-chat-concurrency3"]);
}

#[test]
fn secrets_are_sent_and_stand_nowhere() {
    const SECRET: &str = "sk-do-not-show-me";
    let by_option = |command: &mut assert_cmd::Command| {
        command.args(["--api-key", SECRET]);
    };
    let by_header = |command: &mut assert_cmd::Command| {
        command.args(["-H", &format!("Authorization: Bearer {SECRET}"), "-H", &format!("X-Api-Key: {SECRET}")]);
    };
    let by_variable = |command: &mut assert_cmd::Command| {
        command.env("STREAMGAUGE_API_KEY", SECRET);
    };
    let by_common_variable = |command: &mut assert_cmd::Command| {
        command.env("OPENAI_API_KEY", SECRET);
    };
    let ways: [&dyn Fn(&mut assert_cmd::Command); 4] = [&by_option, &by_header, &by_variable, &by_common_variable];
    for way in ways {
        let context = TestContext::faulty(&["status=500:every=4"]);
        let tap = Tap::before(context.addr());
        let mut command = context.command_to(
            &tap.url(),
            "-v -H X-Request-Id:shown -H X-Plain:not-shown --isl 10 --osl 2 --export-level raw --no-probe",
        );
        way(&mut command);
        let run = context.run(command).expect(0);
        for exchange in tap.exchanges() {
            let head = exchange.head.to_lowercase();
            assert!(head.contains(&format!("authorization: bearer {SECRET}\r\n")), "{head}");
            assert!(head.contains("x-request-id: shown\r\nx-plain: not-shown\r\n"), "{head}");
        }
        assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET));
        for name in files(&run.dir()) {
            assert!(!run.file(&name).contains(SECRET), "{name}");
        }
        let shown = run.summary()["input_config"]["input"]["header"].to_string();
        for header in ["Authorization:<hidden>", "X-Request-Id:shown", "X-Plain:<hidden>"] {
            assert!(shown.contains(header), "{shown}");
        }
    }
    let context = TestContext::new();
    let mut command = context.command("");
    command.args(["-H", &format!("Authorization Bearer {SECRET}")]);
    let refused = context.run(command).expect(2);
    assert!(
        refused.stderr.contains("--header Authorization") && !refused.stderr.contains(SECRET),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_kill_leaves_what_was_finished() {
    let context = TestContext::with(|config| config.service.ttft = streamgauge_core::Nanos::from_millis(40));
    let run = context.start("--streaming --benchmark-duration 10m --isl 10 --osl 2 --num-prompts 5");
    let dir = context.path().join("artifacts/sim-model-openai-chat-concurrency1");
    let path = dir.join(".records.jsonl.partial");
    // Under steady load, and long before any buffer is full.
    wait_until("records on disk", || fs::read_to_string(&path).is_ok_and(|text| text.lines().count() > 5));
    assert!(fs::metadata(&path).unwrap().len() < 64 * 1024, "written by the clock, not by a full buffer");
    run.kill();
    let records = Records::read(&fs::read_to_string(&path).unwrap());
    assert!(records.all.len() >= 4 && records.run.is_null());
    assert!(records.all.iter().all(|record| record["outcome"] == "ok"));
    let inputs: Value = serde_json::from_slice(&fs::read(dir.join(".inputs.json.partial")).unwrap()).unwrap();
    assert_eq!(inputs["data"].as_array().unwrap().len(), 5);
    assert!(files(&dir).iter().all(|name| name.ends_with(".partial")), "{:?}", files(&dir));
}

#[test]
fn the_timeline_and_the_full_summary_count_the_same_requests() {
    let context = TestContext::new();
    let run = context.profile("--streaming --request-count 30 --isl 10 --osl 4 --request-rate 100").expect(0);
    let timeline = run.file("timeline.csv");
    let rows: Vec<Vec<&str>> = timeline.lines().map(|line| line.split(',').collect()).collect();
    let (head, rows) = rows.split_first().unwrap();
    let column = |name: &str| head.iter().position(|title| *title == name).unwrap();
    let number = |row: &Vec<&str>, name: &str| row[column(name)].parse::<f64>().unwrap();
    for name in ["sent", "ok", "request_latency_count", "time_to_first_token_count", "send_lateness_count"] {
        assert_eq!(rows.iter().map(|row| number(row, name)).sum::<f64>(), 30.0, "{name}: {timeline}");
    }
    assert_eq!(rows.iter().map(|row| number(row, "output_tokens")).sum::<f64>(), 120.0, "{timeline}");
    assert!(rows.windows(2).all(|pair| pair[0][column("to_s")] == pair[1][column("from_s")]), "{timeline}");
    let summary = run.json("summary.json");
    assert_eq!(summary["counts"]["ok"], 30);
    assert_eq!(summary["timeline"]["intervals"].as_array().unwrap().len(), rows.len());
}
