//! Prompts that a server may still have from an earlier run: what is said of them, and how the server is told to forget them.

use crate::context::TestContext;
use std::io::{Read, Write};
use std::net::TcpStream;

const RUN: &str = "-m sim-model --concurrency 1 --request-count 2 --isl 10 --osl 2";
const SAME: &str = "sent the same prompts to this server (seed 0)";

/// How often the simulated server was told to empty its prefix cache.
fn resets(context: &TestContext) -> u64 {
    let mut stream = TcpStream::connect(context.addr()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("sim:prefix_cache_resets_total "));
    line.unwrap().parse().unwrap()
}

#[test]
fn an_earlier_run_with_the_same_prompts_is_told_of() {
    let context = TestContext::new();
    let first = context.profile(RUN).expect(0);
    assert!(!first.stderr.contains("same prompts"), "{}", first.stderr);
    // Another load has another directory.
    let second = context.profile("-m sim-model --concurrency 2 --request-count 4 --isl 10 --osl 2").expect(0);
    assert!(second.stderr.contains(SAME), "{}", second.stderr);
    let words = "--random-seed of another number sends other prompts, and --reset-prefix-cache empties the cache";
    assert!(second.stderr.contains(words), "{}", second.stderr);
    for other in ["--random-seed 1", "--reset-prefix-cache"] {
        let run = context.profile(&format!("{RUN} {other}")).expect(0);
        assert!(!run.stderr.contains("same prompts"), "{other}: {}", run.stderr);
    }
    let longer = context.profile("-m sim-model --concurrency 1 --request-count 2 --isl 11 --osl 2").expect(0);
    assert!(!longer.stderr.contains("same prompts"), "{}", longer.stderr);
}

#[test]
fn the_cache_is_emptied_before_each_run() {
    let context = TestContext::new();
    context.profile(&format!("{RUN} --reset-prefix-cache")).expect(0);
    assert_eq!(resets(&context), 1);
    context.profile("-m sim-model --concurrency 1,2 --request-count 4 --isl 10 --osl 2 --reset-prefix-cache").expect(0);
    assert_eq!(resets(&context), 3);
    context.profile(RUN).expect(0);
    assert_eq!(resets(&context), 3);
}

#[test]
fn a_server_that_has_no_hook_is_refused_by_name() {
    let context = TestContext::new();
    // Nothing is at these paths but what they end in.
    let run =
        context.profile(&format!("{RUN} --reset-prefix-cache --no-probe --endpoint /base/v1/completions")).expect(2);
    let words = "has no hook for it, neither /base/reset_prefix_cache (vLLM in its development mode) nor /base/flush_cache (SGLang)";
    assert!(run.stderr.contains("--reset-prefix-cache: http://") && run.stderr.contains(words), "{}", run.stderr);
    assert_eq!(context.requests().len(), 0);
    let triton = context.run(context.bare("profile -m m --service-kind triton --reset-prefix-cache")).expect(2);
    assert!(triton.stderr.contains("--reset-prefix-cache: a Triton server has no hook"), "{}", triton.stderr);
}
