//! A server and a client, each on its processor, with the client's resource use according to the kernel.

use crate::truth::Truth;
use anyhow::{Context, Result, bail};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use serde::Deserialize;
use serde_json::Value;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use streamgauge_core::clock::{Clock, SystemClock};
use streamgauge_core::load::Load;
use streamgauge_report::RecordReader;
use streamgauge_sim::SimProcess;

/// How client and server share the two processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Each has a processor of its own.
    Apart,
    /// Both may use both.
    Together,
}

/// Where the two run.
pub struct Pair {
    /// The binary of both.
    pub binary: String,
    /// The client's processor.
    pub client_cpu: u32,
    /// The server's processor.
    pub server_cpu: u32,
}

/// A run of the client that ended.
pub struct Ran {
    /// The server's log.
    pub log: PathBuf,
    /// The client's processor seconds.
    pub cpu: f64,
    /// The client's largest resident memory.
    pub peak_mb: f64,
    artifacts: PathBuf,
    summary: Value,
    launched: i64,
    exited: i64,
}

impl Pair {
    /// Starts a server, runs the client against it to its end, and ends the server.
    ///
    /// # Errors
    /// When one of them cannot be run or the client finds nothing to measure.
    pub fn run(&self, sim: &str, profile: &str) -> Result<Ran> {
        self.run_at(Place::Apart, sim, profile)
    }

    /// Like [`Pair::run`], on these processors.
    ///
    /// # Errors
    /// As [`Pair::run`].
    pub fn run_at(&self, place: Place, sim: &str, profile: &str) -> Result<Ran> {
        self.start(place, sim, profile, Ok)
    }

    /// Like [`Pair::run`], but the client uses the URL that `route` makes from the server's.
    ///
    /// # Errors
    /// As [`Pair::run`], and those of `route`.
    pub fn run_through(&self, sim: &str, profile: &str, route: impl FnOnce(String) -> Result<String>) -> Result<Ran> {
        self.start(Place::Apart, sim, profile, route)
    }

    /// The client's processor seconds for a run of Perf Analyzer's face against a server with these arguments.
    ///
    /// # Errors
    /// When one of them cannot be run, or the client does not end well.
    pub fn cpu_of_perf_analyzer(&self, sim: &str, words: &[&str]) -> Result<f64> {
        let mut server = self.pinned(Place::Apart, self.server_cpu, "sim");
        server.args(["--port", "0"]).args(sim.split_whitespace());
        let server = SimProcess::start(&mut server).context("the server cannot be started")?;
        let before = children()?;
        let mut client = self.pinned(Place::Apart, self.client_cpu, "perf-analyzer");
        let address = server.url().trim_start_matches("http://").to_owned();
        client.args(["-u", &address]).args(words).stdout(Stdio::null()).stderr(Stdio::null());
        let status = client.status().context("the client cannot be started")?;
        let after = children()?;
        server.stop()?;
        if !status.success() {
            bail!("the client ended with {status}");
        }
        Ok(seconds(&after) - seconds(&before))
    }

