//! `calibrate`: profile a simulated server in a process of its own, load by load, and hold each profile against the server's
//! log.

use crate::args::{self, CalibrateArgs};
use crate::calibrated;
use crate::commands::grid::{Grid, Load};
use crate::console::Console;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::signals::Signals;
use anyhow::{Context, Result, anyhow};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::units::utc;
use streamgauge_load::{Control, Limits, Routes, forecast};
use streamgauge_prompt::tokenizer::EMBEDDED;
use streamgauge_report::RecordReader;
use streamgauge_report::artifacts::whole::{try_out, write_text};
use streamgauge_report::artifacts::{RECORDS, RunDirectory};
use streamgauge_report::genai::names::directory_name;
use streamgauge_report::native::{calibration, plot};
use streamgauge_run::{Measured, Usage, prepare};
use streamgauge_sim::{LogLine, SimProcess, log};
use streamgauge_stats::calibration::{Calibration, Point, Seen, Served};

/// Calibrates this machine.
pub fn run(args: CalibrateArgs, printer: &Printer) -> Result<Exit> {
    let output = output(&args).map_err(Usage)?;
    let grid = Grid::of(&args).map_err(Usage)?;
    let speaker = *printer;
    let say = move |_: &Control| speaker.note("interrupted: waiting for the requests of this point");
    let signals = Signals::watch(Control::default(), say).context("signals cannot be watched")?;
    try_out(&output).map_err(|error| Usage(anyhow!("--output {}: {error}", output.display())))?;
    check(&grid)?;
    let mut points = Vec::new();
    for (index, load) in grid.loads.iter().enumerate() {
        printer.note(&format!("calibrating, {} of {}: {}", index + 1, grid.loads.len(), load.offered));
        let point = measure(*load, &grid, &signals, printer).with_context(|| load.offered.to_string());
        if signals.have_come() {
            break;
        }
        points.push(point?);
    }
    let taken = utc(SystemClock::start().anchor_wall().div_euclid(1_000_000_000));
    let calibration = Calibration::of(calibrated::this_machine(), taken, grid.duration.as_secs_f64(), points);
    if !calibration.points.is_empty() {
        printer.result(&calibration::render(&calibration));
    }
    if signals.have_come() {
        printer.note("interrupted: nothing is stored");
        return Ok(Exit::Interrupted);
    }
    store(&calibration, &output, printer)
}

/// Refuses a load that this system has no room for, before the first is tried.
fn check(grid: &Grid) -> Result<()> {
    let limits = Limits::of_this_system();
    for load in &grid.loads {
        let mut words = load.profile_words(grid.duration);
        // Any address of this machine: nothing is sent there.
        words.extend(["--url", "http://127.0.0.1:9"].map(str::to_owned));
        let plan = Settings::resolve(*args::profile(words)?, &|_| None)?.spec.plan;
        let routes = Routes::find(&plan.endpoint, plan.transport.stamps)?;
        forecast(&plan, &routes, &limits)
            .map_err(|error| Usage(anyhow!("--streams, each of which is a profile's --concurrency: {error}")))?;
    }
    Ok(())
}

/// The file for the result. Its plot stands beside it, so it must have another name.
fn output(args: &CalibrateArgs) -> Result<PathBuf> {
    // A variable that is set to nothing is not set.
    let path = match args.output.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => path.clone(),
        None => calibrated::path(&|name| std::env::var_os(name))
            .context("there is no home directory to keep the calibration in; name a file with --output")?,
    };
    if path.file_name().is_none() || path.extension().is_some_and(|extension| extension == "svg") {
        return Err(anyhow!(
            "--output {}: give the name of a file that does not end in .svg, which is the plot's",
            path.display()
        ));
    }
    Ok(path)
}

fn store(calibration: &Calibration, output: &Path, printer: &Printer) -> Result<Exit> {
    calibration::write(calibration, output).with_context(|| format!("{} cannot be written", output.display()))?;
    printer.result(&format!("Calibration: {}", output.display()));
    if let Some(svg) = plot::svg(calibration)? {
        let path = output.with_extension("svg");
        write_text(&svg, &path).with_context(|| format!("{} cannot be written", path.display()))?;
        printer.result(&format!("Plot: {}", path.display()));
    }
    Ok(Exit::Done)
}

/// Runs one load to its end and judges it.
fn measure(load: Load, grid: &Grid, signals: &Signals, printer: &Printer) -> Result<Point> {
    let dir = tempfile::tempdir().context("there is no place for the files of a run")?;
    let log_file = dir.path().join("sim.log");
    let mut server = Command::new(std::env::current_exe()?);
    server.args(["sim", "--port", "0", "--log"]).arg(&log_file).args(load.server_words());
    let server = SimProcess::start(&mut server).context("the simulated server cannot be started")?;

    let mut words = load.profile_words(grid.duration);
    let fixed =
        ["--url", server.url(), "--model", "sim-model", "--tokenizer", EMBEDDED, "--ui", "none", "--artifact-dir"];
    words.extend(fixed.map(str::to_owned));
    words.push(
        dir.path().to_str().context("the directory for temporary files has a name that is not UTF-8")?.to_owned(),
    );
    let mut settings = Settings::resolve(*args::profile(words)?, &|_| None)?;
    let listener = Console::listener(&settings, printer);
    let mut shared = prepare(&mut settings.spec, &listener)?;
    let mut plan = settings.spec.plan.clone();
    plan.output.artifacts.push(directory_name(&plan));
    let control = |_: &RunPlan| {
        let control = Control::default();
        signals.follow(control.clone());
        Ok(control)
    };
    let directory = RunDirectory::lock(&plan.output.artifacts)?;
    let measured = streamgauge_run::measure(plan, directory, &settings.spec, &mut shared, control, &listener)?;
    server.stop().context("the simulated server did not end well")?;
    let served = log::read(&log_file).context("the simulated server's log cannot be read")?;
    judge(load, measured, &served)
}

/// How far two readings of the wall clock may place one moment apart, with plenty to spare; what is asked before load ends longer
/// before that.
const CLOCKS_APART: Nanos = Nanos(100_000);

fn judge(load: Load, measured: Measured, served: &[LogLine]) -> Result<Point> {
    let Measured { plan, recorded, facts, artifacts, .. } = measured;
    if let Some(error) = recorded.write_error {
        return Err(error).context("the records cannot be written");
    }
    artifacts.commit(recorded.summary.counts.requests)?;
    let seen = seen(&plan.output.artifacts.join(RECORDS))?;
    // What was asked before load, the probe and what may follow it, is in no figure. Its line need not be the first: it is written
    // when the server has noticed that nobody reads on.
    let started = facts.anchor_wall + facts.started.0 - CLOCKS_APART.0;
    let served: Vec<Served<'_>> = served
        .iter()
        .filter(|line| line.recv_ns >= started)
        .map(|line| Served { received: line.recv_ns, writes: &line.writes, output_tokens: line.output_tokens })
        .collect();
    Ok(Point::judge(load.offered, load.pace(), &recorded.summary, &seen, &served))
}

/// The measured requests, as the records have them.
fn seen(records: &Path) -> Result<Vec<Seen>> {
    let mut reader = RecordReader::new(BufReader::new(File::open(records)?))?;
    let anchor_wall = reader.header().anchor_wall_ns;
    let mut seen = Vec::new();
    for record in reader.by_ref() {
        seen.extend(Seen::of(&record?, anchor_wall));
    }
    Ok(seen)
}
