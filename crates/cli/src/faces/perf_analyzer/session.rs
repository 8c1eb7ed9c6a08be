//! Runs a session: asks the server about the model, runs the levels one after another, and reports their figures.

use super::UNSTABLE;
use super::args::ServiceKind;
use super::export::Export;
use super::level::{self, Figures, Outcome, Passes};
use super::model::{self, Known};
use super::settings::{self, Levels, Mode, Task};
use crate::console::Console;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::signals::{self, Signals};
use anyhow::{Context, Error, Result, bail};
use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use streamgauge_core::clock::SystemClock;
use streamgauge_core::load::{Arrivals, Load};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::prompt::Prompt;
use streamgauge_core::record::RunFacts;
use streamgauge_core::{Message, Nanos, Wording};
use streamgauge_load::Client;
use streamgauge_prompt::tensors::{InputData, Made};
use streamgauge_report::artifacts::write_whole;
use streamgauge_report::perf_analyzer::{self as report, LevelReport, console, csv};
use streamgauge_run::{
    GivenInputs, LIMIT, Listener, Preparation, Regions, RunSpec, Runner, Stage, StoredRun, Strategy, Subdirectory,
    drive, worded,
};
use streamgauge_stats::windows::Lenience;
use streamgauge_stats::{Counts, Grade, Summary, Windows};
use streamgauge_wire::endpoints::{TransportKind, spec};
use streamgauge_wire::kserve::Call;

/// The levels so far, and the work around each.
struct Session<'a> {
    task: &'a Task,
    shown: report::Settings,
    /// Whether the run that is being made is a warm-up.
    is_warm_up: bool,
    /// The requests of the warm-up, if it is a separate run that has not been made yet.
    warmup: Option<GivenInputs>,
    /// The requests of the levels, while the warm-up runs.
    set_aside: Option<(Option<GivenInputs>, Option<Regions>)>,
    /// The windows of the level that is being run.
    passes: Arc<Mutex<Passes>>,
    signals: &'a OnceCell<Signals>,
    files: PathBuf,
    export: Option<Export>,
    /// How each level ended.
    ended: Vec<Ended>,
    levels: Vec<LevelReport>,
    /// Requests that failed, of all, and what the first of them met.
    failed: Option<String>,
    wording: Wording,
    printer: &'a Printer,
}

/// No request was answered in the measured time.
#[derive(Debug, thiserror::Error)]
#[error(
    "no request was answered within the measured time; use larger windows (--measurement-interval, --measurement-request-count)"
)]
pub struct NoRequests;

/// How a run ended, for the search and for the exit code.
#[derive(Clone, Copy)]
enum Ended {
    /// It was the warm-up, whose figures nobody sees.
    WarmedUp,
    /// It is reported.
    Passed,
    /// Its latency reached the limit.
    Over {
        /// Whether its windows agreed.
        stable: bool,
    },
    /// Its windows did not agree.
    Unstable,
}

