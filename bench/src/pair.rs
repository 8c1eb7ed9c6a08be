//! A server and a client, each on its processor, and the kernel's account of the client.

use crate::truth::Truth;
use anyhow::{Context, Result, bail};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use streamgauge_core::clock::{Clock, SystemClock};
use streamgauge_core::load::Load;
use streamgauge_sim::SimProcess;

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
        self.run_through(sim, profile, Ok)
    }

    /// The same, with the client sent to the URL that `route` makes of the server's.
    ///
    /// # Errors
    /// As [`Pair::run`], and those of `route`.
    pub fn run_through(&self, sim: &str, profile: &str, route: impl FnOnce(String) -> Result<String>) -> Result<Ran> {
        let dir = std::env::temp_dir().join(format!("streamgauge-bench-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let log = dir.join("sim.log");
        let mut server = self.pinned(self.server_cpu, "sim");
        server.args(["--port", "0", "--log"]).arg(&log).args(sim.split_whitespace());
        let server = SimProcess::start(&mut server).context("the server cannot be started")?;
        let url = route(server.url().to_owned())?;

        let clock = SystemClock::start();
        let before = children()?;
        let artifacts = dir.join("artifacts");
        let mut client = self.pinned(self.client_cpu, "profile");
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
            launched,
            exited,
        })
    }

    fn pinned(&self, cpu: u32, command: &str) -> Command {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", &cpu.to_string(), &self.binary, command]);
        pinned
    }
}

impl Ran {
    /// Requests that the client's figures are made of.
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

    /// An average as the client reports it.
    ///
    /// # Errors
    /// When it does not.
    pub fn average(&self, metric: &str) -> Result<f64> {
        self.summary[metric]["avg"].as_f64().with_context(|| format!("no {metric} in the client's summary"))
    }

    /// The client's own word on how far its figures can be trusted, as in its summary.
    pub fn fidelity(&self) -> &Value {
        &self.summary["fidelity"]
    }

    /// How load was offered, as the client noted it.
    ///
    /// # Errors
    /// When it did not.
    pub fn load(&self) -> Result<Load> {
        Ok(Load::deserialize(&self.summary["run"]["plan"]["load"])?)
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

fn summary(artifacts: &std::path::Path) -> Result<Value> {
    let run = fs::read_dir(artifacts)?.next().context("the client wrote no artifacts")??;
    let path = run.path().join("profile_export_genai_perf.json");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    fs::remove_dir_all(artifacts)?;
    Ok(serde_json::from_str(&text)?)
}
