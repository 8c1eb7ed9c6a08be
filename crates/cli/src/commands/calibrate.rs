//! `calibrate`: profile a simulated server in a process of its own, load by load, and hold each profile against the server's
//! log.

use crate::args::CalibrateArgs;
use crate::commands::grid::{Grid, Load};
use crate::console::Console;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::settings::{Settings, url};
use crate::signals::Signals;
use anyhow::{Context, Error, Result, anyhow, bail};
use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::origin::Origins;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::units::utc;
use streamgauge_load::{Control, Limits, Routes, forecast};
use streamgauge_report::RecordReader;
use streamgauge_report::artifacts::whole::{try_out, write_text};
use streamgauge_report::native::{calibration, plot};
use streamgauge_run::calibrated;
use streamgauge_run::{Position, Preparation, RunSpec, Runner, Stage, StoredRun, Strategy, Usage, drive};
use streamgauge_sim::{LogLine, SimProcess, log};
use streamgauge_stats::calibration::{Calibration, Point, Seen, Served};
use tempfile::TempDir;

/// The file name of the server's log.
const LOG: &str = "sim.log";

/// Calibrates this machine.
pub fn run(args: CalibrateArgs, printer: &Printer) -> Result<Exit> {
    let output = output(&args).map_err(Usage)?;
    let grid = Grid::of(&args).map_err(Usage)?;
    let speaker = *printer;
    let say = move |_: &Control| speaker.note("interrupted: waiting for the requests of this point");
    let signals = Signals::watch(Control::default(), say).context("signals cannot be watched")?;
    try_out(&output).map_err(|error| Usage(anyhow!("--output {}: {error}", output.display())))?;
    check(&grid)?;
    let control = |_: &RunPlan| {
        let control = Control::default();
        signals.follow(control.clone());
        Ok(control)
    };
    let settings = settings(&grid)?;
    let Some(first) = settings.first() else { bail!("there is no load to try") };
    let mut runner = Runner::new(Console::listener(first, printer), control);
    let mut points = Points(settings.into_iter().map(|settings| settings.spec).collect());
    let mut calibrating =
        Calibrating { grid: &grid, at: 0, server: None, points: Vec::new(), signals: &signals, printer };
    drive(&mut runner, &mut points, &mut calibrating)?;
    let points = calibrating.points;
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

/// The runs of a calibration: one for each load, in their order.
struct Points(VecDeque<RunSpec>);

impl Strategy for Points {
    fn next(&mut self, _last: Option<&StoredRun>) -> Option<RunSpec> {
        self.0.pop_front()
    }

    fn shares_server(&self) -> bool {
        false
    }
}

/// The work around each run of a calibration.
struct Calibrating<'a> {
    grid: &'a Grid,
    /// The number of the load that is being tried, from 0.
    at: usize,
    /// The server of the run that is being made, and the directory of its log and of the run's files.
    server: Option<(SimProcess, TempDir)>,
    points: Vec<Point>,
    signals: &'a Signals,
    printer: &'a Printer,
}

impl Calibrating<'_> {
    fn load(&self) -> Load {
        self.grid.loads[self.at]
    }

    /// Stops the server, and compares what it logged with what was measured.
    fn judge(&mut self, run: &mut StoredRun) -> Result<Point> {
        let (server, files) = self.server.take().context("the simulated server was not started")?;
        server.stop().context("the simulated server did not end well")?;
        let served = log::read(&files.path().join(LOG)).context("the simulated server's log cannot be read")?;
        judge(self.load(), run, &served)
    }
}

impl Stage for Calibrating<'_> {
    fn before(&mut self, mut spec: RunSpec, _: &mut Runner<'_>) -> Result<Option<RunSpec>> {
        self.at = spec.position.level;
        let load = self.load();
        self.printer.note(&format!("calibrating, {} of {}: {}", self.at + 1, self.grid.loads.len(), load.offered));
        let files = tempfile::tempdir().context("there is no place for the files of a run")?;
        let mut server = Command::new(std::env::current_exe()?);
        server.args(["sim", "--port", "0", "--log"]).arg(files.path().join(LOG)).args(load.server_words());
        let server = SimProcess::start(&mut server).context("the simulated server cannot be started")?;
        spec.plan.endpoint.target = url::target("the simulated server's address", server.url())?.0;
        spec.plan.output.artifacts = files.path().to_owned();
        self.server = Some((server, files));
        Ok(Some(spec))
    }

    fn after(&mut self, mut run: StoredRun, _: &mut Preparation) -> Result<Option<StoredRun>> {
        let point = self.judge(&mut run)?;
        if self.signals.have_come() {
            return Ok(None);
        }
        self.points.push(point);
        Ok(Some(run))
    }

    fn failed(&mut self, error: Error) -> Result<()> {
        if self.signals.have_come() { Ok(()) } else { Err(error.context(self.load().offered.to_string())) }
    }
}

/// The settings of the run for each load. The address of the server and the directory of the files are not known yet.
fn settings(grid: &Grid) -> Result<Vec<Settings>> {
    let of_load = |(level, load): (usize, &Load)| {
        let mut settings = Settings::resolve(load.profile(grid.duration)?, Origins::default(), &|_| None)?;
        settings.spec.position = Position { level, run: 0 };
        Ok(settings)
    };
    grid.loads.iter().enumerate().map(of_load).collect()
}

/// Refuses a load that this system has no room for, before the first is tried.
fn check(grid: &Grid) -> Result<()> {
    let limits = Limits::of_this_system();
    for Settings { spec, .. } in settings(grid)? {
        let routes = Routes::find(&spec.plan.endpoint, &spec.plan.transport)?;
        forecast(&spec.plan, &routes, &limits)
            .map_err(|error| Usage(anyhow!("--streams, each of which is a profile's --concurrency: {error}")))?;
    }
    Ok(())
}

/// The file for the result. Its plot is next to it, so it must have another name.
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

/// The maximum difference between two readings of the wall clock at the same moment, with a wide margin. Requests before the load end
/// longer before it.
const CLOCKS_APART: Nanos = Nanos(100_000);

fn judge(load: Load, run: &mut StoredRun, served: &[LogLine]) -> Result<Point> {
    run.has_files()?;
    let seen = seen(run.records()?)?;
    let facts = &run.facts;
    // Requests before the load, which are the probe and those that may follow it, are in no figure. Their line need not be the first: it
    // is written when the server has noticed that the client stopped reading.
    let started = facts.anchor_wall + facts.started.0 - CLOCKS_APART.0;
    let served: Vec<Served<'_>> = served
        .iter()
        .filter(|line| line.recv_ns >= started)
        .map(|line| Served { received: line.recv_ns, writes: &line.writes, output_tokens: line.output_tokens })
        .collect();
    Ok(Point::judge(load.offered, load.pace(), &run.summary, &seen, &served))
}

/// The measured requests, as the records have them.
fn seen(mut reader: RecordReader<BufReader<File>>) -> Result<Vec<Seen>> {
    let anchor_wall = reader.header().anchor_wall_ns;
    let mut seen = Vec::new();
    for record in reader.by_ref() {
        seen.extend(Seen::of(&record?, anchor_wall));
    }
    Ok(seen)
}
