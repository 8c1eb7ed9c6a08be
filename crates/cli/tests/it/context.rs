//! What every test stands on: a temporary directory, a simulated server on a port of its own, and the binary.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use streamgauge_core::clock::Nanos;
use streamgauge_prompt::Tokenizer;
use streamgauge_sim::{RequestLog, Service, Sim, SimConfig};
use tempfile::TempDir;

/// Whatever takes longer hangs: a bound for runs of some hundred milliseconds, not a measurement.
const HANGS: Duration = Duration::from_secs(120);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(10);

/// Variables that would change what a run does.
const VARIABLES: [&str; 13] = [
    "STREAMGAUGE_API_KEY",
    "STREAMGAUGE_CALIBRATION",
    "XDG_DATA_HOME",
    "OPENAI_API_KEY",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_ENDPOINT",
    "TRANSFORMERS_OFFLINE",
];

/// A server and a directory for runs against it.
pub struct TestContext {
    dir: TempDir,
    sim: Sim,
}

impl TestContext {
    /// With a server that is quick and does nothing wrong.
    pub fn new() -> TestContext {
        TestContext::with(|_| {})
    }

    /// With a server that does these things wrong.
    pub fn faulty(faults: &[&str]) -> TestContext {
        TestContext::with(|config| config.faults = faults.iter().map(|fault| fault.parse().unwrap()).collect())
    }

    /// With a server changed by `change`.
    pub fn with(change: impl FnOnce(&mut SimConfig)) -> TestContext {
        static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
        let mut config = SimConfig::new(TOKENIZER.get_or_init(Tokenizer::embedded).clone());
        config.service = Service {
            ttft: Nanos::from_millis(2),
            prefill_rate: f64::INFINITY,
            itl: Nanos::from_millis(1),
            ..Service::default()
        };
        change(&mut config);
        let sim = Sim::start(config, ([127, 0, 0, 1], 0).into()).unwrap();
        TestContext { dir: tempfile::tempdir().unwrap(), sim }
    }

    /// Where files may lie.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The server's URL.
    pub fn url(&self) -> String {
        self.sim.url()
    }

    /// The server's address.
    pub fn addr(&self) -> std::net::SocketAddr {
        self.sim.addr()
    }

    /// What the server has answered so far, or begun to, in the order in which the requests came; the probe included. The probe
    /// ends at its first output, so its entry may be written after those of later requests.
    pub fn requests(&self) -> Vec<RequestLog> {
        let mut requests = self.sim.log();
        requests.sort_by_key(|request| request.number);
        requests
    }

    /// `profile` against the server, with these arguments, to its end.
    pub fn profile(&self, args: &str) -> Run {
        self.run(self.command(args))
    }

    /// The command of [`TestContext::profile`].
    pub fn command(&self, args: &str) -> assert_cmd::Command {
        self.command_to(&self.url(), args)
    }

    /// `profile` against another URL, with arguments between blanks.
    pub fn command_to(&self, url: &str, args: &str) -> assert_cmd::Command {
        let mut command = self.bare("profile");
        command.args(["--url", url, "--ui", "none"]).args(args.split_whitespace());
        command
    }

    /// The binary with arguments between blanks and nothing more.
    pub fn bare(&self, args: &str) -> assert_cmd::Command {
        self.clean(assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("streamgauge")), args)
    }

    /// The binary with arguments between blanks, in a process that a line of bash has prepared: its limits, its files.
    #[cfg(target_os = "linux")]
    pub fn prepared(&self, shell: &str, args: &str) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new("bash");
        command.arg("-c").arg(format!("{shell}; exec \"$0\" \"$@\"")).arg(assert_cmd::cargo::cargo_bin!("streamgauge"));
        self.clean(command, args)
    }

    /// Lines of a shell in which `streamgauge` is the binary, and that ends with the first of them that fails.
    #[cfg(unix)]
    pub fn shell(&self, lines: &str) -> assert_cmd::Command {
        let binary = assert_cmd::cargo::cargo_bin!("streamgauge");
        let mut command = assert_cmd::Command::new("bash");
        command.args(["-e", "-c"]).arg(format!("streamgauge() {{ \"$0\" \"$@\"; }}\n{lines}")).arg(binary);
        self.clean(command, "")
    }

    fn clean(&self, mut command: assert_cmd::Command, args: &str) -> assert_cmd::Command {
        for name in VARIABLES {
            command.env_remove(name);
        }
        // Wide enough for every column of a table.
        command.env("COLUMNS", "200").env("HF_HUB_OFFLINE", "1");
        command.env("HOME", self.path()).current_dir(self.path()).args(args.split_whitespace()).timeout(HANGS);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, mut command: assert_cmd::Command) -> Run {
        self.ended(command.output().unwrap())
    }

    /// Starts `profile` against the server.
    pub fn start(&self, args: &str) -> Running<'_> {
        self.start_bare(&format!("profile --url {} --ui none {args}", self.url()))
    }

    /// Starts the binary with arguments between blanks and nothing more.
    pub fn start_bare(&self, args: &str) -> Running<'_> {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("streamgauge"));
        for name in VARIABLES {
            command.env_remove(name);
        }
        command.env("HOME", self.path()).env("COLUMNS", "200").env("HF_HUB_OFFLINE", "1").current_dir(self.path());
        command.args(args.split_whitespace());
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running { context: self, child: Some(child) }
    }

    fn ended(&self, output: Output) -> Run {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            artifacts: self.path().join("artifacts"),
        }
    }
}

/// A run that goes on. It is killed when dropped.
pub struct Running<'a> {
    context: &'a TestContext,
    child: Option<Child>,
}