    fn start(
        &self,
        place: Place,
        sim: &str,
        profile: &str,
        route: impl FnOnce(String) -> Result<String>,
    ) -> Result<Ran> {
        let dir = std::env::temp_dir().join(format!("streamgauge-bench-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let log = dir.join("sim.log");
        let mut server = self.pinned(place, self.server_cpu, "sim");
        server.args(["--port", "0", "--log"]).arg(&log).args(sim.split_whitespace());
        let server = SimProcess::start(&mut server).context("the server cannot be started")?;
        let url = route(server.url().to_owned())?;

        let clock = SystemClock::start();
        let before = children()?;
        let artifacts = dir.join("artifacts");
        let mut client = self.pinned(place, self.client_cpu, "profile");
        client.args(["--url", &url, "--streaming", "--ui", "none", "--tokenizer", "cl100k_base", "--artifact-dir"]);
        client.arg(&artifacts).args(profile.split_whitespace()).stdout(Stdio::null());
        let launched = clock.read().wall;
        let mut client = client.spawn().context("the client cannot be started")?;
        let (status, peak_mb) = watch(&mut client)?;
        let exited = clock.read().wall;
        if !status.success() {
            bail!("the client ended with {status}");
        }
        let after = children()?;
        server.stop()?;
        Ok(Ran {
            log,
            cpu: seconds(&after) - seconds(&before),
            peak_mb,
            summary: summary(&artifacts)?,
            artifacts,
            launched,
            exited,
        })
    }

    fn pinned(&self, place: Place, cpu: u32, command: &str) -> Command {
        let cpus = match place {
            Place::Apart => cpu.to_string(),
            Place::Together => format!("{},{}", self.client_cpu, self.server_cpu),
        };
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", &cpus, &self.binary, command]);
        pinned
    }
}

impl Ran {
    /// The number of requests in the client's figures.
    pub fn requests(&self) -> u64 {
        self.summary["request_count"]["avg"].as_f64().unwrap_or_default() as u64
    }

    /// A percentile as the client reports it.
    ///
    /// # Errors
    /// When it does not.
    pub fn reported(&self, metric: &str, percentile: u8) -> Result<f64> {
        let value = &self.summary[metric][format!("p{percentile}")];
        value.as_f64().with_context(|| format!("no p{percentile} of {metric} in the client's summary"))
    }

    /// A maximum as the client reports it.
    ///
    /// # Errors
    /// When it does not.
    pub fn most(&self, metric: &str) -> Result<f64> {
        self.summary[metric]["max"].as_f64().with_context(|| format!("no maximum of {metric} in the client's summary"))
    }

    /// The number of a row of the client's fidelity block.
    ///
    /// # Errors
    /// When it has no such row with a number.
    pub fn fidelity_number(&self, key: &str) -> Result<f64> {
        let rows = self.fidelity()["rows"].as_array().into_iter().flatten();
        let number = rows.filter(|row| row["key"] == key).find_map(|row| row["number"].as_f64());
        number.with_context(|| format!("no number of {key} in the client's fidelity block"))
    }

    /// An average as the client reports it.
    ///
    /// # Errors
    /// When it does not.
    pub fn average(&self, metric: &str) -> Result<f64> {
        self.summary[metric]["avg"].as_f64().with_context(|| format!("no {metric} in the client's summary"))
    }

    /// The fidelity block of the client's summary.
    pub fn fidelity(&self) -> &Value {
        &self.summary["fidelity"]
    }

    /// The load according to the client's plan.
    ///
    /// # Errors
    /// When it did not.
    pub fn load(&self) -> Result<Load> {
        Ok(Load::deserialize(&self.summary["run"]["plan"]["load"])?)
    }

    /// Requests that the plan asked for.
    ///
    /// # Errors
    /// When it did not ask for a number of them.
    pub fn asked(&self) -> Result<u64> {
        self.summary["run"]["plan"]["stop"]["requests"].as_u64().context("the plan has no number of requests")
    }

    /// The verdict on the run, and what was not good.
    pub fn verdict(&self) -> String {
        let fidelity = self.fidelity();
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let rows = fidelity["rows"].as_array().into_iter().flatten().filter(|row| row["grade"] != "good");
        let reasons: Vec<_> = rows.map(|row| format!("{}: {}", text(&row["title"]), text(&row["value"]))).collect();
        if reasons.is_empty() {
            text(&fidelity["verdict"])
        } else {
            format!("{} ({})", text(&fidelity["verdict"]), reasons.join("; "))
        }
    }

    /// The records that the client wrote.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn records(&self) -> Result<RecordReader<BufReader<File>>> {
        let path = run_directory(&self.artifacts)?.join("records.jsonl");
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        Ok(RecordReader::new(BufReader::new(file))?)
    }

    /// Seconds from the launch to the first request of all at the server.
    pub fn start_up(&self, truth: &Truth) -> f64 {
        (truth.first_request - self.launched) as f64 / 1e9
    }

    /// Seconds from the server's last write to the client's exit.
    pub fn wind_up(&self, truth: &Truth) -> f64 {
        (self.exited - truth.measured.last_write) as f64 / 1e9
    }
}

impl Drop for Ran {
    fn drop(&mut self) {
        // What is left lies in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.artifacts);
    }
}

/// Waits for the end; the status and the largest resident memory seen, in MB. The kernel keeps the largest itself, so
/// looking now and then misses only what came since the last look.
fn watch(client: &mut Child) -> Result<(ExitStatus, f64)> {
    let status_file = format!("/proc/{}/status", client.id());
    let mut peak_mb = 0.0;
    loop {
        if let Some(status) = client.try_wait()? {
            return Ok((status, peak_mb));
        }
        let text = fs::read_to_string(&status_file).unwrap_or_default();
        let peak =
            text.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|rest| rest.split_whitespace().next());
        if let Some(kilobytes) = peak.and_then(|number| number.parse::<f64>().ok()) {
            peak_mb = kilobytes / 1024.0;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The account of all children that have ended. The servers of earlier runs are in it on both sides of a difference.
fn children() -> Result<Usage> {
    Ok(getrusage(UsageWho::RUSAGE_CHILDREN)?)
}

fn seconds(usage: &Usage) -> f64 {
    let of = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    of(usage.user_time()) + of(usage.system_time())
}

fn summary(artifacts: &Path) -> Result<Value> {
    let path = run_directory(artifacts)?.join("profile_export_genai_perf.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// The one run's directory among the artifacts.
fn run_directory(artifacts: &Path) -> Result<PathBuf> {
    Ok(fs::read_dir(artifacts)?.next().context("the client wrote no artifacts")??.path())
}