/// Measures what `task` says.
///
/// # Errors
/// When the server or the model cannot be had, or nothing can be measured.
pub fn run(mut task: Task, wording: Wording, printer: &Printer) -> Result<Exit> {
    let passes = Arc::new(Mutex::new(Passes::default()));
    let listener = Arc::new(LevelListener::new(&task, wording, passes.clone(), printer));
    let signals = OnceCell::new();
    let mut runner = Runner::new(listener.clone(), |plan| signals::control(&signals, plan, printer));
    let shared = runner.prepare(&prepared(&mut task))?;
    trace(&task, shared)?;
    let model = shared.triton.as_ref().map(|triton| triton.model.clone());
    let known = model::settle(&task, model.as_ref(), &shared.endpoint)?;
    task.settings.spec.plan.load.sequences = known.sequences.then_some(task.sequences);
    if let (Some(flag), false) = (task.sequence_flag, known.sequences) {
        printer.note(&format!("note: {flag} has no effect: the model does not use sequences"));
    }
    let mut data = model::inputs(&task, model.as_ref(), &mut shared.endpoint)?;
    data.count_tokens(&shared.tokenizer);
    match (&task.inputs.data, &model) {
        (settings::Data::Files(_), _) => printer.exactly(&read_line(&data)),
        (settings::Data::Made(Made::Random), Some(model)) if model.decoupled => printer.note(&format!(
            "note: model {} is decoupled and its inputs are random: if one of them is an output length, a request may cause very many responses and keep the server busy for long; use --input-data",
            model.name
        )),
        (settings::Data::Made(_), _) => {}
    }
    // Without sequences requests go round the steps of all streams.
    let streams = if known.sequences { data.lengths() } else { Vec::new() };
    let (arrivals, warmup, prompts) = schedule(&mut task, data, shared)?;
    if let Some(model) = &model {
        shared.memory = Regions::of(&mut shared.endpoint, model, prompts.iter(), &shared.routes)?;
    }
    shared.given = Some(GivenInputs { prompts, streams });
    let temporary = tempfile::tempdir().context("no temporary directory for the files of a run can be created")?;
    let files = task.output.artifacts.clone().unwrap_or_else(|| temporary.path().to_owned());
    // No other session may write there between two levels.
    runner.lock(&files)?;
    let export = task.output.export.as_deref().map(Export::begin).transpose()?;
    let shown = shown(&task, known);
    listener.show(shown.clone());
    printer.exactly(&console::settings(&shown));
    task.settings.spec.lenience.by_throughput = shown.asynchronous;
    task.settings.spec.plan.output.artifacts.clone_from(&files);
    let mut levels = Search {
        warmup: warmup.as_ref().map(|warmup| warmup.spec(&task)),
        levels: Levels::new(&task, arrivals),
        task: &task,
        known,
    };
    let mut session = Session {
        task: &task,
        shown,
        is_warm_up: false,
        warmup: warmup.map(|warmup| GivenInputs { prompts: warmup.prompts, streams: Vec::new() }),
        set_aside: None,
        passes,
        signals: &signals,
        files,
        export,
        ended: Vec::new(),
        levels: Vec::new(),
        failed: None,
        wording,
        printer,
    };
    drive(&mut runner, &mut levels, &mut session)?;
    session.finish()
}

/// The settings that all levels share, as far as they are needed to ask the server and to read the file of gaps.
fn prepared(task: &mut Task) -> RunSpec {
    let limit =
        task.measure.limit_ms.map(|millis| Nanos::from_millis(i64::try_from(millis).unwrap_or(i64::MAX / 1_000_000)));
    task.settings.spec.lenience = Lenience { by_throughput: false, latency_limit: limit };
    let mut spec = task.settings.spec.clone();
    if let Mode::Intervals(file) = &task.mode {
        // The preparation reads it.
        let arrivals = Arrivals::Intervals { file: file.clone(), gaps: Arc::default() };
        spec.plan.load.mode = Load::Open { arrivals, cap: None };
    }
    spec
}

/// Tells the server what to trace, where that was asked for.
fn trace(task: &Task, shared: &Preparation) -> Result<()> {
    if task.trace.is_empty() {
        return Ok(());
    }
    let mut client = Client::new(&shared.endpoint, &shared.routes, SystemClock::start(), LIMIT)?;
    let call = Call::TraceSettings { model: None, settings: &task.trace };
    client.ask(&call).context("failed to update trace settings")?;
    Ok(())
}

/// Perf Analyzer's message about files that it has read.
fn read_line(data: &InputData) -> String {
    let streams = data.streams.len();
    match data.streams.as_slice() {
        [only] => {
            format!(" Successfully read data for 1 stream/streams with {} step/steps.\n", only.len())
        }
        _ => format!(" Successfully read data for {streams} stream/streams.\n"),
    }
}

/// A warm-up whose requests have times of their own: it is a run before the others.
struct OwnWarmup {
    arrivals: Arrivals,
    prompts: Vec<Prompt>,
}

impl OwnWarmup {
    fn spec(&self, task: &Task) -> RunSpec {
        let load = Load::Open { arrivals: self.arrivals.clone(), cap: None };
        let subdirectory = Subdirectory { name: Some("warmup".to_owned()), ..Subdirectory::default() };
        RunSpec { subdirectory, keeps_files: false, ..task.spec(load, self.arrivals.count()) }
    }
}

/// The arrivals that come from a file, the warm-up that is part of them, and the prompts that are measured.
fn schedule(
    task: &mut Task,
    data: InputData,
    shared: &Preparation,
) -> Result<(Option<Arrivals>, Option<OwnWarmup>, Vec<Prompt>)> {
    match &task.mode {
        Mode::Intervals(_) => Ok((shared.arrivals.clone(), None, data.into_prompts())),
        Mode::Schedule => {
            let (arrivals, warmup, prompts) = fixed(task, data)?;
            Ok((Some(arrivals), warmup, prompts))
        }
        _ => Ok((None, None, data.into_prompts())),
    }
}