impl<'a> Running<'a> {
    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// What a service manager sends.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id();
        let shell = std::process::Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status();
        assert!(shell.unwrap().success());
    }

    /// The kill that nothing can be done about.
    pub fn kill(mut self) {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sockets that it has open.
    #[cfg(target_os = "linux")]
    pub fn sockets(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.as_ref().unwrap().id())).unwrap();
        // One that is closed while we look is none.
        let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Ctrl-C, again and again: two that come too soon after each other may count as one.
    pub fn interrupt_until_it_ends(mut self) -> Run {
        wait_until("the end of the run", || {
            self.interrupt();
            std::thread::sleep(LOOK * 10);
            self.has_ended()
        });
        self.wait()
    }

    /// Waits for its end. Returns the most memory that it had, in bytes.
    #[cfg(target_os = "linux")]
    pub fn wait_and_weigh(mut self) -> (Run, u64) {
        let status = format!("/proc/{}/status", self.child.as_ref().unwrap().id());
        let mut most = 0;
        wait_until("the end of the run", || {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
            most = peak.and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok()).map_or(most, |peak| peak * 1024);
            self.has_ended()
        });
        (self.wait(), most)
    }

    /// What it says on stdout from now on.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.as_mut().unwrap().stdout.take().unwrap()
    }

    /// Whether it is over.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Run {
        wait_until("the end of the run", || self.has_ended());
        let context = self.context;
        context.ended(self.child.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..HANGS.as_millis() / LOOK.as_millis() {
        if is_so() {
            return;
        }
        std::thread::sleep(LOOK);
    }
    panic!("waited in vain for {what}");
}

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    /// Exit code; none for a run that was killed.
    pub code: Option<i32>,
    /// What it said on stdout.
    pub stdout: String,
    /// What it said on stderr.
    pub stderr: String,
    artifacts: PathBuf,
}

impl Run {
    /// This run, once it is clear that it ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The one directory that the runs of this context have made.
    pub fn dir(&self) -> PathBuf {
        let [dir] = &files(&self.artifacts)[..] else { panic!("{:?}", files(&self.artifacts)) };
        self.artifacts.join(dir)
    }

    /// An artifact's text.
    pub fn file(&self, name: &str) -> String {
        let path = self.dir().join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// An artifact that is JSON.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.file(name)).unwrap()
    }

    /// GenAI-Perf's summary.
    pub fn summary(&self) -> Value {
        self.json("profile_export_genai_perf.json")
    }

    /// The bodies in `inputs.json`.
    pub fn bodies(&self) -> Vec<Value> {
        let inputs = self.json("inputs.json");
        inputs["data"].as_array().unwrap().iter().map(|entry| entry["payload"][0].clone()).collect()
    }

    /// The records, line by line.
    pub fn records(&self) -> Records {
        Records::read(&self.file("records.jsonl"))
    }

    /// When the measured requests were due after the start of load, by their numbers, once it is clear that none was sent before.
    #[track_caller]
    pub fn dues(&self) -> Vec<i64> {
        let records = self.records();
        let started = nanos(&records.run, "started");
        let measured = records.in_order("profiling");
        for record in &measured {
            assert!(nanos(record, "sent_ns") >= nanos(record, "due_ns"), "{record}");
        }
        measured.iter().map(|record| nanos(record, "due_ns") - started).collect()
    }

    /// A row of the fidelity block in the summary.
    pub fn fidelity_row(&self, key: &str) -> Option<Value> {
        let summary = self.summary();
        let rows = summary["fidelity"]["rows"].as_array().unwrap();
        rows.iter().find(|row| row["key"] == key).cloned()
    }
}

/// `records.jsonl` as plain JSON.
pub struct Records {
    /// The first line.
    pub header: Value,
    /// The lines between, warm-up included.
    pub all: Vec<Value>,
    /// The last line; null when the run was killed.
    pub run: Value,
}

impl Records {
    /// Takes the file apart; a last line that is torn is left out.
    pub fn read(text: &str) -> Records {
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let mut lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let run = lines.pop_if(|line| line.get("run").is_some()).map_or(Value::Null, |mut line| line["run"].take());
        let header = lines.remove(0);
        Records { header, all: lines, run }
    }

    /// Those of the phase.
    pub fn of_phase(&self, phase: &str) -> Vec<&Value> {
        self.all.iter().filter(|record| record["phase"] == phase).collect()
    }

    /// Those of the phase by their numbers, once it is clear that these have no gap.
    #[track_caller]
    pub fn in_order(&self, phase: &str) -> Vec<&Value> {
        let mut records = self.of_phase(phase);
        records.sort_by_key(|record| record["seq"].as_u64());
        assert!((0u64..).zip(&records).all(|(seq, record)| record["seq"] == seq), "{records:?}");
        records
    }

    /// The measured ones that ended so.
    pub fn ended(&self, outcome: &str) -> Vec<&Value> {
        self.of_phase("profiling").into_iter().filter(|record| record["outcome"] == outcome).collect()
    }
}

/// A time of a record or of a run's facts.
#[track_caller]
pub fn nanos(of: &Value, name: &str) -> i64 {
    of[name].as_i64().unwrap_or_else(|| panic!("no {name} in {of}"))
}

/// Most of these spans that there were at one time; one that begins when another ends is not beside it.
pub fn most_at_once(spans: impl IntoIterator<Item = (i64, i64)>) -> usize {
    let mut steps: Vec<(i64, i64)> = spans.into_iter().flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
    steps.sort_unstable();
    let mut now = 0;
    let counts = steps.into_iter().map(|(_, step)| {
        now += step;
        now
    });
    usize::try_from(counts.max().unwrap_or(0)).unwrap()
}

/// Names in a directory, sorted.
pub fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
