//! The commands of the documentation, run as they stand there.

use crate::context::TestContext;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use streamgauge_stats::fidelity::CHECKS;

/// Commands that run side by side: most of their time they wait.
const TOGETHER: usize = 4;

/// Runs every ```` ```sh ```` block of `file`, each in a shell and a directory of its own, and tells what went wrong. The servers
/// that the text calls `localhost:8000`, `localhost:8001` and `localhost:8002` are simulated ones, the first two the same.
fn run_blocks(file: &str) -> (usize, Vec<String>) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)).unwrap();
    let blocks: Vec<&str> =
        text.split("\n```sh\n").skip(1).map(|rest| rest.split_once("\n```").expect("a block ends").0).collect();
    let commands =
        blocks.iter().flat_map(|block| block.lines()).filter(|line| line.starts_with("streamgauge ")).count();
    let (queue, wrong) = (Mutex::new(blocks.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                while let Some(block) = { queue.lock().unwrap().next() } {
                    let [one, other] = [TestContext::new(), TestContext::new()];
                    let block = block
                        .replace("localhost:8000", &one.addr().to_string())
                        .replace("localhost:8001", &one.addr().to_string())
                        .replace("localhost:8002", &other.addr().to_string());
                    let run = one.run(one.shell(&block));
                    if run.code != Some(0) || run.stdout.is_empty() {
                        wrong.lock().unwrap().push(format!("{block}\nends with {:?}: {}", run.code, run.stderr));
                    }
                }
            });
        }
    });
    (commands, wrong.into_inner().unwrap())
}

#[test]
fn every_command_of_the_load_modes_works_as_written() {
    let (commands, wrong) = run_blocks("load.md");
    assert!(commands >= 25, "only {commands} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_command_about_what_is_sent_works_as_written() {
    let (commands, wrong) = run_blocks("data.md");
    assert!(commands >= 19, "only {commands} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_command_about_traces_works_as_written() {
    let (commands, wrong) = run_blocks("traces.md");
    assert!(commands >= 9, "only {commands} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_command_about_servers_works_as_written() {
    let (commands, wrong) = run_blocks("servers.md");
    assert!(commands >= 2, "only {commands} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_command_for_a_triton_server_works_as_written() {
    let (commands, wrong) = run_blocks("triton.md");
    assert!(commands >= 8, "only {commands} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_command_of_llm_perfs_face_works_as_written() {
    let (commands, wrong) = run_blocks("llm-perf.md");
    assert!(commands >= 2, "only {commands} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_command_of_perf_analyzers_face_works_as_written() {
    let (commands, wrong) = run_blocks("perf-analyzer.md");
    assert!(commands >= 9, "only {commands} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_fidelity_row_is_explained() {
    for file in ["fidelity.md", "troubleshooting.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)).unwrap();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        for check in CHECKS {
            let explained =
                rows.iter().any(|row| row.contains(check.title) && row.contains(&format!("`{}`", check.key)));
            assert!(explained, "docs/{file} has no row for `{}`, {}", check.key, check.title);
        }
    }
}