fn fixed(task: &mut Task, data: InputData) -> Result<(Arrivals, Option<OwnWarmup>, Vec<Prompt>)> {
    let settings::Data::Files(files) = &task.inputs.data else { bail!("--fixed-schedule: give --input-data FILE") };
    let file = files.first().cloned().unwrap_or_default();
    if data.streams.len() > 1 {
        bail!(
            "--fixed-schedule: {} has {} streams; it must have one list of steps",
            file.display(),
            data.streams.len()
        );
    }
    let mut steps: Vec<_> = data.streams.into_iter().flatten().collect();
    if let Some(without) = steps.iter().position(|step| step.at.is_none()) {
        bail!("--fixed-schedule: step {} of {} has no `timestamp` (milliseconds)", without + 1, file.display());
    }
    if !steps.is_sorted_by_key(|step| step.at) {
        bail!("--fixed-schedule: the timestamps of {} do not rise; sort its steps by them", file.display());
    }
    let before = usize::try_from(std::mem::take(&mut task.measure.warmup)).unwrap_or(usize::MAX);
    if before >= steps.len() {
        bail!(
            "--warmup-request-count {before}: {} has {} steps, of which at least one must be measured",
            file.display(),
            steps.len()
        );
    }
    let measured = steps.split_off(before);
    let part = |steps: Vec<streamgauge_prompt::tensors::Step>| {
        let first = steps.first().and_then(|step| step.at).unwrap_or_default();
        let dues = steps.iter().map(|step| step.at.unwrap_or_default() - first).collect();
        let arrivals = settings::trace(file.clone(), dues);
        (arrivals, steps.into_iter().map(|step| step.prompt).collect::<Vec<Prompt>>())
    };
    let warmup = (!steps.is_empty()).then(|| {
        let (arrivals, prompts) = part(steps);
        OwnWarmup { arrivals, prompts }
    });
    let (arrivals, prompts) = part(measured);
    task.measure.requests = arrivals.count();
    Ok((arrivals, warmup, prompts))
}

/// The settings as the console shows them.
fn shown(task: &Task, known: Known) -> report::Settings {
    use settings::Calls;
    use streamgauge_core::arrival::Arrival;
    report::Settings {
        batch: (task.service == ServiceKind::Triton || task.batch_given).then_some(task.inputs.options.batch),
        service: match task.service {
            ServiceKind::Openai => report::Service::OpenAi,
            ServiceKind::Triton => report::Service::Triton,
        },
        protocol: match spec(task.settings.spec.plan.endpoint.kind).transport {
            TransportKind::Grpc => report::Protocol::Grpc,
            TransportKind::Http1 => report::Protocol::Http,
        },
        warmup: task.measure.warmup,
        mode: match task.measure.requests {
            Some(requests) => report::Mode::Requests(requests),
            None => report::Mode::Windows(task.measure.windows.window),
        },
        percentile: task.measure.windows.percentile,
        latency_limit_ms: task.measure.limit_ms.unwrap_or(0),
        search: match &task.mode {
            Mode::Concurrency(range) => report::Search::Concurrency { start: range.start, end: range.end },
            Mode::Rate { range, arrival } => {
                report::Search::Rate { start: range.start, end: range.end, poisson: *arrival == Arrival::Poisson }
            }
            Mode::Growing(_) | Mode::Intervals(_) | Mode::Schedule => report::Search::Custom,
        },
        binary: task.binary,
        asynchronous: known.calls == Calls::Async,
        decoupled: known.decoupled,
        sequences: known.sequences,
        verbose: task.verbose,
    }
}

/// How many requests failed, if some did, and what the first of them met.
fn failures(summary: &Summary, counts: &Counts) -> Option<(String, String)> {
    let group = summary.failures.first().filter(|_| counts.failed > 0)?;
    let failed = format!("{} of {} requests failed", counts.failed, counts.requests);
    Some((failed, format!("{} ({}): {}", group.class, group.stage, group.sample)))
}

/// Hears of a level's windows: they are kept, and shown if that was asked for.
struct LevelListener {
    console: Console,
    printer: Printer,
    /// The settings, if windows are shown.
    shown: OnceLock<report::Settings>,
    passes: Arc<Mutex<Passes>>,
}

impl LevelListener {
    fn new(task: &Task, wording: Wording, passes: Arc<Mutex<Passes>>, printer: &Printer) -> LevelListener {
        let console = Console::new(&task.settings, wording, printer);
        LevelListener { console, printer: *printer, shown: OnceLock::new(), passes }
    }

