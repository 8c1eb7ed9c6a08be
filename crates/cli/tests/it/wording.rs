//! Messages from below the command line: no layer there spells a flag, and each command line words settings as its own flags.

use crate::context::TestContext;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The crates whose messages refer to settings as data.
const WITHOUT_FLAGS: [&str; 7] = ["core", "wire", "prompt", "stats", "load", "report", "run"];

/// The lines of code in `text` that spell a flag. Comments, and the tests at the end of a file, may spell one.
fn lines_with_flags(text: &str) -> Vec<&str> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).filter(is_code);
    let spells = |line: &str| {
        let letters = |rest: &str| rest.bytes().take_while(u8::is_ascii_lowercase).count();
        line.match_indices("--").any(|(at, _)| letters(&line[at + 2..]) > 1)
    };
    code.filter(|line| spells(line)).collect()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "testing.rs" {
            found.push(path);
        }
    }
}

#[test]
fn no_layer_below_the_command_line_spells_a_flag() {
    let spelled = "a(); // --url\n    bail!(\"give --url\");\n//! --url\n#[cfg(test)]\n\"--url\"";
    assert_eq!(lines_with_flags(spelled).len(), 2, "the check sees flags");
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for name in WITHOUT_FLAGS {
        let mut files = Vec::new();
        sources(&crates.join(name).join("src"), &mut files);
        assert!(files.len() > 5, "{name}");
        // The published form of settings is defined there.
        let of_settings = crates.join("core/src/setting");
        // A command of the hub's own client has that client's flags.
        let of_the_hub = crates.join("prompt/src/hub/mod.rs");
        let is_exempt = |file: &Path| file.starts_with(&of_settings) || *file == of_the_hub;
        for file in files.iter().filter(|file| !is_exempt(file)) {
            let text = fs::read_to_string(file).unwrap();
            let lines = lines_with_flags(&text);
            assert!(lines.is_empty(), "{}: refer to a Setting in {lines:?}", file.display());
        }
    }
}

/// What a command says on standard error when it fails.
#[track_caller]
fn failure(context: &TestContext, args: &str) -> String {
    let run = context.run(context.bare(args));
    assert!(!run.stderr.is_empty(), "{args}: {}", run.stdout);
    run.stderr
}

/// An address at which nothing listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn certificates_that_cannot_be_used_are_named_by_the_flag_of_each_command_line() {
    let context = TestContext::new();
    fs::write(context.path().join("empty.pem"), "").unwrap();
    for (args, flag) in [
        ("profile -m m -u https://localhost:9 --ca-file empty.pem", "--ca-file"),
        (
            "perf-analyzer -m m -u https://localhost:9 --ssl-https-ca-certificates-file empty.pem",
            "--ssl-https-ca-certificates-file",
        ),
        (
            "perf-analyzer -m m -i grpc --ssl-grpc-use-ssl -u localhost:9 --ssl-grpc-root-certifications-file empty.pem",
            "--ssl-grpc-root-certifications-file",
        ),
    ] {
        let said = failure(&context, args);
        assert!(said.contains(&format!("error: {flag} empty.pem: holds no certificate")), "{args}: {said}");
    }
}

#[test]
fn a_server_that_is_not_there_is_looked_for_by_the_flag_of_each_command_line() {
    let context = TestContext::new();
    fs::write(context.path().join("prompts.jsonl"), "{\"input\": \"a\"}\n").unwrap();
    let at = nobody();
    let there = format!("profile -m m --tokenizer cl100k_base -u {at}");
    let said = failure(&context, &there);
    assert!(said.contains("give its address with --url; --sim measures a simulated server"), "{said}");
    for args in [
        format!("perf-analyzer -m m -u {at}"),
        format!("llm-perf -u {at} --input-data prompts.jsonl --tokenizer-path cl100k_base"),
    ] {
        let said = failure(&context, &args);
        assert!(said.contains("nothing listens there: start the server, or give its address with -u\n"), "{said}");
        assert!(!said.contains("--url") && !said.contains("--sim"), "{said}");
    }
}

#[test]
fn a_schedule_that_is_refused_is_named_by_the_flag_of_each_command_line() {
    let context = TestContext::new();
    fs::write(context.path().join("gaps"), "10\nten\n").unwrap();
    for args in
        ["profile -m m --request-intervals gaps --request-count 2", "perf-analyzer -m m --request-intervals gaps"]
    {
        let said = failure(&context, args);
        assert!(said.contains("error: --request-intervals gaps: line 2: `ten`"), "{args}: {said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn more_requests_than_open_files_are_refused_by_what_each_command_line_calls_them() {
    let context = TestContext::new();
    let at = context.addr();
    for (args, name) in [
        (format!("profile -m m --tokenizer cl100k_base -u {at} --concurrency 40"), "--concurrency 40"),
        (format!("perf-analyzer -m add_sub -u {at} --concurrency-range 40 --request-count 40"), "the load 40"),
    ] {
        let run = context.run(context.prepared("ulimit -n 60", &args));
        assert!(run.stderr.contains(&format!("error: {name}: this system allows")), "{args}: {}", run.stderr);
    }
}

#[test]
fn a_limit_of_goodput_that_is_none_is_refused_by_its_flag() {
    let context = TestContext::new();
    let said = failure(&context, "profile -m m --streaming --goodput nothing:1");
    assert!(said.contains("error: --goodput: `nothing` cannot be limited"), "{said}");
}

#[test]
fn a_decoupled_model_over_http_is_refused_in_the_flags_of_each_command_line() {
    let context = TestContext::new();
    fs::write(context.path().join("prompts.jsonl"), "{\"input\": \"a\"}\n").unwrap();
    let of_llm_perf = format!(
        "llm-perf -u {} -i http -m ensemble --input-data prompts.jsonl --tokenizer-path cl100k_base",
        context.addr()
    );
    let said = failure(&context, &of_llm_perf);
    assert!(said.contains("is decoupled, which takes gRPC: give -i grpc\n"), "{said}");
}
