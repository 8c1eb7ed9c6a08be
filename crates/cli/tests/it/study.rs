//! Studies of prefill and generation over prompt lengths.

use crate::context::{TestContext, files};
use std::fs;

/// The number of seconds that `text` begins with.
fn seconds(text: &str) -> f64 {
    text.split_once(" s\n").unwrap().0.parse().unwrap()
}

#[test]
fn each_phase_has_its_sentence_its_table_and_its_chart() {
    let context = TestContext::new();
    for (args, sentence, osl) in [
        ("prefill --isl 8,16,40", "Average first-token latency: ", 1),
        ("generation --isl 8,16,40 --osl 5", "Average token-to-token latency: ", 5),
        ("generation --isl 8,16,40 --osl 5 --service-kind triton -m ensemble", "Average token-to-token latency: ", 5),
    ] {
        let before = context.requests().len();
        let run =
            context.run(context.bare(&format!("study {args} --url {} --request-count 3", context.addr()))).expect(0);
        let latencies: Vec<f64> = run.stdout.split(sentence).skip(1).map(seconds).collect();
        // Milliseconds in the place of seconds would be more, also on a busy machine.
        assert!(
            latencies.len() == 3 && latencies.iter().all(|latency| *latency > 0.0 && *latency < 5.0),
            "{}",
            run.stdout
        );
        let rows: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with('│')).collect();
        assert_eq!(rows.len(), 3, "{}", run.stdout);
        for (row, isl) in rows.iter().zip(["8", "16", "40"]) {
            let cells: Vec<&str> = row.split('│').map(str::trim).collect();
            assert_eq!(cells[1..3], [isl, "3"], "{row}");
        }
        let phase = args.split(' ').next().unwrap();
        let svg = fs::read_to_string(context.path().join(format!("artifacts/{phase}.svg"))).unwrap();
        assert_eq!(svg.matches("<circle").count(), 3);
        // Each length has a probe and its requests, all with prompts of their own.
        let requests = context.requests().split_off(before);
        assert_eq!(requests.len(), 3 * 4);
        assert!(requests.iter().filter(|request| request.output_tokens == osl).count() >= 9, "{requests:?}");
    }
    assert!(files(&context.path().join("artifacts")).iter().any(|name| name.ends_with("-isl40")));
}

#[test]
fn a_study_that_cannot_be_made_says_why() {
    let context = TestContext::new();
    for (args, code, words) in [
        ("prefill", 2, "--isl"),
        ("prefill --isl 0", 2, "--isl"),
        ("generation --isl 8 --osl 1", 1, "give a longer --osl"),
        ("prefill --isl 8 -m nosuch", 1, "nosuch"),
    ] {
        let run =
            context.run(context.bare(&format!("study {args} --url {} --request-count 2", context.addr()))).expect(code);
        assert!(run.stderr.contains(words), "{args}: {}", run.stderr);
    }
}