    /// Shows each window that ends from now on, if `shown` says so.
    fn show(&self, shown: report::Settings) {
        if shown.verbose {
            self.shown.get_or_init(|| shown);
        }
    }
}

impl Listener for LevelListener {
    fn note(&self, note: &Message) {
        self.console.note(note);
    }

    fn detail(&self, detail: &Message) {
        self.console.detail(detail);
    }

    fn started(&self, plan: &RunPlan) {
        self.console.started(plan);
    }

    fn window(&self, windows: &Windows) {
        let mut passes = lock(&self.passes);
        let before = passes.passes.len();
        passes.passes = windows.passes().to_vec();
        passes.by_throughput = windows.by_throughput();
        if let Some(shown) = self.shown.get() {
            for (number, pass) in passes.passes.iter().enumerate().skip(before) {
                self.printer.exactly(&console::pass(number + 1, pass, shown));
            }
        }
    }
}

fn lock(passes: &Mutex<Passes>) -> MutexGuard<'_, Passes> {
    // They are whole at any moment.
    passes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The strategy: the warm-up if it is a run of its own, then the levels of the search.
struct Search<'a> {
    warmup: Option<RunSpec>,
    levels: Levels,
    task: &'a Task,
    known: Known,
}

impl Strategy<Ended> for Search<'_> {
    fn next(&mut self, last: Option<&Ended>) -> Option<RunSpec> {
        if let Some(warmup) = self.warmup.take() {
            return Some(warmup);
        }
        let passed = last.is_none_or(|last| matches!(last, Ended::Passed | Ended::WarmedUp));
        let load = self.levels.next(passed, self.task.cap(self.known.calls))?;
        Some(self.task.spec(load, self.task.measure.requests))
    }
}

impl Stage<Ended> for Session<'_> {
    fn before(&mut self, spec: RunSpec, runner: &mut Runner<'_>) -> Result<Option<RunSpec>> {
        let shared = runner.prepare(&spec)?;
        self.is_warm_up = self.warmup.is_some();
        if let Some(warmup) = self.warmup.take() {
            // Its own inputs go with its requests.
            self.set_aside = Some((shared.given.replace(warmup), shared.memory.take()));
        } else {
            self.printer.exactly(&console::heading(settings::label(&spec.plan.load.mode)));
        }
        runner.check_limits(&spec)?;
        *lock(&self.passes) = Passes::default();
        Ok(Some(spec))
    }

    fn after(&mut self, run: StoredRun, shared: &mut Preparation) -> Result<Option<Ended>> {
        if let Some((given, memory)) = self.set_aside.take() {
            (shared.given, shared.memory) = (given, memory);
        }
        if self.is_warm_up {
            return Ok(Some(Ended::WarmedUp));
        }
        let passes = std::mem::take(&mut *lock(&self.passes));
        let ended = self.level(run, passes)?;
        self.ended.push(ended);
        Ok(Some(ended).filter(|_| !self.signals.get().is_some_and(Signals::have_come)))
    }

    fn failed(&mut self, error: Error) -> Result<()> {
        if self.levels.is_empty() {
            return Err(error);
        }
        // The results of earlier levels are kept although this one failed.
        self.fail(worded(&error, self.wording));
        Ok(())
    }
}

impl Session<'_> {
    /// Keeps the first failure in mind.
    fn fail(&mut self, message: String) {
        self.failed.get_or_insert(message);
    }

    /// Reports a level that was run.
    fn level(&mut self, mut run: StoredRun, passes: Passes) -> Result<Ended> {
        if !run.has_files()? {
            bail!("no request was sent");
        }
        let StoredRun { plan, facts, summary, counts, .. } = &run;
        if let Some(export) = &mut self.export {
            export.add(&run.directory.join(&plan.output.export_file), plan)?;
        }
        let load = &plan.load.mode;
        if let Load::Growing(_) = load {
            return self.exported(summary, counts, facts);
        }
        let is_enough = facts.window.is_some() || plan.load.stop.stability.is_none() || facts.interrupted;
        let client = if is_enough { level::client(&run, self.task)? } else { None };
        if let Some((failed, what)) = failures(summary, counts) {
            if client.is_none() {
                bail!("{failed}: {what}");
            }
            self.fail(format!("{failed} and are not in the figures: {what}"));
        }
        if let (None, Some(why)) = (&client, facts.ended_early.as_ref()) {
            bail!("{why}");
        }
        self.tell(summary);
        let figures = match client {
            None => None,
            Some(client) => Some(Figures {
                client,
                server: level::server(facts).unwrap_or_else(|error| {
                    self.printer.note(&format!("note: {error}"));
                    None
                }),
                gpus: level::gpus(facts, self.task.collects),
            }),
        };
        if passes.by_throughput {
            self.printer.note("Warning: Request latency is not stabilizing. Please try lowering the request rate.");
        }
        let label = settings::label(load);
        Ok(match level::judge(self.task, facts, passes, label, figures) {
            Outcome::Passed(report) => {
                self.printer.exactly(&console::level(&report, &self.shown));
                self.levels.push(*report);
                Ended::Passed
            }
            Outcome::Over { stable } => {
                let limit = self.task.measure.limit_ms.unwrap_or(0);
                self.printer.note(&format!("Measured latency went over the set limit of {limit} msec."));
                Ended::Over { stable }
            }
            Outcome::Unstable => {
                self.printer.note(&self.unstable(label));
                Ended::Unstable
            }
            Outcome::Nothing if facts.interrupted => bail!("interrupted before the first request was answered"),
            Outcome::Nothing => return Err(NoRequests.into()),
        })
    }

    /// The outcome of a level that has only an export. Perf Analyzer has no figures of requests under a load that keeps growing.
    fn exported(&mut self, summary: &Summary, counts: &Counts, facts: &RunFacts) -> Result<Ended> {
        if let Some(why) = &facts.ended_early {
            bail!("{why}");
        }
        if let Some((failed, what)) = failures(summary, counts) {
            self.fail(format!("{failed}: {what}"));
        }
        self.tell(summary);
        Ok(Ended::Passed)
    }

    /// Says how far a level's figures can be trusted, where that is not all the way.
    fn tell(&self, summary: &Summary) {
        let fidelity = &summary.fidelity;
        if fidelity.verdict == Grade::Good {
            return;
        }
        self.printer.note(&format!("note: fidelity of this level's figures: {}", fidelity.verdict));
        for row in fidelity.rows.iter().filter(|row| row.grade > Grade::Good) {
            let remedy =
                row.remedy.as_ref().map(|remedy| format!(" ({})", remedy.worded(self.wording))).unwrap_or_default();
            self.printer.note(&format!("note: {}: {}{remedy}", row.title, row.value));
        }
    }

    /// Perf Analyzer's message about a level whose windows do not agree.
    fn unstable(&self, label: report::Label) -> String {
        use streamgauge_core::stop::Window;
        let rule = &self.task.measure.windows;
        let report::Label::Concurrency(most) = label else {
            return "Failed to obtain stable measurement.".to_owned();
        };
        let flag = match rule.window {
            Window::Time(_) => "--measurement-interval",
            Window::Requests(_) => "--measurement-request-count",
        };
        format!(
            "Failed to obtain stable measurement within {} measurement windows for concurrency {most}. Please try to increase the {flag}.",
            rule.most
        )
    }

    /// Reports all levels together, and says how the process ends.
    fn finish(mut self) -> Result<Exit> {
        if !self.levels.is_empty() {
            self.printer.exactly(&console::closing(&self.levels, &self.shown));
            self.files()?;
        }
        if let Some(export) = self.export.take() {
            export.finish()?;
        }
        if self.task.output.artifacts.is_some() {
            self.printer.note(&format!("Artifacts: {}", self.files.display()));
        }
        if let Some(failed) = &self.failed {
            bail!("{failed}");
        }
        let unsteady = |ended: &Ended| matches!(ended, Ended::Unstable | Ended::Over { stable: false });
        let only = self.ended.len() == 1 && !self.task.binary && self.ended.iter().all(unsteady);
        let nothing = self.levels.is_empty() && matches!(self.ended.last(), Some(Ended::Unstable));
        if only || nothing {
            self.printer.error("Failed to obtain stable measurement.");
            return Ok(UNSTABLE);
        }
        Ok(Exit::Done)
    }

    /// Writes the files of levels.
    fn files(&self) -> Result<()> {
        let Some(file) = &self.task.output.csv else { return Ok(()) };
        let verbose = self.task.output.verbose_csv;
        write_whole(file.clone(), |out| csv::write(out, &self.levels, &self.shown, verbose))?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for (name, text) in csv::composing(&name, &self.levels, &self.shown) {
            // A model's name may be no file's name.
            let path = file.with_file_name(name.replace(['/', '\\'], "_"));
            write_whole(path, |out| std::io::Write::write_all(out, text.as_bytes()))?;
        }
        Ok(())
    }
}
